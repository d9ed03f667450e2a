"""What a pipeline holds at rest, and the table that compares it with what it held before."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, frozen

from nexus_core import Pipeline

RSS_GATE_MB = 8.0
OBJECTS_GATE = 100
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


@frozen(kw_only=True)
class Held:
    """What is held at rest."""

    descriptors: int
    """Without those of idle connections."""
    tasks: int
    slots: int
    """Inside the limits or in front of them, deadlines that are watched, and probes of breakers."""
    in_use: int
    """Connections."""
    objects: int
    """Of classes of ours."""
    rss_mb: float


async def at_rest(pipeline: Pipeline, rest_s: float) -> Held:
    """Wait until idle connections are closed, for so long at most, and count what is held."""
    await settled(lambda: not connections(pipeline)[1], rest_s)
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what was freed is given back, so that the figure is what is held
    in_use, idle = connections(pipeline)
    return Held(
        descriptors=descriptors() - idle,
        tasks=len(asyncio.all_tasks()),
        slots=slots(pipeline),
        in_use=in_use,
        objects=sum(str(type(thing).__module__).startswith("nexus_") for thing in gc.get_objects()),
        rss_mb=resident_mb(),
    )


def connections(pipeline: Pipeline) -> tuple[int, int]:
    """Return how many connections are in use, and how many are kept."""
    connectors: list[Any] = [model.connector for model in pipeline.models.list()]
    pools = {id(pool): pool for c in connectors if c._client for pool in [c._client._session.connector]}
    return (
        sum(len(pool._acquired) for pool in pools.values()),
        sum(len(kept) for pool in pools.values() for kept in pool._conns.values()),
    )


def slots(pipeline: Pipeline) -> int:
    """Return how many slots of limits, deadlines and probes are taken."""
    steps: list[Any] = [planned.step for planned in pipeline._plan.steps]
    setting = next(step.attempts._setting for step in steps if hasattr(step, "attempts"))
    targets = [setting.targets.of(model) for model in pipeline.models.list()]
    inside = sum(target.limiter.inside + target.limiter.waiting for target in targets)
    return int(inside) + len(setting.timer._running) + sum(target.breaker._probe is not None for target in targets)


def resident_mb() -> float:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MB


def descriptors() -> int:
    """Return how many file descriptors are open."""
    return len(os.listdir("/proc/self/fd"))


async def settled(done: Callable[[], bool], seconds: float) -> None:
    """Wait until something holds, for so long at most."""
    for _ in range(int(seconds / 0.02)):
        if done():
            return
        await asyncio.sleep(0.02)


class Complaints(logging.Handler):
    """Counts what is logged as a warning or worse: forgotten tasks and sockets, errors of callbacks, lost events."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


@define
class Table:
    """Prints figures with their gates, and remembers whether one was missed."""

    missed: bool = False

    def row(self, what: str, start: object, end: object, gate: object, good: bool) -> None:
        """Print a line."""
        self.missed = self.missed or not good
        print(f"{what:<42} {start!s:>9} {end!s:>9} {gate!s:>9} {'' if good else 'MISSED'}", flush=True)

    def held(self, start: Held, end: Held) -> None:
        """Print what is held after the warm-up and at the end."""
        for name, label in (
            ("descriptors", "file descriptors, idle connections aside"),
            ("tasks", "tasks"),
            ("slots", "slots, deadlines, probes"),
            ("in_use", "connections in use"),
        ):
            before, after = getattr(start, name), getattr(end, name)
            self.row(label, before, after, f"<= {before}", after <= before)
        most = start.objects + OBJECTS_GATE
        self.row("objects of our classes", start.objects, end.objects, f"<= {most}", end.objects <= most)
        high = start.rss_mb + RSS_GATE_MB
        self.row("memory, MB", f"{start.rss_mb:.1f}", f"{end.rss_mb:.1f}", f"<= {high:.1f}", end.rss_mb <= high)
