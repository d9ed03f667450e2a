"""What commands print of foreign text: it never steers the terminal that it is read on."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from nexus_core.cli.main import main
from nexus_core.cli.output.echo import one_line, printable
from nexus_core.cli.output.log_format import PrintableLogFormatter
from nexus_core.cli.output.progress_bar import IngestProgressBar
from nexus_core.cli.output.progress_line import ProgressLine

CLI = Path(__file__).parent.parent.parent.parent / "nexus_core" / "cli"
EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp.exe\u2066\u200e\u200f\u061c\x08\r\x00"
"""Clears the screen, names the window, colours, turns the direction, deletes."""
PIPELINE = """name: evil
description: {evil}
models: {{main: {{use: extractive, aliases: [best]}}}}
steps:
  - gather: {{use: inline, items: [{{id: leave, title: {evil}, source: {evil}, text: {text}}}]}}
  - prompt: chat
  - generate: main
"""
PRINTS = {"echo.py"}
"""The modules that print."""


def steers(text: str) -> set[str]:
    """Return the characters of a text that steer a terminal."""
    bad = {each for each in text if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")} - {"\n", "\t"}
    return bad | {each for each in text if unicodedata.bidirectional(each) in OVERRIDES or each in "\u061c\u200e\u200f"}


OVERRIDES = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pipeline, a file and a plugin that all hold hostile text; commands run in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("NEXUS_LOGS", str(tmp_path / "logs"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    text = json.dumps(f"Everybody has 28 days of leave {EVIL} a year.")
    (tmp_path / "evil.yaml").write_text(PIPELINE.format(evil=json.dumps(EVIL), text=text))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "leave.md").write_text(
        f"# Leave {EVIL}\n\nEverybody has 28 days of leave {EVIL} a year.\n".replace("\0", "")  # no text has these
    )
    (tmp_path / "docs" / "evil\x1b[2J.md").write_text("Nobody has leave.")
    (tmp_path / "broken.yaml").write_text(f"name: broken\nsteps: [{{gather: {json.dumps(EVIL)}}}]\n")
    (tmp_path / "failing.yaml").write_text(
        f"name: failing\nmodels: {{main: {{use: openai, api_key: x, base_url: 'http://127.0.0.1:9/v1', model: "
        f"{json.dumps(EVIL)}, window: 8192, retry: false}}}}\nsteps: [{{generate: main}}]\n"
    )
    return tmp_path


COMMANDS = [
    ("run", "evil.yaml", "How many days of leave?"),
    ("run", "evil.yaml", "How many days of leave?", "--json", "--verbose"),
    ("run", "evil.yaml", "How many days of leave?", "--conversation", "monday"),
    ("run", "evil.yaml", "leave?", "--model", EVIL.replace("\0", "")),
    ("run", "failing.yaml", "leave?", "--verbose"),
    ("run", "evil\x1b[2J.yaml", "leave?"),
    ("run", "evil.yaml", "leave?", f"--{EVIL}"),
    ("explain", "evil.yaml", "How many days of leave?"),
    ("explain", "evil.yaml", "How many days of leave?", "--json"),
    ("lint", "broken.yaml"),
    ("lint", "broken.yaml", "--json"),
    ("models", "evil.yaml"),
    ("models", "failing.yaml"),
    ("plugins", "\x1b[2J"),
    ("\x1b[2J",),
    ("context", "add", "handbook", "docs"),
    ("context", "list"),
    ("context", "show", "handbook"),
    ("context", "show", "handbook", "--json"),
    ("context", "show", "\x1b[2J"),
    ("context", "items", "handbook"),
    ("context", "items", "handbook", "--json"),
    ("context", "search", "handbook", "leave"),
    ("context", "search", "handbook", "leave", "--json"),
    ("context", "check"),
    ("ask", "handbook", "How many days of leave?"),
    ("conversations", "list"),
    ("conversations", "show", "monday"),
    ("conversations", "show", "monday", "--json"),
    ("conversations", "show", "\x1b[2J"),
    ("run", "evil.yaml", f"leave {EVIL}?".replace("\0", "")),
    ("logs",),
    ("logs", "show"),
    ("logs", "replay"),
    ("logs", "search", "leave", "--json"),
    ("usage",),
    ("keys", "revoke", "\x1b[2J"),
    ("serve", "evil\x1b[2J.yaml"),
]
"""In this order: some show what others have made."""


@pytest.mark.slow
def test_no_command_prints_what_steers_a_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it prints: answers, sources, titles, names, JSON, errors."""
    printed = {}
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main(list(command))
        told = capsys.readouterr()
        printed[command] = told.out + told.err
    assert {command: steers(text) for command, text in printed.items() if steers(text)} == {}
    shown = [command for command, text in printed.items() if "1b" in text]  # or by what Python itself spells
    assert len(shown) > len(COMMANDS) // 2, [command for command in COMMANDS if command not in shown]


def test_json_says_the_same_as_before(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own spelling of a character is what is printed."""
    with pytest.raises(SystemExit):
        main(["run", "evil.yaml", "How many days of leave?", "--json"])
    assert EVIL.partition("\r")[0] in json.loads(capsys.readouterr().out)["response"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="terminals")
@pytest.mark.parametrize("command", [COMMANDS[0], ("context", "export", "handbook")], ids=["streamed", "export"])
def test_nothing_steers_a_real_terminal(folder: Path, command: tuple[str, ...]) -> None:
    """Where answers are printed as they come, and exports as they are."""
    main_of = [sys.executable, "-P", "-m", "nexus_core.cli.main"]
    adding = [*main_of, "context", "add", "handbook", "docs"]
    subprocess.run(adding, check=False, capture_output=True)  # one of the files fails
    ours, theirs = os.openpty()
    with subprocess.Popen([*main_of, *command], stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        read = b""
        try:
            while piece := os.read(ours, 4096):
                read += piece
        except OSError:  # its end, on Linux
            os.close(ours)
    text = read.decode().replace("\r\n", "\n")  # the terminal's own ends of lines
    assert (process.returncode, steers(text), "\\u001b" in text) == (0, set(), True)


def test_an_unforeseen_error_steers_no_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its traceback holds its text."""
    plugin = (
        "from nexus_core import ranker\n@ranker\ndef evil(query, items):\n    raise RuntimeError(" + repr(EVIL) + ")\n"
    )
    (folder / "evil.py").write_text(plugin)
    said = (folder / "evil.yaml").read_text().replace("steps:\n", "plugins: [./evil.py]\nsteps:\n")
    (folder / "evil.yaml").write_text(said.replace("  - prompt", "  - rank: evil\n  - prompt"))
    with pytest.raises(SystemExit):
        main(["run", "evil.yaml", "leave?"])
    told = capsys.readouterr().err
    assert (steers(told), bool(told)) == (set(), True)


def test_a_line_of_the_log_is_one_and_steers_nothing() -> None:
    """A traceback stands in lines of its own."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(PrintableLogFormatter("%(levelname)s %(message)s"))
    log = logging.Logger("one")
    log.addHandler(handler)
    log.warning("said: %s", f"{EVIL}\nWARNING forged")
    try:
        raise RuntimeError(EVIL)
    except RuntimeError:
        log.exception("failed")
    assert steers(out.getvalue()) == set()
    assert [line for line in out.getvalue().splitlines() if line.startswith("WARNING forged")] == []


def test_progress_steers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of models and of documents stand in it."""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    with ProgressLine() as progress:
        progress._show()
        progress._say(EVIL)
    with IngestProgressBar(quiet=False) as counting:
        counting._begun = float("-inf")
        counting.see(1, 2, EVIL)
    assert not {"\x1b[2J", "\x9b", "\u202e", "owned\x07"} & set(EVIL) & set(terminal.getvalue())
    assert "\x1b]0;" not in terminal.getvalue()
    assert "\u202e" not in terminal.getvalue()


@given(st.text())
def test_printable_text_steers_nothing_and_keeps_the_rest(text: str) -> None:
    """Newlines and tabs stay, and JSON means the same."""
    assert steers(printable(text)) == set()
    assert "\n" not in one_line(text)
    if not steers(text):
        assert printable(text) == text
    quoted = json.dumps(text, ensure_ascii=False)
    assert json.loads(printable(quoted)) == text


def test_all_that_commands_print_goes_through_one_function() -> None:
    """Whoever prints by other means prints foreign text some day."""
    calls = [
        (path.name, ast.unparse(node.func), ast.unparse(node))
        for path in CLI.rglob("*.py")
        if path.name not in PRINTS and "scaffold" not in path.parts
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
    ]
    assert [call for call in calls if call[1] in OTHER_MEANS and "file=" not in call[2]] == []


OTHER_MEANS = (
    "print", "click.echo", "click.secho", "click.style", "click.echo_via_pager", "click.progressbar",
    "sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer.write", "error.show",
)  # fmt: skip
