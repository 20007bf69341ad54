"""Every example runs, and is what it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import ROOT
from pyro.infer import TraceEnum_ELBO
from scipy import stats
from variants import VARIANTS, X, load, random_model

from pyro_mfcvae import Noise
from pyro_mfcvae.cli import main
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.nets.likelihoods import LIKELIHOODS
from pyro_mfcvae.testing.values import gradients, relative_error, with_guides

OTHERS = ("dirichlet_weights", "own_guide", "own_likelihood", "penguins", "plain_pyro")
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


def test_all_examples_are_tested():
    assert sorted([*VARIANTS, *OTHERS]) == EXAMPLES


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_short(name):
    lines = (ROOT / "examples" / f"{name}.py").read_text().splitlines()
    assert sum(bool(line) for line in lines) <= 60


@pytest.mark.parametrize("name", VARIANTS)
def test_guides_agree_at_one_sample(name):
    """``vade``, ``posterior`` and ``enumerate`` have one value and one gradient; so has Pyro."""
    model, losses = random_model(name), {}
    for guide in ("vade", "posterior", "enumerate"):
        with Noise(0):
            losses[guide] = model(X, guide=guide).loss
    grads = {guide: gradients(model, loss) for guide, loss in losses.items()}
    for guide in ("vade", "posterior"):
        assert losses[guide].item() == pytest.approx(losses["enumerate"].item(), rel=1e-12)
        assert relative_error(grads[guide], grads["enumerate"]) < 1e-9
    with Noise(0):
        stock = TraceEnum_ELBO(max_plate_nesting=1).loss(model.model, model.guide("vade"), X)
    assert stock / len(X) == pytest.approx(losses["vade"].item(), rel=1e-9)


@pytest.mark.parametrize("name", VARIANTS)
def test_vade_is_the_best_of_several_samples(name):
    """No other guide with one q(c | x) for all samples comes as near to summing out."""
    model = with_guides(random_model(name), "amortized")
    elbos = {}
    for guide in ("enumerate", "vade", "expectation", "amortized"):
        with torch.no_grad(), Noise(1):
            elbos[guide] = model(X, guide=guide, n_samples=4).elbo
    assert (elbos["enumerate"] > elbos["vade"]).all()
    for guide in ("expectation", "amortized"):
        assert (elbos["vade"] > elbos[guide]).all()


def test_student_t_against_scipy():
    for covariance in ("diagonal", "full"):
        prior = random_model("student_t_mixture", covariance).facets[1]
        z = torch.randn(6, 3, dtype=torch.float64)
        with torch.no_grad():
            factors, locs = prior.scale_tril, prior.loc
            expected = np.stack(
                [
                    stats.multivariate_t(m, f @ f.T, df=4).logpdf(z.numpy())
                    for m, f in zip(locs.numpy(), factors.numpy(), strict=True)
                ],
                -1,
            )
            every = prior.component_log_prob(z)
            c = torch.tensor([0, 3, 1, 2, 2, 0])
            at = prior.component_log_prob_at(z, c)
        np.testing.assert_allclose(every.numpy(), expected, rtol=1e-10)
        np.testing.assert_allclose(at.numpy(), expected[np.arange(6), c], rtol=1e-10)
        weights = prior.log_weights.detach().numpy()
        mixture = np.log(np.exp(expected + weights).sum(-1))
        np.testing.assert_allclose(prior.log_prob(z).detach().numpy(), mixture, rtol=1e-10)


def test_samples_are_student_t():
    prior = random_model("student_t_mixture", "diagonal").facets[0]
    draws = prior.sample((4000,), c=1, generator=torch.Generator().manual_seed(0))
    white = ((draws - prior.loc[1]) / prior.scale[1]).detach().numpy()
    for column in white.T:  # a correct sampler fails this once in ten thousand seeds
        assert stats.kstest(column, stats.t(4).cdf).pvalue > 1e-4
        assert stats.kstest(column, stats.norm.cdf).pvalue < 1e-4


def test_student_t_has_no_closed_form():
    with pytest.raises(ConfigError, match=r"no closed form.*vade"):
        random_model("student_t_mixture")(X, guide="vade-analytic")


def test_student_t_forgives_outliers():
    losses = load("student_t_mixture").main(100)
    assert losses["StudentTMixtures"] < losses["MFCVAE"] - 0.5


def test_fewer_clusters_with_a_smaller_alpha():
    main = load("dirichlet_weights").main
    assert [main(alpha) for alpha in (0.01, 100.0)] == [3, 10]


def test_plain_facet_has_the_kl_of_a_plain_vae():
    model = random_model("plain_normal_facet")
    q = model.encode(X)[0].base_dist
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    terms = model(X, guide="vade-analytic")
    torch.testing.assert_close(terms.kl_z[:, 0], kl, rtol=1e-12, atol=0)
    assert not terms.kl_c[:, 0].any()
    assert terms.kl_c[:, 1].all()
    assert [r.shape[1] for r in model.responsibilities(X)] == [1, 4]


def test_plain_facet_finds_what_has_no_gaps():
    assert load("plain_normal_facet").main(300) > 0.9


def test_count_likelihoods_against_scipy():
    module = load("count_likelihoods")
    h = torch.randn(4, 2, 3, dtype=torch.float64)
    counts = torch.randint(6, (4, 2, 3)).double()
    p = module.PoissonLikelihood()(h, 2)
    expected = stats.poisson.logpmf(counts.numpy(), np.log1p(np.exp(h.numpy()))).sum((1, 2))
    np.testing.assert_allclose(p.log_prob(counts).numpy(), expected, rtol=1e-12)
    which = torch.randint(3, (4, 2))
    p = module.CategoricalLikelihood()(h, 2)
    one_hot = torch.nn.functional.one_hot(which, 3).double()
    expected = -torch.nn.functional.cross_entropy(
        h.flatten(0, 1), which.flatten(), reduction="none"
    )
    torch.testing.assert_close(p.log_prob(one_hot), expected.reshape(4, 2).sum(-1))
    torch.testing.assert_close(p.mean, h.softmax(-1))


def test_count_likelihoods_refuse_other_data():
    module = load("count_likelihoods")
    with pytest.raises(DataError, match="from 0 on, got -1"):
        module.PoissonLikelihood().check(ObservationSpec((3,), low=-1))
    for low, high in ((0, 2), (-1, 1)):
        with pytest.raises(DataError, match="zeros and ones"):
            module.CategoricalLikelihood().check(ObservationSpec((3,), low=low, high=high))


def test_counts_and_categories_are_learnt():
    losses = load("count_likelihoods").main(150)
    assert losses["poisson"][-1] < 11.5  # both kinds at their rates: 9.3 and what tells the kind
    assert losses["categorical"][-1] < 5**0.5


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "hierarchical_facets" else pytest.mark.slow)
        for name in VARIANTS
    ],
)
def test_a_variant_trains_from_the_command_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for likelihood in ("poisson", "categorical"):  # registered where another test has loaded them
        monkeypatch.delitem(LIKELIHOODS, likelihood, raising=False)
    x = (X.repeat(5, 1).numpy() > 0).astype(np.float32)
    np.savez("mine.npz", x=x, kind=np.arange(60) % 3)
    settings = {
        "model.encoder.options.backbone": "8",
        "model.decoder.options.backbone": "8",
        "model.decoder.options.rungs": "8",
        "training.batch_size": "20",
        "training.epochs_per_step": "[1,2]",
        "training.n_fade_in_batches": "3",
        "training.n_threads": "1",
    }
    if name == "count_likelihoods":
        settings["model.likelihood"] = "poisson"
    given = ["--model", f"{ROOT / 'examples' / name}.py:{VARIANTS[name]}"]
    words = [word for item in settings.items() for word in ("--set", "=".join(item))]
    words += ["--data", "mine.npz", "--facets", "2:3,2:4", "--device", "cpu"]
    for command in (
        ["train", *words, "--out", "first"],
        ["train", *words, "--out", "second", "--guide", "enumerate"],
        ["evaluate", "first", "--bound", "4"],
        ["intervene", "generate", "first", "--facet", "1", "--clusters", "0,2"],
    ):
        done = CliRunner().invoke(main, ["--debug", *command, *given], catch_exceptions=False)
        assert done.exit_code == 0, done.output


def test_own_likelihood():
    losses = load("own_likelihood").main(40)
    assert losses[-1] < 0.7 * losses[0]


def test_plain_pyro():
    losses = load("plain_pyro").main(60)
    assert set(losses) == {"vade", "enumerate"}
    for curve in losses.values():
        assert curve[-1] < curve[0]


def test_a_table_becomes_named_clusters(tmp_path, monkeypatch, capsys):
    pd = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=list("abc"))
    table.assign(kind=["x", "y"] * 20, year=[2007, 2008] * 20).to_csv("table.csv", index=False)
    few = {"max_steps": 10, "n_init": 1}
    model = load("penguins").main(["table.csv", "kind"], **few)
    assert list(model.feature_names_in_) == ["a", "b", "c", "year"]
    assert "NMI of kind" in capsys.readouterr().out
    assert list(pd.read_csv("with-clusters.csv"))[-2:] == ["facet_1", "facet_1_p"]
    assert "facet_0" in (tmp_path / "clusters.html").read_text()
