"""How many files of the library one reads to follow a batch through one training step."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import torch
from models import tiny_config
from torch.overrides import TorchFunctionMode

import pyro_mfcvae
from pyro_mfcvae.training.begin import prepare
from pyro_mfcvae.training.state import Eager

PACKAGE = str(Path(pyro_mfcvae.__file__).parent)


class Traced(TorchFunctionMode):
    """Knows the batch and every tensor that torch has computed from it."""

    def __init__(self, x: torch.Tensor) -> None:
        super().__init__()
        self.known = {id(x): x}  # kept, so that no other tensor gets one of these ids

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if self.knows((args, kwargs)):
            self.known |= {id(tensor): tensor for tensor in tensors_in(result)}
        return result

    def knows(self, value: object) -> bool:
        return any(id(tensor) in self.known for tensor in tensors_in(value))


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    """Tensors directly, or in tuples, lists, dictionaries and dataclasses."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in([*value.values()])
    elif is_dataclass(value) and not isinstance(value, type):
        yield from tensors_in([getattr(value, field.name) for field in fields(value)])


def test_a_batch_crosses_few_files_in_one_step():
    """Files with a function that is given the batch, or something computed from it."""
    state = prepare(tiny_config())[1]
    state.model.train()
    steps = Eager(state)
    x, noise = steps.begin()
    traced, given = Traced(x), set()

    def record(frame, event, _):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + 2]
            arguments = [frame.f_locals[name] for name in names if name in frame.f_locals]
            if traced.knows(arguments):
                given.add(code.co_filename)

    with traced:
        sys.setprofile(record)
        try:
            steps.end(steps.advance(x, noise))
        finally:
            sys.setprofile(None)
    assert {Path(file).stem for file in given} >= {"mfcvae", "elbo", "mixture", "state"}
    assert len(given) <= 15, sorted(given)
