"""The best items, put in order by a model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from math import inf, isfinite
from typing import Literal, Self

from attrs import evolve

from nexus_core import (
    CallOptions,
    Connector,
    ConnectorError,
    Item,
    PluginError,
    Prompt,
    RankerError,
    Ranking,
    Reranker,
    RunContext,
    component,
    hookimpl,
    injected,
    option,
    state,
)
from nexus_core.toolkit import (
    CrossEncoder,
    counted,
    cross_encoder_named,
    cross_encoder_problem,
    item_parts,
    token_counter,
)
from nexus_rankers import listwise

_log = logging.getLogger("nexus_rankers")
_FOLDER = r"[.~].*|.*[/\\].*"
"""What is a folder, and not the name of a connector."""
_MOST_PARTS = 8
"""How many parts of an item a cross-encoder reads: so that no item takes more than some of its time."""


@component
class Rerank:
    """Reorders the best items by a model: a service's rerank endpoint, or a model that is asked for an order.

    Exactly one request per query, none where there are fewer than two items; in a pipeline the engine retries it. Items
    below the best keep their order below them. A folder as `model` is a cross-encoder that runs on this machine.

    | nDCG@10 on scifact, `method: endpoint` | bm25 | top 20 |
    |---------------------------------------|------|--------|
    | judged by the cosine of MiniLM's vectors | .697 | .685 |

    A bi-encoder stood in for the judge (`tests/bench/reranker.py`); a cross-encoder would differ.
    """

    model: str | Connector = option(
        help="The connector, such as `{use: openai, model: gpt-4o-mini}`, or the folder of a cross-encoder.",
        pattern=_FOLDER,
    )
    method: Literal["ask", "endpoint"] = option(
        "ask", help="Ask a model of chats for an order, or use the rerank endpoint of the service."
    )
    top: int = option(20, help="How many of the best items are reordered.", ge=2, le=100)
    passage_tokens: int = option(
        256,
        help="How many tokens of each item are sent, from its beginning; for a cross-encoder, of each of its parts.",
        ge=16,
        le=8192,
    )
    on_failure: Literal["fail", "keep"] = option(
        "fail", help="Without a usable answer: end the run, or keep the order and log a warning."
    )
    base_dir: str = injected(default=".")
    _open: AsyncExitStack = state(AsyncExitStack)
    _encoder: CrossEncoder | None = state()
    _loading: asyncio.Lock = state(asyncio.Lock)

    def __attrs_post_init__(self) -> None:
        if isinstance(self.model, str):
            if self.method == "endpoint":
                raise ValueError("`method: endpoint` is for connectors: a cross-encoder in a folder has no endpoint")
        elif self.method == "endpoint" and not isinstance(self.model, Reranker):
            raise ValueError(
                f"the connector of `model` ({type(self.model).__name__}) has no rerank endpoint: name one that has, "
                "or say `method: ask`"
            )

    def check_built(self) -> None:
        """Raise PluginError where a cross-encoder cannot be used."""
        problem = cross_encoder_problem(self.model, self.base_dir) if isinstance(self.model, str) else ""
        if problem:
            raise PluginError(f"ranker 'rerank': {problem}")

    async def __aenter__(self) -> Self:
        if isinstance(self.model, AbstractAsyncContextManager):
            await self._open.enter_async_context(self.model)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._open.aclose()

    async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:
        """Return the ranking with its best items in the model's order; where failures count, ConnectorErrors pass."""
        head = [*ranking.order(self.top)]
        if len(head) > 1:
            try:
                order = await self._order(query, [ranking.items[index] for index in head], run)
                head = [head[place] for place in order]
            except (ConnectorError, RankerError) as error:
                if self.on_failure == "fail":
                    raise
                _log.warning("ranker 'rerank' keeps the order before it: %s", error)
        return ranking.scored("rerank", _above_the_rest(ranking, head))

    async def _order(self, query: str, items: Sequence[Item], run: RunContext) -> Sequence[int]:
        """Return the places of the items, best first."""
        if isinstance(self.model, str):
            return _best_first(await self._read_here(query, items))
        model = run.bind(self.model)
        if self.method == "ask":
            return await self._ask_model(query, items, model)
        assert isinstance(model, Reranker)
        count = token_counter(model.model_info.encoding).count
        texts = [listwise.passage(item, self.passage_tokens, count) for item in items]
        relevance = [*await model.rerank(listwise.shortened(query, count), texts)]
        if len(relevance) != len(items) or not all(map(isfinite, relevance)):
            raise RankerError(
                f"ranker 'rerank': the service gave {counted(len(relevance), 'number')}"
                f" for {counted(len(items), 'item')}"
            )
        return _best_first(relevance)

    async def _read_here(self, query: str, items: Sequence[Item]) -> Sequence[float]:
        """Return the relevance of each item by the cross-encoder: that of its best part, the lowest without text."""
        try:
            async with self._loading:
                if self._encoder is None:
                    load = partial(cross_encoder_named, str(self.model), self.base_dir)
                    self._encoder = await asyncio.to_thread(load)
            parts = await asyncio.to_thread(lambda: [_parts(item, self.passage_tokens) for item in items])
            return [max(await self._encoder.relevance(query, own), default=-inf) for own in parts]
        except PluginError as error:
            raise RankerError(f"ranker 'rerank': {error}") from error

    async def _ask_model(self, query: str, items: Sequence[Item], model: Connector) -> Sequence[int]:
        info = model.model_info
        count = token_counter(info.encoding).count
        asked = listwise.shortened(query, count)
        fitting, tokens = listwise.room(info, asked, len(items), self.passage_tokens, count)
        if fitting < 2:
            raise RankerError(
                f"ranker 'rerank': the window of {info.id} ({info.window:,} tokens) holds no two passages beside the "
                "question: take another model"
            )
        passages = [listwise.passage(item, tokens, count) for item in items[:fitting]]
        messages = listwise.question(asked, passages)
        prompt = Prompt(messages=messages, query=asked, window=info.window, max_output=info.max_output)
        completion = await model.send_prompt(prompt, CallOptions(temperature=0.0))
        order = listwise.order_in(completion.text, fitting)
        if order is None:
            raise RankerError(
                f"ranker 'rerank': {info.id} named no passage in its answer of {len(completion.text):,} characters "
                f"(finish reason {completion.finish_reason}): take a model that follows instructions, or say "
                "`on_failure: keep`"
            )
        return [*order, *range(fitting, len(items))]


def _best_first(relevance: Sequence[float]) -> Sequence[int]:
    return sorted(range(len(relevance)), key=lambda place: -relevance[place])


def _parts(item: Item, tokens: int) -> Sequence[str]:
    """Return the first parts of an item, as embedders have them; of a very long one the rest is not even looked at."""
    looked_at = _MOST_PARTS * tokens * listwise.CHARACTERS
    return item_parts(evolve(item, text=item.text[:looked_at]), tokens)[:_MOST_PARTS]


def _above_the_rest(ranking: Ranking, head: Sequence[int]) -> list[float]:
    """Return scores from above 0 to 1 for the items of `head` by their place, and for all others those before, below 0.

    A model tells an order, and relevance is on no common scale.
    """
    before = [float(score) for score in ranking.scores] if ranking.scores is not None else [0.0] * len(ranking.items)
    low, high = min(before, default=0.0), max(before, default=0.0)
    scores = [(score - low) / (high - low) - 1 if high > low else -1.0 for score in before]
    for place, index in enumerate(head):
        scores[index] = 1 - place / len(head)
    return scores


@hookimpl
def nexus_rankers() -> list[type]:
    """Yield the ranker."""
    return [Rerank]
