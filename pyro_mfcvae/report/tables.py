"""Tables of what was measured of one run."""

from __future__ import annotations

import math

from pyro_mfcvae.evaluation.fitting import guide_name, observations_in_words
from pyro_mfcvae.report.cells import Cell, Table, number, percent, table
from pyro_mfcvae.report.facts import Facts

PARTS = {"test": "held out", "train": "training"}

# measure -> column, and what it is. Measures beyond these appear under their own names.
MEASURES = {
    "majority_accuracy_training_map": (
        "majority, training map",
        "Each cluster stands for the class most frequent in it among the training observations. "
        "Several clusters may stand for one class, so it grows with K.",
    ),
    "majority_accuracy": (
        "majority, own map",
        "The same with the map learnt on the observations that are judged.",
    ),
    "class_weighted_accuracy": (
        "class-weighted",
        "Majority accuracy (own map) averaged over classes, each counting the same.",
    ),
    "hungarian_accuracy": (
        "Hungarian",
        "At most one cluster per class; surplus clusters count as wrong.",
    ),
    "nmi": ("NMI", "Mutual information of clusters and classes over the mean of their entropies."),
    "homogeneity": ("homogeneity", "Share of the classes' entropy that the clusters tell."),
    "ari": ("ARI", "Adjusted Rand index: pairs on which both agree, 0 by chance."),
}


def overview_table(facts: Facts) -> Table | None:
    """Majority accuracy of every facet for every factor."""
    if not facts.factors:
        return None
    clustered = {j: facet for j, facet in enumerate(facts.facets) if facet["factors"]}
    rows = []
    for factor in facts.factors:
        measured = [facet["factors"][factor] for facet in clustered.values()]
        shares = [each["test"]["majority_accuracy_training_map"] for each in measured]
        cells = [Cell(percent(share), share) for share in shares]
        rows.append([factor, str(measured[0]["n_classes"]), *cells])
    columns = [f"facet {j}, K = {facet['n_clusters']}" for j, facet in clustered.items()]
    return table(
        "Majority accuracy on held-out observations, the map from clusters to classes learnt on "
        "training observations. Chance is about one over the number of classes.",
        ["factor", "classes", *columns],
        rows,
    )


def facet_table(facts: Facts, j: int) -> Table | None:
    """Every measure of agreement of one facet, held-out and training."""
    facet = facts.facets[j]
    if not facet["factors"]:
        return None
    given = [name for m in facet["factors"].values() for part in PARTS for name in m[part]]
    names = [*(name for name in MEASURES if name in given), *sorted({*given} - {*MEASURES})]
    rows = [
        [
            f"{factor} ({measures['n_classes']})",
            title,
            *(_share(measures[part].get(name)) for name in names),
        ]
        for factor, measures in facet["factors"].items()
        for part, title in PARTS.items()
    ]
    return table(
        f"Agreement of the clusters of facet {j} (K = {facet['n_clusters']}) with each factor, in "
        "percent",
        ["factor (classes)", "observations", *map(measure_name, names)],
        rows,
        n_headers=2,
    )


def measure_name(name: str) -> str:
    """What a column of this measure is called."""
    return MEASURES[name][0] if name in MEASURES else name.replace("_", " ")


def use_table(facts: Facts) -> Table:
    """How many clusters each facet uses, and how surely."""
    rows = []
    for j, facet in enumerate(facts.facets):
        used, entropy = facet["occupied_clusters"], facet["assignment_entropy"]
        sizes = [str(facet["n_clusters"]), str(facet["latent_dim"])]
        counts = [str(used[part]) for part in PARTS]
        alone = facet["n_clusters"] == 1  # nothing to be certain of
        entropies = [number(None if alone else entropy[part]) for part in PARTS]
        most = number(None if alone else math.log(facet["n_clusters"]))
        rows.append([f"facet {j}", *sizes, *counts, *entropies, most])
    return table(
        "Clusters in use, and mean entropy of the assignment q(c | x) in nats: 0 is certain, "
        "log K is knowing nothing",
        [
            "",
            "K",
            "latent dimensions",
            *(f"in use, {title}" for title in PARTS.values()),
            *(f"entropy, {title}" for title in PARTS.values()),
            "log K",
        ],
        rows,
    )


def elbo_table(facts: Facts) -> Table | None:
    """The ELBO and its terms on both parts of the data."""
    if facts.evaluation is None:
        return None
    terms, n = facts.evaluation["elbo"], facts.evaluation["n_observations"]
    guide = facts.run.config.guide
    rows = [
        [_term(name), *(number(terms.get(part, {}).get(name)) for part in PARTS)]
        for name in terms["test"]
        if name not in [f"kl_c_{j}" for j, f in enumerate(facts.facets) if f["n_clusters"] == 1]
    ]
    columns = [f"{title}, {n[part]} observations" for part, title in PARTS.items()]
    return table(
        f"ELBO and its terms in nats per observation (guide {guide.name}, S = {guide.n_samples})",
        ["", *columns],
        rows,
    )


def bound_table(facts: Facts) -> Table | None:
    """The importance-weighted bound, where it was measured."""
    bound = (facts.evaluation or {}).get("importance_weighted_bound")
    if not bound:
        return None
    rows = [
        [
            title,
            str(bound["n_observations"][part]),
            number(bound[part]),
            number(bound.get("elbo", {}).get(part)),
        ]
        for part, title in PARTS.items()
    ]
    return table(
        f"Importance-weighted bound on log p(x), {bound['n_samples']} samples, beside the bound "
        "with one sample, in nats per observation",
        ["observations", "how many", "bound", "with one sample"],
        rows,
    )


def diversity_table(facts: Facts) -> Table | None:
    """How far apart random pairs are, where that was measured."""
    diversity = (facts.evaluation or {}).get("diversity")
    if not diversity:
        return None
    rows = [
        [name, number(values.get("data"), 4), number(values.get("samples"), 4)]
        for name, values in diversity["distances"].items()
    ]
    return table(
        f"Diversity: mean distance of {diversity['n_pairs']} random pairs",
        ["distance", "of observations", "of samples"],
        rows,
    )


def redundancy_table(facts: Facts) -> Table | None:
    """NMI of the clusterings of every two facets."""
    parts = (facts.evaluation or {}).get("redundancy")
    n = len(facts.facets)
    if not parts or sum(facet["n_clusters"] > 1 for facet in facts.facets) < 2:
        return None
    return table(
        "NMI of the clusterings of two facets: 0 if they partition in different ways, 1 if they "
        "say the same",
        ["facets", *PARTS.values()],
        [
            [f"{i} and {j}", *(number(parts[part][i][j], 3) for part in PARTS)]
            for i in range(n)
            for j in range(i + 1, n)
            if parts["test"][i][j] is not None
        ],
    )


def probe_table(facts: Facts) -> Table | None:
    """How well a classifier reads factors out of latents, where that was measured."""
    probe = (facts.evaluation or {}).get("probe")
    if not probe:
        return None
    rows = {f"facet {j}": accuracies for j, accuracies in enumerate(probe["facets"])}
    rows |= {"all facets": probe["all_facets"], "nothing": probe["most_frequent_class"]}
    factors = list(probe["all_facets"])
    return table(
        "Held-out accuracy of a classifier that sees sampled latents, in percent "
        f"({probe['n_train']} training observations); nothing: the most frequent class",
        ["latents of", *factors],
        [
            [name, *(_share(accuracies.get(factor)) for factor in factors)]
            for name, accuracies in rows.items()
        ],
    )


def guides_table(facts: Facts) -> Table | None:
    """Guides side by side, where they were compared."""
    if not facts.comparison:
        return None
    results = facts.comparison
    rows = [
        [
            str(row["n_samples"]),
            guide_name(row),
            f"{row['elbo']:.2f} ± {row['elbo_standard_error']:.2f}",
            *(number(row[key], 4) for key in ("gap", "predicted_gap", "least_gap")),
            f"{row['gradient_variance']:.4g}",
            number(1000 * row["seconds"], 1),
        ]
        for row in results["guides"]
    ]
    reference = results["reference"]
    gap = f"gap to {reference} in nats" if reference else "there is no reference for a gap"
    return table(
        f"Guides under the same noise after step {results['step']}: "
        f"{observations_in_words(results)}, {results['n_draws']} draws; {gap}",
        [
            "S",
            "guide",
            "ELBO ± standard error",
            "gap",
            "predicted",
            "least possible",
            "gradient variance",
            "ms per pass",
        ],
        rows,
        n_headers=2,
    )


def _share(value: float | None) -> str:
    return number(None if value is None else 100 * value, 1)


def _term(name: str) -> str:
    known = {"elbo": "ELBO", "reconstruction": "log p(x | z)"}
    kind, _, j = name.rpartition("_")
    parts = {"kl_z": "KL of z", "kl_c": "KL of c", "fade": "fade weight", "kl_weight": "KL weight"}
    if kind in parts:
        return f"{parts[kind]}, facet {j}"
    return known.get(name, name.replace("_", " "))
