"""Kept answers over HTTP: each owner's own, by both APIs, refused with `Cache-Control: no-cache`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nexus_core import Store
from nexus_core.server.access.identity import Identity
from nexus_core.server.pipelines import load
from nexus_core.testing.fakes import FakeConnector
from nexus_core.toolkit.shared_resources import SharedResources

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, Running, Start

CACHED = """name: own
models: {main: {use: fake, to: own, cache: true}}
steps:
  - gather: {use: inline, items: [{id: leave, title: Leave, text: Everybody has 28 days of leave.}]}
  - prompt: chat
  - generate: main
"""


@pytest.fixture
async def guarded(start: Start, fakes: Fakes) -> Running:
    """A server whose keys are the names of their owners, and a model whose every answer is another one."""

    async def verify(key: str) -> Identity | None:
        return Identity(owner=key, scopes=frozenset({"query"})) if key in ("ann", "bob") else None

    fakes.connectors["own"] = FakeConnector(replies=[f"Answer {n}." for n in range(9)])
    return await start(pipelines={"own": CACHED}, verify=verify)


async def query(running: Running, owner: str, *, stream: bool = False, cache: str = "") -> tuple[str, dict[str, Any]]:
    """Return the text of an answer and its only attempt."""
    options = {"stream": stream, "includeTrace": True}
    body = {"query": "Leave?", "contextId": "own", "pipeline": "own", "options": options}
    headers = {"Authorization": f"Bearer {owner}"} | ({"Cache-Control": cache} if cache else {})
    async with running.session.post(f"{running.origin}/api/queries", json=body, headers=headers) as response:
        text = await response.text()
    if not stream:
        told = json.loads(text)
        return told["response"], told["attempts"][0]
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert [events[0]["type"], events[-1]["type"]] == ["start", "end"]
    return "".join(event["content"] for event in events[1:-1]), events[-1]["attempts"][0]


async def chat(running: Running, owner: str, **headers: str) -> tuple[str, int]:
    """Return the text of an answer of the API of OpenAI, and its tokens."""
    body = {"model": "nexus/own", "messages": [{"role": "user", "content": "Leave?"}]}
    said = {"Authorization": f"Bearer {owner}", **headers}
    _, told = await running.call("POST", "/v1/chat/completions", json=body, headers=said)
    return told["choices"][0]["message"]["content"], told["usage"]["total_tokens"]


async def test_owners_share_no_answers(guarded: Running) -> None:
    """Whole or as a stream, each key's owner has answers of their own."""
    told = [await query(guarded, owner, stream=n % 2 == 1) for n, owner in enumerate(["ann", "ann", "bob", "bob"])]
    assert [text for text, _ in told] == ["Answer 0.", "Answer 0.", "Answer 1.", "Answer 1."]
    assert [row["fromCache"] for _, row in told] == [False, True, False, True]


async def test_both_apis_share_the_answers_of_an_owner(guarded: Running) -> None:
    """The same prompt is the same request; what is kept costs no tokens."""
    assert (await query(guarded, "ann"))[0] == "Answer 0."
    assert [await chat(guarded, owner) for owner in ("ann", "bob")] == [("Answer 0.", 0), ("Answer 1.", 10)]


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("no-cache", "Answer 1."),
        ("private, No-Cache", "Answer 1."),
        ("max-age=0", "Answer 1."),
        ("no-store", "Answer 1."),
        ("max-age=60, no-transform", "Answer 0."),
    ],
)
async def test_a_client_may_refuse_what_was_kept(guarded: Running, header: str, text: str) -> None:
    """By the header that says so to every cache; by either API."""
    await query(guarded, "ann")
    assert (await query(guarded, "ann", cache=header))[0] == text
    assert (await chat(guarded, "ann"))[0] == text
    assert (await chat(guarded, "ann", **{"Cache-Control": "no-cache"}))[0] not in ("Answer 0.", text)


async def test_the_server_gives_its_pipelines_its_store(tmp_path: Path) -> None:
    """As `nexus serve` loads them: the answer is in the store that is served."""
    file = tmp_path / "own.yaml"
    file.write_text(CACHED.replace("use: fake, to: own", "use: extractive"))
    async with Store(tmp_path / "store") as store:
        async with load(file, store, SharedResources(), {}) as pipeline:
            rows = [(await pipeline.run("How many days of leave?")).attempts[0] for _ in range(2)]
        assert [row.from_cache for row in rows] == [False, True]
        assert await store.answers.clear() == 1
