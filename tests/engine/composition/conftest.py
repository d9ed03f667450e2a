"""Pipelines of several files whose plugin is made for them: sources that wait, rankers, and a model that echoes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Pipeline

PLUGIN = '''
import asyncio
from nexus_core import (
    Chunk, Completion, Item, ModelInfo, RunContext, ServerError, SourceError, ToolCall, ToolCallDelta, component,
    hookimpl, option, ranker, state,
)


def note(line):
    with open(__file__ + ".txt", "a") as file:
        file.write(line + "\\n")


@component
class Echo:
    """Answers with the last message; with `calls` it calls that tool first."""

    prefix: str = option("", help="Put before the answer.")
    fails: bool = option(False, help="Whether it fails.")
    calls: str = option("", help="A tool to call.")
    times: int = option(1, help="How often at once.")

    @property
    def model_info(self):
        capabilities = frozenset({"streaming", "generate", "tools"})
        return ModelInfo(id=self.prefix or "echo", provider="test", window=4000, capabilities=capabilities)

    async def __aenter__(self):
        note("open " + self.prefix)
        return self

    async def __aexit__(self, *failure):
        note("close " + self.prefix)

    def _answer(self, prompt):
        if self.fails:
            raise ServerError("it is down", provider="test", model="echo")
        last = prompt.messages[-1]
        if self.calls and last.role != "tool":
            asked = '{"query": "asked by the model"}'
            return "", tuple(ToolCall(id=f"c{n}", name=self.calls, arguments=asked) for n in range(self.times))
        return self.prefix + last.text, ()

    async def send_prompt(self, prompt, options):
        text, calls = self._answer(prompt)
        return Completion(text=text, finish_reason="tool_calls" if calls else "stop", tool_calls=calls)

    async def stream_response(self, prompt, options):
        text, calls = self._answer(prompt)
        for word in text.split(" "):
            yield Chunk(word + " ")
        for place, call in enumerate(calls):
            yield Chunk(tool_calls=(ToolCallDelta(index=place, id=call.id, name=call.name, arguments=call.arguments),))
        yield Chunk(finish_reason="tool_calls" if calls else "stop")


@component
class Shelf:
    """Has one item, after a while."""

    label: str = option(help="Of the item.")
    seconds: float = option(0.0, help="How long it takes.")
    fails: bool = option(False, help="Whether it fails.")

    async def gather(self, query, run):
        await asyncio.sleep(self.seconds)
        if self.fails:
            raise SourceError(f"{self.label} is closed")
        run.note(f"asked {self.label}")
        return (Item(id=self.label, title=self.label, text=f"{self.label} on {query} for {run.owner or 'nobody'}"),)


@component
class Remote:
    """Asks a service by HTTP."""

    port: int = option(help="On this machine.")

    async def gather(self, query, run):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"GET / HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n")
            body = (await reader.read()).partition(b"\\r\\n\\r\\n")[2].decode()
            return (Item(id=str(self.port), text=body),)
        finally:
            writer.close()


@ranker
def forwards(query, items):
    """Puts the first item first."""
    return [-float(place) for place in range(len(items))]


@ranker
def backwards(query, items):
    """Puts the last item first."""
    return [float(place) for place in range(len(items))]


@hookimpl
def nexus_connectors():
    return [Echo]


@hookimpl
def nexus_sources():
    return [Shelf, Remote]


@hookimpl
def nexus_rankers():
    return [forwards, backwards]
'''

TWICE = """
- generate: main
  as: first
- generate: main
"""
CALLED = """
- call: {pipeline: ./other.yaml}
  as: found
- generate: main
"""
"""Steps that ask twice, and steps that call another pipeline and ask once."""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a pipeline of this name, with the plugin and a model `main`; return its path."""

    def written(steps: str, name: str = "outer", models: str = "main: own.echo", more: str = "") -> Path:
        (tmp_path / "own.py").write_text(PLUGIN)
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"name: {name}\nplugins: [./own.py]\nmodels: {{{models}}}\n{more}\nsteps:\n{steps}")
        return path

    return written


@pytest.fixture
def load(write: Write) -> Callable[..., Pipeline]:
    """Load a pipeline with these steps, as `write` writes it."""

    def loaded(steps: str, environment: Mapping[str, str] | None = None, **more: Any) -> Pipeline:
        return Pipeline.load(write(steps, **more), environment=environment or {})

    return loaded
