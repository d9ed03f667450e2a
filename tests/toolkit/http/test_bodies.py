"""The toolkit for HTTP: session, timers, caps, the one map of errors, and text without secrets."""

from __future__ import annotations

import asyncio
import errno
import gzip
import socket
import traceback
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from math import isfinite
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import http_exceptions
from hypothesis import example, given, settings, strategies as st

from nexus_core import (
    AuthError,
    ConflictError,
    ConnectError,
    ConnectorError,
    InvalidRequestError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    ResponseTooLargeError,
    ServerError,
    TruncatedError,
    UnsupportedRequestError,
    UpstreamTimeoutError,
)
from nexus_core.testing.upstream import Gate, Script, ScriptedUpstream, Silence, http_answer, http_head, stream_answer
from nexus_core.toolkit.http.bodies import BodyReader, Timeouts, open_session, read_body, read_start, retry_after_s
from nexus_core.toolkit.http.errors import _RULES, UpstreamErrors, connector_error, error_of_status, foreign_text
from nexus_core.toolkit.timers import TimeLimit

CANARY = "canary-7f3a9c51e8/+b2"
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def all_subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from all_subclasses(subclass)


@asynccontextmanager
async def answered(script: Script) -> AsyncIterator[aiohttp.ClientResponse]:
    """Give the response to one request that is answered by `script`."""
    async with ScriptedUpstream(script) as upstream, open_session({}) as session:
        response = await session.post(upstream.url, data=b"{}", allow_redirects=False)
        try:
            yield response
        finally:
            response.close()


def test_every_error_of_aiohttp_is_mapped() -> None:
    """When aiohttp grows a new error, say in `_RULES` what it means to a caller."""
    names = {kind.__name__ for kind in all_subclasses(aiohttp.ClientError) if kind.__module__.startswith("aiohttp.")}
    assert len(names) > 20
    assert names - set(_RULES) == set()


def test_every_parse_error_of_aiohttp_is_mapped() -> None:
    """The errors of its HTTP parser are no ClientErrors, and leave it in some cases."""
    for kind in all_subclasses(http_exceptions.HttpProcessingError):
        names = [base.__name__ for base in kind.__mro__]
        assert any(name in _RULES for name in names)


@pytest.mark.parametrize(
    ("error", "expected", "code", "sent"),
    [
        (aiohttp.ServerDisconnectedError(), ConnectError, "disconnected", True),
        (aiohttp.ClientOSError(errno.EPIPE, "Broken pipe"), ConnectError, "disconnected", True),
        (aiohttp.ConnectionTimeoutError("slow"), ConnectError, "timeout_connect", False),
        (aiohttp.SocketTimeoutError("slow"), UpstreamTimeoutError, "timeout", True),
        (TimeoutError(), UpstreamTimeoutError, "timeout", True),
        (aiohttp.ClientPayloadError("cut"), TruncatedError, "truncated", True),
        (aiohttp.InvalidURL("x"), ModelNotFoundError, "address", False),
        (http_exceptions.LineTooLong(b"x", 1), ProtocolError, "http", True),
        (socket.gaierror(-2, "Name or service not known"), ConnectError, "dns", False),
        (ConnectionResetError(errno.ECONNRESET, "reset"), ConnectError, "disconnected", True),
        (ZeroDivisionError(), ProtocolError, "unexpected", True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_connector_error_tells_what_happened(
    error: Exception, expected: type[ConnectorError], code: str, sent: bool
) -> None:
    """Each foreign error becomes the class a caller reacts to."""
    failure = connector_error(error, provider="acme", model="m")
    assert type(failure) is expected
    assert (failure.code, failure.request_sent, failure.provider, failure.model) == (code, sent, "acme", "m")
    assert failure.__cause__ is error


def test_connector_error_takes_a_broken_encoding_for_no_truncation() -> None:
    """A payload error is told apart by its cause."""
    error = aiohttp.ClientPayloadError("broken")
    error.__cause__ = http_exceptions.ContentEncodingError("deflate")
    assert type(connector_error(error)) is ProtocolError


def test_connector_error_after_the_head_is_a_truncation() -> None:
    """Once an answer has begun, a lost connection cuts it."""
    failure = connector_error(aiohttp.ServerDisconnectedError(), status=200)
    assert type(failure) is TruncatedError
    assert failure.status == 200


def test_connector_error_chains_nothing_that_holds_a_secret() -> None:
    """The cause is dropped when it, or what caused it, would show the key."""
    outer, inner = aiohttp.ClientPayloadError("cut"), ValueError(f"Bearer {CANARY}")
    outer.__cause__ = inner
    assert connector_error(outer, secrets=[CANARY]).__cause__ is None
    assert connector_error(outer, secrets=["", "another one"]).__cause__ is outer


async def raised(error: BaseException, errors: UpstreamErrors) -> BaseException:
    """Return what leaves the block when `error` is raised in it."""
    try:
        with errors:
            raise error
    except BaseException as left:  # noqa: BLE001
        return left
    raise AssertionError("nothing left the block")


async def test_upstream_errors_lets_only_connector_errors_out() -> None:
    """Foreign errors are mapped, our own get provider, model and status."""
    errors = UpstreamErrors("acme", "m")
    mapped = await raised(aiohttp.ServerDisconnectedError(), errors)
    assert isinstance(mapped, ConnectError)
    errors.status = 200
    own = await raised(ProtocolError("no JSON"), errors)
    assert isinstance(own, ProtocolError)
    assert (own.provider, own.model, own.status) == ("acme", "m", 200)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit(), KeyboardInterrupt()], ids=repr)
async def test_upstream_errors_lets_cancellation_pass(error: BaseException) -> None:
    """What ends a task is never turned into a failure of the service."""
    assert await raised(error, UpstreamErrors("acme", "m")) is error


async def test_upstream_errors_hides_the_key_in_the_whole_chain() -> None:
    """Neither cause nor context, which the interpreter sets by itself, shows what a library error held."""
    left = await raised(aiohttp.ClientConnectionError(f"Bearer {CANARY}"), UpstreamErrors("a", "m", secrets=(CANARY,)))
    assert left.__cause__ is None
    assert left.__context__ is None
    assert CANARY not in "".join(traceback.format_exception(left))


async def test_upstream_errors_names_the_timer() -> None:
    """A timeout of the block says which limit it was and how long."""
    left = await raised(TimeoutError(), UpstreamErrors("acme", "m", timer="first_byte", limit_s=2.5))
    assert isinstance(left, UpstreamTimeoutError)
    assert "2.5 s (first_byte_timeout_s)" in str(left)
    assert left.code == "timeout_first_byte"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, ProtocolError), (400, InvalidRequestError), (401, AuthError), (402, QuotaError), (403, AuthError),
        (404, ModelNotFoundError), (408, NotReadyError), (409, ConflictError),
        (413, UnsupportedRequestError), (418, UnsupportedRequestError),
        (425, NotReadyError), (429, RateLimitError), (500, ServerError),
        (501, ModelNotFoundError), (505, ModelNotFoundError), (502, ServerError), (503, OverloadedError),
        (529, OverloadedError), (599, ServerError),
    ],
)  # fmt: skip
def test_error_of_status(status: int, expected: type[ConnectorError]) -> None:
    """Each status stands for one reaction."""
    assert error_of_status(status) is expected


async def test_session_defaults_are_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults 14 and 38: no proxy of the environment, no cookies, no compression, no timer of aiohttp's own."""
    async with (
        ScriptedUpstream(http_answer(b"{}", headers={"Set-Cookie": "a=b"})) as proxy,
        ScriptedUpstream(http_answer(b"{}", headers={"Set-Cookie": "a=b"})) as upstream,
    ):
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        monkeypatch.setenv("http_proxy", proxy.origin)
        async with open_session({"X-Own": "1"}, connections=2) as session:
            for _ in range(2):
                async with session.post(upstream.url, data=b"{}"):
                    continue
            assert session.timeout.total is None
            assert session.timeout.sock_read is None
    assert proxy.connections == []
    headers = upstream.requests[1].headers
    assert (headers["accept-encoding"], headers["x-own"]) == ("identity", "1")
    assert "cookie" not in headers
    assert len(upstream.connections) == 1


@pytest.mark.parametrize(
    "script",
    [
        http_answer(b"x" * 100),
        stream_answer([b"x" * 60, b"x" * 40]),
        [http_head({"Connection": "close"}) + b"x" * 100, Gate()],
    ],
    ids=["length", "chunked", "endless"],
)
async def test_read_body_has_a_cap(script: Script) -> None:
    """However the body is framed, more than the cap is an error and not memory."""
    async with answered(script) as response:
        with pytest.raises(ResponseTooLargeError, match="99 bytes"):
            await read_body(response, cap=99)


async def test_read_body_counts_what_is_decoded() -> None:
    """Fault 23: a small compressed body does not become a large one in memory."""
    bomb = gzip.compress(bytes(4_000_000))
    async with answered(http_answer(bomb, headers={"Content-Encoding": "gzip"})) as response:
        with pytest.raises(ResponseTooLargeError):
            await read_body(response, cap=100_000)


@pytest.mark.parametrize("pieces", [[b""], [b"ab"], [b"a", b"b", b"c" * 300_000]], ids=["none", "one", "several"])
async def test_read_body_returns_the_whole(pieces: list[bytes]) -> None:
    """All pieces, in order."""
    async with answered(stream_answer(pieces)) as response:
        assert await read_body(response) == b"".join(pieces)


@pytest.mark.slow
async def test_read_start_takes_what_comes() -> None:
    """The body of an error is read up to the cap, and a broken one as far as it goes."""
    async with answered(http_answer(b"0123456789" * 10)) as response:
        assert await read_start(response, cap=12) == b"012345678901"
    async with answered([*stream_answer([b"half"], ends=False), b"zz\r\n"]) as response:
        assert await read_start(response) == b"half"


async def test_body_reader_reads_to_the_end() -> None:
    """Pieces as they come, then nothing."""
    gate = Gate()
    async with answered(stream_answer([b"a", gate, b"b"])) as response:
        reader = BodyReader(response, Timeouts())
        assert await reader.read() == b"a"
        gate.open()
        assert [await reader.read(), await reader.read(), reader.received] == [b"b", b"", 2]
        reader.close()


@pytest.mark.parametrize(
    ("timeouts", "code", "says"),
    [
        (Timeouts(idle_s=0.02), "timeout_idle", "no data within 0.02 s (idle_timeout_s); 0 events, 1 byte"),
        (Timeouts(progress_s=0.02), "timeout_progress", "no content within 0.02 s (progress_timeout_s)"),
        (Timeouts(stream_s=0.02), "timeout_total", "did not end within 0.02 s (stream_timeout_s)"),
    ],
    ids=["idle", "progress", "total"],
)
async def test_body_reader_ends_a_stalled_stream(timeouts: Timeouts, code: str, says: str) -> None:
    """Each timer fires by itself and says which it was."""
    async with answered(stream_answer([b"a", Silence()])) as response:
        reader = BodyReader(response, timeouts)
        await reader.read()
        with pytest.raises(UpstreamTimeoutError) as caught:
            await reader.read()
        reader.close()
    assert caught.value.code == code
    assert says in str(caught.value)


async def test_body_reader_hurries() -> None:
    """A stream that has said all can be given less time."""
    async with answered(stream_answer([b"a", Silence()])) as response:
        reader = BodyReader(response, Timeouts())
        await reader.read()
        reader.hurry(0.01)
        with pytest.raises(UpstreamTimeoutError):
            await reader.read()
        reader.close()


@pytest.mark.slow
async def test_body_reader_relaxes() -> None:
    """What goes on after all has its time again."""
    gate = Gate()
    async with answered(stream_answer([b"a", gate, b"b"])) as response:
        reader = BodyReader(response, Timeouts())
        await reader.read()
        reader.hurry(0.05)
        reader.relax()
        asyncio.get_running_loop().call_later(0.2, gate.open)
        assert await reader.read() == b"b"
        reader.close()


async def test_body_reader_does_not_blame_the_service_for_a_slow_consumer() -> None:
    """Time that the consumer takes is no idle time."""
    async with answered(stream_answer([b"a", b"b"])) as response:
        reader = BodyReader(response, Timeouts(idle_s=0.01, progress_s=0.02))
        data = b""
        while piece := await reader.read():
            data += piece
            reader.advanced()
            waited = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.05, waited.set_result, None)
            await waited
        reader.close()
    assert data == b"ab"


async def test_body_reader_has_a_cap() -> None:
    """A stream without end does not run for ever."""
    async with answered(stream_answer([b"x" * 50, b"x" * 51])) as response:
        reader = BodyReader(response, Timeouts(), cap=100)

        async def drain() -> None:
            while await reader.read():
                continue

        with pytest.raises(ResponseTooLargeError, match="100 bytes"):
            await drain()
        reader.close()


async def stays(limit: TimeLimit) -> str:
    """Return how a block that never ends by itself is ended."""
    try:
        with limit.block():
            await asyncio.Event().wait()
    except TimeoutError:
        return "timeout"
    return "done"


async def test_time_limit_ends_each_block() -> None:
    """Blocks that began together or one after another, by one timer."""
    limit = TimeLimit(0.02)
    assert await asyncio.gather(*(stays(limit) for _ in range(3))) == ["timeout"] * 3
    assert await stays(limit) == "timeout"


async def test_time_limit_leaves_those_in_time_alone() -> None:
    """A block that has ended is forgotten, also when the timer was set for it."""
    limit = TimeLimit(0.02)
    with limit.block():
        await asyncio.sleep(0)
    assert await stays(limit) == "timeout"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_time_limit_gives_way_to_cancellation() -> None:
    """Who cancels the task gets a cancelled task, no timeout, even when both come at once."""
    task = asyncio.create_task(stays(TimeLimit(0.0)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_time_limits_nest() -> None:
    """The one that is up first ends its own block."""
    outer, inner = TimeLimit(30), TimeLimit(0.01)
    with outer.block():
        assert await stays(inner) == "timeout"
    with pytest.raises(TimeoutError), inner.block():
        await stays(outer)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:03 GMT"}, 3.0),
        ({"retry-after": "Thu, 01 Jan 2026 11:59:59 GMT"}, None),
        ({"retry-after": "86400"}, 86400.0),
        *(
            ({"retry-after": text}, None)
            for text in ("nan", "inf", "-5", "1e400", "+3", "", "5, 5", "0", "٣", "9" * 400)
        ),
        ({"retry-after": "Fri, 29 Sep 100000 00:00:00 GMT"}, None),
    ],
    ids=str,
)
def test_retry_after(headers: dict[str, str], expected: float | None) -> None:
    """Faults 5, 6 and 7: milliseconds, seconds, date; anything else is absent."""
    assert retry_after_s(headers, NOW) == expected


@pytest.mark.slow
@given(st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ (GMT|[+-]\d{4})"))
@settings(max_examples=200, deadline=None)
def test_retry_after_never_raises(text: str) -> None:
    """Whatever a service writes there."""
    wait = retry_after_s({"retry-after": text, "retry-after-ms": text}, NOW)
    assert wait is None or (wait > 0 and isfinite(wait))


@pytest.mark.parametrize(
    "shown", [CANARY, quote(CANARY, safe=""), b64encode(CANARY.encode()).decode(), CANARY[:12], CANARY[5:]],
    ids=["plain", "url-encoded", "base64", "beginning", "end"],
)  # fmt: skip
def test_foreign_text_hides_the_key(shown: str) -> None:
    """A service that repeats the key, or most of it, does not get it into our messages."""
    text = foreign_text(f"Incorrect API key provided: {shown}.", secrets=[CANARY])
    assert text.startswith("Incorrect API key provided: [hidden]")
    assert not any(shown[at : at + 8] in text for at in range(len(shown) - 7))


@pytest.mark.parametrize(
    "key", ["sk-proj-abc123***xyz", "Bearer abc.def", "AKIAIOSFODNN7EXAMPLE", "eyJhbGciOi.eyJzdWIi.c2ln"]
)
def test_foreign_text_hides_what_looks_like_a_key(key: str) -> None:
    """Also keys that we do not know."""
    assert foreign_text(f"key {key} is wrong") == "key [hidden] is wrong"


def test_foreign_text_hides_the_prompt() -> None:
    """Validation messages repeat their input."""
    prompt = "Summarise the letter\nof my solicitor about the house."
    said = "1 error: input_value='Summarise the letter of my solicitor about the house.' is not a list"
    assert foreign_text(said, content=["other", prompt]) == "1 error: input_value='[hidden]' is not a list"


def test_foreign_text_is_one_short_line() -> None:
    """Control characters and lengths of the service's choice do not reach a log."""
    text = foreign_text("a\r\n\x1b[31mb\x00\u2028" + "c" * 10_000)
    assert text.startswith("a [31mb ccc")
    assert len(text) == 503


@pytest.mark.slow
@given(
    st.text(max_size=300), st.text("abcdefghij0123456789-_/+", min_size=8, max_size=40), st.lists(st.integers(0, 300))
)
@example("x" * 299, "x" * 8, [0])
@settings(max_examples=200, deadline=None)
def test_foreign_text_never_shows_a_secret(text: str, secret: str, places: list[int]) -> None:
    """Wherever it stands, and however often."""
    for place in places:
        text = text[:place] + secret + text[place:]
    assert secret not in foreign_text(text, secrets=[secret])


def test_timeouts_are_those_of_the_documentation() -> None:
    """The defaults that the README of the connector states."""
    values: dict[str, Any] = {name: getattr(Timeouts(), name) for name in Timeouts.__annotations__}
    assert values == {
        "connect_s": 10.0, "first_byte_s": 60.0, "idle_s": 60.0, "progress_s": 120.0, "total_s": 90.0, "stream_s": 600.0
    }  # fmt: skip


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
def test_keys_that_begin_alike_are_hidden_whole(order: tuple[int, int]) -> None:
    """As two tokens of one issuer do, of which the old one may stand in an error."""
    keys = [f"eyJhbGciOiJSUzI1NiJ9.{number}" for number in ("1", "2")]
    assert foreign_text(f"bad key {keys[0]}", secrets=[keys[at] for at in order]) == "bad key [hidden]"
