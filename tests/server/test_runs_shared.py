"""Runs that several servers of one store know of, and whose they are."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nexus_core import Chunk, Store
from nexus_core.server.settings import ServerLimits
from nexus_core.store.access.api_keys import ApiKeys
from nexus_core.store.runs import StoredRuns
from tests.server.test_grants import GUARDED, PRINCIPALS, QUERY, WORDS, Echo, Guarded, fill, guard, item
from tests.server.test_runs import ASK, Event, answer, ask, follow, text_of, until

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, LoopbackIssuer, Start

pytestmark = pytest.mark.slow

BACKGROUND = {**ASK, "options": {"background": True}}


async def two(start: Start, folder: Path, **limits: Any) -> tuple[Any, Any]:
    """Start two servers over one folder."""
    return (
        await start(store=Store(folder / "store"), limits=ServerLimits(**limits)),
        await start(store=Store(folder / "store"), limits=ServerLimits(**limits)),
    )


@pytest.mark.parametrize("cut", [1, 30, 100])
async def test_a_stream_that_is_cut_goes_on_at_another_server(
    start: Start, fakes: Fakes, tmp_path: Path, cut: int
) -> None:
    """It reads what the first one writes, while the first one writes it."""
    one, other = await two(start, tmp_path)
    fakes.connectors["own"].replies = [[*answer()[:cut], 0.3, *answer()[cut:]]]
    begun = await ask(one, stop_after=cut)
    rest = await follow(other, begun[0][1]["id"], begun[-1][0])
    assert text_of(begun + rest) == "".join(f"w{number} " for number in range(198))
    assert len(fakes.connectors["own"].prompts) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_stream_that_is_cut_before_the_store_has_its_run_goes_on(
    start: Start, fakes: Fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Its first events do not wait for a busy store; who reads on after them does, at any server."""
    one, other = await two(start, tmp_path)
    fakes.connectors["own"].replies = [answer()]
    keep, has_asked = StoredRuns.keep, asyncio.Event()

    async def late(*given: Any) -> tuple[str, ...]:
        await has_asked.wait()
        return await keep(*given)

    async def read_on() -> list[Event]:
        id = begun[-1][0]
        if method == "POST":
            return await ask(other, headers={"Last-Event-ID": id})
        return await follow(other, id.partition("-")[0], id)

    monkeypatch.setattr(StoredRuns, "keep", late)
    begun = await ask(one, stop_after=5)
    resumed = asyncio.create_task(read_on())
    await asyncio.sleep(0.1)  # it has looked by then
    has_asked.set()
    assert text_of(begun + await resumed) == "".join(f"w{number} " for number in range(198))


async def test_a_run_can_be_ended_before_the_store_has_it(
    running: Any, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the id that its first event tells."""
    fakes.connectors["own"].replies = [[Chunk("Yes "), float("inf")]]
    keep, has_asked = StoredRuns.keep, asyncio.Event()

    async def late(*given: Any) -> tuple[str, ...]:
        await has_asked.wait()
        return await keep(*given)

    monkeypatch.setattr(StoredRuns, "keep", late)
    begun = await ask(running, stop_after=2)
    ended = asyncio.create_task(running.call("DELETE", f"/api/runs/{begun[0][1]['id']}"))
    await asyncio.sleep(0.1)
    has_asked.set()
    assert await ended == (204, None)
    await until(lambda: fakes.connectors["own"].running == 0)


async def test_the_number_of_an_event_that_never_was_is_told_of_at_the_end_by_another_server(
    start: Start, fakes: Fakes, tmp_path: Path
) -> None:
    """It knows only then how many there are."""
    one, other = await two(start, tmp_path)
    fakes.connectors["own"].replies = [[Chunk("Yes "), 0.5, *answer(3)]]
    begun = await ask(one, stop_after=2)
    [(_, told)] = await follow(other, begun[0][1]["id"], f"{begun[0][1]['id']}-999")
    assert (told["type"], told["code"]) == ("error", "invalid_request")


async def test_a_run_that_is_read_at_another_server_goes_on(start: Start, fakes: Fakes, tmp_path: Path) -> None:
    """The time until it ends for want of a client begins anew, again and again."""
    one, other = await two(start, tmp_path)
    fakes.connectors["own"].replies = [[Chunk("Yes "), float("inf")]]
    begun = await ask(one, stop_after=2)
    run = one.server.runs.journal.live[begun[0][1]["id"]]
    await until(lambda: run.is_lingering)
    reading = asyncio.create_task(follow(other, run.id))
    for _ in range(2):
        before = run.lingering
        await until(lambda: run.lingering is not before)  # noqa: B023
    assert run.state == "running"
    await one.call("DELETE", f"/api/runs/{run.id}")
    assert (await reading)[-1][1]["code"] == "run_cancelled"


async def test_a_key_is_one_run_at_two_servers(start: Start, fakes: Fakes, tmp_path: Path) -> None:
    """Asked of both in one moment: one of them asks the model."""
    servers = await two(start, tmp_path)
    fakes.connectors["own"].replies = [[Chunk("Yes"), 0.2, *answer(3)]]
    calls = (each.call("POST", "/api/queries", json=ASK, headers={"Idempotency-Key": "k"}) for each in servers * 3)
    told = await asyncio.gather(*calls)
    assert {(status, each["response"]) for status, each in told} == {(200, "Yesw0 w1 w2 ")}
    assert len(fakes.connectors["own"].prompts) == 1


async def test_a_run_is_ended_at_another_server(start: Start, fakes: Fakes, tmp_path: Path) -> None:
    """The one that executes it hears of it before long."""
    one, other = await two(start, tmp_path)
    fakes.connectors["own"].replies = [[Chunk("Yes "), float("inf")]]
    _, told = await one.call("POST", "/api/queries", json=BACKGROUND)
    await until(lambda: fakes.connectors["own"].running == 1)
    assert await other.call("DELETE", f"/api/runs/{told['id']}") == (204, None)
    await until(lambda: fakes.connectors["own"].running == 0)
    [*_, (_, last)] = await follow(other, told["id"])
    assert (last["type"], last["code"]) == ("error", "run_cancelled")


async def test_runs_are_those_of_their_owner(
    start: Start, fakes: Fakes, tmp_path: Path, issuer: LoopbackIssuer
) -> None:
    """To all others they are not there, by any address; nor do they share the names of requests."""
    async with guard(start, fakes, tmp_path, issuer) as guarded:
        body = {**QUERY, "contextId": "handbook", "pipeline": "guarded"}
        runs: dict[str, str] = {}
        for who in PRINCIPALS:
            status, _, headers = await guarded.ask(
                who, "POST", "/api/queries", json={**body, "options": {"background": True}},
                headers={"Idempotency-Key": "the same"},
            )  # fmt: skip
            assert (status == 202) == (who not in ("expired", "context")), who
            if status == 202:
                runs[who] = headers["Location"]
        assert len(set(runs.values())) == len(PRINCIPALS) - 2
        for who in PRINCIPALS.keys() - {"expired"}:
            for owner, address in runs.items():
                for method, path in (("GET", address), ("GET", f"{address}/events"), ("DELETE", address)):
                    if who == owner:
                        continue
                    status, told, _ = await guarded.ask(who, method, path)
                    nowhere = await guarded.ask(who, method, path.replace(address, "/api/runs/none"))
                    assert (status, nowhere[0]) == (404, 404), (who, owner, method, path)
                    assert told == nowhere[1].replace("none", address.rpartition("/")[2])
        for owner, address in runs.items():
            status, told, _ = await guarded.ask(owner, "GET", f"{address}/events")
            assert (status, '"type":"end"' in told) == (200, True)
            assert not [of for of in WORDS if of not in PRINCIPALS[owner].sees and WORDS[of] in told]


@pytest.mark.parametrize("change", ["context", "item"])
@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "cut"])
async def test_a_withdrawn_grant_hides_a_run(
    start: Start, fakes: Fakes, tmp_path: Path, issuer: LoopbackIssuer, change: str, is_whole: bool
) -> None:
    """Its state, its events, and its answer to the same request again."""
    async with guard(start, fakes, tmp_path, issuer) as guarded:
        name = "payroll" if change == "context" else "handbook"
        body = {"query": QUERY["query"], "contextId": name, "pipeline": "guarded", "options": {"background": True}}
        if not is_whole:
            fakes.connectors["main"].replies = [[Chunk("birchmere dogwoodia"), float("inf")]]
            fakes.connectors["main"]._next = lambda prompt, options: fakes.connectors["main"].replies[0]  # type: ignore[method-assign]
        _, _, headers = await guarded.ask("hr", "POST", "/api/queries", json=body)
        address = headers["Location"]
        store = guarded.running.store
        if is_whole:
            assert "end" in (await guarded.ask("hr", "GET", f"{address}/events"))[1]
        else:
            journal = guarded.running.server.runs.journal
            assert journal is not None
            await until(lambda: journal.live[address.rpartition("/")[2]].events >= 2)
            assert (await guarded.ask("hr", "GET", address))[0] == 200
        if change == "context":
            await store.grant(name, ["group:management"])
        else:
            await store.add(name, [item("hr", n, readers=("group:management",)) for n in range(9)])
        for path in (address, f"{address}/events"):
            status, told, _ = await guarded.ask("hr", "GET", path)
            assert (status, "birchmere" in told, "dogwoodia" in told) == (404, False, False)
        guarded.running.server.cut()  # what is never answered is not waited for


async def test_a_run_is_seen_as_what_it_was_made_of(start: Start, fakes: Fakes, tmp_path: Path) -> None:
    """By another key of its owner: what its conversation held before it, and contexts that its pipeline names."""
    fakes.connectors["main"] = Echo()
    store = Store(tmp_path / "store")
    guarded = GUARDED.replace("PATH", str(tmp_path / "store"))
    pay = guarded.replace("name: guarded", "name: pay").replace("use: store", "use: store, context: payroll")
    running = await start(pipelines={"guarded": guarded, "pay": pay}, store=store)
    await fill(store, much=True)
    made, keys = ApiKeys(store), {}
    for name, groups in (("wide", ("group:hr",)), ("narrow", ())):
        _, keys[name] = await made.new("ann", ("query", "read"), groups=groups)
    asked = Guarded(running=running, keys=keys)
    runs = []
    for context, pipeline, conversation in (
        ("payroll", "guarded", "talk"),
        ("handbook", "guarded", "talk"),
        ("pay", "pay", None),
        ("handbook", "guarded", "gone"),
    ):
        options = {"background": True} | ({"conversationId": conversation} if conversation else {})
        body = {"query": QUERY["query"], "contextId": context, "pipeline": pipeline, "options": options}
        named = {"json": body, "headers": {"Idempotency-Key": f"{context}-{conversation}"}}
        status, _, headers = await asked.ask("wide", "POST", "/api/queries", **named)
        assert status == 202
        runs.append((headers["Location"], named))
        assert '"type":"end"' in (await asked.ask("wide", "GET", f"{runs[-1][0]}/events"))[1]
    await store.conversations.delete("gone", owner="ann")

    async def seen(who: str) -> list[bool]:
        statuses = [
            [(await asked.ask(who, "GET", each))[0] for each in (address, f"{address}/events")]
            + [(await asked.ask(who, "POST", "/api/queries", **named))[0]]
            for address, named in runs
        ]
        assert all(each in ([200, 200, 202], [404, 404, 404]) for each in statuses), statuses
        return [each[0] == 200 for each in statuses]

    assert await seen("wide") == [True, True, True, False]
    assert await seen("narrow") == [False, False, False, False]
    await store.grant("payroll", ["group:management"])
    assert await seen("wide") == [False, False, False, False]
