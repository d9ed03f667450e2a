"""What a request costs: a value computed from prices and token counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from nexus_core import AttemptFinished, ModelPrices, Usage
from nexus_core.contract.answers import sum_costs

PRICES = ModelPrices(input=2.5, cached=1.25, output=10, reasoning=20)
COUNTS = st.integers(0, 10**7)
DOLLARS = st.floats(0, 1000)


@pytest.mark.parametrize(
    ("counts", "cost"),
    [
        pytest.param((1_000_000, 0, None, None), 2.5, id="prompt"),
        pytest.param((0, 1_000_000, None, None), 10, id="completion"),
        pytest.param((1_000_000, 0, None, 400_000), 0.6 * 2.5 + 0.4 * 1.25, id="cached"),
        pytest.param((0, 1_000_000, 400_000, None), 0.6 * 10 + 0.4 * 20, id="reasoning"),
        pytest.param((0, 0, 0, 0), 0, id="nothing"),
        pytest.param((10, 10, None, 11), None, id="more of the prompt cached than there is"),
        pytest.param((10, 10, 11, None), None, id="more of the completion thought than there is"),
        pytest.param((10, 10, 10, 10), (10 * 1.25 + 10 * 20) / 1e6, id="all cached and thought"),
        pytest.param((None, 10, None, None), None, id="prompt unknown"),
        pytest.param((10, None, None, None), None, id="completion unknown"),
    ],
)
def test_cost_is_that_of_each_kind_of_token(counts: tuple[Any, ...], cost: float | None) -> None:
    """Cached tokens are a part of the prompt and thought ones of the completion; what is unknown is never 0."""
    usage = Usage(
        prompt_tokens=counts[0], completion_tokens=counts[1], reasoning_tokens=counts[2], cached_tokens=counts[3]
    )
    assert PRICES.cost(usage) == (None if cost is None else pytest.approx(cost))


def test_prices_that_are_not_given_are_those_of_the_whole() -> None:
    """Cached tokens cost what the prompt costs, reasoning what the completion costs."""
    assert ModelPrices(input=2.5, output=10) == ModelPrices(input=2.5, cached=2.5, output=10, reasoning=10)


def test_a_long_prompt_has_other_prices_as_a_whole() -> None:
    """Also for its completion, and as often as there are steps."""
    longest = ModelPrices(input=10, output=40)
    prices = ModelPrices(
        input=1, output=4, long_from=1000, long=ModelPrices(input=2, output=8, long_from=2000, long=longest)
    )
    costs = [prices.cost(Usage(prompt_tokens=count, completion_tokens=1)) for count in (1000, 1001, 2001)]
    assert costs == pytest.approx([1004 / 1e6, 2010 / 1e6, 20050 / 1e6])
    assert prices.bound_cost(2001, 1) == costs[2]


@given(st.tuples(DOLLARS, DOLLARS, DOLLARS, DOLLARS), st.tuples(COUNTS, COUNTS, COUNTS, COUNTS))
def test_no_answer_costs_more_than_the_bound_of_its_prompt(dollars: Any, counts: Any) -> None:
    """Whatever of it is cached or thought."""
    prices = ModelPrices(input=dollars[0], cached=dollars[1], output=dollars[2], reasoning=dollars[3])
    prompt, completion, reasoning, cached = counts
    usage = Usage(prompt_tokens=prompt, completion_tokens=completion, reasoning_tokens=reasoning, cached_tokens=cached)
    assert 0 <= (prices.cost(usage) or 0) <= prices.bound_cost(prompt, completion) * (1 + 1e-9)


@pytest.mark.parametrize("price", [-0.01, float("nan"), float("inf"), "2.5", None, True])
def test_a_price_is_a_finite_number(price: Any) -> None:
    """Of a connector, too, which lint does not see."""
    with pytest.raises(ValueError, match="`input` of ModelPrices must be a finite number of at least 0"):
        ModelPrices(input=price, output=1)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([], (0, 0), id="none"),
        pytest.param([(True, 0.5), (True, 0.25)], (0.75, 0), id="known"),
        pytest.param([(True, 0.5), (True, None)], (0.5, 1), id="one unknown"),
        pytest.param([(True, None)], (None, 1), id="all unknown"),
        pytest.param([(False, None), (True, 0.5)], (0.5, 0), id="not sent"),
    ],
)
def test_costs_are_summed_up_where_they_are_known(rows: list[tuple[bool, float | None]], expected: Any) -> None:
    """With how many requests are not in the sum; what was not sent is no request."""
    row: dict[str, Any] = {"run_id": "r", "time": 0.0, "call_id": "c", "model": "m", "model_id": "m", "outcome": "ok"}
    attempts = [AttemptFinished(number=n, request_sent=sent, cost=cost, **row) for n, (sent, cost) in enumerate(rows)]
    assert sum_costs(attempts) == expected
