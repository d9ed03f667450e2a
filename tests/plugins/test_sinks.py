"""The sinks that ship: what they write, and what a crash leaves behind."""

from __future__ import annotations

import json
import logging
import signal
import stat
import sys
from collections import Counter
from pathlib import Path

import pytest
from attrs import evolve
from nexus_jsonl.sink import JsonlSink, encoded
from nexus_sinks.log import Log, line

from nexus_core import (
    AttemptFinished,
    Event,
    Item,
    Pipeline,
    RunFailed,
    RunFinished,
    RunStarted,
    ServerError,
    ToolFinished,
    TraceEntry,
)

STARTED = RunStarted(run_id="r1", time=12.5, pipeline="p", content="Why?\n\x1b[2J")
ATTEMPT = AttemptFinished(run_id="r1", time=1.0, call_id="c", number=1, model="main", model_id="m", outcome="timeout")


async def written(path: Path, *events: Event) -> list[dict[str, object]]:
    async with JsonlSink(path=str(path)) as sink:
        for event in events:
            sink.emit(event)
        sink.flush()
    return records(path)


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(text) for text in path.read_text("utf-8").splitlines()]


async def test_jsonl_writes_one_object_a_line_with_its_type(tmp_path: Path) -> None:
    """Every field of an event is in its record, also an unknown one as null."""
    first, second = await written(tmp_path / "deep" / "runs.jsonl", STARTED, ATTEMPT)
    assert (first["type"], first["run_id"], first["content"]) == ("run_started", "r1", "Why?\n\x1b[2J")
    assert (second["outcome"], second["prompt_tokens"]) == ("timeout", None)


@pytest.mark.parametrize("steps", [False, True])
async def test_jsonl_writes_steps_where_it_is_asked_to(tmp_path: Path, steps: bool) -> None:
    """A file of runs tells what came out of them; how each step went is for who looks closer."""
    (tmp_path / "p.yaml").write_text(
        "name: p\nmodels: {main: {use: extractive}}\nsteps: [{generate: main}]\n"
        f"sinks: [{{use: jsonl, path: '{tmp_path}/runs.jsonl', steps: {str(steps).lower()}}}]\n"
    )
    async with Pipeline.load(tmp_path / "p.yaml") as pipeline:
        await pipeline.run("What is it?", items=[Item(id="1", text="It is a test.")])
    kinds = [record["type"] for record in records(tmp_path / "runs.jsonl")]
    assert ("step_finished" in kinds) is steps
    assert (kinds[0], kinds[-1]) == ("run_started", "run_finished")


async def test_jsonl_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Records of runs are nobody else's business."""
    await written(tmp_path / "runs.jsonl", STARTED)
    assert stat.S_IMODE((tmp_path / "runs.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        pytest.param(b'{"type":"a"}\n{"type":"b"}', 2, id="whole-record-without-newline"),
        pytest.param(b'{"type":"a"}\n{"type":"b', 1, id="half-a-record"),
        pytest.param(b'{"type":"a"}\n{"x":"\xc3', 1, id="half-a-character"),
        pytest.param(b'{"typ', 0, id="nothing-but-half-a-record"),
        pytest.param(b'{"type":"a"}\n{"x":"' + b"y" * 200_000, 1, id="much-of-a-long-record"),
        pytest.param(b"", 0, id="empty"),
        pytest.param(b'{"type":"a"}\n', 1, id="sound"),
    ],
)
async def test_jsonl_mends_what_a_crash_has_torn(tmp_path: Path, left: bytes, kept: int) -> None:
    """No record is glued to half of another: both would be lost."""
    path = tmp_path / "runs.jsonl"
    path.write_bytes(left)
    found = await written(path, STARTED)
    assert len(found) == kept + 1
    assert found[-1]["type"] == "run_started"


async def test_jsonl_shares_a_file_with_others(tmp_path: Path) -> None:
    """Pipelines of a server, and its workers, may name one file: no line is lost, and none stands in another."""
    path = tmp_path / "runs.jsonl"
    async with JsonlSink(path=str(path)) as first, JsonlSink(path=str(path)) as second:
        for number in range(300):
            for sink in (first, second):
                sink.emit(evolve(STARTED, run_id=f"r{number}", content="x" * number))
            (first, second)[number % 2].flush()
    assert Counter(record["run_id"] for record in records(path)) == {f"r{number}": 2 for number in range(300)}


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
async def test_jsonl_tears_no_line_where_the_disk_is_full(tmp_path: Path) -> None:
    """What could not be written is written later, whole."""
    import resource  # not on Windows

    path, before = tmp_path / "runs.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    async with JsonlSink(path=str(path), durable=False) as sink:
        sink.emit(STARTED)
        sink.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, before[1]))
        try:
            sink.emit(ATTEMPT)
            with pytest.raises(OSError, match="large"):
                sink.flush()
            assert len(records(path)) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
    assert [record["type"] for record in records(path)] == ["run_started", "attempt_finished"]


async def test_jsonl_cuts_nothing_off_a_file_of_another_kind(tmp_path: Path) -> None:
    """A path that was given by mistake is an error, and its file stays as it was."""
    path = tmp_path / "notes.txt"
    path.write_bytes(b"my notes\nwithout a last newline")
    with pytest.raises(ValueError, match=r"notes\.txt is no file of events"):
        await written(path, STARTED)
    assert path.read_bytes() == b"my notes\nwithout a last newline"


async def test_jsonl_refuses_events_when_it_is_not_open(tmp_path: Path) -> None:
    """A sink that lost its file says so, and the queue counts it."""
    with pytest.raises(OSError, match="not open"):
        JsonlSink(path=str(tmp_path / "runs.jsonl")).emit(STARTED)


def test_a_record_leaves_out_objects_for_the_reader_and_survives_broken_text() -> None:
    """Neither an error object nor half of a surrogate pair stops a record."""
    failed = RunFailed(run_id="r", time=0.0, duration_s=1.0, kind="x", message="half \ud83d", error=ServerError("e"))
    assert json.loads(encoded(failed))["message"] == "half ?"
    assert "answer" not in json.loads(encoded(RunFinished(
        run_id="r", time=0.0, duration_s=1.0, model=None, prompt_tokens=None, completion_tokens=None,
    )))  # fmt: skip


def test_log_writes_one_line_and_escapes_control_characters() -> None:
    """Text from a model cannot move the cursor or forge a line."""
    shown = line(STARTED)
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert shown.startswith("run_started run_id=r1 pipeline=p content=")


def test_log_warns_of_failed_attempts(caplog: pytest.LogCaptureFixture) -> None:
    """What went wrong stands out."""
    sink = Log()
    with caplog.at_level(logging.INFO, logger="nexus"):
        sink.emit(STARTED)
        sink.emit(ATTEMPT)
        sink.flush()
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_a_record_has_what_became_of_the_items_of_a_tool() -> None:
    """As data, where content is switched on."""
    entry = TraceEntry(
        item_id="leave", title="Leave", decision="kept", reason="", score=1.5, scores={"bm25": 1.5}, tokens=4
    )
    called = ToolFinished(
        run_id="r", time=1.0, call_id="c", round=1, number=1, name="search", outcome="ok", trace=(entry,), result="28"
    )
    told = json.loads(encoded(called))
    assert (told["type"], told["result"]) == ("tool_finished", "28")
    assert told["trace"][0]["item_id"] == "leave"
    assert told["trace"][0]["scores"] == {"bm25": 1.5}
