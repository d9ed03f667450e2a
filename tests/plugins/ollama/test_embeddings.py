"""Embeddings and the list of models."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core import ContextLengthError, Embedder, ProtocolError, Results
from nexus_core.testing.upstream import ScriptedUpstream, json_answer


async def test_texts_become_vectors(connect: Any) -> None:
    """With the window of the model and no cut, in the order of the texts."""
    answer = json_answer({"embeddings": [[1.0, 0.5], [0, -1]], "prompt_eval_count": 8})
    async with ScriptedUpstream(answer) as upstream, connect(upstream, model="bge-m3", dimensions=2) as ollama:
        assert isinstance(ollama, Embedder)
        vectors = await ollama.embed(["a", "b"])
    assert isinstance(vectors, Results)
    assert (list(vectors), vectors.usage.prompt_tokens) == ([[1.0, 0.5], [0, -1]], 8)
    assert upstream.requests[0].target == "/api/embed"
    body = {"model": "bge-m3", "input": ["a", "b"], "truncate": False, "options": {"num_ctx": 8192}, "dimensions": 2}
    assert upstream.requests[0].json() == body


async def test_a_text_that_is_too_long_is_an_error_unless_it_may_be_cut(connect: Any) -> None:
    """By default nothing is cut silently."""
    answer = json_answer({"error": "the input length exceeds the context length"}, status=400)
    async with ScriptedUpstream(answer) as upstream, connect(upstream) as ollama:
        with pytest.raises(ContextLengthError):
            await ollama.embed(["long"])
    async with ScriptedUpstream(json_answer({"embeddings": [[1]]})) as upstream:
        cutting = connect(upstream, truncate=True)
        async with cutting:
            await cutting.embed(["long"])
        assert cutting.embedding_id != connect(upstream).embedding_id
    assert upstream.requests[0].json()["truncate"] is True


@pytest.mark.parametrize("vectors", [None, [], [[1], [2]], [[]], ["a"], [[None]], [["1"]]])
async def test_what_is_no_vector_is_a_protocol_error(connect: Any, vectors: Any) -> None:
    """One text was sent."""
    async with ScriptedUpstream(json_answer({"embeddings": vectors})) as upstream, connect(upstream) as ollama:
        with pytest.raises(ProtocolError):
            await ollama.embed(["a"])


async def test_the_models_that_are_there_are_listed(connect: Any) -> None:
    """One that is still being pulled is not among them."""
    answer = json_answer({"models": [{"name": "llama3.2:latest"}, {"name": "bge-m3:latest", "size": 5}]})
    async with ScriptedUpstream(answer) as upstream, connect(upstream) as ollama:
        assert await ollama.list_models() == ("llama3.2:latest", "bge-m3:latest")
    assert upstream.requests[0].target == "/api/tags"
