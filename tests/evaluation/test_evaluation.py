"""Accuracies against the first authors' and against brute force; arrays of predictions."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from models import observations, small_model, tiny_config
from sklearn.metrics import homogeneity_score, normalized_mutual_info_score

from pyro_mfcvae import Noise, evaluation
from pyro_mfcvae.cli import main
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.evaluation.measures import MEASURES
from pyro_mfcvae.runs.measure import evaluate_run
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import train

RTOL = 1e-12


def test_accuracies_are_those_of_the_first_authors(golden):
    cases = json.loads((golden / "clustering_accuracy.json").read_text())
    assert cases
    for case in cases:
        labels, clusters = case["labels"], case["clusters"]
        for name in ("majority_accuracy", "class_weighted_accuracy", "hungarian_accuracy"):
            value = getattr(evaluation, name)(labels, clusters)
            assert value == pytest.approx(case[name], rel=1e-8), name


@pytest.mark.parametrize("n_clusters", [3, 5])
def test_hungarian_is_the_best_assignment(n_clusters):
    generator = np.random.default_rng(0)
    labels, clusters = generator.integers(4, size=60), generator.integers(n_clusters, size=60)
    size = max(4, n_clusters)
    best = max(
        np.mean(np.array(order)[clusters] == labels)
        for order in itertools.permutations(range(size))
    )
    assert evaluation.hungarian_accuracy(labels, clusters) == pytest.approx(best, rel=RTOL)


def test_a_map_learnt_elsewhere():
    labels, clusters = np.array([0, 0, 1, 2, 2]), np.array([0, 0, 0, 1, 1])
    cluster_map = evaluation.majority_map(labels, clusters, n_clusters=4)
    assert cluster_map.tolist() == [0, 2, -1, -1]
    # Cluster 2 had no member to learn from, so it is always wrong.
    assert evaluation.mapped_accuracy([0, 1, 2, 2], [0, 0, 1, 2], cluster_map) == 0.5
    with pytest.raises(ValueError, match="covers 4 clusters"):
        evaluation.mapped_accuracy([0], [4], cluster_map)


def test_absent_classes_do_not_count():
    assert evaluation.class_weighted_accuracy([0, 0, 5], [1, 1, 2]) == 1.0


def test_information_and_pairs_from_their_definitions():
    generator = np.random.default_rng(1)
    labels, clusters = generator.integers(3, size=50), generator.integers(4, size=50)
    joint = evaluation.contingency(labels, clusters) / 50
    entropies = [-(p * np.log(p)).sum() for p in (joint.sum(0), joint.sum(1), joint[joint > 0])]
    information = entropies[0] + entropies[1] - entropies[2]
    nmi = evaluation.normalized_mutual_information(labels, clusters)
    assert nmi == pytest.approx(2 * information / (entropies[0] + entropies[1]), rel=1e-10)
    share = evaluation.homogeneity(labels, clusters)
    assert share == pytest.approx(information / entropies[0], rel=1e-10)
    pairs = np.triu_indices(50, 1)
    together = [(v[:, None] == v)[pairs] for v in (labels, clusters)]
    both, a, b = (m.mean() for m in (together[0] & together[1], *together))
    index = evaluation.adjusted_rand_index(labels, clusters)
    assert index == pytest.approx((both - a * b) / ((a + b) / 2 - a * b), rel=1e-10)


AGREEMENTS = (
    evaluation.majority_accuracy,
    evaluation.class_weighted_accuracy,
    evaluation.hungarian_accuracy,
    evaluation.normalized_mutual_information,
    evaluation.homogeneity,
    evaluation.adjusted_rand_index,
    evaluation.agreement,
    lambda labels, clusters: evaluation.mapped_accuracy(labels, clusters, np.zeros(2, int)),
    lambda labels, clusters: evaluation.majority_map(labels, clusters, 2),
)


@pytest.mark.parametrize("measure", AGREEMENTS)
@pytest.mark.parametrize(
    ("labels", "clusters", "message"),
    [
        (np.zeros(0, int), np.zeros(0, int), r"length above 0, got shape \(0,\)"),
        ([[0], [1]], [[0], [1]], r"got shape \(2, 1\)"),
        ([0, 1], [0], r"one length, got shapes \(2,\) and \(1,\)"),
        ([0, -1], [0, 1], "labels must be whole numbers from 0, got -1"),
        ([0, 1], [-2, 1], "clusters must be whole numbers from 0, got -2"),
        ([0.5, 1.0], [0, 1], "labels must be whole numbers from 0, got float64"),
    ],
)
def test_bad_labels_are_refused(measure, labels, clusters, message):
    with pytest.raises(ValueError, match=message):
        measure(labels, clusters)


def test_redundancy_of_three_facets():
    generator = np.random.default_rng(2)
    clusters = [generator.integers(n, size=40) for n in (3, 4, 5)]
    found = [[evaluation.redundancy(a, b) for b in clusters] for a in clusters]
    expected = [[normalized_mutual_info_score(a, b) for b in clusters] for a in clusters]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert [found[j][j] for j in range(3)] == [1.0] * 3
    renamed = evaluation.redundancy(clusters[0] + 2, clusters[1])
    assert renamed == pytest.approx(found[0][1], rel=1e-12)
    with pytest.raises(ValueError, match=r"one length, got shapes \(40,\) and \(39,\)"):
        evaluation.redundancy(clusters[0], clusters[1][:39])
    with pytest.raises(ValueError, match="length above 0"):
        evaluation.occupied_clusters([])


def test_assignment_entropy():
    r = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    assert evaluation.assignment_entropy(r) == pytest.approx(np.log(2) / 2, rel=RTOL)
    share = evaluation.normalized_assignment_entropy(r)
    assert share == pytest.approx(np.log(2) / 2 / np.log(3), rel=RTOL)
    uniform = np.full((4, 7), 1 / 7)
    assert evaluation.normalized_assignment_entropy(uniform) == pytest.approx(1, rel=RTOL)
    single = np.ones((3, 1), np.float32)
    assert evaluation.normalized_assignment_entropy(single) == 0
    r[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"in 1 of 2 rows they are not, first in row 1: .*nan"):
        evaluation.assignment_entropy(r)
    for bad in ([[0.6, 0.6]], [[-0.5, 1.5]], [[np.inf, 0.0]]):
        with pytest.raises(ValueError, match="rows sum to 1"):
            evaluation.assignment_entropy(bad)
    for bad in ([], [0.5, 0.5], np.zeros((0, 3))):
        with pytest.raises(ValueError, match=r"of shape \(N, K\), got"):
            evaluation.assignment_entropy(bad)


def test_predictions_do_not_depend_on_the_batch_size():
    model, x = small_model(), observations(10)
    whole, parts = (evaluation.predict(model, x, batch_size) for batch_size in (10, 3))
    for a, b in zip(whole.responsibilities, parts.responsibilities, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    for j, r in enumerate(model.responsibilities(x)):
        np.testing.assert_allclose(whole.responsibilities[j], r, rtol=1e-12)
        assert (whole.clusters[j] == r.argmax(1).numpy()).all()


def test_responsibilities_from_samples():
    model, x = small_model(), observations()
    torch.manual_seed(1)
    from_samples = model.responsibilities(x, n_samples=5)
    torch.manual_seed(1)
    for facet, posterior, r in zip(model.facets, model.encode(x), from_samples, strict=True):
        z = posterior.sample((5,))
        expected = facet.log_responsibilities(z).mean(0).softmax(-1)
        torch.testing.assert_close(r, expected.detach())


def test_elbo_means_are_weighted_by_batch_size():
    model, x = small_model(), observations(7)
    found = evaluation.elbo_means(model, x, batch_size=3)
    assert evaluation.elbo_means(model, x, batch_size=3) == found
    whole = []
    for step, batch in enumerate(x.split(3)):
        with torch.no_grad(), Noise(0, step):
            whole.append(model(batch))
    for name, values in (
        ("elbo", torch.cat([terms.elbo for terms in whole])),
        ("kl_z_1", torch.cat([terms.kl_z[:, 1] for terms in whole])),
    ):
        assert found[name] == pytest.approx(values.mean().item(), rel=1e-10)


def test_samples_of_clusters():
    model = small_model(2)
    pictures = evaluation.sample_clusters(model, 1, [2, 0], n_samples=4, seed=3)
    assert pictures.shape == (2, 4, 1, 4, 4)
    again = evaluation.sample_clusters(model, 1, [2, 0], n_samples=4, seed=3)
    np.testing.assert_array_equal(pictures, again)
    # Without any spread the chosen facet is at its cluster's mean.
    with torch.no_grad():
        cold = evaluation.sample_clusters(model, 0, [3], n_samples=50, temperature=0.0)
        means = [model.facets[0].loc[3], *[f.loc for f in list(model.facets)[1:]]]
        possible = torch.stack([model.decode([means[0], m]).mean for m in means[1]])
    distances = np.abs(cold[0][:, None] - possible.numpy()).max((-1, -2, -3))
    assert (distances.min(1) < 1e-12).all()
    with pytest.raises(ValueError, match="from 0 to 1, got 2"):
        evaluation.sample_clusters(model, 2, [0], 1)


def test_samples_of_the_model():
    model, n = small_model(2), 2000
    model.fade[0] = 0.5
    pictures = evaluation.sample(model, n, temperature=0.0, seed=1)
    assert pictures.shape == (n, 1, 4, 4)
    # Without any spread every facet is at one of its means, as often as its weights say.
    first, second = model.facets
    with torch.no_grad():
        pairs = itertools.product(first.loc, second.loc)
        zs = [torch.stack(z) for z in zip(*pairs, strict=True)]
        possible = model.decode(zs).mean.numpy()
        p = (first.log_weights.exp()[:, None] * second.log_weights.exp()).flatten().numpy()
    distances = np.abs(pictures[:, None] - possible).max((-1, -2, -3))
    assert distances.min(1).max() < 1e-12
    shares = np.bincount(distances.argmin(1), minlength=len(p)) / n
    assert (np.abs(shares - p) < 5 * np.sqrt(p * (1 - p) / n)).all()
    again, other = (evaluation.sample(model, 3, seed=seed) for seed in (1, 2))
    np.testing.assert_array_equal(again, evaluation.sample(model, 3, seed=1))
    assert np.abs(again - other).max() > 1e-3
    with pytest.raises(ValueError, match="at least one sample, got 0"):
        evaluation.sample(model, 0)
    with pytest.raises(ValueError, match="temperature must not be negative"):
        evaluation.sample(model, 1, temperature=-1.0)


def _toy(n_classes: int = 3) -> Dataset:
    labels = {"side": torch.randint(n_classes, (40,)), "other": torch.randint(2, (40,))}
    return Dataset("toy", observations(40).float(), torch.arange(30), torch.arange(30, 40), labels)


def test_everything_is_there_for_both_parts():
    model = small_model(2).float()
    model.fade[0] = 0.5
    results = evaluation.evaluate(model, _toy())
    parts = {"train", "test"}
    for facet in results.facets:
        assert all(set(found) == parts for found in facet.measures.values())
        entropy, share = (
            facet.measures[name] for name in ("assignment_entropy", "normalized_assignment_entropy")
        )
        for part in parts:
            assert share[part] == pytest.approx(entropy[part] / np.log(facet.n_clusters))
        for factor in facet.factors.values():
            assert set(factor.train) == set(factor.test)
            own = factor.train["majority_accuracy"]
            assert factor.train["majority_accuracy_training_map"] == pytest.approx(own)
    assert [results.elbo[part]["fade_0"] for part in sorted(parts)] == [0.5, 0.5]
    assert results.fade == [0.5, 1.0]
    assert set(results.measures["redundancy"]) == parts


def test_a_model_that_has_diverged_is_refused():
    model = small_model(2).float()
    with torch.no_grad():
        model.facets[1].loc[0, 0] = torch.nan
    with pytest.raises(ValueError, match="in 30 of 30 rows they are not"):
        evaluation.evaluate(model, _toy())


def test_evaluation_learns_its_map_on_the_training_part():
    model = small_model(2)
    x = observations(40).float()
    model.float()
    labels = {"side": torch.randint(3, (40,))}
    dataset = Dataset("toy", x, torch.arange(30), torch.arange(30, 40), labels)
    results = evaluation.evaluate(model, dataset)
    clusters = evaluation.predict(model, x).clusters
    for j, facet in enumerate(results.facets):
        side = facet.factors["side"]
        cluster_map = evaluation.majority_map(labels["side"][:30], clusters[j][:30], 9)
        right = cluster_map[clusters[j][30:]] == labels["side"][30:].numpy()
        assert side.test["majority_accuracy_training_map"] == pytest.approx(right.mean())
        assert side.n_classes == results.n_classes("side") == 3
        assert 0 <= results.value("assignment_entropy", facet=j) <= np.log(facet.n_clusters)
    assert results.n_observations == {"train": 30, "test": 10}
    nmi = normalized_mutual_info_score(clusters[0][30:], clusters[1][30:])
    found = results.measures["redundancy"]["test"]
    assert found == [[1, pytest.approx(nmi)], [pytest.approx(nmi), 1]]
    expected = homogeneity_score(labels["side"][30:], clusters[0][30:])
    assert results.value("homogeneity", facet=0, factor="side") == pytest.approx(expected)
    json.dumps(results.to_dict())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny run, finished and evaluated."""
    config = tiny_config(**{"training.epochs_per_step": "[1,1]"})
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run, _, dataset = train(config, folder)
    evaluate_run(run, dataset)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "run"))


def _evaluate(run: Path, *arguments: str):
    return CliRunner().invoke(main, ["evaluate", str(run), *arguments], prog_name="mfcvae")


def _empty(run: Path) -> None:
    shutil.rmtree(run)
    run.mkdir()


def _damage_model(run: Path) -> None:
    for file in run.glob("checkpoints/*/model.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_empty, "is no run folder: it has no config.json"),
        (lambda run: shutil.rmtree(run / "checkpoints"), "checkpoint"),
        (lambda run: (run / "evaluation.json").write_text('{"elbo": '), "evaluation.json is damag"),
        (lambda run: (run / "evaluation.json").write_text("[1, 2]"), "evaluation.json is damaged"),
        (lambda run: (run / "config.json").write_text("{}}"), "config.json cannot be used"),
        (_damage_model, "checkpoint"),
    ],
)
def test_a_damaged_run_is_refused_and_left_as_it_was(run, damage, message):
    damage(run)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    result = _evaluate(run, "--all")
    assert result.exit_code == 1, result.output
    assert re.search(message, result.output), result.output
    assert "Traceback" not in result.output
    assert "should not happen" not in result.output
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_all_measures_are_printed(run):
    brief = _evaluate(run)
    assert brief.exit_code == 0, brief.output
    assert "class-weighted" not in brief.output
    result = _evaluate(run, "--all", "--bound", "4", "--diversity", "pixels")
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines())) <= 100
    for word in ("class-weighted", "exemplar", "KL of c, facet 1", "log K", "weight"):
        assert word in result.output, word
    assert "probe" not in result.output
    results = Run(run).evaluation()
    for j, part in itertools.product(range(2), ("train", "test")):
        found = [results.value(name, part, j, "floor_hue") for name in ("nmi", "homogeneity")]
        numbers = [f"{100 * value:z.1f}" for value in found]
        rows = result.output.split(f"clusters of facet {j} ")[1].splitlines()
        assert any(set(numbers) <= set(row.split()) for row in rows)
    bound = results.importance_weighted_bound
    numbers = [results.elbo["train"]["kl_z_1"], bound.test, bound.elbo["test"]]
    assert all(f" {value:.2f}" in result.output for value in numbers)
    means = results.diversity.distances["pixels"]
    row = rf"pixels +{means['data']:.4f} +{means['samples']:.4f}"
    assert re.search(row, result.output)
    assert _evaluate(run).exit_code == 0
    assert Run(run).evaluation() == results  # what took long is kept


def test_help_lists_the_measures():
    for command in ("evaluate", "sweep"):
        result = CliRunner().invoke(main, [command, "--help"])
        assert all(re.search(rf"^  {name}\b", result.output, re.MULTILINE) for name in MEASURES)


def test_diversity_of_a_run(run):
    opened = Run(run)
    dataset = opened.dataset()
    found = evaluate_run(opened, dataset, {"diversity": ("pixels",)}).diversity
    samples = evaluation.sample(opened.model(), found.n_samples)
    expected = {"data": dataset.x, "samples": samples.clip(0, 1)}
    for of, pictures in expected.items():
        mean = evaluation.pixel_diversity(pictures, found.n_pairs)
        assert found.distances["pixels"][of] == pytest.approx(mean, rel=1e-6)
    before = (run / "evaluation.json").read_bytes()
    for slow, message in (
        ({"diversity": ("angle",)}, "distance 'angle'; .*pixels, lpips"),
        ({"diversity": ("pixel",)}, "did you mean 'pixels'"),
        ({"oracle": True}, "'oracle'; .*importance_weighted_bound, probe, diversity"),
    ):
        with pytest.raises(ConfigError, match=message):
            evaluate_run(opened, dataset, slow)
    assert (run / "evaluation.json").read_bytes() == before


def test_the_bound_with_one_sample_is_the_elbo_beside_it(run):
    opened = Run(run)
    bound, more = (
        evaluate_run(opened, slow={name: n}).importance_weighted_bound
        for name, n in (("importance_weighted_bound", 1), ("importance_weighted_bound", 16))
    )
    assert bound.elbo == more.elbo == {"train": bound.train, "test": bound.test}
    assert more.train > bound.train
    assert more.test > bound.test


def test_what_cannot_be_measured_is_said_before_anything_is(run, monkeypatch):
    before = (run / "evaluation.json").read_bytes()
    monkeypatch.setattr("pyro_mfcvae.evaluation.evaluate", None)
    monkeypatch.setitem(sys.modules, "lpips", None)
    result = _evaluate(run, "--probe", "--diversity", "pixels", "--diversity", "lpips")
    assert result.exit_code == 2, result.output
    assert "LPIPS needs the package lpips" in result.output
    assert (run / "evaluation.json").read_bytes() == before
