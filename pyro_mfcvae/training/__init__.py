"""Training: state, loop, callbacks, checkpoints."""

from pyro_mfcvae.training.callbacks import Callback
from pyro_mfcvae.training.fitted import Fitted, fit, take_steps
from pyro_mfcvae.training.state import TrainingState, new_state

__all__ = ["Callback", "Fitted", "TrainingState", "fit", "new_state", "take_steps"]
