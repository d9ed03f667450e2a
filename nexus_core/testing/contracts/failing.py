"""The connector suite, part two: every way to fail comes out as its class of error, and half an answer is none."""

from __future__ import annotations

import asyncio
import socket

import pytest

from nexus_core.contract.errors import (
    ConnectError,
    ConnectorError,
    ProtocolError,
    TruncatedError,
    UpstreamTimeoutError,
)
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import Message
from nexus_core.testing.contracts.calls import TEXTS, CallOutcome, Scene, ask, check_connector_error, refuse, stream
from nexus_core.testing.contracts.service import HOW, ServiceSuite
from nexus_core.testing.contracts.suite import opened, run
from nexus_core.testing.dialect import REFUSALS, Refusal
from nexus_core.testing.script import HalfClose, Pause, Repeat, Reset, Silence, Step
from nexus_core.testing.upstream import close_answer, http_answer, http_head, stream_answer

_CLASSES = {kind.kind: kind for kind in REFUSALS}
_WAIT_S = 3.0
_ENDINGS: dict[str, tuple[Step | None, tuple[type[ConnectorError], ...]]] = {
    "end": (None, (TruncatedError,)),
    "fin": (HalfClose(), (TruncatedError,)),
    "reset": (Reset(), (TruncatedError, ConnectError)),
    "silence": (Silence(), (UpstreamTimeoutError,)),
}
"""How a stream breaks off, and what that is: an orderly end, FIN, RST, nothing more."""
_FLOOD = b"x" * 2**18


class FailureTests(ServiceSuite):
    """Refusals, cuts, stalls, garbage, and nobody there."""

    @pytest.mark.parametrize("kind", _CLASSES)
    def test_refusal_is_of_its_class(self, kind: str) -> None:
        """What the service refuses comes out as the class that says what to do about it, whole or streamed.

        Fix: map status and the service's own code to that class, of `nexus_core`. Absent: the kind, where the
        service cannot say such a thing.
        """
        self._needs(kind)
        refusals = self._wire().refusals("The service says no.").get(_CLASSES[kind], ())
        assert refusals, f"the dialect has no refusal that is a {_CLASSES[kind].__name__}: add it, or declare it absent"
        for refusal in refusals:
            for how in self._ways():
                if how == "whole" or refusal.status >= 400:
                    self._check_refusal(_CLASSES[kind], refusal, how)

    def _check_refusal(self, kind: type[ConnectorError], refusal: Refusal, how: str) -> None:
        outcome = run(Scene(self.make, *refuse(refusal)).call(HOW[how]))
        after = f"{how}, status {refusal.status} with {refusal.body[:80]!r}"
        check_connector_error(outcome, kind, after=after)
        error = outcome.error
        assert isinstance(error, ConnectorError)
        assert error.provider, f"{after}: the error does not name the provider"
        assert error.model, f"{after}: the error does not name the model"
        assert error.status == refusal.status, f"{after}: the error says status {error.status}"
        assert error.request_sent, f"{after}: a request was made, so it must be accounted (request_sent)"

    def test_the_wait_that_the_service_asks_for_is_told(self) -> None:
        """`Retry-After` stands in the error as seconds; the engine decides whether to wait.

        Fix: `retry_after_s=nexus_core.toolkit.http.bodies.retry_after_s(headers)`. Absent: `retry_after`.
        """
        self._needs("retry_after")
        self._check_retry_after()

    def _check_retry_after(self) -> None:
        refusals = [refusal for group in self._wire().refusals("Wait.").values() for refusal in group]
        refusal = next(refusal for refusal in refusals if refusal.status in (429, 503))
        for value, expected in {"3": 3.0, "86400": 86400.0, "nan": None, "-5": None, "soon": None}.items():
            asked = Refusal(refusal.status, refusal.body, refusal.content_type, {"Retry-After": value})
            error = run(Scene(self.make, *refuse(asked)).call(ask)).error
            said = getattr(error, "retry_after_s", None)
            assert said == expected, f"Retry-After: {value} is told as {said}, expected {expected}"

    def test_error_inside_a_stream_is_of_its_class(self) -> None:
        """An error that comes inside a stream ends it as an error of its class, first thing or after some text.

        Fix: look at each event for the service's error before reading its text. Absent: `errors_in_stream`,
        `streaming`.
        """
        self._needs("streaming")
        self._needs("errors_in_stream")
        dialect = self._wire()
        errors = dialect.stream_errors("The service says no.")
        assert errors, "the dialect has no stream_errors: write them down, or declare absent['errors_in_stream']"
        good = dialect.stream(TEXTS)
        for kind, pieces in errors.items():
            for piece in pieces:
                for at in (0, self._before_text() + 2):
                    body = [*good.pieces[:at], piece]
                    outcome = run(
                        Scene(self.make, *stream_answer(body, content_type=dialect.content_type)).call(stream)
                    )
                    check_connector_error(outcome, kind, after=f"after {at} events of a stream, {piece[:80]!r}")

    def _check_errors_in_stream(self) -> None:
        assert self._wire().stream_errors("no")

    @pytest.mark.parametrize("ending", _ENDINGS)
    def test_cut_stream_is_never_an_answer(self, ending: str) -> None:
        """A stream that breaks off, after whichever event, ends in an error.

        Fix: raise TruncatedError unless the service has said why its answer ended, whatever else has come; raise
        UpstreamTimeoutError (or StalledError) when it says nothing more. Absent: `streaming`.
        """
        self._needs("streaming")
        self._wire()
        run(self._cut_everywhere(ending))

    async def _cut_everywhere(self, ending: str) -> None:
        dialect, (step, kinds) = self._wire(), _ENDINGS[ending]
        good = dialect.stream(TEXTS)
        make = self._impatient if ending == "silence" else self.make
        scenes = []
        for at in range(good.needed):
            pieces: list[Step] = [*good.pieces[:at], *([step] if step else [])]
            script = stream_answer(pieces, content_type=dialect.content_type, ends=step is None)
            scenes.append(Scene(make, *script))
        outcomes = await asyncio.gather(*(scene.call(stream) for scene in scenes))
        for at, outcome in enumerate(outcomes):
            check_connector_error(outcome, *kinds, after=f"a stream that breaks off ({ending}) after {at} events")
            said = "".join(TEXTS)
            assert said.startswith(outcome.text), f"after {at} events the text is {outcome.text!r}"

    def test_stream_cut_after_its_end_is_right_or_an_error(self) -> None:
        """What breaks off after the finish reason has its whole text, or ends in an error; never less.

        Fix: what comes after the finish reason are figures at most; do without them. Absent: `streaming`.
        """
        self._needs("streaming")
        dialect = self._wire()
        good = dialect.stream(TEXTS)
        for at in range(good.needed, len(good.pieces)):
            script = stream_answer([*good.pieces[:at], HalfClose()], content_type=dialect.content_type, ends=False)
            outcome = run(Scene(self.make, *script).call(stream))
            after = f"cut after {at} events, the finish reason among them"
            if outcome.complete:
                assert outcome.text == "".join(TEXTS), f"{after}: {outcome.text!r}"
            else:
                check_connector_error(outcome, ConnectorError, after=after)

    @pytest.mark.parametrize("ending", ["fin", "reset", "no length"])
    def test_cut_answer_is_never_an_answer(self, ending: str) -> None:
        """A whole answer whose body breaks off anywhere ends in an error, also where no length was told.

        Fix: raise TruncatedError (or ProtocolError) for a body that cannot be decoded, and for what the client library
        says of a body that is too short.
        """
        run(self._cut_answers(ending))

    async def _cut_answers(self, ending: str) -> None:
        body = self._wire().answer("".join(TEXTS))
        head = http_head({"Content-Type": "application/json", "Content-Length": str(len(body))})
        for at in sorted({0, 1, len(body) // 3, len(body) // 2, len(body) - 2, len(body) - 1}):
            script: list[Step] = (
                close_answer([body[:at]])
                if ending == "no length"
                else [head + body[:at], Pause(0.01), Reset() if ending == "reset" else HalfClose()]
            )
            outcome = await Scene(self.make, *script).call(ask)
            kinds = (TruncatedError, ProtocolError, ConnectError)
            check_connector_error(outcome, *kinds, after=f"a body of {len(body)} bytes cut ({ending}) after {at}")

    @pytest.mark.parametrize("where", ["before the head", "in the body", "while sending"])
    def test_silence_ends_in_time(self, where: str) -> None:
        """A service that says nothing, or does not read, ends in UpstreamTimeoutError within the declared time.

        Fix: put a limit around the whole attempt, its sending included, and around each read of a stream.
        """
        self._wire()
        for how in self._ways():
            run(self._silent(where, how))

    async def _silent(self, where: str, how: str) -> None:
        head = http_head({"Content-Type": "application/json", "Content-Length": "9"})
        script: list[Step] = [head, Silence()] if where == "in the body" else [Silence()]
        if where == "in the body" and how == "streamed":
            script = stream_answer([Silence()], content_type=self._wire().content_type, ends=False)
        scene = Scene(self._impatient, *script, deaf=where == "while sending")
        long = "word " * 2_000_000 if where == "while sending" else "Anybody there?"
        call = asyncio.ensure_future(scene.call(HOW[how], prompt=Prompt(messages=(Message("user", long),), query="?")))
        done, _ = await asyncio.wait({call}, timeout=_WAIT_S)
        assert done, f"{how}: silence {where} still holds the call after {_WAIT_S:g} s"
        check_connector_error(call.result(), UpstreamTimeoutError, after=f"{how}, silence {where}")

    def test_nobody_there_is_a_connect_error(self) -> None:
        """A port where nobody listens ends in ConnectError, and nothing was sent.

        Fix: map the client library's connection errors to ConnectError with request_sent=False.
        """
        self._wire()
        for how in self._ways():
            outcome = run(self._alone(how))
            check_connector_error(outcome, ConnectError, after=f"{how}, nobody listens")
            assert not getattr(outcome.error, "request_sent", True), "nothing was sent: request_sent=False"

    async def _alone(self, how: str) -> CallOutcome:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        async with opened(self.make(f"http://127.0.0.1:{port}/v1")) as connector:
            outcome: CallOutcome = await HOW[how](connector)
        return outcome

    def test_connection_lost_before_an_answer_is_a_connect_error(self) -> None:
        """A connection that closes without a byte ends in ConnectError, or DisconnectedError: nothing is sent anew.

        Fix: map it, and switch the client library's own retries off.
        """
        self._wire()
        for how in self._ways():
            for step in (HalfClose(), Reset()):
                outcome = run(Scene(self.make, step).call(HOW[how]))
                check_connector_error(outcome, ConnectError, after=f"{how}, {type(step).__name__} before any byte")

    @pytest.mark.parametrize("garbage", ["web page", "nothing", "other JSON", "no HTTP", "bad chunk", "broken UTF-8"])
    def test_garbage_is_a_connector_error(self, garbage: str) -> None:
        """What is no answer of the service ends in a ConnectorError, for most of it ProtocolError.

        Fix: check the shape of what came before reading from it, and map what the decoder raises.
        """
        self._wire()
        head = http_head({"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        scripts: dict[str, list[list[Step]]] = {
            "web page": [http_answer(b"<html><body>Sign in</body></html>", content_type="text/html")],
            "nothing": [http_answer(b"")],
            "other JSON": [http_answer(body) for body in (b'[{"a": NaN}, null]', b'{"status": "up"}', b"{}", b"[]")],
            "no HTTP": [[b"SSH-2.0-OpenSSH_9.2\r\n\r\n", HalfClose()]],
            "bad chunk": [[head, b"zz\r\n"]],
            "broken UTF-8": [http_answer(b'{"\xff\xfe": "\xc3"')],
        }
        for how in self._ways():
            for number, script in enumerate(scripts[garbage], 1):
                outcome = run(Scene(self._impatient, *script).call(HOW[how]))
                check_connector_error(outcome, ConnectorError, after=f"{how}, {garbage} {number}")

    def test_endless_answer_is_refused(self) -> None:
        """An answer that does not end is given up at some size, before it fills the memory.

        Fix: cap bodies, lines and streams; raise ResponseTooLargeError. Absent: `cap`.
        """
        self._needs("cap")
        self._check_cap()

    def _check_cap(self) -> None:
        self._wire()
        for how in self._ways():
            head = http_head({"Content-Type": self._wire().content_type, "Connection": "close"}, version="1.0")
            flood = Repeat(_FLOOD, 2**28 // len(_FLOOD))
            outcome = run(Scene(self.make, head, b'data: {"', flood, HalfClose()).call(HOW[how]))
            check_connector_error(outcome, ConnectorError, after=f"{how}, an endless answer")
            assert not isinstance(outcome.error, TruncatedError), f"{how}: 256 MiB were taken in, and there is no cap"
