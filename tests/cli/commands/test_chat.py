"""`nexus chat`: on a real terminal and over a pipe, with a scripted service on loopback."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import stat
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nexus_core import Store
from nexus_core.store.conversations.conversation import Turn
from nexus_core.testing.upstream import (
    Gate,
    Reset,
    ScriptedUpstream,
    Silence,
    chat_events,
    json_answer,
    stream_answer,
)

pytestmark = pytest.mark.slow

CHAT = [sys.executable, "-m", "nexus_core.cli.main", "chat"]
PIPELINE = """
name: talk
models:
  main: {use: openai, model: gpt-4o-mini, api_key: k, base_url: "%s", retry: {attempts: 1}}
  quotes: {use: extractive}
steps:
  - gather: {use: files, paths: ["*.md"]}
  - rank: bm25
  - prompt: qa
  - generate: main
"""
MARKDOWN = ("## Lea", "ve\n\nThere are **fi", "ve** days [1].\n\n", "- one\n- two\n")
WAIT_S = 60.0
AGAIN_S = 2.0
_ON_TERMINAL = """
import os, signal, sys
os.login_tty(0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes the terminal that of a process, so that Ctrl-C reaches it; between fork and exec Python warns of threads. Who
runs the tests may have it ignored, as shells do for what runs in the background; a terminal's programs hear it."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[a-zA-Z]|\][^\x07\x1b]*(?:\x07|\x1b\\))")


class Terminal:
    """A process on a terminal of its own, 80 by 24."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._parent, child = pty.openpty()
        termios.tcsetwinsize(child, (24, 80))
        started = [sys.executable, "-c", _ON_TERMINAL, *command]
        self.process = subprocess.Popen(started, cwd=folder, env=environment, stdin=child, stdout=child, stderr=child)
        os.close(child)
        self.shown = self.greeting = ""

    async def see(self, text: str) -> str:
        """Return what was shown up to a text, and since the last one."""
        async with asyncio.timeout(WAIT_S):
            while text not in self.shown:
                part = await asyncio.to_thread(self._read)
                assert part, f"ended without {text!r}: {self.shown!r}"
                self.shown += part
        before, _, self.shown = self.shown.partition(text)
        return before + text

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._parent, text.encode())

    async def interrupt(self, text: str) -> None:
        """Press Ctrl-C until a text is seen: `input` does not notice one that comes before it waits for a key."""
        seen = asyncio.ensure_future(self.see(text))
        while not seen.done():
            self.type("\x03")
            await asyncio.wait([seen], timeout=AGAIN_S)
        await seen

    async def end(self) -> tuple[int, str]:
        """Return the exit code and what else was shown."""
        async with asyncio.timeout(WAIT_S):
            while part := await asyncio.to_thread(self._read):
                self.shown += part
        return await asyncio.to_thread(self.process.wait, WAIT_S), self.shown

    def close(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait()
        os.close(self._parent)

    def _read(self) -> str:
        try:
            return os.read(self._parent, 65536).decode(errors="replace")
        except OSError:  # how Linux says that the other side of a terminal is closed
            return ""


def written(shown: str) -> str:
    """Return what was shown without what moves the cursor and colours."""
    return _ESCAPES.sub("", shown).replace("\r\n", "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with something to ask about."""
    (tmp_path / "leave.md").write_text("# Leave\n\nUp to five days of leave may be carried over until March.\n")
    return tmp_path


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the variables of a user whose home is the folder."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    own = {"NEXUS_STORE": str(folder / "store"), "XDG_STATE_HOME": str(folder / "state"), "HOME": str(folder)}
    return {**kept, **own, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PYTHONWARNINGS": "error", **more}


@asynccontextmanager
async def chat(folder: Path, upstream: ScriptedUpstream, *options: str, **variables: str) -> AsyncIterator[Terminal]:
    """Begin a chat on a terminal."""
    (folder / "talk.yaml").write_text(PIPELINE % upstream.url)
    terminal = Terminal([*CHAT, "talk.yaml", *options], folder, environment(folder, **variables))
    try:
        terminal.greeting = await terminal.see("> ")
        yield terminal
    finally:
        terminal.close()


async def turns(folder: Path) -> list[Turn]:
    """Return all turns that the store of a folder keeps."""
    async with Store(folder / "store") as store:
        conversations = await store.conversations.list()
        return [turn for each in conversations for turn in await store.conversations.turns(each.id)]


async def test_answers_are_drawn_as_markdown_and_the_conversation_is_kept(folder: Path) -> None:
    """Marks of Markdown are gone, sources listed; the next question has the history; commands do what they say."""
    scripts = [stream_answer(chat_events(*MARKDOWN)), stream_answer(chat_events("The lead [1]."))]
    async with ScriptedUpstream(*scripts) as upstream:
        async with chat(folder, upstream) as terminal:
            terminal.type("How many days?\n")
            shown = written(await terminal.see("leave.md, line 3)"))
            assert ("##" in shown, "**five**" in shown, " • two" in shown, "five days [1]" in shown) == (
                False, False, True, True,
            )  # fmt: skip
            terminal.type('"""And who\napproves it?"""\n')
            await terminal.see("The lead")
            await terminal.see("> ")
            terminal.type("/sources 1\n")
            await terminal.see("may be carried over")
            terminal.type("/explain\n")
            await terminal.see("What became of")
            terminal.type("/save talk.md\n")
            await terminal.see("2 turns written to talk.md")
            terminal.type("/save talk.md\n")
            await terminal.see("is there already")
            terminal.type("/model quotes\n")
            await terminal.see("from now on quotes is asked")
            terminal.type("Carried over until?\n")
            await terminal.see("until March")
            await terminal.see("> ")
            terminal.type("\x04")
            assert (await terminal.end())[0] == 0
        async with chat(folder, upstream, "--continue") as terminal:
            assert "3 turns so far, the last: Carried over until?" in terminal.greeting
            terminal.type("\x1b[A\n")  # the last line of the first chat
            await terminal.see("The lead")
            await terminal.see("> ")
            terminal.type("/quit\n")
            assert (await terminal.end())[0] == 0
    said = [message["content"] for message in upstream.requests[1].json()["messages"]]
    assert ("How many days?" in said, "And who\napproves it?" in said[-1]) == (True, True)
    assert [turn.query for turn in await turns(folder)] == [
        "How many days?", "And who\napproves it?", "Carried over until?", "Carried over until?",
    ]  # fmt: skip
    saved = (folder / "talk.md").read_text()
    assert ("## And who approves it?" in saved, "- [1] Leave  (leave.md, line 3)" in saved) == (True, True)
    history = folder / "state" / "contextnexus" / "chat_history"
    assert ("How many days?" in history.read_text(), stat.S_IMODE(history.stat().st_mode)) == (True, 0o600)


async def test_retry_puts_the_new_answer_in_the_place_of_the_old_one(folder: Path) -> None:
    """As it was asked or edited, by what came before it; what is cancelled or fails leaves the old one there."""
    begun = stream_answer([*chat_events("Begun ")[:2], Silence()])
    refused = json_answer({"error": {"message": "no"}}, status=400)
    texts = ("One.", "Two.", "Three.", "Four.")
    first, second, third, fourth = (stream_answer(chat_events(text)) for text in texts)
    async with (
        ScriptedUpstream(first, second, third, refused, begun, fourth) as upstream,
        chat(folder, upstream, TERM="dumb") as terminal,
    ):
        terminal.type("/retry\n")
        await terminal.see("nothing to ask again")
        for line, shown in (("First?", "One."), ("Second?", "Two."), ("/retry", "Three."), ("/retry", "Error: ")):
            terminal.type(f"{line}\n")
            await terminal.see(shown)
            await terminal.see("> ")
        terminal.type("/retry Second, in short?\n")
        await terminal.see("Begun")
        terminal.type("\x03")
        await terminal.see("the old answer stays")
        assert [(turn.query, turn.answer) for turn in await turns(folder)] == [
            ("First?", "One."), ("Second?", "Three."),
        ]  # fmt: skip
        terminal.type("/retry Second, in short?\n")
        await terminal.see("Four.")
        terminal.type("/quit\n")
        assert (await terminal.end())[0] == 0
    assert [(turn.query, turn.answer) for turn in await turns(folder)] == [
        ("First?", "One."), ("Second, in short?", "Four."),
    ]  # fmt: skip
    last = str(upstream.requests[-1].json()["messages"])
    assert ("One." in last, "Two." in last, "Three." in last) == (True, False, False)


async def test_ctrl_c_cancels_the_answer_and_ends_at_the_prompt(folder: Path) -> None:
    """The upstream is left at once, nothing of the answer is kept; the second at the prompt ends the chat."""
    begun = stream_answer([chat_events("Begun ")[0], chat_events("Begun ")[1], Silence()])
    async with (
        ScriptedUpstream(begun, stream_answer(chat_events("Whole."))) as upstream,
        chat(folder, upstream) as terminal,
    ):
        terminal.type("First?\n")
        await terminal.see("Begun")
        terminal.type("\x03")
        await terminal.see("cancelled")
        assert await upstream.left_open(WAIT_S) == []
        terminal.type("Second?\n")
        await terminal.see("Whole.")
        await terminal.see("> ")
        await terminal.interrupt("Ctrl-C once more")
        await terminal.interrupt("interrupted")
        assert (await terminal.end())[0] == 130
    assert [(turn.query, turn.answer) for turn in await turns(folder)] == [("Second?", "Whole.")]


async def test_a_stream_that_is_cut_says_so_and_the_chat_goes_on(folder: Path) -> None:
    """What came of it is no answer, and is not kept."""
    gate = Gate()
    cut = stream_answer([*chat_events("Half ")[:2], gate, Reset()])
    async with (
        ScriptedUpstream(cut, stream_answer(chat_events("Whole."))) as upstream,
        chat(folder, upstream, TERM="dumb") as terminal,
    ):
        terminal.type("First?\n")
        await terminal.see("Half")
        gate.open()
        await terminal.see("not a whole answer")
        await terminal.see("Error: ")
        terminal.type("Second?\n")
        await terminal.see("Whole.")
        terminal.type("/quit\n")
        assert (await terminal.end())[0] == 0
    assert [turn.query for turn in await turns(folder)] == ["Second?"]


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"NO_COLOR": "1"}], ids=lambda each: next(iter(each)))
async def test_a_terminal_without_colour_is_given_the_text_as_it_is(folder: Path, variables: dict[str, str]) -> None:
    """Marks of Markdown and all, without anything that moves a cursor."""
    async with (
        ScriptedUpstream(stream_answer(chat_events(*MARKDOWN))) as upstream,
        chat(folder, upstream, **variables) as terminal,
    ):
        terminal.type("How many days?\n")
        shown = await terminal.see("leave.md, line 3)")
    assert "## Leave\r\n\r\nThere are **five** days [1].\r\n\r\n- one\r\n- two\r\n" in shown


async def test_lines_of_a_pipe_are_questions(folder: Path) -> None:
    """Plain text on stdout, what else is said on stderr; exit code 1 where one had no whole answer."""
    lines = b'First\\\nor so?\n"""Second\n?"""\n/qiut\nThird?\n\xff\n'
    scripts = [stream_answer(chat_events(*texts)) for texts in (MARKDOWN, ("Two.\x1b[2J",))]
    refused = json_answer({"error": {"message": "no"}}, status=400)
    async with ScriptedUpstream(*scripts, refused, scripts[1]) as upstream:
        (folder / "talk.yaml").write_text(PIPELINE % upstream.url)
        process = await asyncio.create_subprocess_exec(
            *CHAT, "talk.yaml", cwd=folder, env=environment(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate(lines)
    assert process.returncode == 1, err
    assert out.decode() == (
        "## Leave\n\nThere are **five** days [1].\n\n- one\n- two\n\n\nSources:\n  [1] Leave  (leave.md, line 3)\n\n"
        "Two.\\u001b[2J\n\nTwo.\\u001b[2J\n"
    )
    assert "Error: there is no command /qiut, did you mean '/quit'? /help lists them" in err.decode()
    assert [turn.query for turn in await turns(folder)] == ["First\nor so?", "Second\n?", "\ufffd"]


def test_a_context_is_chatted_with_offline(folder: Path) -> None:
    """The only one there is needs no name; a misspelt one is told. What draws is imported for a terminal alone."""

    def run(*arguments: str, lines: str = "") -> subprocess.CompletedProcess[str]:
        command = [*CHAT[:-1], *arguments]
        return subprocess.run(
            command, cwd=folder, env=environment(folder), input=lines, capture_output=True, text=True, check=False
        )

    question = "How many days of leave can be carried over?\n"
    empty = run("chat", lines=question)
    assert (empty.returncode, "there is no context yet" in empty.stderr) == (2, True)
    assert run("context", "add", "handbook", "leave.md").returncode == 0
    ended = run("chat", lines=question)
    assert (ended.returncode, "Up to five days" in ended.stdout, "offline" in ended.stderr) == (0, True, True)
    wrong = run("chat", "handbok", lines=question)
    assert (wrong.returncode, "did you mean 'handbook'" in wrong.stderr) == (2, True)
    program = "import sys; from nexus_core.cli.main import main\ntry: main(['chat'])\nfinally: print(*sys.modules)"
    command = [sys.executable, "-c", program]
    loaded = subprocess.run(
        command, cwd=folder, env=environment(folder), input=question, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"rich", "readline"}.isdisjoint(loaded)
