"""Runs that outlive their requests: streams that are cut and read on, names of requests, the background, their ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Chunk, Store, Usage
from nexus_core.config.policies import RateLimitPolicy
from nexus_core.server.access.identity import Identity
from nexus_core.server.settings import ServerLimits
from nexus_core.store.runs import NewRun, StoredRun, StoredRuns

pytestmark = pytest.mark.slow

WORDS = 198
"""With `start` and `end` these are 200 events."""
ASK: dict[str, Any] = {"query": "Is it so?", "contextId": "own", "pipeline": "own"}
STREAM = ASK | {"options": {"stream": True, "includeMetadata": True}}
Event = tuple[str, dict[str, Any]]


def answer(words: int = WORDS) -> list[Any]:
    """Return a reply of so many pieces."""
    usage = Usage(prompt_tokens=7, completion_tokens=words)
    return [*(Chunk(f"w{number} ") for number in range(words)), Chunk(finish_reason="stop", usage=usage)]


async def events_of(response: Any) -> AsyncIterator[Event]:
    """Yield the events of a stream as they come, each with its id."""
    id = ""
    async for line in response.content:
        if line.startswith(b"id: "):
            id = line[4:].strip().decode()
        elif line.startswith(b"data: "):
            yield id, json.loads(line[6:])


async def ask(
    running: Any, body: dict[str, Any] = STREAM, stop_after: int = 10**6, headers: dict[str, str] | None = None
) -> list[Event]:
    """Return the events of a stream; cut it after so many."""
    found: list[Event] = []
    async with running.session.post(running.origin + "/api/queries", json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        async for event in events_of(response):
            found.append(event)
            if len(found) >= stop_after:
                response.close()
                break
    return found


async def follow(running: Any, run: str, last: str = "", path: str = "events", **more: Any) -> list[Event]:
    """Return the events of a run after the one with an id."""
    headers = {"Last-Event-ID": last} if last else {}
    address = f"{running.origin}/api/runs/{run}/{path}"
    async with running.session.get(address, headers=headers, **more) as response:
        assert response.status == 200, await response.text()
        return [event async for event in events_of(response)]


async def until(holds: Any) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def text_of(events: list[Event]) -> str:
    return "".join(event["content"] for _, event in events if event["type"] == "chunk")


async def test_each_event_has_an_id_with_the_run_and_its_number(running: Any) -> None:
    """Counted from 1, without a gap; the run is that of the answer."""
    events = await ask(running)
    run = events[0][1]["id"]
    assert [id for id, _ in events] == [f"{run}-{number}" for number in range(1, len(events) + 1)]
    assert events[-1][1]["id"] == run


async def test_a_stream_cut_at_any_of_its_events_and_read_on_is_the_same(running: Any, fakes: Any) -> None:
    """The same text and usage, whatever of its 200 events was the last that the client had."""
    fakes.connectors["own"].replies = [answer()]
    whole = await ask(running)
    assert len(whole) == 200
    run = whole[0][1]["id"]
    for cut in range(1, 201):
        rest = await follow(running, run, whole[cut - 1][0])
        assert whole[:cut] + rest == whole
    assert fakes.connectors["own"].running == 0
    assert len(fakes.connectors["own"].prompts) == 1


@pytest.mark.parametrize("cut", [1, 2, 64, 65, 150])
async def test_a_stream_that_is_cut_goes_on_for_who_reads_on(running: Any, fakes: Any, cut: int) -> None:
    """While it is under way: what was kept, then what comes."""
    before, after = answer()[:cut], answer()[cut:]
    fakes.connectors["own"].replies = [[*before, 0.2, *after]]
    begun = await ask(running, stop_after=cut)
    rest = await follow(running, begun[0][1]["id"], begun[-1][0])
    assert text_of(begun + rest) == "".join(f"w{number} " for number in range(WORDS))
    assert rest[-1][1]["metadata"]["completionTokens"] == WORDS
    assert len(fakes.connectors["own"].prompts) == 1


async def test_a_request_that_is_sent_again_with_its_last_event_goes_on(running: Any, fakes: Any) -> None:
    """As clients do that know of events alone; with another body it is refused."""
    fakes.connectors["own"].replies = [answer(20)]
    whole = await ask(running)
    assert await ask(running, headers={"Last-Event-ID": whole[4][0]}) == whole[5:]
    other = STREAM | {"query": "Another?"}
    headers = {"Last-Event-ID": whole[4][0]}
    status, told = await running.call("POST", "/api/queries", json=other, headers=headers)
    assert (status, told["code"], len(fakes.connectors["own"].prompts)) == (422, "invalid_request", 1)


async def test_the_number_of_an_event_that_a_run_never_had_is_refused(running: Any, fakes: Any) -> None:
    """Complete or under way, by its address or the request sent again; the last one itself is the end of all."""
    fakes.connectors["own"].replies = [answer(3), [Chunk("Yes "), float("inf")]]
    whole, begun = await ask(running), await ask(running, stop_after=2)
    run = whole[0][1]["id"]
    assert await follow(running, run, whole[-1][0]) == []
    for id in (f"{run}-{len(whole) + 1}", f"{run}-999999", f"{begun[0][1]['id']}-999999"):
        headers = {"Last-Event-ID": id}
        address = f"/api/runs/{id.partition('-')[0]}/events"
        for method, path, body in (("GET", address, None), ("POST", "/api/queries", STREAM)):
            status, told = await running.call(method, path, json=body, headers=headers)
            assert (status, told["code"]) == (400, "invalid_request")
            assert f"no event {id.partition('-')[2]}" in told["error"]
    await running.call("DELETE", f"/api/runs/{begun[0][1]['id']}")


async def test_an_event_that_has_no_such_id_is_refused_without_a_stream_too(running: Any) -> None:
    """Whether the header is read does not depend on what else is asked for."""
    body = {**STREAM, "options": {"stream": False}}
    status, told = await running.call("POST", "/api/queries", json=body, headers={"Last-Event-ID": "0" * 101})
    assert (status, told["code"]) == (400, "invalid_request")
    assert "Last-Event-ID is no id of an event" in told["error"]


@pytest.mark.parametrize("resume_s", [0.1, 0.0], ids=["grace", "none"])
async def test_a_run_that_nobody_reads_ends_after_a_while(start: Any, fakes: Any, resume_s: float) -> None:
    """Its upstream, too, and its last event says so; with 0 it ends with its client."""
    running = await start(limits=ServerLimits(resume_s=resume_s))
    fakes.connectors["own"].replies = [[Chunk("Yes "), float("inf")]]
    begun = await ask(running, stop_after=2)
    await until(lambda: fakes.connectors["own"].running == 0)
    rest = await follow(running, begun[0][1]["id"], begun[-1][0])
    assert [(event["type"], event["code"]) for _, event in rest] == [("error", "run_cancelled")]


async def test_a_run_that_nobody_reads_gives_way(start: Any, fakes: Any) -> None:
    """To the next one, where there is no other place."""
    running = await start(limits=ServerLimits(running=1))
    fakes.connectors["own"].replies = [[Chunk("Yes "), float("inf")], "Fine."]
    begun = await ask(running, stop_after=2)
    status, told = await running.call("POST", "/api/queries", json=ASK)
    assert (status, told["response"]) == (200, "Fine.")
    rest = await follow(running, begun[0][1]["id"], begun[-1][0])
    assert [(event["type"], event["code"]) for _, event in rest] == [("error", "run_cancelled")]


async def test_the_same_key_is_the_same_run(running: Any, fakes: Any) -> None:
    """Told again when it has ended, whole and as a stream; with another body it is refused."""
    key = {"Idempotency-Key": "a-1"}
    first = await running.call("POST", "/api/queries", json=ASK, headers=key)
    assert first[0] == 200
    assert await running.call("POST", "/api/queries", json=ASK, headers={"Idempotency-Key": '"a-1"'}) == first
    status, told = await running.call("POST", "/api/queries", json=ASK | {"query": "Why?"}, headers=key)
    assert (status, told["code"]) == (422, "idempotency_key_reused")
    whole = await ask(running, headers={"Idempotency-Key": "a-2"})
    assert await ask(running, headers={"Idempotency-Key": "a-2"}) == whole
    assert len(fakes.connectors["own"].prompts) == 2


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_requests_with_one_key_in_one_moment_are_one_run(running: Any, fakes: Any, stream: bool) -> None:
    """All are told the same answer."""
    fakes.connectors["own"].replies = [[Chunk("Yes"), 0.1, *answer(5)]]
    if stream:
        found = await asyncio.gather(*(ask(running, headers={"Idempotency-Key": "k"}) for _ in range(6)))
        assert {text_of(events) for events in found} == {"Yesw0 w1 w2 w3 w4 "}
    else:
        calls = (running.call("POST", "/api/queries", json=ASK, headers={"Idempotency-Key": "k"}) for _ in range(6))
        told = await asyncio.gather(*calls)
        assert {(status, each["response"]) for status, each in told} == {(200, "Yesw0 w1 w2 w3 w4 ")}
    assert len(fakes.connectors["own"].prompts) == 1


async def test_an_answer_that_is_too_large_to_be_kept_is_not_told_without_its_text(
    running: Any, fakes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for it again hears that, by the key of the request and of a run in the background."""
    monkeypatch.setattr("nexus_core.server.runs.live_run.MOST_BYTES", 800)
    fakes.connectors["own"].replies = [answer(), answer()]
    key = {"Idempotency-Key": "a-1"}
    assert (await running.call("POST", "/api/queries", json=ASK, headers=key))[0] == 200
    status, told = await running.call("POST", "/api/queries", json=ASK, headers=key)
    assert (status, told["code"]) == (410, "answer_not_kept")
    _, begun = await running.call("POST", "/api/queries", json=ASK | {"options": {"background": True}})
    await until(lambda: not running.server.runs.journal.live)
    _, run = await running.call("GET", f"/api/runs/{begun['id']}")
    assert (run["state"], run["answer"], run["error"]["code"]) == ("completed", None, "answer_not_kept")


async def test_a_run_in_the_background_answers_later(running: Any, fakes: Any) -> None:
    """At once there is its address; there its state is told, then its answer."""
    fakes.connectors["own"].replies = [answer(3)]
    body = ASK | {"options": {"background": True}}
    async with running.session.post(running.origin + "/api/queries", json=body) as response:
        told = await response.json()
        assert (response.status, response.headers["Location"]) == (202, f"/api/runs/{told['id']}")
    assert told["state"] == "running"
    events = await follow(running, told["id"])
    assert [event["type"] for _, event in events] == ["start", *["chunk"] * 3, "end"]
    status, run = await running.call("GET", f"/api/runs/{told['id']}")
    assert (status, run["state"], run["answer"]["response"]) == (200, "completed", "w0 w1 w2 ")
    assert run["usage"] == {"promptTokens": 7, "completionTokens": 3, "usageSource": "provider"}


async def test_a_run_is_ended_by_who_began_it(running: Any, fakes: Any) -> None:
    """Its upstream, too; then it can be deleted."""
    fakes.connectors["own"].replies = [[Chunk("Yes "), float("inf")]]
    body = ASK | {"options": {"background": True}}
    _, told = await running.call("POST", "/api/queries", json=body)
    address = f"/api/runs/{told['id']}"
    await until(lambda: fakes.connectors["own"].running == 1)
    assert await running.call("DELETE", address) == (204, None)
    assert fakes.connectors["own"].running == 0
    status, run = await running.call("GET", address)
    assert (status, run["state"], run["error"]["code"]) == (200, "cancelled", "run_cancelled")
    assert await running.call("DELETE", address) == (204, None)
    assert (await running.call("GET", address))[0] == 404


async def test_a_run_that_was_refused_may_be_tried_again(start: Any, fakes: Any) -> None:
    """With the same key, when there is a place; nothing of it is under way in the store."""
    running = await start(limits=ServerLimits(running=1, wait_s=0.05))
    fakes.connectors["own"].replies = [[float("inf")], "Fine."]
    _, held = await running.call("POST", "/api/queries", json=ASK | {"options": {"background": True}})
    await until(lambda: fakes.connectors["own"].running == 1)
    key = {"Idempotency-Key": "k"}
    assert (await running.call("POST", "/api/queries", json=ASK, headers=key))[0] == 503
    assert len(await running.store.runs.under_way()) == 1
    await running.call("DELETE", f"/api/runs/{held['id']}")
    status, told = await running.call("POST", "/api/queries", json=ASK, headers=key)
    assert (status, told["response"]) == (200, "Fine.")


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_who_has_joined_a_run_that_is_refused_is_refused_alike(
    start: Any, fakes: Any, tmp_path: Path, stream: bool
) -> None:
    """At its server and at another one, with the same status and code and when to try again; then it may be."""
    one = await start(limits=ServerLimits(running=1, wait_s=0.4))
    other = await start(store=Store(tmp_path / "store"))
    fakes.connectors["own"].replies = [[float("inf")], "Fine."]
    _, held = await one.call("POST", "/api/queries", json=ASK | {"options": {"background": True}})
    await until(lambda: fakes.connectors["own"].running == 1)
    body = STREAM if stream else ASK

    async def refusal(running: Any) -> tuple[int, str, str, str]:
        address, key = running.origin + "/api/queries", {"Idempotency-Key": "k"}
        async with running.session.post(address, json=body, headers=key) as response:
            told = await response.json()
            return response.status, told["code"], told["error"], response.headers.get("Retry-After", "")

    first = asyncio.create_task(refusal(one))
    await until(lambda: len(one.server.runs.journal.live) == 2)
    found = await asyncio.gather(first, refusal(one), refusal(other))
    assert len(set(found)) == 1
    assert found[0][:2] == (503, "overloaded")
    assert found[0][3] == "1"
    await one.call("DELETE", f"/api/runs/{held['id']}")
    status, told = await one.call("POST", "/api/queries", json=ASK, headers={"Idempotency-Key": "k"})
    assert (status, told["response"]) == (200, "Fine.")


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_a_request_is_tried_again_whose_client_had_left_before_its_run_began(
    running: Any, fakes: Any, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """Its name is still taken by then, by a run that will never begin."""
    begin, stuck = StoredRuns.begin, asyncio.Event()

    async def keep_and_wait(runs: StoredRuns, run: NewRun) -> StoredRun:
        kept = await begin(runs, run)
        if not stuck.is_set():
            stuck.set()
            await asyncio.Event().wait()
        return kept

    monkeypatch.setattr(StoredRuns, "begin", keep_and_wait)
    body, key = STREAM if stream else ASK, {"Idempotency-Key": "k"}
    leaving = asyncio.create_task(running.call("POST", "/api/queries", json=body, headers=key))
    await stuck.wait()
    leaving.cancel()
    if stream:
        assert (await ask(running, body, headers=key))[-1][1]["type"] == "end"
    else:
        assert (await running.call("POST", "/api/queries", json=body, headers=key))[0] == 200
    assert len(fakes.connectors["own"].prompts) == 1


async def test_a_failure_is_kept_as_it_was_told(running: Any, fakes: Any) -> None:
    """As the same status for the same key, and as the last event."""
    fakes.connectors["own"].replies = [[Chunk(finish_reason="stop")]]
    key = {"Idempotency-Key": "x"}
    first = await running.call("POST", "/api/queries", json=ASK, headers=key)
    again = await running.call("POST", "/api/queries", json=ASK, headers=key)
    assert (first[0], first[1]["code"]) == (502, "empty_answer")
    assert again == first


async def test_only_the_newest_events_of_a_long_run_are_kept(
    running: Any, fakes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has made room is one event that says which."""
    monkeypatch.setattr("nexus_core.server.runs.live_run.MOST_BYTES", 20_000)
    fakes.connectors["own"].replies = [[each for chunk in answer(300) for each in (chunk, 0.0)]]
    whole = await ask(running)
    await until(lambda: not running.server.runs.journal.live)
    events = await follow(running, whole[0][1]["id"])
    gap = events[0][1]
    assert (gap["type"], gap["from"]) == ("gap", 1)
    assert events[0][0] == whole[gap["to"] - 1][0]
    assert events[1:] == whole[gap["to"] :]


async def test_the_end_of_a_run_is_kept_where_too_much_waited_at_once(
    running: Any, fakes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest make room, as always, and not all that waits: what a stream ends with is not lost."""
    monkeypatch.setattr("nexus_core.server.runs.live_run.MOST_BYTES", 2000)
    fakes.connectors["own"].replies = [answer()]
    keep = StoredRuns.keep
    whole: list[Event] = []

    async def after_all(*given: Any) -> tuple[str, ...]:
        while len(whole) < WORDS:  # noqa: ASYNC110
            await asyncio.sleep(0)
        return await keep(*given)

    monkeypatch.setattr(StoredRuns, "keep", after_all)
    async with running.session.post(running.origin + "/api/queries", json=STREAM) as response:
        async for event in events_of(response):
            whole.append(event)  # noqa: PERF401 - `after_all` counts them
    await until(lambda: not running.server.runs.journal.live)
    events = await follow(running, whole[0][1]["id"])
    gap = events[0][1]
    assert gap["type"] == "gap"
    assert events[1:] == whole[gap["to"] :]
    assert (len(events) > 2, events[-1][1]["type"]) == (True, "end")


async def test_a_key_whose_places_are_taken_by_streams_that_nobody_reads_may_ask(start: Any, fakes: Any) -> None:
    """They give way to its next request, the longest unread first."""
    limits = RateLimitPolicy(requests_per_minute=None, tokens_per_minute=None, concurrency=1, queue=0)
    who = Identity(owner="ann", scopes=frozenset({"query"}), key_id="a", limits=limits)

    async def verify(key: str) -> Identity:
        return who

    running = await start(verify=verify)
    fakes.connectors["own"].replies = [[Chunk("Yes "), float("inf")], "Fine."]
    begun = await ask(running, stop_after=2)
    await until(lambda: running.server.runs.journal.live[begun[0][1]["id"]].is_lingering)
    status, told = await running.call("POST", "/api/queries", json=ASK)
    assert (status, told["response"]) == (200, "Fine.")
    await until(lambda: fakes.connectors["own"].running == 0)


async def test_a_store_that_may_only_be_read_keeps_no_runs(
    start: Any, fakes: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Streams are told without ids and end with their clients; what needs a store is refused."""
    async with Store(tmp_path / "store"):
        pass
    monkeypatch.setattr("nexus_core.store.database.paths.StorePaths.may_be_written", lambda self: False)
    running = await start(store=Store(tmp_path / "store"))
    events = await ask(running)
    assert {id for id, _ in events} == {""}
    assert [events[0][1]["type"], events[-1][1]["type"]] == ["start", "end"]
    for body, headers in ((ASK, {"Idempotency-Key": "k"}), (ASK | {"options": {"background": True}}, {})):
        status, told = await running.call("POST", "/api/queries", json=body, headers=headers)
        assert (status, told["code"]) == (501, "runs_not_kept")
    fakes.connectors["own"].replies = [[Chunk("Yes "), float("inf")]]
    await ask(running, stop_after=2)
    await until(lambda: fakes.connectors["own"].running == 0)
