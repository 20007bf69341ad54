"""Making the guide that settings name, and refusing what does not fit."""

from __future__ import annotations

from torch import Tensor

from pyro_mfcvae.allocator import is_out_of_memory
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides.base import GUIDES, Guide, temperature_of
from pyro_mfcvae.guides.described import FacetedModel


def build_guide(name: str, model: FacetedModel) -> Guide:
    """The guide called ``name`` for a model, if :func:`check_guide` lets it pass.

    Raises:
        ConfigError: if its ``__init__`` fails, or it is not what :class:`Guide` says.
    """
    check_guide(name, model)
    try:
        guide = GUIDES[name](model)
    except Exception as error:  # of whatever a person's guide may do
        if isinstance(error, ConfigError) or is_out_of_memory(error):
            raise
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(
            f"guide {name!r} cannot be made: its __init__ failed with {told}; it is called with "
            "the model alone, so mend it, or choose another guide"
        ) from error
    if any(id(module) == id(model) for module in guide.modules()):
        raise ConfigError(
            f"guide {name!r} holds the model as a submodule, but the model owns its guides; leave "
            "such an assignment out: Guide.__init__ sets self.model, which is no submodule"
        )
    _check_temperature(name, guide)
    return guide


def check_guide(name: str, model: FacetedModel | None) -> None:
    """Raise a ConfigError if no guide has this name, or it does not fit the model, if given."""
    guide = GUIDES[name]
    if model is not None and (misfit := guide.misfit(model)):
        raise ConfigError(f"guide {name!r} does not fit this model: {misfit}")


def _check_temperature(name: str, guide: Guide) -> None:
    given = getattr(guide, "temperature", None)
    tensor = isinstance(given, Tensor)
    is_buffer = tensor and temperature_of(guide) is given
    if given is None or (is_buffer and given.shape == () and given.is_floating_point()):
        return
    kind = f"buffer of {given.dtype}" if is_buffer else type(given).__name__
    came = f"{kind} of shape {tuple(given.shape)}" if tensor else kind
    raise ConfigError(
        f"guide {name!r} has an attribute temperature, which training sets as guide.temperature "
        f"says: expected a buffer of shape () of floating point, got {came}; register it with "
        'self.register_buffer("temperature", torch.ones(())), or give it another name'
    )
