"""The engine `ray`: the records of a batch on the machines of a Ray cluster, or on all CPUs of this one.

The journal, the limits and the budget stay with the driver, which is this process. Workers ask it before each request.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from attrs import frozen

from nexus_core import UsageError
from nexus_core.batch import BatchControl, BatchJob, PipelineShipment, pack_pipeline
from nexus_core.toolkit import did_you_mean, listed
from nexus_ray.cluster import RayCluster, require_ray
from nexus_ray.pool import WorkerPool

_OPTIONS = ("address", "workers")


@frozen(kw_only=True)
class RaySettings:
    """The options of the engine."""

    address: str | None = None
    """Of a cluster that is there; by default one is started on this machine for the batch."""
    workers: int | None = None
    """By default one for each CPU."""

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> RaySettings:
        """Return the settings that options name; raises UsageError."""
        for name in options:
            if name not in _OPTIONS:
                raise UsageError(
                    f"the engine `ray` has no option {name!r}{did_you_mean(name, _OPTIONS)}; it has {listed(_OPTIONS)}"
                )
        text = str(options.get("workers", ""))
        if text and not (text.isdecimal() and int(text)):
            raise UsageError(f"the option `workers` of the engine `ray` is {text!r}: give a whole number above 0")
        return cls(address=options.get("address") or None, workers=int(text) if text else None)


class RayEngine:
    """Runs records on workers of a Ray cluster; for one batch."""

    def __init__(self) -> None:
        """Raises PluginError where Ray is not installed."""
        require_ray()
        self._cluster: RayCluster | None = None
        self._shipment: PipelineShipment | None = None
        self._size = 1

    async def check(self, job: BatchJob) -> None:
        """Raise what stands against the job: sources of this machine alone, missing plugins, no cluster."""
        settings = RaySettings.from_options(job.options)
        shipment = self._shipment = await asyncio.to_thread(pack_pipeline, job)
        cluster = await RayCluster.connect(settings.address, settings.workers or os.cpu_count() or 1)
        try:
            self._size = _size(settings, shipment, cluster.cpus())
            await cluster.check_versions(shipment.distributions, shipment.plugins)
        except BaseException:
            await cluster.close()
            raise
        self._cluster = cluster

    async def run(self, job: BatchJob, control: BatchControl, hurry: asyncio.Event) -> None:
        """Run records until there are no more; the cluster is left then, and ended if it was started for the batch."""
        if self._cluster is None or self._shipment is None:
            await self.check(job)
        assert self._cluster is not None
        assert self._shipment is not None
        try:
            async with WorkerPool(self._cluster.ray, self._shipment, control, self._size) as pool:
                watch = asyncio.create_task(_watch(hurry, pool))
                try:
                    while (task := await control.next()) is not None:
                        await pool.give(task)
                    await pool.finish()
                finally:
                    watch.cancel()
        finally:
            await self._cluster.close()
            self._cluster = None


async def _watch(hurry: asyncio.Event, pool: WorkerPool) -> None:
    await hurry.wait()
    pool.hurry()


def _size(settings: RaySettings, shipment: PipelineShipment, cpus: int) -> int:
    """Return how many workers there are; each has a share of the pipeline's `limits`, of one at least."""
    if settings.workers is not None and settings.workers > cpus:
        raise UsageError(f"the option `workers` is {settings.workers}, and the Ray cluster has {cpus} CPUs")
    return min(settings.workers or max(cpus, 1), shipment.most_shares() or cpus)
