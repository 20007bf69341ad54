"""Against outputs of the first authors' implementation, with z at the mean of q(z | x)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pyro_mfcvae import FadeInSchedule, import_official
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.noise import Noise

NAMES = ("fc_diag_bernoulli_J2", "fc_full_gaussian_J2", "conv_full_gaussian_J2")
EPOCHS = (0, 6, 24)
EXACT = 1e-8
CLAMPED = 1e-6  # their clamp of log q(c) at 1e-6 shows in three figures


@pytest.fixture(params=NAMES)
def reference(request, golden):
    arrays = dict(np.load(golden / f"{request.param}.npz"))
    config = json.loads(str(arrays.pop("config")))
    state = torch.load(golden / f"{request.param}.pt", weights_only=True)
    return import_official(state, config).double(), config, arrays


def _five_terms(model, x, fade):
    posteriors = model.encode(x)
    zs = [q.mean for q in posteriors]
    joint = [(f, z, f.responsibilities(z)) for f, z in zip(model.facets, zs, strict=True)]
    return {
        "log_p_x_given_z": model.decode(zs, fade).log_prob(x),
        "E_log_p_z_given_c": sum((q * f.component_log_prob(z)).sum(-1) for f, z, q in joint),
        "E_log_p_c": sum((q * f.log_weights).sum(-1) for f, _, q in joint),
        "E_log_q_z_given_x": sum(q.log_prob(z) for q, z in zip(posteriors, zs, strict=True)),
        "E_log_q_c_given_x": sum((q * f.log_responsibilities(z)).sum(-1) for f, z, q in joint),
    }


@pytest.mark.parametrize("epoch", EPOCHS)
def test_terms_and_outputs(reference, epoch):
    model, config, arrays = reference
    expected = {k.split("/")[1]: v for k, v in arrays.items() if k.startswith(f"epoch{epoch}/")}
    x = torch.from_numpy(arrays["x"]).reshape(-1, *model.observation.shape)
    fade = torch.from_numpy(expected["alpha_decoder"])
    zeros = {
        f"z_{j}": torch.zeros(len(x), d, dtype=x.dtype) for j, d in enumerate(config["z_dims"])
    }

    with torch.no_grad():
        with Noise(zeros):
            terms = model(x, fade)
        means = {name: value.mean().item() for name, value in _five_terms(model, x, fade).items()}
        picture = model.decode([q.mean for q in model.encode(x)], fade).mean.flatten(1)
    means |= {
        "loss": terms.loss.item(),
        "kl_z": terms.kl_z.sum(1).mean().item(),
        "kl_c": terms.kl_c.sum(1).mean().item(),
    }

    for name, value in means.items():
        rtol = CLAMPED if name in ("E_log_q_c_given_x", "kl_c", "loss") else EXACT
        np.testing.assert_allclose(value, expected[name], rtol=rtol, err_msg=name)
    np.testing.assert_allclose(picture, expected["x_mean"], rtol=EXACT, atol=1e-12)
    for j, responsibilities in enumerate(model.responsibilities(x)):
        np.testing.assert_allclose(responsibilities, expected[f"responsibilities{j}"], rtol=EXACT)


def test_posteriors(reference):
    model, _, arrays = reference
    x = torch.from_numpy(arrays["x"]).reshape(-1, *model.observation.shape)
    for j, posterior in enumerate(model.encode(x)):
        np.testing.assert_allclose(posterior.mean.detach(), arrays[f"z_mean{j}"], rtol=EXACT)
        np.testing.assert_allclose(posterior.stddev.detach(), arrays[f"z_scale{j}"], rtol=EXACT)


def test_fade_in_table(golden):
    rows = json.loads((golden / "fade_in_schedule.json").read_text())
    assert len(rows) > 50
    for row in rows:
        n_batches = row["n_batches_per_epoch"]
        schedule = FadeInSchedule(
            tuple(n_batches * n for n in row["epochs_per_step"]), row["n_batches_fade_in"]
        )
        alpha = schedule(row["epoch"] * n_batches + row["batch"])
        np.testing.assert_allclose(alpha, row["alpha_decoder"], rtol=1e-12, atol=0)
        np.testing.assert_allclose(alpha, row["gamma_kl"], rtol=1e-12, atol=0)


def test_import_names_what_does_not_fit(golden):
    arrays = np.load(golden / f"{NAMES[0]}.npz")
    config = json.loads(str(arrays["config"]))
    state = torch.load(golden / f"{NAMES[0]}.pt", weights_only=True)

    with pytest.raises(ConfigError, match=r"facets\.1\.loc"):
        import_official(state, config | {"n_clusters": [5, 7]})
    with pytest.raises(ConfigError, match="lack 'likelihood'"):
        import_official(state, {k: v for k, v in config.items() if k != "likelihood"})
    del state["layer_x_hat_z.bias"]
    with pytest.raises(ConfigError, match=r"layer_x_hat_z\.bias"):
        import_official(state, config)
