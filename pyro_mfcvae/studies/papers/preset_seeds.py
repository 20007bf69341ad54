"""A preset with several seeds, as an experiment."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from pyro_mfcvae import figures
from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.figures.names import readable
from pyro_mfcvae.presets import PRESETS, get_preset
from pyro_mfcvae.registry import unknown
from pyro_mfcvae.studies.jobs import Arm
from pyro_mfcvae.studies.papers.curves import CurvePanel
from pyro_mfcvae.studies.papers.experiment import (
    EXPERIMENTS,
    Arms,
    Drawn,
    Experiment,
    Outcomes,
    Scale,
    agreement,
    probes,
)
from pyro_mfcvae.studies.results import Entry

_N_SEEDS = 5


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
    return Experiment(
        name=name,
        title=preset.description,
        source=preset.source,
        n_seeds={"full": _N_SEEDS},
        arms=partial(_arm, name),
        numbers=partial(_numbers, probed),
        draw=_draw,
        slow={"probe": probed},
    )


def _arm(preset: str, scale: Scale) -> Arms:
    if scale != "full":
        raise ConfigError(
            f"{preset} is a preset, which has one length; for another give --set "
            "training.epochs_per_step=..."
        )
    return [Arm(preset, get_preset(preset).config, preset)]


def _numbers(probed: bool, arm: Arm) -> Iterable[Entry]:
    """Every facet and factor, over all seeds."""
    factors = load_dataset(arm.config.data).labels
    for j in range(len(arm.config.model.facets)):
        for factor in factors:
            yield from agreement(arm, factor, j, f"facet {j}")
    for factor in factors if probed else ():
        yield from probes(arm, factor)


def _draw(experiment: Experiment, outcomes: Outcomes) -> Drawn:
    panels = {
        readable(factor): [CurvePanel("", experiment.name, factor).curve(o) for o in outcomes]
        for factor in outcomes[0].dataset.labels
    }
    label = "majority accuracy, map of its own"
    title = f"{experiment.name}: of every run the facet that agrees best"
    yield experiment.name, figures.spread_over_epochs(panels, label, title)
