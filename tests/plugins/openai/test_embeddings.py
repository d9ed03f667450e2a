"""Embeddings and reranking: what is sent, what may come back, and that failures are those of every other call."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st
from nexus_openai.connector import OpenAI
from nexus_openai.embeddings import read_embeddings, read_relevance

from nexus_core import (
    AuthError,
    ConnectorError,
    ContextLengthError,
    Embedder,
    InvalidRequestError,
    ModelNotFoundError,
    NotConfiguredError,
    OverloadedError,
    ProtocolError,
    RateLimitError,
    Reranker,
    ResponseTooLargeError,
    Secret,
    ServerError,
    TruncatedError,
    UpstreamTimeoutError,
)
from nexus_core.testing.upstream import (
    HalfClose,
    Script,
    ScriptedUpstream,
    Silence,
    error_body,
    http_answer,
    http_head,
    json_answer,
)
from nexus_core.toolkit import InBandError

KEY = "canary-9d1f4c77ab20e6"
TEXTS = ("the harbour is closed on every second Sunday", "lamp")
Ask = Callable[[OpenAI], Any]


async def embedding(openai: OpenAI) -> Any:
    return await openai.embed(TEXTS)


async def reranking(openai: OpenAI) -> Any:
    return await openai.rerank("Is it open?", TEXTS)


BOTH = pytest.mark.parametrize("ask", [embedding, reranking])


def vectors(*found: Any) -> dict[str, Any]:
    """Return the body of an answer with embeddings."""
    return {"object": "list", "data": [{"index": n, "embedding": value} for n, value in enumerate(found)]}


def packed(*numbers: float) -> str:
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


async def asked(ask: Ask, *script: Script, **fields: Any) -> tuple[Any, ScriptedUpstream]:
    """Return what a connector at an upstream says, and the upstream."""
    async with ScriptedUpstream(*script) as upstream:
        given = {"model": "m", "api_key": Secret(KEY), "base_url": upstream.url, **fields}
        async with OpenAI(**given) as openai:
            return await ask(openai), upstream


async def failure(ask: Ask, script: Script, **fields: Any) -> ConnectorError:
    """Return the error in which it ends."""
    with pytest.raises(ConnectorError) as caught:
        await asked(ask, script, **fields)
    return caught.value


async def test_embed_sends_one_request_and_returns_the_vectors_in_order() -> None:
    """The texts go as they are; of the answer the index counts, not the place."""
    answer = {"data": [{"index": 1, "embedding": [0.5, 1]}, {"index": 0, "embedding": [1, 0]}]}
    found, upstream = await asked(embedding, json_answer(answer))
    assert [list(vector) for vector in found] == [[1, 0], [0.5, 1]]
    (request,) = upstream.requests
    assert (request.method, request.target) == ("POST", "/v1/embeddings")
    assert request.json() == {"model": "m", "input": list(TEXTS)}
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_embed_sends_dimensions_and_the_query_of_the_url_where_they_are_set() -> None:
    """As every request of the connector does."""
    _, upstream = await asked(
        embedding, json_answer(vectors([1], [2])), dimensions=1, query={"api-version": "2024-10-21"}
    )
    assert upstream.requests[0].json()["dimensions"] == 1
    assert upstream.requests[0].target == "/v1/embeddings?api-version=2024-10-21"


async def test_embed_replaces_lone_surrogates() -> None:
    """No service takes them."""

    async def ask(openai: OpenAI) -> Any:
        return await openai.embed(["a\ud83d"])

    _, upstream = await asked(ask, json_answer(vectors([1.0])))
    assert upstream.requests[0].json()["input"] == ["a\ufffd"]


async def test_rerank_sends_one_request_and_returns_the_relevance_in_order() -> None:
    """Services sort by relevance; the index says what is meant."""
    answer = {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": -3}]}
    found, upstream = await asked(reranking, json_answer(answer))
    assert found == (-3.0, 0.9)
    assert upstream.requests[0].target == "/v1/rerank"
    assert upstream.requests[0].json() == {"model": "m", "query": "Is it open?", "documents": list(TEXTS)}


def test_the_connector_can_do_both_besides() -> None:
    """And names what makes its vectors without any I/O."""
    openai = OpenAI(model="m", base_url="http://localhost:8000/v1/", dimensions=8)
    assert isinstance(openai, Embedder)
    assert isinstance(openai, Reranker)
    assert (openai.embedding_id, openai.embedding_batch) == ("openai:localhost:8000/v1:m:8", 32)


FAILURES: dict[str, tuple[Script, type[ConnectorError]]] = {
    "key": (json_answer(error_body("no", code="invalid_api_key"), status=401), AuthError),
    "rate": (json_answer(error_body("slow", code="rate_limit_exceeded"), status=429), RateLimitError),
    "no such path": (json_answer({"detail": "Not Found"}, status=404), ModelNotFoundError),
    "too long": (
        json_answer(error_body("the input exceeds the available context size"), status=400),
        ContextLengthError,
    ),
    "refused": (json_answer(error_body("bad"), status=400), InvalidRequestError),
    "busy": (json_answer({}, status=503), OverloadedError),
    "server": (json_answer({}, status=500), ServerError),
    "error inside": (json_answer({"error": {"message": "x"}}), ServerError),
    "page": (http_answer(b"<html>hello</html>", content_type="text/html"), ProtocolError),
    "not JSON": (http_answer(b"hello"), ProtocolError),
    "list": (json_answer([]), ProtocolError),
    "empty": (json_answer({}), ProtocolError),
    "no objects": (json_answer({"data": [1, 2], "results": [1, 2]}), ProtocolError),
    "cut": ([http_head({"Content-Length": "400"}), b'{"data": [', HalfClose()], TruncatedError),
    "redirect": (
        [b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"],
        ProtocolError,
    ),
    "too large": ([http_head({"Content-Length": str(2**26)})], ResponseTooLargeError),
}


@BOTH
@pytest.mark.parametrize(("script", "expected"), FAILURES.values(), ids=FAILURES)
async def test_failures_are_those_of_other_calls(ask: Ask, script: Script, expected: type[ConnectorError]) -> None:
    """The class, the provider and the model."""
    error = await failure(ask, script)
    assert isinstance(error, expected)
    assert (error.provider, error.model) == ("openai", "m")


@BOTH
async def test_a_silent_service_is_too_slow(ask: Ask) -> None:
    """The message names the option."""
    error = await failure(ask, [Silence()], total_timeout_s=0.1)
    assert isinstance(error, UpstreamTimeoutError)
    assert "total_timeout_s" in str(error)


@BOTH
async def test_errors_show_neither_the_key_nor_the_texts(ask: Ask) -> None:
    """What a service repeats is hidden."""
    error = await failure(ask, json_answer(error_body(f"bad key {KEY} for {TEXTS[0]}"), status=400))
    assert KEY not in str(error)
    assert "second Sunday" not in str(error)


@BOTH
async def test_a_missing_key_sends_nothing(ask: Ask) -> None:
    """The official service needs one."""
    with pytest.raises(NotConfiguredError):
        await ask(OpenAI(model="m"))


WRONG_VECTORS: dict[str, Any] = {
    "too few": vectors([1.0]),
    "too many": vectors([1.0], [2.0], [3.0]),
    "twice": {"data": [{"index": 0, "embedding": [1.0]}] * 2},
    "out of range": {"data": [{"index": n, "embedding": [1.0]} for n in (0, 2)]},
    "odd index": {"data": [{"index": n, "embedding": [1.0]} for n in ("0", True)]},
    "no vector": {"data": [{"index": 0}, {"index": 1}]},
    "empty": vectors([], []),
    "differ": vectors([1.0], [1.0, 2.0]),
    "texts": vectors(["1"], ["2"]),
    "object": vectors({"a": 1}, {"a": 1}),
    "not base64": vectors("?!", "?!"),
    "base64 of a part": vectors("AAAA", "AAAA"),
    "NaN in base64": vectors(packed(float("nan")), packed(1.0)),
    "huge": vectors([10**400], [1]),
}


@pytest.mark.parametrize("answer", WRONG_VECTORS.values(), ids=WRONG_VECTORS)
async def test_wrong_vectors_are_a_protocol_error(answer: Any) -> None:
    """None of them ever counts as a vector."""
    assert isinstance(await failure(embedding, json_answer(answer)), ProtocolError)


async def test_a_bare_nan_is_a_protocol_error() -> None:
    """It is no JSON either."""
    answer = http_answer(b'{"data": [{"embedding": [NaN]}, {"embedding": [1]}]}')
    assert isinstance(await failure(embedding, answer), ProtocolError)


async def test_vectors_may_come_in_base64_and_without_an_index() -> None:
    """As little-endian floats of four bytes, in the order of the texts."""
    answer = {"data": [{"embedding": packed(0.5, -2.0)}, {"embedding": packed(1.0, 0.0)}]}
    found, _ = await asked(embedding, json_answer(answer))
    assert [list(vector) for vector in found] == [[0.5, -2.0], [1.0, 0.0]]


@pytest.mark.parametrize("score", [None, "0.5", True, [1], 10**400], ids=repr)
async def test_wrong_relevance_is_a_protocol_error(score: Any) -> None:
    """A number, and a finite one."""
    results = [{"index": n, "relevance_score": score} for n in range(2)]
    assert isinstance(await failure(reranking, json_answer({"results": results})), ProtocolError)


@pytest.mark.slow
@given(st.binary(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr).map(str.encode))
def test_reading_raises_nothing_else(data: bytes) -> None:
    """Whatever the bytes."""
    for read in (read_embeddings, read_relevance):
        with pytest.raises((ConnectorError, InBandError)):
            read(data, count=1)
