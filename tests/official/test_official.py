"""Checkpoints of the first authors' implementation as run folders."""

from __future__ import annotations

import json
import math
import pickle
import zipfile
from argparse import Namespace
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from benchmarks.kills_of_commands import survive
from pyro_mfcvae import MFCVAE, FadeInSchedule, Run, import_official
from pyro_mfcvae.config import Component, FacetConfig, TrainingConfig
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.data.shapes3d import _published_split
from pyro_mfcvae.errors import ConfigError, RunError
from pyro_mfcvae.official import checkpoint, import_run
from pyro_mfcvae.official.conversion import neutral_settings, run_config
from pyro_mfcvae.official.settings import read_settings
from pyro_mfcvae.official.tensors import softplus_inverse_of_exp
from pyro_mfcvae.runs.draw import draw_run
from pyro_mfcvae.runs.measure import evaluate_run

EXACT = 1e-8
LATENT_DIMS, CLUSTERS = [3, 2], [5, 4]

# As in their configs/mnist.yml, but smaller.
MNIST = {
    "model_type": "fc_vlae",
    "dataset": "fast_mnist",
    "J_n_mixtures": 2,
    "z_j_dim_list": LATENT_DIMS,
    "n_clusters_j_list": CLUSTERS,
    "cov_type_p_z_c": "diag",
    "init_type_p_z_c": "gmm",
    "init_off_diag_cov_p_z_c": False,
    "fixed_var_init": 0.01,
    "fix_pi_p_c": False,
    "facet_to_fix_pi_p_c": "all",
    "sigma_multiplier_p_x_z": 0.35,
    "activation": "elu",
    "do_fc_batch_norm": False,
    "enc_backbone_dims": [8, 12],
    "enc_backbone_n_hidden": [1, 1],
    "enc_rung_dims": [-1, -1],
    "enc_rung_n_hidden": [-1, -1],
    "dec_rung_dims": [9, 12],
    "dec_rung_n_hidden": [1, 1],
    "dec_backbone_dims": [7, 9],
    "dec_backbone_n_hidden": [1, 1],
    "encode_layer_dims": [[500, 500, 500], [500, 500, 500]],  # stale, as there
    "decode_layer_dims": [2000, 500, 500],
    "do_progressive_training": True,
    "n_epochs_per_progressive_step": [201, 201],
    "n_batches_fade_in": 15000,
    "gamma_kl_z_pretrain": 0,
    "gamma_kl_c_pretrain": 0,
    "n_epochs": 201,
    "init_lr": 5e-4,
    "batch_size": 512,
    "seed": 3,
    "data_init": False,
    "device": "cuda:0",
    "min_lr": None,
}
FACTORS = {
    "floor_hue": list(range(10)),
    "wall_hue": [5],
    "object_hue": [6],
    "scale": list(range(8)),
    "shape": list(range(4)),
    "orientation": list(range(15)),
}
SHAPES = MNIST | {
    "dataset": "fast_3dshapes",
    "model_type": "conv_vlae",
    "cov_type_p_z_c": "full",
    "fix_pi_p_c": True,
    "sigma_multiplier_p_x_z": 0.6,
    "do_fc_batch_norm": True,
    "n_epochs_per_progressive_step": [101, 301],
    "n_batches_fade_in": 2000,
    "batch_size": 150,
    "data_init": True,
    "factors_variation_dict": FACTORS,
    "factors_label_list": ["shape", "floor_hue"],
    "threedshapes_train_frac": 0.8,
}


def _small_ladder(covariance: str = "diagonal", batch_norm: bool = False) -> MFCVAE:
    """The model that MNIST describes, with distinct values everywhere."""
    facets = [
        FacetConfig(n_clusters=k, latent_dim=d, covariance=covariance)
        for k, d in zip(CLUSTERS, LATENT_DIMS, strict=True)
    ]
    common = {"activation": "elu", "batch_norm": batch_norm}
    encoder = {"backbone": [8, 12]} | common
    decoder = {"rungs": [9, 12], "backbone": [7, 9], "merge": "add"} | common
    model = MFCVAE(
        (1, 28, 28),
        facets,
        "bernoulli",
        Component(name="ladder", options=encoder),
        Component(name="ladder", options=decoder),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
    return model.eval()


def _their_tensors(model: MFCVAE) -> OrderedDict[str, torch.Tensor]:
    """A ladder of ours under their names: the importer's inverse."""
    deepest = len(model.facets) - 1
    tensors = OrderedDict()
    for j, (facet, head) in enumerate(zip(model.facets, model.heads, strict=True)):
        kind = "_l_mat" if facet.covariance == "full" else "_sigma_square"
        tensors[f"_pi_p_c_j_list.{j}"] = facet.logits
        tensors[f"mu_p_z_j_c_j_list.{j}"] = facet.loc.movedim(0, -1)
        tensors[f"{kind}_p_z_j_c_j_list.{j}"] = facet.raw_scale.movedim(0, -1)
        for part in ("weight", "bias"):
            mean, log_var = getattr(head, part).chunk(2)
            tensors[f"fc_mu_q_z_x_list.{j}.{part}"] = mean
            tensors[f"fc_log_sigma_square_q_z_x_list.{j}.{part}"] = log_var
        tensors |= _stack(f"encoder.fc_backbone.{j}", model.encoder.backbone[j])
        tensors |= _stack(f"encoder.fc_rung.{j}", model.encoder.rungs[j])
        rung, backbone = model.decoder.rungs[j], model.decoder.backbone[j]
        if j < deepest:
            tensors |= _stack(f"decoder.fc_rung.{j}", rung)
            tensors |= _stack(f"decoder.fc_backbone.{j}", backbone)
        else:
            tensors |= _stack(f"decoder.fc_backbone.{j}", torch.nn.Sequential(*rung, *backbone))
    for part in ("weight", "bias"):
        tensors[f"layer_x_hat_z.{part}"] = getattr(model.decoder.output, part)
    return OrderedDict((name, value.detach().clone()) for name, value in tensors.items())


def _stack(prefix: str, layers: torch.nn.Sequential) -> dict[str, torch.Tensor]:
    """Their stacks end each layer with dropout, which takes an index and no tensor."""
    names, position = {}, -1
    for i, layer in enumerate(layers):
        position += 2 if i and isinstance(layer, torch.nn.Linear) else 1
        names |= {f"{prefix}.{position}.{name}": v for name, v in layer.state_dict().items()}
    return names


def _save(path: Path, state_dict: dict, args: dict | None = None, **options) -> Path:
    content = state_dict if args is None else {"state_dict": state_dict, "args": Namespace(**args)}
    torch.save(content, path, **options)
    return path


@pytest.fixture
def small(tmp_path):
    """A small model, and the file of it as theirs."""
    model = _small_ladder()
    return model, _save(tmp_path / "mnist.pt", _their_tensors(model), MNIST)


def test_tensors_that_claim_more_than_the_file_holds_are_refused(small, tmp_path):
    claims = _their_tensors(small[0]) | {"mu_p_z_j_c_j_list.0": torch.zeros(1).expand(2**20, 2**20)}
    with pytest.raises(ConfigError, match=r"mu_p_z_j_c_j_list\.0"):
        import_run(_save(tmp_path / "claims.pt", claims, MNIST))


def test_what_few_bytes_claim_is_not_unpacked(small, tmp_path):
    path = _save(tmp_path / "claims.pt", _their_tensors(small[0]), MNIST)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("claims/data/zeros", bytes(10**6))
    with pytest.raises(RunError, match=r"claims\.pt"):
        import_run(path)


def test_layers_that_settings_claim_are_not_built(small, tmp_path):
    claims = MNIST | {"enc_backbone_n_hidden": [1, 10**5]}
    with pytest.raises(ConfigError, match="enc_backbone_n_hidden"):
        import_run(_save(tmp_path / "deep.pt", _their_tensors(small[0]), claims))


def _same(a: MFCVAE, b: MFCVAE, x: torch.Tensor) -> None:
    """Both models give the same numbers to the last bit."""
    with torch.no_grad():
        for q, p in zip(a.encode(x), b.encode(x), strict=True):
            assert torch.equal(q.mean, p.mean)
            assert torch.equal(q.stddev, p.stddev)
        zs = [q.mean for q in a.encode(x)]
        fade = torch.linspace(0.3, 1, len(zs), dtype=x.dtype)
        for model in (a, b):
            model.fade.copy_(fade)
        assert torch.equal(a.decode(zs).log_prob(x), b.decode(zs).log_prob(x))
    for r, s in zip(a.responsibilities(x), b.responsibilities(x), strict=True):
        assert torch.equal(r, s)


def test_run_of_a_checkpoint(small, tmp_path):
    model, path = small
    run = import_run(path, out=tmp_path / "run")

    _same(run.model(), model, torch.rand(6, 1, 28, 28))
    config = run.config
    assert (config.preset, config.seed, config.data) == (None, 3, Component(name="mnist"))
    assert [(f.latent_dim, f.n_clusters) for f in config.model.facets] == [(3, 5), (2, 4)]
    assert all(f.learn_weights and f.covariance == "diagonal" for f in config.model.facets)
    assert config.model.likelihood == Component(name="bernoulli")
    assert config.model.initialisation == "default"
    assert config.training == TrainingConfig(
        batch_size=512, learning_rate=5e-4, epochs_per_step=(200, 201), n_fade_in_batches=15_000
    )
    assert run.step() == run.n_steps(60_000) == 401 * 118
    assert run.fade() == (1.0, 1.0)
    assert sorted(entry.name for entry in run.path.iterdir()) == [
        "checkpoints",
        "config.json",
        "environment.json",
    ]


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_ladders_of_all_kinds(tmp_path, covariance, batch_norm):
    model = _small_ladder(covariance, batch_norm)
    args = MNIST | {
        "cov_type_p_z_c": "full" if covariance == "full" else "diag",
        "do_fc_batch_norm": batch_norm,
    }
    path = _save(tmp_path / "model.pt", _their_tensors(model), args)
    _same(import_run(path, out=tmp_path / "run").model(), model, torch.rand(6, 1, 28, 28))


def test_imported_run_is_evaluated_and_drawn(small, tmp_path):
    run = import_run(small[1], out=tmp_path / "run")
    x = torch.randint(0, 256, (60, 1, 28, 28), dtype=torch.uint8)
    indices = torch.arange(60)
    dataset = Dataset("digits", x, indices[:40], indices[40:], {"digit": indices % 10})

    results = evaluate_run(run, dataset)

    assert results.step == 401 * 118
    assert run.evaluation() == results
    assert all(path.exists() for path in draw_run(run, dataset))


def test_files_of_old_torch_and_of_tensors_alone(small, tmp_path):
    model, _ = small
    x = torch.rand(4, 1, 28, 28)
    old = _save(
        tmp_path / "old.pt", _their_tensors(model), MNIST, _use_new_zipfile_serialization=False
    )
    _same(import_run(old, out=tmp_path / "a").model(), model, x)

    alone = _save(tmp_path / "alone.pt", _their_tensors(model))
    with pytest.raises(ConfigError, match="tensors without settings; give the YAML"):
        import_run(alone, out=tmp_path / "b")
    settings = tmp_path / "mnist.yml"
    settings.write_text(yaml.safe_dump(MNIST))
    run = import_run(alone, settings, tmp_path / "b")
    _same(run.model(), model, x)
    assert run.config == Run(tmp_path / "a").config
    settings.write_text(yaml.safe_dump(MNIST | {"seed": 11, "init_lr": 1e-3}))
    config = import_run(old, settings, tmp_path / "c").config  # it replaces those in the file
    assert (config.seed, config.training.learning_rate) == (11, 1e-3)


@pytest.mark.slow
def test_an_import_that_is_killed_begins_again(small, tmp_path):
    _, path = small
    (tmp_path / "inputs").mkdir()
    path.rename(tmp_path / "inputs/theirs.pt")
    words = ["import", "theirs.pt", "--out", "imported"]
    found = survive(words, tmp_path / "inputs", 20, 0, tmp_path / "kills")
    assert (found["halves"], found["different"]) == ([], {})
    assert found["n_ended"] > 0


def test_runs_number_themselves(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [import_run(small[1]) for _ in range(2)]
    assert [str(run.path) for run in runs] == ["runs/mnist-imported-001", "runs/mnist-imported-002"]
    with pytest.raises(ConfigError, match="exists already"):
        import_run(small[1], out=runs[0].path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_glorot_means_exp(tmp_path, dtype):
    """Their variances, or Cholesky diagonals, are exp instead of softplus after such a start."""
    for kind in ("diag", "full"):
        model = _small_ladder("full" if kind == "full" else "diagonal").to(dtype)
        state = _their_tensors(model)
        args = MNIST | {"cov_type_p_z_c": kind, "init_type_p_z_c": "glorot"}
        run = import_run(_save(tmp_path / f"{kind}.pt", state, args), out=tmp_path / kind)

        rtol = {torch.float32: 1e-6, torch.float64: 1e-12}[dtype]
        for j, facet in enumerate(run.model().facets):
            if kind == "diag":
                expected = state[f"_sigma_square_p_z_j_c_j_list.{j}"].mT.exp().sqrt()
                got = facet.scale
            else:
                raw = state[f"_l_mat_p_z_j_c_j_list.{j}"].movedim(-1, 0)
                expected = raw.tril(-1) + raw.diagonal(dim1=1, dim2=2).exp().diag_embed()
                got = facet.scale_tril
            torch.testing.assert_close(got, expected, rtol=rtol, atol=1e-12)
        variance = 0.01 if kind == "diag" else math.exp(0.1 * math.log(math.e - 1)) ** 2
        assert run.config.model.facets[0].initial_variance == pytest.approx(variance)
        assert run.config.model.mixture_initialisation == "glorot"


@pytest.mark.parametrize(
    ("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 80 * torch.finfo().eps)]
)
def test_softplus_inverse_of_exp_is_safe(dtype, rtol):
    """Down to the smallest variances: there float32 rounds 10 y = log v, |10 y| < 80."""
    raw = torch.linspace(-75, 75, 301, dtype=dtype)
    softplus = torch.nn.functional.softplus(softplus_inverse_of_exp(raw), beta=10)
    torch.testing.assert_close(softplus, raw.exp(), rtol=rtol, atol=0)


def test_fixed_weights_for_each_facet():
    def learnt(**args):
        facets = run_config(read_settings(MNIST | args)).model.facets
        return [facet.learn_weights for facet in facets]

    assert learnt(fix_pi_p_c=True) == [False, False]
    assert learnt(fix_pi_p_c=True, facet_to_fix_pi_p_c="facet_0") == [False, True]
    assert learnt(fix_pi_p_c=True, facet_to_fix_pi_p_c="facet_1") == [True, False]
    assert learnt(fix_pi_p_c=False, facet_to_fix_pi_p_c="facet_1") == [True, True]


def test_settings_of_3dshapes_and_svhn():
    settings = read_settings(SHAPES)
    config = run_config(settings)

    options = {"factors": FACTORS, "split_seed": 3, "test_fraction": 0.2}
    assert config.data == Component(name="shapes3d", options=options)
    assert settings.n_train == 3840
    assert config.model.likelihood.options == {"scale": 0.6, "output_activation": None}
    assert config.model.initialisation == "data-dependent-published"
    assert config.model.decoder == Component(
        name="conv-ladder", options={"activation": "elu", "rung_batch_norm": True}
    )
    assert config.training.epochs_per_step == (100, 301)
    svhn = read_settings(SHAPES | {"dataset": "fast_svhn"})
    config = run_config(svhn)
    assert (config.data, svhn.n_train) == (Component(name="svhn"), 73_257)
    assert config.model.likelihood.options == {"scale": 0.6, "output_activation": "sigmoid"}
    assert config.sampling_temperature == 1
    cold = read_settings(SHAPES | {"temp_sample_generation": 0.3})
    assert run_config(cold).sampling_temperature == 0.3


def test_kl_floor():
    def floor(z, c, **args):
        args |= {"gamma_kl_z_pretrain": z, "gamma_kl_c_pretrain": c}
        return run_config(read_settings(MNIST | args)).training.kl_floor

    assert floor(0, 0) == 0
    assert floor(0.1, 0.1) == 0.1
    assert floor(0.1, 0.2, do_progressive_training=False) == 0
    with pytest.raises(ConfigError, match=r"equal gamma_kl_z_pretrain .* got 0.1 and 0.2"):
        floor(0.1, 0.2)


@pytest.mark.parametrize(
    ("args", "epochs", "n_steps", "fade"),
    [
        (
            {"do_progressive_training": False, "n_epochs_per_progressive_step": None},
            (200,),
            200 * 118,
            (1.0, 1.0),
        ),
        (
            {"n_epochs_per_progressive_step": [3, 2]},  # shorter than the fade-in
            (2, 2),
            4 * 118,
            FadeInSchedule((2 * 118, 2 * 118), 15_000)(4 * 118),
        ),
    ],
)
def test_steps_and_fade_weights_at_the_end(small, tmp_path, args, epochs, n_steps, fade):
    path = _save(tmp_path / "a.pt", _their_tensors(small[0]), MNIST | args)
    run = import_run(path, out=tmp_path / "a")
    assert run.config.training.epochs_per_step == epochs
    assert (run.step(), run.fade()) == (n_steps, fade)
    assert (0 < fade[0] < 1) == (n_steps == 4 * 118)


def test_encoders_of_their_own(tmp_path):
    """Spelt out: the encoders keep ReLU whatever the activation, which the decoder follows."""
    widths, batch_norm = [[6, 5], [7]], True

    def stack(sizes, activation):
        layers = []
        for n_in, n_out in pairwise(sizes):
            norm = torch.nn.BatchNorm1d(n_out)
            norm.running_mean.normal_()
            layers += [torch.nn.Linear(n_in, n_out), activation(), norm, torch.nn.Dropout(0.0)]
        return torch.nn.Sequential(*layers).eval()

    encoders = [stack([784, *sizes], torch.nn.ReLU) for sizes in widths]
    decoder = stack([sum(LATENT_DIMS), 8], torch.nn.ELU)
    means, log_vars = (
        [torch.nn.Linear(w[-1], d) for w, d in zip(widths, LATENT_DIMS, strict=True)]
        for _ in range(2)
    )
    output = torch.nn.Linear(8, 784)
    parts = {"decoder.net": decoder, "layer_x_hat_z": output}
    state = {}
    for j in range(2):
        parts |= {
            f"encoder.net_list.{j}": encoders[j],
            f"fc_mu_q_z_x_list.{j}": means[j],
            f"fc_log_sigma_square_q_z_x_list.{j}": log_vars[j],
        }
        state |= {
            f"_pi_p_c_j_list.{j}": torch.ones(CLUSTERS[j]) / CLUSTERS[j],
            f"mu_p_z_j_c_j_list.{j}": torch.randn(LATENT_DIMS[j], CLUSTERS[j]),
            f"_sigma_square_p_z_j_c_j_list.{j}": torch.randn(LATENT_DIMS[j], CLUSTERS[j]),
        }
    for prefix, part in parts.items():
        state |= {f"{prefix}.{name}": value for name, value in part.state_dict().items()}
    args = MNIST | {
        "model_type": "fc_per_facet_enc_shared_dec",
        "encode_layer_dims": widths,
        "decode_layer_dims": [8],
        "do_fc_batch_norm": batch_norm,
    }

    model = import_run(_save(tmp_path / "a.pt", state, args), out=tmp_path / "run").model()

    x = torch.rand(5, 1, 28, 28)
    posteriors = model.encode(x)
    for j, q in enumerate(posteriors):
        h = encoders[j](x.flatten(1))
        torch.testing.assert_close(q.mean, means[j](h))
        torch.testing.assert_close(q.variance, log_vars[j](h).exp())
    zs = [q.mean for q in posteriors]
    expected = output(decoder(torch.cat(zs, -1))).sigmoid()
    torch.testing.assert_close(model.decode(zs).mean.flatten(1), expected)


def _is_refused(path: Path, error: type[Exception], message: str, settings: Path | None = None):
    """With this message, and nothing is written."""
    out = path.parent / "run"
    with pytest.raises(error, match=message):
        import_run(path, settings, out)
    assert not out.exists()


def _truncated(path: Path, state: dict) -> Path:
    _save(path, state, MNIST)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def _content(content: object):
    def make(path: Path, state: dict) -> Path:
        torch.save(content, path)
        return path

    return make


def _text(path: Path, state: dict) -> Path:
    path.write_text("hello: world\n" * 20)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path, state: path, "cannot be read"),
        (lambda path, state: path.parent, "cannot be read"),
        (_truncated, "damaged"),
        (_text, r"no file of torch\.save"),
        (_content({"state_dict": {"net.0.weight": torch.ones(2)}}), "no model of .* 1 tensors"),
        (_content([torch.ones(2)]), "got a list"),
        (_content({"epoch": 3, "model": {}}), "under epoch, model"),
        (_content({3: torch.ones(2)}), "under 3"),
    ],
)
def test_files_that_hold_no_model_of_theirs(tmp_path, make, message):
    path = make(tmp_path / "model.pt", _their_tensors(_small_ladder()))
    _is_refused(path, RunError, message)


LEFT_OUT = object()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"seed": LEFT_OUT, "dataset": LEFT_OUT}, "lack dataset, seed$"),
        ({"dec_rung_dims": LEFT_OUT}, "lack dec_rung_dims"),
        ({"model_type": "resnet"}, "model_type: .*'fc_vlae', .* got 'resnet'"),
        ({"dataset": "celeba"}, "dataset: .*'fast_mnist', .* got 'celeba'"),
        ({"z_j_dim_list": ["5", "5"]}, r"z_j_dim_list\.0: .* got '5'"),
        ({"n_clusters_j_list": [5, 4, 3]}, "n_clusters_j_list .* 2 facets"),
        ({"fix_pi_p_c": True, "facet_to_fix_pi_p_c": "facet_2"}, "facet_to_fix.*'facet_2'"),
        ({"n_epochs_per_progressive_step": [1, 9]}, "n_epochs_per_progressive_step .* at least 2"),
        ({"n_clusters_j_list": [60, 4]}, r"facet 0 has 5 clusters .* 60 .* \(facets.0.loc\)$"),
        ({"z_j_dim_list": [3, 6]}, r"facet 1 has 2 latent dimensions .* 6 in .* \(\S+\)$"),
        ({"cov_type_p_z_c": "full"}, "covariance is diag in the file and full"),
        (SHAPES | {"cov_type_p_z_c": "diag"}, "model_type is fc_vlae in the file and conv_vlae"),
        ({"enc_backbone_dims": [10, 12]}, r"0\.0\.bias has shape \(8,\) .* \(10,\) .* and 1 more$"),
        ({"enc_rung_dims": [4, 4], "enc_rung_n_hidden": [1, 1]}, r"bias has no tensor .* \(4,\)"),
        ({"dataset": "fast_svhn"}, r"shape \(784,\) in the file, shape \(3072,\)"),
        ({"do_fc_batch_norm": True}, r"no tensor 'encoder\.fc_backbone\.0\.2\.weight'"),
    ],
)
def test_settings_that_do_not_fit_the_tensors(tmp_path, args, message):
    args = {name: value for name, value in (MNIST | args).items() if value is not LEFT_OUT}
    path = _save(tmp_path / "model.pt", _their_tensors(_small_ladder()), args)
    _is_refused(path, ConfigError, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {"classifier.weight": torch.ones(2, 2)}, r"leave out: classifier\.weight"),
        (lambda state: {"mu_p_z_j_c_j_list.2": torch.ones(2, 2)}, "3 facets, the settings have 2"),
        (lambda state: {"fc_mu_q_z_x_list.0.bias": torch.ones(9)}, r"got \(9,\) and \(3,\)"),
        (lambda state: {k: v.half() for k, v in state.items()}, "got torch.float16"),
    ],
)
def test_tensors_that_do_not_fit_the_settings(tmp_path, change, message):
    state = _their_tensors(_small_ladder())
    _is_refused(_save(tmp_path / "model.pt", state | change(state), MNIST), ConfigError, message)


MEANS = "mu_p_z_j_c_j_list.1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v * math.nan, "got 8 of 8 that are infinite or not a number"),
        (lambda v: v / 0, "got 8 of 8 that are infinite"),
        (lambda v: v.to(torch.complex64), "finite real numbers, got torch.complex64"),
        (lambda v: v > 0, "got torch.bool"),
        (lambda v: v.long(), "got torch.int64"),
        (lambda v: v.to_sparse(), "got torch.sparse_coo on cpu"),
        (lambda v: v.to("meta"), "on the CPU .* on meta"),
    ],
)
def test_tensors_that_no_layer_can_have(tmp_path, change, message):
    for name in (MEANS, "layer_x_hat_z.bias"):
        state = _their_tensors(_small_ladder())
        state[name] = change(state[name][..., :4] if name == MEANS else state[name][:8])
        path = _save(tmp_path / "model.pt", state, MNIST)
        _is_refused(path, ConfigError, rf"{name} must be .*{message}")


def test_counts_of_batches_are_integers(tmp_path):
    state = _their_tensors(_small_ladder(batch_norm=True))
    name = "encoder.fc_backbone.0.2.num_batches_tracked"
    state[name] = state[name].float()
    path = _save(tmp_path / "model.pt", state, MNIST | {"do_fc_batch_norm": True})
    _is_refused(path, ConfigError, rf"{name} must be a count, .* got torch.float32")


@pytest.mark.parametrize("kind", ["diag", "full"])
@pytest.mark.parametrize("raw", [-800.0, 800.0])
def test_variances_beyond_all_numbers(tmp_path, kind, raw):
    state = _their_tensors(_small_ladder("full" if kind == "full" else "diagonal"))
    name = f"_{'l_mat' if kind == 'full' else 'sigma_square'}_p_z_j_c_j_list.1"
    state[name].fill_(raw)
    args = MNIST | {"cov_type_p_z_c": kind, "init_type_p_z_c": "glorot"}
    path = _save(tmp_path / "model.pt", state, args)
    _is_refused(path, ConfigError, rf"{name} must hold logarithms .* {raw:g} to {raw:g}")


def test_shared_decoder_that_was_not_faded(tmp_path):
    settings = read_settings(
        MNIST
        | {
            "model_type": "fc_shared",
            "encode_layer_dims": [6],
            "n_epochs_per_progressive_step": [2, 2],
        }
    )
    with pytest.raises(ConfigError, match="fc_shared never fades"):
        checkpoint._end_of_training(settings, run_config(settings))


def test_factors_of_3dshapes_are_needed():
    with pytest.raises(ConfigError, match="lack factors_variation_dict, threedshapes_train_frac"):
        read_settings(MNIST | {"dataset": "fast_3dshapes"})
    factors = {name: values for name, values in FACTORS.items() if name != "shape"}
    with pytest.raises(ConfigError, match=r"needs the values of .*, shape, .* got floor_hue"):
        read_settings(SHAPES | {"factors_variation_dict": factors})


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"threedshapes_train_frac": 1.0}, "train_frac must lie between .* got 1 of 4800 scenes"),
        ({"threedshapes_train_frac": 1 - 1e-13}, "train_frac must .* leave scenes .* for testing"),
        ({"threedshapes_train_frac": 1e-4}, "train_frac must .* leave scenes for training"),
        ({"factors_variation_dict": FACTORS | {"shape": [9]}}, r"shape .* from 0 to 3, .* \[9\]"),
        ({"seed": 2**40}, "seed: .*less than 4294967296"),
        ({"temp_sample_generation": 0}, "temp_sample_generation: .* greater than 0, got 0"),
    ],
)
def test_settings_that_make_no_run(args, message):
    with pytest.raises(ConfigError, match=message):
        read_settings(SHAPES | args)


def test_training_part_is_the_one_that_the_data_set_draws():
    for fraction in (0.1, 0.29, 0.57, 0.8, 0.999):
        settings = read_settings(SHAPES | {"threedshapes_train_frac": fraction})
        options = run_config(settings).data.options
        train, _ = _published_split(4800, options["test_fraction"], options["split_seed"])
        assert settings.n_train == len(train)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n- 2\n", "must be a mapping of settings, .* got list"),
        ("", "must be a mapping of settings, .* got NoneType"),
        ("a: [1, 2", "cannot be read as YAML"),
        ("!!python/object:argparse.Namespace {seed: 1}", "cannot be read as YAML"),
        ("seed: 1\n", "these are no settings of the first authors' implementation"),
    ],
)
def test_yaml_that_is_no_settings(small, tmp_path, text, message):
    settings = tmp_path / "settings.yml"
    settings.write_text(text)
    _is_refused(small[1], ConfigError, message, settings)
    _is_refused(small[1], ConfigError, "cannot be read as YAML", tmp_path / "missing.yml")


class _Touches:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class _Harmless:
    pass


@pytest.mark.parametrize("new_format", [True, False])
def test_foreign_classes_do_not_run(small, tmp_path, new_format):
    witness, path = tmp_path / "witness", tmp_path / "model.pt"
    pickle.loads(pickle.dumps(_Touches(witness)))  # it does run where it may
    witness.unlink()
    state = _their_tensors(small[0])
    for foreign, name in ((_Touches(witness), "getattr"), (_Harmless(), "_Harmless")):
        for args in (foreign, Namespace(seed=foreign)):
            torch.save(
                {"state_dict": state, "args": args}, path, _use_new_zipfile_serialization=new_format
            )
            _is_refused(path, RunError, rf"asks for \S*{name}, which could run code")
    assert not witness.exists()


def test_no_half_written_run_is_left(small, tmp_path, monkeypatch):
    def full_disk(*_args):
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "save_model_only", full_disk)
    with pytest.raises(OSError, match="no space left"):
        import_run(small[1], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def _their_settings(config: dict) -> dict:
    """A golden file's settings under the first authors' names."""
    data = {
        ("Bernoulli", "sigmoid"): "fast_mnist",
        ("Gaussian", "sigmoid"): "fast_svhn",
        ("Gaussian", None): "fast_3dshapes",
    }
    settings = SHAPES | {
        "model_type": config["model_type"],
        "dataset": data[config["likelihood"], config["output_activation"]],
        "z_j_dim_list": config["z_dims"],
        "n_clusters_j_list": config["n_clusters"],
        "cov_type_p_z_c": config["covariance"],
        "sigma_multiplier_p_x_z": config["gaussian_sigma"],
        "activation": config["activation"],
        "do_fc_batch_norm": config.get("fc_batch_norm", False),
        "fix_pi_p_c": config["fixed_weights"],
    }
    if config["model_type"] == "fc_vlae":
        for theirs, golden in (
            ("enc_backbone", "encoder_backbone"),
            ("dec_backbone", "decoder_backbone"),
            ("dec_rung", "decoder_rung"),
        ):
            settings[f"{theirs}_dims"] = config[golden]
    return settings


def _widened(state: dict, n_values: int) -> dict:
    """A fully connected model with further pixels, which its encoder does not look at."""
    first, output = "encoder.fc_backbone.0.0.weight", "layer_x_hat_z"
    n_new = n_values - state[first].shape[1]
    pad = torch.nn.functional.pad
    return state | {
        first: pad(state[first], (0, n_new)),
        f"{output}.weight": pad(state[f"{output}.weight"], (0, 0, 0, n_new)),
        f"{output}.bias": pad(state[f"{output}.bias"], (0, n_new)),
    }


@pytest.mark.parametrize(
    "name", ["fc_diag_bernoulli_J2", "fc_full_gaussian_J2", "conv_full_gaussian_J2"]
)
def test_golden_outputs(name, golden, tmp_path):
    arrays = np.load(golden / f"{name}.npz")
    state = dict(torch.load(golden / f"{name}.pt", weights_only=True))
    args = _their_settings(json.loads(str(arrays["config"])))
    settings = read_settings(args)
    n_values = math.prod(settings.data.shape)
    x = torch.from_numpy(arrays["x"]).flatten(1)
    n_given = x.shape[1]
    if n_given != n_values:
        state = _widened(state, n_values)
        x = torch.nn.functional.pad(x, (0, n_values - n_given))
    x = x.reshape(-1, *settings.data.shape)

    model = import_run(_save(tmp_path / "model.pt", state, args), out=tmp_path / "run").model()

    _same(model, import_official(state, neutral_settings(settings)), x.float())
    model.double()
    for j, q in enumerate(model.encode(x)):
        np.testing.assert_allclose(q.mean.detach(), arrays[f"z_mean{j}"], rtol=EXACT)
        np.testing.assert_allclose(q.stddev.detach(), arrays[f"z_scale{j}"], rtol=EXACT)
    for j, responsibilities in enumerate(model.responsibilities(x)):
        expected = arrays[f"epoch24/responsibilities{j}"]
        np.testing.assert_allclose(responsibilities, expected, rtol=EXACT)
    fade = torch.from_numpy(arrays["epoch24/alpha_decoder"])
    with torch.no_grad():
        model.fade.copy_(fade)
        picture = model.decode([q.mean for q in model.encode(x)]).mean
    np.testing.assert_allclose(
        picture.flatten(1)[:, :n_given], arrays["epoch24/x_mean"], rtol=EXACT, atol=1e-12
    )
