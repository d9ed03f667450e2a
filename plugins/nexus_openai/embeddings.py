"""Embeddings (`POST {base_url}/embeddings`, numbers or base64) and relevance of texts (`/rerank`, as Cohere has it)."""

from __future__ import annotations

import sys
from array import array
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

from nexus_core import Message, Prompt, ProtocolError, Results, Transfer
from nexus_core.toolkit import write_json
from nexus_openai.response_parsing import answer_of, entries, tokens_read

if TYPE_CHECKING:
    from nexus_core.toolkit import ServiceClient

_Read = TypeVar("_Read")

Vector = Sequence[float]


async def embed(client: ServiceClient, texts: Sequence[str], dimensions: int | None) -> Sequence[Vector]:
    """Return one vector for each text; raises only ConnectorErrors."""
    fields = {"input": list(texts)} | ({"dimensions": dimensions} if dimensions else {})
    return await _ask(client, "/embeddings", fields, texts, partial(read_embeddings, count=len(texts)))


def read_embeddings(data: bytes, transfer: Transfer | None = None, *, count: int) -> Results[Vector]:
    """Return the vectors in the order of their texts; raises InBandError, or a ConnectorError where any is none."""
    answer = answer_of(data)
    vectors = [_vector(entry.get("embedding")) for entry in entries(answer, "data", count)]
    if len({len(vector) for vector in vectors}) > 1:
        raise ProtocolError("the vectors of the answer differ in length", code="shape")
    return Results.from_service(vectors, tokens_read(answer), transfer)


def _vector(value: Any) -> Vector:
    try:
        vector: Vector = _decoded(value) if isinstance(value, str) else value
        if len(vector) and all(map(isfinite, vector)):
            return vector
    except (TypeError, ValueError, OverflowError):
        raise ProtocolError("an embedding of the answer is no list of numbers", code="shape") from None
    raise ProtocolError("an embedding of the answer is empty, or holds what is no finite number", code="shape")


def _decoded(text: str) -> array[float]:
    numbers = array("f", b64decode(text, validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


async def rerank(client: ServiceClient, query: str, texts: Sequence[str]) -> Sequence[float]:
    """Return the relevance of each text; raises only ConnectorErrors."""
    fields = {"query": query, "documents": list(texts)}
    return await _ask(client, "/rerank", fields, (query, *texts), partial(read_relevance, count=len(texts)))


def read_relevance(data: bytes, transfer: Transfer | None = None, *, count: int) -> Results[float]:
    """Return the relevance of each text, in their order; raises InBandError, or a ConnectorError where one has none."""
    answer = answer_of(data)
    found = [_relevance(entry.get("relevance_score")) for entry in entries(answer, "results", count)]
    return Results.from_service(found, tokens_read(answer), transfer)


def _relevance(value: Any) -> float:
    if type(value) in (int, float) and abs(value) < 1e300 and isfinite(value):
        return float(value)
    raise ProtocolError("a relevance_score of the answer is no finite number", code="shape")


async def _ask(
    client: ServiceClient,
    path: str,
    fields: Mapping[str, Any],
    texts: Sequence[str],
    read: Callable[[bytes, Transfer], _Read],
) -> _Read:
    # Texts that are sent are a prompt for whoever looks after what errors may show.
    prompt = Prompt(messages=tuple(Message("user", text) for text in texts))
    body = {"model": client.settings.model, **fields}
    return await client.ask(client.url(path), prompt, lambda: write_json(body), read)
