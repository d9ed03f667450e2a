"""One page for Prometheus: the server's own figures, and those that the sinks of its pipelines keep.

The server counts in plain dictionaries; the client library makes the page, and is imported when somebody asks for it. A
sink joins in by having `collect()`, whichever plugin it comes from.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from aiohttp import web

from nexus_core.contract.optional_protocols import MetricsSink
from nexus_core.server.access.access import AccessControl
from nexus_core.server.errors import Failure
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.server.workers.metric_families import families_json, families_of, of_workers
from nexus_core.server.workers.worker_rpc import WorkerRpc

if TYPE_CHECKING:
    from nexus_core.server.cluster.cluster import ServerCluster

if TYPE_CHECKING:
    from prometheus_client import Metric

MISSING = "this page needs prometheus-client: pip install 'contextnexus[metrics]'"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""In seconds, upper ends; what takes longer is in one more."""
_UNKNOWN = ("-", "-")
"""Stands for method and route where no route was meant: what strangers send is no label."""
_OPENMETRICS = "application/openmetrics-text"
_LEFT = 499
"""The status of a request whose client left before its answer."""

_log = logging.getLogger(__name__)


class RequestMetrics:
    """Counts requests by route and status, and times them."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.ended: dict[tuple[str, str, int], int] = {}
        """By method, route and status."""
        self.times: dict[tuple[str, str], list[float]] = {}
        """By method and route: how many fell into each bucket, and at the end the sum in seconds."""

    def note(self, request: web.Request, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        resource = request.match_info.route.resource
        method, route = _UNKNOWN if resource is None else (request.method, resource.canonical)
        key = (method, route, status)
        self.ended[key] = self.ended.get(key, 0) + 1
        times = self.times.get((method, route))
        if times is None:
            times = self.times[method, route] = [0.0] * (len(BUCKETS) + 2)
        times[bisect_left(BUCKETS, seconds)] += 1
        times[-1] += seconds


class MetricsApi:
    """Shows the figures."""

    def __init__(
        self,
        serving: ServedPipelines,
        gate: AccessControl,
        siblings: WorkerRpc,
        name: str,
        cluster: ServerCluster | None = None,
    ) -> None:
        """Take what is counted; `name` is how this server is called."""
        self._serving = serving
        self._name = name
        self._cluster = cluster
        self._gate = gate
        self._siblings = siblings
        siblings.on("metrics", lambda _: asyncio.to_thread(lambda: families_json(self._families())))
        self._requests = RequestMetrics()
        self._told: set[str] = set()
        """Sinks whose failure stands in the log."""

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="GET",
                path="/metrics",
                handler=self.show,
                scope="read",
                name="getMetrics",
                summary="Tell all figures as Prometheus reads them.",
                errors=(501,),
                bare=True,
                answers_as=("text/plain", "application/openmetrics-text"),
            )
        ]

    @property
    def watch(self) -> Any:
        """The middleware that counts every request; the outermost one."""
        requests = self._requests

        @web.middleware
        async def count(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            began, status = perf_counter(), _LEFT
            requests.in_flight += 1
            try:
                response = await handler(request)
                status = response.status
                return response
            finally:
                requests.in_flight -= 1
                requests.note(request, status, perf_counter() - began)

        return count

    async def show(self, request: web.Request) -> web.Response:
        """Answer with the page, in the format that the client prefers."""
        accept = ",".join(request.headers.getall("Accept", ()))
        try:
            found = await asyncio.to_thread(self._families)  # a large page would hold up everybody
            worker = self._siblings.worker
            if worker is not None:
                told = await self._siblings.ask("metrics", needs_all=False)
                found = of_workers({worker.number: found} | {at: families_of(each) for at, each in told.items()})
            page, content_type = await asyncio.to_thread(_exposition, found, accept)
        except ImportError as error:
            raise Failure(501, "not_installed", MISSING) from error
        return web.Response(body=page, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    def _families(self) -> list[Metric]:
        return [*self._own(), *self._of_pipelines()]

    def _of_pipelines(self) -> list[Metric]:
        """Return what all sinks keep; families of one name are one, with the samples of every pipeline."""
        found: dict[str, Metric] = {}
        for pipeline in tuple(self._serving.pipelines.values()):
            seen: set[str] = set()
            """Of this pipeline: a second sink of the same kind would only say the same again."""
            for sink in pipeline.sinks:
                families = self._collected(f"{pipeline.name}/{type(sink).__name__}", sink)
                for family in families:
                    if family.name not in seen:
                        found.setdefault(family.name, family)
                        if found[family.name] is not family:
                            found[family.name].samples.extend(family.samples)
                seen.update(family.name for family in families)
        return list(found.values())

    def _collected(self, name: str, sink: Any) -> list[Metric]:
        """Return what a sink tells; its failure costs its own figures alone."""
        if not isinstance(sink, MetricsSink):
            return []
        try:
            return list(sink.collect())
        except Exception:  # noqa: BLE001 - foreign code
            if name not in self._told:
                self._told.add(name)
                _log.warning("the sink %s tells no figures (said once)", name, exc_info=True)
            return []

    def _own(self) -> Iterator[Metric]:
        """Yield what the server knows by itself."""
        library = _library()
        requests, places = self._requests, self._gate.places
        info = library.core.InfoMetricFamily("nexus_server", "The server that these figures are of.")
        info.add_metric((), {"server": self._name})
        yield info
        if self._cluster is not None:
            yield library.core.GaugeMetricFamily(
                "nexus_store_reachable", "1 while the database of the store answers.",
                value=int(not self._cluster.link.is_lost),
            )  # fmt: skip
            if self._cluster.indexes is not None:
                yield library.core.GaugeMetricFamily(
                    "nexus_store_listening", "1 while the database notifies of changes, 0 while they are polled.",
                    value=int(self._cluster.indexes.is_listening),
                )  # fmt: skip
        ended = library.core.CounterMetricFamily(
            "nexus_http_requests_total", "Requests that have ended.", labels=("method", "route", "status")
        )
        for (method, route, status), count in sorted(requests.ended.copy().items()):
            ended.add_metric((method, route, str(status)), count)
        yield ended  # each copied at once, since this is another thread than the one that counts
        times = library.core.HistogramMetricFamily(
            "nexus_http_request_duration_seconds", "From the head of a request to the end of its answer.",
            labels=("method", "route"),
        )  # fmt: skip
        for names, counts in sorted(requests.times.copy().items()):
            times.add_metric(names, _cumulative(counts), sum_value=counts[-1])
        yield times
        for name, text, value in (
            ("nexus_http_requests_in_flight", "Requests that have begun and not ended.", requests.in_flight),
            ("nexus_server_runs", "Runs that hold one of the places for runs.", places.running),
            ("nexus_server_runs_waiting", "Runs that wait for a place.", places.waiting),
            ("nexus_server_draining", "1 once the server is told to stop.", int(self._gate.is_draining)),
        ):
            yield library.core.GaugeMetricFamily(name, text, value=value)
        yield from library.ProcessCollector(registry=None).collect()


def _exposition(families: Sequence[Metric], accept: str) -> tuple[bytes, str]:
    library = _library()
    found: Any = _Collected(families)
    encode: Any = library.exposition.generate_latest
    content_type = "text/plain; version=0.0.4; charset=utf-8"
    # The library's own choice by `Accept` raises on versions that are no numbers.
    if any(part.split(";")[0].strip() == _OPENMETRICS for part in accept.lower().split(",")):
        encode, content_type = (
            library.openmetrics.exposition.generate_latest,
            f"{_OPENMETRICS}; version=1.0.0; charset=utf-8",
        )
    return encode(found), content_type


def _library() -> Any:
    """Return prometheus_client, which not every server has."""
    import prometheus_client.core
    import prometheus_client.exposition
    import prometheus_client.openmetrics.exposition

    return prometheus_client


class _Collected:
    """Families that have been collected, as the library wants to be given them."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        """Return them."""
        return self._families


def _cumulative(counts: Sequence[float]) -> list[tuple[str, float]]:
    """Return buckets as Prometheus has them: each counts also what is in the smaller ones."""
    total, found = 0.0, []
    for end, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=False):
        total += count
        found.append((end, total))
    return found
