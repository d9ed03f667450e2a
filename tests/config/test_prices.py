"""`prices` of a model, as lint sees them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nexus_core import ModelPrices
from nexus_core.config.check import Checked

Check = Callable[..., Checked]


def check_prices(checked: Check, prices: str) -> Checked:
    return checked(f"name: x\nmodels:\n  main:\n    use: chat\n    prices: {prices}\nsteps:\n- generate: main\n")


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ("{input: 2.5, output: 10}", ModelPrices(input=2.5, cached=2.5, output=10, reasoning=10)),
        ("{input: 2.5, cached: 0, output: 10}", ModelPrices(input=2.5, cached=0, output=10)),
        ("{input: 2.5, cached: , output: 10, reasoning: 12}", ModelPrices(input=2.5, output=10, reasoning=12)),
        ("{input: 0, output: 0}", ModelPrices(input=0, output=0)),
        ("", None),
    ],
    ids=["two", "cached for nothing", "empty is missing", "free", "none"],
)
def test_prices_are_read(checked: Check, prices: str, expected: ModelPrices | None) -> None:
    """What is missing is as the whole of which it is a part."""
    result = check_prices(checked, prices)
    assert result.spec is not None
    assert result.spec.models[0].prices == expected


@pytest.mark.parametrize(
    ("prices", "place", "message"),
    [
        ("{input: -1, output: 10}", (5, 21), "`input` must be from 0 to 1000000, found -1"),
        ("{input: 1, output: .inf}", (5, 32), "a number must be finite"),
        ("{input: .nan, output: 10}", (5, 21), "a number must be finite"),
        ("{input: 1, output: 10, cached: 1e99}", (5, 44), "`cached` must be from 0 to 1000000"),
        ("{input: cheap, output: 10}", (5, 21), "`input` must be a number, found"),
        ("{input: 1}", (5, 13), "`prices` needs `output`"),
        ("{input: 1, output: 2, ouput: 3}", (5, 35), "`prices` takes no 'ouput', did you mean 'output'?"),
        ("2.5", (5, 13), "`prices` must be"),
    ],
    ids=["negative", "infinite", "no number", "absurd", "text", "missing", "unknown", "no mapping"],
)
def test_a_wrong_price_is_a_problem_at_its_place(
    checked: Check, prices: str, place: tuple[int, int], message: str
) -> None:
    """Found before anything is built or sent."""
    [problem] = [found for found in check_prices(checked, prices).problems if found.severity == "error"]
    assert (problem.line, problem.column) == place
    assert message in problem.message
