"""How sure a mean over queries is, and whether two pipelines differ: bootstrap intervals and a randomisation test.

Everything is drawn from a seed, and for all pipelines the same: what is compared is compared on the same queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from attrs import frozen

Table = npt.NDArray[np.float64]
"""A row for each query and a column for each figure; NaN where a query has no such figure."""

CONFIDENCE = 0.95
_MOST_DRAWN = 100_000_000
_CELLS = 2_000_000
"""Of one block of draws, so that the memory does not grow with the number of queries."""


@frozen
class Interval:
    """A mean, and where it lies with 95 % confidence; NaN where there is no value."""

    mean: float
    low: float
    high: float


@frozen
class Difference:
    """How far a pipeline is from the baseline in one figure."""

    interval: Interval
    p: float
    """Of the paired randomisation test, two-sided."""
    p_holm: float
    """The same, corrected for all pipelines that are compared with the baseline (Holm 1979)."""


def draws(queries: int, wanted: int = 10_000) -> int:
    """Return how many times to draw: fewer for very many queries, whose means vary less."""
    return max(1000, min(wanted, _MOST_DRAWN // max(queries, 1)))


def intervals(tables: Sequence[Table], seed: int, times: int) -> tuple[list[list[Interval]], list[list[Interval]]]:
    """Return the interval of each table's columns, and of their differences to the first table's.

    Percentiles of means over queries drawn with replacement (Efron 1979).
    """
    values = np.hstack([np.nan_to_num(table) for table in tables])
    there = np.hstack([(~np.isnan(table)).astype(np.float64) for table in tables])
    with np.errstate(invalid="ignore"):
        drawn = np.vstack([(counts @ values) / (counts @ there) for counts in _resampled(len(values), seed, times)])
        means = values.sum(axis=0) / there.sum(axis=0)
    width = tables[0].shape[1]
    first_drawn, first_mean = drawn[:, :width], means[:width]
    alone, against = [], []
    for start in range(0, values.shape[1], width):
        part, mean = drawn[:, start : start + width], means[start : start + width]
        alone.append(_percentiles(mean, part))
        against.append(_percentiles(mean - first_mean, part - first_drawn))
    return alone, against


def _resampled(queries: int, seed: int, times: int) -> Iterator[Table]:
    """Yield blocks of rows that say how often each query was drawn."""
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS // queries)
    for start in range(0, times, block):
        rows = min(block, times - start)
        drawn = generator.integers(queries, size=(rows, queries)) + np.arange(rows)[:, None] * queries
        yield np.bincount(drawn.ravel(), minlength=rows * queries).reshape(rows, queries).astype(np.float64)


def _percentiles(means: Table, drawn: Table) -> list[Interval]:
    outside = (1 - CONFIDENCE) / 2
    found = []
    for mean, column in zip(means, drawn.T, strict=True):
        known = column[~np.isnan(column)]
        low, high = np.quantile(known, [outside, 1 - outside]) if len(known) else (np.nan, np.nan)
        found.append(Interval(float(mean), float(low), float(high)))
    return found


def p_values(table: Table, baseline: Table, seed: int, times: int) -> list[float]:
    """Return p for each column: how often a difference this large comes about if the two are the same.

    A paired randomisation test (Fisher 1935; for rankings Smucker, Allan and Carterette 2007): the sign of each query's
    difference is drawn at random, and the sums are compared with the one that was found.
    """
    differences = np.nan_to_num(table - baseline)
    found = np.abs(differences.sum(axis=0))
    # Sums in another order differ in their last bits, and that is no difference.
    enough = found - 1e-9 * np.maximum(1.0, found)
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS // len(differences))
    as_large = np.zeros(differences.shape[1])
    for start in range(0, times, block):
        rows = min(block, times - start)
        signs = generator.integers(2, size=(rows, len(differences))) * 2.0 - 1.0
        as_large += np.count_nonzero(np.abs(signs @ differences) >= enough, axis=0)
    return [float(p) for p in (as_large + 1) / (times + 1)]


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for how many there are: the k-th smallest of n times n - k + 1, never falling."""
    corrected = [0.0] * len(values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, values[index] * (len(values) - place)))
        corrected[index] = highest
    return corrected
