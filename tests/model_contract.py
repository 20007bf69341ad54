"""What every model has to keep: a test case class that tests of a model inherit.

A subclass says how the model is built and which guides fit it, and writes its objective out where
that is another one than here.
"""

from __future__ import annotations

import json
import re

import plain
import pyro
import pytest
import torch
from models import gradients, relative_error
from pyro.infer import SVI, TraceEnum_ELBO
from test_host_waits import NoWaiting
from torch import Tensor

from pyro_mfcvae import FacetELBO, Noise
from pyro_mfcvae.config import Config, override
from pyro_mfcvae.data import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.evaluation import predict
from pyro_mfcvae.experiment import initialise, prepare, train
from pyro_mfcvae.guides import GUIDES, build_guide
from pyro_mfcvae.models import FacetModel, build_model
from pyro_mfcvae.noise import Rows, site_noise
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.runs import Run
from pyro_mfcvae.training.together import Together

SEED = 3
RTOL = 1e-9
SAMPLING = ("vade", "enumerate", "posterior", "expectation", "amortized")
ALL = (*SAMPLING, *plain.ANALYTIC, "relaxed")
LADDER = {
    "encoder": {"name": "ladder", "options": {"backbone": 8, "activation": "tanh"}},
    "decoder": {
        "name": "ladder",
        "options": {"backbone": 8, "rungs": 8, "activation": "tanh"},
    },
}
SHARED = {
    part: {"name": "shared", "options": {"widths": [8], "activation": "tanh"}}
    for part in ("encoder", "decoder")
}


class ModelContract:
    """Tests of one model.

    Attributes:
        name: of the model.
        facets: its facets, ``"D:K,D:K"``.
        small: facets of one dimension each, two at most, whose evidence a grid gives.
        networks: encoder and decoder.
        options: of the model.
        guides: to test with.
        misfits: guides that do not fit.
        equals_stock: whether Pyro's own objective has the same value with sampled KLs.
    """

    name: str
    facets = "2:3,1:2"
    small = "1:3,1:2"
    networks = LADDER
    options: dict[str, object] = {}  # noqa: RUF012
    guides: tuple[str, ...] = ALL
    misfits: tuple[str, ...] = ()
    equals_stock = True

    def pytest_generate_tests(self, metafunc):
        if "guide" in metafunc.fixturenames:
            metafunc.parametrize("guide", self.guides)

    @pytest.fixture(autouse=True)
    def _in_own_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    def config(self, facets: str | None = None, **replaced: object) -> Config:
        """Settings for 40 points in the plane."""
        priors = [
            {"latent_dim": int(d), "n_clusters": int(k), "initial_variance": 0.5}
            for d, k in (facet.split(":") for facet in (facets or self.facets).split(","))
        ]
        settings = {
            "data": {"name": "arcs", "options": {"n_train": 40, "n_test": 10}},
            "model.name": self.name,
            "model.facets": priors,
            "model.options": self.options,
            "model.likelihood": {"name": "gaussian", "options": {"scale": 0.5}},
            "model.encoder": self.networks["encoder"],
            "model.decoder": self.networks["decoder"],
            "model.mixture_initialisation": "random",
            "training.batch_size": 16,
            "training.epochs_per_step": [2],
            "training.n_fade_in_batches": 0,
            "training.evaluate_every": 0,
            "training.device": "cpu",
            "training.dtype": "float64",
        } | replaced
        changes = [f"{path}={json.dumps(value)}" for path, value in settings.items()]
        return override(get_preset("shapes").config, changes)

    def build(self, facets: str | None = None) -> FacetModel:
        """The model in float64, with mixtures that differ in everything."""
        config = self.config(facets).model
        model = build_model(config, ObservationSpec((2,), -4.0, 4.0)).double()
        with torch.no_grad():
            for name, p in model.named_parameters():
                if p.requires_grad and ("raw_scale" in name or "others" in name):
                    p += 0.2 * torch.randn_like(p)
                if p.requires_grad and "logits" in name:
                    p += torch.randn_like(p)
            for facet in model.facets:
                if facet.n_clusters == 1:
                    facet.reset_variance(1.0)  # exact in float64, too
        return model

    def observations(self, n: int = 4) -> Tensor:
        return torch.randn(n, 2, dtype=torch.float64)

    # --- the objective, written out ---

    def plain_facets(self, model: FacetModel, x: Tensor, eps: dict[str, Tensor]) -> list:
        """All facets with samples made of the noise {site: (S, B, D)}, shallow first."""
        features = model.encoder(x)
        inferred: dict[int, plain.Inferred] = {}
        for j in reversed(range(model.n_facets)):
            parameters = model.heads[j](features[j])
            deeper = [inferred[i].z for i in range(j + 1, model.n_facets)]
            if model.heads_given_others is not None and deeper:
                head = model.heads_given_others[j]
                hidden = torch.tanh(torch.cat(deeper, -1) @ head.hidden.weight.T + head.hidden.bias)
                parameters = parameters + hidden @ head.output.weight.T + head.output.bias
            mean, std = plain.normal(parameters)
            prior = plain.mixture(model.facets[j], *deeper[:1])
            logits = None
            if model.cluster_heads is not None:
                logits = model.cluster_heads[j](features[j])
            inferred[j] = plain.Inferred(mean + std * eps[f"z_{j}"], mean, std, prior, logits)
        return [inferred[j] for j in range(model.n_facets)]

    def plain_elbo(
        self, model: FacetModel, x: Tensor, guide: str, eps: dict[str, Tensor], fade: Tensor
    ) -> Tensor:
        """The ELBO, (B,)."""
        facets = self.plain_facets(model, x, eps)
        elbo = plain.log_likelihood(model, x, [f.z for f in facets], fade).mean(0)
        for j, facet in enumerate(facets):
            elbo = elbo - fade[j] * self.plain_kl(model, guide, facet, eps.get(f"c_{j}"))
        return elbo

    def plain_kl(self, model: FacetModel, guide: str, facet: plain.Inferred, eps) -> Tensor:
        c = None
        if guide == "relaxed" and eps is not None:
            c = plain.relaxed(facet.logits, eps, model.guide(guide).temperature)
        values = plain.kl(guide, facet, c)
        return values.mean(0) if values.dim() > 1 else values

    def log_evidence(self, model: FacetModel, x: Tensor) -> Tensor:
        """Log p(x) by the trapezoidal rule, (B,)."""
        zs, step = grid(model.n_facets)
        log_p = log_prior(model, zs)
        torch.testing.assert_close(log_p.logsumexp(0).exp() * step, torch.ones(()).double())
        log_joint = plain.log_likelihood(model, x, [z.unsqueeze(1) for z in zs]) + log_p[:, None]
        return log_joint.logsumexp(0) + step.log()

    # --- values ---

    @pytest.mark.parametrize("n_samples", [1, 3])
    def test_value_and_gradient_are_those_written_out(self, guide, n_samples):
        model, x = self.build(), self.observations()
        fade = torch.linspace(0.4, 1.0, model.n_facets, dtype=torch.float64)
        with Noise(SEED) as noise:
            terms = model(x, fade, guide, n_samples)
        eps = drawn(noise, x)
        expected = self.plain_elbo(model, x, guide, eps, fade)
        assert terms.elbo.shape == (len(x),)
        assert relative_error(terms.elbo, expected) <= RTOL
        ours, theirs = gradients(model, terms.loss), gradients(model, -expected.mean())
        assert relative_error(ours, theirs) <= 1e-8

    def test_the_terms_add_up(self, guide):
        model, x = self.build(), self.observations()
        terms = model.elbo(x, guide, 2)
        assert terms.kl_z.shape == terms.kl_c.shape == (len(x), model.n_facets)
        total = terms.reconstruction - (terms.kl_z + terms.kl_c).sum(-1)
        torch.testing.assert_close(terms.elbo, total)
        assert not terms.other
        assert not terms.shared
        for j, facet in enumerate(model.facets):
            if facet.n_clusters == 1 or guide == "enumerate":
                assert (terms.kl_c[:, j] == 0).all()
            else:
                assert (terms.kl_c[:, j] > 0).all()

    def test_the_noise_is_a_function_of_the_seed(self, guide):
        model, x = self.build(), self.observations()

        def elbo(x, *noise):
            with Noise(*noise), torch.no_grad():
                return model(x, None, guide, 2).elbo

        first = elbo(x, SEED)
        assert torch.equal(elbo(x, SEED), first)
        assert not torch.equal(elbo(x, SEED, 1), first)
        assert not torch.equal(elbo(x, SEED + 1), first)
        if model.group_size is None:
            torch.testing.assert_close(elbo(x[1:3], SEED, 0, Rows(1, len(x))), first[1:3])

    def test_guides_agree_where_theory_says_so(self):
        """At S = 1 vade, posterior and enumerate; the last two at any S."""
        model, x = self.build(), self.observations()
        fade = torch.linspace(0.4, 1.0, model.n_facets, dtype=torch.float64)
        for n_samples, names in ((1, ("vade", "expectation", "posterior")), (3, ("posterior",))):
            results = {}
            for name in {*names, "enumerate"} & {*self.guides}:
                with Noise(SEED):
                    terms = model(x, fade, name, n_samples)
                results[name] = terms.elbo.detach(), gradients(model, terms.loss)
            for values, grads in results.values():
                assert relative_error(values, results["enumerate"][0]) <= RTOL
                assert relative_error(grads, results["enumerate"][1]) <= RTOL

    def test_no_guide_beats_the_optimal_one(self):
        """With one sample: vade among those with sampled KLs, vade-analytic among the others."""
        model, x = self.build(), self.observations()
        for best, others in (("vade", SAMPLING), ("vade-analytic", plain.ANALYTIC)):
            if best not in self.guides:
                continue
            values = {}
            for name in {*others} & {*self.guides}:
                with Noise(SEED), torch.no_grad():
                    values[name] = model(x, None, name).elbo
            for name in {*values} - {"vade", "vade-analytic", "posterior", "enumerate"}:
                assert (values[name] <= values[best] + 1e-10).all()
                if name in ("amortized", "expectation-analytic", "posterior-analytic"):
                    learnt = any(f.n_clusters > 1 for f in model.facets)
                    assert (values[name] < values[best] - 1e-6 * learnt).any() == learnt

    # --- the bound ---

    def test_the_elbo_is_below_the_evidence(self):
        """After some steps of training, so that a term left out would lift it above."""
        model, x = self.fitted()
        with torch.no_grad():
            evidence = self.log_evidence(model, x)
            for guide in {*self.guides} - {"relaxed"}:
                draws = self.draws(model, x, guide)
                gap = evidence - draws.mean(0)
                assert (gap > -5 * draws.std(0) / len(draws) ** 0.5).all(), guide
                assert (gap < 2.0).all(), guide

    def fitted(self) -> tuple[FacetModel, Tensor]:
        """A small model close to its optimum for two observations, and these."""
        model, x = self.build(self.small), self.observations(2)
        names = {"vade", "amortized"} & {*self.guides}
        guides = [model.guide(name) for name in sorted(names)]
        optimizer = torch.optim.Adam(model.parameters(), 0.05)
        for _ in range(50):
            for guide in guides:
                model(x, None, guide, 4).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return model, x

    def draws(self, model: FacetModel, x: Tensor, guide: str) -> Tensor:
        """Independent draws of the ELBO, (R, B)."""
        n = 500
        return model(x.repeat(n, 1), None, guide).elbo.unflatten(0, (n, -1))

    def test_draws_from_the_prior_average_to_the_evidence(self):
        n, model = 40_000, self.build(self.small)
        x = self.observations(1)
        zs = model.sample_prior((n,), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            ratio = (model.decode(zs).log_prob(x) - self.log_evidence(model, x)).exp()
        assert abs(ratio.mean() - 1) < 5 * ratio.std() / n**0.5

    def test_samples_of_clusters_have_their_moments(self):
        n, model = 20_000, self.build()
        for j, facet in enumerate(model.facets):
            c = facet.n_clusters - 1
            generator = torch.Generator().manual_seed(2)
            zs = model.sample_prior((n,), {j: torch.tensor(c)}, 0.5, generator)
            assert [z.shape for z in zs] == [(n, f.latent_dim) for f in model.facets]
            prior = plain.mixture(facet, *zs[j + 1 : j + 2])
            factors = prior.tril[..., c, :, :].detach()
            white = (zs[j] - prior.loc[..., c, :].detach()).unsqueeze(-1)
            white = torch.linalg.solve_triangular(factors, white, upper=False).squeeze(-1)
            assert (white.mean(0) / (0.5 / n) ** 0.5).abs().max() < 5
            # A squared normal number of variance v has the standard deviation sqrt(2) v.
            assert ((white.square().mean(0) - 0.5) / (0.5 * (2 / n) ** 0.5)).abs().max() < 5

    # --- guides ---

    def test_which_guides_fit(self):
        model = self.build()
        for name in ALL:
            misfit = GUIDES[name].misfit(model)
            assert bool(misfit) == (name in self.misfits)
            if not misfit:
                continue
            message = re.escape(f"guide {name!r} does not fit this model: {misfit}")
            with pytest.raises(ConfigError, match=message):
                build_guide(name, model)
        with pytest.raises(ConfigError, match="unknown guide 'other'; choose one of amortized,"):
            build_guide("other", model)

    def test_plain_svi_trains_or_refuses(self, guide):
        model, x = self.build(), self.observations()
        program = model.guide(guide)
        svi = SVI(model.model, program, pyro.optim.Adam({"lr": 1e-2}), TraceEnum_ELBO())
        if guide == "relaxed" and any(f.n_clusters > 1 for f in model.facets):
            with pytest.raises(ValueError, match="no probability of their own: use FacetELBO"):
                svi.step(x)
            return
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        for _ in range(3):
            svi.step(x)
        moved = {name for name, p in model.named_parameters() if (p != before[name]).any()}
        assert moved == self.trained(model, x, guide)

    def trained(self, model: FacetModel, x: Tensor, guide: str) -> set[str]:
        """Names of the parameters that this library's own objective trains."""
        model.zero_grad()
        model(x, None, guide).loss.backward()
        return {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}

    def test_pyro_s_own_objective_has_the_same_value(self, guide):
        if guide == "relaxed" or guide in plain.ANALYTIC or not self.equals_stock:
            pytest.skip("its KLs are not sampled")
        model, x = self.build(), self.observations()
        losses = []
        for objective in (TraceEnum_ELBO(max_plate_nesting=1), FacetELBO()):
            with Noise(SEED):
                losses.append(objective.differentiable_loss(model.model, model.guide(guide), x))
        assert abs(losses[0] - losses[1]) <= RTOL * abs(losses[1])

    def test_no_step_waits_for_the_device(self, guide):
        model, x = self.build(), self.observations()
        model.guide(guide)
        fade = torch.ones(model.n_facets, dtype=torch.float64)
        with NoWaiting(), pyro.validation_enabled(False), Noise(0):
            model(x, fade, guide, 2).loss.backward()

    # --- predictions ---

    def test_predictions_do_not_depend_on_the_batches(self):
        model, x = self.build(), self.observations(7)
        whole = predict(model, x)
        for facet, r in zip(model.facets, whole.responsibilities, strict=True):
            assert r.shape == (7, facet.n_clusters)
            assert abs(r.sum(1) - 1).max() < 1e-12
        order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
        for other, rows in (
            (predict(model, x, 1), slice(None)),
            (predict(model, x, 3), slice(None)),
            (predict(model, x[order], 2), order.argsort().numpy()),
        ):
            for name in ("responsibilities", "z_mean"):
                for a, b in zip(getattr(other, name), getattr(whole, name), strict=True):
                    assert abs(a[rows] - b).max() < 1e-12
        alone = predict(model, x[:1])
        assert [z.shape for z in alone.z_mean] == [(1, f.latent_dim) for f in model.facets]

    def test_responsibilities_at_the_means(self):
        model, x = self.build(), self.observations()
        predicted = predict(model, x).responsibilities
        for ours, theirs in zip(model.responsibilities(x), predicted, strict=True):
            torch.testing.assert_close(ours, torch.from_numpy(theirs))

    # --- runs ---

    def test_runs_trained_together_equal_runs_alone(self, guide):
        configs = [self.config(seed=seed, **{"guide.name": guide}) for seed in (0, 5)]
        alone, together = ([begun(config) for config in configs] for _ in range(2))
        joined = Together(together)
        for _ in range(5):
            joined.train_step()
            for state in alone:
                state.train_step()
        for a, b in zip(alone, together, strict=True):
            theirs = b.model.state_dict()
            for name, value in a.model.state_dict().items():
                torch.testing.assert_close(theirs[name], value, rtol=1e-6, atol=1e-7)
        values = [torch.nn.utils.parameters_to_vector(s.model.parameters()) for s in together]
        assert relative_error(*values) > 0.01

    def test_a_run_is_read_back_as_it_was(self, guide):
        if guide not in (*self.guides[:1], "amortized", "relaxed"):
            pytest.skip("has nothing to save")
        config = self.config(**{"guide.name": guide, "training.epochs_per_step": [1]})
        run, state, dataset = train(config, "run")
        read = Run(run.path).model()
        assert read.state_dict().keys() == state.model.state_dict().keys()
        x = dataset.x[:5].double()
        values = []
        for model in (state.model.double(), read.double()):
            with Noise(SEED), model.evaluating():
                values.append(model(x, None, guide, 2).elbo)
        assert torch.equal(*values)


def drawn(noise: Noise, like: Tensor) -> dict[str, Tensor]:
    """The noise that sites were given, with a dimension for samples also where there is one."""
    eps = {n: site_noise(SEED, 0, n, shape, like) for n, shape in noise.shapes.items()}
    return {name: e.reshape(1, -1, e.shape[-1]) if e.dim() < 3 else e for name, e in eps.items()}


def grid(n_latents: int) -> tuple[list[Tensor], Tensor]:
    """Values (N, 1) of latents of one dimension each, and the volume that one stands for."""
    axis = torch.linspace(-7, 7, 8001 if n_latents == 1 else 281, dtype=torch.float64)
    values = torch.meshgrid(*[axis] * n_latents, indexing="ij")
    return [v.reshape(-1, 1) for v in values], (axis[1] - axis[0]) ** n_latents


def log_prior(model: FacetModel, zs: list[Tensor]) -> Tensor:
    """Log p(z), (N,), of latents (N, D_j)."""
    return sum(
        plain.mixture(facet, *zs[j + 1 : j + 2]).log_prob(zs[j])
        for j, facet in enumerate(model.facets)
    )


def begun(config: Config):
    """A state before its first step."""
    _, state = prepare(config)
    initialise(state, lambda _: None)
    state.model.train()
    return state
