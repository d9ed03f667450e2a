"""The connector suite, part one: what is asked reaches the service, and what it says comes back whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import get_args

import pytest

from nexus_core.contract.models import ModelInfo
from nexus_core.contract.protocols import Connector
from nexus_core.contract.values import Completion, FinishReason
from nexus_core.testing.contracts.calls import OPTIONS, PROMPT, TEXT, TEXTS, Scene, check_requests, stream
from nexus_core.testing.contracts.service import HOW, ServiceSuite
from nexus_core.testing.contracts.suite import opened, run
from nexus_core.testing.script import Gate, Step
from nexus_core.testing.upstream import ScriptedUpstream, close_answer, informational, stream_answer

_CAPABILITIES = {
    "streaming", "json", "schema", "tools", "vision", "files", "reasoning", "offline", "generate", "continue",
}  # fmt: skip
_LATE_S = 3.0


class AnswerTests(ServiceSuite):
    """Calls, streams, options, finish reasons, and every form that a good stream comes in."""

    def test_it_is_a_connector(self) -> None:
        """The three members are there, and a stream can be closed early.

        Fix: have `model_info` (a property), `async send_prompt`, and `stream_response` as an async generator.
        """
        run(self._shaped())

    async def _shaped(self) -> None:
        async with ScriptedUpstream([]) as upstream, opened(self.make(upstream.url)) as connector:
            assert isinstance(connector, Connector), "model_info, send_prompt and stream_response are needed"
            chunks = connector.stream_response(PROMPT, self._options())
            assert isinstance(chunks, AsyncIterator), "stream_response returns the stream itself: it is not awaited"
            assert hasattr(chunks, "aclose"), "a stream needs `aclose`: make stream_response an async generator"
            await chunks.aclose()

    def test_model_info_is_sane(self) -> None:
        """What is known of the model makes sense, is always the same, and is told without any connection.

        Fix: return a `ModelInfo` from figures that are written down, or declared as options; never ask the service.
        """
        info = run(self._informed())
        assert isinstance(info, ModelInfo), f"model_info is a {type(info).__name__}: return a ModelInfo"
        assert info.id.strip(), "model_info.id is empty"
        assert info.provider.strip(), "model_info.provider is empty"
        assert info.window > 0, "the window must be positive"
        for figure in ("max_input", "max_output"):
            limit = getattr(info, figure)
            assert limit is None or 0 < limit <= info.window, f"{figure} is {limit}, with a window of {info.window}"
        unknown = set(info.capabilities) - _CAPABILITIES
        assert not unknown, f"unknown capabilities {sorted(unknown)}; known: {sorted(_CAPABILITIES)}"
        offline = self.dialect is None
        assert ("offline" in info.capabilities) <= offline, "`offline` is for connectors that make no request"

    async def _informed(self) -> ModelInfo:
        async with ScriptedUpstream([]) as upstream:
            connector = self.make(upstream.url)
            before = connector.model_info
            async with opened(connector):
                assert connector.model_info == before, "model_info changes when the connector is opened"
            assert not upstream.connections, "model_info, opening or closing called the service; it needs no call"
        return before

    def test_call_returns_the_whole_answer(self) -> None:
        """A whole answer is the text of the service, letter for letter, with a finish reason.

        Fix: decode the body as UTF-8 and return a `Completion` with its text.
        """
        outcome, _ = run(self._answered("whole"))
        assert isinstance(outcome.last, Completion), f"send_prompt returned a {type(outcome.last).__name__}"

    def test_stream_returns_the_whole_answer(self) -> None:
        """The chunks of a stream, put together, are the text of the service, letter for letter.

        Fix: decode whole lines, not pieces of bytes. Absent: `streaming`.
        """
        self._needs("streaming")
        self._check_streaming()

    def test_call_and_stream_agree(self) -> None:
        """The same question gets the same text either way.

        Fix: read both forms of an answer with the same code. Absent: `streaming`.
        """
        self._needs("streaming")
        whole, streamed = (run(self._answered(how))[0] for how in HOW)
        assert whole.text == streamed.text, f"whole: {whole.text!r}; streamed: {streamed.text!r}"

    def test_finish_reason_is_always_told(self) -> None:
        """Every good answer tells why it ended, and in a stream that is the last word.

        Fix: map the service's own reasons to those of `FinishReason`, and yield the last chunk with it. Absent:
        `streaming`, for that half.
        """
        for how in self._ways():
            outcome, _ = run(self._answered(how))
            reason = getattr(outcome.last, "finish_reason", None)
            assert reason in get_args(FinishReason), f"{how}: the finish reason is {reason!r}"
        if "streaming" not in self.absent:
            reasons = run(self._reasons())
            assert reasons[-1] is not None, "the last chunk of a stream carries the finish reason"
            assert set(reasons[:-1]) <= {None}, "a chunk with a finish reason is the last one: nothing comes after it"

    async def _reasons(self) -> list[FinishReason | None]:
        async with ScriptedUpstream(self._script("streamed")) as upstream, opened(self.make(upstream.url)) as connector:
            return [chunk.finish_reason async for chunk in connector.stream_response(PROMPT, self._options())]

    def test_finish_reason_tells_of_a_cut_at_max_tokens(self) -> None:
        """An answer that the service cut at `max_tokens` has the finish reason `length`.

        Fix: map the service's word for it. Absent: `length`.
        """
        self._needs("length")
        self._check_length()

    def test_usage_is_that_of_the_service(self) -> None:
        """Token counts are those that the service reports, in whole answers and in streams.

        Fix: read them where the service tells them, often after the last text. Absent: `usage`.
        """
        self._needs("usage")
        self._check_usage()

    def test_messages_reach_the_service(self) -> None:
        """Every message arrives, in order, with its role and its letters.

        Fix: send all of `prompt.messages`; encode them as UTF-8.
        """
        dialect = self._wire()
        for how in self._ways():
            _, upstream = run(self._answered(how))
            sent = dialect.read_request(upstream.requests[0]).messages
            asked = tuple((message.role, message.content) for message in PROMPT.messages)
            assert sent == asked or _as_one_text(sent), f"{how}: sent {sent!r}, asked {asked!r}"

    @pytest.mark.parametrize("name", OPTIONS)
    def test_option_reaches_the_service(self, name: str) -> None:
        """What a caller asks for is sent, whole answer or stream.

        Fix: send every field of `CallOptions` that is not `None`, and all of `extra`. Absent: the option's name.
        """
        self._needs(name)
        for how in self._ways():
            self._check_option(name, how)

    def test_options_that_are_not_set_are_not_sent(self) -> None:
        """What nobody asked for is left to the service.

        Fix: send no defaults of your own.
        """
        dialect = self._wire()
        for how in self._ways():
            _, upstream = run(self._answered(how))
            sent = set(dialect.read_request(upstream.requests[0]).options) & set(OPTIONS)
            sent -= self._given_names()
            assert not sent, f"{how}: nothing was asked and {sorted(sent)} were sent"

    def test_required_options_reach_the_service(self) -> None:
        """What `model_info.requires` names is sent as it was given, and is no option that is absent.

        Fix: name in `requires` only what the service refuses to do without, and send it.
        """
        dialect = self._wire()
        for how in self._ways():
            given, (_, upstream) = self._options(), run(self._answered(how))
            sent = dialect.read_request(upstream.requests[0]).options
            for name in self._given_names() - {"extra"}:
                value = getattr(given, name)
                wanted = list(value) if isinstance(value, tuple) else value
                assert sent.get(name) == wanted, f"{how}: {name} is required, and {sent.get(name)!r} was sent"

    def _given_names(self) -> set[str]:
        return set(self.make("http://127.0.0.1:9/v1").model_info.requires)

    def test_the_dialect_says_its_texts(self) -> None:
        """The scripted service says the texts that it is given: without them no other test means anything.

        Fix: write each text into `answer`, and into a piece of its own of `stream`.
        """
        self._before_text()

    def test_stream_comes_as_it_is_sent(self) -> None:
        """A part of a stream is there before the service sends the next one.

        Fix: yield as you read; do not collect the body first. Absent: `streaming`.
        """
        self._needs("streaming")
        self._wire()
        run(self._step_by_step())

    async def _step_by_step(self) -> None:
        dialect = self._wire()
        good, gate, said = dialect.stream(TEXTS), Gate(), self._before_text() + 2
        pieces: list[Step] = [*good.pieces[:said], gate, *good.pieces[said:]]
        script = stream_answer(pieces, content_type=dialect.content_type)
        async with ScriptedUpstream(script) as upstream, opened(self.make(upstream.url)) as connector:
            given_up = asyncio.get_running_loop().call_later(_LATE_S, gate.open)
            early = False
            async for chunk in connector.stream_response(PROMPT, self._options()):
                early = early or (bool(chunk.text) and not gate.opened.is_set())
                if early:
                    gate.open()
            given_up.cancel()
        assert early, "no text came before the service had sent all of it: yield each part as it is read"

    def test_stream_is_the_same_in_every_cut(self) -> None:
        """The bytes of a stream may come in any pieces, also cut inside a letter or a line.

        Fix: split lines on bytes and decode whole lines. Absent: `streaming`.
        """
        self._needs("streaming")
        dialect = self._wire()
        body = b"".join(dialect.stream(TEXTS).pieces)
        for size in (1, 2, 7, 64, len(body)):
            pieces = [body[at : at + size] for at in range(0, len(body), size)]
            script = stream_answer(pieces, content_type=dialect.content_type)
            outcome = run(Scene(self.make, *script).call(stream))
            assert outcome.text == TEXT, f"in pieces of {size} bytes it is {outcome.text!r} ({outcome})"
            assert outcome.complete, f"in pieces of {size} bytes: {outcome}"

    def test_stream_is_the_same_in_every_form(self) -> None:
        """Every form in which the service writes the same stream is read alike.

        Fix: see the name of the form, and the bytes under it in the dialect's `quirks`. Absent: `quirks`, `streaming`.
        """
        self._needs("streaming")
        self._needs("quirks")
        wrong = run(self._misread())
        assert not wrong, "not read as they should be: " + "; ".join(wrong)

    async def _misread(self) -> list[str]:
        dialect, wrong = self._wire(), []
        quirks = dialect.quirks(TEXTS)
        assert quirks, "the dialect has no quirks: write them down, or declare absent['quirks']"
        for name, pieces in quirks.items():
            script = stream_answer(pieces, content_type=dialect.content_type)
            outcome = await Scene(self.make, *script).call(stream)
            if not outcome.complete or outcome.text != TEXT:
                wrong.append(f"{name} ({outcome}, {outcome.text!r})")
        return wrong

    def _check_quirks(self) -> None:
        assert self._wire().quirks(TEXTS)

    def test_answers_of_older_servers_are_read(self) -> None:
        """An answer may come without a length, ended by the end of the connection, and after interim answers.

        Fix: leave the framing to the HTTP library, and do not insist on a `Content-Length`.
        """
        dialect = self._wire()
        body = dialect.answer(TEXT)
        for name, script in {
            "HTTP/1.0": close_answer([body[:20], body[20:]]),
            "interim answers": [informational(103), informational(103), *self._script("whole")],
        }.items():
            outcome = run(Scene(self.make, *script).call(HOW["whole"]))
            assert outcome.text == TEXT, f"{name}: {outcome}"

    def test_connector_makes_no_connection_without_a_dialect(self) -> None:
        """`dialect = None` is for connectors that call no service.

        Fix: give `dialect` the way in which your service speaks.
        """
        if self.dialect is None:
            _, upstream = run(self._answered("whole"))
            assert not upstream.connections, "the connector called the service, so it needs a `dialect`"

    def test_calls_do_not_disturb_each_other(self) -> None:
        """Many calls at once, whole and streamed, get a whole answer each, by one request each.

        Fix: keep nothing of a call on the connector. Absent: `streaming`, for that half.
        """
        for how in self._ways():
            run(self._crowd(how))

    async def _crowd(self, how: str) -> None:
        async with ScriptedUpstream(self._script(how)) as upstream, opened(self.make(upstream.url)) as connector:
            outcomes = await asyncio.gather(*(HOW[how](connector) for _ in range(16)))
            check_requests(upstream, 16)
        assert len({outcome.text for outcome in outcomes}) == 1, f"{how}: not every call got the same answer"
        assert all(outcome.complete for outcome in outcomes), f"{how}: {[str(outcome) for outcome in outcomes]}"


def _as_one_text(sent: tuple[tuple[str, str], ...]) -> bool:
    """Tell whether a service without roles got all messages in one text."""
    return len(sent) == 1 and all(message.text in sent[0][1] for message in PROMPT.messages)
