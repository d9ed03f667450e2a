"""Two servers of one store in Postgres: what holds for both together, and what each does while the database is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from time import monotonic
from typing import Any

import pytest

from nexus_core import Chunk, Store
from nexus_core.server.access.access import WRONG_KEYS_PER_MINUTE
from nexus_core.store.access.api_keys import ApiKeys
from tests.server.conftest import PIPELINES
from tests.store.contract.test_postgres import restart

pytestmark = pytest.mark.slow

BODY = {"query": "How much leave?", "contextId": "own", "pipeline": "own"}
WRONG = f"cnx_abcdefgh_{'a' * 43}"


async def new(running: Any, *scopes: str, **limits: Any) -> str:
    """Make a key."""
    _, text = await ApiKeys(running.store).new("ann", scopes or ("query", "read"), **limits)
    return text


async def ask(running: Any, key: str, **body: Any) -> tuple[int, Any]:
    found: tuple[int, Any] = await running.call(
        "POST", "/api/queries", json=BODY | body, headers={"Authorization": f"Bearer {key}"}
    )
    return found


async def until_ready(running: Any, status: int) -> Any:
    """Wait until readiness is as said, and return what it tells."""
    async with asyncio.timeout(30):
        while (found := await running.call("GET", "/readyz"))[0] != status:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return found[1]


async def test_requests_of_a_key_count_at_both(two: Any) -> None:
    """Ten at once of sixty a minute, wherever they go; then as many as the time brings, and not more."""
    key = await new(two[0], requests_per_minute=60, concurrency=64)
    began = monotonic()
    found = await asyncio.gather(*(ask(two[number % 2], key) for number in range(40)))
    assert {status for status, _ in found} == {200, 429}
    assert 10 <= [status for status, _ in found].count(200) <= 11 + monotonic() - began


async def test_requests_of_a_key_one_after_the_other_count_at_both(two: Any) -> None:
    """Ten of sixty a minute are let in although they alternate between servers."""
    key = await new(two[0], requests_per_minute=60)
    found = [(await ask(two[number % 2], key))[0] for number in range(10)]
    assert found == [200] * 10


async def test_places_of_a_key_are_those_of_both(two: Any, fakes: Any) -> None:
    """One that is held at one server is not there at the other; one that is given back is there at once."""
    key = await new(two[0], concurrency=1)
    assert [(await ask(two[number % 2], key))[0] for number in range(6)] == [200] * 6
    fakes.connectors["own"].replies = [[Chunk("yes"), 60.0]]
    headers = {"Authorization": f"Bearer {key}"}
    stream = BODY | {"options": {"stream": True}}
    async with two[0].session.post(two[0].origin + "/api/queries", json=stream, headers=headers) as response:
        await response.content.readuntil(b"yes")
        for running in two:
            status, told = await ask(running, key)
            assert (status, told["code"]) == (429, "concurrency_exceeded")


async def test_wrong_keys_from_an_address_count_at_both(two: Any) -> None:
    """Whoever was told to wait at one server has no tries left at the other, once that has looked."""
    await new(two[0])
    for running in two:
        running.server.keys._read_at = None
    for _ in range(WRONG_KEYS_PER_MINUTE):
        await ask(two[0], WRONG)
    await two[0].server.cluster.link.look()
    await ask(two[1], WRONG)
    await two[1].server.cluster.link.look()
    assert [(await ask(running, WRONG))[0] for running in two] == [429, 429]


async def test_a_default_model_is_that_of_both(two: Any, start: Any, postgres: str) -> None:
    """Chosen at one, it holds at the other, and at a third that is started later."""
    body = {"modelId": "spare", "pipeline": "talk"}
    assert (await two[0].call("PUT", "/api/queries/models/default", json=body))[0] == 200
    await two[1].server.cluster.link.look()
    third = await start(store=Store(postgres))
    for running in (*two, third):
        assert running.server.serving.pipeline("talk").models.default == "spare"
    names_another = PIPELINES["talk"].replace("main: {use", "first: {use")
    changed = await start(store=Store(postgres), pipelines={"talk": names_another})
    assert changed.server.serving.pipeline("talk").models.default == "first"


async def test_spend_of_both_is_added_up(two: Any) -> None:
    """Neither overwrites what the other has written."""
    admin = await new(two[0], "admin")
    for _ in range(3):
        await asyncio.gather(*(ask(running, admin) for running in two))
        await asyncio.gather(*(running.server.spend.flush() for running in two))
    _, told = await two[0].call("GET", "/api/spend?by=owner", headers={"Authorization": f"Bearer {admin}"})
    assert [(row["name"], row["requests"]) for row in told["spend"]] == [("ann", 6)]


async def test_figures_say_which_server(two: Any) -> None:
    """By the name that it was given, beside whether it reaches the database."""
    for running, name in zip(two, ("one", "other"), strict=True):
        async with running.session.get(running.origin + "/metrics") as response:
            page = await response.text()
        assert f'nexus_server_info{{server="{name}"}} 1.0' in page
        assert "nexus_store_reachable 1.0" in page


async def test_a_lost_database_stops_what_needs_it_alone(start: Any, own_server: Any, own_url: str) -> None:
    """A key that was seen asks a pipeline with its own source, with half its limits; then all comes back by itself."""
    running = await start(store=Store(own_url))
    await running.store.create("handbook")
    key, other, unseen = await new(running, requests_per_minute=120), await new(running), await new(running)
    assert [(await ask(running, shown))[0] for shown in (key, other)] == [200, 200]
    os.kill(own_server.get_pid(), signal.SIGQUIT)
    assert (await until_ready(running, 503))["code"] == "store_unavailable"
    for shown in (WRONG, unseen):
        status, told = await ask(running, shown)
        assert (status, told["code"]) == (503, "store_unavailable")
    began = monotonic()
    found = [status for status, _ in await asyncio.gather(*(ask(running, key) for _ in range(30)))]
    assert 4 <= found.count(200) <= 11 + monotonic() - began
    headers = {"Authorization": f"Bearer {other}"}
    async with running.session.get(running.origin + "/api/contexts", headers=headers) as response:
        assert (response.status, "Retry-After" in response.headers) == (503, True)
    restart(own_server)
    await until_ready(running, 200)
    running.server.keys._read_at = None
    assert [(await ask(running, shown))[0] for shown in (other, unseen, WRONG)] == [200, 200, 401]


async def test_a_newer_schema_takes_a_server_out(two: Any) -> None:
    """Two versions apart it is not ready, and says why; one apart it is."""
    link = two[0].server.cluster.link

    def move(by: int) -> Any:
        return two[1].store.write(
            lambda connection: connection.execute("UPDATE store_version SET version = version + ?", (by,))
        )

    for by, status, code in ((1, 200, None), (1, 503, "store_unusable"), (-2, 200, None)):
        await move(by)
        await link.look()
        found, told = await two[0].call("GET", "/readyz")
        assert (found, told.get("code")) == (status, code)
