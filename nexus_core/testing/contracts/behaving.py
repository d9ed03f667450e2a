"""The connector suite as a whole, and its third part: one request a call, nothing left behind, nothing shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from nexus_core.contract.errors import ConnectorError
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import Message
from nexus_core.testing.contracts.answering import AnswerTests
from nexus_core.testing.contracts.calls import (
    NO_OPTIONS,
    PROMPT,
    QUESTION,
    TEXTS,
    Scene,
    ask,
    check_connector_error,
    check_requests,
    refuse,
)
from nexus_core.testing.contracts.failing import FailureTests
from nexus_core.testing.contracts.parts import PartTests
from nexus_core.testing.contracts.service import HOW, ServiceSuite
from nexus_core.testing.contracts.suite import opened, run
from nexus_core.testing.dialect import Refusal
from nexus_core.testing.script import HalfClose, Reset, Script, Silence, Step
from nexus_core.testing.upstream import ScriptedUpstream, http_answer, http_head, json_answer, stream_answer
from nexus_core.testing.watching import Leftovers, LogRecorder, resource_warnings, shown_by

LEAVE_S = 0.5
"""Within this time after it was told to stop, a connector has closed its connection to the service."""
_HANG_S = 5.0


class BehaviourTests(ServiceSuite):
    """Requests, cancellation, loops, leftovers, secrets."""

    def test_one_request_for_each_call(self) -> None:
        """However a call fails, the service has seen one request: retries belong to the engine alone.

        Fix: switch off the retries of the client library (and those of HTTP libraries after a lost connection).
        """
        self._wire()
        for how in self._ways():
            for script in self._failures("no"):
                run(Scene(self._impatient, *script).call(HOW[how]))

    def _failures(self, message: str) -> list[Script]:
        """Return scripts of every way to fail."""
        dialect = self._wire()
        refusals = [refusal for group in dialect.refusals(message).values() for refusal in group]
        soon = {"Retry-After": "0", "retry-after-ms": "1", "x-should-retry": "true"}
        hurried = [Refusal(refusal.status, refusal.body, refusal.content_type, soon) for refusal in refusals]
        pieces, said = dialect.stream(TEXTS).pieces, self._before_text() + 1
        broken: list[list[Step]] = [[*pieces[:at], HalfClose()] for at in range(said + 1)]
        return [
            *map(refuse, [refusal for refusal in hurried if refusal.status >= 400]),
            *(stream_answer(body, content_type=dialect.content_type, ends=False) for body in broken),
            *(
                stream_answer([*pieces[:said], piece], content_type=dialect.content_type)
                for piece in self._said(message)
            ),
            http_answer(message.encode(), content_type="text/html"),
            json_answer({"surprise": message}),
            [http_head({"Content-Length": "500", "Content-Type": "application/json"}) + message.encode(), Reset()],
            [HalfClose()],
            [Reset()],
            [Silence()],
        ]

    def _said(self, message: str) -> list[bytes]:
        return [piece for group in self._wire().stream_errors(message).values() for piece in group]

    def test_a_stale_connection_costs_no_second_request(self) -> None:
        """A kept connection that the service closes at the next request fails that call, and is not tried anew.

        Fix: raise ConnectError (or DisconnectedError); the engine asks again on a fresh connection.
        """
        self._wire()
        run(self._stale())

    async def _stale(self) -> None:
        async with (
            ScriptedUpstream(self._script("whole"), close_before=1) as upstream,
            opened(self.make(upstream.url)) as connector,
        ):
            first, second = await ask(connector), await ask(connector)
            assert first.complete, f"the first call, answered well: {first}"
            check_requests(upstream, 2)
            if not second.complete:
                check_connector_error(second, ConnectorError, after="a kept connection closed without an answer")

    def test_redirect_is_not_followed(self) -> None:
        """A redirect ends the call: followed, it would carry key and prompt to another place.

        Fix: switch redirects off in the client library; raise ProtocolError for 3xx.
        """
        self._wire()
        for how in self._ways():
            for status in (302, 307):
                run(self._redirected(how, status))

    async def _redirected(self, how: str, status: int) -> None:
        async with ScriptedUpstream(self._script(how)) as other:
            headers = {"Location": f"{other.url}/elsewhere"}
            outcome = await Scene(self.make, *http_answer(b"", status=status, headers=headers)).call(HOW[how])
            assert other.started == 0, f"{how}: the redirect with status {status} was followed, key and prompt with it"
            check_connector_error(outcome, ConnectorError, after=f"{how}, status {status}")

    @pytest.mark.parametrize("phase", ["before the first byte", "in the middle"])
    def test_cancelled_call_closes_its_connection(self, phase: str) -> None:
        """A call that is cancelled ends at once and closes its connection within half a second.

        Fix: let CancelledError pass, and close the response in a `finally`.
        """
        self._wire()
        for how in self._ways():
            run(self._cancelled(how, phase))

    async def _cancelled(self, how: str, phase: str) -> None:
        script: list[Step] = [Silence()]
        if phase == "in the middle":
            script = self._first_pieces() if how == "streamed" else [*self._half(), Silence()]
        async with ScriptedUpstream(script) as upstream, opened(self.make(upstream.url)) as connector:
            call = asyncio.ensure_future(HOW[how](connector))
            await _until(lambda: upstream.requests)
            await asyncio.sleep(0.05)
            call.cancel()
            done, _ = await asyncio.wait({call}, timeout=_HANG_S)
            assert done, f"{how}: cancelled {phase}, and the call goes on"
            assert call.cancelled(), f"{how}: cancelled {phase}, and the call ended in {call.result()}"
            left = await upstream.left_open(LEAVE_S)
            assert not left, f"{how}: cancelled {phase}, and after {LEAVE_S:g} s {left[0]}"

    def _first_pieces(self) -> list[Step]:
        dialect = self._wire()
        pieces: list[Step] = [*dialect.stream(TEXTS).pieces[: self._before_text() + 1], Silence()]
        return stream_answer(pieces, content_type=dialect.content_type, ends=False)

    def _half(self) -> list[Step]:
        body = self._wire().answer("".join(TEXTS))
        head = http_head({"Content-Type": "application/json", "Content-Length": str(len(body))})
        return [head + body[: len(body) // 2]]

    def test_left_stream_closes_its_connection(self) -> None:
        """A reader that leaves a stream early (`aclose`) closes its connection within half a second.

        Fix: make stream_response an async generator that closes the response in a `finally`. Absent: `streaming`.
        """
        self._needs("streaming")
        run(self._left())

    async def _left(self) -> None:
        script = self._first_pieces() if self.dialect is not None else []
        async with ScriptedUpstream(script) as upstream, opened(self.make(upstream.url)) as connector:
            chunks: Any = connector.stream_response(PROMPT, self._options())
            async for chunk in chunks:
                if chunk.text:
                    break
            await asyncio.wait_for(chunks.aclose(), _HANG_S)
            left = await upstream.left_open(LEAVE_S)
            assert not left, f"the reader left, and after {LEAVE_S:g} s {left[0]}"

    def test_connector_serves_one_loop_after_another(self) -> None:
        """A connector that was closed can be opened again, in another event loop.

        Fix: open what belongs to a loop (sessions, locks) when the connector is opened, and drop it when it is closed.
        """
        kept: dict[str, Any] = {"port": 0}
        texts = [run(self._once(kept)) for _ in range(3)]
        assert len(set(texts)) == 1, f"from loop to loop the same connector answers otherwise: {texts}"

    async def _once(self, kept: dict[str, Any]) -> str:
        async with ScriptedUpstream(self._script("whole"), port=kept["port"]) as upstream:
            kept["port"] = upstream.port
            connector = kept.setdefault("connector", self.make(upstream.url))
            async with opened(connector):
                outcome = await ask(connector)
        assert outcome.complete, f"opened in one loop after another: {outcome}"
        return outcome.text

    def test_connector_leaves_nothing_behind(self) -> None:
        """After good calls, failed calls, left streams and its closing, no task, socket, file or warning is left.

        Fix: close responses on every path and the session in `__aexit__`; keep no task running.
        """
        with resource_warnings() as told:
            run(self._run_mixture())
        assert not told, "thrown away without being closed: " + "; ".join(told)

    async def _run_mixture(self) -> None:
        scripts = [script for how in self._ways() for script in (self._script(how), *self._some_failures())]
        async with ScriptedUpstream(*scripts or [[]]) as upstream:
            before = Leftovers()
            async with opened(self._impatient(upstream.url) if self.dialect else self.make(upstream.url)) as connector:
                for how in self._ways():
                    for _ in range(1 + len(self._some_failures())):
                        await HOW[how](connector)
            left = [*await before.leftovers(), *await upstream.left_open(LEAVE_S)]
            assert not left, "left behind after closing: " + "; ".join(left)

    def _some_failures(self) -> list[Script]:
        return self._failures("no")[::3] if self.dialect is not None else []

    def test_the_key_reaches_the_service(self) -> None:
        """The key that `make` gave is sent, so that the next test looks for the right thing.

        Fix: give `self.canary` to the connector in `make`. Absent: `key`.
        """
        self._needs("key")
        self._check_key()

    def test_secrets_are_never_shown(self) -> None:
        """Neither key nor prompt stands in a repr, an error or those behind it, or a log, also if the service says it.

        Fix: hold the key in a `Secret`; pass what a service says through `foreign_text`; chain no error of a client
        library that keeps the request's headers.
        """
        self._wire()
        said = f"Wrong key {self.canary} in: {QUESTION}"
        with LogRecorder() as journal:
            for how in self._ways():
                for script in (self._script(how), *self._failures(said)):
                    run(self._looked_at(script, how))
        log = "\n".join(journal.lines)
        for secret, what in ((self.canary, "the key"), (QUESTION, "the prompt")):
            line = next((line for line in journal.lines if secret in line), "")
            assert secret not in log, f"{what} is logged: {line[:120]!r}"

    async def _looked_at(self, script: Script, how: str) -> None:
        async with ScriptedUpstream(script) as upstream, opened(self._impatient(upstream.url)) as connector:
            prompt = Prompt(messages=(Message("user", QUESTION),), query=QUESTION)
            outcome = await HOW[how](connector, NO_OPTIONS, prompt)
            shown = f"{connector!r} {connector}"
            assert self.canary not in shown, "the key stands in the repr of the connector: hold it in a Secret"
            if outcome.error is not None:
                shown = shown_by(outcome.error)
                where = f"{type(outcome.error).__name__} or an error behind it, {how}"
                assert self.canary not in shown, f"the key stands in {where}"
                assert QUESTION not in shown, f"the prompt stands in {where}"


async def _until(reached: Callable[[], Any]) -> None:
    """Wait until something is so; the test's own limit ends it."""
    while not reached():  # noqa: ASYNC110 - what is waited for is a list that another task fills
        await asyncio.sleep(0.005)


class ConnectorContract(AnswerTests, PartTests, FailureTests, BehaviourTests):
    """Proves that a connector keeps the contract, at a service that does everything wrong on purpose.

    A subclass defines `make` and `dialect`, `None` where there is no service:

    class TestAcme(ConnectorContract):
        dialect = OpenAIDialect()

        def make(self, url):
            return Acme(model="m", base_url=url, api_key=Secret(self.canary))
    """
