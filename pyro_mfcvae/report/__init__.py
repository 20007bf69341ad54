"""One self-contained HTML page on what a run found, or on several runs side by side."""

from pyro_mfcvae.report.page import write_report

__all__ = ["write_report"]
