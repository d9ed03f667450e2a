"""The page of metrics: its formats, who may see it, and what it tells of requests and of pipelines."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from nexus_core import Chunk, ServerError
from nexus_core.server.access.identity import Identity
from nexus_core.server.api.metrics import BUCKETS, MISSING
from nexus_core.server.settings import ServerLimits

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
WATCHED = """name: {name}
models: {{main: {{use: fake, to: own}}}}
steps: [{{generate: main}}]
sinks: [prometheus]
"""
OPEN = "application/openmetrics-text"
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


async def page(running: Any, **headers: str) -> tuple[int, str, str]:
    async with running.session.get(f"{running.origin}/metrics", headers=headers) as response:
        return response.status, response.headers.get("Content-Type", ""), await response.text()


async def samples(running: Any) -> Samples:
    """Return the values of the page by name and labels."""
    _, _, text = await page(running)
    found = [(s.name, frozenset(s.labels.items()), s.value) for family in parse(text) for s in family.samples]
    assert len({(name, labels) for name, labels, _ in found}) == len(found), "a series stands twice on the page"
    return {(name, labels): value for name, labels, value in found}


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


async def until(running: Any, name: str, wanted: float, **labels: str) -> Samples:
    """Return the page once a figure has come, for sinks count in threads of their own."""
    for _ in range(200):
        found = await samples(running)
        if value(found, name, **labels) == wanted:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"{name} {labels} is not {wanted}: {value(found, name, **labels)}")


async def ask(running: Any, name: str, **options: Any) -> int:
    body = {"query": "Why?", "contextId": name, "pipeline": name, "options": options}
    async with running.session.post(f"{running.origin}/api/queries", json=body) as response:
        await response.read()
        return int(response.status)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        pytest.param("", "text/plain; version=0.0.4", id="nothing-said"),
        pytest.param("*/*", "text/plain; version=0.0.4", id="anything"),
        pytest.param("text/plain;version=0.0.4", "text/plain; version=0.0.4", id="text"),
        pytest.param(f"{OPEN};version=1.0.0, */*;q=0.5", f"{OPEN}; version=1.0.0", id="openmetrics"),
        pytest.param(f"{OPEN};version=x,*/*", f"{OPEN}; version=1.0.0", id="odd-version"),
        pytest.param(";;=,,text/plain;version", "text/plain; version=0.0.4", id="nonsense"),
    ],
)  # fmt: skip
async def test_the_page_comes_in_the_format_that_is_asked_for(start: Any, accept: str, content_type: str) -> None:
    """The older text for whoever says nothing else, and both can be parsed by the client library."""
    running = await start(pipelines={"a": WATCHED.format(name="a")})
    status, told, text = await page(running, Accept=accept)
    assert (status, told.startswith(content_type)) == (200, True), told
    read: Any = parse_openmetrics if "openmetrics" in told else parse
    families = list(read(text))
    assert {"nexus_http_requests_in_flight", "process_resident_memory_bytes"} <= {family.name for family in families}


async def test_requests_are_counted_by_route_and_status(running: Any) -> None:
    """A label has the route, never the address, so that a stranger who tries addresses makes no new series."""
    await running.call("GET", "/healthz")
    for path in ("/nothing", "/etc/passwd", "/api/queries/none-such"):
        await running.call("GET", path)
    async with running.session.request("PROPFIND", f"{running.origin}/coffee") as response:
        await response.read()
    found = await samples(running)
    assert value(found, "nexus_http_requests_total", method="GET", route="/healthz", status="200") == 1
    assert value(found, "nexus_http_requests_total", method="-", route="-", status="404") == 4
    assert not [labels for _, labels in found if "passwd" in str(labels) or "PROPFIND" in str(labels)]


async def test_a_request_is_timed_into_cumulative_buckets(running: Any) -> None:
    """Each bucket counts also what is in the smaller ones, and the last one all."""
    for _ in range(3):
        await running.call("GET", "/healthz")
    found, labels = await samples(running), {"method": "GET", "route": "/healthz"}
    name = "nexus_http_request_duration_seconds"
    counts = [value(found, f"{name}_bucket", le=le, **labels) or 0 for le in (*map(str, BUCKETS), "+Inf")]
    assert counts == sorted(counts)
    assert counts[-1] == value(found, f"{name}_count", **labels) == 3
    assert 0 < (value(found, f"{name}_sum", **labels) or 0) < 60


async def test_a_request_that_is_under_way_is_in_flight(running: Any) -> None:
    """The request for the page sees itself."""
    assert value(await samples(running), "nexus_http_requests_in_flight") == 1
    assert value(await samples(running), "nexus_server_runs") == 0


async def test_pipelines_share_one_page_by_label(start: Any) -> None:
    """Each family stands once, with the samples of all pipelines; a pipeline without the sink has none."""
    running = await start(pipelines={name: WATCHED.format(name=name) for name in ("a", "b")})
    assert [await ask(running, "a"), await ask(running, "a"), await ask(running, "b", stream=True)] == [200] * 3
    await until(running, "nexus_runs_total", 2, pipeline="a", outcome="ok")
    found = await until(running, "nexus_runs_total", 1, pipeline="b", outcome="ok")
    assert value(found, "nexus_attempts_total", pipeline="a", model="main", outcome="ok") == 2
    assert value(found, "nexus_run_time_to_first_token_seconds_count", pipeline="b") == 1
    assert value(found, "nexus_breaker_state", pipeline="a", model="main", state="closed") == 1
    assert value(found, "nexus_sink_dropped_events_total", pipeline="a", sink="prometheus") == 0
    _, _, text = await page(running)
    assert len(re.findall("^# TYPE nexus_runs_total ", text, re.MULTILINE)) == 1


async def test_a_stream_is_in_flight_until_its_client_leaves(start: Any, fakes: Any) -> None:
    """The server, the places for runs and the pipeline agree; who left is counted with a status of their own."""
    fakes.connectors["own"].replies = [[Chunk("A "), inf]]
    # A run that waits for its client to come back goes on.
    running = await start(pipelines={"a": WATCHED.format(name="a")}, limits=ServerLimits(resume_s=0))
    body = {"query": "Why?", "contextId": "a", "options": {"stream": True}}
    async with running.session.post(f"{running.origin}/api/queries", json=body) as response:
        await response.content.readline()
        found = await until(running, "nexus_runs_in_flight", 1, pipeline="a")
        assert (value(found, "nexus_server_runs"), value(found, "nexus_http_requests_in_flight")) == (1, 2)
        response.close()
    found = await until(running, "nexus_runs_total", 1, pipeline="a", outcome="cancelled")
    assert (value(found, "nexus_server_runs"), value(found, "nexus_runs_in_flight", pipeline="a")) == (0, 0)
    route = {"method": "POST", "route": "/api/queries"}
    await until(running, "nexus_http_requests_total", 1, status="499", **route)


async def test_retries_fallbacks_and_breakers_of_a_pipeline_are_on_the_page(start: Any, fakes: Any) -> None:
    """One question that needs three attempts at two models, as whoever watches sees it."""
    fakes.connectors["main"].replies = [ServerError("no", status=500)]
    text = """name: a
models:
  main: {use: fake, to: main, fallback: [spare], retry: {attempts: 2}, breaker: {failures: 2}}
  spare: {use: fake, to: spare}
steps: [{generate: main}]
sinks: [prometheus]
"""
    running = await start(pipelines={"a": text})
    assert await ask(running, "a") == 200
    found = await until(running, "nexus_runs_total", 1, pipeline="a", outcome="ok")
    assert value(found, "nexus_attempts_total", pipeline="a", model="main", outcome="server_error") == 2
    assert value(found, "nexus_retries_total", pipeline="a", model="main") == 1
    assert value(found, "nexus_fallbacks_total", pipeline="a", model="spare") == 1
    assert value(found, "nexus_waits_total", pipeline="a", model="main", reason="server_error") == 1
    assert value(found, "nexus_breaker_state", pipeline="a", model="main", state="open") == 1
    assert value(found, "nexus_breaker_state", pipeline="a", model="spare", state="closed") == 1


async def test_a_second_sink_of_a_pipeline_says_nothing_twice(start: Any) -> None:
    """A series that stood twice would make the whole page unreadable."""
    text = WATCHED.format(name="a").replace("[prometheus]", "[prometheus, {use: prometheus, steps: true}]")
    running = await start(pipelines={"a": text})
    await ask(running, "a")
    await until(running, "nexus_runs_total", 1, pipeline="a", outcome="ok")


SINKS = """from nexus_core import component, hookimpl
from prometheus_client import CollectorRegistry, Gauge

@component
class Keeps:
    \"\"\"Has figures of its own.\"\"\"
    def emit(self, event): ...
    def flush(self): ...
    def collect(self):
        registry = CollectorRegistry()
        Gauge("acme_depth", "Of somebody else.", registry=registry).set(3)
        return registry.collect()

@component
class Breaks:
    \"\"\"Has figures that cannot be had.\"\"\"
    def emit(self, event): ...
    def flush(self): ...
    def collect(self):
        raise OSError("gone")

@hookimpl
def nexus_sinks():
    return [Keeps, Breaks]
"""


async def test_sinks_of_other_plugins_join_in_and_a_broken_one_costs_itself_alone(start: Any, tmp_path: Path) -> None:
    """The seam is a method, `collect`; what raises there leaves the rest of the page."""
    (tmp_path / "acme.py").write_text(SINKS)
    text = WATCHED.format(name="a").replace("[prometheus]", "[acme.breaks, acme.keeps, prometheus]")
    running = await start(pipelines={"a": f"{text}plugins: [./acme.py]\n"})
    for _ in range(2):
        found = await samples(running)
    assert value(found, "acme_depth") == 3
    assert value(found, "nexus_runs_in_flight", pipeline="a") == 0


async def owners(key: str) -> Identity | None:
    scopes = {"reads": {"read"}, "asks": {"query"}, "rules": {"admin"}}.get(key)
    return None if scopes is None else Identity(owner="o", scopes=frozenset(scopes), key_id=key)


@pytest.mark.parametrize(("key", "status"), [("", 401), ("wrong", 401), ("asks", 403), ("reads", 200), ("rules", 200)])
async def test_the_page_is_for_those_who_may_read(start: Any, key: str, status: int) -> None:
    """Where there are keys, figures are no public thing."""
    running = await start(verify=owners)
    found, _, text = await page(running, **({"Authorization": f"Bearer {key}"} if key else {}))
    assert found == status
    assert ("nexus_http" in text) == (status == 200)


async def test_without_the_library_the_page_says_what_to_install(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra, and a server without it serves all the rest."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    status, body = await running.call("GET", "/metrics")
    assert (status, body["code"], body["error"]) == (501, "not_installed", MISSING)


async def test_every_family_of_the_server_has_its_line_in_the_reference(running: Any) -> None:
    """The table of the page is what is exported, and nothing else."""
    _, _, text = await page(running)
    told = set(re.findall(r"^# TYPE (nexus_(?:http|server)_\w+) ", text, re.MULTILINE))
    section = PAGE.read_text("utf-8").split("\n## Metrics of the server\n")[1].split("\n## ")[0]
    assert told == set(re.findall(r"^\| `(nexus_\w+)` \|", section, re.MULTILINE))
