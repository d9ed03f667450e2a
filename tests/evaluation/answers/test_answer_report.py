"""Reports of answers: what is compared with what, and what is summed."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest

from nexus_core import AttemptFinished
from nexus_core.evaluation.answers.answer_report import TokenTotals, compare


def test_pipelines_are_compared_on_the_queries_that_both_have_a_figure_of() -> None:
    """The means alone would differ by .5 here, since each has the figure of another question."""
    first = np.array([[1.0], [nan], [0.5], [0.5]])
    other = np.array([[nan], [0.0], [0.5], [0.5]])
    found = compare([first, other], ["grounded"], seed=1, times=1000)
    assert found[0] == {}
    assert (found[1]["grounded"].interval.mean, found[1]["grounded"].p) == (0.0, 1.0)


def test_a_figure_that_two_pipelines_do_not_share_is_not_compared() -> None:
    """Nor does it count as one of the comparisons that p is corrected for."""
    first = np.full((12, 1), 0.0)
    other, without = np.full((12, 1), 1.0), np.full((12, 1), nan)
    found = compare([first, without, other], ["judge"], seed=1, times=1000)
    assert found[1] == {}
    assert found[2]["judge"].p_holm == found[2]["judge"].p < 0.05


def test_p_is_corrected_for_all_pipelines_that_are_compared() -> None:
    """As for rankings: twice the p of two equal differences."""
    first, other = np.full((12, 1), 0.0), np.full((12, 1), 1.0)
    found = compare([first, other, other], ["match"], seed=1, times=1000)
    assert found[1]["match"].p_holm == pytest.approx(2 * found[1]["match"].p)


def test_tokens_that_nobody_knows_are_counted_apart() -> None:
    """So are estimated ones; what was never sent took none, and what nobody knows the price of is counted apart."""

    def row(**fields: object) -> AttemptFinished:
        known = {
            "run_id": "r",
            "time": 0.0,
            "call_id": "c",
            "number": 1,
            "model": "m",
            "model_id": "m",
            "outcome": "ok",
        }
        return AttemptFinished(**known, **fields)  # type: ignore[arg-type]

    rows = [
        row(prompt_tokens=7, completion_tokens=3, cost=0.25),
        row(prompt_tokens=5, completion_tokens=1, usage_source="estimated"),
        row(prompt_tokens=4),
        row(request_sent=False),
    ]
    assert TokenTotals.of(rows) == TokenTotals(
        requests=3, prompt_tokens=16, completion_tokens=4, estimated=1, unknown=1, dollars=0.25, unpriced=2
    )
