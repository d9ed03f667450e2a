"""The relevance of texts for a query, as Cohere, Jina, vLLM and llama.cpp serve it at `POST {base_url}/rerank`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any

from nexus_core import ProtocolError, Results, Transfer
from nexus_openai.response_parsing import answer_of, entries, tokens_read

if TYPE_CHECKING:
    from nexus_openai.client import Client


async def rerank(client: Client, query: str, texts: Sequence[str]) -> Sequence[float]:
    """Return the relevance of each text; raises only ConnectorErrors."""
    fields = {"query": query, "documents": list(texts)}
    return await client.ask("/rerank", fields, (query, *texts), partial(read_relevance, count=len(texts)))


def read_relevance(data: bytes, transfer: Transfer | None = None, *, count: int) -> Results[float]:
    """Return the relevance of each text, in their order; raises InBandError, or a ConnectorError where one has none."""
    answer = answer_of(data)
    found = [_relevance(entry.get("relevance_score")) for entry in entries(answer, "results", count)]
    return Results.from_service(found, tokens_read(answer), transfer)


def _relevance(value: Any) -> float:
    if type(value) in (int, float) and abs(value) < 1e300 and isfinite(value):
        return float(value)
    raise ProtocolError("a relevance_score of the answer is no finite number", code="shape")
