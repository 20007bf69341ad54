"""The figures of a run: what its model says of held-out data, drawn into the run's folder."""

from pyro_mfcvae.drawing.run import draw_comparison, draw_run

__all__ = ["draw_comparison", "draw_run"]
