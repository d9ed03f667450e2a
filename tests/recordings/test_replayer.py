"""A replay gives what was recorded: answers, deltas, attempts; and tells clearly what it cannot give."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import (
    AuthError,
    Chunk,
    Delta,
    InvalidRequestError,
    Pipeline,
    RateLimitError,
    RunError,
    RunFailed,
    RunFinished,
    ServerError,
    StalledError,
    ToolCallDelta,
    Transfer,
    TruncatedError,
    Usage,
    UsageError,
)
from nexus_core.engine.interceptors import Interceptor, InterceptorChain
from nexus_core.recordings.recorder import Recorder
from nexus_core.recordings.recording_file import NoRecordingError, RecordingError, recordings_in
from nexus_core.recordings.replayer import Replayer, recording_interceptor
from tests.recordings.played import PIPELINE, Scripts, load_played


class OddError(ServerError):
    """An error of a plugin's own."""

    kind = "odd"


ERRORS = (
    ServerError("down", status=503, code="busy"),
    RateLimitError("too many", status=429, retry_after_s=0.001, should_retry=True),
    InvalidRequestError("no", status=400, provider="p", model="m"),
    AuthError("the key is wrong", status=401),
    StalledError("nothing more came", transfer=Transfer(status=200)),
    OddError("strange\nand long"),
)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.sampled_from(["one\ntwo", "\ud800 half"])


@st.composite
def streams(draw: st.DrawFn) -> Sequence[Any]:
    """Return the parts of a stream: text, reasoning, tool calls, a usage, an end or none, or an error."""
    first = Chunk(transfer=Transfer(status=draw(st.sampled_from([200, 201, None]))))
    parts: list[Any] = [first, *(Chunk(draw(TEXTS)) for _ in range(draw(st.integers(0, 3))))]
    if draw(st.booleans()):
        parts.insert(1, Chunk(reasoning=draw(TEXTS)))
    if draw(st.booleans()):
        parts += [Chunk(tool_calls=(ToolCallDelta(index=0, id="c", name="f", arguments="{}"),))]
    end = Chunk(finish_reason="stop", native_finish_reason=draw(st.sampled_from(["", "eos"])), usage=Usage())
    ends: list[list[Any]] = [[end], [], [ERRORS[0]], [TruncatedError("cut")]]
    return [*parts, *draw(st.sampled_from(ends))]


REPLIES = st.lists(TEXTS | st.sampled_from(ERRORS) | streams(), min_size=1, max_size=3)
ASKED = st.lists(st.tuples(st.sampled_from(["What?", "Which?"]), st.booleans()), min_size=1, max_size=4)


async def outcomes(pipeline: Pipeline, asked: Sequence[tuple[str, bool]]) -> list[Any]:
    """Return what each question came to: deltas, the answer or the error, and the attempts."""
    found = []
    async with pipeline:
        for query, streamed in asked:
            deltas: list[Any] = []
            end: Any = None
            try:
                if streamed:
                    async with aclosing(pipeline.stream(query)) as events:  # type: ignore[type-var]
                        async for event in events:
                            deltas += [(event.text, event.reasoning)] if isinstance(event, Delta) else []
                            end = event.error if isinstance(event, RunFailed) else end
                            end = event.answer if isinstance(event, RunFinished) else end
                else:
                    end = await pipeline.run(query)
            except RunError as error:
                end = error
            rows = [(row.model, row.outcome, row.status, row.code) for row in getattr(end, "attempts", ())]
            said = [getattr(end, name, None) for name in ("text", "reasoning", "tool_calls", "usage", "kind")]
            found.append((deltas, said, rows))
    return found


@settings(max_examples=60, deadline=None)
@given(main=REPLIES, spare=REPLIES, asked=ASKED)
def test_a_replay_gives_what_was_recorded(main: Any, spare: Any, asked: Sequence[tuple[str, bool]]) -> None:
    """Answers, deltas, errors and attempts are equal, in another folder and without the connectors."""
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        folder = Path(one, "recorded")
        recorded = asyncio.run(
            outcomes(load_played(Path(one), {"main": main, "spare": spare}, Recorder(folder)), asked)
        )
        moved = folder.rename(Path(other, "elsewhere"))
        none: Scripts = {"main": [AuthError("was asked")], "spare": [AuthError("was asked")]}
        replayed = asyncio.run(outcomes(load_played(Path(other), none, Replayer(moved)), asked))
    assert replayed == recorded


async def record(folder: Path, scripts: Scripts, *queries: str, text: str = PIPELINE) -> Path:
    """Record a run for each query and return the folder."""
    into = folder / "recorded"
    async with load_played(folder, scripts, Recorder(into), text) as pipeline:
        for query in queries:
            await pipeline.run(query)
    return into


async def replay(folder: Path, query: str, *, streamed: bool = False) -> Any:
    """Return what a replay comes to."""
    pipeline = load_played(folder, {"main": [], "spare": []}, Replayer(folder / "recorded"))
    return (await outcomes(pipeline, [(query, streamed)]))[0]


async def test_a_whole_answer_is_replayed_for_a_stream_and_the_other_way_round(tmp_path: Path) -> None:
    """Whether somebody reads along decides nothing."""
    folder = await record(tmp_path, {"main": ["It is\nten."], "spare": []}, "When?")
    assert (await replay(tmp_path, "When?", streamed=True))[1][0] == "It is\nten."
    pipeline = load_played(tmp_path, {"main": ["It is\neleven."], "spare": []}, Recorder(folder))
    await outcomes(pipeline, [("When?", True)])
    assert (await replay(tmp_path, "When?"))[1][0] == "It is\neleven."


async def test_the_last_response_repeats(tmp_path: Path) -> None:
    """The n-th time gives the n-th; what was asked more often than recorded gets the last one."""
    await record(tmp_path, {"main": ["one", "two"], "spare": []}, "When?", "When?")
    async with load_played(tmp_path, {"main": [], "spare": []}, Replayer(tmp_path / "recorded")) as pipeline:
        assert [(await pipeline.run("When?")).text for _ in range(4)] == ["one", "two", "two", "two"]


async def test_pauses_of_retries_are_not_made_again(tmp_path: Path) -> None:
    """A wait that a service asked for is the service's: a replay goes on at once, by the same decisions."""
    busy = RateLimitError("too many", status=429, retry_after_s=0.01)
    folder = await record(tmp_path, {"main": [busy, "ten"], "spare": []}, "When?")
    file = recordings_in(folder)[0]
    file.write_text(file.read_text().replace("0.01", "25"))
    text = PIPELINE.replace(", fallback: [spare]", "")
    async with load_played(tmp_path, {"main": [], "spare": []}, Replayer(folder), text) as pipeline:
        answer = await pipeline.run("When?", deadline_s=60)
    assert [row.outcome for row in answer.attempts] == ["rate_limit", "ok"]
    assert answer.duration_s < 20


async def test_a_request_without_a_recording_shows_how_it_differs_and_is_not_tried_again(tmp_path: Path) -> None:
    """From the nearest one of the same model, with its file; no fallback hides it."""
    await record(tmp_path, {"main": ["x"], "spare": []}, "When does the ferry leave?", "Who pays for the mill?")
    async with load_played(tmp_path, {"main": [], "spare": []}, Replayer(tmp_path / "recorded")) as pipeline:
        with pytest.raises(NoRecordingError) as failed:
            await pipeline.run("When does the last ferry leave?")
    told = str(failed.value)
    assert '-      "content": "When does the ferry leave?",' in told
    assert '+      "content": "When does the last ferry leave?",' in told
    assert "--- main-" in told
    assert [(row.model, row.outcome, row.request_sent) for row in failed.value.attempts] == [
        ("main", "no_recording", False)
    ]


async def test_a_difference_shows_lines_whole(tmp_path: Path) -> None:
    """Also those with many clauses, which may be copied as they are."""
    line = ", ".join(f"clause {number}" for number in range(40))
    await record(tmp_path, {"main": ["x"], "spare": []}, f"{line}, when?")
    async with load_played(tmp_path, {"main": [], "spare": []}, Replayer(tmp_path / "recorded")) as pipeline:
        with pytest.raises(NoRecordingError) as failed:
            await pipeline.run(f"{line}, where?")
    told = str(failed.value).split("\n")
    assert f'-      "content": "{line}, when?",' in told
    assert f'+      "content": "{line}, where?",' in told


async def test_a_long_difference_is_cut(tmp_path: Path) -> None:
    """What a person reads has an end."""
    await record(tmp_path, {"main": ["x"], "spare": []}, "\n".join(f"line {number}" for number in range(500)))
    told = (await replay(tmp_path, "\n".join(f"other {number}" for number in range(500))))[1]
    assert told[-1] == "no_recording"
    with pytest.raises(NoRecordingError, match=r"\.\.\. and \d{3,} more lines"):
        async with load_played(tmp_path, {"main": [], "spare": []}, Replayer(tmp_path / "recorded")) as pipeline:
            await pipeline.run("\n".join(f"other {number}" for number in range(500)))


DAMAGE: Mapping[str, tuple[Callable[[str], str], str]] = {
    "cut": (lambda text: text[: len(text) // 2], "damaged or cut"),
    "empty": (lambda text: "", "damaged or cut"),
    "newer": (lambda text: text.replace('"format": 1', '"format": 2'), "newer version .format 2"),
    "foreign": (lambda text: '{"a": 1}', "it is no recording"),
    "no responses": (lambda text: '{"format": 1, "request": {}, "responses": []}', "no list of responses"),
    "odd reason": (lambda text: text.replace('"stop"', '"tired"'), "`finish_reason` is 'tired', and must be one of"),
    "odd text": (lambda text: text.replace('"text": "x"', '"text": 5'), "`text` is 5, and must be a text or a list"),
    "odd count": (lambda text: text.replace('_tokens": 3', '_tokens": "x"'), "`usage.completion_tokens` is 'x'"),
    "unknown key": (lambda text: text.replace('"text"', '"txt"'), "the key `txt` is not known, did you mean 'text'"),
    "no reason": (lambda text: text.replace('"finish_reason": "stop",', ""), "the key `finish_reason` is missing"),
}


@pytest.mark.parametrize("what", DAMAGE)
async def test_a_recording_that_cannot_be_used_is_named(what: str, tmp_path: Path) -> None:
    """With the file, the reason and what to do; the run fails."""
    damage, told = DAMAGE[what]
    file = recordings_in(await record(tmp_path, {"main": ["x"], "spare": []}, "When?"))[0]
    file.write_text(damage(file.read_text()))
    async with load_played(tmp_path, {"main": [], "spare": []}, Replayer(tmp_path / "recorded")) as pipeline:
        with pytest.raises(RecordingError, match=told) as failed:
            await pipeline.run("When?")
    assert file.name in str(failed.value)
    assert "--record" in str(failed.value)


WRONG = {
    "retry_after_s": ("x", "`error.retry_after_s` is 'x', and must be a number"),
    "status": ("abc", "`error.status` is 'abc', and must be a whole number"),
    "kind": (5, "`error.kind` is 5, and must be a text"),
    "class": ("OddError", "`error.class` is 'OddError', and must be one of AuthError"),
    "request_sent": ("no", "`error.request_sent` is 'no', and must be true or false"),
    "message": (None, "`error.message` is None, and must be a text"),
    "statuss": (5, "the key `error.statuss` is not known, did you mean 'status'"),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", WRONG)
async def test_an_error_that_is_edited_wrongly_is_named_with_its_field(
    name: str, streamed: bool, tmp_path: Path
) -> None:
    """A recording may be edited by hand; what is wrong in it is told by its file and field."""
    file = recordings_in(await record(tmp_path, {"main": ["x"], "spare": []}, "When?"))[0]
    value, told = WRONG[name]
    recorded = json.loads(file.read_text())
    recorded["responses"] = [{"error": {"class": "ServerError", "message": "down", name: value}}]
    file.write_text(json.dumps(recorded))
    async with load_played(tmp_path, {"main": [], "spare": []}, Replayer(tmp_path / "recorded")) as pipeline:
        if streamed:
            end: Any = [event async for event in pipeline.stream("When?")][-1]
            failure = end.error
        else:
            with pytest.raises(RecordingError) as failed:
                await pipeline.run("When?")
            failure = failed.value
    assert isinstance(failure, RecordingError)
    assert told in str(failure)
    assert str(file) in str(failure)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
async def test_a_pipe_among_the_recordings_is_told_and_not_waited_for(tmp_path: Path) -> None:
    """In place of what is needed, and of others, which are passed over."""
    file = recordings_in(await record(tmp_path, {"main": ["x", "y"], "spare": []}, "When?", "Who?"))[0]
    query = json.loads(file.read_text())["request"]["messages"][0]["content"]
    file.unlink()
    os.mkfifo(file)
    async with load_played(tmp_path, {"main": [], "spare": []}, Replayer(tmp_path / "recorded")) as pipeline:
        with pytest.raises(RecordingError, match="it is no regular file"):
            await pipeline.run(query)
        with pytest.raises(NoRecordingError, match="the nearest is main-"):
            await pipeline.run("Where?")


async def test_a_replay_sends_nothing_and_costs_nothing(tmp_path: Path) -> None:
    """The rows say so, also of a failure, with which nothing changes but that; the answer keeps its tokens."""
    text = PIPELINE.replace("retry: {attempts: 2", "prices: {input: 10, output: 20}, retry: {attempts: 2")
    scripts: Scripts = {"main": [ServerError("down", status=503), "ten"], "spare": []}
    async with load_played(tmp_path, scripts, Recorder(tmp_path / "recorded"), text) as pipeline:
        first = await pipeline.run("When?")
    async with load_played(tmp_path, scripts, Replayer(tmp_path / "recorded"), text) as pipeline:
        again = await pipeline.run("When?")
        assert [figures.requests for figures in pipeline.models.usage().values()] == [0, 0]
    assert [(row.outcome, row.request_sent, row.cost) for row in again.attempts] == [
        ("server_error", False, 0.0), ("ok", False, 0.0),
    ]  # fmt: skip
    assert [row.prompt_tokens for row in again.attempts] == [0, 0]
    assert [row.request_sent for row in first.attempts] == [True, True]
    assert (again.text, again.usage) == (first.text, first.usage)


async def test_a_replay_opens_no_connector_and_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a retry comes between."""

    class Opened:
        """Counts how often it is opened."""

        count = 0

        async def __aenter__(self) -> Opened:
            self.count += 1
            return self

        async def __aexit__(self, *failure: object) -> None:
            """Nothing is held."""

    def refuse(*arguments: Any) -> None:
        raise AssertionError("a connection was made")

    await record(tmp_path, {"main": [ServerError("down"), "ten"], "spare": []}, "When?")
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    opened: Any = Opened()
    opened.model_info = load_played(tmp_path, {"main": [], "spare": []}).models.get("main").info
    async with load_played(tmp_path, {"main": opened, "spare": []}, Replayer(tmp_path / "recorded")) as pipeline:
        assert (await pipeline.run("When?")).text == "ten"
    assert opened.count == 0


async def test_interceptors_in_a_chain_see_a_request_in_their_order(tmp_path: Path) -> None:
    """What stands before a replay sees what it answers, and nothing is sent."""

    class Counter(Interceptor):
        count = 0

        async def call(self, request: Any, send: Any) -> Any:
            self.count += 1
            return await super().call(request, send)

    await record(tmp_path, {"main": ["ten"], "spare": []}, "When?")
    chain = InterceptorChain(counter := Counter(), Replayer(tmp_path / "recorded"))
    assert chain.sends is False
    async with load_played(tmp_path, {"main": [], "spare": []}, chain) as pipeline:
        assert (await pipeline.run("When?")).text == "ten"
    assert counter.count == 1


@pytest.mark.parametrize("made", [False, True], ids=["no folder", "empty"])
def test_a_folder_without_recordings_is_refused_at_once(made: bool, tmp_path: Path) -> None:
    """Before anything is run."""
    folder = tmp_path / "none"
    if made:
        folder.mkdir()
    with pytest.raises(UsageError, match="--record"):
        recording_interceptor(replay=folder)
    with pytest.raises(UsageError, match="exclude"):
        recording_interceptor(folder, folder)


async def test_what_was_given_up_is_a_timeout_in_a_replay(tmp_path: Path) -> None:
    """A model that said nothing within its share is followed by the next one, as it was."""
    text = PIPELINE + "calls: {deadline: 3s}\n"
    recorded = await record(tmp_path, {"main": [[float("inf")]], "spare": ["ten"]}, "When?", text=text)
    files: Mapping[str, Any] = {path.name: json.loads(path.read_text()) for path in recordings_in(recorded)}
    assert [name for name, file in files.items() if file["responses"][0].get("abandoned")] == [
        name for name in files if name.startswith("main-")
    ]
    _, said, rows = await replay(tmp_path, "When?")
    assert said[0] == "ten"
    assert [row[:2] for row in rows] == [("main", "timeout"), ("spare", "ok")]


def test_nothing_of_the_machine_is_in_a_recording(tmp_path: Path) -> None:
    """No path, no process, no host: it is the same file wherever it was made."""
    asyncio.run(record(tmp_path, {"main": ["x"], "spare": []}, "When?"))
    text = "".join(path.read_text() for path in (tmp_path / "recorded").iterdir())
    assert not [word for word in (str(tmp_path), socket.gethostname(), str(os.getpid()) + '"') if word in text]
