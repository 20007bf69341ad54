"""Memory that a process keeps, and errors that say that there is too little of it."""

from __future__ import annotations

import ctypes
import errno
import re
import sys

# Parameters of glibc's mallopt, and what they are set to.
_SETTINGS = {
    -8: 1,  # M_ARENA_MAX: all threads share one heap
    -1: 2**31 - 1,  # M_TRIM_THRESHOLD, bytes: nothing is given back to the system
    -2: 2**26,  # M_TOP_PAD, bytes: the heap grows in large pieces
    -3: 2**25,  # M_MMAP_THRESHOLD, bytes: only tensors above this, its highest, stand apart
}


def keep_memory() -> bool:
    """Let the process keep the memory that it once had; returns whether it will.

    Otherwise a step on a CPU spends some percent of its time on pages that it gave back a step
    before (7 % with the networks for MNIST). Only for glibc. It lasts as long as the process, so it
    is for the command line and for programs that do nothing else; the library leaves it to them.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(parameter, value) for parameter, value in _SETTINGS.items())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice; torch has no type for it on a CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    # The last is what a library says that there is no room to load.
    told = "out of memory|(can't|cannot) allocate|bad_alloc|failed to map segment"
    says = re.search(told, str(error), re.IGNORECASE)
    return isinstance(error, RuntimeError | ImportError) and bool(says)
