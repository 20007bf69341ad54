"""Where log points go besides a run's own log: TensorBoard, MLflow, Trackio, Weights & Biases."""

from pyro_mfcvae.training.trackers import mlflow, tensorboard, trackio, wandb
from pyro_mfcvae.training.trackers.base import TRACKERS, Tracked, Tracker, register_tracker
from pyro_mfcvae.training.trackers.tracking import Tracking, check_trackers, trackings

__all__ = [
    "TRACKERS",
    "Tracked",
    "Tracker",
    "Tracking",
    "check_trackers",
    "mlflow",
    "register_tracker",
    "tensorboard",
    "trackings",
    "trackio",
    "wandb",
]
