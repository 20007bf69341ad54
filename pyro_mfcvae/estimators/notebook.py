"""What is seen while an estimator is fitted, and of its figures, in a notebook or a terminal."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING

from tqdm.auto import tqdm
from typing_extensions import override

from pyro_mfcvae.training.callbacks import Callback, Metrics
from pyro_mfcvae.training.state import TrainingState

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Progress(Callback):
    """A bar over the steps, with the ELBO beside it."""

    @override
    def on_start(self, state: TrainingState) -> None:
        self._bar = tqdm(total=state.n_steps, initial=state.step, unit="step")

    @override
    def on_step(self, state: TrainingState) -> None:
        self._bar.update()

    @override
    def on_log(self, state: TrainingState, metrics: Metrics) -> None:
        self._bar.set_postfix(ELBO=f"{metrics['elbo']:.2f}")

    @override
    def on_end(self, state: TrainingState) -> None:
        self._bar.close()


def in_notebooks(figure: Figure) -> Figure:
    """The figure, which notebooks now show as a picture even where pyplot is not loaded."""
    figure._repr_png_ = functools.partial(_png, figure)  # type: ignore[attr-defined]
    return figure


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
