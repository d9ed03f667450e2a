"""What comes over a raw socket: odd hosts and paths, smuggling, and whatever is too large or too slow."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from typing import Any

import pytest
from aiohttp import http_parser, web_protocol

from nexus_core import StoreBusyError, StoreDamagedError, StoreFullError, StoreUnavailableError
from nexus_core.server.settings import ServerLimits

pytestmark = pytest.mark.slow

BODY = b'{"query": "How many days?", "contextId": "own", "pipeline": "own"}'
GOOD = b"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(BODY)


async def said(running: Any, data: bytes, *, within_s: float = 10.0) -> list[tuple[int, bytes]]:
    """Send bytes and return status and body of each answer until the server closes, or says nothing for a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.server.port)
    try:
        writer.write(data)
        answers: list[tuple[int, bytes]] = []
        while answer := await _answer(reader, within_s if not answers else 0.2):
            answers.append(answer)
        return answers
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader, seconds: float) -> tuple[int, bytes] | None:
    try:
        async with asyncio.timeout(seconds):
            head = await reader.readuntil(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            return int(head.split(b" ", 2)[1]), await reader.readexactly(int(length[0][15:]) if length else 0)
    except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
        return None


def post(body: bytes = BODY, *headers: bytes, path: bytes = b"/api/queries") -> bytes:
    """Return a whole request."""
    fields = [b"Host: localhost", b"Content-Type: application/json", b"Content-Length: %d" % len(body), *headers]
    return b"POST " + path + b" HTTP/1.1\r\n" + b"\r\n".join(fields) + b"\r\n\r\n" + body


async def test_a_plain_request_is_answered(running: Any) -> None:
    """The one that all others here are compared with."""
    assert [status for status, _ in await said(running, post())] == [200]


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        pytest.param([b"localhost"], 200, id="localhost"),
        pytest.param([b"127.0.0.1:8000"], 200, id="address"),
        pytest.param([b"[::1]:8000"], 200, id="address-6"),
        pytest.param([b"page.localhost"], 200, id="below-localhost"),
        pytest.param([b"evil.example"], 421, id="another"),
        pytest.param([b"127.0.0.1.evil.example"], 421, id="prefix"),
        pytest.param([b"localhost:4000/#@x"], 421, id="fragment"),
        pytest.param([b"evil.example@localhost"], 421, id="user"),
        pytest.param([b"localhost, evil.example"], 421, id="list"),
        pytest.param([b"localhost:99999999"], 421, id="port"),
        pytest.param([b"0x7f000001"], 421, id="hex"),
        pytest.param([], 421, id="none"),
        pytest.param([b""], 421, id="empty"),
        pytest.param([b"localhost", b"localhost"], 400, id="twice"),
    ],
)
async def test_only_this_machine_is_served_by_name(running: Any, hosts: list[bytes], status: int) -> None:
    """A page of another name that points here gets nothing (faults 98, 196, 201)."""
    fields = b"".join(b"Host: " + host + b"\r\n" for host in hosts)
    found = await said(running, b"GET /healthz HTTP/1.1\r\n" + fields + b"\r\n")
    assert [each for each, _ in found] in ([status], [400] if status == 421 else [status])


@pytest.mark.parametrize(
    "origin",
    [
        b"https://evil.example", b"null", b"http://localhost.evil.example", b"http://[", b"http://localhost:3000",
        b"https://localhost", b"http://127.0.0.1", b"http://localhost/path", b"", b"localhost",
    ],
)  # fmt: skip
async def test_pages_of_other_hosts_are_refused(running: Any, origin: bytes) -> None:
    """A browser sends them without asking where the request is a simple one (fault 201)."""
    found = await said(running, post(BODY, b"Origin: " + origin))
    assert [(status, json.loads(body)["code"]) for status, body in found] == [(403, "wrong_origin")]


async def test_pages_of_this_machine_are_served(running: Any) -> None:
    """Without a header that lets pages of others read the answer."""
    async with running.session.get(running.origin + "/healthz", headers={"Origin": running.origin}) as found:
        assert found.status == 200
        assert not [name for name in found.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        pytest.param(b"http://evil.example/healthz", 421, id="absolute-other"),
        pytest.param(b"http://localhost/healthz", 200, id="absolute-own"),
        pytest.param(b"//healthz", 404, id="two-slashes"),
        pytest.param(b"/healthz/../api/queries/models", 404, id="dots"),
        pytest.param(b"/healthz/%2e%2e/api/queries/models", 404, id="dots-encoded"),
        pytest.param(b"/healthz;x=1", 404, id="parameter"),
        pytest.param(b"/HEALTHZ", 404, id="case"),
        pytest.param(b"/healthz%00", 404, id="null"),
        pytest.param(b"*", 404, id="star"),
        pytest.param(b"/" + b"a" * 9000, 400, id="long"),
    ],
)
async def test_odd_targets_reach_nothing(running: Any, target: bytes, status: int) -> None:
    """What is open to whoever comes is decided by the route that was found (fault 196)."""
    found = await said(running, b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert [each for each, _ in found] in ([status], [400])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            b"POST /api/queries HTTP/1.1\r\n" + GOOD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="both"
        ),
        pytest.param(b"POST /api/queries HTTP/1.1\r\n" + GOOD + b"Content-Length: 3\r\n\r\n" + BODY, id="two-lengths"),
        pytest.param(b"POST /api/queries HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\nabcde", id="plus"),
        pytest.param(b"POST /api/queries HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5, 5\r\n\r\nabcde", id="list"),
        pytest.param(b"GET /healthz HTTP/1.1\nHost: localhost\n\n", id="bare-newlines"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n", id="xchunked"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n", id="space-in-name"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n", id="folded"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n", id="null"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="tls"),
        pytest.param(
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", id="long-header"
        ),
        pytest.param(
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X%d: a\r\n" % n for n in range(300)) + b"\r\n",
            id="many-headers",
        ),
    ],
)
@pytest.mark.parametrize("parser", ["usual", "python"])
async def test_what_is_no_http_is_refused_in_our_words(
    running: Any, monkeypatch: pytest.MonkeyPatch, data: bytes, parser: str
) -> None:
    """Once, with nothing of it in the answer, by both parsers of aiohttp; the connection is closed (faults 96, 98)."""
    if parser == "python":
        monkeypatch.setattr(web_protocol, "HttpRequestParser", http_parser.HttpRequestParserPy)
    found = await said(running, data)
    assert [status for status, _ in found] == [400]
    told = json.loads(found[0][1])
    assert (told["code"], told["error"]) == ("malformed_request", "the request is no valid HTTP")


async def test_malformed_requests_fill_no_log(running: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Of many there is a line now and then, without a traceback (fault 99)."""
    with caplog.at_level(logging.DEBUG, "aiohttp"), caplog.at_level(logging.DEBUG, "nexus_core"):
        for _ in range(50):
            await said(running, b"nonsense\r\n\r\n")
    lines = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert len(lines) == 1
    assert lines[0].exc_info is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"[" * 100_000, 400, id="deep"),
        pytest.param(b'{"query": "x", "contextId": "own", "n": ' + b"[" * 32 + b"]" * 32 + b"}", 400, id="33-deep"),
        pytest.param(b'{"query": "x", "contextId": "own", "n": [' + b"[]," * 60_000 + b"[]]}", 400, id="many-lists"),
        pytest.param(b'{"query": "' + b'[\\"' * 300_000, 400, id="endless-text"),
        pytest.param(b'{"query": NaN, "contextId": "own"}', 400, id="nan"),
        pytest.param(b'{"query": "x", "contextId": "own", "options": {"temperature": 1e999}}', 400, id="endless"),
        pytest.param(b'{"query": "x", "query": "y", "contextId": "own"}', 400, id="twice"),
        pytest.param(b'{"query": "x", "contextId": "own", "n": ' + b"9" * 5000 + b"}", 400, id="digits"),
        pytest.param(b'{"query": "\\ud800", "contextId": "own", "pipeline": "own"}', 400, id="surrogate"),
        pytest.param(b"\xef\xbb\xbf" + BODY, 400, id="bom"),
        pytest.param(b"\xff\xfe{}", 400, id="no-utf8"),
        pytest.param(b'"text"', 400, id="text"),
        pytest.param(b"", 400, id="empty"),
        pytest.param(b" " * (2**20 + 1), 400, id="large, as only documents may be"),
    ],
)
async def test_odd_bodies_are_refused(running: Any, body: bytes, status: int) -> None:
    """With a status of the client's, never one of ours, and before they keep others waiting (faults 92, 95, 106)."""
    assert [each for each, _ in await said(running, post(body))] == [status]


async def test_brackets_in_a_text_are_text(running: Any) -> None:
    """Of a program that is asked about, say; however many, and whether they are closed or not."""
    asked = json.loads(BODY) | {"query": '[{"\\' * 1000}
    assert [status for status, _ in await said(running, post(json.dumps(asked).encode()))] == [200]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param((b"application/json", b"text/plain"), 415, id="text"),
        pytest.param((b"application/json", b"application/x-www-form-urlencoded"), 415, id="form"),
        pytest.param((b"application/json\r\n", b"application/json\r\nContent-Encoding: gzip\r\n"), 415, id="gzip"),
    ],
)
async def test_other_bodies_than_json_are_refused(running: Any, change: tuple[bytes, bytes], status: int) -> None:
    """A form of a page reaches nothing, and nothing is unpacked (faults 95, 201)."""
    assert [each for each, _ in await said(running, post().replace(*change))] == [status]


async def test_a_chunked_body_is_bounded_too(running: Any) -> None:
    """Whatever it says of its length (fault 95)."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    chunk = b"10000\r\n" + b" " * 2**16 + b"\r\n"
    found = await said(running, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 17)
    assert [status for status, _ in found] == [413]


async def test_a_body_is_asked_for_when_it_may_come(running: Any) -> None:
    """Who waits to be told is told once, when the request was let in, and then answered (fault 95)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.server.port)
    writer.write(b"POST /api/queries HTTP/1.1\r\n" + GOOD + b"Expect: 100-continue\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(BODY)
    assert b" 200 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"POST /api/queries HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 9\r\n", 421, id="host"),
        pytest.param(b"POST /api/queries HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n", 415, id="type"),
        pytest.param(GOOD.replace(b"%d" % len(BODY), b"99999999"), 413, id="size"),
    ],
)
async def test_a_body_is_not_asked_for_in_vain(running: Any, head: bytes, status: int) -> None:
    """Who is refused hears so before sending it (fault 95)."""
    line = b"" if head.startswith(b"POST") else b"POST /api/queries HTTP/1.1\r\n"
    found = await said(running, line + head + b"Expect: 100-continue\r\n\r\n")
    assert [each for each, _ in found] == [status]


@pytest.mark.parametrize("path", ["/healthz", "/nothing", "/api/queries"])
async def test_no_answer_tells_of_the_software(running: Any, path: str) -> None:
    """Also not one that the library gives by itself, as to an odd expectation (fault 205)."""
    async with running.session.get(running.origin + path, headers={"Expect": "200-maybe"}) as answer:
        assert answer.headers["Server"] == "nexus"
        assert "aiohttp" not in await answer.text()


async def test_a_slow_body_is_given_up(start: Any) -> None:
    """With status 408, and the connection is closed (fault 94)."""
    running = await start(limits=ServerLimits(body_s=0.2))
    found = await said(running, b"POST /api/queries HTTP/1.1\r\n" + GOOD + b"\r\n{")
    assert [(status, json.loads(body)["code"]) for status, body in found] == [(408, "body_timeout")]


async def test_a_slow_head_is_given_up(start: Any) -> None:
    """However it drips (fault 93)."""
    running = await start(limits=ServerLimits(header_s=0.5))
    reader, writer = await asyncio.open_connection("127.0.0.1", running.server.port)

    async def drip() -> None:
        while not writer.is_closing():
            writer.write(b"X")
            await asyncio.sleep(0.1)

    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(10):
        try:
            assert b" 200 " not in await reader.read()
        except ConnectionError:
            assert writer
    dripping.cancel()
    writer.close()


async def test_connections_are_capped(start: Any) -> None:
    """One more is told so and closed; those that are there go on (fault 93)."""
    running = await start(limits=ServerLimits(connections=3))
    held = [await asyncio.open_connection("127.0.0.1", running.server.port) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert [status for status, _ in await said(running, post())] == [503]
    held[0][1].write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b" 200 " in await held[0][0].readuntil(b"\r\n")
    for _, writer in held:
        writer.close()


async def test_requests_in_one_piece_are_answered_in_turn(running: Any) -> None:
    """A thousand of them, each once (fault 97)."""
    found = await said(running, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
    assert [status for status, _ in found] == [200] * 1000


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param("mine-1.a_b", True, id="fine"),
        pytest.param("a" * 65, False, id="long"),
        pytest.param("a b", False, id="space"),
        pytest.param("é", False, id="letter"),
        pytest.param("<x>", False, id="brackets"),
    ],
)
async def test_the_id_of_a_request_is_taken_where_it_is_plain(running: Any, given: str, kept: bool) -> None:
    """Else it gets one of ours (fault 207)."""
    async with running.session.get(running.origin + "/nothing", headers={"X-Request-Id": given}) as answer:
        told = (await answer.json())["requestId"]
        assert answer.headers["X-Request-Id"] == told
        assert (told == given) is kept


async def test_an_error_that_nobody_foresaw_tells_nothing(
    running: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fixed text with the id under which the log has more (fault 205)."""

    def fails(name: str | None) -> None:
        raise RuntimeError("sk-secret /etc/passwd")

    monkeypatch.setattr(running.server.serving, "pipeline", fails)
    status, told = await running.call("POST", "/api/queries", json=json.loads(BODY))
    assert (status, told["code"]) == (500, "internal_error")
    assert "secret" not in str(told)
    assert told["requestId"] in caplog.text


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        pytest.param(StoreBusyError("/srv/store/store.db is kept"), 503, "store_busy", id="busy"),
        pytest.param(StoreFullError("/srv/store/store.db is full"), 507, "store_full", id="full"),
        pytest.param(StoreDamagedError("/srv/store/store.db is damaged"), 503, "store_failed", id="damaged"),
        pytest.param(StoreUnavailableError("/srv/store is gone"), 503, "store_unavailable", id="unavailable"),
    ],
)
async def test_errors_of_the_store_tell_no_path(
    running: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Any, status: int, code: str
) -> None:
    """It stands in the log alone (fault 205)."""

    async def fails(**seen: object) -> None:
        raise error

    monkeypatch.setattr(running.store, "contexts", fails)
    found, told = await running.call("GET", "/api/contexts")
    assert (found, told["code"]) == (status, code)
    assert "/srv" not in str(told)
    assert str(error) in caplog.text


async def test_the_log_of_requests_holds_no_address(running: Any, caplog: pytest.LogCaptureFixture) -> None:
    """But the route, the status and the time (faults 184, 190)."""
    with caplog.at_level(logging.INFO, "nexus_core.access"):
        await running.call("GET", "/readyz?text=canary")
        await running.call("GET", "/readyz?token=canary")
        await running.call("GET", "/canary/canary")
    assert "canary" not in caplog.text
    assert "GET /readyz 200" in caplog.text


async def test_clients_that_reset_leave_no_traceback(running: Any, caplog: pytest.LogCaptureFixture) -> None:
    """They are counted and no more (fault 83)."""
    for _ in range(20):
        client = socket.create_connection(("127.0.0.1", running.server.port))
        client.sendall(post()[:-5])
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    assert [record for record in caplog.records if record.exc_info or record.levelno > logging.INFO] == []
