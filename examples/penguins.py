"""From a table to named clusters
==============================

The rows of a CSV get the clusters of two facets, and a page shows what sets them apart.

Run with ``python examples/penguins.py [FILE.csv [COLUMN ...]]``. Without a file it takes the wines
that come with scikit-learn. Columns that are named are left out of the training and held against
the facets afterwards, such as species, sex and island of the Palmer penguins; so are columns that
are no numbers, and rows with gaps.
"""

import sys

import pandas as pd
from sklearn.datasets import load_wine
from sklearn.metrics import normalized_mutual_info_score

from pyro_mfcvae import FacetClustering


def read(arguments):
    """The rows, and the columns that are known partitions of them."""
    if not arguments:
        table = load_wine(as_frame=True).frame
        return table.drop(columns="target"), table[["target"]]
    path, *known = arguments
    table = pd.read_csv(path).dropna()
    return table.drop(columns=known).select_dtypes("number"), table[known]


def main(arguments, **settings):
    """Fit, say what was found, and write it down."""
    rows, known = read(arguments)
    model = FacetClustering((6, 4), random_state=0, **settings).fit(rows)
    print(model.facet_info().to_string())
    for j in range(2):
        print(f"\nfacet {j}\n{model.cluster_info(j).to_string()}")
    for name in known:
        agreement = [normalized_mutual_info_score(known[name], c) for c in model.labels_.T]
        print(f"\nNMI of {name} with the facets:", *(f"{value:.2f}" for value in agreement))
    rows.join(model.assign(rows)).to_csv("with-clusters.csv")
    model.report("clusters.html")
    return model


if __name__ == "__main__":
    main(sys.argv[1:], n_init=8, verbose=True)
