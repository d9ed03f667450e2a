"""Calls of a connector, as the suite makes them: what came, how it ended, and how many requests it took."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from nexus_core.contract.errors import ConnectorError
from nexus_core.contract.models import ModelInfo
from nexus_core.contract.prompts import PackedItem, Prompt
from nexus_core.contract.protocols import Connector
from nexus_core.contract.values import CallOptions, Chunk, Completion, Item, Message
from nexus_core.testing.contracts.suite import opened
from nexus_core.testing.script import Step
from nexus_core.testing.upstream import ScriptedUpstream, http_answer

QUESTION = "Is the tide mill of Carrowbeg open on Sundays, or only the café?"
_ITEM = Item(
    id="mill",
    title="Opening times",
    text="The tide mill of Carrowbeg is open on Sundays from noon. The café is closed on Sundays. Dogs wait outside.",
)
PROMPT = Prompt(
    messages=(Message("system", "Answer from the context. ünïcödé ⛵"), Message("user", QUESTION)),
    query=QUESTION,
    items=(PackedItem(number=1, item=_ITEM, text=_ITEM.text),),
    window=100_000,
    reserved=1000,
    prompt_tokens=40,
    tokens_at_most=40,
)
"""What the suite sends, whatever the connector."""
TEXTS = ("The mill ", "opens at noon \u2028", "é ⛵ 字.", ' "quoted"\n')
"""What the scripted service says, in the parts of a stream."""
TEXT = "".join(TEXTS)
NO_OPTIONS = CallOptions()
OPTIONS: Mapping[str, Any] = {
    "temperature": 0.25,
    "max_tokens": 17,
    "stop": ("END", "⛵"),
    "top_p": 0.5,
    "frequency_penalty": 0.125,
    "presence_penalty": -0.125,
    "extra": {"suite_extra": {"deep": [1, "é"]}},
}
"""Call options, each with a value that no default has."""


@frozen
class CallOutcome:
    """What came of a call."""

    text: str = ""
    error: BaseException | None = None
    last: Chunk | Completion | None = None
    """The last chunk of a stream, or the whole answer."""

    @property
    def complete(self) -> bool:
        """Whether it passes for an answer."""
        return self.error is None

    def __str__(self) -> str:
        """Say it for a message."""
        if self.error is None:
            return f"an answer of {len(self.text)} characters"
        return f"{type(self.error).__name__}: {self.error}"


def with_required(info: ModelInfo, options: CallOptions = NO_OPTIONS) -> CallOptions:
    """Return options with what the model must be given besides (`ModelInfo.requires`)."""
    required = frozenset(info.requires)
    unknown = sorted(required - OPTIONS.keys())
    assert not unknown, f"model_info.requires names {unknown}, which are no call options: {sorted(OPTIONS)}"
    missing = {name: OPTIONS[name] for name in required if not getattr(options, name)}
    return attrs.evolve(options, **missing) if missing else options


async def ask(connector: Connector, options: CallOptions = NO_OPTIONS, prompt: Prompt = PROMPT) -> CallOutcome:
    """Ask for a whole answer; an error is an outcome, and only cancellation passes."""
    try:
        completion = await connector.send_prompt(prompt, with_required(connector.model_info, options))
    except Exception as error:  # noqa: BLE001 - whatever comes is what the test looks at
        return CallOutcome(error=error)
    return CallOutcome(completion.text, None, completion)


async def stream(connector: Connector, options: CallOptions = NO_OPTIONS, prompt: Prompt = PROMPT) -> CallOutcome:
    """Ask for a stream and read it to its end."""
    text, last = "", None
    try:
        async for chunk in connector.stream_response(prompt, with_required(connector.model_info, options)):
            last = chunk
            text += chunk.text
    except Exception as error:  # noqa: BLE001 - whatever comes is what the test looks at
        return CallOutcome(text, error, last)
    return CallOutcome(text, None, last)


Ask = Callable[..., Any]


class Scene:
    """A connector at a scripted upstream; after each call it looks that no more than one request was made."""

    def __init__(self, make: Callable[[str], Connector], *script: Step, **settings: Any) -> None:
        self._make = make
        self.upstream = ScriptedUpstream(script, **settings)

    async def call(self, how: Ask, options: CallOptions = NO_OPTIONS, prompt: Prompt = PROMPT) -> CallOutcome:
        """Call once and return what came of it."""
        async with self.upstream, opened(self._make(self.upstream.url)) as connector:
            outcome: CallOutcome = await how(connector, options, prompt)
            check_requests(self.upstream, 1)
            return outcome


def check_requests(upstream: ScriptedUpstream, calls: int) -> None:
    """Fail where more requests were made than calls."""
    assert upstream.started <= calls, (
        f"{upstream.started} requests for {calls} calls: a connector makes one request per call and leaves every "
        "further attempt to the engine; switch the retries of the client library off"
    )


def check_connector_error(outcome: CallOutcome, *kinds: type[ConnectorError], after: str) -> None:
    """Fail where a call did not end in an error of one of these classes."""
    assert not outcome.complete, f"{after}: passed off as {outcome}; raise {kinds[0].__name__}"
    names = " or ".join(kind.__name__ for kind in kinds)
    assert isinstance(outcome.error, ConnectorError), (
        f"{after}: {outcome} is not a ConnectorError; map what the client library raises, once, around the whole call"
    )
    assert isinstance(outcome.error, kinds), f"{after}: {outcome}; it must be {names}"


def refuse(refusal: Any) -> list[Step]:
    """Return the script of a refusal."""
    return http_answer(refusal.body, status=refusal.status, content_type=refusal.content_type, headers=refusal.headers)


def impatient(connector: Connector, seconds: float) -> Connector:
    """Return the same connector with a short time in all of its options that end in `timeout_s`."""
    kind: Any = type(connector)
    fields: Sequence[Any] = attrs.fields(kind) if attrs.has(kind) else ()
    short = {field.alias: seconds for field in fields if field.init and field.name.endswith("timeout_s")}
    assert short, (
        "the suite needs a connector that waits for a short time only: declare options that end in `timeout_s`, "
        "or define make_impatient(url, seconds)"
    )
    evolved: Connector = attrs.evolve(connector, **short)  # type: ignore[misc]
    return evolved
