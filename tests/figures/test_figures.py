"""Figures: what is drawn, read back from the figure."""

from __future__ import annotations

import math
import warnings

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from PIL import Image

from pyro_mfcvae import figures
from pyro_mfcvae.evaluation import Comparison, Projection, project
from pyro_mfcvae.evaluation.results import GuideResults
from pyro_mfcvae.figures.canvas import Group
from pyro_mfcvae.figures.confusion import Confused
from pyro_mfcvae.figures.grids import Panel, draw_panels
from pyro_mfcvae.figures.latents import LatentSpace
from pyro_mfcvae.figures.marks import class_colors, cluster_colors, draw_ellipse
from pyro_mfcvae.figures.names import (
    class_labels,
    describe_part,
    describe_shares,
    describe_steps,
    readable,
    thin,
)
from pyro_mfcvae.figures.pictures import Pictures
from pyro_mfcvae.figures.weights import MixtureWeights

CANVAS = Pictures()


def _draw(name, result):
    return figures.get_figure(name).draw(result)


def _curves(records, title=""):
    return _draw("curves", figures.Recorded(metrics=records, name=title))


def _confusion(labels, clusters, names, title=""):
    return _draw("confusion", Confused(labels, clusters, names, title))


def _weights(clusters, weights):
    return _draw("weights", MixtureWeights(dict(enumerate(clusters)), dict(enumerate(weights))))


def _latents(projection, clusters, *others):
    return _draw("latents", LatentSpace(projection, clusters, *others))


def _images(figure):
    return [image.get_array() for axes in figure.axes for image in axes.images]


def _corners(figure):
    """Left and upper edges of all pictures, in inches."""
    extents = [image.get_extent() for image in figure.axes[0].images]
    return [(round(left, 6), round(top, 6)) for left, _, _, top in extents]


def _labels(figure):
    return [text.get_text() for text in figure.texts]


def test_clusters_come_by_probability():
    responsibilities = np.array(
        [[0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.7, 0.3, 0.0]]
    )
    # Cluster 1 has mean 0.85, cluster 0 0.73; cluster 2 is empty.
    assert figures.cluster_order(responsibilities) == [1, 0]
    assert figures.cluster_members(responsibilities, 0).tolist() == [2, 4, 0]
    assert figures.cluster_members(responsibilities, 1).tolist() == [1, 3]


def test_what_becomes_of_observations_stands_below_them():
    x = np.linspace(0, 1, 15).reshape(1, 15, 1, 1, 1)
    figure = CANVAS.draw_moves(x, x / 2, ("input", "reconstruction"), "")
    values = [image.item() for image in _images(figure)]
    expected = [*x[0, :12].ravel(), *x[0, :12].ravel() / 2, *x[0, 12:].ravel()]
    np.testing.assert_allclose(values[:27], expected)
    assert len(values) == 30


def test_pictures_are_brought_to_the_range_of_the_data():
    values = np.array([-4.0, 1.0, 6.0, 11.0]).reshape(4, 1, 1, 1)
    figure = Pictures(-4.0, 6.0).draw_groups([Group("a", values)], "")
    assert [image.item() for image in _images(figure)] == [0, 0.5, 1, 1]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (("red", "$blue_1"), r"cells: red, \$blue 1; "),
        ((), "cells: features 0 to 1; "),
        (tuple(f"x{i}" for i in range(31)), "cells: features 0 to 30; "),
    ],
)
def test_cells_of_a_table_are_named(columns, told, tmp_path):
    rows = np.zeros((1, len(columns) or 2))
    figure = Pictures(columns=columns).draw_groups([Group("a", rows)], "")
    figure.savefig(tmp_path / "figure.png")
    assert any(label.startswith(told) for label in _labels(figure))


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5), (7,)])
def test_any_kind_of_observation_can_be_drawn(shape, tmp_path):
    pictures = np.random.default_rng(0).normal(size=(2, 3, *shape))
    groups = [Group(f"cluster {k}", x) for k, x in zip((4, 2), pictures, strict=True)]
    figure = CANVAS.draw_groups(groups, "samples")
    figure.savefig(tmp_path / "figure.png")
    assert len(_images(figure)) == 6
    assert _labels(figure)[:2] == ["cluster 4", "cluster 2"]
    expected = (1, 7, 3) if len(shape) == 1 else (4, 5, 3) if shape[0] == 3 else (4, 5)
    for image in _images(figure):
        assert image.shape == expected
        assert image.min() >= 0
        assert image.max() <= 1


def _record(step: int, split: str = "train", fade: float = 1.0, **values: float) -> dict:
    terms = {"elbo": -2.0 - 8 / step, "reconstruction": -1.0, "kl_z_0": 8.0, "kl_c_0": 2.0}
    return {"step": step, "split": split, "values": terms | {"fade_0": fade} | values}


def test_curves_show_what_is_weighed():
    records = [_record(step, fade=fade) for step, fade in ((1, 0.0), (2, 0.5), (3, 1.0))]
    figure = _curves(records)
    top, middle, bottom = figure.axes
    assert [line.get_label() for line in top.lines] == ["ELBO", "log p(x | z)"]
    np.testing.assert_allclose(middle.lines[0].get_ydata(), [0, 4, 8])
    np.testing.assert_allclose(middle.lines[1].get_ydata(), [0, 1, 2])
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), [0, 0.5, 1])
    recorded = figures.Recorded(metrics=[_record(1, "test")])
    assert figures.get_figure("curves").fits(recorded) == "there are no log points"


def test_curves_show_agreement_by_facet(tmp_path):
    nmi = {"nmi_0_shape": 0.25, "nmi_0_floor_hue": 0.75, "nmi_1_shape": 0.5, "nmi_1_floor_hue": 0}
    records = [_record(10), _record(20), _record(15, "test", **nmi), _record(20, "test", **nmi)]
    figure = _curves(records, title="a $ and a $")
    figure.savefig(tmp_path / "curves.png")
    elbo, _, first, second, _ = figure.axes
    assert [line.get_label() for line in elbo.lines][1] == "ELBO, held out"
    np.testing.assert_allclose(elbo.lines[1].get_xdata(), [15, 20])
    drawn = [
        {line.get_label(): list(line.get_ydata()) for line in a.lines} for a in (first, second)
    ]
    assert drawn[0] == {"shape": [0.25, 0.25], "floor hue": [0.75, 0.75]}
    assert drawn[1] == {"shape": [0.5, 0.5], "floor hue": [0, 0]}
    assert first.lines[0].get_color() == second.lines[0].get_color()


def test_curves_name_the_factors_that_agree_best():
    nmi = {f"nmi_0_attribute_{i}": i / 40 for i in range(40)}
    axes = _curves([_record(1), _record(1, "test", **nmi)]).axes[2]
    assert len(axes.lines) == 40
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named == [f"attribute {i}" for i in range(39, 31, -1)] + ["32 other factors"]


def test_curves_leave_the_start_out_of_view():
    records = [_record(1, elbo=-1e6, kl_z_0=1e6), *(_record(step) for step in range(10, 100))]
    top, middle, _ = _curves(records).axes
    assert -3 < top.get_ylim()[0] < -2.8
    assert 8 < middle.get_ylim()[1] < 9


def test_a_curve_of_one_point_is_a_marker():
    records = [_record(step) for step in (1, 2, 3)]
    nmi = {f"nmi_0_attribute_{i}": i / 40 for i in range(9)}
    alone, *others = (
        _curves(records + [_record(step, "test", **nmi) for step in steps]).axes
        for steps in ([3], [2, 3])
    )
    assert [line.get_marker() for line in alone[0].lines] == ["None", "o", "None", "o"]
    assert {line.get_marker() for line in alone[2].lines} == {".", "o"}
    assert {line.get_marker() for line in others[0][0].lines} == {"None"}
    panels = figures.term_over_steps({"a": [([5], [1.0]), ([5, 6], [1.0, 2.0])]}, "KL", {}).axes
    assert [line.get_marker() for line in panels[0].lines] == ["o", "None"]


def test_curves_leave_out_a_kl_that_is_never_there():
    """That of c, where a facet has one cluster or guides sum it out."""
    middle = _curves([_record(1, kl_c_0=0.0), _record(2, kl_c_0=0.0)]).axes[1]
    assert [line.get_label() for line in middle.lines] == ["KL of z, facet 0"]


LABELS = np.array([0, 0, 1, 1, 1, 1, 2, 0, 1])
CLUSTERS = np.array([3, 3, 3, 0, 0, 0, 5, 4, 4])


def test_confusion_has_the_share_of_each_class_in_each_cluster():
    names = ("red", "green", "blue")
    figure = _confusion({"colour": LABELS}, CLUSTERS, {"colour": names}, "facet 7")
    axes = figure.axes[0]
    # Clusters 3 and 4 stand for class 0 (4 by the first of equals), 0 for 1, 5 for 2.
    expected = [[2 / 3, 1 / 3, 0], [1 / 2, 1 / 2, 0], [0, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(axes.images[0].get_array(), expected)
    assert axes.images[0].get_clim() == (0, 1)
    rows = [text.get_text() for text in axes.get_yticklabels()]
    assert rows == ["3  n 3", "4  n 2", "0  n 3", "5  n 1"]
    assert [text.get_text() for text in axes.get_xticklabels()] == list(names)
    numbers = {text.get_position(): text.get_text() for text in axes.texts}
    assert numbers == {
        (0, 0): "67",
        (1, 0): "33",
        (0, 1): "50",
        (1, 1): "50",
        (1, 2): "100",
        (2, 3): "100",
    }
    assert [line.get_ydata()[0] for line in axes.lines] == [1.5, 2.5]
    assert _labels(figure)[0].startswith("colour\nNMI 0.")
    assert _labels(figure)[1] == "facet 7"


def test_confusion_has_a_panel_for_each_factor():
    labels = {"colour": LABELS, "kind": 1 - LABELS % 2}
    names = {"colour": ("red", "green", "blue", "pink"), "kind": ("kind 0", "kind 1")}
    colour, kind, bar = _confusion(labels, CLUSTERS, names).axes
    assert colour.images[0].get_array().shape == (4, 4)  # with the class that nobody has
    np.testing.assert_allclose(kind.images[0].get_array()[:2], [[1, 0], [1 / 2, 1 / 2]])
    assert [text.get_text() for text in kind.get_xticklabels()] == ["0", "1"]
    assert bar.texts[0].get_text() == "of the cluster's members"


@pytest.mark.parametrize(
    ("n_clusters", "n_classes", "n_numbers"), [(1, 4, 4), (30, 15, None), (80, 15, 0), (200, 60, 0)]
)
def test_confusion_of_any_size(n_clusters, n_classes, n_numbers, tmp_path):
    every = np.arange(n_clusters * n_classes)
    clusters, classes = every // n_classes, every % n_classes
    names = tuple(f"class number {i}" for i in range(n_classes))
    figure = _confusion({"factor": classes}, clusters, {"factor": names})
    figure.savefig(tmp_path / "figure.png", dpi=30)
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), 1 / n_classes)
    assert len(axes.texts) == (n_clusters * n_classes if n_numbers is None else n_numbers)
    assert len(axes.get_yticklabels()) == n_clusters
    # Nothing is less high than its text, and the panel stays inside the figure.
    width, height = figure.get_size_inches()
    box = axes.get_position()
    assert 72 * box.height * height / n_clusters > axes.get_yticklabels()[0].get_fontsize()
    ticks = axes.get_xticklabels()
    assert 72 * box.width * width / len(ticks) >= ticks[0].get_fontsize()
    assert 0 < box.x0 < box.x1 < 1
    assert 0 < box.y0 < box.y1 < 1


def test_confusions_of_many_factors_stand_below_each_other():
    names = {f"factor {i}": tuple("abcdefghijklmno") for i in range(5)}
    figure = _confusion(dict.fromkeys(names, LABELS), CLUSTERS, names)
    boxes = [axes.get_position() for axes in figure.axes[:5]]
    assert figure.get_figwidth() <= 17
    assert len({round(box.y0, 6) for box in boxes}) == 3
    assert boxes[0].y0 > boxes[2].y1 > boxes[4].y1
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_weights_and_shares_of_each_component():
    weights = np.array([0.1, 0.2, 0.3, 0.15, 0.15, 0.1])
    figure = _weights([CLUSTERS, CLUSTERS], [weights, np.full(6, 1 / 6)])
    axes = figure.axes[0]
    # By members 3, 3, 2, 1, 0, 0; the greater weight first among equals.
    order = [3, 0, 4, 5, 2, 1]
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, np.array([3, 3, 2, 1, 0, 0]) / 9)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), weights[order])
    assert [text.get_text() for text in axes.get_xticklabels()] == [str(k) for k in order]
    assert axes.get_title(loc="left") == "facet 0: 4 of 6 components in use"
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), 1 / 6)


@pytest.mark.parametrize("n_components", [1, 2, 200])
def test_weights_of_any_number_of_components(n_components, tmp_path):
    clusters = np.zeros(5, dtype=np.int64)
    figure = _weights([clusters], [np.full(n_components, 1 / n_components)])
    figure.savefig(tmp_path / "figure.png", dpi=30)
    (axes,) = figure.axes
    assert len(axes.patches) == n_components
    assert axes.patches[0].get_height() == 1
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert labels == [str(k) for k in range(0, n_components, 3 if n_components == 200 else 1)]


def test_an_ellipse_lies_at_one_standard_deviation():
    mean, covariance = np.array([1.0, -2.0]), np.array([[2.0, 1.2], [1.2, 1.0]])
    axes = Figure().subplots()
    draw_ellipse(axes, mean, covariance, "black")
    draw_ellipse(axes, mean, np.diag([4.0, 0.0]), "black")
    ellipse, flat = axes.patches
    angles = np.linspace(0, 2 * np.pi, 9)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    away = ellipse.get_patch_transform().transform(circle) - mean
    distances = np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)
    np.testing.assert_allclose(distances, 1)
    assert sorted([flat.width, flat.height]) == [0, 4]


def _space(n: int, n_clusters: int, dim: int) -> tuple[Projection, np.ndarray]:
    """Observations of every cluster but the last, which is left empty where there are more."""
    rng = np.random.default_rng(0)
    clusters = np.arange(n) % max(n_clusters - 1, 1)
    means = 5 * rng.normal(size=(n_clusters, dim))
    covariances = np.tile(np.diag(np.arange(1.0, dim + 1) ** 2), (n_clusters, 1, 1))
    return project(means[clusters] + rng.normal(size=(n, dim)), means, covariances), clusters


def test_latents_are_coloured_by_class_and_by_cluster():
    projection, clusters = _space(12, 4, 2)
    labels = np.arange(12) % 2
    left, right = _latents(
        projection, clusters, labels, "kind", ("kind one", "kind two"), "facet 0"
    ).axes
    for axes, colors, groups in (
        (left, class_colors(2), labels),
        (right, cluster_colors(3), clusters),
    ):
        points, crosses = axes.collections
        drawn = {
            tuple(point): tuple(color[:3])
            for point, color in zip(points.get_offsets(), points.get_facecolors(), strict=True)
        }
        expected = zip(projection.points, colors[groups], strict=True)
        assert drawn == {tuple(point): tuple(color) for point, color in expected}
        np.testing.assert_allclose(crosses.get_offsets(), projection.means[:3])
        ellipses = [patch for patch in axes.patches if isinstance(patch, Ellipse)]
        assert len(ellipses) == 3  # the empty component is left out
        for ellipse, mean in zip(ellipses, projection.means, strict=False):
            assert ellipse.center == tuple(mean)
            assert (ellipse.width, ellipse.height) == (2, 4)
        assert axes.get_aspect() == 1
    legend = left.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]
    assert [to_rgb(line.get_color()) for line in legend.get_lines()] == [
        tuple(color) for color in class_colors(2)
    ]
    assert left.get_xlabel() == "latent dimension 0"
    assert {text.get_text() for text in right.texts} <= {"0", "1", "2"}


def test_principal_components_are_named():
    projection, clusters = _space(50, 3, 5)
    (axes,) = _latents(projection, clusters).axes
    first, second = (f"{share:.0%} of variance" for share in projection.shares)
    assert axes.get_xlabel() == f"first principal axis, {first}"
    assert axes.get_ylabel() == f"second principal axis, {second}"
    assert axes.get_title() == "colour: cluster"


def test_one_latent_dimension_is_a_strip():
    projection, clusters = _space(10, 3, 1)
    (axes,) = _latents(projection, clusters).axes
    points, *bars, crosses = axes.collections
    places = points.get_offsets()
    np.testing.assert_allclose(np.sort(places[:, 0]), np.sort(projection.points[:, 0]))
    assert places[:, 1].min() >= 0
    assert crosses.get_offsets()[:, 1].max() < 0
    spans = [bar.get_segments()[0][:, 0] for bar in bars]
    np.testing.assert_allclose(spans, projection.means[:2] + np.array([-1, 1]))
    low, high = axes.get_xlim()
    assert low < places[:, 0].min() < places[:, 0].max() < high


def test_a_plain_prior_is_in_sight():
    z = 0.01 * np.random.default_rng(0).normal(size=(9, 2))
    (axes,) = _latents(project(z, np.zeros((1, 2)), np.eye(2)[None]), np.zeros(9, dtype=int)).axes
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    assert max(left, low) < -1
    assert min(right, high) > 1


@pytest.mark.parametrize(
    ("n", "n_clusters", "dim", "n_classes"),
    [(1, 1, 1, 1), (1, 1, 3, 2), (3, 2, 2, 11), (2500, 200, 4, 60), (400, 200, 1, 10)],
)
@pytest.mark.filterwarnings("error")
def test_latent_spaces_of_any_size(n, n_clusters, dim, n_classes, tmp_path):
    projection, clusters = _space(n, n_clusters, dim)
    names = tuple(f"_{i}" for i in range(n_classes))
    figure = _latents(projection, clusters, np.arange(n) % n_classes, "f", names)
    figure.savefig(tmp_path / "figure.png", dpi=30)
    n_panels = 2 if n_clusters > 1 else 1  # one cluster has no panel
    assert len(figure.axes) == n_panels + (n_classes > 10)  # with the colour bar
    assert len(figure.axes[0].collections[0].get_offsets()) == min(n, 2000)
    if n_clusters == 1:
        return
    written = [text.xy for text in figure.axes[1].texts]
    assert len(written) >= 1
    assert len(set(written)) == len(written)


@pytest.mark.parametrize("colors", [class_colors, cluster_colors])
@pytest.mark.parametrize("n", [1, 10, 11, 200])
def test_colours_are_distinct(colors, n):
    assert len({tuple(color) for color in colors(n)}) == n


def test_names_of_people():
    assert readable("floor_hue") == "floor hue"
    assert readable("costs $5 or $6") == r"costs \$5 or \$6"
    assert readable("a name that never seems to end") == "a name that never…"
    assert class_labels("floor_hue", ("floor_hue 0", "floor hue 1")) == ["0", "1"]
    assert class_labels("kind", ("kind 0", "other")) == ["kind 0", "other"]
    assert thin(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert thin(200, 80).tolist() == list(range(0, 200, 3))


def test_the_reference_of_a_comparison_comes_from_its_results():
    numbers = {"gap": 0.5, "predicted_gap": 0.25, "gradient_variance": 2.0, "seconds": 0.001}
    rows = [GuideResults(guide, 3, 0, 0, **numbers) for guide in ("enumerate", "other")]
    figure = _draw("guides", Comparison("other", 1, 2, rows))
    gaps = figure.axes[0]
    assert gaps.get_ylabel() == "ELBO of other - ELBO, nats"
    drawn = {line.get_label(): list(line.get_ydata()) for line in gaps.lines}
    assert drawn["enumerate"] == [0.5]
    assert drawn["other (reference)"] == [0, 0]
    assert "other" not in drawn
    assert [text.get_text() for text in gaps.get_xticklabels()] == ["3"]
    assert ", 2 draws" in figure.get_suptitle()


def test_spread_over_epochs():
    runs = [([5, 10, 15], [0.2, 0.4, 0.5]), ([5, 10, 15], [0.3, 0.6, 0.9])]
    figure = figures.spread_over_epochs({"a": runs, "b": [([5], [0.1])], "c": []}, "share", "t")
    a, b, c = figure.axes
    assert [line.get_ydata().tolist() for line in a.lines] == [run[1] for run in runs]
    (band,) = a.collections
    deviation = np.std([0.5, 0.9], ddof=1)
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(0.7 + deviation)
    assert [panel.texts[0].get_text() for panel in (a, b, c)] == [
        f"last: 70.0 % (sd {100 * deviation:.1f}) over 2 runs",
        "last: 10.0 %, one run",
        "last: not measured",
    ]


def test_the_band_is_over_epochs_that_all_runs_have():
    runs = [([5, 10, 15], [0.2, 0.4, 0.5]), ([10, 15, 20], [0.6, 0.9, 1.0])]
    (axes,) = figures.spread_over_epochs({"a": runs}, "share").axes
    x = axes.collections[0].get_paths()[0].vertices[:, 0]
    assert (x.min(), x.max()) == (10, 15)


def test_nothing_measured_over_epochs():
    with pytest.raises(ValueError, match=r"set training\.evaluate_every"):
        figures.spread_over_epochs({"a": [([], [])]}, "share")


def test_changed_settings():
    groups = {"base": {"": [(0.9, 0.2), (0.8, 0.3)]}, "K": {"10": [(0.5, 0.4)]}}
    (axes,) = figures.changed_settings(groups, ("digit", "style"), "base", "title").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["base", "K 10"]
    verticals = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert verticals == pytest.approx([0.85, 0.25])


def test_clusters_needed_and_latent_spaces():
    points = {"one facet": [(2, 16, 0.9), (2, 16, 0.7)], "several": [(2, 8, 1.0)]}
    axes = figures.clusters_needed(points, 4).axes[0]
    assert {text.get_text() for text in axes.texts} == {"80 %", "100 %"}
    z = np.random.default_rng(0).normal(size=(30, 5)) * [9, 1, 7, 1, 1]
    wide, narrow = figures.latent_spaces([z, z[:, :1]], [np.arange(30) % 3] * 2, ["a", "b"]).axes
    offsets = wide.collections[0].get_offsets()
    centred = z - z.mean(0)
    shares = np.linalg.svd(centred, compute_uv=False)
    assert np.linalg.norm(offsets, axis=0) == pytest.approx(shares[:2])
    assert (narrow.collections[0].get_offsets()[:, 1] == 0).all()


def _pictures(*shape):
    """Distinct pictures of one value, from 0 to 1."""
    return np.linspace(0, 1, int(np.prod(shape))).reshape(*shape, 1, 1, 1)


def _values(figure):
    return [round(image.item(), 6) for image in _images(figure)]


def test_swaps_have_inputs_on_the_left_and_donors_above():
    x, donors = np.full((2, 1, 1, 1), 0.1), np.array([0.2, 0.3, 0.4]).reshape(3, 1, 1, 1)
    swapped = np.arange(6).reshape(2, 3, 1, 1, 1) / 10 + 0.4
    figure = CANVAS.draw_swaps(x, donors, swapped, "facet 0", [[5, 7], [1, 2, 3]])
    assert _values(figure) == [0.2, 0.3, 0.4, 0.1, 0.4, 0.5, 0.6, 0.1, 0.7, 0.8, 0.9]
    assert _labels(figure) == ["donors", "input 5", "input 7", "1", "2", "3", "facet 0"]
    lefts = [left for left, _ in _corners(figure)]
    assert lefts[:3] == lefts[4:7]  # the first row leaves the first place empty


def _grid(pictures, title=""):
    labels = [str(i) for i in range(len(pictures))]
    return draw_panels([Panel(list(map(list, pictures)), labels)], title)


def test_pictures_lie_where_they_belong():
    figure = _grid(_pictures(2, 3), "title")
    width, height = figure.get_size_inches()
    corners = _corners(figure)
    assert corners[:3] == [(left, corners[0][1]) for left in sorted(x for x, _ in corners[:3])]
    assert [x for x, _ in corners[:3]] == [x for x, _ in corners[3:]]
    assert corners[3][1] > corners[0][1]
    axes = figure.axes[0]
    for image in axes.images:
        left, right, bottom, top = image.get_extent()
        assert 0 < left < right < width
        assert 0 < top < bottom < height
        assert right - left == pytest.approx(bottom - top)
    assert axes.get_xlim() == (0, width)
    assert axes.get_ylim() == (height, 0)  # as in the extents, from the top
    with pytest.raises(ValueError, match="expected observations to draw, got none"):
        _grid([[None]])


@pytest.mark.parametrize("n_columns", [1, 4, 12])
def test_titles_stay_inside_the_figure(n_columns, tmp_path):
    title = "a title that says at great length what is held fixed and what moves " * 2
    figure = _grid(_pictures(2, n_columns), title)
    figure.savefig(tmp_path / "figure.png", dpi=50)
    assert " ".join(_labels(figure)[-1].split()) == title.strip()
    box = figure.texts[-1].get_window_extent()
    width, height = figure.bbox.size
    assert box.x0 > 0
    assert box.x1 < width
    assert box.y1 < height
    first = figure.axes[0].images[0].get_window_extent()
    assert first.y1 < box.y0


@pytest.mark.parametrize(("n_groups", "n_panels"), [(3, 1), (80, 2), (200, 5)])
def test_many_groups_stand_in_columns(n_groups, n_panels):
    x = _pictures(n_groups, 1)
    figure = CANVAS.draw_groups([Group(f"{k}", one) for k, one in enumerate(x)], "")
    assert _labels(figure) == [str(k) for k in range(n_groups)]
    np.testing.assert_allclose(_values(figure), x.ravel(), atol=1e-6)
    corners = _corners(figure)
    assert len({left for left, _ in corners}) == n_panels
    assert len({top for _, top in corners}) == -(-n_groups // n_panels)
    assert len(set(corners)) == n_groups


def test_groups_of_a_panel_stand_below_each_other():
    x = _pictures(3, 2)
    panels = ("facet 0", "facet 0", "facet 2")
    groups = [
        Group(f"{k}", one, panel) for k, (one, panel) in enumerate(zip(x, panels, strict=True))
    ]
    figure = CANVAS.draw_groups(groups, "both")
    assert _labels(figure) == ["0", "1", "facet 0", "2", "facet 2", "both"]
    corners = _corners(figure)
    assert corners[0][1] == corners[4][1] < corners[2][1]
    assert corners[4][0] > corners[0][0] + 1


def test_pairs_stand_apart_above_what_became_of_them():
    inputs, swapped = _pictures(7, 2) / 2, _pictures(7, 2) / 2 + 0.5
    figure = CANVAS.draw_moves(inputs, swapped, ("inputs", "swapped"), "pairs")
    np.testing.assert_allclose(_values(figure)[:12], inputs[:6].ravel(), atol=1e-6)
    np.testing.assert_allclose(_values(figure)[-2:], swapped[6].ravel(), atol=1e-6)
    assert _labels(figure) == ["inputs", "swapped"] * 2 + ["pairs"]
    corners = _corners(figure)
    a, b, c, _ = (left for left, _ in corners[:4])
    assert c - b > b - a
    tops = sorted({top for _, top in corners})
    assert tops[2] - tops[1] > tops[1] - tops[0]


def test_ways_have_steps_above_and_observations_at_their_sides():
    pictures = _pictures(2, 3)
    one, heads = pictures[1:, 2], ["-1 sd", "0", "+2 sd"]
    figure = CANVAS.draw_paths(pictures, ["a", "b"], heads, "t", one)
    assert _values(figure) == [1, 0, 0.2, 0.4, 0.6, 0.8, 1]
    assert _labels(figure) == ["a", "b", "input", *heads, "t"]
    corners = _corners(figure)
    assert corners[1][0] == corners[4][0]
    ends = (pictures[:, 2], pictures[:, 0])
    figure = CANVAS.draw_paths(pictures, ["a", "b"], heads, "t", *ends)
    assert _values(figure) == [0.4, 0, 0.2, 0.4, 0, 1, 0.6, 0.8, 1, 0.6]
    assert _labels(figure) == ["a", "b", "from", *heads, "to", "t"]


def test_means_of_clusters_carry_their_numbers():
    figure = CANVAS.draw_means(_pictures(5), ["39140"], "means")
    assert _labels(figure) == ["3", "9", "1", "4", "0", "means"]
    assert _values(figure) == [0, 0.25, 0.5, 0.75, 1]
    for text, (left, top) in zip(figure.texts, _corners(figure), strict=False):
        x, y = text.get_position()
        assert left < x < left + 0.55
        assert top - 0.1 < y < top
    figure = CANVAS.draw_means(_pictures(2, 3), ["82", "150"], "pairs")
    assert _labels(figure) == ["8", "2", "1", "5", "0", "pairs"]


@pytest.mark.parametrize("n", [1, 25, 80, 200])
def test_a_grid_of_means_is_wider_than_high(n):
    corners = _corners(CANVAS.draw_means(_pictures(n), [list(map(str, range(n)))], ""))
    n_rows, n_columns = (len({corner[i] for corner in corners}) for i in (1, 0))
    assert len(set(corners)) == n
    assert n_rows <= n_columns <= 2 * n_rows + 2


def test_rows_of_a_table_are_strips_with_a_key(tmp_path):
    table = np.random.default_rng(0).random((2, 2, 7))
    drawn = {
        "pairs": CANVAS.draw_moves(table, table, ("a", "b"), ""),
        "ways": CANVAS.draw_paths(table, ["a", "b"], ["0", "1"], "", table[:, 0]),
        "grid": CANVAS.draw_means(table[0], ["42"], ""),
    }
    for name, figure in drawn.items():
        figure.savefig(tmp_path / f"{name}.png", dpi=30)
        assert {image.shape for image in _images(figure)} == {(1, 7, 3)}
        key = "cells: features 0 to 6; blue is the lowest value of a feature in the data, "
        key += "yellow the highest"
        assert key in _labels(figure)
        text = figure.texts[_labels(figure).index(key)]
        assert 0 < text.get_window_extent().y0 < text.get_window_extent().y1
        bottom = max(image.get_extent()[2] for image in figure.axes[0].images)
        assert text.get_position()[1] > bottom + 0.1  # inches, from above
    assert _labels(_grid([[np.ones((1, 2, 2))]])) == ["0"]


def _trials(settings, objectives=None, **given):
    names = {path: path for path in settings[0]}
    values = range(len(settings)) if objectives is None else objectives
    figure = figures.all_trials(settings, values, [0] * len(settings), names, "a measure", **given)
    figure.canvas.draw()
    return figure.axes


@pytest.mark.parametrize(
    ("values", "scale", "ticks"),
    [
        ([0.0005, 0.001, 0.002], "log", ["0.0005", "0.001", "0.002"]),
        ([5, 10, 15], "linear", ["5", "10", "15"]),
        ([0.1, 0.2], "linear", ["0.1", "0.2"]),
        ([0.0, 2.0, 10.0], "linear", ["0", "2", "10"]),
        ([0.0, 1.0, 1.1, 2.0], "linear", None),
        (["vade", "enumerate"], "linear", ["vade", "enumerate"]),
        ([[5, 20], [10, 40]], "linear", ["[5, 20]", "[10, 40]"]),
        ([True, False], "linear", ["true", "false"]),
        ([None, 0.5], "linear", ["null", "0.5"]),
    ],
)
def test_axes_of_all_trials(values, scale, ticks):
    (axes,) = _trials([{"a": value} for value in values])
    assert axes.get_xscale() == scale
    if ticks is not None:  # else they would overlap
        assert [label.get_text() for label in axes.get_xticklabels()] == ticks
    else:
        assert "1.1" not in [label.get_text() for label in axes.get_xticklabels()]


def test_all_trials_have_every_trial_and_means_over_seeds():
    settings = [{"a": a, "b": b} for a in (1, 2, 3) for b in ("x", "y") for _ in range(2)]
    objectives = np.arange(12.0) ** 2
    panels = _trials(settings, objectives, best=settings[-1], logarithmic=["a"])
    assert [axes.get_xscale() for axes in panels] == ["log", "linear"]
    for axes, places in zip(panels, ([1, 1, 2, 2, 3, 3], [0, 1] * 3), strict=True):
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        assert [list(line.get_ydata()) for line in dots] == objectives.reshape(6, 2).tolist()
        bars = [line for line in axes.lines if line.get_marker() == "_"]
        means = objectives.reshape(6, 2).mean(1)
        assert [float(bar.get_ydata()[0]) for bar in bars] == list(means)
        assert [float(bar.get_xdata()[0]) for bar in bars] == places
        assert [bar.get_color() for bar in bars] == ["C0"] * 5 + ["C1"]
    lines = [line for line in panels[0].lines if line.get_color() == "0.6"]
    assert [list(line.get_ydata()) for line in lines] == [list(means[0::2]), list(means[1::2])]
    for axes, expected in zip(
        panels, (means.reshape(3, 2).mean(1), means.reshape(3, 2).mean(0)), strict=True
    ):
        (black,) = (line for line in axes.lines if line.get_color() == "black")
        assert list(black.get_ydata()) == pytest.approx(list(expected), rel=1e-12)
    (alone,) = _trials([{"a": 1}, {"a": 2}])
    assert all(line.get_color() != "black" for line in alone.lines)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_a_panel_for_every_setting(n):
    panels = _trials([{f"s{i}": value + i for i in range(n)} for value in range(3)])
    assert [axes.get_xlabel() for axes in panels] == [f"s{i}" for i in range(n)]


def test_seeds_alone_have_a_panel():
    figure = figures.all_trials([{}, {}], [1.0, 2.0], [3, 5], {}, "ELBO")
    (axes,) = figure.axes
    assert axes.get_xlabel() == "seed"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["3", "5"]


def test_an_outlier_does_not_squeeze_the_figure():
    (axes,) = _trials([{"a": i} for i in range(9)], [*range(8), -1e6])
    assert axes.get_ylim()[0] > -5
    (whole,) = _trials([{"a": i} for i in range(9)], [*range(8), -1e6], more_is_better=False)
    assert whole.get_ylim()[0] < -1e6
    assert axes.get_title(loc="left") == "trials below: 1"
    with pytest.raises(ValueError, match="no finished trials"):
        figures.all_trials([], [], [], {}, "ELBO")


def test_numbers_in_words():
    told = [describe_part(n, n_all, "cluster in use", "surest") for n, n_all in ((1, 1), (3, 3))]
    assert told == ["the only cluster in use", "all 3 clusters in use"]
    assert describe_part(2, 9, "dimension", "best") == "the 2 best of 9 dimensions"
    assert describe_steps([-1.5, 0, 2]) == ["-1.5 sd", "0", "+2 sd"]
    assert describe_shares(3) == ["0 %", "50 %", "100 %"]


def test_pictures_of_one_row_are_lines():
    x = np.linspace(0, 1, 3000).reshape(1, 1, 3000).repeat(2, 0)
    x[1] = 0.5
    figure = _grid([[x, x]])
    assert not figure.axes[0].images
    rising, level, *others = figure.axes[0].lines
    assert len(others) == 2
    heights = np.array(rising.get_ydata())
    assert (np.diff(heights) < 0).all()  # inches are counted from above
    np.testing.assert_allclose(level.get_ydata(), heights.mean(), atol=1e-6)
    assert figure.get_size_inches().max() < 20


@pytest.mark.parametrize("size", [(2, 9000), (9000, 2), (900, 900)])
def test_no_figure_is_larger_than_programs_open(size, tmp_path):
    figures.save_figure(tmp_path / "large.png", Figure(figsize=size))
    with Image.open(tmp_path / "large.png") as image:
        assert max(image.size) <= 12_000
        assert math.prod(image.size) < 41e6


def test_letters_that_the_font_lacks_are_no_warning(tmp_path):
    figure = Figure()
    figure.text(0.5, 0.5, readable("器官\x1b[2J\n😀"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.save_figure(tmp_path / "names.png", figure)
    assert figure.texts[0].get_text() == r"器官\x1b[2J 😀"


def test_pairs_have_the_numbers_that_the_command_takes():
    pairs = np.zeros((2, 2, 1, 3, 3))
    figure = CANVAS.draw_moves(pairs, pairs, ("inputs", "swapped"), "", [[5, 70], [6, 80]])
    assert {"5", "70", "6", "80"} < set(_labels(figure))


def test_each_feature_of_a_row_is_coloured_in_its_own_range():
    low, high = np.array([0.0, 1000.0]), np.array([1.0, 5000.0])
    middle = np.array([0.5, 3000.0])
    figure = draw_panels([Panel([[low, middle, high]], ["row"])], low=low, high=high)
    colours = [image.get_array() for image in figure.axes[0].images]
    expected = [mpl.colormaps["viridis"](share)[:3] for share in (0.0, 0.5, 1.0)]
    for cells, colour in zip(colours, expected, strict=True):
        np.testing.assert_allclose(cells[0], [colour, colour])
