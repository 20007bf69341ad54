"""Which guides a trained model can be compared with, and why not with the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import nn

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import GUIDES, Guide, NetworkGuide, build_guide
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.nets.heads import ClusterHeads
from pyro_mfcvae.plugins import loaded_parts


def fitting_guides(
    model: FacetModel, names: Sequence[str] | None, reference: str
) -> tuple[dict[str, Guide], dict[str, str]]:
    """Guides that fit a model as it is; the model gets no networks for them.

    Args:
        model: the model.
        names: of guides; None takes all that are registered.
        reference: a guide that comes first, whether it is named or not.

    Returns:
        guides by name, and for each name that does not fit why.

    Raises:
        ConfigError: if a guide is unknown, or none of those that were asked for fits.
    """
    chosen = set(GUIDES if names is None else names)
    for name in sorted(chosen - GUIDES.keys()):
        raise GUIDES.unknown(name)
    fitting: dict[str, Guide] = {}
    left_out: dict[str, str] = {}
    for name in [reference, *sorted(chosen - {reference})]:
        if reason := _misfit(model, name):
            left_out[name] = reason
        else:
            fitting[name] = _guide(model, name)
    if not chosen & fitting.keys():
        reasons = "; ".join(f"{name}: {left_out[name]}" for name in sorted(chosen))
        raise ConfigError(f"no guide that was asked for fits this model ({reasons})")
    return fitting, left_out


def _misfit(model: FacetModel, name: str) -> str:
    """Why a guide cannot be measured; empty if it can."""
    kind = GUIDES[name]
    if reason := kind.misfit(model):
        return reason
    if name in model.guides:
        return ""
    guide, trained = build_guide(name, model), _trained_network(model)
    own = getattr(guide, "network", None)
    if own is not None and trained is None:
        return (
            "its network q(c | x) was not trained: train with --guide amortized or --guide relaxed"
        )
    known = {id(p) for p in own.parameters()} if own is not None else set()
    if any(id(p) not in known for p in guide.parameters()):
        files = [loaded.source.named(name) for loaded in loaded_parts("guide", name)]
        return f"its networks were not trained: train with --guide {(files or [name])[0]}"
    return ""


def _guide(model: FacetModel, name: str) -> Guide:
    """The model's own guide, or one beside it, which takes the network that was trained."""
    if name in model.guides:
        return cast(Guide, model.guides[name])
    parameter, guide = next(model.parameters()), build_guide(name, model)
    if getattr(guide, "network", None) is not None:
        cast(NetworkGuide, guide).network = cast(ClusterHeads, _trained_network(model))
    return guide.to(parameter.device, parameter.dtype)


def _trained_network(model: FacetModel) -> nn.Module | None:
    """The network q(c | x) of a guide that the model was made with."""
    networks = (getattr(guide, "network", None) for guide in model.guides.values())
    return next((network for network in networks if network is not None), None)
