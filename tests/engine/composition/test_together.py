"""Gathers and rankings at the same time: how long, in what order, and what ends all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from nexus_core import Pipeline, SourceError, StepFinished, StepTimeoutError
from nexus_core.pipeline_tests.virtual_time import VirtualTimeLoop

Load = Callable[..., Pipeline]
PROMPT = '- prompt: {template: {text: "{% for item in items %}{{ item.id }} {% endfor %}"}}\n- generate: main\n'
SECONDS = (3, 1, 5, 2, 4)
ALONE = "".join(
    f"- gather: {{use: own.shelf, label: s{place}, seconds: {seconds}}}\n" for place, seconds in enumerate(SECONDS)
)
FIVE = "- together:\n" + "".join(f"  {line}\n" for line in ALONE.splitlines())


def run_in_virtual_time(run: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a coroutine returns, and the seconds that it took by the loop's time."""
    loop = VirtualTimeLoop()
    try:
        began = loop.time()
        return loop.run_until_complete(run()), loop.time() - began
    finally:
        loop.close()


def test_five_sources_take_the_time_of_the_slowest_and_add_up_in_their_order(load: Load) -> None:
    """Whatever is done first, the items stand as if one source had been asked after the other."""
    together, alone = load(FIVE + PROMPT), load(ALONE + PROMPT, name="alone")

    async def run(pipeline: Pipeline) -> str:
        async with pipeline:
            return (await pipeline.run("hi")).text

    text, seconds = run_in_virtual_time(lambda: run(together))
    assert seconds == pytest.approx(5, abs=0.5)
    other, longer = run_in_virtual_time(lambda: run(alone))
    assert longer == pytest.approx(15, abs=0.5)
    assert text == other
    assert text.split() == ["s0", "s1", "s2", "s3", "s4"]


async def test_each_part_has_its_modifiers_and_its_event(load: Load) -> None:
    """`when` and `as` are those of a step; a part that is skipped adds nothing; notes are told with their part."""
    steps = """
- together:
  - gather: {use: own.shelf, label: a}
    as: first
  - gather: {use: own.shelf, label: b}
    when: "{{ 'b' in query }}"
  - gather: {use: own.shelf, label: c}
    as: third
"""
    seen: list[StepFinished] = []

    def listen(event: Any) -> None:
        if isinstance(event, StepFinished):
            seen.append(event)

    async with load(steps + PROMPT) as pipeline:
        answer = await pipeline.run("hi", on_event=listen)
    assert [item["id"] for item in answer.variables["first"]] == ["a"]
    assert [item["id"] for item in answer.variables["third"]] == ["a", "c"]
    told = [(event.path, event.skipped, event.items, event.notes) for event in seen[:4]]
    assert told == [
        ("steps[0].together[0]", False, 1, ("asked a",)),
        ("steps[0].together[1]", True, 1, ()),
        ("steps[0].together[2]", False, 2, ("asked c",)),
        ("steps[0]", False, 2, ()),
    ]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ("gather: {use: own.shelf, label: bad, fails: true}", SourceError, "bad is closed"),
        (
            "{gather: {use: own.shelf, label: bad, seconds: 900}, timeout: 1s}",
            StepTimeoutError,
            r"steps\[0\].together\[1\] \(gather\) took longer than its timeout of 1 s",
        ),
    ],
)
def test_the_first_failure_ends_the_others_and_is_the_error_of_the_run(
    load: Load, wrong: str, error: type[Exception], message: str
) -> None:
    """It is raised as it is, with no group around it, and nobody waits for the rest."""
    slow = "gather: {use: own.shelf, label: slow, seconds: 800}"

    async def run() -> None:
        async with load(f"- together:\n  - {slow}\n  - {wrong}\n{PROMPT}") as pipeline:
            await pipeline.run("hi")

    loop = VirtualTimeLoop()
    try:
        with pytest.raises(error, match=message) as caught:
            loop.run_until_complete(run())
        assert not isinstance(caught.value.__context__, BaseExceptionGroup)
        assert loop.time() < 100 + loop.clock().now()
        assert not asyncio.all_tasks(loop)
    finally:
        loop.close()


async def test_several_rankings_stand_beside_each_other_and_the_last_gives_the_order(load: Load) -> None:
    """As if they had run one after the other."""
    gathers = "".join(f"- gather: {{use: own.shelf, label: s{place}}}\n" for place in range(3))
    ranks = "- rank: own.backwards\n- rank: own.forwards\n- rank: own.backwards\n"
    side_by_side = "- together:\n" + "".join(f"  {line}\n" for line in ranks.splitlines())
    found = []
    for name, steps in (("a", ranks), ("b", side_by_side)):
        async with load(gathers + steps + PROMPT, name=name) as pipeline:
            answer = await pipeline.run("hi")
            found.append((answer.text, [dict(entry.scores) for entry in answer.prompt.trace]))
    assert found[0] == found[1]
    assert found[1][0].split() == ["s2", "s1", "s0"]


async def test_a_cancelled_run_closes_the_connections_of_all_five(load: Load) -> None:
    """Each service sees its client go."""
    asked, left = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.release()
        await reader.read()  # until the client closes
        left.release()
        writer.close()

    servers = [await asyncio.start_server(serve, "127.0.0.1", 0) for _ in range(5)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    steps = "- together:\n" + "".join(f"  - gather: {{use: own.remote, port: {port}}}\n" for port in ports)
    try:
        async with load(steps + PROMPT) as pipeline, asyncio.timeout(10):
            run = asyncio.create_task(pipeline.run("hi"))
            for _ in ports:
                await asked.acquire()
            run.cancel()
            for _ in ports:
                await left.acquire()
            with pytest.raises(asyncio.CancelledError):
                await run
    finally:
        for server in servers:
            server.close()
