"""How the ranking without labels relates to the truth that it does not see.

    python -m benchmarks.selection penguins wine --data-dir DIR --out selection.json

Every candidate of a grid is fitted to data with known partitions. The labels come into play once
all are ranked: each partition is held against the facet that matches it, one to one (NMI, 0 where
there are fewer facets), and the mean of these is the candidate's agreement. Without names the
records of a file are ranked once more.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr
from sklearn.metrics import normalized_mutual_info_score

from pyro_mfcvae import FacetClustering
from pyro_mfcvae.estimators.search import candidate_of
from pyro_mfcvae.evaluation.ranking import Candidate, rank
from pyro_mfcvae.presets.auto import grid_of_clusters
from pyro_mfcvae.runs.run import commit
from pyro_mfcvae.tables import Table, as_markdown, make_table, number

N_LETTERS = 2000  # rows that are taken, evenly spread
TRUE = {"penguins": (3, 2), "wine": (3,), "fruit": (3, 3), "digits": (10,), "letters": (6, 4, 3)}
TOGETHER = ("digits", "letters")  # columns of one unit
_PACKAGES = ("torch", "pyro-ppl", "numpy", "scikit-learn")


def load(name: str, folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Rows (N, features), and the partitions (N,) by name."""
    import pandas as pd
    from sklearn import datasets

    if name == "penguins":
        table = pd.read_csv(folder / "penguins.csv").dropna()
        known = {name: pd.factorize(table[name])[0] for name in ("species", "sex")}
        return table[[c for c in table if c.endswith(("_mm", "_g"))]].to_numpy(float), known
    if name == "fruit":
        values = np.loadtxt(folder / "fruit.data", delimiter=",")
        return values[:, 2:], {"species": values[:, 0], "colour": values[:, 1]}
    if name == "letters":
        values = np.loadtxt(folder / "nrLetters.data", delimiter=",")
        values = values[np.linspace(0, len(values) - 1, N_LETTERS).astype(int)]
        return values[:, 3:], dict(zip(("letter", "colour", "corner"), values.T, strict=False))
    x, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    return x, {"class": labels}


def measure(name: str, folder: Path, n_init: int, seed: int) -> dict[str, Any]:
    """Fit every candidate, and hold its facets against the truth."""
    x, known = load(name, folder)
    grid = grid_of_clusters(round(0.8 * len(x)))
    found = []
    for k in dict.fromkeys([*grid, TRUE[name], TRUE[name][::-1]]):
        began = time.perf_counter()
        how = "together" if name in TOGETHER else True
        fitted = FacetClustering(k, n_init=n_init, random_state=seed, standardize=how).fit(x)
        nmi = [
            [normalized_mutual_info_score(truth, facet) for facet in fitted.labels_.T]
            for truth in known.values()
        ]
        own = vars(candidate_of(fitted)) | {"nmi": nmi, "seconds": time.perf_counter() - began}
        found.append({key: _plain(value) for key, value in own.items()})
        print(name, seed, k, np.round(nmi, 2).tolist(), flush=True)
    return {"data": name, "seed": seed, "n_init": n_init, "known": [*known], "candidates": found}


def judge(record: dict[str, Any]) -> None:
    """Add what the ranking says, and how far it agrees with the truth, to a record."""
    for each in record["candidates"]:
        nmi = np.array(each["nmi"])
        each["agreement"] = float(nmi[linear_sum_assignment(nmi, maximize=True)].sum() / len(nmi))
    ranking = rank([_candidate(each) for each in record["candidates"]])
    agreements = [record["candidates"][i]["agreement"] for i in ranking.order]
    places = [tuple(row.candidate.n_clusters) for row in ranking.rows]
    true = (TRUE[record["data"]], TRUE[record["data"]][::-1])
    alike = [i for i, k in enumerate(places) if len(k) == len(true[0])]
    record |= {
        "ranking": [
            {"candidate": row.label, "agreement": round(agreement, 3), "verdict": row.verdict}
            for row, agreement in zip(ranking.rows, agreements, strict=True)
        ],
        "recommended": ranking.rows[0].label,
        "agreement_of_recommended": agreements[0],
        "best_agreement": max(agreements),
        "median_agreement": float(np.median(agreements)),
        "rank_of_truth": 1 + min(i for i, k in enumerate(places) if k in true),
        "n_candidates": len(places),
        "rank_among_equal_facets": 1 + min(i for i, k in enumerate(alike) if places[k] in true),
        "n_equal_facets": len(alike),
        "spearman_of_equal_facets": _agreement(np.take(agreements, alike)),
        "spearman": _agreement(agreements),
    }


def _agreement(agreements: ArrayLike) -> float:
    """Spearman's correlation of the order with the agreement, 1 where it falls throughout."""
    return -float(spearmanr(range(len(np.asarray(agreements))), agreements).statistic)


def results_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each record."""
    heads = ("data", "seed", "truth", "its rank", "of equal J", "recommended", "agreement")
    heads += ("best", "median", "Spearman", "of equal J")
    rows = [
        (
            record["data"],
            str(record["seed"]),
            str(TRUE[record["data"]]),
            f"{record['rank_of_truth']} of {record['n_candidates']}",
            f"{record['rank_among_equal_facets']} of {record['n_equal_facets']}",
            record["recommended"],
            number(record["agreement_of_recommended"]),
            number(record["best_agreement"]),
            number(record["median_agreement"]),
            number(record["spearman"]),
            number(record["spearman_of_equal_facets"]),
        )
        for record in records
    ]
    return make_table("", heads, rows, is_text=True)


def _candidate(each: Mapping[str, Any]) -> Candidate:
    tuples = {key: tuple(each[key]) for key in ("n_clusters", "latent_dim", "used")}
    arrays = {key: np.array(each[key], float) for key in ("elbo", "stability", "redundancy")}
    return Candidate(**tuples, **arrays, starts=each["starts"], density=each["density"])


def _plain(value: Any) -> Any:
    return np.round(value, 4).tolist() if isinstance(value, np.ndarray | list | float) else value


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="*", metavar="NAME", help=", ".join(TRUE))
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--n-init", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, required=True, help="records are added to it")
    given = parser.parse_args()
    records = json.loads(given.out.read_text()) if given.out.exists() else []
    packages = {name: version(name) for name in _PACKAGES}
    where = {"command": sys.argv[1:], "commit": commit(), "packages": packages}
    for seed, name in product(given.seeds, given.data):
        records.append(measure(name, given.data_dir, given.n_init, seed) | where)
        given.out.write_text(json.dumps(records) + "\n")
    for record in records:
        judge(record)
    given.out.write_text(json.dumps(records) + "\n")
    print(as_markdown(results_table(records)))


if __name__ == "__main__":
    main()
