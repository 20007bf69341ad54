"""Results on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_COLUMNS = {
    "majority": "majority_accuracy_training_map",
    "Hungarian": "hungarian_accuracy",
    "NMI": "nmi",
    "ARI": "ari",
}
_PARTS = {"train": "training", "test": "held-out"}
_NAMES = {"elbo": "ELBO", "reconstruction": "log p(x | z)"}


def console() -> Console:
    """The terminal; elsewhere wide enough not to break the tables."""
    screen = Console()
    return screen if screen.is_terminal else Console(width=100)


def show_comparison(screen: Console, results: dict[str, Any]) -> None:
    """Print what a comparison of guides measured."""
    from pyro_mfcvae.evaluation.fitting import guide_name, left_out_in_words, observations_in_words

    facets = range(len(results["fade"]))
    terms = _guide_table("log p(x | z)", "KL of z", "KL of c")
    terms.title = f"{observations_in_words(results)}, {results['n_draws']} draws of the noise"
    measures = _guide_table("ELBO", "gap", "predicted", "least", "gradient variance", "ms")
    last = None
    for row in results["guides"]:
        s = row["n_samples"]
        name = ("" if s == last else str(s), guide_name(row))
        if last not in (None, s):
            terms.add_section()
            measures.add_section()
        terms.add_row(
            *name,
            f"{row['terms']['reconstruction']:.2f}",
            *(_joined(row["terms"][f"{kl}_{j}"] for j in facets) for kl in ("kl_z", "kl_c")),
        )
        measures.add_row(
            *name,
            f"{row['elbo']:.2f} ± {row['elbo_standard_error']:.2f}",
            *map(_gap, (row["gap"], row["predicted_gap"], row["least_gap"])),
            f"{row['gradient_variance']:.4g}",
            f"{1000 * row['seconds']:.1f}",
        )
        last = s
    screen.print(terms)
    _explain(
        screen,
        "ELBO = log p(x | z) - sum over facets of alpha (KL of z + KL of c), in nats, with alpha\n"
        f"{_joined(results['fade'])}; KLs facet by facet. Where c is summed out (enumerate), "
        "KL of z has both.",
    )
    screen.print(measures)
    if results["reference"] is None:
        _explain(screen, "No gaps: the reference, enumerate, does not fit this model.")
    else:
        _explain(
            screen,
            f"gap: how far the ELBO lies below that of {results['reference']}, in nats; predicted:"
            "\nthe mean KL of q(c | x) from p(c | z), from the samples alone; least: what no "
            "q(c | x),\nthe same for all samples, can beat: minus the sum of alpha log Z. ± is the "
            "standard error\nover draws. For guides with KLs in closed form (analytic), gap and "
            "prediction agree on\naverage over draws only.",
        )
    if said := left_out_in_words(results):
        screen.print(said, style="dim", highlight=False, markup=False)


def _gap(value: float | None) -> str:
    return "–" if value is None else f"{value:z.4f}"


def _guide_table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE, title_justify="left")
    table.add_column("S", justify="right")
    table.add_column("guide", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    return table


def _joined(values: Iterable[float]) -> str:
    return "/".join(f"{value:z.2f}" for value in values)


def _explain(screen: Console, text: str) -> None:
    screen.print(text, style="dim", highlight=False)


def show_evaluation(screen: Console, results: dict[str, Any]) -> None:
    """Print ELBO and, per facet and factor, how clusters agree with held-out labels."""
    if results["step"] < results["n_steps"]:
        screen.print(
            f"not finished: after step {results['step']} of {results['n_steps']}", highlight=False
        )
    for part, terms in results["elbo"].items():
        screen.print(f"ELBO, {part}: {terms['elbo']:.2f} nats per observation", highlight=False)
    if bound := results.get("importance_weighted_bound"):
        for part, n in bound["n_observations"].items():
            screen.print(
                f"importance-weighted bound, {part}: {bound[part]:.2f} nats per observation "
                f"({bound['n_samples']} samples, {n} observations)",
                highlight=False,
            )
        for part, elbo in bound.get("elbo", {}).items():
            screen.print(f"ELBO of the same observations, {part}: {elbo:.2f}", highlight=False)
    table = Table(box=box.SIMPLE, title="held-out observations, percent", title_justify="left")
    table.add_column("facet")
    table.add_column("clusters used", max_width=8)
    table.add_column("factor (classes)", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for j, facet in enumerate(results["facets"]):
        used = f"{facet['occupied_clusters']['test']} of {facet['n_clusters']}"
        first = True
        for factor, measures in facet["factors"].items():
            values = [f"{100 * measures['test'][key]:.1f}" for key in _COLUMNS.values()]
            label = escape(f"{factor} ({measures['n_classes']})")
            table.add_row(str(j) if first else "", used if first else "", label, *values)
            first = False
        if first:
            none = "no labels" if facet["n_clusters"] > 1 else "one cluster"
            table.add_row(str(j), used, none)
        table.add_section()
    screen.print(table)
    _show_redundancy(screen, results["redundancy"]["test"])
    _show_diversity(screen, results.get("diversity", {}))
    if any(facet["factors"] for facet in results["facets"]):
        _explain(
            screen,
            "majority: each cluster stands for the class most frequent in it among the training "
            "observations;\nHungarian: one cluster per class, surplus clusters count as wrong.",
        )
    if "probe" in results:
        _show_probe(screen, results["probe"])


def show_runs(screen: Console, results: dict[str, dict[str, Any]]) -> None:
    """Print for several runs what each facet agrees with most, one run in a row.

    Args:
        screen: the terminal.
        results: of ``evaluate_run``, by the runs' names; all of the same facets and factors.
    """
    facets = range(len(next(iter(results.values()))["facets"]))
    table = _numbers(
        "held-out observations: majority accuracy of the factor that a facet agrees with most, "
        "percent",
        "ELBO",
        *(f"facet {j}" for j in facets),
    )
    for name, result in results.items():
        table.add_row(
            escape(name), f"{result['elbo']['test']['elbo']:.2f}", *map(_closest, result["facets"])
        )
    screen.print(table)


def _closest(facet: dict[str, Any]) -> str:
    """The factor of the highest NMI and its accuracy."""
    if facet["n_clusters"] == 1:
        return "one cluster"
    factors = facet["factors"]
    if not factors:
        return "no labels"
    name = max(factors, key=lambda factor: factors[factor]["test"]["nmi"])
    return escape(f"{name} {100 * factors[name]['test'][_COLUMNS['majority']]:.1f}")


def _show_redundancy(screen: Console, nmi: Sequence[Sequence[float]]) -> None:
    pairs = [
        f"{i} and {j}: {nmi[i][j]:.3f}"
        for i in range(len(nmi))
        for j in range(i + 1, len(nmi))
        if nmi[i][j] is not None
    ]
    if pairs:
        screen.print(f"NMI of the clusterings of facets {'; '.join(pairs)}\n", highlight=False)


def _show_diversity(screen: Console, diversity: dict[str, Any]) -> None:
    for name, means in diversity.get("distances", {}).items():
        screen.print(
            f"mean distance of {diversity['n_pairs']} random pairs ({name}): "
            f"data {means['data']:.4f}, samples {means['samples']:.4f}",
            highlight=False,
        )


def _show_probe(screen: Console, probe: dict[str, Any]) -> None:
    screen.print(
        "\nheld-out accuracy of a classifier on sampled latents, percent "
        f"({probe['n_train']} training observations)",
        highlight=False,
    )
    table = Table(box=box.SIMPLE)
    table.add_column("latents of", no_wrap=True)
    rows = {f"facet {j}": accuracies for j, accuracies in enumerate(probe["facets"])}
    rows |= {"all facets": probe["all_facets"], "nothing": probe["most_frequent_class"]}
    for factor in probe["all_facets"]:
        table.add_column(escape(factor), justify="right")
    for name, accuracies in rows.items():
        table.add_row(name, *(f"{100 * value:.1f}" for value in accuracies.values()))
    screen.print(table)


def show_everything(screen: Console, results: dict[str, Any]) -> None:
    """Print all terms of the ELBO, the use of clusters, and every measure of agreement."""
    from pyro_mfcvae.evaluation.matrices import TITLES, stored_factors, stored_matrices

    screen.print(_terms(results["elbo"]))
    fade = [v for name, v in results["elbo"]["test"].items() if name.startswith("fade_")]
    screen.print(f"fade weights of the facets: {_joined(fade)}\n", highlight=False)
    screen.print(_use(results["facets"]))
    for part, nmi in results["redundancy"].items():
        clustered = [i for i, row in enumerate(nmi) if row[i] is not None]
        if len(clustered) > 1:
            screen.print(_redundancy(part, nmi, clustered))
    matrices = {part: stored_matrices(results, part) for part in _PARTS}
    factors = stored_factors(results)
    for measure, title in TITLES.items():
        given = {part: found[measure] for part, found in matrices.items() if measure in found}
        if given:
            screen.print(_matrix(title, given, factors, results["facets"]))


def _terms(elbo: dict[str, dict[str, float]]) -> Table:
    table = _numbers("terms of the ELBO, nats per observation", "weight", *_PARTS.values())
    terms = elbo["test"]
    kls = {
        f"{kl}_{j}": (f"KL of {kl[-1]}, facet {j}", terms.get(f"kl_weight_{j}", terms[f"fade_{j}"]))
        for kl in ("kl_z", "kl_c")
        for j in range(sum(name.startswith("fade_") for name in terms))
    }
    for name in terms:
        if name.startswith(("fade_", "kl_weight_")):
            continue
        others = (_NAMES.get(name, name), terms.get(f"kl_weight_{name}"))
        label, weight = kls.get(name, others)
        values = (f"{elbo[part][name]:z.3f}" for part in _PARTS)
        table.add_row(escape(label), "" if weight is None else f"{weight:.3f}", *values)
    return table


def _use(facets: Sequence[dict[str, Any]]) -> Table:
    table = _numbers(
        "clusters (K) in use, and the entropy of q(c | x)",
        "K",
        "D",
        *(
            f"{what}\n{part}"
            for what in ("in use", "nats", "% of log K")
            for part in _PARTS.values()
        ),
    )
    for j, facet in enumerate(facets):
        used, entropy, share = (
            [facet[key][part] for part in _PARTS]
            for key in ("occupied_clusters", "assignment_entropy", "normalized_assignment_entropy")
        )
        table.add_row(
            f"facet {j}",
            str(facet["n_clusters"]),
            str(facet["latent_dim"]),
            *map(str, used),
            *(f"{value:.3f}" for value in entropy),
            *(f"{100 * value:.1f}" for value in share),
        )
    return table


def _redundancy(part: str, nmi: Sequence[Sequence[float | None]], facets: Sequence[int]) -> Table:
    table = _numbers(f"NMI, {_PARTS[part]}, percent", *(f"facet {j}" for j in facets))
    for i in facets:
        table.add_row(f"facet {i}", *(f"{100 * nmi[i][j]:.1f}" for j in facets))
    return table


def _matrix(
    title: str, given: dict[str, Any], factors: Sequence[str], facets: Sequence[dict[str, Any]]
) -> Table:
    """One measure: factors in rows, facets in columns, (J, F) by part."""
    columns = [
        (j, part)
        for j in range(len(facets))
        for part, values in given.items()
        if values[j, 0] == values[j, 0]  # nan for a facet without clusters
    ]
    table = _numbers(
        f"{title}, percent",
        *(f"facet {j}\nK = {facets[j]['n_clusters']}\n{_PARTS[part]}" for j, part in columns),
    )
    for f, factor in enumerate(factors):
        known = [facet["factors"][factor] for facet in facets if factor in facet["factors"]]
        name = f"{factor} ({known[0]['n_classes']})" if known else factor
        values = (f"{100 * given[part][j, f]:z.1f}" for j, part in columns)
        table.add_row(escape(name), *values)
    return table


def _numbers(title: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE, title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table
