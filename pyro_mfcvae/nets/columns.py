r"""p(x | z) of a table's row, whose columns are of different kinds and whose cells may be missing.

.. math:: \log p(x \mid z) = \sum_{i \,:\, x_i \text{ is known}} \log p_i(x_i \mid h_i(z))

Each column i has a density of its own kind; with :math:`u_i = loc_i + scale_i h_i`,

- real: :math:`N(u_i, (s_i\, scale_i)^2)`
- positive: :math:`\log x_i \sim N(u_i, (s_i\, scale_i)^2)`
- count: negative binomial of mean :math:`e^{u_i}` and learnt dispersion
- binary: Bernoulli of logit :math:`h_i`
- categorical: of logits :math:`h_i`, a vector

and s_i is learnt. A cell that is missing (NaN) has no term, which is what integrating it out gives,
since the columns are independent given z; the encoder is told which cells are known.

Source: Nazabal et al., "Handling incomplete heterogeneous data using VAEs", Pattern Recognition
2020, Eq. 2-3 and Section 3.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    LogNormal,
    NegativeBinomial,
    Normal,
)
from typing_extensions import override

from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.nets.likelihoods import Likelihood, WorkingValues, register_likelihood

KINDS = ("real", "positive", "count", "binary", "categorical")

_SAFE = 1.0  # a value that each kind allows, in the place of a missing one
_SELDOM = 1e-3  # a probability that is neither 0 nor 1
_RARE = 0.05  # the probability below which a class stands out no further
_LEAST_SPREAD = 0.01  # to start from


class ColumnsDistribution(TorchDistribution):
    """A row's distribution: independent columns, whose missing cells (NaN) have no density.

    Args:
        parts: of each kind its columns, long (D_i,), and their distributions, of batch shape
            (..., D_i) and event shape ().
        n_columns: D, the event's size.
    """

    arg_constraints = {}  # noqa: RUF012  (torch's name for it)

    def __init__(self, parts: Sequence[tuple[Tensor, Distribution]], n_columns: int) -> None:
        self.parts = parts
        super().__init__(parts[0][1].batch_shape[:-1], torch.Size([n_columns]), validate_args=False)

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        """Sum over the known cells of rows (..., D): (...)."""
        terms = []
        for columns, cells in self.parts:
            x = value[..., columns]
            missing = x.isnan()
            term = cells.log_prob(x.masked_fill(missing, _SAFE))
            terms.append(term.masked_fill(missing, 0.0).sum(-1))
        return torch.stack(terms).sum(0)

    @property
    @override
    def mean(self) -> Tensor:
        """Expected values (..., D), in the columns' units; of a category the most probable one."""
        return self._row(
            [
                cells.mode if isinstance(cells, Categorical) else cells.mean
                for _, cells in self.parts
            ]
        )

    @override
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Rows (*sample_shape, ..., D)."""
        shape = torch.Size(sample_shape)
        with torch.no_grad():
            return self._row([cells.sample(shape) for _, cells in self.parts])

    @override
    def expand(
        self, batch_shape: Sequence[int], _instance: TorchDistribution | None = None
    ) -> ColumnsDistribution:
        parts = [(i, cells.expand([*batch_shape, len(i)])) for i, cells in self.parts]
        return ColumnsDistribution(parts, self.event_shape[0])

    def _row(self, values: Sequence[Tensor]) -> Tensor:
        """Values of each kind, (..., D_i), in the order of the columns, as real numbers."""
        order = torch.cat([columns for columns, _ in self.parts]).argsort()
        real = (v if v.is_floating_point() else v.float() for v in values)  # categories are whole
        return torch.cat([*real], -1)[..., order]


@register_likelihood("columns")
class ColumnsLikelihood(Likelihood):
    """Columns of different kinds, any of whose cells may be missing.

    Args:
        kinds: of each column: ``real``, ``positive``, ``count``, ``binary`` (0 or 1) or
            ``categorical:C`` (0 to C - 1).
        loc: of each column where it lies: the mean of real values, of the logarithms of positive
            ones, of log(1 + x) of counts; left aside for the other kinds. None means 0.
        scale: likewise the standard deviations; None means 1.
        missing: whether cells may be missing; the encoder then also sees which are known.
        min_scale: lowest standard deviation that is learnt, as a part of ``scale``. A column that
            the latents predict exactly would have a density without bound.
    """

    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        kinds: Sequence[str],
        loc: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        missing: bool = False,
        min_scale: float = 0.05,
    ) -> None:
        super().__init__()
        self.kinds, self.n_classes = _parse_kinds(kinds)
        n = len(self.kinds)
        for name, values in (("loc", loc), ("scale", scale)):
            if values is not None and len(values) != n:
                raise ConfigError(f"{name} must have {n} values, one a column, got {len(values)}")
        if scale is not None and not min(scale) > 0:
            raise ConfigError(f"scale must be above 0 in every column, got {min(scale)}")
        if not min_scale > 0:
            raise ConfigError(f"min_scale must be above 0, got {min_scale}")
        self.directions = directions_of(kinds)
        self.takes_missing, self.min_scale = missing, min_scale
        self.settings = {"loc": loc or [0.0] * n, "scale": scale or [1.0] * n}
        for name, values in self.settings.items():
            self.register_buffer(name, torch.tensor(values), persistent=False)
        self.log_spread = nn.Parameter(torch.zeros(n))
        ends = torch.tensor([c or 1 for c in self.n_classes]).cumsum(0)
        self.n_parameters = int(ends[-1])
        for kind in self._present():
            columns = torch.tensor([i for i, own in enumerate(self.kinds) if own == kind])
            self.register_buffer(f"columns_{kind}", columns, persistent=False)
            self.register_buffer(f"ends_{kind}", ends[columns], persistent=False)

    @property
    @override
    def n_categories(self) -> dict[int, int]:
        return {i: c for i, c in enumerate(self.n_classes) if c}

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        super()._apply(fn, recurse)
        for name, values in self.settings.items():  # float32 numbers would stay off in float64
            setattr(self, name, torch.tensor(values, dtype=torch.float64).to(getattr(self, name)))
        return self

    @override
    def decoder_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (self.n_parameters,)

    @override
    def encoder_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (self.n_parameters + len(self.kinds) * self.takes_missing,)

    @override
    def encoder_input(self, x: Tensor) -> Tensor:
        """Rows (B, D) -> standardised and one-hot values, 0 where missing, and what is known."""
        inputs = []
        for kind in self._present():
            columns = self._columns(kind)
            cells = x[..., columns]
            missing = cells.isnan()
            cells = cells.masked_fill(missing, _SAFE)
            if kind == "categorical":
                for i, c in enumerate(filter(None, self.n_classes)):
                    classes = torch.arange(c, device=x.device)
                    is_it = (cells[..., i, None] == classes) & ~missing[..., i, None]
                    inputs.append(is_it.to(x))
                continue
            if kind != "binary":
                values = {"real": cells, "positive": cells.log(), "count": cells.log1p()}[kind]
                cells = (values - self.loc[columns]) / self.scale[columns]
            inputs.append(cells.masked_fill(missing, 0.0))
        if self.takes_missing:
            inputs.append((~x.isnan()).to(x))
        return torch.cat(inputs, -1)

    @override
    def noise(self, x: Tensor) -> Tensor | None:
        kinds = [kind for kind in self._present() if kind in ("real", "positive")]
        if not kinds:
            return None
        columns = torch.cat([self._columns(kind) for kind in kinds])
        return self.min_scale + self.log_spread[columns].exp()  # of the columns' own scale

    @override
    def working_values(self, x: Tensor) -> WorkingValues:
        r"""Rows (N, D) as the working response of a generalised linear model, over its deviation.

        Numbers are standardised. What tells a class of probability p is :math:`(x - p) / \sqrt{v}`
        with :math:`v = p (1 - p)` of a binary column and :math:`v = (C - 1) p` of C classes: in all
        its directions every column has variance 1. The step from the logits of the frequencies is
        that of Fisher's scoring.

        Source: McCullagh and Nelder, "Generalized Linear Models", 1989, Section 2.5.
        """
        h = torch.cat([self._at(kind) for kind in self._present()])
        values = x.new_zeros(len(x), self.n_parameters)
        values[:, h] = self.encoder_input(x)[:, : self.n_parameters]
        offset, scale = x.new_zeros(self.n_parameters), x.new_ones(self.n_parameters)
        of_column = [i for i, c in enumerate(self.n_classes) for _ in range(c or 1)]
        directions = x.new_tensor(self.directions)[of_column]
        known = (~x.isnan()).to(x)[:, of_column]
        for kind in ("binary", "categorical"):
            if kind not in self._present():
                continue
            at = self._at(kind)
            p = values[:, at].sum(0) / known[:, at].sum(0).clamp(min=1)
            p = p.clamp(_SELDOM, 1 - _SELDOM)
            offset[at] = p.logit() if kind == "binary" else p.log()
            variance = (p * (1 - p) if kind == "binary" else p).clamp(min=_RARE)
            width = (directions[at] * variance).sqrt()
            values[:, at] = (values[:, at] - p * known[:, at]) / width
            scale[at] = width / variance
        return WorkingValues(values, offset, scale)

    @override
    @torch.no_grad()
    def begin_with_noise(self, scale: float) -> None:
        spread = math.log(max(scale - self.min_scale, _LEAST_SPREAD))
        for kind in ("real", "positive"):
            if kind in self._present():
                self.log_spread[self._columns(kind)] = spread

    @override
    def forward(self, h: Tensor, event_dim: int) -> ColumnsDistribution:
        """Parameters (..., H), those of a column side by side -> p(x | z) of rows (..., D)."""
        parts = [(self._columns(kind), self._cells(kind, h)) for kind in self._present()]
        return ColumnsDistribution(parts, len(self.kinds))

    def _cells(self, kind: str, h: Tensor) -> Distribution:
        columns, ends = self._columns(kind), cast(Tensor, getattr(self, f"ends_{kind}"))
        if kind == "categorical":
            n_classes = [*filter(None, self.n_classes)]
            most = torch.arange(max(n_classes), device=h.device)
            sizes = torch.tensor(n_classes, device=h.device)[:, None]
            at = (ends[:, None] - sizes + most).clamp(max=h.shape[-1] - 1)
            logits = h[..., at].masked_fill(most >= sizes, -torch.inf)
            return Categorical(logits=logits, validate_args=False)
        own = h[..., ends - 1]
        if kind == "binary":
            return Bernoulli(logits=own, validate_args=False)
        u = self.loc[columns] + self.scale[columns] * own
        spread = self.log_spread[columns].exp()
        if kind == "count":
            return NegativeBinomial(spread, logits=u - spread.log(), validate_args=False)
        of_log = LogNormal if kind == "positive" else Normal
        return of_log(u, self.scale[columns] * (self.min_scale + spread), validate_args=False)

    def _at(self, kind: str) -> Tensor:
        """Where the parameters of a kind's columns are among all, in the order of the columns."""
        ends = cast(Tensor, getattr(self, f"ends_{kind}"))
        sizes = [c or 1 for c, own in zip(self.n_classes, self.kinds, strict=True) if own == kind]
        each = [torch.arange(int(e) - n, int(e)) for e, n in zip(ends, sizes, strict=True)]
        return torch.cat(each).to(ends.device)

    def _present(self) -> Iterator[str]:
        return (kind for kind in KINDS if kind in self.kinds)

    def _columns(self, kind: str) -> Tensor:
        return cast(Tensor, getattr(self, f"columns_{kind}"))

    @override
    def check(self, observation: ObservationSpec) -> None:
        """Raise a DataError unless an observation is a row of so many columns."""
        if observation.shape != (len(self.kinds),):
            raise DataError(
                f"likelihood columns has {len(self.kinds)} kinds, one for each column of a table, "
                f"but an observation has shape {observation.shape}"
            )


def directions_of(kinds: Sequence[str]) -> list[int]:
    """How many directions a column of each kind varies in: one, and C - 1 of C categories."""
    return [(c or 2) - 1 for c in _parse_kinds(kinds)[1]]


def _parse_kinds(kinds: Sequence[str]) -> tuple[list[str], list[int]]:
    """Names of the kinds, and numbers of classes, 0 for those that have none."""
    names, n_classes = [], []
    for i, kind in enumerate(kinds):
        match = re.fullmatch(r"(real|positive|count|binary)|categorical:([1-9]\d{0,6})", kind)
        if match is None or match[2] == "1":
            raise ConfigError(
                f"kinds[{i}] must be real, positive, count, binary or categorical:C with at "
                f"least 2 classes C, got {kind!r}"
            )
        names.append(match[1] or "categorical")
        n_classes.append(int(match[2] or 0))
    if not kinds:
        raise ConfigError("kinds must name at least one column")
    return names, n_classes
