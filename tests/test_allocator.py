"""Errors that say that there is too little memory."""

from __future__ import annotations

import errno
import os

import pytest
import torch

from pyro_mfcvae.allocator import is_out_of_memory


def _of_torch() -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    return caught.value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (_of_torch(), True),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), True),
        (ImportError("core.so: failed to map segment from shared object"), True),
        (ImportError("No module named 'pandas'"), False),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_says_that_memory_is_short(error, expected):
    assert is_out_of_memory(error) is expected
