"""Guides side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from pyro_mfcvae.evaluation.results import Comparison
from pyro_mfcvae.figures.registry import RunFigure, register_figure
from pyro_mfcvae.figures.seen import Recorded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@register_figure("guides")
class Guides(RunFigure[Comparison]):
    """Gap to the reference, variance of the gradient and time over the number of samples.

    Without a reference the ELBO itself takes the place of the gap.
    """

    heading = "Guides"
    shows = (
        "gap of the ELBO, variance of the gradient and time over the number of samples, by guide"
    )
    reads = "comparison"
    section = "guides"
    place = 16

    @override
    def compute(self, recorded: Recorded) -> Comparison:
        assert recorded.comparison is not None  # as ``reads`` says
        return recorded.comparison

    @override
    def draw(self, result: Comparison) -> Figure:
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

        rows, reference = result.guides, result.reference
        guides = list(dict.fromkeys(row.guide for row in rows))
        figure = Figure(figsize=(11, 4.3), layout="constrained")
        bounds, variances, times = figure.subplots(1, 3)
        for i, guide in enumerate(guides):
            own = [row for row in rows if row.guide == guide]
            samples = [row.n_samples for row in own]
            style = {"color": f"C{i}", "label": own[0].title, "marker": "o", "ms": 4}
            style["ls"] = "-" if own[0].is_bound else "--"
            variances.plot(samples, [row.gradient_variance for row in own], **style)
            times.plot(samples, [1000 * row.seconds for row in own], **style)
            if reference is None:
                errors = [row.elbo_standard_error for row in own]
                bounds.errorbar(samples, [row.elbo for row in own], errors, capsize=3, **style)
            elif guide == reference:
                bounds.axhline(0, color=style["color"], label=f"{guide} (reference)")
            else:
                bounds.plot(samples, [row.gap for row in own], **style)
                predicted = [
                    (s, row.predicted_gap)
                    for s, row in zip(samples, own, strict=True)
                    if row.predicted_gap is not None
                ]
                if predicted:
                    bounds.plot(*zip(*predicted, strict=True), "x", color="black", ms=8, zorder=3)
        if reference is None:
            bounds.set_ylabel("ELBO ± standard error, nats")
        else:
            bounds.plot([], [], "x", color="black", ms=8, label="predicted from the samples")
            bounds.set_ylabel(f"ELBO of {reference} - ELBO, nats")
        variances.set_ylabel("total variance of the gradient of q(z | x)")
        times.set_ylabel("forward and backward pass, ms")
        variances.set_yscale("log")
        times.set_yscale("log")
        times.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        times.yaxis.set_major_formatter(ScalarFormatter())
        times.yaxis.set_minor_locator(NullLocator())
        for axes in (bounds, variances, times):
            _over_samples(axes, [row.n_samples for row in rows])
        style = {"loc": "outside lower center", "fontsize": 8, "frameon": False, "ncols": 6}
        figure.legend(*bounds.get_legend_handles_labels(), **style)
        # The run may have gone on since.
        title = f"guides under the same noise after step {result.step}: "
        figure.suptitle(f"{title}{result.observations}, {result.n_draws} draws", fontsize=11)
        return figure


def _over_samples(axes: Axes, samples: Sequence[int]) -> None:
    from matplotlib.ticker import NullLocator

    ticks = sorted(set(samples))
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("samples S per observation")
    axes.grid(alpha=0.3)
