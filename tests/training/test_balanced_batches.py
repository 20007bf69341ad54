"""Batches that hold equal shares of strata, or one of them each."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from models import tiny_config

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import Dataset, load_dataset
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.training import take_steps
from pyro_mfcvae.training.batches import Batches, batches_of
from pyro_mfcvae.training.begin import prepare
from pyro_mfcvae.training.callbacks import Callback

CPU = torch.device("cpu")


def _batches(strata, batch_size, seed=0, apart=False):
    """Batches of observations that are their own numbers, which float64 holds exactly."""
    x = torch.arange(len(strata), dtype=torch.float32).unsqueeze(-1)
    return Batches(x, batch_size, seed, torch.float64, torch.as_tensor(strata), apart)


def _epoch(batches, epoch=0):
    """Rows of each batch of an epoch."""
    first = epoch * batches.per_epoch
    return [batches(first + i).flatten().long() for i in range(batches.per_epoch)]


def _shares(strata, rows):
    """How many of the rows each stratum has."""
    return strata[rows].bincount(minlength=int(strata.max()) + 1)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 7, 16, 24, 100])
@pytest.mark.parametrize(
    "counts", [(12, 12), (8, 8, 8), (7, 7, 7, 7), (12, 11), (11, 12), (5, 6, 5), (6, 5, 6), (9,)]
)
def test_every_batch_has_equal_shares_and_every_row_comes_once(batch_size, counts):
    strata = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    strata = strata[torch.randperm(len(strata))]
    batches = _batches(strata, batch_size)
    assert batches.per_epoch == -(-len(strata) // batch_size)
    for epoch in (0, 1, 5):
        rows = _epoch(batches, epoch)
        lengths = [len(batch) for batch in rows]
        assert lengths[:-1] == [batch_size] * (len(rows) - 1)
        for batch in rows:
            shares = _shares(strata, batch)
            assert shares.max() - shares.min() <= 1
        assert torch.cat(rows).sort().values.tolist() == list(range(len(strata)))


def test_strata_of_unequal_size():
    strata = torch.tensor([0] * 3 + [1] * 9)
    batches = _batches(strata, 4)
    seen = set()
    for epoch in range(20):
        rows = _epoch(batches, epoch)
        assert all(_shares(strata, batch).tolist() == [2, 2] for batch in rows)
        times = torch.cat(rows).bincount(minlength=12)
        assert times[:3].tolist() == [2, 2, 2]  # the smaller one twice
        assert sorted(times[3:].tolist()) == [0] * 3 + [1] * 6  # and a part of the larger one
        seen |= set(torch.cat(rows).tolist())
    assert seen == set(range(12))


@pytest.mark.parametrize(("counts", "batch_size"), [((12, 12), 4), ((8, 8, 8), 4), ((9,), 5)])
def test_apart_every_batch_is_of_one_stratum_and_every_row_comes_once(counts, batch_size):
    strata = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    strata = strata[torch.randperm(len(strata))]
    batches = _batches(strata, batch_size, apart=True)
    for epoch in (0, 3):
        rows = _epoch(batches, epoch)
        of = [strata[batch].unique().tolist() for batch in rows]
        assert of == [[i % len(counts)] for i in range(len(rows))]
        assert torch.cat(rows).sort().values.tolist() == list(range(len(strata)))


def test_apart_larger_strata_are_left_out_in_part_and_smaller_ones_repeat():
    strata = torch.tensor([0] * 3 + [1] * 12)
    batches = _batches(strata, 4, apart=True)
    seen = set()
    for epoch in range(20):
        rows = _epoch(batches, epoch)
        assert [len(batch) for batch in rows] == [4, 4, 4, 3]
        assert [strata[batch].unique().tolist() for batch in rows] == [[1], [0], [1], [0]]
        seen |= set(torch.cat(rows).tolist())
    assert seen == set(range(15))


def test_apart_needs_strata_and_a_batch_for_each():
    x = torch.rand(20, 2)
    with pytest.raises(ConfigError, match=r"training.strata=apart .* names none"):
        batches_of(x, 4, 0, torch.float32, CPU, apart=True)
    with pytest.raises(ConfigError, match="3 strata, but training.batch_size=10 makes 2 of 20"):
        batches_of(x, 10, 0, torch.float32, CPU, torch.arange(20) % 3, apart=True)


@pytest.mark.parametrize("apart", [False, True])
def test_the_order_is_a_function_of_seed_and_epoch(apart):
    strata = [0, 1] * 10
    batches = _batches(strata, 6, apart=apart)
    epochs = [torch.cat(_epoch(batches, epoch)).tolist() for epoch in range(3)]
    assert len({tuple(order) for order in epochs}) == 3
    other = torch.cat(_epoch(_batches(strata, 6, seed=1, apart=apart))).tolist()
    assert other != epochs[0]
    # A batch depends on nothing that was asked for before: a resumed run meets the same ones.
    for step in (9, 2, 4, 0, 4):
        assert torch.equal(_batches(strata, 6, apart=apart)(step), batches(step))
    assert torch.cat(_epoch(batches, 1)).tolist() == epochs[1]


def test_strata_may_have_any_numbers():
    batches, other = _batches([0, 1] * 10, 6), _batches([3, 7] * 10, 6)
    assert all(torch.equal(batches(step), other(step)) for step in range(8))


def test_strata_of_one_size_take_turns_by_their_number():
    batches = _batches(torch.arange(40), 40)
    assert batches(0).flatten().tolist() == list(range(40))


def test_one_stratum_and_none_are_alike():
    x = torch.arange(50, dtype=torch.uint8).reshape(25, 2)
    plain = batches_of(x, 4, 3, torch.float32, CPU)
    one = batches_of(x, 4, 3, torch.float32, CPU, torch.full((25,), 5))
    for step in range(14):
        assert torch.equal(plain(step), one(step))


def test_any_order_within_a_stratum_is_as_likely():
    """The first row of a stratum is each of its rows equally often."""
    n = 2000
    first = [int(_batches([0, 0, 0, 0, 1, 1, 1, 1], 8, seed)(0)[0]) for seed in range(n)]
    shares = np.bincount(first, minlength=4) / n
    assert np.abs(shares - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / n)


def test_uint8_stays_as_it_is():
    x = torch.arange(0, 250, 25, dtype=torch.uint8).reshape(10, 1)
    batches = batches_of(x, 5, 0, torch.float64, CPU, torch.arange(10) % 2)
    assert batches.x is x
    assert set((255 * batches(0)).round().flatten().tolist()) <= set(map(float, x.flatten()))
    assert batches(0).dtype == torch.float64


def _dataset(**changed):
    values = {"x": torch.rand(8, 3), "train": torch.arange(6), "test": torch.arange(6, 8)}
    return Dataset("mine", **values | changed)


def test_a_data_set_hands_on_the_strata_of_its_training_part():
    dataset = _dataset(train=torch.tensor([5, 0, 3]), strata=torch.arange(8) % 4)
    assert dataset.train_strata.tolist() == [1, 0, 3]
    assert _dataset().train_strata is None


def test_strata_are_part_of_the_fingerprint():
    x = torch.rand(8, 3)
    none, one, same, other = (
        _dataset(x=x, strata=strata).fingerprint
        for strata in (None, torch.arange(8) % 2, torch.arange(8) % 2, torch.arange(8) % 4)
    )
    assert one == same
    assert len({none, one, other}) == 3


def test_the_fingerprint_without_strata_stays_what_it_was():
    """Else runs that were trained before could not be resumed."""
    x = torch.arange(12, dtype=torch.uint8).reshape(4, 3)
    dataset = Dataset("mine", x, torch.tensor([0, 1]), torch.tensor([2, 3]))
    assert dataset.fingerprint == "9b55ab66720843eaf3b444d6497cda97"


@pytest.mark.parametrize(
    "strata", [torch.zeros(7, dtype=torch.long), torch.zeros(8), torch.zeros(8, 1).long()]
)
def test_strata_of_a_wrong_shape_or_type(strata):
    with pytest.raises(DataError, match=r"mine: strata must be long of shape \(8,\), .* got torch"):
        _dataset(strata=strata)


def test_batches_need_a_stratum_for_each_observation():
    with pytest.raises(DataError, match=r"strata must have shape \(4,\), .*, got \(3,\)"):
        Batches(torch.rand(4, 2), 2, 0, torch.float32, torch.zeros(3).long())


def test_observations_in_a_file_have_no_strata(tmp_path):
    path = tmp_path / "mine.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.random.default_rng(0).random((20, 3), dtype=np.float32)
    options = {"path": str(path), "memory": "stream"}
    x = load_dataset(Component(name="h5", options=options)).split("train")[0]
    with pytest.raises(DataError, match=r"need observations in memory, .*\(memory='load'\)"):
        batches_of(x, 4, 0, torch.float32, CPU, torch.zeros(len(x)).long())


class _Seen(Callback):
    """The strata of each batch of a run; every picture of a stratum has one brightness."""

    def __init__(self):
        self.shares = []

    def on_step(self, state):
        x = state.batches(state.step - 1)
        self.shares.append(float((x.mean((1, 2, 3)) > 0.5).double().mean()))


def test_a_run_trains_on_balanced_batches_or_on_strata_apart():
    rows = torch.arange(60)
    x = torch.where((rows < 20)[:, None, None, None], 250, 5).expand(-1, 3, 8, 8).to(torch.uint8)
    parts = {"train": rows[:50], "test": rows[50:]}
    dark = (rows < 20).long()
    cases = ((dark, "shared", {0.5}), (dark, "apart", {0.0, 1.0}), (None, "shared", None))
    for strata, how, shares in cases:
        dataset = Dataset("mine", x, **parts, strata=strata)
        changed = {"training.epochs_per_step": "[1,1]", "training.strata": how}
        config = tiny_config(**changed)
        dataset, state = prepare(config, dataset)
        seen = _Seen()
        take_steps(state, [seen])
        assert len(seen.shares) == 6  # batches of 20, 20 and 10
        by_chance = {*seen.shares} - {0.0, 0.5, 1.0}
        assert by_chance if shares is None else {*seen.shares} == shares
