r"""Fully connected encoders and decoders.

Ladder (MFCVAE, Eq. 74-79 and Table 4): facets branch off one backbone at different depths,

.. math::
    h_j = b_j^{enc}(h_{j-1}), \quad h_{-1} = x, \qquad
    t_j = b_j^{dec}(\mathrm{merge}(t_{j+1}, \alpha_j r_j^{dec}(z_j))).

Shared trunk (MFCVAE, Eq. 81-87 and Table 6): all facets read and feed the same layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.nets.layers import Widths, check_widths, dense, per_facet
from pyro_mfcvae.nets.registry import register_decoder, register_encoder

_GATE = 0.1  # of the first authors' additive merge


@register_encoder("ladder")
class LadderEncoder(nn.Module):
    """Backbone with one branch per facet.

    Args:
        shape: shape of one observation.
        n_facets: J.
        backbone: widths of the backbone's stages, shallow first, each a number or a list; a
            single number serves all.
        rungs: widths of further layers between the backbone and each facet's head.
        activation: name of the activation.
        batch_norm: normalise after each activation.
        fade: weigh what each facet's rung gives to its head with its fade weight.
    """

    def __init__(
        self,
        shape: Sequence[int],
        n_facets: int,
        backbone: Widths | None = None,
        rungs: Widths | None = None,
        activation: str = "relu",
        batch_norm: bool = False,
        fade: bool = False,
    ) -> None:
        super().__init__()
        self.fade = fade
        default = [500] * (n_facets - 1) + [2000]
        stages = per_facet(backbone, default, n_facets, "encoder backbone")
        branches = per_facet(rungs, [[]] * n_facets, n_facets, "encoder rungs")
        sizes = [math.prod(shape)]
        self.backbone, self.rungs = nn.ModuleList(), nn.ModuleList()
        self.n_features: list[int] = []
        self.n_backbone: list[int] = []  # what each stage gives to the next one
        for stage, branch in zip(stages, branches, strict=True):
            sizes = [sizes[-1], *stage]
            self.backbone.append(dense(sizes, activation, batch_norm))
            self.rungs.append(dense([sizes[-1], *branch], activation, batch_norm))
            self.n_features.append([sizes[-1], *branch][-1])
            self.n_backbone.append(sizes[-1])

    def forward(self, x: Tensor, fade: Tensor | None = None) -> list[Tensor]:
        """Observations (B, *shape) and fade weights (J,) -> J features (B, F_j)."""
        h = x.flatten(1)
        features = []
        for j, (stage, rung) in enumerate(zip(self.backbone, self.rungs, strict=True)):
            h = stage(h)
            feature = rung(h)
            features.append(feature * fade[j] if self.fade and fade is not None else feature)
        return features


@register_encoder("shared")
class SharedEncoder(nn.Module):
    """One trunk whose last layer all facets read.

    Args:
        shape: shape of one observation.
        n_facets: J.
        widths: widths of the trunk's layers.
        activation: name of the activation.
        batch_norm: normalise after each activation.
        linear: give the heads the observation itself as well, after the trunk's features.
    """

    def __init__(
        self,
        shape: Sequence[int],
        n_facets: int,
        widths: Sequence[int] = (500, 2000),
        activation: str = "relu",
        batch_norm: bool = False,
        linear: bool = False,
    ) -> None:
        super().__init__()
        check_widths(widths, "encoder widths")
        self.linear = linear
        sizes = [math.prod(shape), *widths]
        self.trunk = dense(sizes, activation, batch_norm)
        self.n_features = [sizes[-1] + linear * sizes[0]] * n_facets

    def forward(self, x: Tensor, fade: Tensor | None = None) -> list[Tensor]:
        """Observations (B, *shape) -> J times the same features (B, F); nothing is faded."""
        x = x.flatten(1)
        features = self.trunk(x)
        if self.linear:
            features = torch.cat([features, x], -1)
        return [features] * len(self.n_features)


@register_encoder("per-facet")
class PerFacetEncoder(nn.Module):
    """A network of its own for every facet.

    Args:
        shape: shape of one observation.
        n_facets: J.
        widths: widths of each facet's layers, shallow facet first.
        activation: name of the activation.
        batch_norm: normalise after each activation.
    """

    def __init__(
        self,
        shape: Sequence[int],
        n_facets: int,
        widths: Widths | None = None,
        activation: str = "relu",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        stacks = per_facet(widths, [[500, 500]] * n_facets, n_facets, "encoder widths")
        n_in = math.prod(shape)
        self.stacks = nn.ModuleList(
            dense([n_in, *stack], activation, batch_norm) for stack in stacks
        )
        self.n_features = [[n_in, *stack][-1] for stack in stacks]

    def forward(self, x: Tensor, fade: Tensor | None = None) -> list[Tensor]:
        """Observations (B, *shape) -> J features (B, F_j); nothing is faded."""
        return [stack(x.flatten(1)) for stack in self.stacks]


@register_decoder("ladder")
class LadderDecoder(nn.Module):
    """Backbone from deep to shallow into which each facet's rung is merged.

    Args:
        shape: shape of one observation.
        latent_dims: D_j, shallow first.
        rungs: widths of each facet's rung, at least one layer each.
        backbone: widths of the backbone's stage after each merge; an empty list for facet 0
            leaves out the layer that the first authors' code has beyond the paper's Table 4.
        merge: ``"concatenate"`` (the paper) or ``"add"``: backbone + 0.1 * rung (the code).
        activation: name of the activation.
        batch_norm: normalise after each activation.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_dims: Sequence[int],
        rungs: Widths | None = None,
        backbone: Widths | None = None,
        merge: Literal["concatenate", "add"] = "concatenate",
        activation: str = "relu",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        n_facets = len(latent_dims)
        branches = per_facet(rungs, [500] * (n_facets - 1) + [2000], n_facets, "decoder rungs")
        stages = per_facet(backbone, [500] * n_facets, n_facets, "decoder backbone")
        if merge not in ("concatenate", "add"):
            raise ConfigError(f'merge must be "concatenate" or "add", got {merge!r}')
        if not all(branches):
            raise ConfigError(f"every decoder rung needs a layer, got {branches}")
        self.shape, self.merge = tuple(shape), merge
        self.rungs, self.backbone = nn.ModuleList(), nn.ModuleList()
        above = 0
        for dim, branch, stage in reversed([*zip(latent_dims, branches, stages, strict=True)]):
            if merge == "add" and above and above != branch[-1]:
                raise ConfigError(
                    f'merge "add" needs rungs as wide as the backbone above, got {branch[-1]} and '
                    f"{above}"
                )
            merged = branch[-1] + (above if merge == "concatenate" else 0)
            self.rungs.insert(0, dense([dim, *branch], activation, batch_norm))
            self.backbone.insert(0, dense([merged, *stage], activation, batch_norm))
            above = [merged, *stage][-1]
        self.output = nn.Linear(above, math.prod(shape))

    def forward(self, zs: Sequence[Tensor], fade: Tensor | None = None) -> Tensor:
        """Latents [(N, D_j)] and weights (J,) -> parameters of p(x | z) (N, *shape)."""
        h: Tensor | None = None
        for j in reversed(range(len(zs))):
            rung = self.rungs[j](zs[j])
            if fade is not None:
                rung = rung * fade[j]
            if h is None:
                h = rung
            elif self.merge == "concatenate":
                h = torch.cat([rung, h], -1)
            else:
                h = h + _GATE * rung
            h = self.backbone[j](h)
        return self.output(h).unflatten(-1, self.shape)


@register_decoder("shared")
class SharedDecoder(nn.Module):
    """One trunk over the concatenated latents, each faded before it enters.

    Args:
        shape: shape of one observation.
        latent_dims: D_j, shallow first.
        widths: widths of the trunk's layers.
        activation: name of the activation.
        batch_norm: normalise after each activation.
        linear: add a linear map of the latents to what comes of the trunk.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_dims: Sequence[int],
        widths: Sequence[int] = (2000, 500),
        activation: str = "relu",
        batch_norm: bool = False,
        linear: bool = False,
    ) -> None:
        super().__init__()
        check_widths(widths, "decoder widths")
        self.shape = tuple(shape)
        sizes = [sum(latent_dims), *widths]
        self.trunk = dense(sizes, activation, batch_norm)
        self.output = nn.Linear(sizes[-1], math.prod(shape))
        self.linear = nn.Linear(sizes[0], math.prod(shape), bias=False) if linear else None

    def forward(self, zs: Sequence[Tensor], fade: Tensor | None = None) -> Tensor:
        """Latents [(N, D_j)] and weights (J,) -> parameters of p(x | z) (N, *shape)."""
        if fade is not None:
            zs = [z * fade[j] for j, z in enumerate(zs)]
        z = torch.cat([*zs], -1)
        x = self.output(self.trunk(z))
        if self.linear is not None:
            x = x + self.linear(z)
        return x.unflatten(-1, self.shape)
