"""`nexus ask -f FILE` and a pipe: context of one question, which no store keeps; and what would be sent."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from docx import Document

from nexus_core.cli.main import main
from nexus_core.cli.run_options import PIPELINE
from nexus_core.testing.upstream import ScriptedUpstream, completion, json_answer

pytestmark = pytest.mark.slow

Nexus = Callable[..., tuple[int, str, str]]
DIFF = "diff --git a/door.py b/door.py\n@@ -1,2 +1,2 @@\n def colour():\n-    return 'red'\n+    return 'green'\n"
QUESTION = "How many days of leave can be carried over?"


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nexus:
    """Run a command with bytes on standard input; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "NEXUS_MODEL", "NEXUS_CONTEXT"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, piped: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped), "utf-8"))
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    (tmp_path / "leave.md").write_text("# Leave\n\nUp to five days of leave may be carried over until March.\n")
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "leave.md").write_text("# Team\n\nThe team lead approves leave.\n")
    return run


def docx(text: str) -> bytes:
    """Return a Word file of one paragraph."""
    document, file = Document(), io.BytesIO()
    document.add_paragraph(text)
    document.save(file)
    return file.getvalue()


def test_files_are_asked_about_and_none_is_kept(nexus: Nexus, tmp_path: Path) -> None:
    """Two of one name are cited by their paths; there is no store afterwards."""
    code, out, err = nexus("ask", "-f", "leave.md", "-f", "team/leave.md", "Who", "approves", "leave?")
    assert (code, "The team lead approves leave." in out, "team/leave.md" in out) == (0, True, True), err
    assert nexus("ask", "-f", "leave.md", QUESTION)[1].startswith("Up to five days")
    assert not (tmp_path / "store").exists()


def test_a_folder_is_asked_about_and_what_cannot_be_read_is_named(nexus: Nexus, tmp_path: Path) -> None:
    """A binary file among others is left out with its reason."""
    (tmp_path / "team" / "tool").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(range(256)))
    code, out, err = nexus("ask", "-f", "team", "Who approves leave?")
    assert (code, "team lead" in out, "note: team/tool: is binary" in err) == (0, True, True), err


@pytest.mark.parametrize(
    ("arguments", "piped", "said"),
    [
        (["Which colour is returned?"], DIFF.encode(), "green"),
        (["Where", "does", "the", "crane", "stand?"], docx("The crane stands in Graz."), "The crane stands in Graz."),
        (["-f", "leave.md", "-f", "-", "Where does the crane stand?"], b"The crane stands in Graz.", "in Graz"),
        (["-f", "leave.md"], QUESTION.encode(), "Up to five days"),
        (["-f", "leave.md", "-"], QUESTION.encode(), "Up to five days"),
    ],
    ids=["text", "binary", "with a file", "question", "question by a dash"],
)
def test_a_pipe_is_read_as_what_it_is(nexus: Nexus, arguments: list[str], piped: bytes, said: str) -> None:
    """Text, or a file by its bytes; or the question, where files are named and no word is."""
    code, out, err = nexus("ask", *arguments, piped=piped)
    assert (code, said in out) == (0, True), out + err


@pytest.mark.parametrize(
    ("arguments", "piped", "message"),
    [
        (["what changed?"], b" \n", "standard input is empty, there is no context 'what changed?'"),
        (["what changed?"], b"", "standard input is empty"),
        (["what is it?"], b"\x7fELF\x02\x01\x01" + bytes(range(256)), "stdin: is binary"),
        (["-f", "nowhere.md", "x"], b"", "there is no file or folder nowhere.md"),
        (["-f", "astray", "x"], b"", "Error: astray is a link that leads nowhere"),
        (["-f", "bare", "x"], b"", "there is no text to ask about\n  there is no file to read: "),
        (["-f", "leave.md"], b"", "standard input holds no query"),
        (["-f", "-", "-"], b"x", "a question is missing"),
        (["handbok", "x", "-f", "leave.md"], b"", "did you mean 'handbook'"),
        (["handbok", "x"], b"not read", "did you mean 'handbook'"),
        (["handbook", "-", "-f", "-"], b"x", "the question or a file, not both"),
    ],
    ids=[
        "blank",
        "empty",
        "binary",
        "absent",
        "link",
        "empty folder",
        "no question",
        "twice",
        "misspelt",
        "misspelt, piped",
        "both",
    ],
)
def test_what_cannot_be_asked_is_told(nexus: Nexus, arguments: list[str], piped: bytes, message: str) -> None:
    """Exit code 2, nothing on stdout, and what to do."""
    Path("astray").symlink_to("astray")
    Path("bare").mkdir()
    assert nexus("context", "add", "handbook", "leave.md")[0] == 0
    code, out, err = nexus("ask", *arguments, piped=piped)
    assert (code, out, message in err) == (2, "", True), err


def test_a_pipe_is_bounded(nexus: Nexus, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not end is an error, and not all of the memory."""
    monkeypatch.setattr("nexus_core.cli.question_files.MOST_STDIN_BYTES", 10)
    code, _, err = nexus("ask", "what is it?", piped=b"0123456789a")
    assert (code, "standard input is longer than 10 bytes" in err) == (2, True), err


def test_a_context_and_a_pipe_are_asked_together(nexus: Nexus) -> None:
    """By -f -; without it standard input is left alone, as in a loop that reads it."""
    assert nexus("context", "add", "handbook", "leave.md")[0] == 0
    asked = ("ask", "handbook", "Where is leave, and where does it stand?", "--json")
    told = [json.loads(nexus(*asked, *more, piped=b"It stands in Graz.")[1]) for more in ((), ("-f", "-"))]
    packed = [{each["id"] for each in answer["metadata"]["contextItems"]} for answer in told]
    assert packed == [{"leave.md"}, {"leave.md", "stdin"}]


def test_a_real_pipe_of_a_shell_is_asked(nexus: Nexus, tmp_path: Path) -> None:
    """Two processes, joined by a shell."""
    command = f'printf "The crane stands in Graz." | {sys.executable} -m nexus_core.cli.main ask "Where is the crane?"'
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (ended.returncode, "in Graz" in ended.stdout) == (0, True), ended.stderr


async def test_a_model_is_sent_the_whole_file_and_told_what_was_left_out(
    nexus: Nexus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All lines in their order where they fit; what does not fit the window is named."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    lines = [f"Line {number} of the log tells of pump {number}.\n" for number in range(400)]
    (tmp_path / "pumps.txt").write_text("".join(lines))
    async with ScriptedUpstream(json_answer(completion("All is well."))) as upstream:
        own = PIPELINE.read_text().replace("use: openai\n", f"use: openai\n    base_url: {upstream.url}\n")
        (tmp_path / "ask.yaml").write_text(own)
        monkeypatch.setattr("nexus_core.cli.commands.ask.PIPELINE", tmp_path / "ask.yaml")
        asked = ("ask", "-f", "pumps.txt", "What is pump 7?")
        code, out, err = await asyncio.to_thread(nexus, *asked)
        assert (code, "All is well." in out, "Of " in err) == (0, True, False), err
        (tmp_path / "ask.yaml").write_text(own.replace("options:", "window: 3000\n    options:"))
        code, out, err = await asyncio.to_thread(nexus, *asked)
    sent = [request.json()["messages"][-1]["content"] for request in upstream.requests]
    places = [sent[0].find(line.strip()) for line in lines]
    assert (places == sorted(places), min(places) >= 0) == (True, True)
    assert (code, "Of " in err, "not at all" in err) == (0, True, True), err
    assert ("pump 7." in sent[1], len(sent[1]) < len(sent[0])) == (True, True)


def test_what_would_be_sent_is_explained_and_nothing_is_sent(nexus: Nexus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages, window and trace, also for a model whose key is not there."""
    assert nexus("context", "add", "handbook", "leave.md")[0] == 0
    code, out, err = nexus("ask", "handbook", QUESTION, "--explain", "--model", "gpt-4o")
    assert (code, err) == (0, "")
    assert all(each in out for each in ("── user", "Up to five days", "The window of openai (gpt-4o)", "Leave"))
    told = json.loads(nexus("ask", "-f", "team", "Who approves leave?", "--explain", "--json")[1])
    assert [each["id"] for each in told["trace"]] == ["team/leave.md"]


def test_search_shows_the_passages_that_would_be_packed(nexus: Nexus, tmp_path: Path) -> None:
    """With scores, sources and places; filters hold."""
    (tmp_path / "trips.csv").write_text("Trip,Year\nGraz by train,2020\nLinz by boat,2024\n")
    assert nexus("context", "add", "handbook", "leave.md", "team", "trips.csv")[0] == 0
    search = ("context", "search", "handbook", "Who approves leave?", "--passages")
    code, out, err = nexus(*search)
    assert (code, err) == (0, "")
    assert out.startswith("[1] Team  (team/leave.md, line 3)\n    store ")
    assert ("    The team lead approves leave.\n" in out, "bm25" in out) == (True, True)
    told = json.loads(nexus(*search, "--json", "--where", "{title: Team}", "--limit", "5")[1])
    assert [(each["id"], each["place"], each["whole"]) for each in told] == [("team/leave.md", "line 3", True)]
    assert {"store", "bm25"} <= set(told[0]["scores"])
    assert nexus(*search, "--typos")[0] == 2
    assert "did you mean 'handbook'" in nexus("context", "search", "handbok", "x", "--passages")[2]


def test_a_question_to_a_context_imports_nothing_that_reads_files(nexus: Nexus, tmp_path: Path) -> None:
    """Only who asks files pays for what reads them; nobody who asks without a terminal for what draws on one."""
    assert nexus("context", "add", "handbook", "leave.md")[0] == 0
    program = "import sys; from nexus_core.cli.main import main\ntry: main(sys.argv[1:])\nfinally: print(*sys.modules)"
    command = [sys.executable, "-c", program, "ask", "handbook", QUESTION]
    loaded = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
    assert {"nexus_core.cli.question_files", "rich", "readline"}.isdisjoint(loaded.split())
