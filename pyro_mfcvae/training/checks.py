"""What a training refuses before its first step, because settings, model and data do not fit."""

from __future__ import annotations

from torch import Tensor, nn

from pyro_mfcvae.config import Config
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.models.base import FacetModel

LARGE = 100.0  # for a value
STEADY = (
    "lower training.learning_rate, or raise the likelihood's scale or the facets' initial_variance"
)
STANDARDISE = "standardise them (mean 0, standard deviation 1), or bring them to [0, 1]"


def large_values(observation: ObservationSpec, config: Config) -> str:
    """What to say of real numbers that are far from one; nothing where there are none.

    Networks start from features of about one, and what is far from that makes them diverge. Counts
    are what they are.
    """
    largest = max(-observation.low, observation.high)
    is_large = largest > LARGE and config.model.likelihood.name == "gaussian"
    return f"values of x go up to {largest:,.6g}" if is_large else ""


def check_objective(model: FacetModel, config: Config, n_processes: int) -> None:
    """Refuse what would make another objective than was asked for.

    Args:
        model: the model.
        config: settings of the run.
        n_processes: that share each batch.

    Raises:
        ConfigError: if the settings do not fit the model or the processes.
    """
    training, structure = config.training, model.structure
    if len(training.epochs_per_step) > 1 and not structure.fades_in:
        raise ConfigError(
            "the facets of this model depend on each other and train together: give "
            f"training.epochs_per_step a single number, such as {training.n_epochs}, got "
            f"{list(training.epochs_per_step)}"
        )
    if training.min_information and not (structure.clustered and config.guide.name != "enumerate"):
        raise ConfigError(
            "training.min_information is about the KL of the clusters, and there is none: guide "
            f"{config.guide.name} sums clusters out, or no facet has clusters; set "
            "training.min_information=0"
        )
    if training.refit_mixtures and not any(facet.can_refit for facet in structure.facets):
        raise ConfigError(
            "training.refit_mixtures fits mixtures anew, but this model has none that can be "
            "fitted, as no facet has clusters; leave it out"
        )
    warp = training.warp
    if warp is not None and warp.facets is not None and structure.infers_clusters_first:
        raise ConfigError(
            "layers that are told the clusters see the same observations: set "
            "training.warp.facets to null, or --set model.options.conditional=false"
        )
    if structure.group_size not in (None, training.batch_size):
        raise ConfigError(
            f"observations of a batch share a latent: training.batch_size ({training.batch_size}) "
            f"and model.options.group_size ({structure.group_size}) must be the same"
        )
    if n_processes > 1 and (structure.group_size is not None or training.min_information):
        raise ConfigError(
            "several processes share a batch, but this objective needs the whole of it (a latent "
            "that the batch shares, or training.min_information); train on one device"
        )


def check_state(model: FacetModel) -> None:
    """Refuse a model that checkpoints cannot hold.

    Raises:
        ConfigError: if a part of its state is no tensor.
    """
    others = [name for name, value in model.state_dict().items() if not isinstance(value, Tensor)]
    if others:
        raise ConfigError(
            f"the state of a model must be tensors, for checkpoints hold nothing else, but "
            f"{', '.join(others)} of {type(model).__name__} is none; register it as a buffer, or "
            "leave get_extra_state out"
        )


def check_last_batch(
    model: FacetModel, n: int, batch_size: int, setting: str, n_processes: int = 1
) -> None:
    """Refuse a last batch with too few observations for each process to have its own.

    Args:
        model: the model. Batch norm needs two observations, anything else one.
        n: training observations.
        batch_size: B.
        setting: its name, for the message.
        n_processes: W, which share each batch.

    Raises:
        ConfigError: if they do not fit.
    """
    each = 2 if has_batch_norm(model) else 1
    needed = each * n_processes
    if min(batch_size, last := (n - 1) % batch_size + 1) >= needed:
        return
    fitting = [b for b in range(needed, n + 1) if (n - 1) % b + 1 >= needed]
    best = min(fitting, key=lambda b: abs(b - batch_size), default=None)
    raise ConfigError(
        f"with {n} training observations and {setting}={batch_size} the last batch holds {last}, "
        f"too few for {n_processes} process{'es' * (n_processes > 1)} with {each} for each"
        + ("; batch norm needs two" if each == 2 else "")
        + (f"; choose another batch size, such as {best}" if best else "; choose fewer processes")
    )


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a part of it is batch norm."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
