"""Shows ordinary torch parameters to Pyro, without its global parameter store."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Protocol

from pyro.poutine.runtime import _PYRO_STACK, effectful
from torch import Tensor, nn


class HasParameters(Protocol):
    """A module, or whatever else knows its parameters by name."""

    def named_parameters(self) -> Iterable[tuple[str, nn.Parameter]]:
        """All of them."""


def announce_parameters(module: HasParameters, name: str) -> None:
    """Tell Pyro's ``SVI`` which parameters a program uses.

    ``SVI.step`` optimises what it sees at ``param`` sites; the parameters of a plain
    ``nn.Module`` pass it by, and it trains nothing. A program that calls this first trains.
    Outside ``SVI`` nothing happens, and nothing is ever stored in Pyro's global store. Pyro's
    optimisers therefore know these parameters by identity only: options that are a function of a
    parameter's name, and ``get_state``, need the store and do not work with them.

    Args:
        module: owner of the parameters.
        name: prefix of the names of the ``param`` sites.
    """
    if not any(getattr(handler, "param_only", False) for handler in _PYRO_STACK):
        return
    for key, parameter in module.named_parameters():
        if parameter.requires_grad:
            _parameter_site(parameter, name=f"{name}.{key}")


@effectful(type="param")
def _parameter_site(parameter: nn.Parameter) -> Tensor:
    value = parameter.detach()
    value.unconstrained = weakref.ref(parameter)  # type: ignore[attr-defined]
    return value
