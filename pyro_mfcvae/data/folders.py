"""Where published data sets are looked for."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder(given: str | None) -> Path:
    """The folder of downloaded data: given, or MFCVAE_DATA, or ``data``."""
    return Path(given or os.environ.get("MFCVAE_DATA") or "data").expanduser()
