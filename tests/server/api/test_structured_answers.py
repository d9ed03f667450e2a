"""Answers held to a JSON Schema over HTTP: the value beside the text, whole and streamed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from nexus_core.testing.fakes import FakeConnector

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, Start

PIPELINE = """name: own
models: {main: {use: fake, to: own, retry: false}}
steps:
  - gather: {use: inline, items: [{id: leave, title: Leave, text: Everybody has 28 days of leave.}]}
  - prompt: chat
  - generate: {schema: {type: object, required: [days]}}
"""


async def query(start: Start, fakes: Fakes, text: str, *, stream: bool) -> dict[str, Any]:
    """Return what a server tells of an answer, of a stream its last event."""
    fakes.connectors["own"] = FakeConnector(replies=[text])
    running = await start(pipelines={"own": PIPELINE})
    body = {"query": "Leave?", "contextId": "own", "pipeline": "own", "options": {"stream": stream}}
    async with running.session.post(f"{running.origin}/api/queries", json=body) as response:
        said = await response.text()
    events = [line.removeprefix("data: ") for line in said.splitlines() if line.startswith("data: ")]
    return dict(json.loads(events[-1] if stream else said))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_answer_has_its_value(start: Start, fakes: Fakes, stream: bool) -> None:
    """And whether it was repaired."""
    told = await query(start, fakes, 'So: {"days": 28}', stream=stream)
    assert (told["value"], told["repaired"]) == ({"days": 28}, True)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_mismatch_is_an_error(start: Start, fakes: Fakes, stream: bool) -> None:
    """Of a stream its last event."""
    told = await query(start, fakes, '{"dies": 28}', stream=stream)
    assert "value" not in told
    assert "error" in told
