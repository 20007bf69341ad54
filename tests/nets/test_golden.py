"""Against outputs of the first authors' implementation, with z at the mean of q(z | x)."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from pyro_mfcvae import FadeInSchedule, import_official
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.inference.noise import Noise
from pyro_mfcvae.testing.values import weighted

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


def _five_terms(model, x):
    posteriors = model.encode(x)
    zs = [q.mean for q in posteriors]
    joint = [(f, z, f.responsibilities(z)) for f, z in zip(model.facets, zs, strict=True)]
    return {
        "log_p_x_given_z": model.decode(zs).log_prob(x),
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
            terms = weighted(model, x, fade=fade)
        means = {name: value.mean().item() for name, value in _five_terms(model, x).items()}
        picture = model.decode([q.mean for q in model.encode(x)]).mean.flatten(1)
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


def test_import_of_a_shared_network():
    """No recorded outputs exist for this architecture, so it is spelt out here."""
    d, widths = (2, 3), (7, 6)

    def stack(sizes):
        layers = []
        for n_in, n_out in pairwise(sizes):
            layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU(), torch.nn.Dropout(0.0)]
        return torch.nn.Sequential(*layers)

    encoder, decoder = stack((9, *widths)), stack((sum(d), 6, 7))
    means, log_vars = ([torch.nn.Linear(widths[-1], n) for n in d] for _ in range(2))
    output = torch.nn.Linear(7, 9)
    state = {f"encoder.net.{k}": v for k, v in encoder.state_dict().items()}
    state |= {f"decoder.net.{k}": v for k, v in decoder.state_dict().items()}
    state |= {f"layer_x_hat_z.{k}": v for k, v in output.state_dict().items()}
    for j, n in enumerate(d):
        state |= {f"fc_mu_q_z_x_list.{j}.{k}": v for k, v in means[j].state_dict().items()}
        for k, v in log_vars[j].state_dict().items():
            state[f"fc_log_sigma_square_q_z_x_list.{j}.{k}"] = v
        state[f"_pi_p_c_j_list.{j}"] = torch.ones(4) / 4
        state[f"mu_p_z_j_c_j_list.{j}"] = torch.randn(n, 4)
        state[f"_sigma_square_p_z_j_c_j_list.{j}"] = torch.randn(n, 4)
    config = {
        "model_type": "fc_shared",
        "in_dim": 9,
        "z_dims": d,
        "n_clusters": (4, 4),
        "covariance": "diag",
        "likelihood": "Bernoulli",
        "output_activation": "sigmoid",
        "activation": "relu",
        "fixed_weights": True,
    }
    model = import_official(state, config)
    x = torch.rand(5, 9)
    posteriors = model.encode(x)
    for j, q in enumerate(posteriors):
        torch.testing.assert_close(q.mean, means[j](encoder(x)))
        torch.testing.assert_close(q.variance, log_vars[j](encoder(x)).exp())
        torch.testing.assert_close(model.facets[j].loc, state[f"mu_p_z_j_c_j_list.{j}"].mT)
    zs = [q.mean for q in posteriors]
    expected = output(decoder(torch.cat(zs, -1))).sigmoid()
    torch.testing.assert_close(model.decode(zs).mean, expected)
