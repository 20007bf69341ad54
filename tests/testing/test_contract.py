"""The contract of models, on a model of a person's own, and on two that break it."""

from __future__ import annotations

import pyro
import pytest
from own_files import nothing_loaded, recipe

from pyro_mfcvae import MFCVAE
from pyro_mfcvae.models import MODELS
from pyro_mfcvae.models.base import data_plate, sample_facet
from pyro_mfcvae.testing import ModelContract


class TestRecipe(ModelContract):
    """The model of CONTRIBUTING.md, named by its file."""

    guides = ("vade", "amortized")

    @pytest.fixture(autouse=True)
    def _in_a_file(self, tmp_path):
        path = tmp_path / "mine.py"
        path.write_text(recipe("A model"))
        with nothing_loaded():
            self.name = f"{path}:Halved"
            yield


class Unheard(MFCVAE):
    """Does not say which parameters it has, and weighs the observations by a half."""

    def model(self, x):
        with data_plate(x):
            zs = []
            for j, facet in enumerate(self.facets):
                with self.facet(j):
                    zs.append(sample_facet(j, facet()))
            with pyro.poutine.scale(scale=0.5):
                pyro.sample("x", self.decode(zs), obs=x)


class Broken(ModelContract):
    name = "unheard"


@pytest.mark.parametrize(
    "test",
    [
        Broken.test_plain_svi_trains_with_a_program_that_announces_nothing,
        Broken.test_the_elbo_is_below_the_evidence,
    ],
)
def test_a_model_that_breaks_the_contract_is_told_so(test, monkeypatch):
    monkeypatch.setitem(MODELS, "unheard", Unheard)
    with pytest.raises(AssertionError, match="assert"):  # pytest's words: its values are shown
        test(Broken())
