"""The README and the pages of docs/: their Python runs, their commands and links exist."""

from __future__ import annotations

import re
import shlex
import shutil
from itertools import chain, pairwise

import click
import pytest
import torch
from conftest import ROOT
from models import observations, tiny_config
from pyro.infer import TraceEnum_ELBO

from pyro_mfcvae import Noise, presets
from pyro_mfcvae.cli import main
from pyro_mfcvae.config import override
from pyro_mfcvae.inference.noise import site_noise
from pyro_mfcvae.presets import auto
from pyro_mfcvae.runs.train import train
from pyro_mfcvae.testing.values import relative_error

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "docs" / "models").glob("*.md")),
    ]
}


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


def _block(containing: str) -> str:
    every = [block for page in PAGES for block in _blocks(page, "python")]
    (block,) = (block for block in every if containing in block)
    return block


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return train(tiny_config(), tmp_path_factory.mktemp("docs") / "run")[0].path


@pytest.fixture
def workplace(run_folder, tmp_path, monkeypatch):
    """A folder with the runs that the pages speak of, where trainings are short."""
    tiny = presets.Preset(tiny_config(), "", "", "")
    monkeypatch.setattr(presets, "get_preset", lambda name: tiny)
    monkeypatch.setattr(auto, "_MOST_WORK", 0)  # leaves the fewest steps that are ever chosen
    monkeypatch.chdir(tmp_path)
    for name in ("shapes-001", "mine-001"):
        shutil.copytree(run_folder, tmp_path / "runs" / name)
    return tmp_path


RUN = [page for page in PAGES if page != "CONTRIBUTING.md" and _blocks(page, "python")]


@pytest.mark.parametrize("page", RUN)
def test_a_page_runs_from_its_top_to_its_end(page, workplace):
    names = {}
    if "import onnxruntime" in PAGES[page]:
        pytest.importorskip("onnxruntime")
    for block in _blocks(page, "python"):
        exec(block, names)


def test_every_recipe_is_run_by_the_test_that_it_names():
    recipes = re.split(r"^### ", PAGES["CONTRIBUTING.md"], flags=re.MULTILINE)[1:]
    assert len(recipes) == 7
    for text in recipes:
        (test,) = re.findall(r"Test of the\s+recipe:\s+`(.*?)`", text)
        assert f'recipe("{text.partition(chr(10))[0]}")' in (ROOT / test).read_text()


def _commands() -> list[tuple[str, list[str]]]:
    """Every command line of the pages with the page, in words."""
    lines = [
        (page, part.strip())
        for page in PAGES
        for block in _blocks(page, "bash")
        for line in block.splitlines()
        for part in re.split(r"&&|>", line)
    ]
    return [
        (page, shlex.split(line, comments=True)[1:]) for page, line in lines if line[:6] == "mfcvae"
    ]


def test_commands_exist_with_their_options():
    commands = _commands()
    assert len(commands) > 30
    for page, words in commands:
        command = main
        while words and isinstance(command, click.Group):
            assert words[0] in command.commands, (page, words)
            command, words = command.commands[words[0]], words[1:]
        known = {name for parameter in command.params for name in parameter.opts}
        for word in words:
            if word.startswith("--"):
                assert word in known, (page, command.name, word)


def test_presets_and_settings_exist():
    config = presets.get_preset("shapes").config
    for page, words in _commands():
        if words[:1] == ["train"] and words[1:] and not words[1].startswith("--"):
            assert words[1] in presets.PRESETS, page
        for option, value in pairwise(words):
            if option == "--set" and not value.startswith(("data.", "model.encoder")):
                override(config, [value])


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    linked = re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", PAGES[page])
    for link in filter(None, chain.from_iterable(linked)):
        if not link.startswith("http"):
            path, _, heading = link.partition("#")
            target = folder / path if path else ROOT / page
            assert target.exists(), link
            if heading:
                found = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
                anchors = [re.sub(r"[^\w\- ]", "", h).lower().replace(" ", "-") for h in found]
                assert heading in anchors, link


def test_plain_pyro_trains_a_model():
    names = {}
    exec(_block("svi.step(x)"), names)
    before = names["model"].facets[0].loc.detach().clone()
    names["svi"].step(names["x"])
    assert not torch.equal(before, names["model"].facets[0].loc)


def test_a_whole_training(workplace, capsys):
    exec(_block("complete(run, dataset)"), {})
    assert "majority_accuracy_training_map" in capsys.readouterr().out
    names = {}
    exec(_block('Run("runs/mine-001")'), names)
    assert names["predictions"].clusters[0].shape == (96,)
    exec(_block("swap_facets(trained"), names)
    event = (3, 8, 8)
    assert names["swapped"].shape == (4, 4, *event)
    assert names["moved"].shape == (4, 7, *event)
    assert names["between"].shape == (4, 6, *event)
    assert names["drawn"].shape == (2, 10, *event)
    assert names["pairs"].shape == (2, 3, *event)


@pytest.mark.parametrize("n_samples", [1, 3])
def test_the_variant_is_what_it_says(n_samples):
    names = {}
    exec(_block("class Hierarchical"), names)
    model = names["Hierarchical"]((1, 4, 4), "3:5,2:4", encoder="shared", decoder="shared").double()
    x = observations()
    with torch.no_grad():
        model.table += torch.randn_like(model.table)
        with Noise(0):
            elbo = model(x, "enumerate", n_samples).elbo
        shape = (n_samples, len(x)) if n_samples > 1 else (len(x),)
        posteriors = model.encode(x)
        zs = [
            q.mean + q.stddev * site_noise(0, 0, f"z_{j}", torch.Size([*shape, *q.event_shape]), x)
            for j, q in enumerate(posteriors)
        ]
        first, second = (f.component_log_prob(z) for f, z in zip(model.facets, zs, strict=True))
        weights = model.facets[0].log_weights.unsqueeze(-1) + model.table.log_softmax(-1)
        log_p_z = (weights + first.unsqueeze(-1) + second.unsqueeze(-2)).logsumexp((-1, -2))
        log_q = sum(q.log_prob(z) for q, z in zip(posteriors, zs, strict=True))
        expected = model.decode(zs).log_prob(x) + log_p_z - log_q
        expected = expected.mean(0) if n_samples > 1 else expected
        model.fade[0] = 0.3  # reaches the decoder, and no half of a KL
        with Noise(0):
            while_fading = model(x, "enumerate", n_samples).elbo
        bound = model.decode(zs).log_prob(x) + log_p_z - log_q
        bound = bound.mean(0) if n_samples > 1 else bound
        model.fade[0] = 1.0
    assert relative_error(elbo, expected) <= 1e-9
    assert relative_error(while_fading, bound) <= 1e-9
    stock = TraceEnum_ELBO(
        num_particles=n_samples, vectorize_particles=n_samples > 1, max_plate_nesting=1
    )
    with Noise(0):
        loss = stock.loss(model.model, model.guide("enumerate"), x)
    assert loss == pytest.approx(-elbo.sum().item(), rel=1e-9)
