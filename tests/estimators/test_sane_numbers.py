"""Numbers that are far from one, alike, or few: finite results, or a reason."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_mfcvae import FacetClustering
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.estimators.inputs import Units

N = 64
ROWS = np.random.default_rng(0).normal(size=(N, 3)) + 4 * (np.arange(N) % 2)[:, None]
PICTURES = np.random.default_rng(0).random((N, 4, 4))
pytestmark = pytest.mark.filterwarnings("ignore::pyro_mfcvae.errors.DataWarning")


def _with(x: np.ndarray, place, value: float) -> np.ndarray:
    x = x.copy()
    x[place] = value
    return x


def _fitted(x: np.ndarray, k: int = 3) -> FacetClustering:
    settings = {"training.n_threads": 1}
    given = {"max_steps": 20, "n_init": 1, "random_state": 0, "settings": settings}
    return FacetClustering(n_clusters=(k, 2), **given).fit(x)


@pytest.mark.parametrize(
    "x",
    [
        ROWS * 1e-30,
        ROWS + 1e12,
        np.arange(N * 3).reshape(N, 3) + 2**51,
        1.7e18 + 1e9 * ROWS,  # nanoseconds
        np.c_[ROWS, np.full(N, 1e30)],
        np.full((N, 3), 1 / 3),
        _with(ROWS, (3, 1), np.nan),
    ],
)
def test_columns_far_from_zero_are_standardised_as_near_ones(x):
    units = Units.of(x.astype(np.float64), True)
    z = units.observations(x.astype(np.float64)).double().numpy()
    for column, given in zip(z.T, x.T, strict=True):
        known = column[np.isfinite(column)]
        varies = np.nanmax(given) > np.nanmin(given)
        assert abs(known.mean()) < 1e-4
        assert known.std() == pytest.approx(float(varies), abs=1e-2)
    back = units.values(z)
    rounding = 1e-6 * units.scale * np.nanmax(np.abs(z), 0) + 1e-15 * np.abs(units.shift)
    assert (np.nan_to_num(np.abs(back - x)) <= rounding).all()


def test_columns_near_zero_are_standardised_as_scikit_learn_does():
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(ROWS)
    units = Units.of(ROWS, True)
    assert (units.shift == scaler.mean_).all()
    assert (units.scale == scaler.scale_).all()


@pytest.mark.parametrize("standardize", [True, "together"])
def test_values_whose_variance_is_no_number_are_named(standardize):
    with pytest.raises(ValueError, match=r"1\.7e\+308 in column 1"):
        Units.of(_with(ROWS, (3, 1), 1.7e308), standardize)


def test_as_many_clusters_as_rows_are_refused():
    with pytest.raises(ValueError, match="n_samples=6.*n_clusters=6"):
        _fitted(ROWS[:6], k=6)


def _slow(x: np.ndarray, name: str):
    return pytest.param(x, marks=pytest.mark.slow, id=name)


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(_with(ROWS, 3, 1e8), id="a row at 1e8"),
        pytest.param(np.zeros((N, 4, 4), np.uint8), id="black"),
        pytest.param(ROWS[:, :1].astype(">f2"), id="one big-endian column of 16 bits"),
        _slow(np.ones((N, 3)), "ones"),
        _slow(ROWS * 1e6, "1e6"),
        _slow(ROWS * 1e-30, "1e-30"),
        _slow(np.asfortranarray(np.repeat(ROWS, 2, 0))[::-2], "strides"),
        _slow(np.arange(N * 3).reshape(N, 3) + 2**53, "beyond 53 bits"),
        _slow(ROWS > 0, "truth values"),
        _slow(np.full((N, 4, 4), 255, np.uint8), "white"),
        _slow(_with(PICTURES, 3, 1e8), "a picture at 1e8"),
        _slow(PICTURES * 1e-30, "faint pictures"),
        _slow((PICTURES * 2**40).astype(">i8"), "pictures of 64 bits"),
        _slow(ROWS[:4], "one row more than clusters"),
    ],
)
def test_odd_numbers_are_fitted_to(x):
    model = _fitted(x)
    z = model.transform(x)
    found = [model.predict_proba(x), z, model.score_samples(x), model.inverse_transform(z)]
    assert all(np.isfinite(each).all() for each in found)
    assert all(np.isfinite([*record["values"].values()]).all() for record in model.history_)


@pytest.mark.parametrize("value", [np.inf, 1e308])
def test_pictures_that_32_bits_cannot_hold_are_refused(value):
    with pytest.raises((DataError, ValueError), match="inf|32 bits"):
        _fitted(_with(_with(PICTURES, 3, value), 4, -value))
