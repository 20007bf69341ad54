"""All commands. Each imports the library when it runs, so that ``--help`` is quick."""

from __future__ import annotations

from pyro_mfcvae.cli.analyse import compare, evaluate, figures
from pyro_mfcvae.cli.bench import bench
from pyro_mfcvae.cli.exchange import export, import_, presets, pretrained
from pyro_mfcvae.cli.intervene import intervene
from pyro_mfcvae.cli.parts import parts
from pyro_mfcvae.cli.report import report
from pyro_mfcvae.cli.reproduce import reproduce
from pyro_mfcvae.cli.sweep import sweep
from pyro_mfcvae.cli.train import train

COMMANDS = (
    train,
    evaluate,
    figures,
    intervene,
    compare,
    report,
    reproduce,
    bench,
    sweep,
    import_,
    export,
    pretrained,
    presets,
    parts,
)
