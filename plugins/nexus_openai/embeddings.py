"""Embeddings (`POST {base_url}/embeddings`, numbers or base64) and relevance of texts (`/rerank`).

The answers of OpenAI, Cohere, Voyage, TEI, DashScope, vLLM, llama.cpp and Ollama are read, whatever their list is
called.
"""

from __future__ import annotations

import sys
from array import array
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

from nexus_core import Message, Prompt, ProtocolError, Results, Transfer, Usage
from nexus_core.toolkit import (
    InBandError,
    counted,
    find_usage,
    holds_error,
    is_only_error,
    read_json,
    read_usage,
    write_json,
)

if TYPE_CHECKING:
    from nexus_core.toolkit import ServiceClient

_Read = TypeVar("_Read")

Vector = Sequence[float]

_LISTS = ("data", "results", "embeddings", "output", "embedding")
"""What the list of an answer is called; it may stand in `output`."""
_VECTORS = ("embedding", "values", "vector")
_SCORES = ("relevance_score", "score", "relevance")


async def embed(client: ServiceClient, texts: Sequence[str], dimensions: int | None) -> Sequence[Vector]:
    """Return one vector for each text; raises only ConnectorErrors."""
    fields = {"input": list(texts)} | ({"dimensions": dimensions} if dimensions else {})
    return await _ask(client, "/embeddings", fields, texts, partial(read_embeddings, count=len(texts)))


def read_embeddings(data: bytes, transfer: Transfer | None = None, *, count: int) -> Results[Vector]:
    """Return the vectors in the order of their texts; raises InBandError, or a ConnectorError where any is none."""
    answer = read_json(data)
    vectors = [_vector(_field(entry, _VECTORS)) for entry in _entries(answer, count)]
    if len({len(vector) for vector in vectors}) > 1:
        raise ProtocolError("the vectors of the answer differ in length", code="shape")
    return Results.from_service(vectors, _tokens_read(answer), transfer)


def _vector(value: Any) -> Vector:
    try:
        if len(value) == 1 and isinstance(value[0], list):  # llama.cpp: a list for each sequence
            value = value[0]
        vector: Vector = _decoded(value) if isinstance(value, str) else value
        if len(vector) and all(map(isfinite, vector)):
            return vector
    except (TypeError, ValueError, OverflowError, LookupError):
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
    answer = read_json(data)
    found = [_relevance(_field(entry, _SCORES)) for entry in _entries(answer, count)]
    return Results.from_service(found, _tokens_read(answer), transfer)


def _relevance(value: Any) -> float:
    if type(value) in (int, float) and abs(value) < 1e300 and isfinite(value):
        return float(value)
    raise ProtocolError("a relevance score of the answer is no finite number", code="shape")


def _entries(answer: Any, count: int) -> list[Any]:
    """Return the entries of the list in an answer, `count` of them, by their `index`, where they have one.

    Raises InBandError where the answer is an error, and a ConnectorError where an entry is missing or too many.
    """
    found = _list_in(answer)
    if holds_error(answer) or (found is None and is_only_error(answer)):
        raise InBandError(answer)
    if found is None or not all(isinstance(entry, dict | list) for entry in found):
        raise ProtocolError("the answer holds no list of results", code="shape")
    places = [_place(entry, place) for place, entry in enumerate(found)]
    if len(found) != count or sorted(places) != list(range(count)):
        raise ProtocolError(
            f"of {counted(count, 'text')} the answer has {counted(len(found), 'result')}, or not one of each",
            code="shape",
        )
    return [entry for _, entry in sorted(zip(places, found, strict=True), key=lambda pair: pair[0])]


def _list_in(answer: Any) -> list[Any] | None:
    """Return the list of results, wherever it stands; `None` where there is none."""
    if isinstance(answer, list):  # TEI
        return answer if all(isinstance(entry, dict) for entry in answer) else None
    if not isinstance(answer, dict):
        return None
    for name in _LISTS:
        value = answer.get(name)
        if isinstance(value, dict):  # `output` of DashScope, `embeddings.float` of Cohere
            value = _list_in(value) if name == "output" else value.get("float")
        if isinstance(value, list):
            return value if name != "embedding" else [value]
    return None


def _field(entry: Any, names: Sequence[str]) -> Any:
    """Return a field of an entry, or the entry itself where it is nothing but the value."""
    if isinstance(entry, dict):
        return next((entry[name] for name in names if name in entry), None)
    return entry


def _place(entry: Any, place: int) -> int:
    said = entry.get("index", entry.get("text_index", place)) if isinstance(entry, dict) else place
    if type(said) is str and said.isdecimal() and len(said) < 10:
        said = int(said)
    return said if type(said) is int else -1


def _tokens_read(answer: Any) -> Usage:
    """Return the tokens that were read, unknown where they are not told: Jina and Voyage only tell a total."""
    told = find_usage(answer) if isinstance(answer, dict) else None
    usage = read_usage(told) or Usage()
    if usage.prompt_tokens is None and isinstance(told, Mapping) and usage.source == "provider":
        usage = read_usage({"prompt_tokens": told.get("total_tokens")}) or Usage()
    return Usage(prompt_tokens=usage.prompt_tokens)


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
