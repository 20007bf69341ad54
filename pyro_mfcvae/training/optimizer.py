"""The optimiser of a run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pyro_mfcvae.config import TrainingConfig
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.training.schedules import learning_rate


def is_captured(config: TrainingConfig, device: torch.device, n_processes: int) -> bool:
    """Whether steps are captured as CUDA graphs, which cannot hold what processes tell each other.

    Args:
        config: which may switch it off.
        device: to train on.
        n_processes: W, which share each batch.
    """
    return config.cuda_graph and device.type == "cuda" and n_processes == 1


def adam(model: FacetModel, config: TrainingConfig, capturable: bool = False) -> torch.optim.Adam:
    """Adam over all learnt parameters, those of the mixtures last.

    They are a group of their own if their rate is, as each group costs time at every step.

    Args:
        model: the model, on the training device.
        config: learning rates and epsilon.
        capturable: keep step counts and learning rates on the device, as CUDA graphs need it.
    """
    of_mixtures = {id(p) for p in model.facets.parameters()}
    learnt = [p for p in model.parameters() if p.requires_grad]
    others = [p for p in learnt if id(p) not in of_mixtures]
    mixtures = [p for p in learnt if id(p) in of_mixtures]
    rate, mixture_rate = config.learning_rate, config.mixture_learning_rate or config.learning_rate
    groups: list[dict[str, Any]] = [{"params": others, "initial_lr": rate}]
    if mixture_rate == rate:
        groups[0]["params"] += mixtures
    else:
        groups.append({"params": mixtures, "initial_lr": mixture_rate})
    if capturable:
        for group in groups:
            group["lr"] = torch.tensor(group["initial_lr"], device=learnt[0].device)
    fused = all(p.device.type in ("cpu", "cuda") for p in learnt)
    return torch.optim.Adam(
        groups, lr=rate, eps=config.adam_eps, fused=fused or None, capturable=capturable
    )


def update(optimizer: torch.optim.Optimizer, config: TrainingConfig) -> None:
    """Take a step with the parameters' gradients, which are dropped then.

    Args:
        optimizer: over all learnt parameters.
        config: says how large the gradients may be.
    """
    if config.max_gradient_norm is not None:
        learnt = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(learnt, config.max_gradient_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def set_learning_rates(
    optimizer: torch.optim.Optimizer,
    config: TrainingConfig,
    step: int,
    n_steps: int,
    per_epoch: int,
) -> None:
    """Give each group its learning rate at a step; arguments as for :func:`learning_rate`."""
    for group in optimizer.param_groups:
        rate = learning_rate(config, group["initial_lr"], step, n_steps, per_epoch)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
