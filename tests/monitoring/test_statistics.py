"""The statistics beside scipy and beside direct computation from the rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import special, stats

from cloudml.monitoring import Baseline, check
from cloudml.monitoring import statistics as ours
from cloudml.monitoring.quantiles import quantiles

SHAPES = {
    "normal": lambda random, n, shift: random.normal(10 + shift, 3, n),
    "lognormal": lambda random, n, shift: random.lognormal(shift / 4, 1, n),
    "far from zero": lambda random, n, shift: random.normal(1.7e9 + 1000 * shift, 3600, n),
    "integers": lambda random, n, shift: random.poisson(30 + 2 * shift, n),
    "two humps": lambda random, n, shift: np.where(random.random(n) < 0.5 + shift / 10, 0.0, 5.0) + random.random(n),
}


def samples(shape: str, n: int = 50_000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    return SHAPES[shape](random, n, 0.0), SHAPES[shape](random, n // 2, 1.0)


def measured(reference: np.ndarray, window: np.ndarray) -> dict[str, float]:
    baseline = Baseline.from_rows({"x": reference})
    return dict(check(baseline, baseline.window({"x": window})).features[0].statistics)


@pytest.mark.parametrize("shape", SHAPES)
def test_ks_is_scipys_within_a_thousandth(shape: str) -> None:
    reference, window = samples(shape)
    assert measured(reference, window)["ks"] == pytest.approx(stats.ks_2samp(reference, window).statistic, abs=1e-3)


@pytest.mark.parametrize("shape", ["normal", "lognormal", "far from zero", "two humps"])
def test_wasserstein_of_continuous_data_is_scipys_within_a_ten_thousandth(shape: str) -> None:
    reference, window = samples(shape, 200_000)
    expected = stats.wasserstein_distance(reference, window) / reference.std()
    assert measured(reference, window)["wasserstein_normalized"] == pytest.approx(expected, rel=1e-4)


def test_wasserstein_of_whole_numbers_is_scipys_within_a_hundredth() -> None:
    reference, window = samples("integers")
    expected = stats.wasserstein_distance(reference, window) / reference.std()
    assert measured(reference, window)["wasserstein_normalized"] == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("shape", SHAPES)
def test_psi_is_that_of_the_references_own_deciles(shape: str) -> None:
    reference, window = samples(shape)
    edges = np.unique(np.quantile(reference, np.arange(1, 10) / 10))
    p, q = (np.bincount(np.searchsorted(edges, x), minlength=len(edges) + 1) / len(x) for x in (reference, window))
    assert measured(reference, window)["psi"] == pytest.approx(float(((q - p) * np.log(q / p)).sum()), rel=1e-12)


@pytest.mark.parametrize("size", [2, 7, 60])
def test_chi_squared_and_its_p_value_are_scipys(size: int) -> None:
    random = np.random.default_rng(size)
    for scale in (1.0, 1.1, 2.0):
        reference, window = random.integers(50, 90, size), (random.integers(20, 40, size) * scale).astype(int)
        expected = stats.chi2_contingency(np.stack([reference, window]), correction=False)
        found = ours.chi_squared(reference, window)
        assert found.value == pytest.approx(expected.statistic, rel=1e-12)
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10, abs=1e-12)
        assert found.freedom == expected.dof


def test_jensen_shannon_is_scipys_and_reaches_its_bounds() -> None:
    from scipy.spatial.distance import jensenshannon

    reference, window = np.array([10, 0, 30, 5]), np.array([7, 9, 2, 0])
    assert ours.js_distance(reference, window) == pytest.approx(jensenshannon(reference, window, base=2), rel=1e-12)
    assert ours.js_divergence(np.array([5, 0]), np.array([0, 9])) == 1.0
    assert ours.js_divergence(np.array([5, 1]), np.array([50, 10])) == 0.0


@pytest.mark.parametrize("x", [0.0, 1e-6, 0.3, 1.0, 4.9, 20.0, 300.0])
@pytest.mark.parametrize("a", [0.5, 1.0, 4.5, 50.0, 500.0])
def test_gamma_q_is_scipys(a: float, x: float) -> None:
    assert ours.gamma_q(a, x) == pytest.approx(special.gammaincc(a, x), rel=1e-11, abs=1e-14)


@pytest.mark.parametrize("x", [0.0, 0.1, 0.2, 0.4, 0.8, 1.17, 1.19, 2.0, 4.0])
def test_kolmogorovs_limit_is_scipys(x: float) -> None:
    assert ours.kolmogorov_sf(x) == pytest.approx(special.kolmogorov(x), rel=1e-12)


@pytest.mark.parametrize(("hits", "before"), [(1, 0), (7, 2), (40, 90), (120, 300), (0, 5)])
def test_a_rates_increase_is_fishers_test(hits: int, before: int) -> None:
    n, m = 400, 1000
    expected = stats.fisher_exact([[hits, n - hits], [before, m - before]], alternative="greater").pvalue
    found = ours.rate_increase_p(hits, n, before, m)
    assert found == (1.0 if hits / n <= (hits + before) / (n + m) else pytest.approx(expected, rel=1e-9))


def test_the_chance_of_rows_outside_the_range_is_what_simulation_gives() -> None:
    random = np.random.default_rng(5)
    reference, window = random.random((20_000, 30)), random.random((20_000, 60))
    outside = ((window < reference.min(1)[:, None]) | (window > reference.max(1)[:, None])).sum(1)
    for k in (1, 4, 10):
        chance = ours.outside_p(k, 60, 30)
        assert (outside >= k).mean() == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / 20_000))


def test_an_empty_bin_counts_as_half_a_row() -> None:
    found = ours.psi(np.array([10, 10, 0]), np.array([10, 10, 0]))
    assert found == 0.0  # empty in both: no bin at all
    expected = (0.5 / 10 - 0.5) * math.log(0.5 / 10 / 0.5) + (1.0 - 0.5) * math.log(1.0 / 0.5)
    assert ours.psi(np.array([5, 5]), np.array([0, 10])) == pytest.approx(expected)


def test_pooling_keeps_every_row_and_leaves_no_rare_bin() -> None:
    reference, window = np.array([500, 300, 3, 2, 1, 40]), np.array([50, 20, 1, 1, 0, 9])
    pooled = ours.pooled(reference, window, rest=(0, 2))
    assert [int(part.sum()) for part in pooled] == [reference.sum(), window.sum() + 2]
    n, m = (float(part.sum()) for part in pooled)
    assert min((pooled[0] + pooled[1]) * min(n, m) / (n + m)) >= ours.SMALLEST_EXPECTED


@pytest.mark.parametrize(
    "make",
    [
        lambda random: random.normal(3, 2, 70_001),
        lambda random: random.lognormal(0, 9, 100_000),
        lambda random: random.poisson(2, 66_000).astype(float),
        lambda random: np.full(70_000, 3.25),
        lambda random: np.where(random.random(80_000) < 0.9, 0.0, random.standard_cauchy(80_000)),
        lambda random: random.normal(size=70_000) * 1e305,
        lambda random: np.sort(random.normal(1e9, 1e-3, 99_999)),
    ],
)
def test_quantiles_are_numpys_to_the_last_bit(make: Callable[[np.random.Generator], np.ndarray]) -> None:
    values = make(np.random.default_rng(1))
    shares = (0.0, 0.1, 0.25, 0.3, 0.5, 0.75, 0.9, 0.999, 1.0)
    assert quantiles(values, shares) == np.quantile(values, shares).tolist()
