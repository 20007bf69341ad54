r"""A ladder of encoders that is told the clusters of the layers before.

.. math::
    h_1 = g_1(x), \qquad h_\ell = g_\ell(h_{\ell-1}, c_{\ell-1}), \qquad
    z_\ell \sim \mathcal N\big(\mu_\ell(h_\ell, c_\ell), \sigma_\ell(h_\ell, c_\ell)\big)

Source: Willetts et al., "Disentangling to Cluster: Gaussian Mixture Variational Ladder
Autoencoders", 2019, Eq. 6-8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.priors.clusters import as_shares


@runtime_checkable
class Ladder(Protocol):
    """An encoder of stages, each of which feeds the next stage and a facet's rung.

    Attributes:
        backbone: the stages.
        rungs: the rung of each stage.
        n_features: F_j, what each rung returns.
        n_backbone: what each stage returns to the next one.
        fade: whether fade weights multiply what the rungs return.
    """

    backbone: nn.ModuleList
    rungs: nn.ModuleList
    n_features: list[int]
    n_backbone: list[int]
    fade: bool


class LadderGivenClusters(nn.Module):
    """Features of a ladder, layer by layer, as its layers' clusters become known.

    A cluster enters the next stage as a shift of what the last one gave (of its channels, where
    that is a picture), and a hidden layer beside the features of its own one. It may be
    enumerated: then what depends on it gets its dimension.

    Args:
        encoder: a :class:`Ladder`, which stays its owner's.
        n_clusters: K_j of each layer; 0 where it has no clusters.
        width: of the hidden layer.

    Raises:
        ConfigError: if the encoder is no ladder.
    """

    def __init__(self, encoder: nn.Module, n_clusters: Sequence[int], width: int) -> None:
        super().__init__()
        if not isinstance(encoder, Ladder):
            raise ConfigError(
                "clusters enter an encoder between its stages, which needs a ladder; choose "
                "encoder ladder or conv-ladder, or --set model.options.conditional=false"
            )
        self.n_clusters = tuple(n_clusters)
        sees_pictures = any(isinstance(layer, nn.Conv2d) for layer in encoder.modules())
        self.event_dim = 3 if sees_pictures else 1
        shifted = zip(n_clusters[:-1], encoder.n_backbone, strict=False)
        self.shifts = nn.ModuleList(_of_cluster(k, n) for k, n in shifted)
        self.of_features = nn.ModuleList(nn.Linear(n, width) for n in encoder.n_features)
        self.of_cluster = nn.ModuleList(_of_cluster(k, width) for k in n_clusters)

    def forward(
        self, encoder: Ladder, j: int, h: Tensor, c: Tensor | None, fade: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One layer.

        Args:
            encoder: the ladder.
            j: the layer.
            h: what the layer before gave, (*batch, *event); at first the observations.
            c: its cluster, long (*batch) or relaxed (*batch, K_j); None where it has no clusters.
            fade: weights of the facets, shape (J,): a cluster reaches the next layer as far as its
                facet is faded in.

        Returns:
            features of q(z_j | x, c_0, ..., c_j), (*batch, width), and what goes to the next layer.
        """
        if j == 0 and self.event_dim == 1:
            h = h.flatten(1)
        h = _in_one_batch(encoder.backbone[j], h, self.event_dim)
        features = _in_one_batch(encoder.rungs[j], h, self.event_dim).flatten(-self.event_dim)
        hidden = self.of_features[j](features * fade[j] if encoder.fade else features)
        if c is not None and self.n_clusters[j]:
            shares = as_shares(c, self.n_clusters[j], h.dtype)
            hidden = hidden + self.of_cluster[j](shares)
            if j < len(self.shifts):
                shift = self.shifts[j](shares) * fade[j]
                h = h + shift.reshape(*shift.shape, *[1] * (self.event_dim - 1))
        return nn.functional.elu(hidden), h


def _of_cluster(n_clusters: int, n_out: int) -> nn.Module:
    return nn.Linear(n_clusters, n_out, bias=False) if n_clusters else nn.Identity()


def _in_one_batch(module: nn.Module, h: Tensor, event_dim: int) -> Tensor:
    """A module on inputs (*batch, *event) with any number of batch dimensions."""
    batch_shape = h.shape[:-event_dim]
    return module(h.flatten(0, -event_dim - 1)).unflatten(0, batch_shape)
