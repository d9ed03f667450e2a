"""The tool `mcp`: servers that are programs and services, over real pipes and sockets, and those that mean no good."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from nexus_tools.mcp.definitions import ListedTool, choose_tools
from nexus_tools.mcp.tool import McpTools

from nexus_core import Pipeline, PluginError, RunContext, Secret, Tool, ToolError
from nexus_core.testing import ToolContract
from nexus_core.toolkit import SharedResources
from tests.plugins.tools.conftest import WritePipeline, run_command

SERVER = str(Path(__file__).with_name("mcp_server.py"))
SDK_SERVER = str(Path(__file__).with_name("mcp_sdk_server.py"))
ROOT = str(Path(__file__).parents[3])
ALLOWED = ("--allow-program", sys.executable)


def program(mode: str, *arguments: str, **options: Any) -> McpTools:
    """Return the tool over a program, whose word on what is read-only is taken."""
    command = (sys.executable, SDK_SERVER if mode == "plain" else SERVER, mode, *arguments)
    tool = McpTools(**{"command": command, "trust_read_only": True, "connect_s": 60.0, **options})
    tool.shared = SharedResources(programs=[sys.executable])
    return tool


@contextmanager
def service(*options: str) -> Iterator[str]:
    """Serve over HTTP in a process of its own; gives the URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, SDK_SERVER, "http", str(port), *options]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


async def call(tool: McpTools, name: str, **arguments: Any) -> str:
    return (await tool.call(name, arguments, RunContext())).text


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and is not waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def gone(pids: Sequence[int]) -> bool:
    for _ in range(600):
        if not any(map(is_alive, pids)):
            return True
        await asyncio.sleep(0.02)
    return False


async def test_tools_of_a_program_are_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a minimal environment; its results are texts, figures as JSON, notes for the rest; failures are errors."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    mark = tmp_path / "mark"
    async with program("plain", str(mark), env={"TOKEN": "given"}) as tool:
        definitions = {each.name: each for each in await tool.definitions(RunContext())}
        assert not definitions["echo"].changes
        assert definitions["die"].changes
        assert await call(tool, "echo", text="hallo") == "hallo"
        variables = json.loads(await call(tool, "environment"))
        assert variables["TOKEN"] == "given"
        assert set(variables) <= {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TOKEN"}
        assert json.loads(await call(tool, "figures")) == {"mills": 2, "ferries": 1}
        picture = await call(tool, "picture")
        assert picture.startswith("see\n\n(an image of the type image/png was given")
        assert "link to a resource was given, which is not followed: file:///log" in picture
        failed = await tool.call("fail", {}, RunContext())
        assert failed.is_error
        assert failed.text.startswith("Error: Error executing tool fail")
        pid = int(mark.read_text())
        assert is_alive(pid)
    assert await gone([pid])


@pytest.mark.parametrize("options", [(), ("stateless",)], ids=["sessions", "stateless"])
async def test_tools_of_a_service_are_called(options: tuple[str, ...]) -> None:
    """Over streamable HTTP, with the key; what is too large is refused, and the connection goes on."""
    with service(*options) as url:
        async with McpTools(url=url, api_key=Secret("k-1234567890"), trust_read_only=True, prefix="t_") as tool:
            assert await call(tool, "t_echo", text="hallo") == "hallo"
            assert await call(tool, "t_who") == "Bearer k-1234567890"
            with pytest.raises(ToolError):
                await call(tool, "t_large")
            assert await call(tool, "t_echo", text="again") == "again"


async def test_a_service_that_is_gone_fails_the_tool_alone() -> None:
    """The model is told, and the next call tries anew; without any service the pipeline does not begin."""
    with service() as url:
        tool = McpTools(url=url, trust_read_only=True)
        await tool.__aenter__()
    with pytest.raises(ToolError, match="not there any more"):
        await call(tool, "echo", text="hallo")
    await tool.__aexit__()
    with pytest.raises(PluginError, match="does not answer: there is no connection"):
        await McpTools(url=url).__aenter__()


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("many", "has 10,000 tools, and a model is offered at most 64 of one server"),
        ("twice", "lists two tools with the name 'same'"),
        ("hang", r"has not told its tools within 1.5 s \(connect_s\)"),
        ("flood", "does not answer: "),
    ],
)
async def test_a_server_that_cannot_be_used_fails_before_a_model_is_asked(mode: str, why: str, tmp_path: Path) -> None:
    """And is ended, however it behaves."""
    tool = program(mode, str(tmp_path / "mark"), connect_s=1.5 if mode == "hang" else 60.0)
    with pytest.raises(PluginError, match=why):
        await tool.__aenter__()
    assert await gone([int((tmp_path / "mark").read_text())])


async def test_definitions_are_chosen_and_bounded(tmp_path: Path) -> None:
    """Of ten thousand tools those that are named; of a megabyte of description a paragraph; no name that is illegal."""
    async with program("many", only=("t7", "t9999"), prefix="raw-") as tool:
        assert [each.name for each in await tool.definitions(RunContext())] == ["raw-t7", "raw-t9999"]
        assert await call(tool, "raw-t7") == "called"
    async with program("long") as tool:
        assert {len(each.description) for each in await tool.definitions(RunContext())} == {1_027}
    async with program("names") as tool:
        run = RunContext()
        assert [each.name for each in await tool.definitions(run)] == ["good"]
    async with program("junk") as tool:
        assert await call(tool, "t1") == "called"
        assert {each.description for each in await tool.definitions(RunContext())} == {"Do [31m nothing."}


def _tool(name: str, **more: Any) -> ListedTool:
    return ListedTool(**{"name": name, "description": "d", "schema": {"type": "object"}, "reads_only": True, **more})


@pytest.mark.parametrize(
    ("found", "only", "why"),
    [
        ([_tool("a")], ("b",), r"`only` names 'b', which S does not have.*: it has 'a'"),
        ([_tool("a.b")], ("a.b",), "has a name that no model can call"),
        ([_tool("a", schema={"type": "array"})], ("a",), "has arguments that are no JSON object"),
        ([_tool("a", schema={"type": "object", "x": "y" * 40_000})], ("a",), "has a JSON Schema of 40,"),
    ],
)
def test_what_is_named_and_cannot_be_offered_is_an_error(
    found: list[ListedTool], only: tuple[str, ...], why: str
) -> None:
    """What is not named is left out with a note."""
    with pytest.raises(PluginError, match=why):
        choose_tools(found, only=only, prefix="", trust_read_only=False, shown="S")
    notes = choose_tools(found, only=(), prefix="", trust_read_only=False, shown="S").notes
    assert len(notes) == (only == ("a",) or "." in only[0])


def test_each_tool_changes_something_unless_its_server_is_trusted() -> None:
    """Servers say of themselves what they like."""
    tools = [_tool("reads"), _tool("writes", reads_only=False)]
    for trusts, changing in ((False, [True, True]), (True, [False, True])):
        chosen = choose_tools(tools, only=(), prefix="", trust_read_only=trusts, shown="S")
        assert [each.changes for each in chosen.definitions] == changing


async def test_a_lost_connection_is_made_anew_once(tmp_path: Path) -> None:
    """A call that changes nothing is made again; one that may have had its effect is not, and the next one goes on."""
    async with program("plain", str(tmp_path / "mark")) as tool:
        assert await call(tool, "read_and_die") == "life 2"
        with pytest.raises(ToolError, match="which may have had its effect"):
            await call(tool, "die")
        assert (await call(tool, "figures")).startswith("{")
        with pytest.raises(ToolError, match="come back with another tool of this name"):
            await call(tool, "echo", text="hallo")


async def test_a_message_that_cannot_be_written_costs_no_later_call() -> None:
    """Half of a surrogate pair is in no JSON: the server is left, instead of waiting for calls that nobody sends."""
    async with program("honest") as tool, asyncio.timeout(30):
        with pytest.raises(ToolError, match="the connection to the server was lost"):
            await call(tool, "echo", text="half \ud800")
        assert await call(tool, "echo", text="hallo") == "hallo"


async def test_a_result_that_is_too_large_is_no_reason_to_call_again(tmp_path: Path) -> None:
    """The server is ended, and begun anew for the next call."""
    mark = tmp_path / "mark"
    async with program("plain", str(mark)) as tool:
        with pytest.raises(ToolError, match="larger than 8 MiB"):
            await call(tool, "large")
        assert len(mark.read_text().split()) == 1
        assert len(await call(tool, "rather_large")) == 2_000_000


async def test_a_server_that_changes_its_tools_is_noted_and_changes_none(tmp_path: Path) -> None:
    """Within the life of a pipeline the definitions are those that were read first."""
    async with program("plain") as tool:
        before = await tool.definitions(RunContext())
        await call(tool, "change")
        notes: list[str] = []

        class Noting(RunContext):
            def note(self, text: str) -> None:
                notes.append(text)

        for _ in range(200):
            notes.clear()
            assert await tool.definitions(Noting()) == before
            if notes:
                break
            await asyncio.sleep(0.02)
        assert "has other tools by now" in notes[0]


async def test_a_call_that_is_cancelled_is_cancelled_in_the_server(tmp_path: Path) -> None:
    """A run that is over leaves nothing under way."""
    mark = tmp_path / "mark"
    async with program("plain") as tool:
        task = asyncio.create_task(call(tool, "wait", mark=str(mark)))
        for _ in range(600):
            if mark.exists():
                break
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(600):
            if mark.read_text() == "cancelled":
                break
            await asyncio.sleep(0.02)
        assert mark.read_text() == "cancelled"
        assert await call(tool, "echo", text="still there") == "still there"


async def test_a_program_that_will_not_end_is_killed_with_what_it_has_begun(tmp_path: Path) -> None:
    """Its input is closed, SIGTERM sent, and then it is killed, its children with it."""
    mark = tmp_path / "mark"
    async with program("stubborn", str(mark)):
        pids = [int(line) for line in mark.read_text().split()]
        assert len(pids) == 2
        assert all(map(is_alive, pids))
    assert await gone(pids)


def _desk(write: WritePipeline, tmp_path: Path, mode: str = "honest", **more: Any) -> tuple[Path, Path]:
    mark = tmp_path / "mark"
    tool = {"use": "mcp", "command": [sys.executable, SERVER, mode, str(mark)], "trust_read_only": True, **more}
    return write([tool], "echo", {"text": "hallo"}), mark


async def test_no_program_outlives_a_nexus_that_is_killed(write_pipeline: WritePipeline, tmp_path: Path) -> None:
    """Also what the program has begun, and though it heeds neither the end of its input nor SIGTERM."""
    mark = tmp_path / "mark"
    code = (
        "import asyncio, sys\n"
        "from tests.plugins.tools.test_mcp import program\n"
        "async def main():\n"
        f"    async with program('stubborn', {str(mark)!r}):\n"
        "        print('open', flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    nexus = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE, cwd=ROOT)
    assert nexus.stdout is not None
    assert await nexus.stdout.readline() == b"open\n"
    pids = [int(line) for line in mark.read_text().split()]
    assert all(map(is_alive, pids))
    nexus.send_signal(signal.SIGKILL)
    await nexus.wait()
    assert await gone(pids)


def test_a_command_starts_no_program_that_is_not_allowed(
    write_pipeline: WritePipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pipeline is refused before anything begins, with the option that is missing; another name allows nothing."""
    path, mark = _desk(write_pipeline, tmp_path)
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"query": "What?"}\n')
    folder = tmp_path / "collection"
    folder.mkdir()
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "What?"}\n')
    (folder / "corpus.jsonl").write_text('{"_id": "d1", "text": "A mill."}\n')
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    for command in (
        ("run", str(path), "What?"),
        ("run", str(path), "What?", "--allow-program", "python"),
        ("serve", str(path), "--store", str(tmp_path / "store")),
        ("mcp", str(path), "--store", str(tmp_path / "store")),
        ("chat", str(path), "--store", str(tmp_path / "store")),
        ("batch", str(path), str(questions), "-o", str(tmp_path / "answers.jsonl")),
        ("eval", str(path), "--collection", str(folder)),
    ):
        assert run_command(*command) == 2, command
        told = capsys.readouterr()
        assert f"say `--allow-program {sys.executable}`" in told.out + told.err, command
        assert "desk.yaml:" in told.out + told.err
    assert not mark.exists()


def test_looking_at_a_pipeline_starts_no_program(
    write_pipeline: WritePipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lint, explain, models and schema: nor do they connect, and explain says what it does not show."""
    path, mark = _desk(write_pipeline, tmp_path)
    assert run_command("lint", str(path)) == 0
    assert run_command("models", str(path)) == 0
    assert run_command("schema") == 0
    capsys.readouterr()
    assert run_command("explain", str(path), "What?") == 0
    assert "the tools of mcp are not shown: a run alone asks what they are" in capsys.readouterr().out
    assert not mark.exists()


def test_a_command_starts_a_program_that_is_allowed(
    write_pipeline: WritePipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its tool is offered, called and told; a batch gives the same, and without trust it is told why it is not."""
    path, mark = _desk(write_pipeline, tmp_path)
    assert run_command("run", str(path), "What?", "--verbose", *ALLOWED) == 0
    told = capsys.readouterr()
    assert told.out == "offered echo\nhallo\n"
    assert re.search(r'^round 1: echo: ok, \d+\.\d\d s, \d+ tokens: {"text": "hallo"}$', told.err, re.MULTILINE), (
        told.err
    )
    questions, answers = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    questions.write_text('{"query": "What?"}\n')
    assert run_command("batch", str(path), str(questions), "-o", str(answers), *ALLOWED) == 0
    assert "hallo" in answers.read_text()
    assert len(mark.read_text().split()) == 2
    path, _ = _desk(write_pipeline, tmp_path, trust_read_only=False)
    assert run_command("run", str(path), "What?", "--verbose", *ALLOWED) == 0
    why = "note: steps[0] (generate): the tool echo changes something and is not under `allow`: not offered"
    assert why in capsys.readouterr().err


async def test_two_servers_with_a_tool_of_one_name_are_refused(write_pipeline: WritePipeline) -> None:
    """The error names the tool; a prefix tells them apart."""
    tool = {"use": "mcp", "command": [sys.executable, SERVER, "junk"], "only": ["t0"], "trust_read_only": True}
    shared = SharedResources(programs=[sys.executable])
    for prefix in ("", "other-"):
        path = write_pipeline([tool, {**deepcopy(tool), "prefix": prefix}], "t0")
        async with Pipeline.load(path, shared=shared) as pipeline:
            if prefix:
                assert (await pipeline.run("What?")).text == "offered t0,other-t0\ncalled"
            else:
                with pytest.raises(PluginError, match="both offer 't0'"):
                    await pipeline.run("What?")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "give the `command` of a program or the `url`"),
        ({"command": "x", "url": "https://example.com/mcp"}, "one of them"),
        ({"command": "x", "api_key": "k"}, "are for a `url`"),
        ({"url": "https://example.com/mcp", "env": {"A": "b"}}, "is for a `command`"),
        ({"command": "x", "env": {"LD_PRELOAD": "evil.so"}}, "'LD_PRELOAD' may not be set"),
        ({"command": "x", "env": {"PATH": "/tmp"}}, "'PATH' may not be set"),
        ({"url": "http://example.com/mcp"}, "plain http to another network"),
        ({"url": "https://me:secret@example.com/mcp"}, "hold no name or password"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: Mapping[str, Any], why: str) -> None:
    """Before anything is started."""
    with pytest.raises(ValueError, match=why):
        McpTools(**options)


class TestProgram(ToolContract):
    calls: ClassVar[Sequence[tuple[str, Mapping[str, Any]]]] = (("echo", {"text": "hallo"}),)
    failing: ClassVar[Sequence[tuple[str, Mapping[str, Any]]]] = (("echo", {"text": "fail"}),)

    def make(self) -> Tool:
        return program("honest")


def test_importing_the_tool_costs_no_sdk(tmp_path: Path) -> None:
    """It comes with the first connection: half a second, which no pipeline without the tool pays."""
    code = "import nexus_tools.mcp.tool, sys; assert not {'mcp', 'httpx2', 'anyio', 'pydantic'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={**os.environ})


async def test_a_server_of_pipelines_starts_what_is_allowed_and_ends_it(
    write_pipeline: WritePipeline, tmp_path: Path
) -> None:
    """One program for all requests; SIGTERM ends it with the server."""
    path, mark = _desk(write_pipeline, tmp_path)
    body = {"query": "What?", "contextId": "desk"}
    command = [sys.executable, "-m", "nexus_core.cli.main", "serve", str(path), "--port", "0", *ALLOWED]
    nexus = await asyncio.create_subprocess_exec(
        *command, "--store", str(tmp_path / "store"), stderr=subprocess.PIPE, cwd=tmp_path
    )
    assert nexus.stderr is not None
    try:
        url = ""
        while not url:
            line = (await nexus.stderr.readline()).decode()
            assert line, "it has ended"
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            url = found[0] if found else ""
        assert not mark.exists()
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.post(f"{url}/api/queries", json=body) as response:
                    assert r"offered echo\nhallo" in await response.text()
        (pid,) = (int(line) for line in mark.read_text().split())
        assert is_alive(pid)
        nexus.terminate()
        assert await asyncio.wait_for(nexus.wait(), 30) == 0
        assert await gone([pid])
    finally:
        if nexus.returncode is None:
            nexus.kill()


async def test_programs_that_are_allowed_are_those_of_nexus_mcp(
    write_pipeline: WritePipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the entry that clients are told, from any folder; the program ends with the one that was started by it."""
    path, mark = _desk(write_pipeline, tmp_path)
    assert (
        run_command("mcp", "install", str(path), *ALLOWED, "--store", str(tmp_path / "store"), "--client", "other") == 0
    )
    entry = json.loads(capsys.readouterr().out)["mcpServers"]["contextnexus"]
    started = StdioServerParameters(command=entry["command"], args=entry["args"], env=entry["env"], cwd="/")
    with (tmp_path / "log").open("w") as log:
        async with Client(stdio_client(started, errlog=log)) as client:
            answer = await client.call_tool("ask", {"question": "What?"})
            assert answer.structured_content["text"] == "offered echo\nhallo", answer
    assert await gone([int(line) for line in mark.read_text().split()])


async def test_a_chat_starts_a_program_that_is_allowed(write_pipeline: WritePipeline, tmp_path: Path) -> None:
    """One for all its questions, which ends with it."""
    path, mark = _desk(write_pipeline, tmp_path)
    store = ("--store", str(tmp_path / "store"))
    chat = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "nexus_core", "chat", str(path), *store, *ALLOWED,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    told, _ = await chat.communicate(b"What?\nAnd then?\n")
    assert (chat.returncode, told.count(b"hallo")) == (0, 2)
    (pid,) = (int(line) for line in mark.read_text().split())
    assert await gone([pid])
