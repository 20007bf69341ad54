"""Training on observations that are read from a file, against training on those in memory."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.timing import CLOCKS, Clock, Turn, alternate, repeated, waiter, warm_up_turns
from benchmarks.workload import Workload, longer
from pyro_mfcvae.config import Component
from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.training import new_state
from pyro_mfcvae.training.batches import StreamedBatches
from pyro_mfcvae.training.devices.stepping import stepper

IN_MEMORY = "in memory"
_STORED = {"streamed": None, "streamed, gzip": "gzip"}
_CHUNK = 2**20  # bytes of a file's chunk
_BUFFER = 4 * 2**20  # bytes; small, so that turns have new buffers in them
_N_BUFFERS = 2  # of a turn


def bench_streaming(load: Workload, n_rounds: int, clock: Clock = CLOCKS["wall"]) -> dict[str, Any]:
    """Time training steps on a file of the training observations, and on them in memory.

    Buffers are 16 times smaller than in a real run, or more, so that every turn comes to new ones.

    Args:
        load: settings and data.
        n_rounds: turns of every candidate.
        clock: seconds.

    Returns:
        timings relative to those in memory.
    """
    batch_bytes = load.x[0].nbytes * load.config.training.batch_size
    buffer_bytes = min(_BUFFER, load.x.nbytes // 4)
    n = _N_BUFFERS * max(1, math.ceil(buffer_bytes / batch_bytes))
    with tempfile.TemporaryDirectory() as folder:
        turns = {IN_MEMORY: repeated(stepper(load.state()), n)}
        for name, compression in _STORED.items():
            path = Path(folder) / f"{compression}.h5"
            write(path, load.x, compression)
            turns[name] = repeated(streamed_step(load, path, buffer_bytes), n)
        timings = alternate(
            turns, n_rounds, n, warm_up_turns(load.device, n), waiter(load.device), clock
        )
    return {"buffer_bytes": buffer_bytes, "chunk_bytes": _CHUNK, **timings.record(IN_MEMORY)}


def write(path: Path, x: Tensor, compression: str | None) -> None:
    """Write observations (N, *event) as training observations, the first also as held-out one."""
    import h5py

    rows = max(1, min(len(x), _CHUNK // x[0].nbytes))
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "x", data=x.cpu().numpy(), chunks=(rows, *x.shape[1:]), compression=compression
        )
        file["x_test"] = x[:1].cpu().numpy()


def streamed_step(load: Workload, path: Path, buffer_bytes: int) -> Turn:
    """A training step on the training observations of a file.

    Args:
        load: settings; those of the file take the place of its data.
        path: of the file.
        buffer_bytes: of the observations that are shuffled together.
    """
    dataset = load_dataset(Component(name="file", options={"path": str(path), "memory": "stream"}))
    x = dataset.split("train")[0]
    config = longer(load.config)
    state = new_state(load.model(), x, config)
    state.batches = StreamedBatches(
        x, config.training.batch_size, config.seed, load.dtype, load.device, buffer_bytes
    )
    return stepper(state)
