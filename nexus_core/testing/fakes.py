"""Components that do what they are told, for tests of pipelines and of whatever stands around a connector."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence

from attrs import define, field

from nexus_core.contract.errors import ConnectorError
from nexus_core.contract.events import Event
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import CallOptions, Chunk, Completion, Item, ModelInfo, Usage


@define(kw_only=True, eq=False)
class FakeConnector:
    """Plays its replies one after the other, the last one for ever: a text is answered, an error is raised.

    A text that ends with an error in a tuple, `("half an ans", TruncatedError(...))`, fails after that text when it is
    streamed. Every prompt and option that arrives is kept.
    """

    replies: Sequence[str | ConnectorError | tuple[str, ConnectorError]] = ("An answer.",)
    model_info: ModelInfo = ModelInfo(id="fake-1", provider="fake", window=4096, capabilities=frozenset({"streaming"}))
    usage: Usage = Usage(prompt_tokens=7, completion_tokens=3)
    prompts: list[Prompt] = field(factory=list, init=False)
    options: list[CallOptions] = field(factory=list, init=False)
    closed: int = field(default=0, init=False)
    """How many streams have been closed, early or at their end."""

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        """Return or raise the next reply."""
        reply = self._next(prompt, options)
        if isinstance(reply, tuple):
            raise reply[1]
        if isinstance(reply, ConnectorError):
            raise reply
        return Completion(text=reply, finish_reason="stop", usage=self.usage, model=self.model_info.id)

    async def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncIterator[Chunk]:
        """Yield the next reply word by word."""
        try:
            reply = self._next(prompt, options)
            if isinstance(reply, ConnectorError):
                raise reply
            text, error = reply if isinstance(reply, tuple) else (reply, None)
            for word in re.findall(r"\S+\s*", text):
                yield Chunk(word)
            if error is not None:
                raise error
            yield Chunk(finish_reason="stop", usage=self.usage, model=self.model_info.id)
        finally:
            self.closed += 1

    def _next(self, prompt: Prompt, options: CallOptions) -> str | ConnectorError | tuple[str, ConnectorError]:
        self.prompts.append(prompt)
        self.options.append(options)
        return self.replies[min(len(self.prompts), len(self.replies)) - 1]


@define(kw_only=True, eq=False)
class FakeSource:
    """Yields the items it is given, and counts how often it was asked."""

    items: tuple[Item, ...] = ()
    asked: int = field(default=0, init=False)

    async def gather(self, query: str) -> tuple[Item, ...]:
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


__all__ = ["FakeConnector", "FakeSink", "FakeSource"]
