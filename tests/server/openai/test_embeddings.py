"""Embeddings by the embedder of a pipeline, asked by OpenAI's own client and by raw requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from nexus_core.testing.upstream import ScriptedUpstream, json_answer

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.server.conftest import Running, Start

EMBEDDINGS = "/v1/embeddings"
STATIC = """name: static
models: {main: {use: fake, to: own}}
steps:
  - gather: {use: inline, items: [{id: leave, title: Leave, text: Everybody has 28 days of leave.}]}
  - rank: {use: fuse, rankers: [bm25, semantic]}
  - prompt: chat
  - generate: main
"""
REMOTE = STATIC.replace("name: static", "name: remote").replace(
    "rank: {use: fuse, rankers: [bm25, semantic]}",
    "rank: {use: semantic, model: {use: openai, model: e, api_key: k, base_url: URL, embedding_batch: 2}}",
)
BARE = STATIC.replace("name: static", "name: bare").replace("  - rank: {use: fuse, rankers: [bm25, semantic]}\n", "")


def of_service(*vectors: list[float]) -> Any:
    """Return the answer of a service that embeds."""
    data = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(vectors)]
    return json_answer({"object": "list", "data": data, "model": "e", "usage": {"prompt_tokens": 5, "total_tokens": 5}})


@pytest.fixture
async def static(start: Start) -> Running:
    """A server with a pipeline that ranks by vectors of this machine, and one that has none."""
    return await start(pipelines={"static": STATIC, "bare": BARE})


async def test_client_gets_the_vectors_of_texts(static: Running) -> None:
    """It asks for base64 by default; numbers are the same ones."""
    async with openai.AsyncOpenAI(base_url=f"{static.origin}/v1", api_key="none", max_retries=0) as client:
        told = await client.embeddings.create(model="nexus/static", input=["Days of leave", "Trains"])
        plain = await client.embeddings.create(model="nexus/static", input="Trains", encoding_format="float")
    assert [each.index for each in told.data] == [0, 1]
    assert told.data[1].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert len(plain.data[0].embedding) == 256


async def test_connector_of_a_ranker_embeds(start: Start) -> None:
    """In batches of its own, with the usage of the service; its failure is told as that of any model."""
    answers: Any = [
        of_service([1.0, 0.0], [0.0, 1.0]),
        of_service([0.5, 0.5]),
        json_answer({"error": "no"}, status=400),
    ]
    async with ScriptedUpstream(*answers) as upstream:
        running = await start(pipelines={"remote": REMOTE.replace("URL", upstream.url)})
        body = {"model": "nexus/remote", "input": ["a", "b", "c"]}
        status, told = await running.call("POST", EMBEDDINGS, json=body)
        failed, _ = await running.call("POST", EMBEDDINGS, json=body)
    assert (status, [each["embedding"] for each in told["data"]]) == (200, [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    assert (told["usage"], told["model"]) == ({"prompt_tokens": 10, "total_tokens": 10}, "nexus/remote")
    assert failed == 400


async def test_requests_for_vectors_are_rows_of_the_ledger(start: Start) -> None:
    """One for each request, for the limits of keys, for sinks and for the figures of models."""
    async with ScriptedUpstream(of_service([1.0, 0.0], [0.0, 1.0]), of_service([0.5, 0.5])) as upstream:
        running = await start(pipelines={"remote": REMOTE.replace("URL", upstream.url)})
        rows: list[Any] = []
        await running.server.serving.pipelines["remote"].embed(["a", "b", "c"], on_event=rows.append)
    assert [(row.purpose, row.outcome, row.prompt_tokens) for row in rows] == [("embed", "ok", 5)] * 2


@pytest.mark.parametrize(
    ("more", "status", "param"),
    [
        pytest.param({"input": " "}, 400, "input", id="blank"),
        pytest.param({"input": ["a", ""]}, 400, "input[1]", id="blank-of-several"),
        pytest.param({"input": []}, 400, "input", id="none"),
        pytest.param({"input": [1, 2]}, 400, "input", id="tokens"),
        pytest.param({"input": [[1, 2]]}, 400, "input", id="lists-of-tokens"),
        pytest.param({"input": ["a"] * 2049}, 400, "input", id="many"),
        pytest.param({"dimensions": 3}, 400, "dimensions", id="dimensions"),
        pytest.param({"encoding_format": "hex"}, 400, "encoding_format", id="encoding"),
        pytest.param({"truncate": True}, 400, "truncate", id="unknown"),
        pytest.param({"model": "nexus/bare"}, 400, "model", id="no-embedder"),
        pytest.param({"model": "nexus/none"}, 404, "model", id="no-model"),
    ],
)
async def test_what_cannot_be_embedded_is_refused(
    static: Running, more: dict[str, Any], status: int, param: str
) -> None:
    """In OpenAI's shape, with what is wrong."""
    found, told = await static.call("POST", EMBEDDINGS, json={"model": "nexus/static", "input": "a", **more})
    assert (found, told["error"]["param"]) == (status, param)


async def test_pipeline_without_an_embedder_says_what_to_do(static: Running) -> None:
    """The step that it lacks."""
    _, told = await static.call("POST", EMBEDDINGS, json={"model": "nexus/bare", "input": "a"})
    assert "rank: semantic" in told["error"]["message"]
