r"""Progressive fade-in: from the step to the weights of the facets.

Training goes through J stages. Stage 0 trains the deepest facet alone; each later stage fades
the next shallower facet in, its weight alpha rising from exactly 0 at the stage's first step
to 1 after ``n_fade_in_steps``:

.. math::
    \tilde z_j = b_j^{dec}([\tilde z_{j+1}, \alpha_j r_j^{dec}(z_j)]), \qquad
    \mathcal L = E \log p(x \mid z) - \sum_j \alpha_j (KL_{z_j} + KL_{c_j})

Two options change where alpha goes: ``training.kl_floor`` for the KL terms
(:class:`~pyro_mfcvae.inference.elbo.Weights`), and the encoders' ``fade``, which weighs what a
facet's encoder rung gives, too (Li et al., "Progressive Learning and
Disentanglement of Hierarchical Representations", Eq. 9; behind the rung, because batch norm within
it would undo a weight before it).

Source: MFCVAE, Appendix D.3 (Eq. 88-92); the cosine shape is in the first authors' code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pyro_mfcvae.errors import ConfigError

Shape = Literal["linear", "cosine"]


@dataclass(frozen=True)
class FadeInSchedule:
    """The weights alpha as a pure function of the step.

    Attributes:
        steps_per_stage: steps of each stage in order of time, one entry per facet; the first
            belongs to the deepest facet. The last stage goes on for as long as is asked.
        n_fade_in_steps: steps that a facet takes to fade in; 0 lets it in at once.
        shape: how alpha rises.
    """

    steps_per_stage: tuple[int, ...]
    n_fade_in_steps: int
    shape: Shape = "linear"

    def __post_init__(self) -> None:
        if not self.steps_per_stage or any(n < 0 for n in self.steps_per_stage):
            raise ConfigError(
                "steps_per_stage needs one entry per facet, none negative, "
                f"got {self.steps_per_stage}"
            )
        if self.n_fade_in_steps < 0:
            raise ConfigError(f"n_fade_in_steps must be 0 or more, got {self.n_fade_in_steps}")
        if self.shape not in ("linear", "cosine"):
            raise ConfigError(f'the fade-in shape is "linear" or "cosine", got {self.shape!r}')

    def stage(self, step: int) -> tuple[int, int]:
        """The stage that step (from 0) falls into, and the stage's first step."""
        start = 0
        for stage, n_steps in enumerate(self.steps_per_stage[:-1]):
            if step < start + n_steps:
                return stage, start
            start += n_steps
        return len(self.steps_per_stage) - 1, start

    def __call__(self, step: int) -> tuple[float, ...]:
        """The weights alpha_0..alpha_{J-1} (shallow first) at this step (from 0)."""
        if step < 0:
            raise ValueError(f"steps count from 0, got {step}")
        stage, start = self.stage(step)
        rising = 1.0 if stage == 0 else self._rise(step - start)
        n_facets = len(self.steps_per_stage)
        return (0.0,) * (n_facets - 1 - stage) + (rising,) + (1.0,) * stage

    def full_from(self, j: int) -> int:
        """The first step with the weight 1 for facet j."""
        stage = len(self.steps_per_stage) - 1 - j
        return sum(self.steps_per_stage[:stage]) + self.n_fade_in_steps * (stage > 0)

    def _rise(self, n_steps: int) -> float:
        if n_steps >= self.n_fade_in_steps:
            return 1.0
        fraction = n_steps / self.n_fade_in_steps
        return fraction if self.shape == "linear" else 0.5 * (1 - math.cos(math.pi * fraction))
