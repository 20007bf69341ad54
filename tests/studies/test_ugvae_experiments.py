"""UG-VAE's presets and experiments."""

from __future__ import annotations

import functools
import json

import pytest
from torch import nn

from pyro_mfcvae.config import override
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.evaluation import classify_groups
from pyro_mfcvae.plugins import build_model
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.studies.papers import Plan, Request, get_experiment, reproduce, ugvae

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
        assert config.guide.name == "amortized-analytic"
        of_experts = {"linear_experts": True, "shared_trunk": True}
        assert config.model.options.items() >= {**of_experts, "mixture_activation": "relu"}.items()


@pytest.mark.parametrize("data", ["mnist", "domains"])
def test_ablations_change_nothing_else(data):
    whole, flat, plain = (
        get_preset(f"{kind}-{data}").config for kind in ("ugvae", "mlvae", "betavae")
    )
    assert [facet.n_clusters for facet in flat.model.facets] == [1, 1]
    assert flat.model.name == "ugvae"
    assert {**flat.model.options, "mixture_activation": "relu"} == whole.model.options
    assert (plain.model.name, len(plain.model.facets)) == ("mfcvae", 1)
    assert plain.training.kl_weight > 1 == whole.training.kl_weight
    for config in (flat, plain):
        assert (config.data, config.model.encoder) == (whole.data, whole.model.encoder)
        assert config.training.n_epochs == whole.training.n_epochs


def test_networks_for_celeba_are_those_of_the_paper():
    model = build_model(get_preset("ugvae-celeba").config.model, ObservationSpec((3, 64, 64)))
    encoder = model.encoder
    layers = [m for m in encoder.convolutions if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in layers] == [32, 32, 64, 64]
    assert all((m.kernel_size, m.stride) == ((4, 4), (2, 2)) for m in layers)
    (dense,) = (m for m in encoder.trunk if isinstance(m, nn.Linear))
    assert (dense.in_features, dense.out_features) == (64 * 4 * 4, 256)
    assert any(isinstance(m, nn.BatchNorm1d) for m in encoder.trunk)
    (expert,) = model.experts.layers
    assert (expert.in_features, expert.out_features) == (256 + 20, 2 * 20)
    up = [m for m in model.decoder.convolutions if isinstance(m, nn.ConvTranspose2d)]
    assert [m.in_channels for m in up] == [64, 64, 32, 32]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.decoder.modules())
    assert model.decoder.first_shape == (64, 4, 4)


# Experiments


def test_published_accuracies_stand_beside_the_same_data_only():
    experiment = get_experiment("ugvae-celeba")
    arms = experiment.arms("full")
    lines = {
        entry.path[2:]: entry.published
        for entry in experiment.entries(arms)
        if entry.path[:2] == ("groups", "trained")
    }
    assert len(lines) == 4 * (2 * 2 + 1)
    assert lines["black, blond", "apart", "samples", "linear", "train"] == "100"
    assert lines["black, blond", "apart", "samples", "rbf", "test"] == "98"
    assert lines["male, female", "with_random", "samples", "linear", "test"] == "66"
    assert not any(published for path, published in lines.items() if "means" in path)
    for name, n_lines in (("ugvae-mnist", 2), ("ugvae-shapes", 0), ("ugvae-domains", 2)):
        other = get_experiment(name)
        published = [e.published for e in other.entries(other.arms("full")) if e.published]
        assert len(published) == n_lines
        assert all("authors' code" in text for text in published)
        assert not any(entry.published for entry in other.entries(other.arms("quick")))


def test_domains_come_apart_and_half_and_half():
    arms = get_experiment("ugvae-domains").arms("full")
    assert [arm.config.training.strata for arm in arms] == ["apart"] * 3 + ["shared"] * 3
    labels = [arm.label for arm in arms]
    assert labels[3:] == [f"{label}-half-and-half" for label in labels[:3]]
    for apart, half in zip(arms[:3], arms[3:], strict=True):
        assert override(half.config, ["training.strata=apart"]) == apart.config


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
        "factors": {
            "floor_hue": [0, 2, 5, 7],
            "wall_hue": [5],
            "object_hue": [6],
            "scale": [0, 7],
            "orientation": [0, 4, 8, 12],
        },
    },
}
DOMAINS = {"name": "mixed", "options": {"first": SCENES, "second": SCENES | {"inverted": True}}}


@pytest.fixture
def few_groups(monkeypatch):
    few = functools.partial(classify_groups, n_train=4, n_test=3)
    monkeypatch.setattr(ugvae, "classify_groups", few)
    monkeypatch.setattr("pyro_mfcvae.figures.groups._N_GROUPS", 3)


@pytest.mark.parametrize(
    ("labels", "further", "n_figures"),
    [
        (["ugvae-domains", "mlvae-domains-half-and-half"], ["model.options.group_size=8"], 8),
        (["betavae-domains"], [], 3),
    ],
)
def test_domains_end_to_end(labels, further, n_figures, tmp_path, few_groups):
    request = Request(
        "quick", n_seeds=1, only=labels, assignments=[*_tiny(DOMAINS), *further], out=tmp_path
    )
    results, folder = reproduce(get_experiment("ugvae-domains"), request)
    assert json.loads((folder / "results.json").read_text())["figures"] == results["figures"]
    assert len(results["figures"]) == n_figures
    assert all((folder / name).exists() for name in results["figures"])
    for label in labels:
        assert {f"figure-5{part}-{label}.png" for part in "abc"} <= {*results["figures"]}
    assert [run["arm"] for run in results["runs"]] == labels
    for run in results["runs"]:
        assert set(run["domains"]) == {"shared", "own", "judge"}
        for model in ("trained", "untrained"):
            assert set(run["groups"][model]) == {"domain"}
            assert run["groups"][model]["domain"]["kinds"] == ["shapes", "shapes inverted"]


def test_values_of_factors_end_to_end(tmp_path, few_groups):
    request = Request(
        "quick", n_seeds=1, assignments=[*_tiny(SCENES), "model.options.group_size=8"], out=tmp_path
    )
    experiment = get_experiment("ugvae-shapes")
    results, _ = reproduce(experiment, request)
    lines = [line for line in results["table"] if "SVM" in line["metric"]]
    assert len(lines) == 4 * 2 * (2 * 3 + 2)
    assert all(0 <= line["mean"] <= 1 for line in lines)
    expected = {"figure-3-ugvae-shapes.png"} | {
        f"figure-7-{factor}-ugvae-shapes.png"
        for factor in ("floor-hue", "shape", "scale", "orientation")
    }
    assert {*results["figures"]} == expected
