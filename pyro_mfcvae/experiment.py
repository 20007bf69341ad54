"""A whole run: data, model, training, evaluation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from pyro_mfcvae.config import Config, config_to_json
from pyro_mfcvae.data import Dataset, in_folder, load_dataset
from pyro_mfcvae.errors import ConfigError, DataError, OtherDataWarning, RunError
from pyro_mfcvae.fade_in import KlFloor
from pyro_mfcvae.files import write_whole
from pyro_mfcvae.models import FacetModel, build_model
from pyro_mfcvae.noise import derived_seed
from pyro_mfcvae.runs import Run
from pyro_mfcvae.training import Callback, TrainingState, fit, new_state
from pyro_mfcvae.training.callbacks import MetricsLog, StopAtNonsense
from pyro_mfcvae.training.checkpoints import Checkpoints, newest_checkpoint, restore
from pyro_mfcvae.training.initialise import initialise_mixtures, initialise_networks

if TYPE_CHECKING:
    from pathlib import Path

Say = Callable[[str], None]

_SLOW = ("importance_weighted_bound", "probe")  # kept while model and data are the same
_N_WEIGHED = 1000  # observations for the importance-weighted bound


def resolve_device(name: str) -> torch.device:
    """The device called name; ``"auto"`` is CUDA where there is any, else the CPU.

    Raises:
        ConfigError: if it does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"device {name!r} cannot be used here ({reason}); try cpu") from None
    if device.type == "meta":
        raise ConfigError(f"device {name!r} holds no numbers; try cpu")
    return device


def prepare(config: Config) -> tuple[Dataset, TrainingState]:
    """Load the data and build, check and initialise everything for the first step.

    Nothing is written, and nothing long is begun before all settings have been checked against
    the data.

    Raises:
        ConfigError: if the settings do not fit each other or the data.
        DataError: if the data cannot be used.
    """
    device = resolve_device(config.training.device)
    dataset = load_dataset(config.data)
    _check_clusters(config, dataset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "weights"))
        model = build_model(config.model, dataset.observation)
        model.to(device, getattr(torch, config.training.dtype))
        x = dataset.split("train")[0].to(device)
        state = new_state(model, x, config)
        state.data = dataset.fingerprint
        initialise_networks(model, x, config.model.initialisation, config.model.initial_spread)
    return dataset, state


def train(
    config: Config,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    say: Say = lambda _: None,
) -> tuple[Run, TrainingState, Dataset]:
    """Train a model from the beginning, in a new run folder.

    Args:
        config: the settings.
        out: the run folder, which must not exist; None numbers one under ``runs``.
        callbacks: of the training loop, after those that log and save.
        say: is told what is going on.

    Returns:
        the run, the state after its last step, and the data.

    Raises:
        ConfigError, DataError: before anything is written, if something does not fit.
        TrainingError: if training breaks down.
    """
    Run.check_path(out)
    say("preparing the data")
    dataset, state = prepare(config)
    _warn_of_unfaded_facets(state, say)
    say("placing the mixtures")
    initialise_mixtures(
        state.model, state.batches.x, config.model.mixture_initialisation, config.seed
    )
    run = Run.create(config, out)
    say(f"training in {run.path}")
    with _alone(run):
        return run, _fit(run, state, dataset, callbacks), dataset


def resume(
    run: Run,
    callbacks: Sequence[Callback] = (),
    say: Say = lambda _: None,
    data_dir: Path | str | None = None,
    device: str | None = None,
) -> tuple[TrainingState, Dataset]:
    """Go on with an interrupted run where its newest whole checkpoint left it.

    Args:
        run: the run.
        callbacks: of the training loop, after those that log and save.
        say: is told what is going on.
        data_dir: folder where the data's files are by now; None leaves the settings as they are.
        device: to train on from now on; None leaves the settings as they are.

    Raises:
        ConfigError, DataError: if the new places do not fit; the settings stay as they were.
        RunError: if there is no checkpoint to go on from, the settings or the data have changed,
            or another process is training this run.
        TrainingError: if training breaks down.
    """
    config = run.config
    if data_dir is not None:
        config = replace(config, data=in_folder(config.data, data_dir))
    if device is not None:
        config = replace(config, training=replace(config.training, device=device))
    with _alone(run):
        checkpoint = newest_checkpoint(run.checkpoints)
        checkpoint.check_settings(config)
        say("preparing the data")
        dataset, state = prepare(config)
        if checkpoint.step < state.n_steps:
            restore(state, checkpoint)
        if config != run.config:
            write_whole(run.path / "config.json", config_to_json(config))
            run = Run(run.path)
        if checkpoint.step == state.n_steps:
            say(f"{run.path} is finished: nothing is left to train")
            state.model.load_state_dict(run.model(checkpoint).state_dict())
            state.step = state.n_steps
            return state, dataset
        say(f"going on at step {state.step} of {state.n_steps} in {run.path}")
        return _fit(run, state, dataset, callbacks), dataset


@dataclass(frozen=True, eq=False)
class Trained:
    """A run's model, ready to be looked at.

    Attributes:
        model: on the run's device, in evaluation mode.
        dataset: the run's data.
        step: steps done.
        fade: fade weights of the last of them, (J,).
        checksum: of the model.
    """

    model: FacetModel
    dataset: Dataset
    step: int
    fade: tuple[float, ...]
    checksum: str


def open_trained(run: Run, dataset: Dataset | None = None) -> Trained:
    """A run's model at its newest checkpoint, on the run's device, and the data.

    Args:
        run: the run.
        dataset: its data; None loads them again.

    Raises:
        ConfigError: if the data are not such as the model was made for.
    """
    checkpoint = run.checkpoint()
    model = run.model(checkpoint).to(_device_or_cpu(run.config.training.device))
    if dataset is None:
        dataset = run.dataset()
    shape, expected = dataset.observation.shape, model.observation.shape
    if shape != expected:
        raise ConfigError(f"the run's model takes observations {expected}, the data have {shape}")
    if checkpoint.data not in (None, dataset.fingerprint):
        warnings.warn(
            f"these are not the data that {run.path} was trained on: other observations, or "
            "another split, so that held-out observations may have been trained on",
            OtherDataWarning,
            stacklevel=2,
        )
    return Trained(model, dataset, checkpoint.step, checkpoint.fade, checkpoint.model_checksum)


def evaluate_run(
    run: Run,
    dataset: Dataset | None = None,
    probed: bool = False,
    n_importance_samples: int = 0,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Measure a run's model and write ``evaluation.json``.

    A probe and an importance-weighted bound measured earlier are kept, if model and data are the
    same.

    Args:
        run: the run.
        dataset: its data; None loads them again.
        probed: train a classifier of every factor on every facet's latents, too; this may take
            minutes.
        n_importance_samples: S of the importance-weighted bound, which is measured on up to
            1,000 observations of each part, evenly spread; 0 leaves it out.
        say: is told what is going on.

    Returns:
        as :func:`~pyro_mfcvae.evaluation.evaluate`, with the model's ``"step"`` of ``"n_steps"``,
        the digests of ``"data"`` and ``"model"`` and, if asked for, ``"probe"`` and
        ``"importance_weighted_bound"``.

    Raises:
        DataError: if a probe is asked for and there are no labels.
    """
    from pyro_mfcvae import evaluation

    trained = open_trained(run, dataset)
    if probed and not trained.dataset.labels:
        raise DataError(f"{trained.dataset.name}: a probe needs labels, and there are none")
    guide, before = run.config.guide, run.evaluation() or {}
    results = {"step": trained.step, "n_steps": run.n_steps(len(trained.dataset.train))}
    with KlFloor(run.config.training.kl_floor):  # so that it is the objective of the training
        results |= evaluation.evaluate(
            trained.model, trained.dataset, guide.name, guide.n_samples, trained.fade
        )
    results |= {"data": trained.dataset.fingerprint, "model": trained.checksum}
    if all(before.get(key) == results[key] for key in ("data", "model")):
        results |= {key: before[key] for key in _SLOW if key in before}
    if n_importance_samples:
        say("weighing samples")
        results["importance_weighted_bound"] = _bound(trained, n_importance_samples)
    if probed:
        n_fits = (trained.model.n_facets + 1) * len(trained.dataset.labels)
        say(f"training {n_fits} classifiers")
        results["probe"] = evaluation.probe(trained.model, trained.dataset, trained.fade)
    run.write_evaluation(results)
    return results


def _bound(trained: Trained, n_samples: int) -> dict[str, Any]:
    """The mean importance-weighted bound on both parts of the data."""
    from pyro_mfcvae.evaluation import importance_weighted_bound

    bounds: dict[str, Any] = {"n_samples": n_samples, "n_observations": {}}
    for part in ("train", "test"):
        x = spread_out(trained.dataset.split(part)[0], _N_WEIGHED)
        bounds["n_observations"][part] = len(x)
        bound = importance_weighted_bound(trained.model, x, n_samples, trained.fade)
        bounds[part] = bound.mean().item()
    return bounds


def spread_out(x: Tensor, n: int) -> Tensor:
    """At most n of the observations (N, *event), evenly spread."""
    return x[torch.linspace(0, len(x) - 1, min(n, len(x))).long()]


def compare_run(
    run: Run,
    dataset: Dataset | None = None,
    guides: Sequence[str] | None = None,
    n_samples: Sequence[int] = (1, 2, 8, 32),
    n_observations: int = 100,
    n_draws: int = 20,
    on_draw: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Compare guides on held-out observations and write ``comparison.json``.

    Args:
        run: the run whose model is taken as it is.
        dataset: its data; None loads them again.
        guides: names; None takes all.
        n_samples: numbers S of samples per observation.
        n_observations: how many held-out observations, evenly spread.
        n_draws: draws of the noise.
        on_draw: called after every pass of one guide.

    Returns:
        as :func:`~pyro_mfcvae.evaluation.compare_guides`, and the model's ``"step"``.
    """
    from pyro_mfcvae.evaluation import compare_guides

    trained = open_trained(run, dataset)
    x = spread_out(trained.dataset.split("test")[0], n_observations)
    with KlFloor(run.config.training.kl_floor):
        results = compare_guides(
            trained.model, x, guides, n_samples, n_draws, trained.fade, run.config.seed, on_draw
        )
    results = {"step": trained.step, **results}
    run.write_comparison(results)
    return results


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    """Keep other processes from training the same run."""
    try:
        with FileLock(run.path / ".lock", timeout=0):
            yield
    except Timeout:
        raise RunError(
            f"another process is training {run.path}; wait for its end, or interrupt it"
        ) from None


def _fit(
    run: Run, state: TrainingState, dataset: Dataset, callbacks: Sequence[Callback]
) -> TrainingState:
    from pyro_mfcvae.evaluation import HeldOutLog

    own = [
        StopAtNonsense(),
        MetricsLog(run.metrics_path),
        HeldOutLog(dataset, run.metrics_path),
        Checkpoints(run.checkpoints),
    ]
    return fit(state, [*own, *callbacks])


def _warn_of_unfaded_facets(state: TrainingState, say: Say) -> None:
    for j, weight in enumerate(state.schedule(state.n_steps - 1)):
        if weight < 1:
            say(
                f"warning: facet {j} will have a fade weight of {weight:.2f} at the end of this "
                "run; train longer (training.epochs_per_step) or lower training.n_fade_in_batches"
            )


def _device_or_cpu(name: str) -> torch.device:
    """The device that a run was trained on, or the CPU where there is none like it."""
    try:
        return resolve_device(name)
    except ConfigError:
        return torch.device("cpu")


def _check_clusters(config: Config, dataset: Dataset) -> None:
    most = max(facet.n_clusters for facet in config.model.facets)
    if most > len(dataset.train):
        raise ConfigError(
            f"a facet has {most} clusters but there are only {len(dataset.train)} training "
            "observations; give fewer clusters with --facets D:K,D:K"
        )
