"""`nexus mcp`: a real child process that the SDK's client speaks to over its pipes, and what clients are told of it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TextIO

import anyio
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from nexus_core import Item, Store
from nexus_core.cli.commands.mcp.client_file import write_entry
from nexus_core.cli.commands.mcp.serve import MISSING
from nexus_core.cli.main import main
from nexus_core.testing.upstream import ScriptedUpstream, Silence

pytestmark = pytest.mark.slow

ERAS = {"handshake": "legacy", "envelope": "2026-07-28"}
QUOTES = """name: handbook
description: Quotes the handbook.
models: {main: {use: extractive}}
steps:
  - gather: {use: store}
  - prompt: chat
  - generate: main
"""
ASKS = """name: asks
models: {{main: {{use: openai, model: m, base_url: "{url}", api_key: sk-test, window: 8192, retry: {{attempts: 1}}}}}}
steps:
  - generate: main
"""


@asynccontextmanager
async def child(folder: Path, mode: str, *arguments: str) -> AsyncIterator[Client]:
    """Start `nexus mcp` in a folder, and connect to it."""
    program = StdioServerParameters(
        command=sys.executable,
        args=["-m", "nexus_core", "mcp", *arguments],
        cwd=str(folder),
        env={"NEXUS_STORE": str(folder / "store"), "PATH": os.environ["PATH"]},
    )
    with log_of(folder) as log:
        async with Client(stdio_client(program, errlog=log), mode=mode) as client:
            yield client


def log_of(folder: Path) -> TextIO:
    """Open what a child writes to stderr."""
    return (folder / "log").open("a")


async def fill(folder: Path) -> None:
    """Make a store with a context."""
    async with Store(folder / "store") as store:
        await store.create("staff")
        await store.add("staff", [Item(id="leave", title="Leave", text="Everybody has 28 days of leave a year.")])


@pytest.mark.parametrize("mode", ERAS.values(), ids=ERAS)
async def test_a_program_that_starts_it_lists_calls_reads_and_gets_prompts(tmp_path: Path, mode: str) -> None:
    """With progress; the pipelines are those of the folder `pipelines`, and all that is logged goes to stderr."""
    await fill(tmp_path)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "handbook.yaml").write_text(QUOTES)
    told: list[str | None] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)

    async with child(tmp_path, mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["search", "read", "ask", "ask_handbook"]
        asked = {"question": "How many days of leave?", "context": "staff"}
        answer = (await client.call_tool("ask", asked, progress_callback=note)).structured_content
        assert answer["text"] == "Everybody has 28 days of leave a year. [1]"
        (contents,) = (await client.read_resource(answer["citations"][0]["uri"])).contents
        assert "28 days" in str(contents)
        assert "28 days" in str(await client.get_prompt("handbook", asked))
        wrong = await client.call_tool("search", {"context": "nowhere", "query": "leave"})
        assert (wrong.is_error, "there is no context 'nowhere'" in str(wrong.content)) == (True, True)
    assert told == ["searching", "searched: 1 item", "asking main"]


async def test_without_pipelines_it_serves_the_one_of_ask(tmp_path: Path) -> None:
    """Over every context of the store, as `nexus serve` does."""
    await fill(tmp_path)
    async with child(tmp_path, "legacy") as client:
        answer = await client.call_tool("ask", {"question": "How many days of leave?", "context": "staff"})
        assert "28 days of leave" in answer.structured_content["text"]
    assert "the pipeline of `nexus ask` is served" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("mode", ERAS.values(), ids=ERAS)
async def test_a_call_that_is_cancelled_ends_at_its_upstream(tmp_path: Path, mode: str) -> None:
    """And the process serves on."""
    async with ScriptedUpstream([Silence()]) as upstream:
        (tmp_path / "asks.yaml").write_text(ASKS.format(url=upstream.url))
        async with child(tmp_path, mode, "asks.yaml") as client:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(client.call_tool, "ask", {"question": "Is it so?"})
                    async with asyncio.timeout(30):
                        while not upstream.requests:  # noqa: ASYNC110 - the upstream counts and has no event
                            await asyncio.sleep(0.01)
                    scope.cancel()
            assert await upstream.connections[0].closed_within(10)
            assert (await client.list_tools()).tools


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what `nexus mcp install` prints."""
    with pytest.raises(SystemExit) as ended:
        main(["mcp", "install", *arguments])
    assert not ended.value.code
    return capsys.readouterr().out


async def test_what_clients_are_told_starts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every entry, from any folder: by its command line, with the pipelines and the store that were meant."""
    await fill(tmp_path)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "handbook.yaml").write_text(QUOTES)
    monkeypatch.chdir(tmp_path)
    found: list[tuple[list[str], dict[str, str]]] = []
    for client, place in (
        ("claude-desktop", "mcpServers"), ("vscode", "servers"), ("cursor", "mcpServers"), ("zed", "context_servers"),
        ("other", "mcpServers"),
    ):  # fmt: skip
        entry = json.loads(told(capsys, "--client", client, "--store", "store"))[place]["contextnexus"]
        found.append(([entry["command"], *entry["args"]], entry["env"]))
    words = shlex.split(told(capsys, "--client", "claude-code", "--store", "store"))
    variables = dict(words[at + 1].split("=", 1) for at, word in enumerate(words) if word == "--env")
    found.append((words[words.index("--") + 1 :], variables))
    with monkeypatch.context() as shell:
        shell.setenv("NEXUS_STORE", "store")
        entry = json.loads(told(capsys, "--client", "other"))["mcpServers"]["contextnexus"]
        found.append(([entry["command"], *entry["args"]], entry["env"]))
    assert all(each == found[0] for each in found)
    assert capsys.readouterr().err == ""
    command, environment = found[0]
    program = StdioServerParameters(command=command[0], args=command[1:], cwd="/", env=environment)
    with log_of(tmp_path) as log:
        async with Client(stdio_client(program, errlog=log), mode="legacy") as client_of_it:
            tools = {tool.name: tool for tool in (await client_of_it.list_tools()).tools}
    assert tools["ask_handbook"].input_schema["properties"]["context"]["enum"] == ["staff"]


def test_an_address_is_told_with_the_variable_of_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    """Never with a key: nobody is asked for one."""
    url = "https://nexus.example.com/mcp"
    whole = told(capsys, "--url", url, "--key-variable", "STAFF_KEY")
    assert whole.count(url) == 6
    code = shlex.split(told(capsys, "--url", url, "--key-variable", "STAFF_KEY", "--client", "claude-code"))
    assert code[-3:] == [url, "--header", "Authorization: Bearer $STAFF_KEY"]
    entry: Any = json.loads(told(capsys, "--url", url, "--client", "vscode"))["servers"]["contextnexus"]
    assert entry == {"type": "http", "url": url, "headers": {"Authorization": "Bearer ${env:NEXUS_API_KEY}"}}
    assert "Authorization" not in told(capsys, "--url", url, "--key-variable", "")
    assert told(capsys, "--url", "https://nexus.example.com/") == told(capsys, "--url", url)
    assert '"https://example.com/nexus/mcp"' in told(capsys, "--url", "https://example.com/nexus/mcp")


def test_an_entry_is_written_beside_what_is_there_and_a_copy_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the file of the client, which is made where there is none; also through a link, and twice."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "USERPROFILE", "APPDATA", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    there = {"theme": "dark", "mcpServers": {"other": {"command": "x"}}}
    file, real = tmp_path / "home/.cursor/mcp.json", tmp_path / "dotfiles.json"
    file.parent.mkdir(parents=True)
    real.write_text("\N{BYTE ORDER MARK}" + json.dumps(there), "utf-8")
    real.chmod(0o640)
    file.symlink_to(real)
    shown = told(capsys, "--client", "cursor", "--write")
    entry = json.loads(shown)["mcpServers"]["contextnexus"]
    told(capsys, "--client", "cursor", "--write", "--name", "again")
    servers = {"other": {"command": "x"}, "contextnexus": entry, "again": entry}
    assert json.loads(real.read_text("utf-8")) == {"theme": "dark", "mcpServers": servers}
    assert (file.is_symlink(), real.stat().st_mode & 0o777) == (True, 0o640)
    assert json.loads((tmp_path / "dotfiles.json.bak").read_text("utf-8-sig")) == there
    assert (tmp_path / "dotfiles.json.bak2").exists()
    for client, key in (("claude-desktop", "mcpServers"), ("vscode", "servers"), ("other", "mcpServers")):
        whole = json.loads(told(capsys, "--client", client, "--write"))
        (written,) = [path for path in tmp_path.rglob("*.json") if path not in (real, file)]
        assert json.loads(written.read_text("utf-8")) == whole
        assert [*whole] == [key]
        written.unlink()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"mcpServers": {}, // mine\n}', "no plain JSON"), ("[]", "no mapping `mcpServers`"),
        ('{"mcpServers": 1}', "no mapping `mcpServers`"), ('{"a": 1, "a": 2}', "a key stands twice"),
        ("{", "no plain JSON"), ('{"a": 1e999}', "a number that is none of JSON"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_understood_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    """The entry is printed all the same, and nothing else comes to be there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".mcp.json").write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["mcp", "install", "--client", "other", "--write"])
    captured = capsys.readouterr()
    assert (ended.value.code, said in captured.err, "mcpServers" in captured.out) == (2, True, True), captured.err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(".mcp.json", text)]


@pytest.mark.skipif(sys.platform == "win32", reason="links and named pipes of another system")
def test_an_entry_is_written_to_no_pipe_and_no_loop_of_links(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and nothing is waited for; a half of a surrogate pair in the file stays one."""
    monkeypatch.chdir(tmp_path)
    file = Path(".mcp.json")
    for make, said in ((os.mkfifo, "is no file"), (lambda path: file.symlink_to(path), "leads to nothing")):
        make(file)
        with pytest.raises(SystemExit):
            main(["mcp", "install", "--client", "other", "--write"])
        assert said in capsys.readouterr().err
        file.unlink()
    file.write_text('{"a": "\\ud800"}')
    told(capsys, "--client", "other", "--write")
    assert json.loads(file.read_text())["a"] == "\ud800"


def test_entries_that_are_written_at_once_are_all_there(tmp_path: Path) -> None:
    """Each command finds what the one before has written."""
    file, entries = tmp_path / "a.json", [f"n{number}" for number in range(16)]
    file.write_text('{"theme": "dark"}')
    with ThreadPoolExecutor(8) as threads:
        [*threads.map(lambda name: write_entry(file, "mcpServers", name, {"command": name}), entries)]
    assert sorted(json.loads(file.read_text())["mcpServers"]) == sorted(entries)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--write"], "add --client, one of claude-desktop, vscode, cursor and other"),
        (["--write", "--client", "zed"], "--write is for the clients"),
        (["--url", "nexus.example.com"], "no address of a server"),
        (["--url", "https://me:secret@nexus.example.com/mcp"], "no address of a server"),
        (["--url", "https://nexus.example.com/mcp", "--store", "x"], "leave PIPELINES, --store and --allow"),
        (["--url", "https://nexus.example.com/mcp", "--allow-program", "x"], "leave PIPELINES, --store and --allow"),
        (["--store", "postgresql://me:secret@db/nexus"], "--store-url-file"),
        (["nowhere.yaml"], "no file or folder nowhere.yaml"),
        (["--name", "a b"], "no name for all clients"),
        (["--key-variable", "$(rm)"], "no name of an environment variable"),
    ],
)
def test_what_cannot_be_told_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """With the reason, and exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(["mcp", "install", *arguments])
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out, said in captured.err) == (2, "", True), captured.err


def test_without_the_extra_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything else is looked at."""
    for name in ("nexus_core.server.mcp.stdio", "nexus_core.server.mcp.protocol_server"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "mcp.server.stdio", None)
    with pytest.raises(SystemExit) as ended:
        main(["mcp", "nowhere.yaml"])
    assert (ended.value.code, MISSING in capsys.readouterr().err) == (2, True)


def test_a_server_imports_the_sdk_with_the_first_request_alone() -> None:
    """Nor do `nexus --help` and what is printed for clients."""
    modules = "nexus_core.cli.commands.serve, nexus_core.cli.commands.mcp.install, nexus_core.cli.commands.mcp.serve"
    code = f"import sys, {modules}; print(sorted({{'mcp', 'mcp_types', 'anyio', 'pydantic'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
