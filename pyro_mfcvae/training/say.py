"""How a person is told what is going on."""

from collections.abc import Callable

Say = Callable[[str], None]


def quiet(_: str) -> None:
    """Say nothing."""
