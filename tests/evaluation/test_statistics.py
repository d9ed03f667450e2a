"""Intervals and tests: against figures worked out by hand, and for what must hold of any."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from nexus_core.evaluation.statistics import draws, holm, intervals, p_values

NAN = float("nan")


@pytest.mark.slow
def test_an_interval_of_many_values_is_the_normal_one() -> None:
    """1.96 standard errors to each side of the mean."""
    values = np.random.default_rng(1).normal(0.5, 0.2, size=(2000, 1))
    [[found]], _ = intervals([values], 3, 4000)
    error = values.std() / np.sqrt(len(values))
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_equal_values_have_an_interval_without_width() -> None:
    """There is nothing to vary."""
    [[found]], _ = intervals([np.full((7, 1), 0.25)], 0, 1000)
    assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)


def test_values_that_are_not_there_are_in_no_mean() -> None:
    """A query without an answer has no part in answer recall; a figure of no query is unknown."""
    [[some, none]], _ = intervals([np.array([[1.0, NAN], [NAN, NAN], [0.0, NAN]])], 0, 1000)
    assert (some.mean, some.low, some.high) == (0.5, 0.0, 1.0)
    assert np.isnan([none.mean, none.low, none.high]).all()


def test_differences_are_drawn_on_the_same_queries() -> None:
    """A pipeline that is better by the same everywhere is surely better, however much queries vary."""
    baseline = np.random.default_rng(2).random((50, 1))
    _, [_, [found]] = intervals([baseline, baseline + 0.1], 5, 1000)
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 5))
def test_the_same_seed_gives_the_same_interval_around_the_mean(values: list[int], seed: int) -> None:
    """And low, mean and high stand in that order."""
    table = np.array([[value / 4] for value in values])
    [[first]], _ = intervals([table], seed, 1000)
    assert intervals([table], seed, 1000)[0] == [[first]]
    assert first.low <= first.mean + 1e-12
    assert first.mean <= first.high + 1e-12


@pytest.mark.parametrize(
    "differences",
    [
        pytest.param([0.5, 0.25, 0.25, 0.125, 0.5, -0.25], id="mixed"),
        pytest.param([0.5] * 6, id="all-better"),
        pytest.param([0.5, -0.5, 0.0, 0.25, -0.25], id="none"),
    ],
)
def test_p_is_the_share_of_signs_that_give_as_large_a_difference(differences: list[float]) -> None:
    """Against all signs there are."""
    all_signs = list(product((1, -1), repeat=len(differences)))
    sums = [abs(sum(sign * d for sign, d in zip(signs, differences, strict=True))) for signs in all_signs]
    exact = sum(total >= abs(sum(differences)) - 1e-12 for total in sums) / len(all_signs)
    [found] = p_values(np.array([differences]).T, np.zeros((len(differences), 1)), 4, 20_000)
    assert found == pytest.approx(exact, abs=0.015)


def test_p_of_a_pipeline_against_itself_is_one() -> None:
    """No difference is never significant."""
    table = np.random.default_rng(0).random((30, 2))
    assert p_values(table, table.copy(), 0, 1000) == [1.0, 1.0]


def test_holm_corrects_each_for_those_that_are_left() -> None:
    """The example of three: .01 times 3, .02 times 2, and never below the one before."""
    assert holm([0.02, 0.01, 0.03]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_very_many_queries_are_drawn_fewer_times() -> None:
    """So that a million queries take seconds."""
    assert [draws(300), draws(50_000), draws(10_000_000)] == [10_000, 2_000, 1_000]
