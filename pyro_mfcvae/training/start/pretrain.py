r"""Pretraining of encoder and decoder as a plain auto-encoder, before the mixtures are placed.

The posterior's mean goes through the decoder, without noise in between, and

.. math::
    \lVert x - \mathrm{decoder}(m(\tilde x)) \rVert^2

falls, where some inputs of :math:`\tilde x` are set to 0. A pretraining is a list of stages, run
one after the other: ``stacked-denoising`` trains pairs of layers from the outside in, then all.

Source: Vincent et al., "Stacked Denoising Autoencoders", JMLR 2010; as DEC (Xie et al., ICML 2016)
and VaDE use it: MFCVAE, Appendix D.5.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyro_mfcvae.config import Component
from pyro_mfcvae.config.options import check_options
from pyro_mfcvae.data.observations import Observations
from pyro_mfcvae.errors import ConfigError, TrainingError
from pyro_mfcvae.inference.noise import derive_seed
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.registry import Registry
from pyro_mfcvae.training.batches import batches_of
from pyro_mfcvae.training.checks import check_last_batch
from pyro_mfcvae.training.say import Say, quiet
from pyro_mfcvae.training.start.mirrored import Map, chain, mirrored_layers, posterior_mean

_SECONDS_PER_LINE = 15.0

PRETRAININGS: Registry[Callable[..., list[Stage]]] = Registry("pretraining")

register_pretraining = PRETRAININGS.register
"""Decorator: make a pretraining known by name to settings and the command line.

It is called as ``function(model, **options)``, changes nothing, and raises a ConfigError where the
model's networks are not such as it needs.
"""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One auto-encoder to train.

    Attributes:
        name: in words.
        trained: the modules whose parameters are.
        reconstruct: corrupted inputs to reconstructions, of the same shape.
        before: observations to inputs, through modules that are left as they are.
        frozen: those modules.
        epochs: over the training observations.
        batch_size: B.
        learning_rate: of Adam.
        corruption: share of the inputs that are set to 0, each independently.
    """

    name: str
    trained: Sequence[nn.Module]
    reconstruct: Map
    before: Map = lambda x: x
    frozen: Sequence[nn.Module] = ()
    epochs: int
    batch_size: int
    learning_rate: float
    corruption: float


def pretraining_stages(model: FacetModel, pretraining: Component, n: int) -> list[Stage]:
    """The stages that the settings ask for; nothing is trained yet.

    Args:
        model: the model.
        pretraining: name and options.
        n: training observations.

    Raises:
        ConfigError: if the name or an option is unknown or wrong, or the networks or the number of
            observations do not fit.
    """
    name, shape = pretraining.name, model.observation.shape
    if model.likelihood.decoder_shape(shape) != shape:
        raise ConfigError(
            "training.pretraining reconstructs observations by their squared error, which fits no "
            "columns of several kinds; set training.pretraining=null"
        )
    pretrain = PRETRAININGS[name]
    check_options(pretrain, pretraining.options, f"pretraining {name!r}", n_given=1)
    stages = pretrain(model, **pretraining.options)
    for stage in stages:
        check_last_batch(model, n, stage.batch_size, "training.pretraining.options.batch_size")
    return stages


@register_pretraining("autoencoder")
def autoencoder(
    model: FacetModel,
    epochs: int = 20,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    corruption: float = 0.2,
) -> list[Stage]:
    """All layers at once, for networks of any kind and any number of facets.

    Args:
        model: the model.
        epochs: over the training observations.
        batch_size: B.
        learning_rate: of Adam.
        corruption: share of the pixels that are set to 0.
    """
    _check(epochs, batch_size, learning_rate, corruption)
    return [_whole(model, epochs, batch_size, learning_rate, corruption)]


@register_pretraining("stacked-denoising")
def stacked_denoising(
    model: FacetModel,
    epochs_per_layer: int = 10,
    epochs: int = 20,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    corruption: float = 0.2,
) -> list[Stage]:
    """Two-layer denoising auto-encoders from the outside in, then all layers at once, clean.

    For one facet whose fully connected encoder and decoder mirror each other. The innermost pair
    is the head's mean and the decoder's first layer; log-variances are not trained.

    Args:
        model: the model.
        epochs_per_layer: of each pair of layers.
        epochs: of all layers, at the end.
        batch_size: B.
        learning_rate: of Adam.
        corruption: share of each pair's inputs that are set to 0.
    """
    _check(epochs_per_layer, batch_size, learning_rate, corruption)
    _check(epochs, batch_size, learning_rate, corruption)
    down, up = mirrored_layers(model)

    def image(h: Tensor) -> Tensor:
        """What the decoder's last layer gives as the means of p(x | z), flat."""
        parameters = h.unflatten(-1, model.observation.shape)
        return model.likelihood(parameters, len(model.observation.shape)).mean.flatten(1)

    stages, n = [], len(down)
    for i, (inner, outer) in enumerate(zip(down, reversed(up), strict=True)):
        latent_mean = posterior_mean if i == n - 1 else _same
        stages.append(
            Stage(
                name=f"pair {i + 1} of {n}",
                trained=[inner, outer],
                reconstruct=chain(inner, latent_mean, outer, image if i == 0 else _same),
                before=chain(_flat, *down[:i]),
                frozen=[*down[:i], *up[n - i :]],
                epochs=epochs_per_layer,
                batch_size=batch_size,
                learning_rate=learning_rate,
                corruption=corruption,
            )
        )
    return [*stages, _whole(model, epochs, batch_size, learning_rate, corruption=0.0)]


def pretrain(
    model: FacetModel, x: Observations, stages: Sequence[Stage], seed: int, say: Say = quiet
) -> None:
    """Run the stages. Order and corruption are functions of the seed.

    Args:
        model: its encoder, heads and decoder are changed in place.
        x: training observations (N, *event).
        stages: from :func:`pretraining_stages`.
        seed: of order and corruption.
        say: is told how far it is, every 15 seconds and after each stage.

    Raises:
        TrainingError: if a parameter is no longer finite afterwards.
    """
    was_training = model.training
    started = time.monotonic()
    for number, stage in enumerate(stages):
        model.train()
        for module in stage.frozen:
            module.eval()
        error = _run(stage, x, derive_seed(seed, "pretraining", number), model, say)
        elapsed = time.monotonic() - started
        say(f"pretraining, {stage.name}: mean squared error {error:.5f} after {elapsed:.0f} s")
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    if not all(bool(values.isfinite().all()) for values in model.parameters()):
        raise TrainingError(
            "parameters are no longer finite after pretraining; lower "
            "training.pretraining.options.learning_rate"
        )


def _run(stage: Stage, x: Observations, seed: int, model: FacetModel, say: Say) -> float:
    """Train one stage; the mean squared error of its last epoch."""
    parameters = [p for module in stage.trained for p in module.parameters()]
    like = parameters[0]
    fused = like.device.type in ("cpu", "cuda")
    optimizer = torch.optim.Adam(parameters, lr=stage.learning_rate, fused=fused or None)
    batches = batches_of(x, stage.batch_size, seed, like.dtype, like.device)
    n_steps = stage.epochs * batches.per_epoch
    began = told = time.monotonic()
    total = like.new_zeros(())
    for step in range(n_steps):
        with torch.no_grad():
            inputs = stage.before(batches(step))
            corrupted = _corrupt(inputs, stage.corruption, derive_seed(seed, step))
        loss = F.mse_loss(stage.reconstruct(corrupted), inputs)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total = loss.detach() + (total if step % batches.per_epoch else 0)
        now = time.monotonic()
        if now - told > _SECONDS_PER_LINE:  # only then the device is waited for
            told = now
            left = (now - began) / (step + 1) * (n_steps - step - 1)
            say(
                f"pretraining, {stage.name}: step {step + 1}/{n_steps}  "
                f"mean squared error {loss.item():.5f}  {left:.0f} s left"
            )
    return total.item() / batches.per_epoch


def _corrupt(inputs: Tensor, share: float, seed: int) -> Tensor:
    if share == 0:
        return inputs
    generator = torch.Generator(device=inputs.device).manual_seed(seed)
    noise = torch.rand(inputs.shape, generator=generator, device=inputs.device)
    return inputs * (noise >= share)


def _whole(
    model: FacetModel, epochs: int, batch_size: int, learning_rate: float, corruption: float
) -> Stage:
    return Stage(
        name="all layers",
        trained=[*model.posterior_networks, model.decoder],
        reconstruct=lambda x: model.decode([q.mean for q in model.encode(x)]).mean,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        corruption=corruption,
    )


def _check(epochs: int, batch_size: int, learning_rate: float, corruption: float) -> None:
    if epochs < 1 or batch_size < 2 or learning_rate <= 0 or not 0 <= corruption < 1:
        raise ConfigError(
            "a pretraining needs epochs from 1 on, batches of 2 or more, a learning rate above 0 "
            f"and a corruption from 0 to below 1, got {epochs}, {batch_size}, {learning_rate} "
            f"and {corruption}"
        )


def _same(h: Tensor) -> Tensor:
    return h


def _flat(x: Tensor) -> Tensor:
    return x.flatten(1)
