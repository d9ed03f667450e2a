"""`--approve-tools` of `nexus run` and `nexus chat`: a person is asked before a tool changes something."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands.test_chat import CHAT, Terminal, environment

pytestmark = pytest.mark.slow

PLUGIN = '''from pathlib import Path
from nexus_core import Chunk, Completion, ModelInfo, ToolCall, ToolCallDelta, component, hookimpl, tool

INFO = ModelInfo(id="m", provider="test", window=4000, capabilities=frozenset({"generate", "streaming", "tools"}))


@component
class Booking:
    """Books once, and then says so."""

    model_info = INFO

    async def send_prompt(self, prompt, options):
        if any(message.role == "tool" for message in prompt.messages):
            return Completion(text="It is over.", finish_reason="stop")
        call = ToolCall(id="c", name="book", arguments='{"what": "a table \\\\u202e\\\\u001b[2J"}')
        return Completion(text="", finish_reason="tool_calls", tool_calls=(call,))

    async def stream_response(self, prompt, options):
        whole = await self.send_prompt(prompt, options)
        for call in whole.tool_calls:
            delta = ToolCallDelta(index=0, id=call.id, name=call.name, arguments=call.arguments)
            yield Chunk(tool_calls=(delta,))
        yield Chunk(whole.text, finish_reason=whole.finish_reason)


@tool(changes=True)
def book(what: str) -> str:
    """Book something."""
    Path("booked.txt").write_text(what)
    return "booked"


@hookimpl
def nexus_connectors():
    return [Booking]


@hookimpl
def nexus_tools():
    return [book]
'''
PIPELINE = """name: desk
plugins: [./desk.py]
models: {main: {use: desk}}
steps: [{generate: {model: main, tools: [desk.book], allow: [book]}}]
"""
COMMAND = [sys.executable, "-m", "nexus_core.cli.main", "run", "desk.yaml", "Book a table."]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "desk.py").write_text(PLUGIN)
    (tmp_path / "desk.yaml").write_text(PIPELINE)
    return tmp_path


@pytest.mark.parametrize(("typed", "booked"), [(b"y\n", True), (b"n\n", False), (b"\n", False), (b"\x04", False)])
def test_a_person_is_asked_at_the_terminal(folder: Path, typed: bytes, booked: bool) -> None:
    """With the tool and its arguments, in which nothing steers the terminal; only `y` agrees."""
    parent, child = pty.openpty()
    process = subprocess.Popen([*COMMAND, "--approve-tools"], cwd=folder, stdin=child, stdout=child, stderr=child)
    os.close(child)
    shown = b""
    with open(parent, "r+b", buffering=0) as terminal:
        while b"[y/N]" not in shown:
            shown += terminal.read(4096)
        assert b"wants to call book: Book something." in shown
        assert b"a table \\u202e\\u001b[2J" in shown
        assert not (folder / "booked.txt").exists()
        terminal.write(typed)
        assert process.wait(30) == 0
        shown += terminal.read(4096)
    assert b"It is over." in shown
    assert (folder / "booked.txt").exists() is booked


@pytest.mark.parametrize(("command", "asks"), [(COMMAND, True), ([*CHAT, "desk.yaml"], True), (COMMAND, False)])
def test_without_a_terminal_nobody_can_be_asked(folder: Path, command: list[str], asks: bool) -> None:
    """Whoever wants to be asked is told so; else what the pipeline allows is called."""
    command = [*command, *(["--approve-tools"] if asks else [])]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, (folder / "booked.txt").exists()) == ((2, False) if asks else (0, True))
    assert ("leave it out to rely on `allow`" in done.stderr) is asks


async def test_in_a_chat_the_person_is_asked_between_questions_of_their_own(folder: Path) -> None:
    """What is typed before a question is no answer to it, and one that Ctrl-C takes back reads on no more."""
    terminal = Terminal([*CHAT, "desk.yaml", "--approve-tools"], folder, environment(folder))
    booked = folder / "booked.txt"
    try:
        await terminal.see("> ")
        for typed, books in (("y\n", True), ("n\n", False)):
            booked.unlink(missing_ok=True)
            terminal.type("Book a table.\ny\n")
            assert "wants to call book: Book something." in await terminal.see("[y/N]")
            assert not booked.exists()
            terminal.type(typed)
            await terminal.see("It is over.")
            await terminal.see("> ")
            assert booked.exists() is books
        terminal.type("Book a table.\n")
        await terminal.see("[y/N]")
        await terminal.interrupt("cancelled")
        await terminal.see("> ")
        terminal.type("/help\n")  # a read that goes on would take it
        await terminal.see("/quit")
        await terminal.see("> ")
        terminal.type("/quit\n")
        code, _ = await terminal.end()
    finally:
        terminal.close()
    assert (code, booked.exists()) == (0, False)
