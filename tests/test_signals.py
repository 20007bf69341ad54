"""How processes end that are asked to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from pyro_mfcvae.signals import Interrupted, ending_in_time, status_of

# Hashing hears of no signal, and lets other threads work, as the products of a large model do.
DEAF = """
import hashlib, os, signal, threading
from pyro_mfcvae.signals import ending_in_time

def stop(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.{name}, {handler})
with ending_in_time({seconds}):
    threading.Timer(0.1, os.kill, [os.getpid(), signal.{name}]).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", {n})
"""


def _done(
    n: int, name: str = "SIGTERM", handler: str = "stop", seconds: float = 0.3
) -> subprocess.CompletedProcess:
    code = DEAF.format(n=n, name=name, handler=handler, seconds=seconds)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_a_status_tells_the_signal():
    assert status_of(KeyboardInterrupt()) == 130
    assert status_of(Interrupted()) == 130
    assert status_of(Interrupted(signal.SIGTERM)) == 143


@pytest.mark.skipif(os.name == "nt", reason="clusters run on other systems")
def test_what_hears_of_no_signal_is_ended_in_time():
    began = time.monotonic()
    done = _done(2**31 - 1)  # takes minutes
    assert (done.returncode, done.stdout) == (143, "")
    assert "whole" in done.stderr
    assert time.monotonic() - began < 30


@pytest.mark.skipif(os.name == "nt", reason="clusters run on other systems")
@pytest.mark.parametrize(
    ("name", "handler", "seconds", "expected"),
    [
        ("SIGTERM", "stop", 60, "KeyboardInterrupt"),
        ("SIGINT", "stop", 0.3, "KeyboardInterrupt"),
        ("SIGHUP", "signal.SIG_IGN", 0.3, ""),
    ],
)
def test_what_ends_by_itself_or_may_go_on_is_left_alone(name, handler, seconds, expected):
    done = _done(2 * 10**6, name, handler, seconds)  # about a second
    assert done.stderr.strip().rpartition("\n")[2] == expected
    assert "whole" not in done.stderr


def test_nothing_is_left_of_watching():
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with ending_in_time():
        pass
    assert signal.set_wakeup_fd(before) == before
