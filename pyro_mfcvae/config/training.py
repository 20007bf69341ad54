"""Settings of a training."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from pyro_mfcvae.config.parts import Count, Part, Positive, SameRun, Whole, settings


def _one_as_tuple(given: Any) -> Any:
    return (given,) if isinstance(given, int) else given


def _name_as_tuple(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


@settings
class WarpConfig:
    """How far random warps of pictures go.

    Attributes:
        rotation: largest rotation, in degrees, either way.
        shear: largest shear, as a part of the distance from the middle.
        scale: each axis is scaled by a factor from exp(-scale) to exp(scale).
        shift: largest shift, in pixels, either way.
        elastic: standard deviation, in pixels, of smooth displacements.
        facets: facets whose encoder sees the warped pictures; None means all. What a warp changes
            is left to the others.
    """

    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    shear: Annotated[float, Field(ge=0, le=2)] = 0.0
    scale: Annotated[float, Field(ge=0, le=2)] = 0.0
    shift: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    elastic: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    facets: Annotated[tuple[Whole, ...], Field(min_length=1)] | None = None


@settings
class TrainingConfig:
    """How to train.

    Attributes:
        batch_size: B, observations in a batch.
        learning_rate: learning rate of Adam.
        strata: what batches hold where the data set names strata: ``"shared"``, equal shares of
            all, or ``"apart"``, each batch observations of one, by turns. Strata are no labels:
            they choose what comes together, and a model is not told which is which.
        mixture_learning_rate: learning rate of Adam for the mixtures' parameters; None takes
            learning_rate.
        learning_rate_schedule: ``"constant"``, ``"cosine"`` down to 0 over the whole run, or
            ``"step"``, as learning_rate_decay, decay_every and learning_rate_floor say.
        learning_rate_decay: factor of the learning rates at every step of the schedule.
        decay_every: epochs between steps of the schedule.
        learning_rate_floor: learning rate below which no step of the schedule goes.
        learning_rate_warm_up: steps over which the learning rates rise from 0 to the schedule's.
        adam_eps: epsilon of Adam.
        max_gradient_norm: norm over all parameters to which larger gradients are scaled down; None
            leaves them as they are: no limit suits all presets, and it costs time at every step.
        pretraining: how encoder and decoder are pretrained, before the mixtures are placed; None
            leaves it out.
        epochs_per_step: epochs of each progressive step in order of time (the first belongs to the
            deepest facet), one per facet; a single number trains all facets at once.
        n_fade_in_batches: batches that a facet takes to fade in.
        fade_in_shape: how the weight of a facet rises while it fades in.
        kl_floor: weight of a facet's KL terms before its turn; they rise from there to 1 as the
            facet fades in.
        kl_start: factor of all KL terms at first.
        kl_warm_up: epochs between which that factor rises from kl_start to 1.
        kl_weight: further factor of all KL terms, as in a beta-VAE.
        min_information: least cost of the KL of every facet's clusters, in nats, on the mean over
            the batch; 0 leaves it out.
        refit_mixtures: epochs before which the mixtures of the facets that train by then are fitted
            anew, with covariances and weights, to samples of q(z | x); a network q(c | x) is then
            fitted to them.
        keep_best: end with the parameters that had the best held-out ELBO, which is measured some
            50 times once all terms have their full weight; labels are not read. Runs and estimators
            do so.
        warp: random warps of the pictures that encoders see, while the decoder has to give the
            pictures as they are; None leaves that out.
        device: where the run is computed: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...
        dtype: type of parameters and activations.
        precision: precision of the networks' products: ``"full"``, ``"tf32"`` (CUDA only: 10 bits
            of mantissa) or ``"bf16"`` (7 bits). Parameters, densities and the optimiser keep dtype.
        step: how steps are computed: ``"eager"``, ``"traced"`` as one graph of operations, which
            spares Python and gives the same numbers bit for bit, or ``"compiled"``, that graph
            through a C++ compiler, which changes rounding. ``"auto"`` times the first two in runs
            of 1,000 steps and more on a CPU, and takes the faster; models of one's own stay eager.
        cuda_graph: on CUDA, capture the step once and replay it, which spares the launches.
        n_threads: CPU threads, of which no more are used than the machine has CPUs; 0 leaves them
            as they are.
        log_every: steps between log points.
        checkpoint_every: epochs between checkpoints; 0 keeps the last one only.
        evaluate_every: epochs between measurements on held-out data; 0 leaves them to the end.
        track: trackers that are told every log point, such as ``"tensorboard"``.
    """

    batch_size: Count
    learning_rate: Positive
    strata: Literal["shared", "apart"] = "shared"
    mixture_learning_rate: Positive | None = None
    learning_rate_schedule: Literal["constant", "cosine", "step"] = "constant"
    learning_rate_decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    decay_every: Count = 10
    learning_rate_floor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    learning_rate_warm_up: Whole = 0
    adam_eps: Positive = 1e-8
    max_gradient_norm: Positive | None = None
    pretraining: Part | None = None
    epochs_per_step: Annotated[
        tuple[Count, ...], Field(min_length=1), BeforeValidator(_one_as_tuple)
    ]
    n_fade_in_batches: Whole = 0
    fade_in_shape: Literal["linear", "cosine"] = "linear"
    kl_floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    kl_start: Annotated[float, Field(ge=0, le=1)] = 1.0
    kl_warm_up: tuple[Whole, Whole] = (0, 0)
    kl_weight: Positive = 1.0
    min_information: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    refit_mixtures: tuple[Whole, ...] = ()
    keep_best: bool = False
    warp: WarpConfig | None = None
    device: SameRun[str] = "auto"
    dtype: Literal["float32", "float64"] = "float32"
    precision: Literal["full", "tf32", "bf16"] = "full"
    step: SameRun[Literal["auto", "eager", "traced", "compiled"]] = "auto"
    cuda_graph: SameRun[bool] = True
    n_threads: SameRun[Annotated[Whole, Field(le=4096)]] = 0
    log_every: SameRun[Count] = 50
    checkpoint_every: SameRun[Whole] = 0
    evaluate_every: SameRun[Whole] = 0
    track: SameRun[Annotated[tuple[str, ...], BeforeValidator(_name_as_tuple)]] = ()

    def __post_init__(self) -> None:
        first, last = self.kl_warm_up
        if last < first:
            raise ValueError(f"kl_warm_up must be two epochs in order, got {first} and {last}")
        if self.kl_start < 1 and not last:
            raise ValueError(
                f"kl_start {self.kl_start:g} needs kl_warm_up, the epochs between which it rises "
                "to 1, such as [5,15]"
            )
        if self.precision != "full" and self.dtype != "float32":
            raise ValueError(f"precision {self.precision} is for dtype float32, got {self.dtype}")

    @property
    def n_epochs(self) -> int:
        """Epochs of all progressive steps together."""
        return sum(self.epochs_per_step)
