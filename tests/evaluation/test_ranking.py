"""Candidates in order: by held-out ELBO, one standard error, faults and size, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_mfcvae.evaluation.ranking import SAME, Candidate, matched, rank, table_rows

RNG = np.random.default_rng(0)
EASE = 10 * RNG.normal(size=200)  # how hard a row is, for every candidate alike


def candidate(n_clusters, behind=0.0, noise=1.0, **more):
    """One whose rows lie so far behind, on average exactly, give or take the noise."""
    own = RNG.normal(size=200)
    own = noise * (own - own.mean()) / own.std(ddof=1)
    n = len(n_clusters)
    given = {
        "latent_dim": (2,) * n,
        "starts": [0.0],
        "stability": np.ones(n),
        "redundancy": np.eye(n),
        "used": n_clusters,
    }
    return Candidate(n_clusters, elbo=EASE - behind + own, **given | more)


def labels(*candidates):
    return [row.label for row in rank(candidates).rows]


def test_the_standard_error_is_of_paired_differences():
    best, other = candidate((4,), noise=0), candidate((6,), 0.3, noise=2)
    first, second = rank([other, best]).rows
    assert (first.candidate, second.candidate) == (best, other)
    np.testing.assert_allclose([first.behind, first.standard_error], 0, atol=1e-12)
    np.testing.assert_allclose(second.behind, 0.3)
    np.testing.assert_allclose(second.standard_error, 2 / np.sqrt(200))


def test_the_simplest_within_one_standard_error_is_recommended():
    best = candidate((10, 10), noise=0)
    near = candidate((4, 2), 0.06, noise=1)  # one standard error is 0.071
    far = candidate((2, 2), 0.08, noise=1)
    ranking = rank([best, near, far])
    assert ranking.order == (1, 0, 2)
    assert "(10, 10)" in ranking.rows[0].verdict
    assert "6 clusters" in ranking.rows[0].verdict
    assert ranking.recommendation.startswith("(4, 2)")
    assert ranking.rows[1].verdict.startswith("has the best held-out ELBO")
    assert ranking.rows[2].verdict == "is 0.08 ± 0.07 nats a row behind"


def test_a_facet_that_other_starts_do_not_find_is_told_and_is_no_fault():
    loose = candidate((3, 2), stability=np.array([0.9, 0.1]))
    first = rank([candidate((2,), 1.0), loose]).rows[0]
    assert first.candidate is loose
    assert "facet 1" in first.verdict
    assert "0.10" in first.verdict
    assert "facet 0" not in first.verdict


def test_the_first_of_every_number_of_facets_is_named():
    one = rank([candidate((3,)), candidate((9, 9), 2.0), candidate((4, 2), 1.0)])
    assert "J = 2 is (4, 2)" in one.recommendation


def test_clusters_in_use_count_and_then_latents_and_then_stability():
    many = candidate((9, 9), noise=0, used=(2, 2))
    few = candidate((3, 3), noise=0)
    assert labels(few, many) == ["(9, 9)", "(3, 3)"]
    slim = candidate((3, 3), noise=0, latent_dim=(1, 1), used=(2, 2))
    assert labels(many, slim)[0].startswith("(3, 3)")
    loose = candidate((3, 3), noise=0, stability=np.array([0.5, 1]))
    assert rank([loose, few]).rows[0].candidate is few


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"redundancy": np.array([[1, 0.9], [0.9, 1]])}, ["facets 0 and 1", "0.90"]),
        ({"used": (3, 1)}, ["facet 1", "one cluster"]),
    ],
)
def test_what_has_a_fault_comes_last_with_its_reason(fault, words):
    ill, well = candidate((3, 2), **fault), candidate((4, 4), 5.0)
    ranking = rank([ill, well])
    assert ranking.rows[0].candidate is well
    assert ranking.rows[1].behind < -4
    for word in words:
        assert word in ranking.rows[1].verdict
        assert word in rank([ill]).rows[0].verdict  # nothing else is left to recommend


def test_facets_that_are_alike_within_the_bound_or_have_one_cluster_are_not_the_same():
    alike = np.array([[1, SAME], [SAME, 1]])
    assert candidate((3, 2), redundancy=alike).ills == []
    one = candidate((3, 2), used=(3, 1), redundancy=np.ones((2, 2)))
    assert one.ills == ["facet 1 has all rows in one cluster"]


def test_an_elbo_that_is_not_finite_is_a_fault():
    broken = candidate((3,), np.nan)
    ranking = rank([broken, candidate((4,), 3.0)])
    assert ranking.rows[1].candidate is broken
    assert "finite" in ranking.rows[1].verdict


def test_a_facet_without_clusters_and_a_single_start_are_no_faults():
    assert candidate((6, 1), stability=np.full(2, np.nan)).ills == []


def test_other_rows_and_other_densities_are_refused():
    one, short = candidate((3,)), candidate((4,))
    object.__setattr__(short, "elbo", short.elbo[:100])
    for other, word in ((short, "100"), (candidate((4,), density="bernoulli"), "bernoulli")):
        with pytest.raises(ValueError, match=word) as error:
            rank([one, other])
        assert "(4,)" in str(error.value)
    with pytest.raises(ValueError, match="candidate"):
        rank([])


def test_equal_clusters_are_told_apart_by_their_latents():
    rows = table_rows(rank([candidate((3,)), candidate((3,), 1.0, latent_dim=(4,))]))
    assert "(2,)" in rows[0]["candidate"]
    assert "(4,)" in rows[1]["candidate"]


def test_the_numbers_of_a_row():
    redundancy = np.array([[1, 0.5, 0.2], [0.5, 1, 0.1], [0.2, 0.1, 1]])
    one = candidate((3, 2, 2), redundancy=redundancy, stability=np.array([0.9, 0.4, 0.8]))
    (row,) = table_rows(rank([one]))
    assert row["elbo"] == pytest.approx(EASE.mean())
    assert (row["redundant"], row["stable"]) == (0.5, 0.4)


def test_facets_are_matched_with_those_of_other_starts():
    """NMI is 1 of the same clusters, and 0 with independent ones and with a single one."""
    a, b, single = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.zeros(4, int)
    np.testing.assert_allclose(matched([a, b], [[b, 1 - a], [single, b]]), [0.5, 1.0])
    assert np.isnan(matched([a, b], [])).all()
