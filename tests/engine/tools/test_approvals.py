"""Tools that change something: a person is asked first, where the caller of a run has given a way to ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Answer, ApprovalRequest, ConfigError, DeadlineError, Pipeline
from tests.engine.tools.test_tool_rounds import PLUGIN, SCRIPTS, Script, results_in

BOOK = ("", ("book", {"day": 3}))
OUTER = """name: outer
plugins: [./own.py]
models: {main: {use: own, script: outer}}
steps:
  - generate: {tools: [{use: pipeline, pipeline: ./p.yaml}], tool_timeout: 200ms}
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Pipeline]:
    """Load a pipeline whose model may book a table."""
    (tmp_path / "own.py").write_text(PLUGIN)

    def loaded(script: Script, more: str = "", rest: str = "") -> Pipeline:
        SCRIPTS["book"] = script
        text = f"""name: p
plugins: [./own.py]
models: {{main: {{use: own, script: book}}}}
{rest}
steps:
  - generate: {{tools: [own.book, own.capital], allow: [book]{more}}}
"""
        (tmp_path / "p.yaml").write_text(text)
        return Pipeline.load(tmp_path / "p.yaml")

    return loaded


def outcomes(answer: Answer) -> list[tuple[str, str]]:
    return [(told.name, told.outcome) for told in answer.tools]


async def agree(asked: ApprovalRequest) -> bool:
    return True


async def never(asked: ApprovalRequest) -> bool:
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    return await answer


async def test_a_person_is_asked_about_each_checked_call_that_changes_something_all_at_once(load: Any) -> None:
    """What only reads, or does not match its schema, is asked nobody about; ids are each call's own."""
    calls = ("", ("book", {"day": 3}), ("capital", {"country": "France"}), ("book", {"day": "x"}), ("book", {"day": 4}))
    asked: dict[str, ApprovalRequest] = {}
    together = asyncio.Event()

    async def decide(request: ApprovalRequest) -> bool:
        asked[request.id] = request
        if len(asked) == 2:
            together.set()
        await together.wait()
        request.arguments.clear()  # type: ignore[attr-defined]  # what it is shown is not what the tool gets
        return True

    async with load(Script(calls, "Done.")) as pipeline:
        answer = await pipeline.run("?", approve=decide)
    assert outcomes(answer) == [("book", "ok"), ("capital", "ok"), ("book", "invalid"), ("book", "ok")]
    assert {request.name for request in asked.values()} == {"book"}
    assert {request.description for request in asked.values()} == {"Book a table."}
    assert {request.run_id for request in asked.values()} == {answer.id}


@pytest.mark.parametrize("said", [False, None, "yes", 1], ids=repr)
async def test_whoever_does_not_agree_refuses(load: Any, said: Any) -> None:
    """Only `True` agrees; the model reads of it, and may go on; the tool has not run."""
    script = Script(BOOK, "Then not.")

    async def decide(request: ApprovalRequest) -> bool:
        return said  # type: ignore[no-any-return]

    async with load(script) as pipeline:
        answer = await pipeline.run("?", approve=decide)
    assert outcomes(answer) == [("book", "not_approved")]
    assert answer.text == "Then not."
    assert "the person who was asked refused" in results_in(script.asked[-1][0])[0]


async def test_who_does_not_answer_in_time_refuses(load: Any) -> None:
    """The wait has a limit of its own."""
    script = Script(BOOK, "Then not.")
    async with load(script, ", approval_timeout: 50ms") as pipeline:
        answer = await pipeline.run("?", approve=never)
    assert outcomes(answer) == [("book", "not_approved")]
    assert "nobody agreed within 0.05 s" in results_in(script.asked[-1][0])[0]


async def test_the_callers_time_runs_while_a_person_is_waited_for(load: Any) -> None:
    """It ends the run, and the tool has not run."""
    async with load(Script(BOOK, "x")) as pipeline:
        with pytest.raises(DeadlineError):
            await pipeline.run("?", approve=never, deadline_s=0.1)


async def test_the_pipelines_own_time_stands_still_while_a_person_is_waited_for(load: Any) -> None:
    """Neither the deadline of the call nor the tool's limit is taken up by it."""

    async def slowly(request: ApprovalRequest) -> bool:
        await asyncio.sleep(0.6)
        return True

    twice = ("", ("book", {"day": 3}), ("book", {"day": 4}))
    rest = "calls: {deadline: 400ms}"
    async with load(Script(twice, "Done."), ", tool_timeout: 200ms", rest) as pipeline:
        answer = await pipeline.run("?", approve=slowly)
    assert outcomes(answer) == [("book", "ok"), ("book", "ok")]


async def test_a_pipeline_that_is_called_asks_the_same_person(load: Any, tmp_path: Path) -> None:
    """The limit of the tool that calls it stands still meanwhile."""
    asked: list[str] = []

    async def slowly(request: ApprovalRequest) -> bool:
        asked.append(request.id)
        await asyncio.sleep(0.4)
        return True

    load(Script(("", ("book", {"day": 3}), ("book", {"day": 4})), "Booked."))
    (tmp_path / "outer.yaml").write_text(OUTER)
    SCRIPTS["outer"] = Script(("", ("p", {"query": "Book."})), "Done.")
    async with Pipeline.load(tmp_path / "outer.yaml") as pipeline:
        answer = await pipeline.run("?", approve=slowly)
    assert outcomes(answer) == [("book", "ok"), ("book", "ok"), ("p", "ok")]
    assert len({*asked}) == 2


async def test_a_stream_asks_too_and_leaving_it_ends_the_wait(load: Any) -> None:
    """Whoever asks a person is cancelled with the run."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(request: ApprovalRequest) -> bool:
        begun.set()
        try:
            return await never(request)
        finally:
            ended.set()

    script = Script(BOOK, "Done.")
    async with load(script) as pipeline:
        events = [event async for event in pipeline.stream("?", approve=agree)]
        assert outcomes(events[-1].answer) == [("book", "ok")]

        async def read() -> None:
            script.asked.clear()
            async for _ in pipeline.stream("?", approve=wait):
                continue

        reading = asyncio.create_task(read())
        await begun.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert ended.is_set()
    assert len(script.asked) == 1


async def test_the_limit_of_the_wait_is_a_duration(load: Any) -> None:
    """Anything else is a mistake in the file."""
    with pytest.raises(ConfigError, match="`approval_timeout` must be seconds"):
        load(Script("x"), ", approval_timeout: soon")
