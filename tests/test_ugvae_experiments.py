"""UG-VAE's experiments: groups, what tells them apart, pictures along what they share."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
import torch
from torch import nn

from pyro_mfcvae import figures
from pyro_mfcvae.config import Component
from pyro_mfcvae.data import Dataset, ObservationSpec
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.evaluation import (
    Kind,
    between_groups,
    classify_groups,
    domain_follows,
    draw_groups,
    group_latents,
    neighbour_embedding,
    shared_and_own,
    told_apart,
    values_of,
)
from pyro_mfcvae.evaluation.groups import HAIR, RANDOM, SERIES, SEX, drawn
from pyro_mfcvae.models import MFCVAE, UGVAE, build_model
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.reproduction import Plan, Request, batches, get_experiment, reproduce

SHAPE = (1, 4, 4)
SMALL = Component(name="shared", options={"widths": [8]})


def small_ugvae(n_clusters: int = 3, **options) -> UGVAE:
    options = {"group_size": 6, "width": 8, "mixture_width": 8} | options
    parts = ("gaussian", SMALL, SMALL)
    return UGVAE(SHAPE, f"2:{n_clusters},3:1", *parts, **options).double().eval()


def telling_ugvae() -> UGVAE:
    """Both of its latents tell observations apart that differ."""
    model = small_ugvae()
    with torch.no_grad():
        model.experts.layers[-1].weight[:3].mul_(100)
        model.heads[0].weight[:2].mul_(30)
    return model


def small_vae() -> MFCVAE:
    return MFCVAE(SHAPE, "2:1", "gaussian", SMALL, SMALL).double().eval()


def pictures(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, *SHAPE, generator=generator, dtype=torch.float64)


# Presets


def test_settings_are_those_of_the_paper():
    for data, dims, n_clusters in (("mnist", (10, 20), 10), ("celeba", (20, 20), 20)):
        config = get_preset(f"ugvae-{data}").config
        own, shared = config.model.facets
        assert (own.latent_dim, shared.latent_dim) == dims
        assert (own.n_clusters, shared.n_clusters) == (n_clusters, 1)
        assert config.training.batch_size == config.model.options["group_size"] == 128
        assert config.training.learning_rate == 5e-3
        assert config.model.likelihood.options["scale"] == pytest.approx(0.2**0.5)
        assert 10 <= config.training.n_epochs <= 50
        assert config.guide.name == "amortized"


@pytest.mark.parametrize("data", ["mnist", "domains"])
def test_ablations_change_nothing_else(data):
    whole, flat, plain = (
        get_preset(f"{kind}-{data}").config for kind in ("ugvae", "mlvae", "betavae")
    )
    assert [facet.n_clusters for facet in flat.model.facets] == [1, 1]
    assert (flat.model.name, flat.model.options) == ("ugvae", whole.model.options)
    assert (plain.model.name, len(plain.model.facets)) == ("mfcvae", 1)
    assert plain.training.kl_weight > 1 == whole.training.kl_weight
    for config in (flat, plain):
        assert (config.data, config.model.encoder) == (whole.data, whole.model.encoder)
        assert config.training.n_epochs == whole.training.n_epochs


def test_networks_for_celeba_are_those_of_the_paper():
    model = build_model(get_preset("ugvae-celeba").config.model, ObservationSpec((3, 64, 64)))
    for encoder in (model.encoder, model.expert_encoder):
        layers = [m for m in encoder.convolutions if isinstance(m, nn.Conv2d)]
        assert [m.out_channels for m in layers] == [32, 32, 64, 64]
        assert all((m.kernel_size, m.stride) == ((4, 4), (2, 2)) for m in layers)
        (dense,) = (m for m in encoder.trunk if isinstance(m, nn.Linear))
        assert (dense.in_features, dense.out_features) == (64 * 4 * 4, 256)
        assert any(isinstance(m, nn.BatchNorm1d) for m in encoder.trunk)
    up = [m for m in model.decoder.convolutions if isinstance(m, nn.ConvTranspose2d)]
    assert [m.in_channels for m in up] == [64, 64, 32, 32]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.decoder.modules())
    assert model.decoder.first_shape == (64, 4, 4)


# Groups


def test_series_are_what_their_names_say():
    fibonacci = {1, 2}
    while max(fibonacci) < 10:
        fibonacci.add(sum(sorted(fibonacci)[-2:]))
    rules = {
        "even": lambda n: n % 2 == 0,
        "odd": lambda n: n % 2 == 1,
        "Fibonacci": lambda n: n in fibonacci,
        "prime": lambda n: n > 1 and all(n % m for m in range(2, n)),
    }
    for kind in SERIES:
        assert kind.values == tuple(filter(rules[kind.name], range(10)))
        assert kind.factor == "digit"
    assert [kind.factor for kind in (*HAIR, *SEX)] == ["Black_Hair", "Blond_Hair", "Male", "Male"]


def labelled(n: int = 60) -> dict[str, np.ndarray]:
    return {"digit": np.arange(n) % 10}


def test_groups_hold_what_their_kind_says():
    labels = labelled()
    groups = draw_groups(labels, [*SERIES, RANDOM], n_groups=7, group_size=20, seed=3)
    assert groups.rows.shape == (35, 20)
    assert groups.classes.tolist() == [k for k in range(5) for _ in range(7)]
    for rows, k in zip(groups.rows, groups.classes, strict=True):
        assert len(set(rows)) == 20
        if k < 4:
            assert set(labels["digit"][rows]) <= set(SERIES[k].values)
    assert set(labels["digit"][groups.rows[groups.classes == 4]].flat) == set(range(10))
    again = draw_groups(labels, [*SERIES, RANDOM], n_groups=7, group_size=20, seed=3)
    assert (again.rows == groups.rows).all()
    other = draw_groups(labels, [*SERIES, RANDOM], n_groups=7, group_size=20, seed=4)
    assert (other.rows != groups.rows).any()


@pytest.mark.parametrize(
    ("kinds", "n_groups", "error", "message"),
    [
        ([SERIES[3]], 1, DataError, "'prime' takes 25 observations, and there are 24"),
        ([Kind("red", "colour", (1,))], 1, DataError, "chosen by 'colour', which the data have no"),
        ([], 1, ValueError, "got 0, 1 and 25"),
        ([RANDOM], 0, ValueError, "got 1, 0 and 25"),
    ],
)
def test_groups_that_cannot_be(kinds, n_groups, error, message):
    with pytest.raises(error, match=message):
        draw_groups(labelled(), kinds, n_groups, 25)


@pytest.mark.parametrize("n_clusters", [1, 3])
@pytest.mark.parametrize("as_factor", [False, True])
def test_latents_of_groups_are_those_of_each_group_by_itself(n_clusters, as_factor):
    model, x = small_ugvae(n_clusters, prior_as_factor=as_factor), pictures(30)
    rows = np.random.default_rng(0).integers(30, size=(5, 6))
    means, deviations = group_latents(model, x, rows)
    with torch.no_grad():
        for group, mean, deviation in zip(rows, means, deviations, strict=True):
            alone = model.group_posterior([x[group[:4]], x[group[4:]]])
            torch.testing.assert_close(torch.from_numpy(mean), alone.mean)
            torch.testing.assert_close(torch.from_numpy(deviation), alone.stddev)


def test_the_mean_of_a_group_stands_in_where_nothing_is_shared():
    model, x = small_vae(), pictures(30)
    rows = np.random.default_rng(0).integers(30, size=(5, 6))
    means, deviations = group_latents(model, x, rows)
    with torch.no_grad():
        (own,) = model.encode(x)
    for group, mean, deviation in zip(rows, means, deviations, strict=True):
        expected = sum(own.mean[i] for i in group) / 6
        np.testing.assert_allclose(mean, expected)
        variance = sum(own.stddev[i] ** 2 for i in group) / 36
        np.testing.assert_allclose(deviation, variance.sqrt())


def test_samples_have_the_moments_that_they_are_drawn_with():
    n = 20_000
    mean, deviation = np.full((n, 2), (3.0, -1.0)), np.full((n, 2), (0.5, 2.0))
    z = drawn((mean, deviation), seed=1)
    assert np.abs(z.mean(0) - mean[0]).max() < 4.5 * 2.0 / n**0.5
    # The standard error of a standard deviation is sigma / sqrt(2 n).
    assert (np.abs(z.std(0) - deviation[0]) < 4.5 * deviation[0] / (2 * n) ** 0.5).all()


def test_machines_tell_apart_what_is_apart_and_nothing_else():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], 40)
    apart = rng.standard_normal((120, 2)) + 20 * np.eye(3)[classes][:, :2]
    found = told_apart((apart, classes), (apart + 0.1, classes))
    assert {value for parts in found.values() for value in parts.values()} == {1.0}
    ring = rng.standard_normal((200, 2))
    ring /= np.linalg.norm(ring, axis=1, keepdims=True)
    ring[::2] *= 5
    inside = np.arange(200) % 2
    found = told_apart((ring, inside), (ring, inside))
    assert found["rbf"]["test"] == 1.0
    assert found["linear"]["test"] < 0.8
    noise = [rng.standard_normal((200, 2)) for _ in range(2)]
    found = told_apart((noise[0], inside), (noise[1], inside))
    assert abs(found["rbf"]["test"] - 0.5) < 4.5 * 0.5 / 200**0.5


def opposites(n: int = 40, seen_backwards: bool = False) -> Dataset:
    """Dark and bright pictures; of held-out ones the labels may be exchanged."""
    bright = torch.arange(2 * n) % 2
    x = pictures(2 * n).float() * 0.1 + 0.9 * bright[:, None, None, None]
    labels = bright.clone()
    if seen_backwards:
        labels[n:] = 1 - labels[n:]
    rows = torch.arange(2 * n)
    names = {"light": ("dark", "bright")}
    return Dataset("opposites", x, rows[:n], rows[n:], {"light": labels}, names)


@pytest.mark.parametrize("model", [telling_ugvae, small_vae])
def test_groups_are_judged_by_held_out_observations(model):
    results = {}
    for backwards in (False, True):
        data = opposites(seen_backwards=backwards)
        results[backwards] = classify_groups(
            model(), data, {"light": values_of(data, "light")}, 6, n_train=20, n_test=10
        )
    for backwards, found in results.items():
        for accuracies in found["comparisons"]["light"]["apart"].values():
            assert accuracies["train"] > 0.95
            assert accuracies["test"] < 0.1 if backwards else accuracies["test"] > 0.9
    assert results[False]["comparisons"]["light"]["kinds"] == ["dark", "bright"]
    with_random = results[True]["comparisons"]["light"]["with_random"]["rbf"]
    assert with_random["test"] > 0.2  # random groups are still told from both
    assert (found["group_size"], found["n_train"], found["n_test"]) == (6, 20, 10)
    assert json.loads(json.dumps(found)) == found


def test_a_factor_must_be_there_to_choose_groups_by_it():
    with pytest.raises(DataError, match="opposites has no factor 'digit'.*it has light"):
        values_of(opposites(), "digit")


# Pictures along the shared latent


def test_grids_go_where_the_paper_goes():
    model = small_ugvae()
    grid, rows, columns = shared_and_own(model, cluster=2, n_rows=5, n_columns=3)
    assert grid.shape == (5, 3, *SHAPE)
    np.testing.assert_allclose(rows, [-1, -0.5, 0, 0.5, 1])
    np.testing.assert_allclose(columns, [-3, 0, 3])
    with torch.no_grad():
        for i, beta in enumerate(rows.tolist()):
            z_1 = torch.full((1, 3), beta, dtype=torch.float64)
            mean = model.facets[0].given(z_1).loc[:, 2]
            for k, offset in enumerate(columns.tolist()):
                expected = model.decode([mean + offset, z_1]).mean[0]
                np.testing.assert_allclose(grid[i, k], expected, atol=1e-12)


def test_without_clusters_the_own_latent_goes_from_minus_one_to_one():
    model = small_ugvae(1)
    grid, _, columns = shared_and_own(model, n_rows=2, n_columns=2)
    np.testing.assert_allclose(columns, [-1, 1])
    z_0, z_1 = (torch.ones(1, dim, dtype=torch.float64) for dim in (2, 3))
    with torch.no_grad():
        np.testing.assert_allclose(grid[1, 1], model.decode([z_0, z_1]).mean[0], atol=1e-12)


def test_corners_between_groups_are_the_groups_and_the_observations():
    model, x = small_ugvae(), pictures(14)
    groups, ends = (x[:6], x[6:12]), (x[12], x[13])
    grid, shared = between_groups(model, groups, ends, n_steps=3)
    assert (grid.shape, shared.shape) == ((3, 3, *SHAPE), (3, 3))
    with torch.no_grad():
        z_0 = model.encode(x[12:])[0].mean
        z_1 = torch.stack([model.group_posterior([group]).mean for group in groups])
        for i, k in ((0, 0), (0, 1), (1, 0), (1, 1)):
            corner = model.decode([z_0[k : k + 1], z_1[i : i + 1]]).mean[0]
            np.testing.assert_allclose(grid[2 * i, 2 * k], corner, atol=1e-12)
        middle = model.decode([z_0.mean(0, keepdim=True), z_1.mean(0, keepdim=True)]).mean[0]
    np.testing.assert_allclose(grid[1, 1], middle, atol=1e-12)
    np.testing.assert_allclose(shared, [z_1[0], z_1.mean(0), z_1[1]])


def test_where_nothing_is_shared_there_is_one_row_between_groups():
    model, x = small_vae(), pictures(14)
    grid, shared = between_groups(model, (x[:6], x[6:12]), (x[12], x[13]), n_steps=4)
    assert grid.shape == (1, 4, *SHAPE)
    assert shared.size == 0


class Only(nn.Module):
    """A decoder that knows one of the latents."""

    def __init__(self, j: int, dim: int) -> None:
        super().__init__()
        self.j = j
        self.register_buffer("weight", torch.randn(dim, 16, dtype=torch.float64))

    def forward(self, zs, fade=None):
        return (zs[self.j] @ self.weight).unflatten(-1, SHAPE)


@pytest.mark.parametrize(("j", "dim", "share"), [(0, 2, 0.0), (1, 3, 1.0)])
def test_the_domain_comes_with_the_latent_that_the_decoder_knows(j, dim, share):
    model, data = telling_ugvae(), opposites()
    model.decoder = Only(j, dim)
    found = domain_follows(model, data.x, data.labels["light"].numpy())
    assert found["judge"] == 1.0
    assert found["shared"] == pytest.approx(share, abs=0.05)
    assert found["own"] == pytest.approx(1 - share, abs=0.05)


def test_what_needs_a_shared_latent_says_so():
    for measure in (
        lambda: shared_and_own(small_vae()),
        lambda: domain_follows(small_vae(), pictures(4), np.array([0, 1, 0, 1])),
    ):
        with pytest.raises(ValueError, match="share a latent, such as ugvae; got MFCVAE"):
            measure()
    with pytest.raises(ValueError, match="a cluster from 0 to 2, got 3"):
        shared_and_own(small_ugvae(), cluster=3)


# Figures


def test_embedded_neighbours_stay_neighbours():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1], 15)
    points = neighbour_embedding(rng.standard_normal((30, 5)) + 20.0 * classes[:, None])
    assert points.shape == (30, 2)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert (classes[distances.argmin(1)] == classes).all()
    with pytest.raises(ValueError, match="4 points or more to embed, got 3"):
        neighbour_embedding(np.zeros((3, 2)))


def test_figures_of_groups():
    rng = np.random.default_rng(0)
    points, classes = rng.random((9, 2)), np.repeat([0, 1, 2], 3)
    lines = [("from here to there", rng.random((4, 2)))]
    figure = figures.group_points(points, classes, ["even", "odd", "random"], "a title", lines)
    (axes,) = figure.axes
    assert [len(c.get_offsets()) for c in axes.collections] == [3, 3, 3]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["even", "odd", "random", "from here to there"]
    grey = axes.collections[2].get_facecolor()[0, :3]
    assert (grey == grey[0]).all()
    grids = [rng.random((2, 3, *SHAPE)) for _ in range(2)]
    figure = figures.shared_and_own_grids(grids, ["one", "two"], [-1, 1], [-3, 0, 3], "title")
    assert len(figure.axes[0].images) == 12
    with pytest.raises(ValueError, match=r"expected pictures \(3, 3, ...\)"):
        figures.shared_and_own_grids(grids, ["one", "two"], [-1, 0, 1], [-3, 0, 3])
    ends = (rng.random(SHAPE), rng.random(SHAPE))
    figure = figures.between_groups_grid(grids[0], ends, ("a", "b"), "title")
    assert len(figure.axes[0].images) == 6 + 2
    texts = {text.get_text() for text in figure.texts}
    assert {"shared by a", "shared by b", "0 %", "50 %", "100 %"} <= texts
    figure = figures.between_groups_grid(grids[0][:1], ends, ("a", "b"))
    assert not any("shared" in text.get_text() for text in figure.texts)


# Experiments


def test_published_accuracies_stand_beside_the_same_data_only():
    experiment = get_experiment("ugvae-celeba")
    arms = experiment.arms("full")
    lines = {
        entry.path[2:]: entry.published
        for entry in experiment.entries(arms)
        if entry.path[0] == "groups"
    }
    assert len(lines) == 16
    assert lines["black, blond", "apart", "linear", "train"] == "100"
    assert lines["black, blond", "apart", "rbf", "test"] == "98"
    assert lines["male, female", "with_random", "linear", "test"] == "66"
    for name in ("ugvae-mnist", "ugvae-shapes", "ugvae-domains"):
        other = get_experiment(name)
        assert not any(entry.published for entry in other.entries(other.arms("full")))


def test_faces_that_are_not_there_are_told_before_any_training(tmp_path):
    with pytest.raises(DataError, match="ugvae-celeba: CelebA is not complete.*--data-dir"):
        Plan(get_experiment("ugvae-celeba"), Request(data_dir=tmp_path, out=tmp_path))


def _tiny(options: dict) -> list[str]:
    return [
        f"data={json.dumps(options)}",
        "training.epochs_per_step=2",
        "training.batch_size=8",
        "training.evaluate_every=0",
        'model.encoder={"name": "shared", "options": {"widths": [8]}}',
        'model.decoder={"name": "shared", "options": {"widths": [8]}}',
    ]


SCENES = {
    "name": "shapes",
    "options": {
        "size": 8,
        "test_fraction": 0.5,
        "factors": {"floor_hue": [0, 5], "wall_hue": [5], "object_hue": [6], "scale": [0, 7],
                    "orientation": [0, 4, 8, 12]},
    },
}  # fmt: skip
DOMAINS = {
    "name": "mixed",
    "options": {"first": SCENES, "second": SCENES | {"inverted": True}},
}


@pytest.fixture
def few_groups(monkeypatch):
    few = functools.partial(classify_groups, n_train=4, n_test=3)
    monkeypatch.setattr(batches, "classify_groups", few)
    monkeypatch.setattr("pyro_mfcvae.drawing.groups._N_GROUPS", 3)


def test_domains_end_to_end(tmp_path, few_groups):
    group = ["model.options.group_size=8"]
    experiment = get_experiment("ugvae-domains")
    for only, more in ((["ugvae-domains", "mlvae-domains"], group), (["betavae-domains"], [])):
        request = Request(
            "quick", n_seeds=1, only=only, assignments=[*_tiny(DOMAINS), *more], out=tmp_path
        )
        results, folder = reproduce(experiment, request)
    recorded = json.loads((folder / "results.json").read_text())
    assert recorded["figures"] == results["figures"]
    assert {"figure-5a-betavae-domains.png", "figure-5b-betavae-domains.png"} <= {
        *recorded["figures"]
    }
    (run,) = (r for r in recorded["runs"] if r["arm"] == "betavae-domains")
    assert run["domains"] == {}
    assert set(run["groups"]["comparisons"]) == {"domain"}
    assert run["groups"]["comparisons"]["domain"]["kinds"] == ["shapes", "shapes inverted"]


def test_values_of_factors_end_to_end(tmp_path, few_groups):
    request = Request(
        "quick",
        n_seeds=1,
        assignments=[*_tiny(SCENES), "model.options.group_size=8"],
        out=tmp_path,
    )
    experiment = get_experiment("ugvae-shapes")
    results, folder = reproduce(experiment, request)
    lines = [line for line in results["table"] if "SVM" in line["metric"]]
    assert len(lines) == 4 * 2 * 2 * 2
    assert all(0 <= line["mean"] <= 1 for line in lines)
    expected = {"figure-3-ugvae-shapes.png"} | {
        f"figure-7-{factor}-ugvae-shapes.png"
        for factor in ("floor-hue", "shape", "scale", "orientation")
    }
    assert {*results["figures"]} == expected
    written = (folder / "figure-3-ugvae-shapes.png").stat().st_mtime_ns
    again, _ = reproduce(experiment, request)
    assert again["table"] == results["table"]
    assert (folder / "figure-3-ugvae-shapes.png").stat().st_mtime_ns > written
