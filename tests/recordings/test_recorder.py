"""What a recorder writes: the same files again, whole ones, for their owner alone, and no secrets."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Chunk, NexusError, Pipeline, RunError, ServerError, UsageError
from nexus_core.recordings.recorder import Recorder
from nexus_core.recordings.recording_file import TIMING, RecordingError, recordings_in
from nexus_core.recordings.replayer import Replayer, replay_environment
from nexus_core.testing.upstream import (
    ScriptedUpstream,
    chat_events,
    completion,
    error_body,
    json_answer,
    stream_answer,
)
from tests.recordings.played import Scripts, load_played

CANARY = "canary-9d1f4c77ab20e6"
PIPELINE = """
name: canary
models:
  main:
    use: openai
    model: m
    base_url: "{url}"
    api_key: "{key}"
    headers: {{X-Team: "{key}", Cookie: "session={key}"}}
    query: {{api-key: "{key}"}}
    retry: {{attempts: 2, first_wait: 1ms}}
    options: {{temperature: 1.0, extra: {{user: you, extra_headers: {{X-Key: "{key}"}}, api_key: "{key}"}}}}
steps:
  - gather: {{use: inline, items: [{{id: a, text: The ferry.}}, {{id: b, text: The mill.}}]}}
  - rank: {{use: rerank, method: endpoint, model: {{use: openai, model: r, base_url: "{url}", api_key: "{key}"}}}}
  - prompt: qa
  - generate: main
"""


def contents(folder: Path) -> dict[str, bytes]:
    """Return what is in the recordings of a folder."""
    return {path.name: path.read_bytes() for path in recordings_in(folder)}


async def record(folder: Path, scripts: Scripts, *queries: str, into: str = "recorded") -> Path:
    """Record a run for each query, failed ones included, and return the folder."""
    async with load_played(folder, {"spare": [ServerError("down")], **scripts}, Recorder(folder / into)) as pipeline:
        for query in queries:
            try:
                await pipeline.run(query)
            except RunError:
                continue
    return folder / into


async def test_the_same_run_again_writes_the_same_bytes(tmp_path: Path) -> None:
    """In another folder, after a failure, and in place of what is there."""
    scripts: Scripts = {
        "main": [ServerError("down", status=503), "It is\nten.", [Chunk("a"), Chunk(finish_reason="stop")]]
    }
    first = contents(await record(tmp_path, scripts, "When?", "Who?"))
    assert len(first) == 2
    assert contents(await record(tmp_path, scripts, "When?", "Who?", into="other/folder")) == first
    assert contents(await record(tmp_path, scripts, "When?", "Who?")) == first


async def test_a_recording_reads_well(tmp_path: Path) -> None:
    """Sorted keys, a line for each line of a text, the request before its responses, no times."""
    folder = await record(tmp_path, {"main": ["It is\nten."]}, "When\ndoes it leave?")
    (text,) = contents(folder).values()
    assert json.loads(text) == {
        "format": 1,
        "request": {
            "messages": [{"content": ["When", "does it leave?"], "role": "user"}],
            "model": "main",
            "model_id": "fake-1",
            "operation": "prompt",
            "options": {},
            "provider": "fake",
        },
        "responses": [
            {
                "finish_reason": "stop",
                "method": "send_prompt",
                "model": "fake-1",
                "text": ["It is", "ten."],
                "usage": {"completion_tokens": 3, "prompt_tokens": 7},
            }
        ],
    }
    assert text == (json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n").encode()


async def test_what_is_recorded_again_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    """A folder may be refreshed in parts."""
    before = contents(await record(tmp_path, {"main": ["one"]}, "When?", "Who?"))
    after = contents(await record(tmp_path, {"main": ["two"]}, "Who?", "Where?"))
    assert before.keys() < after.keys()
    assert [name for name in before if before[name] != after[name]] == [
        name for name in before if b"Who?" in before[name]
    ]


async def test_equal_requests_at_once_are_kept_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    """Whichever ends first."""
    slow, fast = [0.02, Chunk("slow", "stop")], [Chunk("fast", "stop")]
    async with load_played(tmp_path, {"main": [slow, fast], "spare": []}, Recorder(tmp_path / "r")) as pipeline:
        first = asyncio.create_task(pipeline.run("When?"))
        await asyncio.sleep(0)
        await asyncio.gather(first, pipeline.run("When?"))
        await pipeline.run("When?")
    (text,) = contents(tmp_path / "r").values()
    assert [response["text"] for response in json.loads(text)["responses"]] == ["slow", "fast", "fast"]


async def test_what_was_given_up_replaces_no_answer(tmp_path: Path) -> None:
    """Ctrl-C while recording again loses nothing; where there is no answer it is kept as what it is."""
    before = contents(await record(tmp_path, {"main": ["ten"]}, "When?"))
    async with load_played(
        tmp_path, {"main": [[float("inf")]], "spare": []}, Recorder(tmp_path / "recorded")
    ) as pipeline:
        for query in ("When?", "Who?"):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pipeline.run(query), 0.05)
    after = contents(tmp_path / "recorded")
    assert {name: after[name] for name in before} == before
    assert [b'"abandoned": true' in after[name] for name in after.keys() - before.keys()] == [True]


@pytest.mark.skipif(sys.platform == "win32", reason="rights as on POSIX")
async def test_only_the_owner_may_read_what_is_recorded(tmp_path: Path) -> None:
    """Prompts and answers are in it."""
    folder = await record(tmp_path, {"main": ["ten"]}, "When?")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


async def test_times_stand_apart_and_are_not_needed(tmp_path: Path) -> None:
    """One file beside each recording, with the seconds of each response and each chunk."""
    async with load_played(tmp_path, {"main": ["one two"], "spare": []}, Recorder(tmp_path / "r")) as pipeline:
        [_ async for _ in pipeline.stream("When?")]
    (file,) = (tmp_path / "r").glob(f"*{TIMING}")
    (times,) = json.loads(file.read_text())["responses"]
    assert (len(times["chunks"]), times["seconds"] >= times["chunks"][-1]) == (3, True)
    file.unlink()
    async with load_played(tmp_path, {"main": [], "spare": []}, Replayer(tmp_path / "r")) as pipeline:
        assert (await pipeline.run("When?")).text == "one two"


WRITES = """
import asyncio, sys
from pathlib import Path
from nexus_core.recordings.recorder import Recorder
from tests.recordings.played import load_played

async def main(folder, word):
    scripts = {"main": [f"{word} " * 3000], "spare": []}
    async with load_played(folder / word, scripts, Recorder(folder / "r")) as pipeline:
        print("begun", flush=True)
        while True:
            await pipeline.run("When?")

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


@pytest.mark.slow
def test_writers_that_are_killed_and_others_beside_them_leave_whole_files(tmp_path: Path) -> None:
    """Two processes record the same request over and over, and die: what is there can be replayed."""
    for number in range(6):
        words = ["one", "two"]
        command = [sys.executable, "-c", WRITES, str(tmp_path)]
        writers = [subprocess.Popen([*command, word], stdout=subprocess.PIPE) for word in words]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"begun\n"
        deadline = 2000 * (number + 1)
        while not recordings_in(tmp_path / "r") and deadline:
            deadline -= 1
            os.sched_yield()
        for writer in writers:
            writer.kill()
            writer.communicate()
        for text in contents(tmp_path / "r").values():
            said = {response["text"].split()[0] for response in json.loads(text)["responses"]}
            assert said <= {*words}
    Recorder(tmp_path / "r")
    assert not [path for path in (tmp_path / "r").iterdir() if path.name.startswith(".")]


async def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """At once where it cannot be made; as the run's failure where it is gone later."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot record into"):
        Recorder(tmp_path / "file")
    recorder = Recorder(tmp_path / "r")
    (tmp_path / "r").rmdir()
    async with load_played(tmp_path, {"main": ["ten"], "spare": []}, recorder) as pipeline:
        with pytest.raises(RecordingError, match="cannot write the recording"):
            await pipeline.run("When?")


async def test_errors_of_foreign_code_are_recorded_without_their_words(tmp_path: Path) -> None:
    """They may hold anything; the replay has the same outcome."""

    class Broken:
        model_info = load_played(tmp_path, {"main": [], "spare": []}).models.get("main").info

        async def send_prompt(self, prompt: Any, options: Any) -> Any:
            raise ValueError(CANARY)

    folder = await record(tmp_path, {"main": Broken()}, "When?")
    assert not [text for text in contents(folder).values() if CANARY.encode() in text]
    async with load_played(tmp_path, {"main": [], "spare": []}, Replayer(folder)) as pipeline:
        with pytest.raises(RunError) as failed:
            await pipeline.run("When?")
    assert [row.outcome for row in failed.value.attempts] == ["connector", "server_error"]


async def test_no_secret_is_in_any_file(tmp_path: Path) -> None:
    """Keys, headers, cookies, parameters of the real connector, in answers, streams, errors; it replays without."""
    scores = json_answer({"results": [{"index": 0, "relevance_score": 0.1}, {"index": 1, "relevance_score": 1 / 3}]})
    refused = json_answer(error_body(f"Incorrect key {CANARY}", code="busy"), status=503)
    streamed = stream_answer(chat_events("It is ", "ten."))
    scripts = (scores, refused, json_answer(completion("It is ten.")), scores, streamed)
    async with ScriptedUpstream(*scripts) as upstream:
        (tmp_path / "p.yaml").write_text(PIPELINE.format(url=upstream.url, key="${CANARY}"))
        recorder = Recorder(tmp_path / "r")
        async with Pipeline.load(tmp_path / "p.yaml", environment={"CANARY": CANARY}, interceptor=recorder) as pipeline:
            answer = await pipeline.run("When?")
            [_ async for _ in pipeline.stream("When?")]
        sent = upstream.requests
        port = str(upstream.port)
    assert [row.outcome for row in answer.attempts] == ["ok", "overloaded", "ok"]
    assert CANARY in repr(sent)
    texts = {path.name: path.read_text() for path in (tmp_path / "r").iterdir()}
    assert not [name for name, text in texts.items() if CANARY in text or CANARY in name or port in text]
    assert not [text for text in texts.values() if "authorization" in text.lower() or "bearer" in text.lower()]
    replayer = Replayer(tmp_path / "r")
    environment = replay_environment({})
    async with Pipeline.load(tmp_path / "p.yaml", environment=environment, interceptor=replayer) as pipeline:
        again = await pipeline.run("When?")
    assert (again.text, [packed.score for packed in again.prompt.items]) == (
        "It is ten.", [packed.score for packed in answer.prompt.items],
    )  # fmt: skip
    assert [(row.outcome, row.status) for row in again.attempts] == [
        (row.outcome, row.status) for row in answer.attempts
    ]
    assert {row.request_sent for row in again.attempts} == {False}, "those of the ranker are replayed, too"


def test_a_variable_that_is_not_set_is_an_error_but_in_a_replay(tmp_path: Path) -> None:
    """And a default is a default in both."""
    (tmp_path / "p.yaml").write_text(PIPELINE.format(url="${URL:-https://here.example}", key="${CANARY}"))
    with pytest.raises(NexusError, match="CANARY is not set"):
        Pipeline.load(tmp_path / "p.yaml", environment={})
    pipeline = Pipeline.load(tmp_path / "p.yaml", environment=replay_environment({}))
    connector: Any = pipeline.models.get("main").connector
    assert connector.base_url == "https://here.example"
    assert connector.api_key.reveal() == "https://replay.invalid"
