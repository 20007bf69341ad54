"""Numbers in options."""

from __future__ import annotations

import math
from typing import Any

import click
from typing_extensions import override


class Numbers(click.ParamType):
    """Numbers separated by commas.

    Args:
        kind: of the numbers.
        least: the smallest one that is allowed.
    """

    name = "numbers"

    def __init__(self, kind: type[int] | type[float] = int, least: float = -math.inf) -> None:
        self.kind, self.least = kind, least

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self.kind(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(map(math.isfinite, numbers)):
            what = "whole" if self.kind is int else "finite"
            self.fail(f"expected {what} numbers separated by commas, such as 0,5,9; got {value!r}")
        if min(numbers) < self.least:
            self.fail(f"expected numbers from {self.least:g} on, got {value!r}")
        return numbers


class NumbersOrAll(Numbers):
    """Numbers separated by commas, or ``all``."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return "all" if value == "all" else super().convert(value, param, ctx)
