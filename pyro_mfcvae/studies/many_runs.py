"""Seeds, and settings of equal shapes, trained as one program."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from signal import SIGINT

from typing_extensions import override

from pyro_mfcvae.config import Config, identity
from pyro_mfcvae.config import override as change
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import ConfigError, TrainingError
from pyro_mfcvae.runs.together import train_together
from pyro_mfcvae.signals import Interrupted
from pyro_mfcvae.studies.engine import JUDGED
from pyro_mfcvae.studies.execution import attempt
from pyro_mfcvae.studies.jobs import Datasets, Execution, Job, Watch
from pyro_mfcvae.training import Callback
from pyro_mfcvae.training.devices.together import check_alike, shared_settings
from pyro_mfcvae.training.say import Say, quiet


def seeds_and_settings(
    config: Config, n_seeds: int, varied: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Config]:
    """Settings of several runs by their names, such as ``learning_rate-0.002-seed-3``.

    Args:
        config: of all runs; its seed is the first one.
        n_seeds: R, seeds of each setting, counted on from there.
        varied: {dotted path: values}, of which every combination is taken.

    Raises:
        ConfigError: if a path or value is wrong, two runs would be the same, or they could not be
            trained together.
    """
    paths = dict(varied or {})
    configs: dict[str, Config] = {}
    for values in product(*paths.values()):
        given = dict(zip(paths, values, strict=True))
        changed = change(config, [f"{path}={value}" for path, value in given.items()])
        parts = [f"{path.rpartition('.')[2]}-{v}" for path, v in given.items() if path != "seed"]
        for seed in range(changed.seed, changed.seed + n_seeds):
            name, one = "-".join([*parts, f"seed-{seed}"]), replace(changed, seed=seed)
            if identity(one) in map(identity, configs.values()):
                raise ConfigError(f"{name} would be trained twice; give each value once")
            configs[name] = one
    check_alike(list(configs.values()))
    return configs


class AsOne(Execution):
    """Jobs of equal shapes as one program; one that was begun before goes on by itself.

    Args:
        callbacks: of the training loop.
        say: is told what is going on.
    """

    def __init__(self, callbacks: Sequence[Callback] = (), say: Say = quiet) -> None:
        self.callbacks, self.say = callbacks, say

    @override
    def run(self, jobs: Sequence[Job], watch: Watch, datasets: Datasets) -> None:
        groups: dict[str, list[Job]] = {}
        for job in jobs:
            key = json.dumps(shared_settings(job.config), sort_keys=True)
            groups.setdefault(job.name if job.folder.exists() else key, []).append(job)
        for group in groups.values():
            for job in group:
                watch.on_begin(job)
            if len(group) > 1:
                self._train(group, datasets.load(group[0].config.data))
            for job in group:  # measures it, or tells why it failed
                watch.on_end(job, attempt(job, datasets, self.callbacks, say=self.say))

    def _train(self, group: Sequence[Job], dataset: Dataset) -> None:
        configs = {job.name: job.config for job in group}
        folders = {job.name: job.folder for job in group}
        try:
            _, states, _ = train_together(
                configs, folders, self.callbacks, self.say, dataset, JUDGED
            )
        except (ValueError, TrainingError) as error:
            self.say(f"one after the other: {error}")
        else:
            if states[0].interrupted or states[0].stop_signal:
                raise Interrupted(states[0].stop_signal or SIGINT)
