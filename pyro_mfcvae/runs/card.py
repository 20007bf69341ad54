"""The model card of a run, made of its settings and its evaluation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pyro_mfcvae.config import Config
from pyro_mfcvae.evaluation.measures import MAIN_ACCURACY, MEASURES
from pyro_mfcvae.evaluation.results import Evaluation
from pyro_mfcvae.evaluation.tables import (
    agreement_table,
    elbo_table,
    explain_measures,
    health_table,
    use_table,
)
from pyro_mfcvae.hub import card_head
from pyro_mfcvae.models import FacetModel
from pyro_mfcvae.tables import as_markdown, make_table, one_line


def model_card(
    title: str, config: Config, model: FacetModel, evaluation: Evaluation | None, version: str
) -> str:
    """What people who find the model should know of it, in Markdown.

    Args:
        title: the model's name, or ``OWNER/NAME``.
        config: settings of the run.
        model: the model.
        evaluation: of the run, if there was one.
        version: of the library.
    """
    facets, kind = model.structure.facets, config.model.name
    rows = [
        (
            str(j),
            str(facet.n_clusters) if facet.has_clusters else "none",
            str(facet.latent_dim),
            facet.prior,
        )
        for j, facet in enumerate(facets)
    ]
    columns = ("facet", "clusters", "latent dimensions", "prior")
    shape = " x ".join(map(str, model.observation.shape))
    n = len(model.structure.clustered)
    parts = [
        f"# {title}",
        f"A clustering model (`{kind}`) of the Python library pyro_mfcvae, version {version}. It "
        f"assigns every observation to a cluster in {n} {'facet' if n == 1 else 'facets'}. No "
        "label was read in training.",
        as_markdown(make_table("facets", columns, rows)),
        "## Use",
        "```python\n"
        "from pyro_mfcvae import Run, predict\n\n"
        f"run = Run.from_pretrained({title!r})\n"
        "found = predict(run.model(), x)  # observations (N, *event)\n"
        "found.clusters  # of every facet: (N,)\n"
        "```",
        f"An observation has the shape {shape}, and values from {model.observation.low:g} to "
        f"{model.observation.high:g} as in training. `config.json` has all settings.",
        "## Data",
        f"The data set is `{one_line(config.data.name)}`. "
        + ("" if evaluation is None else _numbers(evaluation)),
        "## Results",
        *_results(evaluation),
        "## Limits",
        "Clusters are what the model finds in these data, not classes that a person has defined. "
        "Measures of agreement with labels say how well they happen to match. Other data than "
        "those of training may get confident assignments that mean nothing.",
    ]
    text = "\n\n".join(part.strip() for part in parts if part).replace("<", "&lt;")
    head = card_head([kind], _index(title, config, evaluation))
    return f"{head}\n{text}\n"


def _numbers(evaluation: Evaluation) -> str:
    train, test = (evaluation.n_observations[part] for part in ("train", "test"))
    return f"There were {train} observations to train with, and {test} were held out."


def _results(evaluation: Evaluation | None) -> list[str]:
    if evaluation is None:
        return ["The model has not been evaluated."]
    tables = [
        health_table(evaluation),
        replace(agreement_table(evaluation), note=""),  # explained below
        use_table(evaluation),
        elbo_table(evaluation),
    ]
    told = [f"{table.caption}:\n\n{as_markdown(table)}" for table in tables if table is not None]
    meaning = [f"- {title}: {text}" for title, text in explain_measures(evaluation)]
    return [f"After step {evaluation.step}.", *told, "What the measures mean:", "\n".join(meaning)]


def _index(title: str, config: Config, evaluation: Evaluation | None) -> dict[str, Any] | None:
    """The numbers that the Hub shows beside the card."""
    if evaluation is None:
        return None
    title_of = evaluation.facet_title
    metrics = [
        {
            "type": MAIN_ACCURACY,
            "name": f"{MEASURES[MAIN_ACCURACY].title}, {title_of(j)}, {factor}, held out",
            "value": evaluation.value(MAIN_ACCURACY, "test", j, factor),
        }
        for j, facet in enumerate(evaluation.facets)
        for factor in facet.factors
    ]
    elbo = {"type": "elbo", "name": "ELBO, held out, nats", "value": evaluation.value("elbo")}
    results = {
        "task": {"type": "other", "name": "clustering"},
        "dataset": {"type": config.data.name, "name": config.data.name},
        "metrics": [elbo, *metrics],
    }
    return {"name": title, "results": [results]}
