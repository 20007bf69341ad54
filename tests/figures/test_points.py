"""Observations with two features as points in the plane, and what captions say of each model."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from matplotlib.figure import Figure
from PIL import Image

from pyro_mfcvae import evaluation
from pyro_mfcvae.cli import main
from pyro_mfcvae.config import Component
from pyro_mfcvae.errors import RunError
from pyro_mfcvae.evaluation.results import Evaluation, FacetResults
from pyro_mfcvae.figures import (
    Recorded,
    Seen,
    draw_figure,
    draw_figures,
    find_figure,
    get_figure,
    read_reasons,
    save_figure,
)
from pyro_mfcvae.figures.canvas import Group
from pyro_mfcvae.figures.points import Points
from pyro_mfcvae.figures.registry import expand_figures, file_name
from pyro_mfcvae.models import GMVAE, MFCVAE, UGVAE
from pyro_mfcvae.report import write_report
from pyro_mfcvae.report.pictures import read_pictures
from pyro_mfcvae.runs.run import Run

SMALL = Component(name="shared", options={"widths": [8]})
PARTS = ("gaussian", SMALL, SMALL)
GROUND = np.random.default_rng(0).random((30, 2))
KIT = Points(GROUND)


def _points(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random((*shape, 2))


def _groups(*drawn: np.ndarray) -> list[Group]:
    return [Group(f"{k}", points) for k, points in enumerate(drawn)]


def _dots(axes, i: int = -1) -> np.ndarray:
    return np.asarray(axes.collections[i].get_offsets())


def _titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


def _lines(axes) -> list[np.ndarray]:
    return [line.get_xydata() for line in axes.lines]


def _stars(axes) -> np.ndarray:
    return np.concatenate([line.get_xydata() for line in axes.lines if line.get_marker() == "*"])


def test_the_ground_lies_behind_every_panel():
    figure = KIT.draw_groups(_groups(*_points(7, 4)), "")
    assert len(figure.axes) == 7
    for axes in figure.axes:
        np.testing.assert_allclose(_dots(axes, 0), GROUND)
        assert axes.get_aspect() == 1
        assert axes.get_xlim() == figure.axes[0].get_xlim()
    low, high = figure.axes[0].get_xlim()
    assert low < GROUND[:, 0].min() < GROUND[:, 0].max() < high
    labelled = [axes.xaxis.get_major_ticks()[0].label1.get_visible() for axes in figure.axes]
    assert labelled == [False] * 2 + [True] * 5  # nothing stands below these
    stretched = Points(GROUND * [1, 0.01]).draw_groups(_groups(_points(4) * [1, 0.01]), "")
    assert stretched.axes[0].get_aspect() == "auto"


def _window(figure: Figure) -> np.ndarray:
    """Corners, (2, 2)."""
    return np.stack([figure.axes[0].get_xlim(), figure.axes[0].get_ylim()], 1)


def _outside(figure: Figure) -> list[list[str]]:
    return [[text.get_text() for text in axes.texts] for axes in figure.axes]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_what_is_drawn_beside_a_constant_feature_is_seen(scale):
    kit = Points(GROUND * [scale, 0] + np.array([0, 5 * scale]))
    low, high = _window(kit.draw_groups(_groups(kit.ground[:4]), ""))
    span = np.ptp(GROUND[:, 0]) * scale
    np.testing.assert_allclose([low[1], high[1]], [5 * scale - span / 10, 5 * scale + span / 10])
    drawn = (_points(2, 9) + np.array([0, 4])) * scale
    names = [str(i) for i in range(9)]
    for figure in (
        kit.draw_groups(_groups(*drawn), ""),
        kit.draw_means(drawn, ["01", "012345678"], ""),
        kit.draw_moves(drawn[:1], drawn[1:], ("", ""), ""),
        kit.draw_moves(drawn[:, :2], drawn[:, 2:4], ("", ""), ""),
        kit.draw_swaps(drawn[0], drawn[1, :2], drawn.transpose(1, 0, 2), "", [[5, 7], [1, 2]]),
        kit.draw_paths(drawn, ["a", "b"], names, "", drawn[0, :1]),
        kit.draw_paths(drawn, ["a", "b"], names, "", drawn[:, 0], drawn[:, 1]),
    ):
        low, high = _window(figure)
        for axes in figure.axes:
            for points in axes.collections:
                points = np.asarray(points.get_offsets())
                assert ((low < points) & (points < high)).all()
        assert not any("outside" in text for texts in _outside(figure) for text in texts)


def test_what_lies_far_away_is_counted():
    drawn = _points(2, 6)
    near = _window(KIT.draw_groups(_groups(*drawn), ""))
    drawn[1, 0], drawn[1, 1], drawn[1, 2, 0] = [0.5, -2.5], [0.5, 1e6], np.nan
    figure = KIT.draw_groups(_groups(*drawn), "")
    assert _outside(figure) == [[], ["2 outside"]]
    low, high = _window(figure)
    np.testing.assert_allclose([low[0], high[0]], near[:, 0])
    span = np.ptp(GROUND[:, 1])
    assert low[1] == pytest.approx(-2.5 - span / 10)
    assert high[1] == pytest.approx(GROUND[:, 1].max() + 3.1 * span)


def test_one_ground_point_has_a_window():
    low, high = _window(Points(GROUND[:1]).draw_groups(_groups(GROUND[:1]), ""))
    np.testing.assert_allclose([low, high], [GROUND[0] - 0.1, GROUND[0] + 0.1])


def test_groups_have_a_panel_each_and_the_first_stand_out():
    x = _points(3)
    figure = KIT.draw_groups([Group("a", x, "facet 1"), Group("b", x[:1])], "t", n_marked=2)
    assert _titles(figure) == ["facet 1, a", "b"]
    _, members, surest = (_dots(figure.axes[0], i) for i in range(3))
    np.testing.assert_allclose(members, x)
    np.testing.assert_allclose(surest, x[:2])
    assert len(KIT.draw_groups(_groups(x), "").axes[0].collections) == 2


def test_lines_lead_to_what_becomes_of_observations():
    x, moved, donors = _points(3), _points(3, 2) / 2, _points(2)
    (axes,) = KIT.draw_moves(x[None], moved[None, :, 0], ("", ""), "").axes
    np.testing.assert_allclose(_lines(axes), np.stack([x, moved[:, 0]], 1))
    np.testing.assert_allclose(_dots(axes, 1), x)
    for m, axes in enumerate(KIT.draw_swaps(x, donors, moved, "", [[5, 7, 8], [1, 2]]).axes):
        np.testing.assert_allclose(_stars(axes), donors[m : m + 1])
        np.testing.assert_allclose(_lines(axes)[:3], np.stack([x, moved[:, m]], 1))
    pairs, swapped = _points(2, 2), _points(2, 2) / 3
    figure = KIT.draw_moves(pairs, swapped, ("", ""), "", [[5, 7], [8, 9]])
    assert _titles(figure) == ["5 and 7", "8 and 9"]
    for i, axes in enumerate(figure.axes):
        np.testing.assert_allclose(_lines(axes), np.stack([pairs[i], swapped[i]], 1))


def test_ways_have_words_at_their_ends():
    path, x = _points(2, 3), _points(1)
    figure = KIT.draw_paths(path, ["a", "b"], ["-2 sd", "0", "+1.5 sd"], "t", x)
    assert _titles(figure) == ["a", "b"]
    for i, axes in enumerate(figure.axes):
        np.testing.assert_allclose(_lines(axes)[0], path[i])
        np.testing.assert_allclose(_stars(axes), x)  # the same input in both
        assert [text.get_text() for text in axes.texts] == ["-2 sd", "+1.5 sd"]
    start, end = _points(2), _points(2) / 2
    figure = KIT.draw_paths(path, ["a", "b"], ["0", "1", "2"], "t", start, end)
    for i, axes in enumerate(figure.axes):
        np.testing.assert_allclose(_stars(axes), np.stack([start[i], end[i]]))
        assert [text.get_text() for text in axes.texts] == ["from", "to"]


def test_means_are_numbered_where_there_is_room():
    means = np.array([[0.1, 0.1], [0.1, 0.1], [0.9, 0.9]])
    (axes,) = KIT.draw_means(means, ["427"], "").axes
    assert [text.get_text() for text in axes.texts] == ["4", "7"]
    figure = KIT.draw_means(np.stack([means, means]), ["10", "568"], "")
    assert _titles(figure) == ["row 1", "row 0"]
    np.testing.assert_allclose(_dots(figure.axes[0]), means)


def _held_out(model, n: int = 12) -> Seen:
    x = torch.rand(n, *model.observation.shape, generator=torch.Generator().manual_seed(0))
    labels = {"kind": np.arange(n) % 2}
    return Seen(model.eval(), 1.0, x, labels, {"kind": ("a", "b")})


def _gmvae(shape=(2,)) -> GMVAE:
    return GMVAE(shape, "2:3,2:1", *PARTS, mixture_width=8)


def _ugvae(shape=(1, 3, 3)) -> UGVAE:
    return UGVAE(shape, "2:3,2:1", *PARTS, group_size=6, width=8, mixture_width=8)


def _mfcvae(shape=(1, 3, 3)) -> MFCVAE:
    return MFCVAE(shape, "2:3,2:2", *PARTS)


@pytest.mark.parametrize("name", ["samples", "means"])
def test_a_title_tells_that_priors_have_clusters_without_members(name):
    seen = _held_out(_mfcvae())
    # Facet 0 uses two of its three clusters, then all; facet 1 uses one of its two.
    for n_used, expected in ((2, [True, True]), (3, [True, False])):
        responsibilities = [np.eye(3)[np.arange(12) % n_used], np.eye(2)[np.arange(12) * 0]]
        found = replace(seen.predictions, responsibilities=responsibilities)
        seen.__dict__["predictions"] = found
        titles = [get_figure(name).compute(seen, j).title for j in range(2)]
        assert ["unused clusters included" in title for title in titles] == expected


def _n_images(figure: Figure) -> int:
    return sum(len(axes.images) for axes in figure.axes)


def _drawn(seen: Seen, *names: str) -> dict[str, Figure]:
    """The figures of observations, and those of the names."""
    return {
        file_name(kind.name, facets): kind.draw(kind.compute(seen, *facets))
        for kind, facets in expand_figures(seen)
        if (not names or kind.name in names) and not kind.fits(seen, *facets)
    }


def test_two_features_are_drawn_as_points_and_others_as_pictures():
    seen = _held_out(_gmvae())
    names = ("reconstructions", "clusters", "samples", "swaps", "traversal", "means")
    drawn = _drawn(seen, *names, "interpolation")
    assert set(drawn) == {
        "reconstructions",
        "clusters-facet-0",
        "samples-facet-0",
        "swaps-facet-0",
        "swaps-facet-1",
        "traversal-facet-0",
        "traversal-facet-1",
        "means-facet-0",
        "interpolation",
    }
    drawn["generated"] = draw_figure("samples", seen)
    drawn["swapped-pairs"] = draw_figure("swapped-pairs", seen, 0)
    for name, figure in drawn.items():
        assert _n_images(figure) == 0, name
        ground = figure.axes[0].collections[0].get_offsets()
        np.testing.assert_allclose(ground, seen.x.numpy(), rtol=1e-5, err_msg=name)
    means = evaluation.reconstruct(seen.model, seen.x)
    np.testing.assert_allclose(_dots(drawn["reconstructions"].axes[0]), means, rtol=1e-4)
    for shape in ((1,), (3,), (1, 3, 3)):
        pictures = _drawn(_held_out(_gmvae(shape)), "reconstructions", "clusters", "samples")
        assert all(map(_n_images, pictures.values()))


def _details(seen: Seen, name: str) -> str:
    kind, facets = find_figure(name, seen.model.n_facets)
    return " ".join(filter(None, kind.details(seen, *facets)))


FOLLOWS = "All else moves to the mean of each observation's cluster, given this facet."
KEPT = "All else is kept."
AT_ZERO = "where the facet that they depend on is 0."


@pytest.mark.parametrize(
    ("model", "name", "expected", "absent"),
    [
        (_gmvae((1, 3, 3)), "swaps-facet-1", f"donors in the top row. {FOLLOWS}", KEPT),
        (_gmvae((1, 3, 3)), "swaps-facet-0", KEPT, "batch"),
        (_gmvae(), "swaps-facet-1", "Each donor has a panel", "row"),
        (_gmvae(), "traversal-facet-1", FOLLOWS, "Standard deviations"),
        (_gmvae(), "traversal-facet-0", "Standard deviations are those where", FOLLOWS),
        (_gmvae(), "latents-facet-1", "has one component", "each component"),
        (_gmvae(), "latents-facet-0", "each component in use, as it is where the", "has one"),
        (_gmvae(), "means-facet-0", AT_ZERO, "priors"),
        (_gmvae(), "clusters-facet-0", "the ten surest in black", "row"),
        (_ugvae(), "swaps-facet-1", f"{KEPT} The inputs count as one batch, each", FOLLOWS),
        (_ugvae(), "traversal-facet-1", "The input counts as a batch of its own.", FOLLOWS),
        (_ugvae(), "means-facet-0", AT_ZERO, "priors"),
        (_ugvae(), "reconstructions", "They count as one batch.", "rings"),
        (_ugvae(), "interpolation", "Starts count as one batch", "stars"),
        (_mfcvae(), "latents-facet-1", "each component in use.", "depends"),
        (_mfcvae(), "means-facet-1", "All else is at the means of the priors.", "0"),
        (_mfcvae(), "swaps-facet-1", KEPT, "batch"),
        (_mfcvae((2,)), "means-facets-0-1", "Each row's cluster has a panel", "priors"),
    ],
)
def test_details_are_true_of_the_model(model, name, expected, absent):
    said = _details(_held_out(model), name)
    assert expected in said
    assert absent not in said


def test_nothing_is_added_where_nothing_is_special():
    seen = _held_out(_mfcvae())
    names = ("curves", "weights", "reconstructions", "means-facets-0-1")
    assert [_details(seen, name) for name in names] == [""] * 4
    for n_clusters, expected in ((3, ""), (1, "empty for a facet with one only")):
        recorded = Recorded(results=Evaluation({}, {}, [FacetResults(n_clusters, 2)]))
        assert expected in " ".join(get_figure("agreement").details(recorded))


def test_details_travel_with_the_figure(tmp_path):
    figure = KIT.draw_groups(_groups(_points(4)), "")
    save_figure(tmp_path / "samples-facet-0.png", figure, "Each cluster has a panel.")
    Image.new("RGB", (9, 9)).save(tmp_path / "samples-facet-1.png")
    (first, second), _ = read_pictures(tmp_path, 2)
    assert first.caption.endswith("drawn from the priors. Each cluster has a panel.")
    assert second.caption.endswith("drawn from the priors.")


def test_a_figure_is_left_out_with_the_reason(tmp_path):
    seen, said = _held_out(_ugvae()), []
    drawn = draw_figures(tmp_path / "figures", seen, said.append)
    why = "all observations have one latent of this facet, which a batch shares"
    assert read_reasons(tmp_path / "figures") == {"latents-facet-1": why}
    assert said == [f"latents-facet-1 is left out: {why}"]
    assert {path.stem for path in drawn} == set(_drawn(seen))
    (tmp_path / "figures.json").write_text("[]")
    with pytest.raises(RunError, match=r"figures\.json is damaged"):
        read_reasons(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A UG-VAE on pictures of 3 x 3 pixels."""
    folder = tmp_path_factory.mktemp("shared")
    x = np.random.default_rng(0).random((60, 3, 3)).astype("float32")
    np.savez(folder / "data.npz", x=x, kind=np.arange(60) % 3)
    parts = {"name": "shared", "options": {"widths": [8]}}
    settings = {
        "model.encoder": parts,
        "model.decoder": parts,
        "model.facets.0.covariance": "diagonal",
        "model.options": {"group_size": 12, "width": 8, "mixture_width": 8},
        "training.epochs_per_step": 1,
        "training.batch_size": 12,
        "training.device": "cpu",
        "training.n_fade_in_batches": 0,
        "training.n_threads": 1,
    }
    options = [f"--set={path}={json.dumps(value)}" for path, value in settings.items()]
    chosen = ("--model", "ugvae", "--guide", "amortized", "--facets", "2:3,2:1")
    out = ("--out", str(folder / "run"))
    _works("train", "--data", str(folder / "data.npz"), *chosen, *options, *out)
    return Run(folder / "run")


def _works(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, prog_name="mfcvae")
    assert result.exit_code == 0, result.output
    return result.output


def test_the_commands_say_what_is_left_out(run, monkeypatch):
    stale = run.figures / "latents-facet-1.png"
    Image.new("RGB", (9, 9)).save(stale)
    said = _works("figures", str(run.path))
    assert "latents-facet-1 is left out: all observations have one latent of this" in said
    assert not stale.exists()
    monkeypatch.setattr(
        "pyro_mfcvae.runs.draw.draw_run", lambda *_: pytest.fail("nothing is missing")
    )
    page = write_report([run.path]).read_text()
    assert "There is no figure of the latent space: all observations have one latent" in page
    assert "The inputs count as one batch, each donor as one of its own." in page
    assert "KL of c, facet 0" in page
    assert "KL of c, facet 1" not in page
    monkeypatch.undo()
    (run.figures / "figures.json").write_text("{")
    write_report([run.path])
    assert read_reasons(run.figures).keys() == {"latents-facet-1"}
