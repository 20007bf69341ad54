"""What every model has to keep."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
from pyro.infer import SVI, TraceEnum_ELBO
from pyro.optim import PyroOptim
from torch import Tensor

from pyro_mfcvae.errors import ConfigError, SlowStepWarning
from pyro_mfcvae.evaluation import predict
from pyro_mfcvae.guides import GUIDES, build_guide
from pyro_mfcvae.inference.elbo import FacetELBO
from pyro_mfcvae.inference.noise import Noise, Rows
from pyro_mfcvae.models import FacetModel
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import train
from pyro_mfcvae.testing.case import (
    ALL,
    ANALYTIC,
    SAMPLING,
    SEED,
    WITH_NETWORKS,
    ModelCase,
    first_state,
)
from pyro_mfcvae.testing.no_waiting import NoWaiting
from pyro_mfcvae.testing.values import gradients, relative_error, weighted
from pyro_mfcvae.training.devices.functional import GivenNoise
from pyro_mfcvae.training.devices.together import Together
from pyro_mfcvae.training.devices.traced import Traced
from pyro_mfcvae.training.state import Eager

RTOL = 1e-9


class ModelContract(ModelCase):
    """Tests that every model passes; the tests of a model inherit them.

    .. code-block:: python

        class TestHalved(ModelContract):
            name = "halved"

    ``facets``, ``options``, ``networks`` and the other attributes say how a small model is made.
    ``small`` is one whose evidence quadrature gives, by ``decode`` and ``prior``: a term that the
    program lacks or has twice lifts or lowers its ELBO against that.
    """

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """``guide`` is each of the case's guides, ``some_guide`` the first, or with a network."""
        if "guide" in metafunc.fixturenames:
            metafunc.parametrize("guide", self.guides)
        if "some_guide" in metafunc.fixturenames:
            networks = [name for name in self.guides[1:] if name in WITH_NETWORKS]
            metafunc.parametrize("some_guide", [self.guides[0], *networks])

    @pytest.fixture(autouse=True)
    def _in_own_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        torch.manual_seed(0)

    # --- values ---

    def test_the_terms_add_up(self, guide: str) -> None:
        model, x = self.build(), self.observations()
        terms = model(x, guide, 2)
        assert terms.kl_z.shape == terms.kl_c.shape == (len(x), model.n_facets)
        total = terms.reconstruction - (terms.kl_z + terms.kl_c).sum(-1)
        torch.testing.assert_close(terms.elbo, total)
        assert not terms.other
        assert not terms.shared
        for j in range(model.n_facets):
            if j not in model.structure.clustered or guide == "enumerate":
                assert (terms.kl_c[:, j] == 0).all()
            else:
                assert (terms.kl_c[:, j] > 0).all()

    def test_the_noise_is_a_function_of_the_seed(self, some_guide: str) -> None:
        model, x = self.build(), self.observations()

        def elbo(x: Tensor, *noise: Any) -> Tensor:
            with Noise(*noise), torch.no_grad():
                return model(x, some_guide, 2).elbo

        first = elbo(x, SEED)
        assert torch.equal(elbo(x, SEED), first)
        assert torch.equal(elbo(x, SEED, 0, Rows(0, len(x))), first)
        assert not torch.equal(elbo(x, SEED, 1), first)
        assert not torch.equal(elbo(x, SEED + 1), first)
        if model.structure.group_size is None:
            torch.testing.assert_close(elbo(x[1:3], SEED, 0, Rows(1, len(x))), first[1:3])

    def test_guides_agree_where_theory_says_so(self) -> None:
        """At S = 1 vade, posterior and enumerate; the last two at any S."""
        model, x = self.build(), self.observations()
        fade = torch.linspace(0.4, 1.0, model.n_facets, dtype=torch.float64)
        names = {"vade", "expectation", "posterior", "enumerate"} - {*self.misfits}
        if "enumerate" not in names or len(names) < 2:
            pytest.skip("enumerate, or every guide that agrees with it, does not fit")
        for n_samples, agreeing in ((1, names), (3, names - {"vade", "expectation"})):
            results = {}
            for name in agreeing:
                with Noise(SEED):
                    terms = weighted(model, x, name, n_samples, fade)
                results[name] = terms.elbo.detach(), gradients(model, terms.loss)
            for values, grads in results.values():
                assert relative_error(values, results["enumerate"][0]) <= RTOL
                assert relative_error(grads, results["enumerate"][1]) <= RTOL

    def test_no_guide_beats_the_optimal_one(self) -> None:
        """With one sample: vade among those with sampled KLs, vade-analytic among the others."""
        model, x = self.build(), self.observations()
        pairs = [
            (best, name)
            for best, others in (("vade", SAMPLING), ("vade-analytic", ANALYTIC))
            for name in {*others} & {*self.guides} - {best, "posterior", "enumerate"}
            if best in self.guides
        ]
        if not pairs:
            pytest.skip("no guide of this case has the best q(c | x), or none has another")
        for pair in pairs:
            values = []
            for name in pair:
                with Noise(SEED), torch.no_grad():
                    values.append(model(x, name).elbo)
            best, other = values
            assert (other <= best + 1e-10).all()
            if pair[1] in ("amortized", *ANALYTIC):
                learnt = bool(model.structure.clustered)
                assert (other < best - 1e-6 * learnt).any() == learnt

    # --- the bound ---

    def test_the_elbo_is_below_the_evidence(self) -> None:
        """After some steps of training, so that a term left out would lift it above."""
        model, x = self.fitted()
        with torch.no_grad():
            evidence = self.log_evidence(model, x)
            for guide in {*self.guides} - {"relaxed"}:
                draws = self.draws(model, x, guide)
                gap = evidence - draws.mean(0)
                assert (gap > -5 * draws.std(0) / len(draws) ** 0.5).all(), guide
                assert (gap < 4.0).all(), guide

    def fitted(self) -> tuple[FacetModel, Tensor]:
        """A small model close to its optimum for two observations, and these."""
        model, x = self.build(self.small), self.observations(2)
        names = {"vade", "amortized"} & {*self.guides}
        guides = [model.guide(name) for name in sorted(names)]
        optimizer = torch.optim.Adam(model.parameters(), 0.1)
        for _ in range(35):
            for guide in guides:
                model(x, guide, 2).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return model, x

    def draws(self, model: FacetModel, x: Tensor, guide: str) -> Tensor:
        """Independent draws of the ELBO, (R, B)."""
        n = 300
        return model(x.repeat(n, 1), guide).elbo.unflatten(0, (n, -1))

    def test_draws_from_the_prior_average_to_the_evidence(self) -> None:
        n, model = 40_000, self.build(self.small)
        x = self.observations(1)
        zs = model.sample_prior((n,), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            ratio = (self.log_likelihood(model, x, zs) - self.log_evidence(model, x)).exp()
        assert abs(ratio.mean() - 1) < 5 * ratio.std() / n**0.5

    def test_samples_of_clusters_have_their_moments(self) -> None:
        n, model = 20_000, self.build()
        for j, facet in enumerate(model.facets):
            c = facet.n_clusters - 1
            generator = torch.Generator().manual_seed(2)
            zs = model.sample_prior((n,), {j: torch.tensor(c)}, 0.5, generator)
            assert [z.shape for z in zs] == [(n, f.latent_dim) for f in model.facets]
            prior = model.prior(j, zs)
            factors = prior.scale_tril[..., c, :, :].detach()
            white = (zs[j] - prior.loc[..., c, :].detach()).unsqueeze(-1)
            white = torch.linalg.solve_triangular(factors, white, upper=False).squeeze(-1)
            assert (white.mean(0) / (0.5 / n) ** 0.5).abs().max() < 5
            # A squared normal number of variance v has the standard deviation sqrt(2) v.
            assert ((white.square().mean(0) - 0.5) / (0.5 * (2 / n) ** 0.5)).abs().max() < 5

    # --- guides ---

    def test_which_guides_fit(self) -> None:
        model = self.build()
        for name in ALL:
            misfit = GUIDES[name].misfit(model)
            assert bool(misfit) == (name in self.misfits)
            if not misfit:
                continue
            message = re.escape(f"guide {name!r} does not fit this model: {misfit}")
            with pytest.raises(ConfigError, match=message):
                build_guide(name, model)
        with pytest.raises(ConfigError, match=r"unknown guide 'other'.*amortized,"):
            build_guide("other", model)

    @pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites")
    def test_plain_svi_trains_or_refuses(self, some_guide: str) -> None:
        model, x = self.build(), self.observations()
        program = model.guide(some_guide)
        svi = SVI(model.model, program, PyroOptim(torch.optim.Adam, {"lr": 1e-2}), TraceEnum_ELBO())
        if some_guide == "relaxed" and model.structure.clustered:
            with pytest.raises(ValueError, match="no probability of their own: use FacetELBO"):
                svi.step(x)
            return
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        for _ in range(3):
            svi.step(x)
        moved = {name for name, p in model.named_parameters() if (p != before[name]).any()}
        assert moved == self.trained(model, x, some_guide)

    def test_plain_svi_trains_with_a_program_that_announces_nothing(self) -> None:
        model, x = self.build(), self.observations()
        guide = model.guide(self.guides[0])
        before = {name: p.detach().clone() for name, p in model.named_parameters()}

        def program(x: Tensor) -> None:
            model.sample_posterior(x, guide)

        SVI(model.model, program, PyroOptim(torch.optim.Adam, {"lr": 1e-2}), FacetELBO()).step(x)
        moved = {name for name, p in model.named_parameters() if (p != before[name]).any()}
        assert moved == self.trained(model, x, self.guides[0])

    def trained(self, model: FacetModel, x: Tensor, guide: str) -> set[str]:
        """Names of the parameters that this library's own objective trains."""
        model.zero_grad()
        model(x, guide).loss.backward()
        return {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}

    @pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites")
    def test_pyro_s_own_objective_has_the_same_value(self) -> None:
        if not self.equals_stock:
            pytest.skip("this objective takes expectations where Pyro's own takes samples")
        model, x = self.build(), self.observations()
        guides = {*SAMPLING} & {*self.guides}
        assert guides, "no guide with sampled KLs is tested: give one, or equals_stock = False"
        for guide in guides:
            losses = []
            for objective in (TraceEnum_ELBO(max_plate_nesting=1), FacetELBO()):
                with Noise(SEED):
                    losses.append(objective.differentiable_loss(model.model, model.guide(guide), x))
            assert abs(losses[0] - losses[1]) <= RTOL * abs(losses[1]), guide

    def test_no_step_waits_for_the_device(self, guide: str) -> None:
        model, x = self.build(), self.observations()
        model.guide(guide)
        fade = torch.ones(model.n_facets, dtype=torch.float64)
        with NoWaiting(), pyro.validation_enabled(False), Noise(0):
            weighted(model, x, guide, 2, fade).loss.backward()

    def test_a_facet_at_weight_0_has_no_gradient(self, some_guide: str) -> None:
        model, x = self.build(), self.observations()
        if not model.structure.fades_in or model.n_facets < 2:
            pytest.skip("all facets of this model train from the first step")
        fade = torch.ones(model.n_facets, dtype=torch.float64)
        fade[0] = 0
        weighted(model, x, some_guide, fade=fade).loss.backward()
        own = [*model.facets[0].parameters(), *model.heads[0].parameters()]
        assert all(p.grad is None or not p.grad.any() for p in own)

    # --- predictions ---

    def test_predictions_do_not_depend_on_the_batches(self) -> None:
        model, x = self.build(), self.observations(7)
        whole = predict(model, x)
        for facet, r in zip(model.facets, whole.responsibilities, strict=True):
            assert r.shape == (7, facet.n_clusters)
            assert abs(r.sum(1) - 1).max() < 1e-12
        order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
        for other, rows in (
            (predict(model, x, 1), slice(None)),
            (predict(model, x, 3), slice(None)),
            (predict(model, x[order], 2), order.argsort().numpy()),
        ):
            for name in ("responsibilities", "z_mean"):
                for a, b in zip(getattr(other, name), getattr(whole, name), strict=True):
                    assert abs(a[rows] - b).max() < 1e-12
        alone = predict(model, x[:1])
        assert [z.shape for z in alone.z_mean] == [(1, f.latent_dim) for f in model.facets]

    def test_responsibilities_at_the_means(self) -> None:
        model, x = self.build(), self.observations()
        predicted = predict(model, x).responsibilities
        for ours, theirs in zip(model.responsibilities(x), predicted, strict=True):
            torch.testing.assert_close(ours, torch.from_numpy(theirs))

    # --- runs ---

    def test_runs_trained_together_equal_runs_alone(self, some_guide: str) -> None:
        configs = [self.config(seed=seed, **{"guide.name": some_guide}) for seed in (0, 5)]
        alone, together = ([first_state(config) for config in configs] for _ in range(2))
        joined = Together(together)
        for _ in range(5):
            joined.step()
            for state in alone:
                Eager(state).step()
        for a, b in zip(alone, together, strict=True):
            theirs = b.model.state_dict()
            for name, value in a.model.state_dict().items():
                torch.testing.assert_close(theirs[name], value, rtol=1e-6, atol=1e-7)
        values = [torch.nn.utils.parameters_to_vector(s.model.parameters()) for s in together]
        assert relative_error(*values) > 0.01

    def test_traced_steps_equal_steps_as_they_are(self, guide: str) -> None:
        """Also as fade weights, KL weights, temperature and learning rates change."""
        settings: dict[str, Any] = {
            "guide.name": guide,
            "data": {"name": "arcs", "options": {"n_train": 32, "n_test": 10}},
            "training.epochs_per_step": [10],
            "training.learning_rate_schedule": "cosine",
            "training.kl_start": 0.2,
            "training.kl_warm_up": [1, 8],
        }
        structure = self.build().structure
        if structure.fades_in and len(structure.facets) > 1:
            stages = [2] * (len(structure.facets) - 1)
            settings |= {"training.epochs_per_step": [*stages, 10], "training.n_fade_in_batches": 9}
        eager, traced = (first_state(self.config(**settings)) for _ in range(2))
        as_it_is, steps = Eager(eager), Traced(GivenNoise(traced))
        with warnings.catch_warnings():
            warnings.simplefilter("error", SlowStepWarning)
            for _ in range(20):
                as_it_is.step()
                steps.step()
        theirs = traced.objective.state_dict()
        for name, value in eager.objective.state_dict().items():
            torch.testing.assert_close(theirs[name], value, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(traced.totals, eager.totals, rtol=1e-12, atol=1e-12)

    @pytest.mark.filterwarnings("ignore::pyro_mfcvae.errors.NoEffectWarning")
    def test_a_run_is_read_back_as_it_was(self, some_guide: str) -> None:
        settings: dict[str, Any] = {"guide.name": some_guide, "training.epochs_per_step": [1]}
        config = self.config(**settings)
        run, state, dataset = train(config, "run")
        read = Run(run.path).model()
        assert read.state_dict().keys() == state.model.state_dict().keys()
        x = dataset.x[:5].double()
        values = []
        for model in (state.model.double(), read.double()):
            with Noise(SEED), model.evaluating():
                values.append(model(x, some_guide, 2).elbo)
        assert torch.equal(*values)
