"""Tables of what was measured of one run, for pages and for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from pyro_mfcvae.evaluation.measures import MAIN_ACCURACY, MEASURES, PARTS, Level, Measure
from pyro_mfcvae.evaluation.results import Comparison, Evaluation
from pyro_mfcvae.naming import Names, cluster_name
from pyro_mfcvae.tables import Cell, Table, make_table, number, percent

_LEVELS: tuple[Level, ...] = ("run", "facet", "factor", "pair")


def explain_measures(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Title and explanation of every measure that an evaluation has."""
    rows = [row for level in _LEVELS for row in evaluation.measured(level)]
    return [(row.title, row.explanation) for row in rows if row.explanation]


def _explain(measured: Sequence[Measure]) -> str:
    return "\n".join(f"{row.title}: {row.explanation}" for row in measured)


def health_table(evaluation: Evaluation) -> Table | None:
    """What is wrong with the model, if anything is."""
    if not evaluation.health:
        return None
    rows = [(finding.kind, finding.sentence) for finding in evaluation.health]
    return make_table("What is wrong", ("", "found, and what to change"), rows, is_text=True)


def overview_table(evaluation: Evaluation) -> Table | None:
    """Majority accuracy of every facet for every factor."""
    judged = [j for j, facet in enumerate(evaluation.facets) if facet.factors]
    if not judged:
        return None
    rows: list[list[Cell | str]] = []
    for factor in evaluation.facets[judged[0]].factors:
        shares = [evaluation.value(MAIN_ACCURACY, "test", j, factor) for j in judged]
        cells = [Cell("–") if s is None else Cell(percent(s), s) for s in shares]
        rows.append([factor, str(evaluation.n_classes(factor)), *cells])
    return make_table(
        "Majority accuracy on held-out observations, the map from clusters to classes learnt on "
        "training observations. Chance is about one over the number of classes.",
        ["factor", "classes", *(_facet_title(evaluation, j) for j in judged)],
        rows,
    )


def agreement_table(evaluation: Evaluation) -> Table:
    """The brief measures of every facet and factor on held-out observations."""
    measured = [row for row in evaluation.measured("factor") if row.is_brief]
    rows: list[list[str]] = []
    for j, facet in enumerate(evaluation.facets):
        head = f"{evaluation.facet_names.get(j, j)}: {facet.n_used()} of {facet.n_clusters}"
        for factor, found in facet.factors.items():
            values = (evaluation.value(row.name, "test", j, factor) for row in measured)
            texts = (row.text(value) for row, value in zip(measured, values, strict=True))
            rows.append([head, f"{factor} ({found.n_classes})", *texts])
        if not facet.factors:
            none = "no labels" if facet.has_clusters else "one cluster"
            rows.append([head, none, *("" for _ in measured)])
    return make_table(
        "held-out observations, percent",
        ["facet: clusters used", "factor (classes)", *(row.title for row in measured)],
        rows,
        n_headers=2,
        note=_explain(measured),
    )


def facet_table(evaluation: Evaluation, j: int) -> Table | None:
    """Every measure of agreement of one facet, held-out and training."""
    facet = evaluation.facets[j]
    if not facet.factors:
        return None
    measured = evaluation.measured("factor")
    rows = [
        [
            f"{factor} ({found.n_classes})",
            title,
            *(row.text(evaluation.value(row.name, part, j, factor)) for row in measured),
        ]
        for factor, found in facet.factors.items()
        for part, title in PARTS.items()
    ]
    return make_table(
        f"Agreement of the clusters of {evaluation.facet_title(j)} (K = {facet.n_clusters}) with "
        "each factor, in percent",
        ["factor (classes)", "observations", *(row.title for row in measured)],
        rows,
        n_headers=2,
    )


def clusters_table(evaluation: Evaluation, j: int, names: Names) -> Table | None:
    """How large and how sure the clusters of a facet are, and what sets them apart.

    Args:
        evaluation: the results.
        j: the facet.
        names: of its clusters.
    """
    found = evaluation.facets[j].clusters
    if not found:
        return None
    n = sum(each.size for each in found)
    rows = [
        (
            cluster_name(names, each.cluster),
            str(each.size),
            percent(each.size / n),
            number(each.sure),
            ", ".join(f"{name} {value:+.1f}" for name, value in each.apart.items()),
        )
        for each in found
    ]
    return make_table(
        f"Clusters of {evaluation.facet_title(j)} among held-out rows; sure is the mean "
        "probability of a row's cluster, apart the difference of means in standard deviations",
        ["cluster", "rows", "share", "sure", "what sets it apart"],
        rows,
        is_text=True,
    )


def use_table(evaluation: Evaluation) -> Table:
    """What was measured of each facet by itself: how many clusters it uses, and how surely."""
    measured = evaluation.measured("facet")
    rows = []
    for j, facet in enumerate(evaluation.facets):
        texts = [
            row.text(
                None
                if not facet.has_clusters and "responsibilities" in row.needs  # sure anyway
                else evaluation.value(row.name, part, j)
            )
            for row in measured
            for part in PARTS
        ]
        title = evaluation.facet_title(j)
        rows.append([title, str(facet.n_clusters), str(facet.latent_dim), *texts])
    columns = (f"{row.title}, {title}" for row in measured for title in PARTS.values())
    return make_table(
        "Clusters (K) in use, and how certain the assignment q(c | x) is",
        ["", "K", "latent dimensions", *columns],
        rows,
    )


def elbo_table(evaluation: Evaluation, guide: str = "") -> Table:
    """The ELBO and its terms on both parts of the data.

    Args:
        evaluation: the results.
        guide: in words, that they were measured with.
    """
    rows = [
        [
            term.title,
            "" if term.weight is None else number(term.weight, 3),
            *(number(term.values.get(part)) for part in PARTS),
        ]
        for term in evaluation.terms()
    ]
    fade = "/".join(number(weight) for weight in evaluation.fade)
    return make_table(
        f"ELBO and its terms in nats per observation{guide and f' ({guide})'}",
        ["", "weight", *_part_columns(evaluation)],
        rows,
        note=f"Fade weights of the facets: {fade}.",
    )


def run_table(evaluation: Evaluation) -> Table | None:
    """Further measures of the whole model."""
    measured = [row for row in evaluation.measured("run") if row.name in evaluation.measures]
    if not measured:
        return None
    return make_table(
        "Further measures of the model",
        ["", *_part_columns(evaluation)],
        [
            [row.title, *(row.text(evaluation.value(row.name, part)) for part in PARTS)]
            for row in measured
        ],
    )


def bound_table(evaluation: Evaluation) -> Table | None:
    """The importance-weighted bound, where it was measured."""
    bound = evaluation.importance_weighted_bound
    if bound is None:
        return None
    rows = [
        [
            title,
            str(bound.n_observations[part]),
            number(getattr(bound, part)),
            number(bound.elbo.get(part)),
        ]
        for part, title in PARTS.items()
    ]
    return make_table(
        f"Importance-weighted bound on log p(x), {bound.n_samples} samples, beside the bound "
        "with one sample, in nats per observation",
        ["observations", "how many", "bound", "with one sample"],
        rows,
    )


def diversity_table(evaluation: Evaluation) -> Table | None:
    """How far apart random pairs are, where that was measured."""
    if evaluation.diversity is None:
        return None
    return make_table(
        f"Diversity: mean distance of {evaluation.diversity.n_pairs} random pairs",
        ["distance", "of observations", "of samples"],
        [
            [name, number(means.get("data"), 4), number(means.get("samples"), 4)]
            for name, means in evaluation.diversity.distances.items()
        ],
    )


def pairs_table(evaluation: Evaluation) -> Table | None:
    """What was measured of every two facets."""
    measured, pairs = evaluation.measured("pair"), evaluation.pairs()
    names = evaluation.facet_names
    if not (measured and pairs):
        return None
    return make_table(
        "Two facets beside each other",
        ["facets", *(f"{row.title}, {title}" for row in measured for title in PARTS.values())],
        [
            [
                f"{names.get(i, i)} and {names.get(j, j)}",
                *(
                    number(evaluation.value(row.name, part, i, other_facet=j), 3)
                    for row in measured
                    for part in PARTS
                ),
            ]
            for i, j in pairs
        ],
        note=_explain(measured),
    )


def probe_table(evaluation: Evaluation) -> Table | None:
    """How well a classifier reads factors out of latents, where that was measured."""
    probe = evaluation.probe
    if probe is None:
        return None
    rows = {evaluation.facet_title(j): found for j, found in enumerate(probe.facets)}
    rows |= {"all facets": probe.all_facets, "nothing": probe.most_frequent_class}
    text = MEASURES["probe_accuracy"].text
    return make_table(
        "Held-out accuracy of a classifier that sees sampled latents, in percent "
        f"({probe.n_train} training observations); nothing: the most frequent class",
        ["latents of", *probe.all_facets],
        [
            [name, *(text(accuracies.get(factor)) for factor in probe.all_facets)]
            for name, accuracies in rows.items()
        ],
    )


def guides_table(comparison: Comparison) -> Table:
    """Guides side by side."""
    rows = [
        [
            str(row.n_samples),
            row.title,
            f"{row.elbo:.2f} ± {row.elbo_standard_error:.2f}",
            *(number(value, 4) for value in (row.gap, row.predicted_gap, row.least_gap)),
            f"{row.gradient_variance:.4g}",
            number(1000 * row.seconds, 1),
        ]
        for row in comparison.guides
    ]
    if comparison.reference is None:
        gap = "No gaps: the reference, enumerate, does not fit this model."
    else:
        gap = (
            f"Gap: how far the ELBO lies below that of {comparison.reference}, in nats; predicted: "
            "the mean KL of q(c | x) from p(c | z), from the samples alone; least possible: what "
            "no q(c | x), the same for all samples, can beat: minus the sum of alpha log Z. ± is "
            "the standard error over draws. For guides with KLs in closed form (analytic), gap and "
            "prediction agree on average over draws only."
        )
    return make_table(
        f"Guides under the same noise after step {comparison.step}: {comparison.observations}, "
        f"{comparison.n_draws} draws",
        ["S", "guide", "ELBO", "gap", "predicted", "least possible", "gradient variance", "ms"],
        rows,
        n_headers=2,
        note=" ".join(filter(None, (gap, comparison.reasons))),
    )


def guide_terms_table(comparison: Comparison) -> Table | None:
    """The terms of the ELBO by guide; None for a comparison by an earlier version."""
    facets = range(len(comparison.fade))
    if not all(row.terms for row in comparison.guides):
        return None
    rows = [
        [
            str(row.n_samples),
            row.title,
            number(row.terms["reconstruction"]),
            *("/".join(number(row.terms[f"{kl}_{j}"]) for j in facets) for kl in ("kl_z", "kl_c")),
        ]
        for row in comparison.guides
    ]
    fade = "/".join(map(number, comparison.fade))
    return make_table(
        f"Terms of the ELBO, {comparison.observations}, {comparison.n_draws} draws of the noise",
        ["S", "guide", "log p(x | z)", "KL of z", "KL of c"],
        rows,
        n_headers=2,
        note="ELBO = log p(x | z) - sum over facets of alpha (KL of z + KL of c), in nats, with "
        f"alpha {fade}; KLs facet by facet. Where c is summed out (enumerate), KL of z has both.",
    )


def runs_table(evaluations: dict[str, Evaluation]) -> Table:
    """For several runs of the same facets, what each facet agrees with most."""
    (first, *_) = evaluations.values()
    return make_table(
        "held-out observations: majority accuracy of the factor that a facet agrees with most, "
        "percent",
        ["", "ELBO", *(f"facet {j}" for j in range(len(first.facets)))],
        [
            [
                name,
                number(found.value("elbo")),
                *(_closest_factor(found, j) for j in range(len(found.facets))),
            ]
            for name, found in evaluations.items()
        ],
    )


def _closest_factor(evaluation: Evaluation, j: int) -> str:
    """The factor of the highest NMI and its accuracy."""
    facet = evaluation.facets[j]
    if not facet.factors:
        return "no labels" if facet.has_clusters else "one cluster"
    name = max(facet.factors, key=lambda factor: facet.factors[factor].test["nmi"])
    accuracy = MEASURES[MAIN_ACCURACY].text(facet.factors[name].test[MAIN_ACCURACY])
    return f"{name} {accuracy}"


def _facet_title(evaluation: Evaluation, j: int) -> str:
    return f"{evaluation.facet_title(j)}, K = {evaluation.facets[j].n_clusters}"


def _part_columns(evaluation: Evaluation) -> list[str]:
    n = evaluation.n_observations
    return [f"{title}, {n[part]} observations" for part, title in PARTS.items()]
