"""The likelihood of mixed columns against SciPy's densities, and its missing cells."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import adjusted_rand_score

from pyro_mfcvae import GMVAE, MFCVAE, UGVAE, VLAC, VaDE
from pyro_mfcvae.config import Component, override, with_facets
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.nets.columns import ColumnsLikelihood
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.training import Fitted, fit

KINDS = ["categorical:3", "real", "count", "binary", "positive", "real", "categorical:2"]
LOC = [0.0, 5.0, 1.5, 0.0, -1.0, 0.0, 0.0]
SCALE = [1.0, 2.0, 0.5, 1.0, 0.8, 0.1, 1.0]
ROWS = torch.tensor(
    [[2.0, 4.0, 7.0, 1.0, 0.3, 0.05, 0.0], [0.0, 6.5, 0.0, 0.0, 2.0, -0.2, 1.0]],
    dtype=torch.float64,
)
GAPS = torch.tensor([[1, 0, 0, 1, 0, 1, 0], [0, 1, 1, 0, 1, 0, 1]], dtype=torch.bool)


@pytest.fixture
def likelihood():
    own = ColumnsLikelihood(KINDS, LOC, SCALE, missing=True).double()
    with torch.no_grad():
        own.log_spread.copy_(torch.linspace(-0.5, 0.4, len(KINDS)))
    return own


@pytest.fixture
def parameters(likelihood):
    generator = torch.Generator().manual_seed(0)
    shape = (2, likelihood.n_parameters)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def scipy_cells(likelihood, h):
    """log p(x_i | h_i) of every cell of ROWS, and the cells' means, one column at a time."""
    spread = likelihood.log_spread.exp().tolist()
    log_probs, means, at = [], [], 0
    for i, kind in enumerate(KINDS):
        n = int(kind.partition(":")[2] or 1)
        own, x, at = h[:, at : at + n].numpy(), ROWS[:, i].numpy(), at + n
        u, sd = LOC[i] + SCALE[i] * own[:, 0], SCALE[i] * (0.05 + spread[i])
        if kind == "real":
            cells = stats.norm(u, sd)
        elif kind == "positive":
            cells = stats.lognorm(sd, scale=np.exp(u))
        elif kind == "count":
            cells = stats.nbinom(spread[i], spread[i] / (spread[i] + np.exp(u)))
        elif kind == "binary":
            cells = stats.bernoulli(1 / (1 + np.exp(-own[:, 0])))
        else:
            p = np.exp(own) / np.exp(own).sum(1, keepdims=True)
            log_probs.append(np.log(p[np.arange(2), x.astype(int)]))
            means.append(p.argmax(1))
            continue
        discrete = kind in ("count", "binary")
        log_probs.append(cells.logpmf(x) if discrete else cells.logpdf(x))
        means.append(cells.mean())
    return np.stack(log_probs, 1), np.stack(means, 1)


def test_each_kind_has_the_density_and_mean_of_scipy(likelihood, parameters):
    with torch.no_grad():
        log_probs, means = scipy_cells(likelihood, parameters)
        got = likelihood(parameters, 1)
        np.testing.assert_allclose(got.log_prob(ROWS), log_probs.sum(1), rtol=1e-10)
        np.testing.assert_allclose(got.mean, means, rtol=1e-10)


def test_a_missing_cell_has_no_term(likelihood, parameters):
    with torch.no_grad():
        log_probs, _ = scipy_cells(likelihood, parameters)
        got = likelihood(parameters, 1).log_prob(ROWS.masked_fill(GAPS, math.nan))
        np.testing.assert_allclose(got, np.where(GAPS, 0, log_probs).sum(1), rtol=1e-10)
        nothing = torch.full_like(ROWS, math.nan)
        assert (likelihood(parameters, 1).log_prob(nothing) == 0).all()


def test_missing_cells_give_gradients_to_nothing_of_theirs(likelihood, parameters):
    parameters.requires_grad_()
    likelihood(parameters, 1).log_prob(ROWS.masked_fill(GAPS, math.nan)).sum().backward()
    sizes = [int(kind.partition(":")[2] or 1) for kind in KINDS]
    known = (~GAPS).repeat_interleave(torch.tensor(sizes), 1)
    assert torch.equal(parameters.grad != 0, known)


def test_samples_have_the_mean_of_the_density(likelihood, parameters):
    torch.manual_seed(0)
    got = likelihood(parameters, 1)
    samples = got.sample((20_000,))
    assert samples.shape == (20_000, 2, len(KINDS))
    numbers = [i for i, kind in enumerate(KINDS) if not kind.startswith("categorical")]
    error = samples.std(0) / math.sqrt(len(samples))
    z = ((samples.mean(0) - got.mean) / error)[:, numbers]
    assert z.abs().max() < 5


def test_the_encoder_sees_standardised_values_classes_and_what_is_known(likelihood):
    row = ROWS[:1].clone()
    row[0, 5] = math.nan
    expected = [(4 - 5) / 2, 0.0, (math.log(0.3) + 1) / 0.8, (math.log1p(7) - 1.5) / 0.5, 1.0]
    expected += [0.0, 0.0, 1.0, 1.0, 0.0]
    got = likelihood.encoder_input(row)[0]
    torch.testing.assert_close(got[:10], torch.tensor(expected, dtype=torch.float64))
    assert got[10:].tolist() == [1, 1, 1, 1, 1, 0, 1]
    assert got.shape == likelihood.encoder_shape((7,))


def _rows(n=60):
    """Rows with every kind of column; each class has a tenth of them at least."""
    generator = np.random.default_rng(3)
    classes = [np.arange(n) % 3, generator.permutation(n) % 4 == 0, generator.permutation(n) % 2]
    numbers = [generator.poisson(3, n), np.exp(generator.normal(size=n)), generator.normal(size=n)]
    columns = [classes[0], generator.normal(5, 2, n), numbers[0], classes[1], *numbers[1:]]
    return torch.from_numpy(np.stack([*columns, classes[2]], 1).astype(float))


def test_classes_begin_with_a_newton_step_from_their_frequencies(likelihood):
    x = _rows()
    working = likelihood.working_values(x)
    assert working.values.shape == (len(x), likelihood.n_parameters)

    def log_prob(h, row):
        return likelihood(h, 1).log_prob(row)

    step = working.scale * working.values
    for columns in (slice(0, 3), slice(5, 6), slice(8, 10)):
        # Fisher's information is the expected negative Hessian, which no class changes.
        hessian = torch.autograd.functional.hessian(lambda h: log_prob(h, x[0]), working.offset)
        information = -hessian[columns, columns]
        for row, own in zip(x[:4], step, strict=False):
            h = working.offset.clone().requires_grad_()
            gradient = torch.autograd.grad(log_prob(h, row), h)[0][columns]
            torch.testing.assert_close(information @ own[columns], gradient)
        variance = working.values[:, columns].var(0, correction=0).sum()
        assert variance.item() == pytest.approx(1)


def test_numbers_begin_standardised_and_gaps_in_the_middle(likelihood):
    x = _rows()
    x[::4] = x[::4].masked_fill(GAPS[:1], math.nan)
    working = likelihood.working_values(x)
    gaps = torch.cat([GAPS[0, :1].expand(3), GAPS[0, 1:6], GAPS[0, 6:].expand(2)])
    assert (working.values[::4][:, gaps] == 0).all()
    classes, numbers = torch.tensor([0, 1, 2, 5, 8, 9]), torch.tensor([3, 4, 6, 7])
    torch.testing.assert_close(
        working.values[:, classes].mean(0), torch.zeros(6).double(), atol=1e-12, rtol=0
    )
    means = likelihood(working.offset + working.scale * working.values, 1).mean
    expected = x[1, [1, 5]]  # the mean of a normal density is the value itself
    torch.testing.assert_close(means[1, [1, 5]], expected)
    assert (working.offset[numbers] == 0).all()
    assert (working.scale[numbers] == 1).all()


def test_a_class_that_nobody_has_and_a_column_without_values_stay_finite():
    likelihood = ColumnsLikelihood(["categorical:3", "binary", "real"], missing=True).double()
    x = torch.tensor([[0.0, 1.0, math.nan], [1.0, 1.0, math.nan]], dtype=torch.float64)
    assert all(part.isfinite().all() for part in likelihood.working_values(x))


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"kinds": ["ordinal"]}, r"kinds\[0\]"),
        ({"kinds": ["real", "categorical:1"]}, r"kinds\[1\]"),
        ({"kinds": ["real", "categorical"]}, r"kinds\[1\]"),
        ({"kinds": []}, "kinds"),
        ({"kinds": ["real"], "loc": [0.0, 1.0]}, "loc"),
        ({"kinds": ["real"], "scale": [0.0]}, "scale"),
        ({"kinds": ["real"], "min_scale": 0.0}, "min_scale"),
    ],
)
def test_settings_that_fit_no_table_are_refused(options, setting):
    with pytest.raises(ConfigError, match=setting):
        ColumnsLikelihood(**options)


def test_data_of_another_number_of_columns_are_refused():
    with pytest.raises(DataError, match="columns"):
        MFCVAE([3], "2:2", Component(name="columns", options={"kinds": ["real", "real"]}))


def mixed_rows(n: int, share_missing: float, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Rows of two groups that differ in every column, and the groups."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2, n)
    sign = 2 * group - 1
    x = np.stack(
        [
            rng.normal(100 + 8 * sign, 4),
            rng.lognormal(0.8 * sign, 0.4),
            rng.poisson(np.where(group, 9, 3)),
            rng.random(n) < np.where(group, 0.85, 0.15),
            np.where(rng.random(n) < 0.8, group, 2),
            rng.normal(-3 * sign, 2),
        ],
        1,
    ).astype("f4")
    x[rng.random(x.shape) < share_missing] = np.nan
    return torch.from_numpy(x), group


def fitted(x: torch.Tensor, guide: str = "vade", **changes: object) -> Fitted:
    kinds = ["real", "positive", "count", "binary", "categorical:3", "real"]
    loc, scale = [100.0, 0.0, 1.7, 0.0, 0.0, 0.0], [9.0, 0.9, 0.6, 1.0, 1.0, 3.6]
    columns = {"kinds": kinds, "loc": loc, "scale": scale, "missing": True}
    network = {"name": "shared", "options": {"widths": [32]}}
    settings = {
        "model.likelihood": {"name": "columns", "options": columns},
        "model.encoder": network,
        "model.decoder": network,
        "guide.name": guide,
        "model.facets.0.initial_variance": 1.0,
        "training.batch_size": 100,
        "training.learning_rate": 0.005,
        "training.epochs_per_step": [75],
        "training.refit_mixtures": [25],
        "training.n_threads": 1,
        **changes,
    }
    config = with_facets(get_preset("shapes").config, "2:2")
    config = override(config, [f"{path}={json.dumps(value)}" for path, value in settings.items()])
    order = torch.arange(len(x))
    return fit(config, Dataset("rows", x, train=order[50:], test=order[:50]))


@pytest.mark.parametrize("guide", ["vade", "enumerate"])
def test_rows_with_a_third_of_their_cells_missing_are_clustered(guide):
    x, group = mixed_rows(450, 0.3, seed=0)
    clusters = fitted(x, guide).model.responsibilities(x)[0].argmax(1)
    assert adjusted_rand_score(group, clusters) > 0.9


def test_values_that_are_missing_need_a_likelihood_that_leaves_them_out():
    x, _ = mixed_rows(100, 0.1, seed=0)
    dataset = Dataset("rows", x, train=torch.arange(90), test=torch.arange(90, 100))
    config = with_facets(get_preset("shapes").config, "2:2")
    with pytest.raises(DataError, match="rows: .*missing"):
        fit(config, dataset)


def test_pretraining_by_squared_error_is_refused():
    x, _ = mixed_rows(100, 0.0, seed=0)
    with pytest.raises(ConfigError, match=r"training\.pretraining"):
        fitted(x, **{"training.pretraining": {"name": "autoencoder", "options": {}}})


@pytest.mark.parametrize(
    ("model", "guide"),
    [(VaDE, "vade"), (VLAC, "relaxed"), (GMVAE, "amortized"), (UGVAE, "amortized")],
)
def test_every_model_takes_them(model, guide):
    x, _ = mixed_rows(40, 0.3, seed=0)
    options = {"kinds": ["real", "positive", "count", "binary", "categorical:3", "real"]}
    likelihood = Component(name="columns", options={**options, "missing": True})
    width = {"backbone": 8} if model is VLAC else {"widths": [8]}
    network = Component(name="ladder" if model is VLAC else "shared", options=width)
    facets = "2:2,2:1" if model in (GMVAE, UGVAE) else "2:2"
    own = {UGVAE: {"group_size": 8}, VLAC: {"conditional": False}}.get(model, {})
    torch.manual_seed(0)
    model = model([6], facets, likelihood, network, network, **own)
    model(x, "enumerate").loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert model.decode([q.mean for q in model.encode(x)]).mean.isfinite().all()


def test_noise_is_that_of_columns_with_a_scale(likelihood):
    """Of the two real columns and the positive one, over the columns' own spread."""
    expected = 0.05 + np.exp(np.linspace(-0.5, 0.4, len(KINDS)))[[1, 5, 4]]
    np.testing.assert_allclose(likelihood.noise(ROWS).detach(), expected)
    assert ColumnsLikelihood(["binary", "categorical:3"]).noise(ROWS) is None
