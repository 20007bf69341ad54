"""A preset with several seeds, as an experiment."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from pyro_mfcvae import figures
from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.figures.names import readable
from pyro_mfcvae.presets import PRESETS, get_preset
from pyro_mfcvae.reproduction.curves import Panel
from pyro_mfcvae.reproduction.definition import (
    EXPERIMENTS,
    Arm,
    Arms,
    Drawn,
    Entry,
    Experiment,
    Outcomes,
    Scale,
    agreement,
)

_N_SEEDS = 5


class Seeds(Experiment):
    """The preset of the same name: every facet and factor, over all seeds."""

    @override
    def arms(self, scale: Scale) -> Arms:
        if scale != "full":
            raise ConfigError(
                f"{self.name} is a preset, which has one length; for another give --set "
                "training.epochs_per_step=..."
            )
        return [Arm(self.name, get_preset(self.name).config, self.name)]

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        return [
            entry
            for arm in arms
            for j in range(len(arm.config.model.facets))
            for factor in load_dataset(arm.config.data).labels
            for entry in agreement(arm, factor, j, f"facet {j}")
        ]

    @override
    def draw(self, outcomes: Outcomes) -> Drawn:
        panels = {
            readable(factor): [Panel("", self.name, factor).curve(o) for o in outcomes]
            for factor in outcomes[0].dataset.labels
        }
        label = "majority accuracy, map of its own"
        title = f"{self.name}: of every run the facet that agrees best"
        yield self.name, figures.spread_over_epochs(panels, label, title)


def get_experiment(name: str) -> Experiment:
    """The experiment called name, or a preset's seeds.

    Raises:
        ConfigError: if there is neither.
    """
    if name in EXPERIMENTS:
        return EXPERIMENTS[name]
    if name not in PRESETS:
        raise ConfigError(
            f"unknown experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}, or a preset: "
            f"{', '.join(PRESETS)}"
        )
    preset = get_preset(name)
    return Seeds(
        name=name, title=preset.description, source=preset.source, n_seeds={"full": _N_SEEDS}
    )
