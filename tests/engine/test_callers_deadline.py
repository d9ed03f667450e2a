"""A caller's own deadline: it holds for the whole run, shortens the calls' and never lengthens them."""

from __future__ import annotations

import asyncio
from math import inf, nan
from time import perf_counter
from typing import Any

import pytest

from nexus_core import Chunk, DeadlineError, ModelInfo, RunContext, RunFailed, UsageError
from nexus_core.engine.state import Scope
from nexus_core.testing.fakes import FakeConnector

TEXT = """name: slow
models:
  main: {use: fake}
steps:
  - generate: main
"""
SHORT = TEXT.replace("steps:", "calls: {deadline: 50ms, stream_deadline: 50ms}\nsteps:")
INFO = ModelInfo(id="fake", provider="fake", window=4096)


def silent(*first: Any) -> FakeConnector:
    return FakeConnector(replies=([*first, inf],), model_info=INFO)


async def test_run_ends_at_the_callers_deadline(fakes: Any, load: Any) -> None:
    """The row of the ledger says so, and the service is not blamed."""
    fakes.connectors["main"] = silent()
    async with load(TEXT) as pipeline:
        with pytest.raises(DeadlineError, match=r"within the 0\.0") as caught:
            await pipeline.run("Why?", deadline_s=0.05)
        assert set(pipeline.targets().values()) == {"closed"}
    (row,) = caught.value.attempts
    assert (row.outcome, row.code) == ("timeout", "deadline")


async def test_stream_ends_at_the_callers_deadline(fakes: Any, load: Any) -> None:
    """The text so far is kept and marked."""
    fakes.connectors["main"] = silent(Chunk("It is"))
    async with load(TEXT) as pipeline:
        events = [event async for event in pipeline.stream("Why?", deadline_s=0.05)]
    last = events[-1]
    assert isinstance(last, RunFailed)
    assert (last.kind, last.partial) == ("DeadlineError", "It is")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_deadline_of_the_pipeline_is_not_lengthened(fakes: Any, load: Any, streamed: bool) -> None:
    """Who asks for an hour gets what the pipeline allows."""
    fakes.connectors["main"] = silent()
    async with load(SHORT) as pipeline:
        if streamed:
            last = [event async for event in pipeline.stream("Why?", deadline_s=3600)][-1]
            assert isinstance(last, RunFailed)
            assert last.kind == "DeadlineError"
        else:
            with pytest.raises(DeadlineError, match=r"the 0\.05 s"):
                await pipeline.run("Why?", deadline_s=3600)


@pytest.mark.slow
async def test_deadline_is_that_of_the_run_not_of_each_call(fakes: Any, load: Any) -> None:
    """The second call has what the first has left of it."""
    fakes.connectors["main"] = FakeConnector(replies=([0.1, Chunk("Harbour?", "stop")], [inf]), model_info=INFO)
    text = TEXT.replace("  - generate: main", "  - generate: main\n    into: query\n  - generate: main")
    began = perf_counter()
    async with load(text) as pipeline:
        with pytest.raises(DeadlineError):
            await pipeline.run("Why?", deadline_s=0.3)
    assert perf_counter() - began >= 0.3


async def test_other_steps_hold_to_it_too(fakes: Any, load: Any) -> None:
    """A source that takes for ever is left."""
    fakes.connectors["main"] = silent()
    fakes.source = Slow()
    async with load(TEXT.replace("steps:", "steps:\n  - gather: fake")) as pipeline:
        with pytest.raises(DeadlineError, match=r"steps\[0\] \(gather\) did not end"):
            await pipeline.run("Why?", deadline_s=0.05)


class Slow:
    """A source that never has its items."""

    async def gather(self, query: str, run: RunContext) -> Any:
        await asyncio.Event().wait()


@pytest.mark.parametrize("seconds", [0, -1, nan, inf], ids=str)
async def test_deadline_that_is_none_is_refused(fakes: Any, load: Any, seconds: float) -> None:
    """What is no time to wait is a mistake of the caller."""
    fakes.connectors["main"] = silent()
    async with load(TEXT) as pipeline:
        with pytest.raises(UsageError, match="above 0"):
            await pipeline.run("Why?", deadline_s=seconds)


def test_scope_knows_when_the_time_is_up() -> None:
    """Before the next step, not only within one."""
    with pytest.raises(DeadlineError):
        Scope(run_id="r", emit=lambda event: None, ends_at=perf_counter()).left_s()
