"""The candidates that are timed against each other, each as a function that takes one step."""

from __future__ import annotations

import itertools
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from typing_extensions import override

from benchmarks.reference import HandWritten, HandWrittenTraining, Precision
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import GUIDES
from pyro_mfcvae.inference.elbo import Weights, loss
from pyro_mfcvae.inference.noise import Noise
from pyro_mfcvae.training import Callback, TrainingState, take_steps
from pyro_mfcvae.training.callbacks import MetricsLog, StopAtNonsense
from pyro_mfcvae.training.checkpoints import Checkpoints
from pyro_mfcvae.training.devices.stepping import stepper
from pyro_mfcvae.training.objective import AUTOCAST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from benchmarks.timing import Turn
    from benchmarks.workload import Workload

NETWORKS, BY_HAND, FIT = "networks alone", "by hand", "fit"
_N_CHECKED = 8  # observations of the comparison with the library
_NEGLIGIBLE = 1e-6


def networks(load: Workload) -> Turn:
    """Encoder, heads and decoder alone, forward and backward."""
    model, x = load.model(), load.batch()
    parameters = [p for p in model.parameters() if p.requires_grad]
    n_samples = load.config.guide.n_samples
    precision = autocast(load)

    def step() -> None:
        with precision():
            posteriors = [
                head(h).chunk(2, -1) for head, h in zip(model.heads, model.encoder(x), strict=True)
            ]
            zs = [loc.expand(n_samples, *loc.shape).flatten(0, 1) for loc, _ in posteriors]
            pictures = model.decoder(zs)
        total = pictures.float().sum() + sum(log_var.float().sum() for _, log_var in posteriors)
        total.backward()
        for parameter in parameters:
            parameter.grad = None

    return step


def by_hand(load: Workload) -> Turn:
    """The training step that is written in PyTorch alone."""
    objective = HandWritten(load.model(), autocast(load))
    fade = first_fade(load)
    training, n_samples = load.config.training, load.config.guide.n_samples
    return HandWrittenTraining(objective, load.x, training, fade, n_samples).step


def autocast(load: Workload) -> Precision:
    """What the networks compute under, by ``training.precision``."""
    dtype = AUTOCAST.get(load.config.training.precision)
    return nullcontext if dtype is None else lambda: torch.autocast(load.device.type, dtype)


def first_fade(load: Workload) -> Tensor:
    """Weights of the facets in the first step, (J,)."""
    state = load.state()
    return torch.tensor(state.schedule(0), dtype=load.dtype, device=load.device)


def training_steps(load: Workload, names: Sequence[str] | None = None) -> dict[str, Turn]:
    """Our training step with each guide that fits the settings, captured where ``fit`` does so.

    Args:
        load: settings and data.
        names: of guides; None takes all that are registered, that of the settings first.
    """
    if names is None:
        own = load.config.guide.name
        names = [own, *sorted(GUIDES.keys() - {own})]
    steps = {}
    for name in names:
        try:
            step = stepper(load.state(name))
            step()
        except ConfigError:
            continue  # it needs what these settings do not have
        steps[name] = step
    return steps


def deviation(load: Workload) -> float:
    """How far the hand-written objective is from the library's, in float64 on a few observations.

    All facets are faded in, to different degrees.

    Returns:
        the largest difference of the loss or of a parameter's gradient under guide ``enumerate``,
        relative to the largest entry of that loss or gradient. Where a gradient vanishes, as before
        batch norm, only rounding is left of it: none counts as smaller than 1e-6 of the largest.
    """
    training = replace(load.config.training, dtype="float64", precision="full")
    exact = load.with_config(replace(load.config, training=training))
    model, x = exact.model(), exact.batch()[:_N_CHECKED]
    hand = HandWritten(model)
    n_samples = load.config.guide.n_samples
    fade = torch.linspace(0.5, 1.0, model.n_facets, dtype=x.dtype, device=x.device)
    model.fade.copy_(fade)
    batch = (n_samples, len(x)) if n_samples > 1 else (len(x),)
    noise = [
        torch.randn(*batch, f.latent_dim, dtype=x.dtype, device=x.device) for f in model.facets
    ]
    with Noise({f"z_{j}": eps for j, eps in enumerate(noise)}):
        theirs = loss(model(x, "enumerate", n_samples), Weights(fade))
    ours = hand(x, fade, n_samples, noise)
    ours_and_gradients = [ours.detach(), *gradients(hand, ours)]
    theirs_and_gradients = [theirs.detach(), *gradients(model, theirs)]
    largest = [values.abs().max() for values in theirs_and_gradients]
    smallest = _NEGLIGIBLE * max(largest[1:])
    pairs = zip(ours_and_gradients, theirs_and_gradients, largest, strict=True)
    return max(((a - b).abs().max() / max(size, smallest)).item() for a, b, size in pairs)


def gradients(module: nn.Module, loss: Tensor) -> list[Tensor]:
    """Gradients of encoder, heads, decoder, likelihood and mixtures, in this order.

    Args:
        module: a model or its hand-written counterpart.
        loss: of it.
    """
    mixtures = module.mixtures if isinstance(module, HandWritten) else module.facets
    learnt = [
        p
        for part in (module.encoder, module.heads, module.decoder, module.likelihood, mixtures)
        for p in part.parameters()
        if p.requires_grad
    ]
    return list(torch.autograd.grad(loss, learnt, materialize_grads=True))


class EndToEnd:
    """Training as a real run does it, a few steps at a time.

    It is one call of ``fit`` in a thread of its own, which waits between its turns: every call
    would prepare its steps anew, and capture them on CUDA.

    Args:
        load: settings and data.
        folder: for log and checkpoints.
        n_steps: of a turn; after so many there is a log point, if not more often.
    """

    def __init__(self, load: Workload, folder: Path, n_steps: int) -> None:
        training = load.config.training
        often = replace(training, log_every=min(training.log_every, n_steps))
        self.state = load.with_config(replace(load.config, training=often)).state()
        self.dataset = load.dataset
        self.n_steps = n_steps
        self.is_over = False
        self._log = folder / "metrics.jsonl"
        self._folders = (folder / f"checkpoints-{i}" for i in itertools.count())
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._thread.start()

    def turn(self) -> None:
        """Train for so many steps, with the log."""
        self._go.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error

    def save(self) -> None:
        """Write a checkpoint, with the checks that go with it."""
        Checkpoints(next(self._folders)).on_end(self.state)

    def measure(self) -> None:
        """Measure the model on the held-out observations."""
        from pyro_mfcvae.evaluation.held_out import held_out_metrics

        guide = self.state.config.guide
        held_out_metrics(self.state.model, self.dataset, guide.name, guide.n_samples)

    def close(self) -> None:
        """End the thread."""
        self.is_over = True
        self._go.release()
        self._thread.join()

    def wait_for_turn(self) -> None:
        """Called after the last step of a turn, in the thread of the training."""
        self._done.release()
        self._go.acquire()

    def _train(self) -> None:
        self._go.acquire()
        try:
            if not self.is_over:
                log = MetricsLog(self._log)
                take_steps(self.state, [StopAtNonsense(log), log, _Turns(self)])
        except BaseException as error:
            self._error = error
        finally:
            self._done.release()


class _Turns(Callback):
    """Lets other candidates have their turn every few steps."""

    def __init__(self, training: EndToEnd) -> None:
        self.training = training

    @override
    def on_step(self, state: TrainingState) -> None:
        if state.step % self.training.n_steps == 0:
            self.training.wait_for_turn()
            state.interrupted = self.training.is_over
