"""Experiments of the GMVAE: accuracy, density and pictures against closed forms, and runs."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from models import small_model
from torch.distributions import MultivariateNormal

from pyro_mfcvae import evaluation, figures
from pyro_mfcvae.config import Component
from pyro_mfcvae.config import override as changed
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.data.vision import torchvision_datasets
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.figures import plane
from pyro_mfcvae.models import GMVAE
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.priors.conditional import ConditionalMixture
from pyro_mfcvae.runs.train import train
from pyro_mfcvae.studies.papers import Plan, Request, get_experiment, reproduce
from pyro_mfcvae.studies.papers.gmvae import PUBLISHED


def gmvae(facets: str = "2:3,4:1", n_features: int = 2, scale: float = 0.5, widths=(6,)) -> GMVAE:
    """A small one for rows of numbers, in float64."""
    torch.manual_seed(0)
    network = Component(name="shared", options={"widths": [*widths], "activation": "tanh"})
    spec = ObservationSpec((n_features,), low=-4.0, high=4.0)
    likelihood = Component(name="gaussian", options={"scale": scale})
    return GMVAE(spec, facets, likelihood, network, network, mixture_width=5).double()


def test_the_surest_observation_speaks_for_its_cluster():
    labels = [0, 0, 1, 2, 1]
    r = [[0.6, 0.4, 0], [0.7, 0.3, 0], [0.9, 0.1, 0], [0.2, 0.8, 0], [0.45, 0.55, 0]]
    # Cluster 0 has classes 0, 0, 1 and its surest member has 1; cluster 1 has 2, 1, the surest 2.
    assert evaluation.exemplar_accuracy(labels, r) == 2 / 5
    assert evaluation.majority_accuracy(labels, np.argmax(r, 1)) == 3 / 5
    ties = [[0.5, 0.5], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    assert evaluation.exemplar_accuracy([3, 1, 0, 2], ties) == 2 / 4  # the first of the surest


def test_sure_clusters_make_it_the_accuracy_of_any_of_their_members():
    generator = np.random.default_rng(0)
    labels, clusters = generator.integers(4, size=50), generator.integers(6, size=50)
    classes = [labels[clusters == k][0] for k in range(6)]
    expected = np.mean([classes[k] == y for k, y in zip(clusters, labels, strict=True)])
    assert evaluation.exemplar_accuracy(labels, np.eye(6)[clusters]) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(3, 2), (2,), (2, 0)])
def test_responsibilities_of_other_observations_are_refused(shape):
    with pytest.raises(ValueError, match=r"responsibilities \(N, K\) of the 2 labels, got shape"):
        evaluation.exemplar_accuracy([0, 1], np.ones(shape))


def test_the_exemplars_are_among_the_measures_where_responsibilities_are_given():
    r = np.eye(2)[[0, 1, 1]]
    assert "exemplar_accuracy" not in evaluation.agreement([0, 1, 1], [0, 1, 1])
    found = evaluation.agreement([0, 1, 1], [0, 1, 1], responsibilities=r)
    assert found["exemplar_accuracy"] == 1


def test_density_under_the_prior_is_that_of_a_linear_model():
    """One component and a linear decoder: p(x) is a Gaussian, and so is the spread of p(x | z)."""
    model, n_samples = gmvae("2:1,1:1", widths=()), 20_000
    weight, bias = model.decoder.output.weight.detach(), model.decoder.output.bias.detach()
    identity = torch.eye(2, dtype=torch.float64)
    x = torch.tensor([[0.0, 0.0], [0.5, -0.3], [-0.8, 0.4]], dtype=torch.float64)
    # p(x | z)^2 is (4 pi scale^2)^-1 times a Gaussian of half the variance.
    variance = 0.5**2
    mean, square = (
        MultivariateNormal(bias, weight @ weight.T + noise * identity).log_prob(x).exp() / constant
        for noise, constant in ((variance, 1.0), (variance / 2, 4 * math.pi * variance))
    )
    error = (square - mean**2).sqrt() / mean / math.sqrt(n_samples)
    found = evaluation.prior_log_density(model, x, n_samples)
    assert found.dtype == np.float64
    assert (abs(found - mean.log().numpy()) < 5 * error.numpy()).all()
    assert error.max() < 0.02


def test_density_does_not_depend_on_how_many_points_are_asked_for(monkeypatch):
    model, x = gmvae(), torch.randn(7, 2, dtype=torch.float64)
    whole = evaluation.prior_log_density(model, x, 50)
    monkeypatch.setattr("pyro_mfcvae.evaluation.conditional._PAIRS", 100)
    np.testing.assert_allclose(evaluation.prior_log_density(model, x, 50), whole, rtol=1e-12)
    assert np.abs(evaluation.prior_log_density(model, x, 50, seed=1) - whole).max() > 1e-3


@pytest.mark.parametrize("n_samples", [1, 7])
def test_density_where_latents_tell_nothing_is_that_of_the_noise(n_samples):
    model, x = gmvae(scale=0.5), torch.randn(4, 2, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.zero_()
    expected = -(x**2).sum(1) / (2 * 0.25) - math.log(2 * math.pi * 0.25)
    found = evaluation.prior_log_density(model, x, n_samples)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize(("shape", "n"), [((3, 1, 2, 2), 5), ((3, 2), 0)])
def test_density_needs_rows_and_samples(shape, n):
    with pytest.raises(ValueError, match=r"observations \(N, D\) and at least one sample, got"):
        evaluation.prior_log_density(gmvae(), torch.zeros(shape), n)


def test_the_condition_moves_along_what_changes_most():
    model = gmvae()
    with torch.no_grad():
        model.facets[0].hidden.weight[:, [0, 3]] *= 0.01  # of the four, 1 and 2 are left
    dimensions, pictures = evaluation.traverse_condition(model, [2, 0], 2, (-1.0, 0.0, 2.0))
    assert set(dimensions) == {1, 2}
    assert pictures.shape == (2, 2, 3, 2)
    for i, d in enumerate(dimensions):
        for m, offset in enumerate((-1.0, 0.0, 2.0)):
            w = torch.zeros(4, dtype=torch.float64)
            w[d] = offset
            loc = model.facets[0]([w]).loc[[2, 0]]
            expected = model.decode([loc, w.expand(2, 4)]).mean.detach()
            np.testing.assert_allclose(pictures[:, i, m], expected, rtol=1e-12)


def test_the_effects_of_a_condition_are_those_of_one_deviation_either_way():
    """All components and pictures are straight lines of h_0 + 1.9 h_1, and h = tanh(20 w, w / 2).

    From -1 to 1 dimension 0 changes that by 2 and dimension 1 by 1.9 (2 tanh 0.5) = 1.76; beyond,
    dimension 1 would go on to change it.
    """
    model = gmvae("2:3,4:1", widths=())
    prior = model.facets[0]
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.zero_()
        prior.hidden.weight[0, 0, 0], prior.hidden.weight[0, 1, 1] = 20.0, 0.5
        prior.output.weight[0, 0], prior.output.weight[0, 1] = 1.0, 1.9
    dimensions, _ = evaluation.traverse_condition(model, [0, 1, 2], 4)
    assert dimensions.tolist() == [0, 1, 2, 3]
    one, pictures = evaluation.traverse_condition(model, [1], 1, [0.5])
    assert one.tolist() == [0]
    z = torch.full((1, 2), math.tanh(10.0), dtype=torch.float64)
    expected = model.decode([z, torch.zeros(1, 4)]).mean
    np.testing.assert_allclose(pictures[0, 0], expected.detach(), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (gmvae, ([3],), r"clusters from 0 to 2, got \[3\]"),
        (gmvae, ([],), r"clusters from 0 to 2, got \[\]"),
        (gmvae, ([0], 0), "at least one dimension and one offset, got 0 and 5"),
        (gmvae, ([0], 1, ()), "at least one dimension and one offset, got 1 and 0"),
        (small_model, ([0],), "depend on no other latent in MFCVAE; give a GMVAE"),
    ],
)
def test_what_cannot_be_moved(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluation.traverse_condition(make(), *arguments)


def test_densities_lie_where_their_points_do():
    window = plane.window_around(np.array([[0.0, 1.0], [4.0, 2.0]]), margin=0)
    assert window == (0, 4, -0.5, 3.5)
    grid = plane.grid_points(window, 3)
    np.testing.assert_array_equal(grid[:4], [[0, -0.5], [2, -0.5], [4, -0.5], [0, 1.5]])
    drawn = plane.draw_planes(
        [[plane.Plane("one", density=grid[:, 1].reshape(3, 3), window=window)]]
    )
    (image,) = drawn.axes[0].images
    assert image.origin == "lower"
    assert tuple(image.get_extent()) == window
    assert (np.diff(image.get_array(), axis=0) > 0).all()  # the second coordinate rises upwards


def test_panels_of_the_plane():
    points, means = np.random.default_rng(0).normal(size=(5, 2)), np.zeros((2, 2))
    covariances = np.stack([np.eye(2), np.diag([4.0, 1.0])])
    full = plane.Plane("a", points, np.array([0, 1, 1, 0, 1]), None, means, covariances)
    figure = plane.draw_planes([[full, None], [plane.Plane("b", points)]], "above", "below")
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    first, second = figure.axes
    colors = first.collections[0].get_facecolors()[:, :3]
    np.testing.assert_array_equal(colors[0], colors[3])
    assert (colors[0] != colors[1]).any()
    assert [(e.width, e.height) for e in first.patches] == [(2, 2), (2, 4)]
    assert [text.get_text() for text in first.texts] == ["0", "1"]
    np.testing.assert_allclose(second.collections[0].get_facecolors()[0, :3], to_rgb("0.5"))
    with pytest.raises(ValueError, match="expected panels to draw, got none"):
        plane.draw_planes([])


def test_the_threshold_is_dotted_where_there_is_one():
    curves = {"without": [([1, 2], [0, 0.1])], "with": [([1, 2], [0.1, 0.7]), ([1, 2], [0.2, 0.6])]}
    figure = figures.term_over_steps(curves, "nats", {"with": 0.5}, "title")
    without, with_ = figure.axes
    for panel in figure.axes:  # the first one's height is not that of all
        assert panel.get_ylim()[0] == 0
        assert panel.get_ylim()[1] > 0.7
    assert [line.get_linestyle() for line in with_.lines] == ["-", "-", ":"]
    assert list(with_.lines[2].get_ydata()) == [0.5, 0.5]
    assert [line.get_linestyle() for line in without.lines] == ["-"]
    with pytest.raises(ValueError, match="set training.log_every below its steps"):
        figures.term_over_steps({"with": [([], [])]}, "nats", {})


def test_settings_are_those_of_the_paper_and_its_code():
    arcs, digits = (get_preset(name).config for name in ("gmvae-arcs", "gmvae-mnist"))
    published = ((arcs, [(8, 2), (1, 2)], 200), (digits, [(10, 200), (1, 150)], 50))
    for config, facets, batch_size in published:
        assert [(f.n_clusters, f.latent_dim) for f in config.model.facets] == facets
        assert (config.training.batch_size, config.training.learning_rate) == (batch_size, 1e-4)
        assert (config.guide.name, config.training.min_information) == ("posterior-analytic", 0.5)
    assert digits.model.likelihood.name == "bernoulli"


def test_arms_and_published_numbers():
    arms = {arm.label: arm for arm in get_experiment("gmvae-mnist").arms("reduced")}
    assert list(arms) == ["K10-M1", "K10-M10", "K16-M1", "K16-M10", "K30-M1", "K30-M10"]
    assert arms["K16-M10"].config.model.facets[0].n_clusters == 16
    assert arms["K16-M10"].config.guide.n_samples == 10
    entries = get_experiment("gmvae-mnist").entries(list(arms.values()))
    beside = {e.arm: e for e in entries if e.published}
    assert [e.published for e in beside.values()] == [number for _, _, number in PUBLISHED.values()]
    assert {e.metric for e in beside.values()} == {"exemplar accuracy, held out"}
    least = [
        arm.config.training.min_information for arm in get_experiment("gmvae-arcs").arms("full")
    ]
    assert least == [0, 0.5, 1.5]
    assert "not checked against the paper" in get_experiment("gmvae-mnist").notes("full")[0]


def test_arcs_from_beginning_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(plane, "_N_DRAWS", 200)
    monkeypatch.setattr(plane, "_N_GRID", 8)
    short = ["data.options.n_train=100", "data.options.n_test=40", "training.epochs_per_step=3"]
    short += ["training.log_every=1", "training.evaluate_every=1"]
    arms = ["unconstrained", "constrained"]
    request = Request("quick", only=arms, assignments=short, out=tmp_path, device="cpu")
    results, folder = reproduce(get_experiment("gmvae-arcs"), request)
    assert results["figures"] == ["gmvae-arcs-figure-2.png", "gmvae-arcs-figure-3.png"]
    assert all((folder / name).stat().st_size for name in results["figures"])
    lines = {(line["arm"], line["metric"]): line for line in results["table"]}
    for arm in arms:
        stored = next(run for run in results["runs"] if run["arm"] == arm)
        exemplar = stored["facets"][0]["arc"]["exemplar_accuracy"]
        line = lines[arm, "exemplar accuracy, held out, K = 8"]
        assert line["values"] == {0: exemplar}
        assert lines[arm, "z-prior term, nats, held out"]["mean"] >= 0
        metrics = [
            json.loads(text)
            for text in (tmp_path / "runs" / stored["folder"] / "metrics.jsonl").open()
        ]
        logged = [m["values"]["exemplar_accuracy_0_arc"] for m in metrics if m["split"] == "test"]
        assert logged[-1] == exemplar


def test_components_of_pictures_from_beginning_to_end(tmp_path):
    short = ["training.epochs_per_step=1", "training.evaluate_every=1"]
    request = Request("quick", only=["K10-M1"], assignments=short, out=tmp_path, device="cpu")
    results, _ = reproduce(get_experiment("gmvae-mnist"), request)
    assert results["figures"] == [
        "gmvae-mnist-figure-4.png",
        "gmvae-mnist-figure-5-K10-M1-samples.png",
        "gmvae-mnist-figure-5-K10-M1-style.png",
    ]
    assert "published numbers are of MNIST" in results["notes"][0]


def test_svhn_is_refused_without_its_files(tmp_path, monkeypatch):
    def no_network(self):
        raise OSError("no network")

    monkeypatch.setattr(torchvision_datasets().SVHN, "download", no_network)
    request = Request(data_dir=tmp_path / "nothing", out=tmp_path / "out", device="cpu")
    with pytest.raises(DataError, match=r"^svhn: .*train_32x32\.mat"):
        Plan(get_experiment("gmvae-svhn"), request)
    assert not (tmp_path / "out").exists()


def test_training_fits_components_from_networks_anew(tmp_path, monkeypatch):
    fitted = []
    monkeypatch.setattr(
        ConditionalMixture, "set_components", lambda self, loc, *rest: fitted.append(loc.shape)
    )
    assignments = ["data.options.n_train=200", "data.options.n_test=20"]
    assignments += ["training.epochs_per_step=2", "training.refit_mixtures=[1]"]
    train(changed(get_preset("gmvae-arcs").config, assignments), tmp_path / "run")
    assert fitted == [(8, 2)]
