"""Components that do what they are told, for tests of pipelines and of whatever stands around a connector."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from math import isinf
from typing import Any

from attrs import define, field

from nexus_core.contract.answers import Event
from nexus_core.contract.errors import ConnectorError
from nexus_core.contract.models import ModelInfo
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.run_context import RunContext
from nexus_core.contract.values import CallOptions, Chunk, Completion, Item, Message, Usage

Played = Chunk | ConnectorError | float
"""A part of a reply: a chunk is yielded, an error raised; for a number of seconds nothing comes (`inf`: for ever)."""
Reply = str | ConnectorError | Completion | tuple[str, ConnectorError] | Sequence[Played]


@define(kw_only=True, eq=False)
class FakeConnector:
    """Plays its replies one after the other, the last one for ever: a text is answered, an error is raised.

    A text that ends with an error in a tuple, `("half an ans", TruncatedError(...))`, fails after that text when it is
    streamed. A list is played part by part: chunks, errors, and pauses in seconds. Every prompt and option that arrives
    is kept.
    """

    replies: Sequence[Reply] = ("An answer.",)
    model_info: ModelInfo = ModelInfo(id="fake-1", provider="fake", window=4096, capabilities=frozenset({"streaming"}))
    usage: Usage = Usage(prompt_tokens=7, completion_tokens=3)
    prompts: list[Prompt] = field(factory=list, init=False)
    options: list[CallOptions] = field(factory=list, init=False)
    running: int = field(default=0, init=False)
    """Requests that have begun and not ended."""
    closed: int = field(default=0, init=False)
    """How many streams have been closed, early or at their end."""

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        """Return or raise the next reply."""
        self.running += 1
        try:
            reply = self._next(prompt, options)
            if isinstance(reply, Completion):
                return reply
            if isinstance(reply, str):
                return Completion(text=reply, finish_reason="stop", usage=self.usage, model=self.model_info.id)
            text, reasoning, end = "", "", Chunk()
            async with aclosing(self._play(reply)) as chunks:
                async for chunk in chunks:
                    text, reasoning, end = text + chunk.text, reasoning + chunk.reasoning, chunk
            return Completion(
                text=text,
                finish_reason=end.finish_reason or "stop",
                usage=end.usage or Usage(),
                model=end.model,
                reasoning=reasoning,
                transfer=end.transfer,
            )
        finally:
            self.running -= 1

    async def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncIterator[Chunk]:
        """Yield the next reply, a text word by word."""
        self.running += 1
        try:
            reply = self._next(prompt, options)
            async with aclosing(self._play(reply.text if isinstance(reply, Completion) else reply)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self.running -= 1
            self.closed += 1

    async def _play(
        self, reply: str | ConnectorError | tuple[str, ConnectorError] | Sequence[Played]
    ) -> AsyncGenerator[Chunk, None]:
        for part in self._parts(reply):
            if isinstance(part, ConnectorError):
                raise part
            if isinstance(part, Chunk):
                yield part
            else:
                await (asyncio.Event().wait() if isinf(part) else asyncio.sleep(part))

    def _parts(self, reply: str | ConnectorError | tuple[str, ConnectorError] | Sequence[Played]) -> Sequence[Played]:
        match reply:
            case ConnectorError():
                return [reply]
            case str(text):
                return [*_words(text), Chunk(finish_reason="stop", usage=self.usage, model=self.model_info.id)]
            case (str(text), ConnectorError() as error):
                return [*_words(text), error]
        return reply

    def _next(self, prompt: Prompt, options: CallOptions) -> Reply:
        self.prompts.append(prompt)
        self.options.append(options)
        return self.replies[min(len(self.prompts), len(self.replies)) - 1]


def _words(text: str) -> list[Chunk]:
    return [Chunk(word) for word in re.findall(r"\S+\s*", text)]


@define(kw_only=True, eq=False)
class FakeSource:
    """Yields the items it is given, and counts how often it was asked."""

    items: tuple[Item, ...] = ()
    asked: int = field(default=0, init=False)

    async def gather(self, query: str, run: RunContext) -> tuple[Item, ...]:
        """Return the items."""
        self.asked += 1
        return self.items


@define(kw_only=True, eq=False)
class FakeSink:
    """Keeps what it is given."""

    events: list[Event] = field(factory=list, init=False)
    flushed: int = field(default=0, init=False)

    def emit(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)

    def flush(self) -> None:
        """Count the flush."""
        self.flushed += 1


@define(kw_only=True, eq=False)
class SlowSink(FakeSink):
    """Keeps what it is given, and takes its time for each event."""

    seconds: float = 0.05

    def emit(self, event: Event) -> None:
        """Wait, and keep the event."""
        time.sleep(self.seconds)
        self.events.append(event)


@define(kw_only=True, eq=False)
class RaisingSink(FakeSink):
    """Keeps what it is given, and raises at every event."""

    error: Exception = field(factory=lambda: OSError("the sink is broken"))

    def emit(self, event: Event) -> None:
        """Keep the event, and raise."""
        self.events.append(event)
        raise self.error


@define(kw_only=True, eq=False)
class FakeRanker:
    """Gives each item the score that stands under its id, 0 where there is none; or raises its error."""

    scores: Mapping[str, float] = field(factory=dict)
    error: Exception | None = None
    queries: list[str] = field(factory=list, init=False)

    async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:
        """Return the ranking by those scores."""
        self.queries.append(query)
        if self.error is not None:
            raise self.error
        return ranking.scored("fake", [self.scores.get(item.id, 0.0) for item in ranking.items])


@define(kw_only=True, eq=False)
class FakeTemplate:
    """Says system text, history, the texts of the items and the query, as plainly as can be; or raises its error."""

    system: str = "Answer."
    error: Exception | None = None
    variables: frozenset[str] = frozenset({"query", "items", "history"})
    rendered: list[Mapping[str, Any]] = field(factory=list, init=False)

    def render(self, variables: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return the messages."""
        self.rendered.append(variables)
        if self.error is not None:
            raise self.error
        told = [Message(message["role"], message["content"]) for message in variables["history"]]
        texts = [f"[{item['number']}] {item['text']}" for item in variables["items"]]
        return (Message("system", self.system), *told, Message("user", "\n".join([*texts, variables["query"]])))


__all__ = [
    "FakeConnector",
    "FakeRanker",
    "FakeSink",
    "FakeSource",
    "FakeTemplate",
    "RaisingSink",
    "SlowSink",
]
