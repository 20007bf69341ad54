"""The optimiser of a run."""

from __future__ import annotations

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
    """Adam over all learnt parameters, those of the mixtures in a group of their own.

    Args:
        model: the model, on the training device.
        config: learning rates and epsilon.
        capturable: keep step counts and learning rates on the device, as CUDA graphs need it.
    """
    mixtures = {id(p) for p in model.facets.parameters()}
    learnt = [p for p in model.parameters() if p.requires_grad]
    rate = config.learning_rate
    groups = [
        {"params": [p for p in learnt if id(p) not in mixtures], "initial_lr": rate},
        {
            "params": [p for p in learnt if id(p) in mixtures],
            "initial_lr": config.mixture_learning_rate or rate,
        },
    ]
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
