"""Training: state, loop, callbacks, checkpoints."""

from pyro_mfcvae.training.callbacks import Callback
from pyro_mfcvae.training.loop import fit, fit_together
from pyro_mfcvae.training.state import TrainingState, new_state

__all__ = ["Callback", "TrainingState", "fit", "fit_together", "new_state"]
