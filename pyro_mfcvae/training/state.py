"""Everything that a training run is at one moment, and how it takes its next step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, cast

import torch
from torch import Tensor
from typing_extensions import override

from pyro_mfcvae.config import Config
from pyro_mfcvae.data.observations import Observations, as_float
from pyro_mfcvae.guides import NetworkGuide, temperature_of
from pyro_mfcvae.inference.fade_in import FadeInSchedule
from pyro_mfcvae.inference.noise import Noise, derive_seed
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.priors.conditional import ConditionalMixture
from pyro_mfcvae.priors.mixture import MixturePrior
from pyro_mfcvae.training.batches import Batches, StreamedBatches, batches_of
from pyro_mfcvae.training.checks import check_last_batch, check_objective
from pyro_mfcvae.training.engine import ONE_PROCESS, Engine
from pyro_mfcvae.training.objective import Objective
from pyro_mfcvae.training.optimizer import adam, is_captured, set_learning_rates, update
from pyro_mfcvae.training.schedules import kl_scale, relaxation
from pyro_mfcvae.training.start.cluster_network import fit_cluster_network
from pyro_mfcvae.training.start.initialise import draw_observations, fit_mixture

_FITTED = 10_000  # observations that mixtures are fitted to
_MOST_RECENT = 10_000  # steps


@dataclass(frozen=True, eq=False)
class Best:
    """The model as it was when it did best on held-out observations.

    Attributes:
        elbo: of the held-out observations, on the mean.
        step: steps done.
        tensors: the model's state dict.
    """

    elbo: float
    step: int
    tensors: dict[str, Tensor]


@dataclass(eq=False)
class TrainingState:
    """Model, optimiser and position of a run.

    Attributes:
        model: the model, on the training device.
        objective: what is minimised, a module around the model.
        config: settings of the run.
        batches: the batch of any step.
        optimizer: Adam over all learnt parameters.
        data: fingerprint of the observations and their split.
        schedule: fade weights of any step.
        step: steps done.
        interrupted: whether the run was asked to stop before its end.
        stop_signal: number of the signal that asked for a stop, which in the last step comes too
            late to interrupt the run; 0 if none did.
        recent: the terms of each step since the last log point, (T,), where they are on the CPU.
        pending: whether callbacks are still to be called after the latest step.
        failed: whether an error ended it.
        totals: sums of the terms since the last log point, named by ``term_names``.
        n_totals: steps in these sums.
        weights: what ``fade`` holds, as numbers.
        best: what the run is to end with, where ``training.keep_best`` says so.
        engine: this process and the others that share the batches.
    """

    model: FacetModel
    objective: Objective
    config: Config
    batches: Batches | StreamedBatches
    optimizer: torch.optim.Optimizer
    schedule: FadeInSchedule
    data: str = ""
    step: int = 0
    interrupted: bool = False
    stop_signal: int = 0
    pending: bool = False
    failed: bool = False
    totals: Tensor | None = None
    n_totals: int = 0
    term_names: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    recent: deque[Tensor] = field(default_factory=lambda: deque(maxlen=_MOST_RECENT))
    best: Best | None = None
    engine: Engine = ONE_PROCESS

    @property
    def fade(self) -> Tensor:
        """Weights of the facets at the step under way, (J,) on the device."""
        return self.model.fade

    @property
    def n_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.training.n_epochs * self.batches.per_epoch

    @property
    def last_fade(self) -> tuple[float, ...]:
        """Fade weights of the last step taken: those that the model has been trained with."""
        return self.schedule(max(self.step - 1, 0))

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.step // self.batches.per_epoch

    def begin_step(self) -> None:
        """Set weights and learning rates of the step to come, and fit mixtures that are due."""
        if self.objective.kl_scale is not None:
            scale = kl_scale(self.config.training, self.step, self.batches.per_epoch)
            self.objective.kl_scale.fill_(scale)
        temperature = temperature_of(self.objective.guide)
        if temperature is not None:
            temperature.fill_(relaxation(self.config, self.step, self.batches.per_epoch))
        weights = self.schedule(self.step)
        if weights != self.weights:  # a copy to the device at every step would be a waste
            new = torch.tensor(weights, dtype=self.fade.dtype)
            self.fade.copy_(new, non_blocking=True)
            self.weights = weights
        self._refit_mixtures()
        set_learning_rates(
            self.optimizer, self.config.training, self.step, self.n_steps, self.batches.per_epoch
        )

    def _refit_mixtures(self) -> None:
        epoch, within = divmod(self.step, self.batches.per_epoch)
        if within == 0 and epoch in self.config.training.refit_mixtures:
            seed = derive_seed(self.config.seed, "refit", epoch)
            x = draw_observations(self.batches.x, seed, _FITTED)
            samples = self.objective.sampled_latents(x, seed)
            fitted = []
            for j, (facet, z) in enumerate(zip(self.model.facets, samples, strict=True)):
                # A run that has broken down says so at its next log point, and alone.
                can_refit = self.model.structure.facets[j].can_refit
                if can_refit and self.weights[j] > 0 and bool(z.isfinite().all()):
                    fit_mixture(cast(MixturePrior | ConditionalMixture, facet), z, seed)
                    fitted.append(j)
            self.engine.equalise(self.model.facets.parameters())  # a fit magnifies rounding
            if fitted and isinstance(self.objective.guide, NetworkGuide):
                fit_cluster_network(self.model, self.objective.guide, x, fitted)
                networks = self.objective.guide.cluster_networks
                self.engine.equalise(p for net in networks for p in net.parameters())

    def end_step(self, values: Tensor) -> None:
        """Count a step, and add its terms, (T,), to their sums."""
        if self.totals is None:
            self.totals = torch.zeros_like(values)
        self.totals += values
        if not self.n_totals:
            self.recent.clear()
        if values.device.type == "cpu":
            self.recent.append(values)
        self.term_names = self.objective.term_names
        self.n_totals += 1
        self.step += 1

    def first_not_finite(self) -> tuple[int, list[str]]:
        """Of the steps since the last log point the first with terms that are not finite.

        Returns:
            the steps done after it, and names of these terms; the latest step and no names where
            that is not known.
        """
        for i, values in enumerate(self.recent):
            terms = zip(self.term_names, values.tolist(), strict=True)
            if names := [name for name, value in terms if not isfinite(value)]:
                return self.step - len(self.recent) + i + 1, names
        return self.step, []

    def join_totals(self) -> None:
        """Make the sums those of whole batches, on every process. Each must call it."""
        if self.totals is not None:
            self.totals = self.engine.mean(self.totals)

    def take_means(self) -> dict[str, float]:
        """Means of all terms since the last call; this waits for the device."""
        if self.totals is None or not self.n_totals:
            return {}
        self.join_totals()
        means = (self.totals / self.n_totals).tolist()
        self.totals.zero_()
        self.n_totals = 0
        return dict(zip(self.term_names, means, strict=True))


def new_state(
    model: FacetModel,
    x: Observations,
    config: Config,
    engine: Engine = ONE_PROCESS,
    strata: Tensor | None = None,
) -> TrainingState:
    """The state before the first step.

    Args:
        model: an initialised model, on the training device.
        x: training observations (N, *event).
        config: settings of the run.
        engine: the processes that share the batches.
        strata: what ``training.strata`` is about, long (N,).

    Raises:
        ConfigError: if the batches do not fit the data, the networks or the processes, or the guide
            does not fit CUDA graphs.
        DataError: if there are strata of observations that stay in a file.
    """
    parameter = next(model.parameters())
    training = config.training
    batches = batches_of(
        x,
        training.batch_size,
        config.seed,
        parameter.dtype,
        parameter.device,
        strata,
        training.strata == "apart",
    )
    n_processes = engine.n_processes
    check_last_batch(model, len(x), training.batch_size, "training.batch_size", n_processes)
    check_objective(model, config, n_processes)
    for prior in model.facets:
        if prior.n_observations is not None:
            prior.n_observations.fill_(len(x))
    objective = Objective(model, config)
    captured = is_captured(training, parameter.device, n_processes)
    if captured:  # what graphs cannot hold is better found now than after a pretraining
        few = as_float(batches.x[:2].to(parameter.device), parameter.dtype)
        objective.noise_shapes(few)
    stages = training.epochs_per_step
    if len(stages) == 1 < model.n_facets:
        # All at once: stages of no length, and no fading in.
        stages, n_fade_in = (0,) * (model.n_facets - 1) + stages, 0
    else:
        n_fade_in = training.n_fade_in_batches
    schedule = FadeInSchedule(
        tuple(n * batches.per_epoch for n in stages), n_fade_in, training.fade_in_shape
    )
    return TrainingState(
        model=model,
        objective=objective,
        config=config,
        batches=batches,
        optimizer=adam(model, training, captured),
        schedule=schedule,
        engine=engine,
    )


class Steps(ABC):
    """The steps of one run, or of R runs at once: shapes then begin with R."""

    @abstractmethod
    def begin(self) -> tuple[Tensor, Any]:
        """Set what changes from step to step, in place.

        Returns:
            the batch of the step to come, (B, *event), and its noise.
        """

    @abstractmethod
    def advance(self, x: Tensor, noise: Any) -> Tensor:
        """Gradients and the optimiser's step; returns the terms, (T,)."""

    @abstractmethod
    def end(self, values: Tensor) -> None:
        """Count a step with these terms, (T,)."""

    def kind(self, x: Tensor) -> Hashable:
        """What steps whose batches are like x, (B, *event), have in common with the step to come.

        Only those can take each other's place on a device.
        """
        return x.shape

    def step(self) -> None:
        """Take one step; nothing in it waits for the device, but where mixtures are refitted."""
        self.end(self.advance(*self.begin()))


class Eager(Steps):
    """The steps of one run; of several processes each takes its part of every batch.

    Args:
        state: of the run.
    """

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self.objective = state.engine.wrap(state.objective)

    @override
    def begin(self) -> tuple[Tensor, Any]:
        self.state.begin_step()
        x = self.state.batches(self.state.step)
        return x, self.noise(x)

    def noise(self, x: Tensor) -> Any:
        """Noise of the step to come, for a batch (B, *event)."""
        state = self.state
        return Noise(state.config.seed, state.step, state.engine.part(len(x)).rows)

    @override
    def advance(self, x: Tensor, noise: Any) -> Tensor:
        state, engine = self.state, self.state.engine
        part = engine.part(len(x))
        own = x[part.start : part.stop]
        loss, values = self.objective(own, noise, part.share, engine.n_processes)
        loss.backward()
        update(state.optimizer, state.config.training)
        return values

    @override
    def end(self, values: Tensor) -> None:
        self.state.end_step(values)
