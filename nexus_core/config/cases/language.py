"""The keys of a test, declared once: each class is one mapping of the file and the value that is read from it.

Lint, the JSON Schema and the tables of docs/reference/pipelines.md come from here, as for the keys of a pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import frozen

from nexus_core.contract.components import option

_Role = Literal["system", "user", "assistant"]


@frozen(kw_only=True, eq=False, repr=False)
class CaseItem:
    """An item that a test gives; its text alone may stand instead of the mapping."""

    text: str = option(help="Its text.")
    id: str | None = option(None, help="Its id; else `1`, `2`, ... by its place in the list.")
    title: str = option("", help="Its title.")
    kind: str = option("text", help="`text`, `markdown` or `code`.")
    source: str = option("", help="Where it comes from, as a path or URL.")
    tags: tuple[str, ...] = option((), help="Its tags.")
    metadata: Mapping[str, Any] = option(factory=dict, help="More of it, for rankers and templates.")


@frozen(kw_only=True, eq=False, repr=False)
class CaseMessage:
    """A message of a conversation or prompt."""

    role: _Role = option(help="Who says it.")
    content: str = option(help="What is said.")


@frozen(kw_only=True, eq=False, repr=False)
class ReplyToolCall:
    """A call of a tool in a scripted answer."""

    name: str = option(help="The tool.")
    arguments: str = option("{}", help="The arguments, as JSON text.")
    id: str | None = option(None, help="Its id; else `call_1`, `call_2`, ...")


@frozen(kw_only=True, eq=False, repr=False)
class ReplyUsage:
    """Tokens that a scripted answer tells."""

    prompt_tokens: int | None = option(None, help="Of the prompt.", ge=0)
    completion_tokens: int | None = option(None, help="Of the answer.", ge=0)
    reasoning_tokens: int | None = option(None, help="Of the answer, those that were thought.", ge=0)
    cached_tokens: int | None = option(None, help="Of the prompt, those that were cached.", ge=0)


@frozen(kw_only=True, eq=False, repr=False)
class Reply:
    """What a scripted model does with one request; an answer's text alone may stand instead of the mapping."""

    text: str = option("", help="The answer, or with `status` and `error` what the service says.")
    reasoning: str = option("", help="What it thinks aloud before.")
    tool_calls: tuple[ReplyToolCall, ...] = option((), help="The tools that it calls.")
    finish_reason: Literal["stop", "length", "content_filter", "tool_calls"] | None = option(
        None, help="Why it ends; else `stop`, or `tool_calls` where there are any."
    )
    usage: ReplyUsage | None = option(None, help="The tokens that it tells; else they are estimated.")
    status: int | None = option(None, help="Fails with this status of HTTP.", ge=400, le=599)
    error: str | None = option(None, help="Fails with an error of this kind, such as `connect` or `quota`.")
    retry_after: float | None = option(None, help="With `status` or `error`: the seconds that it asks to wait.", ge=0)
    cut: int | None = option(None, help="The connection breaks after so many characters of the text.", ge=0)
    stall: int | None = option(
        None, help="Nothing more comes after so many characters; what waits for it runs out of time at once.", ge=0
    )

    @property
    def is_failure(self) -> bool:
        """Whether the service refuses the request."""
        return self.status is not None or self.error is not None

    @property
    def breaks_off(self) -> bool:
        """Whether it ends before it is whole."""
        return self.cut is not None or self.stall is not None


@frozen(kw_only=True, eq=False, repr=False)
class TextExpectation:
    """What a text must be; the whole text alone may stand instead of the mapping."""

    equals: str | None = option(None, help="It is this text; line ends and blanks at the end of it do not count.")
    contains: str | tuple[str, ...] = option((), help="Texts that stand in it.")
    not_contains: str | tuple[str, ...] = option((), help="Texts that do not stand in it.")
    matches: str | None = option(None, help="A regular expression that is found in it.")


@frozen(kw_only=True, eq=False, repr=False)
class AnswerExpectation(TextExpectation):
    """What the answer must be; the whole text alone may stand instead of the mapping."""

    json_schema: Mapping[str, Any] | None = option(None, help="It is JSON that this schema (up to draft 7) allows.")


@frozen(kw_only=True, eq=False, repr=False)
class RolesExpectation:
    """What the last message of each role must be."""

    system: str | TextExpectation | None = option(None, help="What the instructions are.")
    user: str | TextExpectation | None = option(None, help="What the last message of the user is.")
    assistant: str | TextExpectation | None = option(None, help="What the last message of the assistant is.")


@frozen(kw_only=True, eq=False, repr=False)
class PackedExpectation:
    """Which items must be in the prompt; their ids in order may stand instead of the mapping."""

    in_order: tuple[str, ...] | None = option(None, help="The ids of all of them, in the order of the prompt.")
    any_order: tuple[str, ...] | None = option(None, help="The ids of all of them.")
    contains: tuple[str, ...] = option((), help="The ids of some of them.")


@frozen(kw_only=True, eq=False, repr=False)
class TokenBounds:
    """The most tokens that a run may take."""

    prompt_tokens: int | None = option(None, help="Of the last prompt, counted with its model's encoding.", ge=0)
    completion_tokens: int | None = option(None, help="Of the answer.", ge=0)
    total_tokens: int | None = option(None, help="Of all attempts, failed ones included.", ge=0)


@frozen(kw_only=True, eq=False, repr=False)
class ErrorExpectation:
    """The error that a run must end with; its kind alone may stand instead of the mapping."""

    kind: str | None = option(None, help="Its kind: that of a connector's error, or as in `deadline` and `no_answer`.")
    contains: str | tuple[str, ...] = option((), help="Texts that stand in its message.")


@frozen(kw_only=True, eq=False, repr=False)
class Expectations:
    """What must come of a run; what is left out may be anything."""

    messages: RolesExpectation | tuple[CaseMessage, ...] | None = option(
        None, help="The rendered prompt: by role, or all messages."
    )
    packed: tuple[str, ...] | PackedExpectation | None = option(None, help="The items in the prompt, by their ids.")
    not_packed: tuple[str, ...] = option((), help="Items that are not in the prompt.")
    model: str | None = option(None, help="The model that answers.")
    fallback: tuple[str, ...] | None = option(
        None, help="The way through the models, as in `[main:overloaded, spare:ok]`: each with how it ended."
    )
    attempts: int | tuple[str, ...] | None = option(
        None, help="How many requests there are, or each of them as `model:outcome`."
    )
    answer: str | AnswerExpectation | None = option(None, help="The answer.")
    citations: tuple[str, ...] | None = option(None, help="The ids of the items that the answer cites, in any order.")
    tokens: TokenBounds | None = option(None, help="How many tokens there are at most.")
    error: str | ErrorExpectation | None = option(None, help="The run fails, with this error.")


@frozen(kw_only=True, eq=False, repr=False)
class Case:
    """A test."""

    name: str = option(help="What it shows, in words; no two tests of a file have one name.")
    query: str = option(help="The question.")
    inputs: Mapping[str, str | int | float | bool | None] = option(factory=dict, help="The inputs, by name.")
    items: tuple[str | CaseItem, ...] | None = option(
        None, help="What the sources yield; without it they are asked themselves."
    )
    history: tuple[CaseMessage, ...] = option((), help="The conversation before.")
    model: str | None = option(None, help="The model to ask first; else that of the pipeline.")
    stream: bool = option(False, help="Take the answer as a stream; so it is where a reply is cut or stalls.")
    models: Mapping[str, str | Reply | tuple[str | Reply, ...]] = option(
        factory=dict, help="What the models do, by name: one reply for every request, or a list in the order of them."
    )
    expect: Expectations | None = option(None, help="What must come of it; else that there is an answer.")
