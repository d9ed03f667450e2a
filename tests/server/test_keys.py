"""Keys over HTTP: who is let in, and what for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest

from nexus_core import Chunk, StoreBusyError, UsageError
from nexus_core.server.access.identity import ANYBODY, FRESH_S, STALE_S, Keyring
from nexus_core.server.access.key_limits import _written
from nexus_core.server.server import Server, check_exposure, is_loopback
from nexus_core.server.settings import ServerLimits, ServerSettings
from nexus_core.store.access.api_keys import ApiKey, ApiKeys, digest_of, parse
from nexus_core.store.store import Store

pytestmark = pytest.mark.slow

BODY = {"query": "How many days of leave?", "contextId": "own", "pipeline": "own"}


async def new(running: Any, owner: str = "ann", *scopes: str, **limits: Any) -> str:
    """Make a key that the server knows at once."""
    _, text = await ApiKeys(running.store).new(owner, scopes or ("query", "read"), **limits)
    running.server.keys._read_at = None
    return text


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, for a while."""
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never held")


async def ask(running: Any, key: str, **more: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    found: tuple[int, Any] = await running.call("POST", "/api/queries", json=BODY, headers=headers, **more)
    return found


async def test_a_key_opens_what_its_scopes_say(running: Any) -> None:
    """And nothing else: `admin` may do all."""
    asks, admin = await new(running, "ann", "query"), await new(running, "root", "admin")
    assert (await ask(running, asks))[0] == 200
    for key, status in ((asks, 403), (admin, 204)):
        found = await running.call("DELETE", "/api/queries/usage", headers={"X-Api-Key": key})
        assert found[0] == status


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda key: "", id="none"),
        pytest.param(lambda key: key[:-1], id="shorter"),
        pytest.param(lambda key: key[:-1] + ("a" if key[-1] != "a" else "b"), id="one-letter"),
        pytest.param(lambda key: key + "a", id="longer"),
        pytest.param(lambda key: "cnx_00000000" + key[12:], id="another-name"),
        pytest.param(lambda key: key[:13], id="name-alone"),
        pytest.param(lambda key: "x" * 5000, id="huge"),
        pytest.param(lambda key: digest_of(key[13:]).hex(), id="hash"),
        pytest.param(lambda key: key[:13] + digest_of(key[13:]).hex()[:43], id="hash-in-form"),
    ],
)
async def test_what_is_no_key_opens_nothing(running: Any, change: Any) -> None:
    """A fixed text with no word of what was shown (faults 185, 194, 197, 200)."""
    shown = change(await new(running))
    status, told = await ask(running, shown)
    assert (status, told["code"], told["error"]) == (401, "invalid_api_key", "the API key is missing or not valid")


@pytest.mark.parametrize("byte", [0x80, 0xC3, 0xE9, 0xFF])
async def test_a_key_of_odd_bytes_is_no_key(running: Any, byte: int) -> None:
    """It is refused as any other (fault 195)."""
    await new(running)
    reader, writer = await asyncio.open_connection("127.0.0.1", running.server.port)
    shown = b"cnx_abcdefgh_" + bytes([byte]) * 43
    writer.write(b"GET /api/pipelines HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + shown + b"\r\n\r\n")
    assert b" 401 " in await reader.readuntil(b"\r\n")
    writer.close()


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([("Authorization", "Bearer {0}"), ("Authorization", "Bearer {0}")], id="bearer-twice"),
        pytest.param([("Authorization", "Bearer {0}"), ("X-Api-Key", "{0}")], id="both"),
        pytest.param([("X-Api-Key", "{0}"), ("X-Api-Key", "x")], id="own-twice"),
    ],
)
async def test_several_keys_are_refused(running: Any, headers: list[tuple[str, str]]) -> None:
    """None of them is picked (fault 204)."""
    key = await new(running)
    given = [(name, value.format(key)) for name, value in headers]
    status, _ = await running.call("GET", "/api/pipelines", headers=given)
    assert status == 400


async def test_a_key_in_the_address_is_refused_and_not_logged(running: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It would end in the logs of others (faults 182, 184)."""
    key = await new(running)
    with caplog.at_level(logging.DEBUG):
        status, told = await running.call("GET", f"/api/pipelines?api_key={key}")
        await ask(running, key)
    assert (status, told["code"]) == (400, "key_in_address")
    assert key[13:] not in caplog.text.replace(f"?api_key={key}", "")  # the test's own client may log it


async def test_many_wrong_keys_are_slowed_down(running: Any) -> None:
    """From one address so many a minute; a right key passes all the while (fault 203)."""
    key = await new(running)
    wrong = [(await ask(running, "nobody"))[0] for _ in range(22)]
    assert wrong[0] == 401
    assert wrong[-1] == 429
    assert (await ask(running, key))[0] == 200


async def test_a_revoked_key_opens_nothing(running: Any) -> None:
    """Nor does an expired one; and a server that had a key is not open again (faults 198, 199)."""
    key, short = await new(running), await new(running, lives_s=0.001)
    assert (await ask(running, key))[0] == 200
    await ApiKeys(running.store).revoke(key[4:12])
    running.server.keys._read_at = None
    assert [(await ask(running, each))[0] for each in (key, short, "")] == [401, 401, 401]


async def test_open_addresses_need_no_key(running: Any) -> None:
    """They tell of life and readiness, and nothing else (fault 196)."""
    await new(running)
    for path in ("/healthz", "/readyz"):
        status, told = await running.call("GET", path)
        assert (status, set(told)) == (200, {"status"})
    for path in ("/api/pipelines", "/api/queries/models", "/v1/models", "/api/contexts"):
        assert (await running.call("GET", path))[0] == 401


async def test_the_requests_of_a_key_are_limited(running: Any) -> None:
    """A sixth of a minute's at once, and then status 429 with the time to wait (faults 102, 103)."""
    key = await new(running, requests_per_minute=30)
    found = await asyncio.gather(*(ask(running, key) for _ in range(8)))
    assert sorted(status for status, _ in found) == [200] * 5 + [429] * 3
    async with running.session.get(running.origin + "/api/pipelines", headers={"X-Api-Key": key}) as answer:
        assert answer.status == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 3


async def test_the_tokens_of_a_key_are_counted_when_they_are_known(running: Any) -> None:
    """What was reserved is put right by what was used, of streams too."""
    key = await new(running, tokens_per_minute=60_000)
    for options in ({}, {"stream": True}):
        body = {**BODY, "options": options}
        async with running.session.post(
            running.origin + "/api/queries", json=body, headers={"X-Api-Key": key}
        ) as answer:
            await answer.read()
            assert answer.status == 200
    limiter = running.server.gate._admissions._limiters[key[4:12]]
    await asyncio.sleep(0.01)
    assert limiter.inside == 0
    assert 9_000 < limiter._tokens.level(0) <= 10_000


async def tokens_left(running: Any, key: str) -> float:
    """Return what is left of the tokens of a key once nobody holds any of them."""
    limiter = running.server.gate._admissions._limiters[key[4:12]]
    await until(lambda: limiter.inside == 0)
    found: dict[str, float] = {room.of: room.left for room in limiter.rooms()}
    return found["tokens"]


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("begun", [True, False], ids=["begun", "silent"])
async def test_who_leaves_early_pays_what_was_used(start: Any, fakes: Any, stream: bool, begun: bool) -> None:
    """The prompt and what has come of the answer, and no more of what was reserved (fault 78)."""
    running = await start(limits=ServerLimits(resume_s=0))  # a run that waits for its client goes on being paid
    key = await new(running, tokens_per_minute=60)
    fakes.connectors["own"].replies = [[*([Chunk("Yes. ")] if begun else []), float("inf")]]
    body = {**BODY, "options": {"stream": stream, "maxTokens": 900}}
    asked = asyncio.create_task(
        running.call("POST", "/api/queries", json=body, headers={"Authorization": f"Bearer {key}"})
    )
    await until(lambda: fakes.connectors["own"].running == 1)
    await asyncio.sleep(0.05)
    assert running.server.gate._admissions._limiters[key[4:12]].rooms()[0].left < -800
    asked.cancel()
    assert -200 < await tokens_left(running, key) < -10


async def test_the_tokens_that_a_request_names_are_reserved(running: Any, fakes: Any) -> None:
    """Instead of a guess, for as long as it runs, by both APIs; what is refused for it has not asked (fault 103)."""
    key = await new(running, tokens_per_minute=60_000, requests_per_minute=600)
    headers = {"Authorization": f"Bearer {key}"}
    fakes.connectors["own"].replies = [[float("inf")]]
    began = monotonic()
    query = {**BODY, "options": {"maxTokens": 3000}}
    chat = {"model": "nexus/own", "messages": [{"role": "user", "content": "How many?"}], "max_completion_tokens": 3000}
    held = [
        asyncio.create_task(running.call("POST", path, json=body, headers=headers))
        for path, body in (("/api/queries", query), ("/v1/chat/completions", chat), ("/api/queries", query))
    ]
    await until(lambda: fakes.connectors["own"].running == 3)
    requests, tokens = running.server.gate._admissions._limiters[key[4:12]].rooms()
    assert 900 < tokens.left < 1100 + 1000 * (monotonic() - began)  # a thousand come back each second
    for path, body in (("/api/queries", query), ("/v1/chat/completions", chat)):
        async with running.session.post(running.origin + path, json=body, headers=headers) as answer:
            assert answer.status == 429
            assert answer.headers["x-ratelimit-limit-tokens"] == "60000"
            assert int(answer.headers["Retry-After"]) >= 1
    after, _ = running.server.gate._admissions._limiters[key[4:12]].rooms()
    assert after.left >= requests.left
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)


async def test_a_request_that_is_no_question_costs_no_tokens(running: Any) -> None:
    """It counts as a request, though."""
    key = await new(running, tokens_per_minute=60_000, requests_per_minute=6)
    status, _ = await running.call("POST", "/api/queries", json={"query": 1}, headers={"X-Api-Key": key})
    assert status == 400
    assert await tokens_left(running, key) == 10_000
    assert (await ask(running, key))[0] == 429


async def test_a_request_without_a_place_has_not_asked(start: Any, fakes: Any) -> None:
    """What the server itself is too busy for is no fault of the key (fault 103)."""
    running = await start(limits=ServerLimits(running=1, waiting=1, wait_s=0.05))
    key = await new(running, requests_per_minute=12)
    fakes.connectors["own"].replies = [[float("inf")]]
    held = asyncio.create_task(ask(running, key))
    await until(lambda: fakes.connectors["own"].running == 1)
    assert [(await ask(running, key))[0] for _ in range(4)] == [503] * 4
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)


RATES = ("limit-requests", "remaining-requests", "reset-requests", "limit-tokens", "remaining-tokens", "reset-tokens")


def told_rates(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """Return the headers that tell of limits, without their common beginning."""
    names = [name.lower() for name in answer.headers if name.lower().startswith("x-ratelimit-")]
    return {name.removeprefix("x-ratelimit-"): answer.headers[name] for name in names}


async def test_answers_tell_what_is_left_of_the_limits_of_a_key(running: Any) -> None:
    """As OpenAI names it: in answers, refusals and the heads of streams."""
    key = await new(running, requests_per_minute=30, tokens_per_minute=60_000)
    headers, found = {"Authorization": f"Bearer {key}"}, []
    stream = {**BODY, "options": {"stream": True}}
    for body in (BODY, stream, {}, BODY, BODY, BODY):
        async with running.session.post(running.origin + "/api/queries", json=body, headers=headers) as answer:
            await answer.read()
            found.append((answer.status, told_rates(answer)))
    assert [status for status, _ in found] == [200, 200, 400, 200, 200, 429]
    assert [told["remaining-requests"] for _, told in found] == ["4", "3", "2", "1", "0", "0"]
    assert all(tuple(told) == RATES for _, told in found)
    first = found[0][1]
    assert (first["limit-requests"], first["limit-tokens"]) == ("30", "60000")
    assert 8_900 < int(first["remaining-tokens"]) < 9_000
    assert first["reset-requests"] in ("2s", "2000ms")


async def test_answers_tell_of_the_limits_that_there_are_and_no_others(running: Any) -> None:
    """A key may have one of them, or none."""
    cases: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({}, ()), ({"requests_per_minute": 30}, RATES[:3]), ({"tokens_per_minute": 60}, RATES[3:])
    ]  # fmt: skip
    for limits, names in cases:
        key = await new(running, **limits)
        async with running.session.get(running.origin + "/api/pipelines", headers={"X-Api-Key": key}) as answer:
            assert (answer.status, tuple(told_rates(answer))) == (200, names)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0ms"), (0.0001, "1ms"), (0.25, "250ms"), (1, "1s"), (59.5, "1m0s"), (90, "1m30s")]
)
def test_times_in_headers_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    """Rounded up: who waits so long has waited long enough."""
    assert _written(seconds) == text


async def test_a_key_has_so_many_requests_at_once(running: Any, fakes: Any) -> None:
    """One more is refused; the places come back whatever becomes of the requests (fault 80)."""
    key = await new(running, concurrency=2)
    fakes.connectors["own"].replies = [[float("inf")]]
    held = [asyncio.create_task(ask(running, key)) for _ in range(2)]
    await until(lambda: fakes.connectors["own"].running == 2)
    status, told = await ask(running, key)
    assert (status, told["code"]) == (429, "concurrency_exceeded")
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    fakes.connectors["own"].replies = ["Yes."]
    limiter = running.server.gate._admissions._limiters[key[4:12]]
    await until(lambda: limiter.inside == 0)
    assert (await ask(running, key))[0] == 200


async def test_owners_see_their_own_conversations(running: Any) -> None:
    """The same name under another key is another conversation (fault 202)."""
    body = {**BODY, "options": {"conversationId": "monday"}}
    for owner in ("ann", "bob"):
        key = await new(running, owner)
        status, _ = await running.call("POST", "/api/queries", json=body, headers={"X-Api-Key": key})
        assert status == 200
    kept = await running.store.conversations.list(owner=None)
    assert sorted((each.owner, each.id, each.turns) for each in kept) == [("ann", "monday", 1), ("bob", "monday", 1)]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param({"host": "0.0.0.0"}, "in the clear", id="no-tls"),
        pytest.param({"host": "::"}, "in the clear", id="no-tls-6"),
        pytest.param({"host": "nexus.example"}, "in the clear", id="name"),
        pytest.param({"certificate": "a.pem"}, "both files", id="half-of-tls"),
    ],
)
def test_a_server_refuses_to_listen_unsafely(given: dict[str, Any], reason: str) -> None:
    """It says what to do about it (fault 198)."""
    with pytest.raises(UsageError, match=reason):
        check_exposure(ServerSettings(**given))


@pytest.mark.parametrize(("host", "is_ours"), [("127.0.0.2", True), ("::1", True), ("127.0.0.1.evil.example", False)])
def test_loopback_is_an_address_and_not_a_beginning(host: str, is_ours: bool) -> None:
    """A name that begins like one is another machine."""
    assert is_loopback(host) is is_ours


async def test_other_machines_are_served_only_with_keys(tmp_path: Path) -> None:
    """Without one the server does not start (fault 198)."""
    settings = ServerSettings(host="0.0.0.0", port=0, tls_elsewhere=True)
    store = Store(tmp_path / "store")
    with pytest.raises(UsageError, match="nexus keys new"):
        await Server({"none": _Nothing()}, store, settings).__aenter__()  # type: ignore[dict-item]


class _Nothing:
    """A pipeline that is never asked."""

    name = "none"

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


class _Keys:
    """Keys as a store has them, with a store that may be busy."""

    def __init__(self, *keys: ApiKey) -> None:
        self.keys = keys
        self.is_busy = False
        self.noted: dict[str, float] = {}

    async def everything(self) -> tuple[ApiKey, ...]:
        if self.is_busy:
            raise StoreBusyError("busy")
        return self.keys

    async def note_used(self, seen: dict[str, float]) -> None:
        self.noted |= seen


def key(text: str) -> ApiKey:
    name, secret = parse(text) or ("", "")
    return ApiKey(
        id=name, digest=digest_of(secret), owner="ann", scopes=("query",), created=0.0, expires=None, revoked=None,
        used=None, requests_per_minute=None, tokens_per_minute=None, concurrency=8,
    )  # fmt: skip


async def test_a_change_of_a_key_holds_from_the_next_request_on(running: Any) -> None:
    """Another process makes it, and every server of the store, each worker of its own, sees that at once."""
    text = await new(running, "ann", "read")
    (name, _) = parse(text) or ("", "")
    await running.store.grant("handbook", ["group:hr"])

    async def seen() -> list[str]:
        _, told = await running.call("GET", "/api/contexts", headers={"X-Api-Key": text})
        return [each["name"] for each in told.get("contexts", ())]

    assert await seen() == []
    async with Store(running.store.folder.root) as other:
        await ApiKeys(other).change(name, groups=["group:hr"])
        assert await seen() == ["handbook"]
        await ApiKeys(other).change(name, contexts=["elsewhere"])
        assert await seen() == []
        await ApiKeys(other).revoke(name)
        assert (await running.call("GET", "/api/contexts", headers={"X-Api-Key": text}))[0] == 401


async def test_what_is_known_of_keys_grows_old() -> None:
    """After five seconds they are read again; where the store is busy, they hold for half a minute (fault 199)."""
    text, now = f"cnx_abcdefgh_{'a' * 43}", [0.0]
    keys = _Keys(key(text))
    ring = Keyring(keys, open_without=True, clock=lambda: now[0])  # type: ignore[arg-type]
    assert await ring.verify(text) is not None
    keys.keys = (key(f"cnx_ABCDEFGH_{'b' * 43}"),)
    assert await ring.verify(text) is not None
    now[0] = FRESH_S
    assert await ring.verify(text) is None
    keys.is_busy, now[0] = True, FRESH_S + STALE_S - 1
    assert await ring.verify(f"cnx_ABCDEFGH_{'b' * 43}") is not None
    now[0] += 2
    with pytest.raises(StoreBusyError):
        await ring.verify(text)


async def test_without_keys_a_server_is_open_only_where_it_may_be() -> None:
    """Nobody is somebody by default (fault 197)."""
    assert await Keyring(_Keys(), open_without=True).verify("") is ANYBODY  # type: ignore[arg-type]
    assert await Keyring(_Keys(), open_without=False).verify("") is None  # type: ignore[arg-type]


async def test_the_use_of_a_key_is_noted(running: Any) -> None:
    """To the minute, when the server stops at the latest."""
    text = await new(running)
    await ask(running, text)
    await running.server.keys.note_used()
    (found,) = await ApiKeys(running.store).everything()
    assert found.used is not None
    assert found.used % 60 == 0
