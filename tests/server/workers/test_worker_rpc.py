"""Several workers of one server: what is changed in one is changed in all, figures are told of all together."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator
from tempfile import TemporaryDirectory

import pytest

from nexus_core.server.settings import WorkerSettings
from nexus_core.server.workers.shared_counters import make_file
from tests.server.conftest import Running, Start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no several workers")

ASK = {"query": "Is it so?", "contextId": "own", "pipeline": "own"}


@pytest.fixture
async def workers(start: Start) -> AsyncIterator[list[Running]]:
    """Two workers of one server, each on a port of its own, so that a test says which one it asks."""
    file = make_file()
    with TemporaryDirectory() as folder:  # a socket's path may not be long
        told = [
            WorkerSettings(number=number, count=2, parent=os.getppid(), file=file, folder=folder) for number in range(2)
        ]
        yield [await start(worker=worker) for worker in told]
    os.close(file)


async def test_the_default_model_is_changed_in_all_workers(workers: list[Running]) -> None:
    """Whichever of them is told."""
    for place, name in enumerate(("spare", "main")):
        body = {"modelId": name, "pipeline": "talk"}
        assert (await workers[place].call("PUT", "/api/queries/models/default", json=body))[0] == 200
        for worker in workers:
            _, told = await worker.call("GET", "/api/queries/models")
            assert [m["name"] for m in told["models"] if m["pipeline"] == "talk" and m["default"]] == [name]


async def test_usage_is_the_sum_of_all_workers_and_cleared_in_all(workers: list[Running]) -> None:
    """The same figures, whichever of them is asked."""

    async def requests() -> list[int]:
        told = [(await worker.call("GET", "/api/queries/usage"))[1]["usage"] for worker in workers]
        return [next(row["requests"] for row in rows if row["pipeline"] == "own") for rows in told]

    for worker in (*workers, workers[0]):
        assert (await worker.call("POST", "/api/queries", json=ASK))[0] == 200
    assert await requests() == [3, 3]
    assert (await workers[1].call("DELETE", "/api/queries/usage"))[0] == 204
    assert await requests() == [0, 0]


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
async def test_metrics_are_told_of_all_workers_each_by_its_label(workers: list[Running], accept: str) -> None:
    """One page has the figures of both, so that counters never seem to go back."""
    assert (await workers[1].call("POST", "/api/queries", json=ASK))[0] == 200
    async with workers[0].session.get(f"{workers[0].origin}/metrics", headers={"Accept": accept}) as response:
        page = await response.text()
    assert set(re.findall(r'^nexus_server_runs\{worker="(\d)"\} 0.0$', page, re.MULTILINE)) == {"0", "1"}
    assert re.search(
        r'nexus_http_requests_total\{method="POST",route="[^"]*/queries",status="200",worker="1"\} 1.0', page
    )
    assert page.count("# TYPE nexus_server_runs gauge") == 1


async def test_a_worker_that_does_not_answer_is_no_half_change(workers: list[Running]) -> None:
    """Whoever asks is told to try again, and nothing has changed where they asked."""
    await workers[1].server.siblings.__aexit__(None, None, None)
    body = {"modelId": "spare", "pipeline": "talk"}
    status, told = await workers[0].call("PUT", "/api/queries/models/default", json=body)
    assert (status, told["code"]) == (503, "overloaded")
    _, told = await workers[0].call("GET", "/api/queries/models")
    assert [m["name"] for m in told["models"] if m["pipeline"] == "talk" and m["default"]] == ["main"]
