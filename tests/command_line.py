"""The command line, as tests call it."""

from __future__ import annotations

from click.testing import CliRunner, Result

from pyro_mfcvae.cli import main


def mfcvae(*words: object, status: int = 0, piped: str | bytes | None = None) -> Result:
    """What a command prints, if it ends with this status."""
    result = CliRunner().invoke(main, list(map(str, words)), prog_name="mfcvae", input=piped)
    assert result.exit_code == status, result.output
    return result
