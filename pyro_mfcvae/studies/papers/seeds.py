"""A preset with several seeds, as an experiment."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from pyro_mfcvae import figures
from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.figures.names import readable
from pyro_mfcvae.presets import PRESETS, get_preset
from pyro_mfcvae.registry import unknown
from pyro_mfcvae.studies.papers.curves import Panel
from pyro_mfcvae.studies.papers.definition import (
    EXPERIMENTS,
    Arm,
    Arms,
    Drawn,
    Entry,
    Experiment,
    Outcomes,
    Scale,
    agreement,
    probes,
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
        entries: list[Entry] = []
        for arm in arms:
            factors = load_dataset(arm.config.data).labels
            for j in range(len(arm.config.model.facets)):
                for factor in factors:
                    entries += agreement(arm, factor, j, f"facet {j}")
            for factor in factors if self.probed else ():
                entries += probes(arm, factor)
        return entries

    @override
    def draw(self, outcomes: Outcomes) -> Drawn:
        panels = {
            readable(factor): [Panel("", self.name, factor).curve(o) for o in outcomes]
            for factor in outcomes[0].dataset.labels
        }
        label = "majority accuracy, map of its own"
        title = f"{self.name}: of every run the facet that agrees best"
        yield self.name, figures.spread_over_epochs(panels, label, title)


def get_experiment(name: str, probed: bool = False) -> Experiment:
    """The experiment called name, or a preset's seeds.

    Args:
        name: of either.
        probed: of a preset: whether classifiers are trained on the latents.

    Raises:
        ConfigError: if there is neither, or probing is asked of an experiment.
    """
    if name in EXPERIMENTS:
        if probed:
            raise ConfigError(
                f"{name} is an experiment, which measures what it needs; probe presets only"
            )
        return EXPERIMENTS[name]
    if name not in PRESETS:
        raise unknown("experiment", name, sorted(EXPERIMENTS), f"a preset: {', '.join(PRESETS)}")
    preset = get_preset(name)
    return Seeds(
        name=name,
        title=preset.description,
        source=preset.source,
        n_seeds={"full": _N_SEEDS},
        probed=probed,
    )
