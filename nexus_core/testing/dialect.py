"""How a service speaks: the bytes that the connector suite plays, written once for each protocol.

Ships for the protocol of OpenAI (openai_dialect.py). For another protocol write a class with these methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from attrs import field, frozen

from nexus_core.contract.errors import (
    AuthError,
    ConflictError,
    ConnectorError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    ServerError,
)
from nexus_core.contract.values import FinishReason, ToolCall, Usage
from nexus_core.testing.upstream import ReceivedRequest

REFUSALS: tuple[type[ConnectorError], ...] = (
    RateLimitError,
    QuotaError,
    AuthError,
    ModelNotFoundError,
    InvalidRequestError,
    ContextLengthError,
    ContentFilterError,
    ConflictError,
    NotReadyError,
    OverloadedError,
    ServerError,
)
"""What a service may say instead of an answer. The others (no connection, cut, too slow, ...) need no words."""


@frozen
class Refusal:
    """A whole answer that says no."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(factory=dict)


@frozen
class Stream:
    """The body of a streamed answer, in the pieces in which the service sends it."""

    pieces: tuple[bytes, ...]
    needed: int
    """With so many pieces the answer is complete, its finish reason included; later ones carry figures at most."""
    first_text: int | None = None
    """How many pieces come before the first text; only needed where the pieces do not show their texts as they are."""


@frozen(kw_only=True)
class Sent:
    """What a request said, in the words of the contract."""

    messages: tuple[tuple[str, str], ...]
    """(role, content) of each; where the protocol has no roles, ("user", all of the text)."""
    options: Mapping[str, Any]
    """Call options by their name in `CallOptions`, whatever the service calls them; without those that were not sent.

    What the request holds besides, from `extra` for instance, stands here under its own name.
    """


@runtime_checkable
class Dialect(Protocol):
    """How a service speaks."""

    content_type: str
    """Of streams: `text/event-stream`, `application/x-ndjson`, ..."""
    usage: Usage
    """The counts that `answer` and `stream` report; empty where the service reports none."""

    def answer(self, text: str, *, finish_reason: FinishReason = "stop") -> bytes:
        """Return the body of a whole answer."""

    def stream(self, texts: Sequence[str], *, finish_reason: FinishReason = "stop") -> Stream:
        """Return a streamed answer that says these texts, each in a piece of its own."""

    def refusals(self, message: str) -> Mapping[type[ConnectorError], Sequence[Refusal]]:
        """Return, by the class that each must come out as, what the service says; `message` is its wording.

        One entry for each class of `REFUSALS` that the service knows, with every shape that it comes in.
        """

    def stream_errors(self, message: str) -> Mapping[type[ConnectorError], Sequence[bytes]]:
        """Return pieces that put an error into a stream whose status was 200; none where the protocol has none."""

    def quirks(self, texts: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        """Return, by name, other ways in which a stream says these texts and ends well: all must be read alike."""

    def read_request(self, request: ReceivedRequest) -> Sent:
        """Return what a request said."""


@runtime_checkable
class ToolDialect(Protocol):
    """What a dialect has besides where models call tools."""

    def ask_tool(self, call: ToolCall) -> tuple[bytes, Stream]:
        """Return the answer that asks for one call of a tool and holds no text, whole and streamed.

        A service that gives calls no id leaves that out.
        """
