"""The networks of models: what they refuse, and with how many bits they compute."""

from __future__ import annotations

import pytest
import torch
from models import observations, small_model

from pyro_mfcvae.models import MFCVAE, VLAC


@pytest.mark.parametrize("kind", [MFCVAE, VLAC])
def test_observations_of_another_shape_or_kind_are_refused(kind):
    model = kind((2,), "2:3,2:2", "gaussian")
    with pytest.raises(ValueError, match=r"shape \(B, 2\), got \(5, 3\)"):
        model.encode(torch.zeros(5, 3))
    with pytest.raises(TypeError, match=r"floating-point observations, got torch\.int64"):
        model.encode(torch.zeros(5, 2, dtype=torch.int64))


@pytest.mark.parametrize("is_training", [True, False])
def test_fewer_bits_are_for_the_networks_of_a_model_that_trains(is_training):
    model, x = small_model().float().train(is_training), observations().float()
    model.training_dtype = torch.bfloat16
    computed = []
    for part in (model.encoder, model.decoder):
        part.register_forward_hook(lambda *of: computed.append(of[2]))
    posteriors, densities = model.encode(x), model.decode([torch.zeros(6, d) for d in (3, 2)])
    found = [computed[0][0].dtype, computed[1].dtype]
    assert found == 2 * [torch.bfloat16 if is_training else torch.float32]
    assert posteriors[0].mean.dtype == densities.mean.dtype == torch.float32
