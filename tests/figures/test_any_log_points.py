"""Figures of log points of any shape that a file may hold: random ones, by seed."""

from __future__ import annotations

import io
import json
import random

import numpy as np
import pytest

from pyro_mfcvae import figures
from pyro_mfcvae.errors import RunError
from pyro_mfcvae.training.callbacks import read_metrics

NAMES = ["elbo", "reconstruction", "kl_z_0", "kl_c_0", "kl_z_1", "kl_weight_0", "fade_0", "fade_1"]
NAMES += [
    "nmi_0_hue",
    "nmi_1_hue",
    "majority_accuracy_0_hue",
    "majority_accuracy_1_$_",
    "",
    "fade_",
]
NAMES += [f"nmi_{'9' * 5000}_hue", f"majority_accuracy_{'9' * 5000}_hue", "fade_x", "nmi_\u0663_a"]
NUMBERS = [0, 1, -3.5, 2**70, 10**400, 1e308, -1e308, 1e-320, float("nan"), float("inf")]
OTHERS = [None, "a", [], {}, [1], {"a": 1}, True]


def record(rng):
    """A log point, or now and then something else that JSON can hold."""
    values = {name: rng.choice(NUMBERS) for name in rng.sample(NAMES, rng.randrange(len(NAMES)))}
    point = {
        "step": rng.choice([0, 1, 7, 2**63 - 1]),
        "epoch": rng.choice([0, 1, 2**63 - 1]),
        "split": rng.choice(["train", "train", "test", "other"]),
        "values": values,
    }
    if rng.random() < 0.1:
        point[rng.choice([*point, "more"])] = rng.choice(OTHERS)
    if rng.random() < 0.1 and values:
        values[rng.choice([*values])] = rng.choice(OTHERS)
    return point


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("seed", range(40))
def test_a_file_is_refused_or_drawn(seed, tmp_path):
    rng = random.Random(seed)
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps(record(rng)) for _ in range(rng.randrange(1, 6))]
    path.write_text("".join(f"{line}\n" for line in lines))
    try:
        points = read_metrics(path)
    except RunError as error:
        assert "metrics.jsonl" in str(error)  # noqa: PT017
        return
    runs = {"a": points, "b": points[:1]}
    seen = {"curves": figures.Recorded(metrics=points, name="a")}
    for name in ("curves", "elbo-of-runs", "accuracy-of-runs"):
        figure, given = figures.get_figure(name), seen.get(name, runs)
        if figure.fits(given) is None:
            drawn = figure.draw(figure.compute(given))
            drawn.savefig(io.BytesIO(), dpi=20)
            assert all(np.isfinite(axes.get_ylim()).all() for axes in drawn.axes)
