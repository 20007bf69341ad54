"""What every prior has to keep: a test case class that tests of a prior inherit, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from pyro_mfcvae.priors.base import Prior
from pyro_mfcvae.priors.normal import memoise_densities

N = 40
EXACT = {"rtol": 1e-9, "atol": 1e-12}


class PriorContract:
    """Tests of one prior; a subclass builds it and writes it out with torch."""

    parent_dims: tuple[int, ...] = ()

    def build(self) -> Prior:
        """The prior in float64, with parameters that differ in everything."""
        raise NotImplementedError

    def components(self, prior: Prior, parents: list[Tensor]) -> tuple[Tensor, Distribution]:
        """Log pi (K,) and p(z | c), of batch shape (..., K), of torch."""
        raise NotImplementedError

    def case(self, *shape: int) -> tuple[Prior, list[Tensor], Tensor]:
        """A prior, values of its parents (*shape, D_i), and latents z (N, D)."""
        prior = self.build()
        parents = [torch.randn(*shape, d, dtype=torch.float64) for d in self.parent_dims]
        return prior, parents, 2 * torch.randn(N, prior.latent_dim, dtype=torch.float64)

    def reference(self, prior: Prior, parents: list[Tensor]) -> Distribution:
        """Torch's p(z | parents)."""
        log_pi, components = self.components(prior, parents)
        weights = Categorical(logits=log_pi.expand(components.batch_shape))
        return MixtureSameFamily(weights, components)

    def test_densities_are_those_of_torch(self):
        for shape in ((), (N,), (3, N)):
            prior, parents, z = self.case(*shape)
            p, expected = prior(parents), self.reference(prior, parents).log_prob(z)
            torch.testing.assert_close(p.log_prob(z).expand_as(expected), expected, **EXACT)

    def test_clusters_numbered_anew(self):
        prior, parents, z = self.case(N)
        if prior.n_clusters == 1:
            return
        before, order = prior(parents).log_joint(z), torch.randperm(prior.n_clusters)
        prior.reorder(order)
        torch.testing.assert_close(prior(parents).log_joint(z), before[..., order], **EXACT)

    def test_gradients_are_those_of_torch(self):
        prior, parents, z = self.case(N)
        tensors = [p for p in prior.parameters() if p.requires_grad]
        tensors += [tensor.requires_grad_() for tensor in (z, *parents)]
        values = [p.log_prob(z).sum() for p in (prior(parents), self.reference(prior, parents))]
        ours, theirs = (torch.autograd.grad(value, tensors) for value in values)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)

    def test_the_joint_density_and_responsibilities(self):
        prior, parents, z = self.case(N)
        p = prior(parents)
        log_pi, components = self.components(prior, parents)
        joint = components.log_prob(z.unsqueeze(-2)) + log_pi
        assert joint.shape[-1] == p.n_clusters == prior.n_clusters
        torch.testing.assert_close(p.log_joint(z), joint, **EXACT)
        torch.testing.assert_close(p.log_joint(z).logsumexp(-1), p.log_prob(z), **EXACT)
        torch.testing.assert_close(p.log_responsibilities(z), joint.log_softmax(-1), **EXACT)
        torch.testing.assert_close(p.responsibilities(z), joint.softmax(-1), **EXACT)
        torch.testing.assert_close(p.assign(z), joint.softmax(-1), **EXACT)
        samples = torch.stack([z, z + 1])
        joint = components.log_prob(samples.unsqueeze(-2)) + log_pi
        torch.testing.assert_close(p.log_responsibilities(samples), joint.log_softmax(-1), **EXACT)
        torch.testing.assert_close(p.responsibilities(samples), joint.softmax(-1), **EXACT)
        averaged = joint.log_softmax(-1).mean(0).softmax(-1)
        torch.testing.assert_close(p.assign(samples), averaged, **EXACT)

    def test_sites_have_the_densities_of_the_joint_one(self):
        prior, parents, z = self.case(N)
        p = prior(parents)
        joint, clusters = p.log_joint(z), p.cluster()
        if clusters is None:
            torch.testing.assert_close(p.component().log_prob(z), joint[:, 0], **EXACT)
            return
        c = torch.randint(p.n_clusters, (3, N))
        log_prob = clusters.log_prob(c) + p.component(c).log_prob(z)
        torch.testing.assert_close(log_prob, joint[torch.arange(N), c], **EXACT)
        support = clusters.enumerate_support(expand=False)
        every = support.reshape(-1, 1, 1)
        every._pyro_categorical_support = id(clusters)
        log_prob = clusters.log_prob(every) + p.component(every).log_prob(z)
        torch.testing.assert_close(log_prob.squeeze(1), joint.mT, **EXACT)

    def test_mean_and_variance_are_those_of_torch(self):
        for shape in ((), (N,)):
            prior, parents, _ = self.case(*shape)
            p, reference = prior(parents), self.reference(prior, parents)
            torch.testing.assert_close(p.mean, reference.mean, **EXACT)
            torch.testing.assert_close(p.variance, reference.variance, **EXACT)
            covariances = p.scale_tril @ p.scale_tril.mT
            assert covariances.shape[-3:] == (p.n_clusters, p.latent_dim, p.latent_dim)
            assert p.loc.shape == covariances.shape[:-1]

    def test_samples_have_the_moments_of_torch_s(self):
        n, (prior, parents, _) = 50_000, self.case()
        p, reference = prior(parents), self.reference(prior, parents)
        z = p.sample((n,), generator=torch.Generator().manual_seed(1))
        again = p.sample((n,), generator=torch.Generator().manual_seed(1))
        assert z.shape == (n, prior.latent_dim)
        assert torch.equal(z, again)
        assert not z.requires_grad
        mean, variance = reference.mean.detach(), reference.variance.detach()
        assert ((z.mean(0) - mean) / (variance / n).sqrt()).abs().max() < 5
        squares = (z - mean).square()
        assert ((squares.mean(0) - variance) / (squares.std(0) / n**0.5)).abs().max() < 5

    @pytest.mark.parametrize("given", [{}, {"temperature": 0.3}])
    def test_samples_of_a_component_at_a_temperature(self, given):
        n, tau, (prior, parents, _) = 50_000, given.get("temperature", 1.0), self.case()
        p, c = prior(parents), prior.n_clusters - 1
        z = p.sample((n,), c, generator=torch.Generator().manual_seed(1), **given)
        assert not z.requires_grad
        factor, loc = p.scale_tril[c].detach(), p.loc[c].detach()
        white = torch.linalg.solve_triangular(factor, (z - loc).mT, upper=False).mT
        assert (white.mean(0) / (tau / n) ** 0.5).abs().max() < 5
        # Var of a sample covariance of normals: (s_ii s_jj + s_ij^2) / n.
        eye = torch.eye(prior.latent_dim, dtype=torch.float64)
        spread = tau * ((1 + eye) / n).sqrt()
        assert ((white.mT @ white / n - tau * eye) / spread).abs().max() < 5
        torch.testing.assert_close(p.sample((2,), c, 0.0), loc.expand(2, -1))

    def test_noise_becomes_latents_of_clusters(self):
        prior, parents, _ = self.case(N)
        p, c, rows = prior(parents), torch.randint(prior.n_clusters, (N,)), torch.arange(N)
        loc, factors = p.loc.expand(N, -1, -1), p.scale_tril.expand(N, -1, -1, -1)
        noise = torch.randn(N, prior.latent_dim, dtype=torch.float64)
        expected = loc[rows, c] + (factors[rows, c] @ noise.unsqueeze(-1)).squeeze(-1)
        torch.testing.assert_close(p.transform(noise, c), expected, **EXACT)

    def test_no_cluster_has_no_samples(self):
        prior, parents, _ = self.case()
        none = torch.zeros(0, dtype=torch.long)
        assert prior(parents).sample(c=none).shape == (0, prior.latent_dim)

    def test_the_origin_is_where_parents_are_zero(self):
        prior, _, z = self.case()
        zeros = [torch.zeros(d, dtype=torch.float64) for d in self.parent_dims]
        assert torch.equal(prior.at_origin().log_prob(z), prior(zeros).log_prob(z))

    def test_densities_are_the_same_when_memoised(self):
        prior, parents, z = self.case(N)
        expected = prior(parents).log_prob(z)
        with memoise_densities():
            assert prior(parents) is prior(parents)
            for _ in range(2):
                assert torch.equal(prior(parents).log_prob(z), expected)

    def test_it_is_saved_and_follows_a_type(self):
        prior, parents, z = self.case()
        other = copy.deepcopy(prior)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(1)
        other.load_state_dict(prior.state_dict())
        assert torch.equal(other(parents).log_prob(z), prior(parents).log_prob(z))
        p = other.float()([parent.float() for parent in parents])
        assert p.sample((2,)).dtype == p.log_prob(z.float()).dtype == torch.float32
