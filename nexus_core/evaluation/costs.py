"""Cost per query: what a pipeline asks of models before its answer, what its prompt costs, and processor time.

An evaluation asks no model for the answer, so that of the answering call only the prompt is known: its tokens, and what
these cost by the price of the model. What the steps before it asked (rewriting, expansion, vectors, reranking) has been
spent, and is counted as the services counted it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import asdict, frozen

from nexus_core.contract.answers import AttemptFinished, sum_costs
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import Usage
from nexus_core.engine.models import Model


@frozen(kw_only=True)
class QueryCost:
    """What one query took; `None` is unknown and never 0."""

    requests: int = 0
    """To models, before the answer."""
    tokens_in: int | None = 0
    tokens_out: int | None = 0
    dollars: float | None = 0.0
    """Of these requests, in US dollars."""
    prompt_tokens: int | None = None
    """Of the prompt that would be sent for the answer."""
    prompt_dollars: float | None = None
    ranking_cpu_s: float = 0.0
    """Gathering included; of the whole process, all its threads."""
    packing_cpu_s: float | None = None
    """`None` where nothing was packed."""


@frozen(kw_only=True)
class CostPerQuery:
    """Means over all queries; `None` where a part of any query is unknown."""

    requests: float
    tokens_in: float | None
    tokens_out: float | None
    dollars: float | None
    prompt_tokens: float | None
    prompt_dollars: float | None
    ranking_cpu_ms: float
    packing_cpu_ms: float | None


def cost_of(
    attempts: Sequence[AttemptFinished], prompt: Prompt | None, model: Model | None, ranking_cpu_s: float,
    packing_cpu_s: float | None,
) -> QueryCost:  # fmt: skip
    """Return what one query took; `prompt` is the one that `model` would get."""
    sent = [attempt for attempt in attempts if attempt.request_sent]
    dollars, unknown = sum_costs(sent)
    tokens = None if prompt is None else prompt.tokens_at_most if prompt.prompt_tokens is None else prompt.prompt_tokens
    return QueryCost(
        requests=len(sent),
        tokens_in=_sum([attempt.prompt_tokens for attempt in sent]),
        tokens_out=_sum([attempt.completion_tokens for attempt in sent]),
        dollars=None if unknown else dollars,
        prompt_tokens=tokens,
        prompt_dollars=_price(model, tokens),
        ranking_cpu_s=ranking_cpu_s,
        packing_cpu_s=packing_cpu_s,
    )


def mean_cost(costs: Sequence[QueryCost]) -> CostPerQuery:
    """Return what a query takes on average."""
    packing = _mean([cost.packing_cpu_s for cost in costs])
    return CostPerQuery(
        requests=sum(cost.requests for cost in costs) / len(costs),
        tokens_in=_mean([cost.tokens_in for cost in costs]),
        tokens_out=_mean([cost.tokens_out for cost in costs]),
        dollars=_mean([cost.dollars for cost in costs]),
        prompt_tokens=_mean([cost.prompt_tokens for cost in costs]),
        prompt_dollars=_mean([cost.prompt_dollars for cost in costs]),
        ranking_cpu_ms=1000 * sum(cost.ranking_cpu_s for cost in costs) / len(costs),
        packing_cpu_ms=None if packing is None else 1000 * packing,
    )


COST_TITLE = (
    "Cost per query, on average: of models before the answer, of the prompt that would be sent for it, and milliseconds"
)
COST_HEADERS = (
    "requests",
    "tokens in",
    "tokens out",
    "US$",
    "prompt tokens",
    "prompt US$",
    "ranking CPU",
    "packing CPU",
)


def cost_cells(cost: CostPerQuery) -> tuple[str, ...]:
    """Return the means as the cells of a table."""
    return (
        f"{cost.requests:,.2f}",
        _shown(cost.tokens_in),
        _shown(cost.tokens_out),
        _dollars(cost.dollars),
        _shown(cost.prompt_tokens),
        _dollars(cost.prompt_dollars),
        f"{cost.ranking_cpu_ms:,.2f}",
        "" if cost.packing_cpu_ms is None else f"{cost.packing_cpu_ms:,.2f}",
    )


def cost_json(cost: CostPerQuery) -> dict[str, Any]:
    """Return the means as JSON data."""
    return {_camel(name): value for name, value in asdict(cost).items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _price(model: Model | None, tokens: int | None) -> float | None:
    if model is None or tokens is None or model.prices is None:
        return None
    return model.prices.cost(Usage(prompt_tokens=tokens, completion_tokens=0))


def _sum(counts: Sequence[int | None]) -> int | None:
    return None if None in counts else sum(count for count in counts if count is not None)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}"


def _dollars(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6f}"
