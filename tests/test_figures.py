"""Figures: what is drawn, read back from the figure."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Ellipse

from pyro_mfcvae import figures
from pyro_mfcvae.evaluation import Projection, project
from pyro_mfcvae.figures.latents import class_colors, cluster_colors, one_deviation
from pyro_mfcvae.figures.names import class_labels, readable, thinned


def _images(figure):
    return [axes.images[0].get_array() for axes in figure.axes]


def _labels(figure):
    return [text.get_text() for text in figure.texts]


def test_cluster_examples_are_sorted_by_probability():
    x = np.arange(5, dtype=float).reshape(5, 1, 1, 1) / 10
    responsibilities = np.array(
        [[0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.7, 0.3, 0.0]]
    )
    figure = figures.cluster_examples(x, responsibilities, n_examples=2)
    # Cluster 1 has mean 0.85, cluster 0 0.73; cluster 2 is empty.
    assert _labels(figure)[:2] == ["1  p 0.85  n 2", "0  p 0.73  n 3"]
    assert [image.item() for image in _images(figure)] == [0.1, 0.3, 0.2, 0.4]
    assert figures.cluster_order(responsibilities) == [1, 0]


def test_reconstructions_stand_below_their_inputs():
    x = np.linspace(0, 1, 5).reshape(5, 1, 1, 1)
    figure = figures.reconstructions(x, x / 2, n_columns=3)
    values = [image.item() for image in _images(figure)]
    np.testing.assert_allclose(values[:3], x[:3].ravel())
    np.testing.assert_allclose(values[3:6], x[:3].ravel() / 2)
    assert len(values) == 10


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5), (7,)])
def test_any_kind_of_observation_can_be_drawn(shape, tmp_path):
    pictures = np.random.default_rng(0).normal(size=(2, 3, *shape))
    figure = figures.cluster_samples(pictures, [4, 2], title="samples")
    figure.savefig(tmp_path / "figure.png")
    assert len(figure.axes) == 6
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
    figure = figures.training_curves(records)
    top, middle, bottom = figure.axes
    assert [line.get_label() for line in top.lines] == ["ELBO", "log p(x | z)"]
    np.testing.assert_allclose(middle.lines[0].get_ydata(), [0, 4, 8])
    np.testing.assert_allclose(middle.lines[1].get_ydata(), [0, 1, 2])
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), [0, 0.5, 1])
    with pytest.raises(ValueError, match="no log points"):
        figures.training_curves([_record(1, "test")])


def test_curves_show_agreement_by_facet(tmp_path):
    nmi = {"nmi_0_shape": 0.25, "nmi_0_floor_hue": 0.75, "nmi_1_shape": 0.5, "nmi_1_floor_hue": 0}
    records = [_record(10), _record(20), _record(15, "test", **nmi), _record(20, "test", **nmi)]
    figure = figures.training_curves(records, title="a $ and a $")
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
    axes = figures.training_curves([_record(1), _record(1, "test", **nmi)]).axes[2]
    assert len(axes.lines) == 40
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named == [f"attribute {i}" for i in range(39, 31, -1)] + ["32 other factors"]


def test_curves_leave_the_start_out_of_view():
    records = [_record(1, elbo=-1e6, kl_z_0=1e6), *(_record(step) for step in range(10, 100))]
    top, middle, _ = figures.training_curves(records).axes
    assert -3 < top.get_ylim()[0] < -2.8
    assert 8 < middle.get_ylim()[1] < 9


LABELS = np.array([0, 0, 1, 1, 1, 1, 2, 0, 1])
CLUSTERS = np.array([3, 3, 3, 0, 0, 0, 5, 4, 4])


def test_confusion_has_the_share_of_each_class_in_each_cluster():
    names = ("red", "green", "blue")
    figure = figures.confusion({"colour": LABELS}, CLUSTERS, {"colour": names}, "facet 7")
    axes = figure.axes[0]
    # Clusters 3 and 4 stand for class 0 (4 by the first of equals), 0 for 1, 5 for 2.
    expected = [[2 / 3, 1 / 3, 0], [1 / 2, 1 / 2, 0], [0, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(axes.images[0].get_array(), expected)
    assert axes.images[0].get_clim() == (0, 1)
    rows = [text.get_text() for text in axes.get_yticklabels()]
    assert rows == ["3  n 3", "4  n 2", "0  n 3", "5  n 1"]
    assert [text.get_text() for text in axes.get_xticklabels()] == list(names)
    numbers = {text.get_position(): text.get_text() for text in axes.texts}
    assert numbers == {(0, 0): "67", (1, 0): "33", (0, 1): "50", (1, 1): "50", (1, 2): "100",
                       (2, 3): "100"}  # fmt: skip
    assert [line.get_ydata()[0] for line in axes.lines] == [1.5, 2.5]
    assert _labels(figure)[0].startswith("colour\nNMI 0.")
    assert _labels(figure)[1] == "facet 7"


def test_confusion_has_a_panel_for_each_factor():
    labels = {"colour": LABELS, "kind": 1 - LABELS % 2}
    names = {"colour": ("red", "green", "blue", "pink"), "kind": ("kind 0", "kind 1")}
    colour, kind, bar = figures.confusion(labels, CLUSTERS, names).axes
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
    figure = figures.confusion({"factor": classes}, clusters, {"factor": names})
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
    figure = figures.confusion(dict.fromkeys(names, LABELS), CLUSTERS, names)
    boxes = [axes.get_position() for axes in figure.axes[:5]]
    assert figure.get_figwidth() <= 17
    assert len({round(box.y0, 6) for box in boxes}) == 3
    assert boxes[0].y0 > boxes[2].y1 > boxes[4].y1
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_weights_and_shares_of_each_component():
    weights = np.array([0.1, 0.2, 0.3, 0.15, 0.15, 0.1])
    figure = figures.mixture_weights([CLUSTERS, CLUSTERS], [weights, np.full(6, 1 / 6)])
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
    figure = figures.mixture_weights([clusters], [np.full(n_components, 1 / n_components)])
    figure.savefig(tmp_path / "figure.png", dpi=30)
    (axes,) = figure.axes
    assert len(axes.patches) == n_components
    assert axes.patches[0].get_height() == 1
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert labels == [str(k) for k in range(0, n_components, 3 if n_components == 200 else 1)]


def test_an_ellipse_lies_at_one_standard_deviation():
    mean, covariance = np.array([1.0, -2.0]), np.array([[2.0, 1.2], [1.2, 1.0]])
    ellipse = one_deviation(mean, covariance)
    angles = np.linspace(0, 2 * np.pi, 9)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    away = ellipse.get_patch_transform().transform(circle) - mean
    distances = np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)
    np.testing.assert_allclose(distances, 1)
    flat = one_deviation(mean, np.diag([4.0, 0.0]))
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
    left, right = figures.latent_space(
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
    assert left.get_xlabel() == "latent dimension 1"
    assert {text.get_text() for text in right.texts} <= {"0", "1", "2"}


def test_principal_components_are_named():
    projection, clusters = _space(50, 3, 5)
    (axes,) = figures.latent_space(projection, clusters).axes
    assert axes.get_xlabel() == f"PC 1, {projection.shares[0]:.0%} of variance"
    assert axes.get_ylabel() == f"PC 2, {projection.shares[1]:.0%} of variance"
    assert axes.get_title() == "colour: cluster"


def test_one_latent_dimension_is_a_strip():
    projection, clusters = _space(10, 3, 1)
    (axes,) = figures.latent_space(projection, clusters).axes
    points, *bars, crosses = axes.collections
    places = points.get_offsets()
    np.testing.assert_allclose(np.sort(places[:, 0]), np.sort(projection.points[:, 0]))
    assert places[:, 1].min() >= 0
    assert crosses.get_offsets()[:, 1].max() < 0
    spans = [bar.get_segments()[0][:, 0] for bar in bars]
    np.testing.assert_allclose(spans, projection.means[:2] + np.array([-1, 1]))
    low, high = axes.get_xlim()
    assert low < places[:, 0].min() < places[:, 0].max() < high


@pytest.mark.parametrize(
    ("n", "n_clusters", "dim", "n_classes"),
    [(1, 1, 1, 1), (1, 1, 3, 2), (3, 2, 2, 11), (2500, 200, 4, 60), (400, 200, 1, 10)],
)
@pytest.mark.filterwarnings("error")
def test_latent_spaces_of_any_size(n, n_clusters, dim, n_classes, tmp_path):
    projection, clusters = _space(n, n_clusters, dim)
    names = tuple(f"_{i}" for i in range(n_classes))
    figure = figures.latent_space(projection, clusters, np.arange(n) % n_classes, "f", names)
    figure.savefig(tmp_path / "figure.png", dpi=30)
    assert len(figure.axes) == (3 if n_classes > 10 else 2)  # with the colour bar
    assert len(figure.axes[0].collections[0].get_offsets()) == min(n, 2000)
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
    assert thinned(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert thinned(200, 80).tolist() == list(range(0, 200, 3))


def test_the_reference_of_a_comparison_comes_from_its_results():
    numbers = {"gap": 0.5, "predicted_gap": 0.25, "gradient_variance": 2.0, "seconds": 0.001}
    rows = [{"guide": guide, "n_samples": 3} | numbers for guide in ("enumerate", "other")]
    results = {"reference": "other", "guides": rows}
    figure = figures.guide_comparison(results, "title")
    gaps = figure.axes[0]
    assert gaps.get_ylabel() == "ELBO of other - ELBO, nats"
    drawn = {line.get_label(): list(line.get_ydata()) for line in gaps.lines}
    assert drawn["enumerate"] == [0.5]
    assert drawn["other (reference)"] == [0, 0]
    assert "other" not in drawn
    assert [text.get_text() for text in gaps.get_xticklabels()] == ["3"]
    assert figure.get_suptitle() == "title"


def test_accuracies_of_several_seeds_over_epochs():
    runs = {
        "seed 0": {
            "epoch": [5, 10],
            "majority_accuracy_0_digit": [0.3, 0.4],
            "majority_accuracy_1_digit": [0.5, 0.8],
            "majority_accuracy_1_colour": [0.1, 0.2],
            "nmi_0_digit": [0.9, 0.9],
        },
        "seed 1": {"epoch": [5], "majority_accuracy_1_digit": [0.6]},
        "seed 2": {"epoch": []},
    }
    colour, digit = figures.accuracy_over_epochs(runs, "mnist").axes
    assert (colour.get_title(), digit.get_title()) == ("colour", "digit")
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in digit.lines]
    assert drawn == [([5, 10], [0.3, 0.4]), ([5, 10], [0.5, 0.8]), ([5], [0.6])]
    assert digit.lines[1].get_color() == digit.lines[2].get_color() != digit.lines[0].get_color()
    assert [text.get_text() for text in digit.get_legend().texts] == ["facet 0", "facet 1"]
    with pytest.raises(ValueError, match="no accuracies"):
        figures.accuracy_over_epochs({"seed 2": {"epoch": []}}, "mnist")


def test_swaps_have_inputs_on_the_left_and_donors_above():
    x, donors = np.full((2, 1, 1, 1), 0.1), np.array([0.2, 0.3, 0.4]).reshape(3, 1, 1, 1)
    swapped = np.arange(6).reshape(2, 3, 1, 1, 1) / 10 + 0.4
    figure = figures.swaps(x, donors, swapped, title="facet 0")
    drawn = [round(image.item(), 6) for image in _images(figure)]
    assert drawn == [0.2, 0.3, 0.4, 0.1, 0.4, 0.5, 0.6, 0.1, 0.7, 0.8, 0.9]
    assert _labels(figure) == ["donors", "input", "input", "facet 0"]
    lefts = [round(axes.get_position().x0, 6) for axes in figure.axes]
    assert lefts[:3] == lefts[4:7]  # the first row leaves the first place empty


def test_members_of_a_cluster_come_surest_first():
    responsibilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.9, 0.1]])
    assert figures.cluster_members(responsibilities, 0).tolist() == [2, 0]
    assert figures.cluster_members(responsibilities, 1).tolist() == [1]
