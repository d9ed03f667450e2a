"""A stream that breaks at event n, for all n and in four ways, and all that may follow: over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from attrs import evolve
from nexus_openai.connector import OpenAI

from nexus_core import AttemptFinished, ConnectorError, Event, Secret, StreamRestarted
from nexus_core.config.policies import CallPolicy, RateLimitPolicy, RetryPolicy
from nexus_core.contract.ranking import Ranking
from nexus_core.engine.calls.call import Call
from nexus_core.engine.calls.caller import Caller, CallResult
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.models import Model, ModelRegistry
from nexus_core.engine.packing.packer import Draft
from nexus_core.engine.steps import BareQuery
from nexus_core.testing.upstream import (
    HalfClose,
    Reset,
    ScriptedUpstream,
    Silence,
    chat_events,
    error_body,
    event,
    stream_answer,
)

WORDS = ("Because ", "it ", "is ", "so.")
EVENTS = chat_events(*WORDS)[:6]
"""A role, four words, and the finish reason."""
BREAKS: dict[str, tuple[Any, set[str]]] = {
    "fin": (HalfClose(), {"truncated"}),
    "reset": (Reset(), {"truncated"}),
    "silence": (Silence(), {"stalled", "timeout"}),
    "error": (event(error_body("busy", type="overloaded_error")), {"overloaded", "server_error"}),
}
"""What happens after the n-th event, and the outcomes by which it may be told."""
ROLE, FINISHED = 1, 6


def broken_at(n: int, how: str) -> Sequence[Any]:
    return stream_answer([*EVENTS[:n], BREAKS[how][0]], ends=False)


def whole(text: str) -> Sequence[Any]:
    return stream_answer(chat_events(text))


class Scene:
    """Two services behind real connectors, a call that streams from them, and a reader of it."""

    def __init__(self, main: ScriptedUpstream, spare: ScriptedUpstream, *, spared: bool, **calls: Any) -> None:
        self.upstreams = (main, spare)
        self.connectors = tuple(
            OpenAI(
                model="gpt-4o-mini",
                api_key=Secret("sk-test"),
                base_url=upstream.url,
                idle_timeout_s=0.08,
                first_byte_timeout_s=2.0,
            )
            for upstream in self.upstreams
        )
        retry = None if spared else RetryPolicy(attempts=2, first_wait_s=0.0)
        models = [
            Model(
                name=name,
                connector=connector,
                info=evolve(connector.model_info, capabilities=frozenset({"continue"})),
                retry=retry,
                limits=RateLimitPolicy(concurrency=1),
            )
            for name, connector in zip(("main", "spare"), self.connectors, strict=True)
        ]
        self.resources = ComponentLifecycle()
        self.attempts = Caller(ModelRegistry(models), self.resources, calls=CallPolicy(**calls))
        draft = Draft(template=BareQuery(), ranking=Ranking(()), query="Why?")
        self.call = Call(id="c", run_id="r", draft=draft, chain=tuple(models if spared else models[:1]))
        self.events: list[Event] = []
        self.shown = ""

    @property
    def outcomes(self) -> list[str]:
        return [event.outcome for event in self.events if isinstance(event, AttemptFinished)]

    @property
    def restarts(self) -> int:
        return sum(isinstance(event, StreamRestarted) for event in self.events)

    def see(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, StreamRestarted):
            self.shown = ""

    async def read(self, *, leaves: bool = False) -> CallResult | ConnectorError | None:
        """Read the stream to its end, or leave after the first text; return the answer or the error."""
        try:
            async with aclosing(self.attempts.stream(self.call, self.see)) as parts:  # type: ignore[type-var]
                async for part in parts:
                    if isinstance(part, CallResult):
                        return part
                    self.shown += part if isinstance(part, str) else part.text
                    if self.shown and leaves:
                        return None
        except ConnectorError as error:
            return error
        return None

    def assert_nothing_is_left(self) -> None:
        """One row for each request that the services saw; no slot, no connection in use, no deadline, no task."""
        assert len(self.outcomes) == sum(len(upstream.requests) for upstream in self.upstreams)
        setting = self.attempts._setting
        assert not setting.timer._running
        for model in self.call.chain:
            limiter = setting.targets.of(model).limiter
            assert limiter is not None
            assert (limiter.inside, limiter.waiting) == (0, 0)
        for connector in self.connectors:
            pool: Any = connector._client._session.connector if connector._client else None
            assert pool is None or not pool._acquired


@asynccontextmanager
async def scene(n: int, how: str, spare: str = "Spare.", *, spared: bool, **calls: Any) -> AsyncIterator[Scene]:
    """A main service that breaks at event `n` and then serves, and a spare one."""
    before = asyncio.all_tasks()
    async with ScriptedUpstream(broken_at(n, how), whole("Again.")) as main, ScriptedUpstream(whole(spare)) as other:
        made = Scene(main, other, spared=spared, **calls)
        yield made
        made.assert_nothing_is_left()
        await made.resources.close()
    assert asyncio.all_tasks() == before


def is_whole(n: int, how: str) -> bool:
    """Tell whether the answer is whole: a finish reason has come, and nothing was said against it."""
    return n >= FINISHED and how != "error"


def text_of(n: int) -> str:
    return "".join(WORDS[: max(0, n - ROLE)])


breaks = pytest.mark.parametrize("how", BREAKS)


@pytest.mark.slow
@breaks
async def test_retry_before_the_first_text_and_an_error_after_it(how: str) -> None:
    """Faults 45, 47 and 70: the text is that of one attempt, whole or marked as broken."""
    for n in range(FINISHED + 1):
        async with scene(n, how, spared=False) as made:
            end = await made.read()
            if is_whole(n, how):
                assert (made.shown, made.outcomes) == ("Because it is so.", ["ok"])
            elif n <= ROLE:
                assert (made.shown, made.outcomes[1:]) == ("Again.", ["ok"])
            else:
                assert isinstance(end, ConnectorError)
                assert (made.shown, len(made.outcomes)) == (text_of(n), 1)
            assert is_whole(n, how) or made.outcomes[0] in BREAKS[how][1]


@pytest.mark.slow
@breaks
async def test_fallback_before_the_first_text_and_an_error_after_it(how: str) -> None:
    """Faults 70, 71 and 72: another service answers only where nothing has been shown."""
    for n in range(FINISHED + 1):
        async with scene(n, how, spared=True) as made:
            end = await made.read()
            if is_whole(n, how):
                assert (made.shown, made.outcomes) == ("Because it is so.", ["ok"])
            elif n <= ROLE:
                assert (made.shown, made.outcomes[1:]) == ("Spare.", ["ok"])
            else:
                assert isinstance(end, ConnectorError)
                assert (made.shown, len(made.outcomes)) == (text_of(n), 1)


@pytest.mark.slow
@breaks
async def test_restart_gives_the_whole_answer_of_another_service(how: str) -> None:
    """What was shown is declared void exactly where anything was."""
    for n in range(FINISHED + 1):
        async with scene(n, how, spared=True, on_stream_failure="restart") as made:
            end = await made.read()
            assert isinstance(end, CallResult)
            assert made.shown == end.completion.text == ("Because it is so." if is_whole(n, how) else "Spare.")
            assert made.restarts == (n > ROLE and not is_whole(n, how))
            assert made.outcomes[-1] == "ok"


@pytest.mark.slow
@breaks
async def test_continue_gives_one_answer_of_two_services(how: str) -> None:
    """The second service gets what the first has said, and what it says is added."""
    for n in range(FINISHED + 1):
        async with scene(n, how, "and so on.", spared=True, on_stream_failure="continue") as made:
            end = await made.read()
            assert isinstance(end, CallResult)
            expected = "Because it is so." if is_whole(n, how) else f"{text_of(n)}and so on."
            assert made.shown == end.completion.text == expected
            assert made.restarts == 0
            if n > ROLE and not is_whole(n, how):
                message = made.upstreams[1].requests[0].json()["messages"][-1]
                assert message == {"role": "assistant", "content": text_of(n)}


@breaks
async def test_a_reader_who_leaves_is_followed_by_nobody(how: str) -> None:
    """Faults 73 and 78: the connection is closed at once, one row says so, and no other service is asked."""
    for n in range(ROLE + 1, FINISHED + 1):
        async with scene(n, how, spared=True, on_stream_failure="restart") as made:
            assert await made.read(leaves=True) is None
            assert (made.outcomes, made.restarts) == (["cancelled"], 0)
            await asyncio.wait_for(made.upstreams[0].connections[0].closed.wait(), 0.5)
            [row] = [event for event in made.events if isinstance(event, AttemptFinished)]
            assert (row.usage_source, row.status) == ("estimated", 200)
            assert row.bytes_received


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_cancelled_call_closes_its_connection(streamed: bool) -> None:
    """Fault 75: within half a second, before the first byte and in mid-stream."""
    for script in ([Silence()], broken_at(3, "silence")) if streamed else ([Silence()],):
        async with ScriptedUpstream(script) as main, ScriptedUpstream(whole("Never.")) as other:
            made = Scene(main, other, spared=True)
            made.connectors[0].idle_timeout_s = 60.0
            work = made.read() if streamed else made.attempts.complete(made.call, made.see)
            task = asyncio.ensure_future(work)
            while not main.connections or not main.requests:  # noqa: ASYNC110 - the upstream has no event for it
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(main.connections[0].closed.wait(), 0.5)
            assert made.outcomes == ["cancelled"]
            made.assert_nothing_is_left()
            await made.resources.close()
