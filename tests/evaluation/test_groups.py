"""Groups of observations, what tells them apart, and pictures along what each shares."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.evaluation import (
    GroupKind,
    between_groups,
    classify_groups,
    domain_follows,
    draw_groups,
    group_latents,
    neighbour_embedding,
    shared_and_own,
    tell_apart,
    values_of,
)
from pyro_mfcvae.evaluation.groups import HAIR, RANDOM, SERIES, SEX
from pyro_mfcvae.evaluation.separability import draw_latents
from pyro_mfcvae.figures import Seen, groups
from pyro_mfcvae.models import MFCVAE, UGVAE, FacetModel

SHAPE = (1, 4, 4)
SMALL = Component(name="shared", options={"widths": [8]})


def small_ugvae(n_clusters: int = 3, **options) -> UGVAE:
    options = {"group_size": 6, "width": 8, "mixture_width": 8} | options
    parts = ("gaussian", SMALL, SMALL)
    return UGVAE(SHAPE, f"2:{n_clusters},3:1", *parts, **options).double().eval()


def small_vae() -> MFCVAE:
    return MFCVAE(SHAPE, "2:1", "gaussian", SMALL, SMALL).double().eval()


def telling(model: FacetModel) -> FacetModel:
    """The same model, whose latents are far apart for observations that differ."""
    with torch.no_grad():
        model.heads[0].weight[:2].mul_(100)
        if model.structure.group_size is not None:
            model.experts.layers[-1].weight[:3].mul_(100)
    return model


def pictures(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, *SHAPE, generator=generator, dtype=torch.float64)


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
        (
            [GroupKind("red", "colour", (1,))],
            1,
            DataError,
            "chosen by 'colour', which the data have no",
        ),
        ([], 1, ValueError, "got 0, 1 and 25"),
        ([RANDOM], 0, ValueError, "got 1, 0 and 25"),
    ],
)
def test_groups_that_cannot_be(kinds, n_groups, error, message):
    with pytest.raises(error, match=message):
        draw_groups(labelled(), kinds, n_groups, 25)
    with pytest.raises(DataError, match="the data have none"):
        draw_groups({}, [RANDOM], 1, 1)


@pytest.mark.parametrize("n_clusters", [1, 3])
@pytest.mark.parametrize("as_factor", [False, True])
def test_latents_of_groups_are_those_of_each_group_by_itself(n_clusters, as_factor):
    model, x = small_ugvae(n_clusters, prior_as_factor=as_factor), pictures(30)
    rows = np.random.default_rng(0).integers(30, size=(5, 6))
    means, deviations = group_latents(model, x, rows)
    with torch.no_grad():
        for group, mean, deviation in zip(rows, means, deviations, strict=True):
            alone = model.summarise_group([x[group[:4]], x[group[4:]]])
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
    z = draw_latents((mean, deviation), seed=1)
    assert np.abs(z.mean(0) - mean[0]).max() < 4.5 * 2.0 / n**0.5
    # The standard error of a standard deviation is sigma / sqrt(2 n).
    assert (np.abs(z.std(0) - deviation[0]) < 4.5 * deviation[0] / (2 * n) ** 0.5).all()


def test_machines_tell_apart_what_is_apart_and_nothing_else():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], 40)
    apart = rng.standard_normal((120, 2)) + 20 * np.eye(3)[classes][:, :2]
    found = tell_apart((apart, classes), (apart + 0.1, classes))
    assert {value for parts in found.values() for value in parts.values()} == {1.0}
    ring = rng.standard_normal((200, 2))
    ring /= np.linalg.norm(ring, axis=1, keepdims=True)
    ring[::2] *= 5
    inside = np.arange(200) % 2
    found = tell_apart((ring, inside), (ring, inside))
    assert found["rbf"]["test"] == 1.0
    assert found["linear"]["test"] < 0.8
    small, large = apart * (1e-6, 1), apart * (1, 1e-6)
    for z in (small, large):
        found = tell_apart((z, classes), (z, classes), standardised=True)
        assert found["linear"]["test"] == 1.0
    noise = [rng.standard_normal((200, 2)) for _ in range(2)]
    found = tell_apart((noise[0], inside), (noise[1], inside))
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


@pytest.mark.parametrize("kind", [small_ugvae, small_vae])
def test_groups_are_judged_by_held_out_observations(kind):
    results, model = {}, telling(kind())
    for backwards in (False, True):
        data = opposites(seen_backwards=backwards)
        results[backwards] = classify_groups(
            model, data, {"light": values_of(data, "light")}, 6, n_train=20, n_test=10
        )
    for backwards, found in results.items():
        apart = found["comparisons"]["light"]["apart"]
        for accuracies in (*apart["samples"].values(), *apart["means"].values()):
            assert accuracies["train"] > 0.95
            assert accuracies["test"] < 0.1 if backwards else accuracies["test"] > 0.9
    assert results[False]["comparisons"]["light"]["kinds"] == ["dark", "bright"]
    for accuracies in results[False]["comparisons"]["light"]["with_random"]["samples"].values():
        assert accuracies["test"] > 0.7
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
            mean = model.facets[0]([z_1]).loc[:, 2]
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
        z_1 = torch.stack([model.summarise_group([group]).mean for group in groups])
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
    model, data = telling(small_ugvae()), opposites()
    model.decoder = Only(j, dim)
    found = domain_follows(model, data.x, data.labels["light"].numpy())
    assert found["judge"] == 1.0
    assert found["shared"] == pytest.approx(share, abs=0.05)
    assert found["own"] == pytest.approx(1 - share, abs=0.05)


def test_without_a_shared_latent_the_domain_goes_with_the_mean_of_the_own_ones():
    model, data = telling(small_vae()), opposites()
    model.decoder = Only(0, 2)
    found = domain_follows(model, data.x, data.labels["light"].numpy())
    assert (found["judge"], found["shared"]) == (1.0, 1.0)


def test_what_needs_a_shared_latent_says_so():
    with pytest.raises(ValueError, match="share a latent, such as ugvae; got MFCVAE"):
        shared_and_own(small_vae())
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


def _seen(model: FacetModel, n: int = 60) -> Seen:
    return Seen(model, 1.0, pictures(n), labelled(n), {})


def test_groups_are_points_and_ways_between_them(monkeypatch):
    monkeypatch.setattr(groups, "_N_GROUPS", 3)
    seen, kinds = _seen(small_ugvae()), SERIES[:2]
    path = {"from here to there": np.random.default_rng(0).random((4, 3))}
    figure = groups.draw_map_of_groups(seen, kinds, 6, "a title", path)
    (axes,) = figure.axes
    assert [len(c.get_offsets()) for c in axes.collections] == [3, 3, 3]
    assert [len(line.get_xdata()) for line in axes.lines] == [4]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["even", "odd", "random", "from here to there"]
    grey = axes.collections[2].get_facecolor()[0, :3]
    assert (grey == grey[0]).all()


def test_grids_show_what_a_group_shares_and_what_lies_between_two():
    seen, kinds = _seen(small_ugvae()), SERIES[:2]
    clusters = seen.most_used(0)[:2]
    figure = groups.draw_along_shared(seen, "title", 2)
    assert len(figure.axes[0].images) == 7 * 7 * len(clusters)
    assert {f"cluster {k}" for k in clusters} <= {text.get_text() for text in figure.texts}
    figure, shared = groups.draw_between_kinds(seen, kinds, 6, "title")
    assert len(figure.axes[0].images) == 7 * 7 + 2
    assert shared.shape == (7, 3)
    texts = {text.get_text() for text in figure.texts}
    assert {"shared by even", "shared by odd", "0 %", "50 %", "100 %"} <= texts
    figure, shared = groups.draw_between_kinds(_seen(small_vae()), kinds, 6, "title")
    assert len(figure.axes[0].images) == 7 + 2
    assert not len(shared)
    assert not any("shared" in text.get_text() for text in figure.texts)
