"""What settings and commands know by name."""

from __future__ import annotations

import click

from pyro_mfcvae.cli.options import own_files, paragraph


@click.command()
@click.argument("kind", required=False)
@own_files
def parts(kind: str | None) -> None:
    """List models, guides, likelihoods, networks, data sets and file formats.

    KIND is one of those in the singular. With --model or --guide what their files register is
    listed, too.

    \b
    Examples:
      mfcvae parts
      mfcvae parts guide
      mfcvae parts likelihood --model mine.py:Own
    """
    from pyro_mfcvae.data.formats import FORMATS
    from pyro_mfcvae.data.registry import DATASETS
    from pyro_mfcvae.guides import GUIDES
    from pyro_mfcvae.models import MODELS
    from pyro_mfcvae.nets.registry import DECODERS, ENCODERS, LIKELIHOODS
    from pyro_mfcvae.registry import unknown
    from pyro_mfcvae.training.start.pretrain import PRETRAININGS

    known = {
        table.what: table
        for table in (
            MODELS,
            GUIDES,
            LIKELIHOODS,
            ENCODERS,
            DECODERS,
            DATASETS,
            FORMATS,
            PRETRAININGS,
        )
    }
    if kind is not None and kind not in known:
        raise unknown("kind", kind, known)
    for table in known.values() if kind is None else [known[kind]]:
        click.echo(f"{table.what}:")
        for name in sorted(table):
            click.echo(paragraph(f"  {name}: ", table.describe(name)))
