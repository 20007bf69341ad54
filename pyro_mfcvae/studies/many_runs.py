"""Settings of several runs: every combination of values, each with several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

from pyro_mfcvae.config import Config, override
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.training.devices.together import check_alike


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
    configs = {}
    for values in product(*paths.values()):
        assignments = [f"{path}={value}" for path, value in zip(paths, values, strict=True)]
        changed = override(config, assignments)
        parts = [
            f"{path.rpartition('.')[2]}-{value}"
            for path, value in zip(paths, values, strict=True)
            if path != "seed"
        ]
        for seed in range(changed.seed, changed.seed + n_seeds):
            name, one = "-".join([*parts, f"seed-{seed}"]), replace(changed, seed=seed)
            if one in configs.values():
                raise ConfigError(f"{name} would be trained twice; give each value once")
            configs[name] = one
    check_alike(list(configs.values()))
    return configs
