"""Completion in real shells: commands, options and names; installing it again changes nothing."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from nexus_core.cli.commands.completion import script_of
from nexus_core.cli.completion.values import STORE, VALUES
from nexus_core.cli.main import cli, main

pytestmark = pytest.mark.slow

PIPELINE = """
name: mine
models:
  # the best
  sharp: {use: extractive}
  blunt:
    use: extractive

steps:
  - gather: {use: store, context: handbook}
  - prompt: qa
  - generate: sharp
"""
SHELLS = ("bash", "zsh", "fish")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have an empty home with a blank in its name, in which `nexus` is the command of this environment."""
    home = tmp_path / "a home"
    home.mkdir()
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return home


@pytest.fixture
def named(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Path:
    """Have a folder with a pipeline, and a store with contexts and a conversation."""
    folder = home / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NEXUS_STORE", str(home / "kept store"))
    (folder / "mine.yaml").write_text(PIPELINE)
    (folder / "mine.tests.yaml").write_text("tests: []\n")
    (folder / "leave.md").write_text("Five days of leave may be carried over.\n")
    for name in ("handbook", "handwriting"):
        assert nexus("context", "add", name, "leave.md", "--description", f"The {name}") == 0
    assert nexus("run", "mine.yaml", "How many days?", "--conversation", "monday") == 0
    capfd.readouterr()
    return folder


def completed(line: str, shell: str = "bash") -> list[str]:
    """Return what the command prints for a line whose last word is completed."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "nexus_core"], env={**os.environ, "_NEXUS_COMPLETE": f"{shell}_complete", **asked},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def nexus(*arguments: str) -> int:
    """Run the command in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_a_new_bash_completes_commands_and_options(home: Path) -> None:
    """As its start-up file loads it; what stood in that file is still run."""
    (home / ".bashrc").write_text("export OWN=1")
    assert nexus("completion", "install") == 0
    code = (
        'echo "$OWN"; complete -p nexus; COMP_WORDS=(nexus com); COMP_CWORD=1; _nexus_completion nexus; '
        'echo "${COMPREPLY[@]}"; COMPREPLY=(); COMP_WORDS=(nexus context add --follow); COMP_CWORD=3; '
        '_nexus_completion nexus; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-i", "-c", code], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    own, registered, commands, options = done.stdout.splitlines()
    assert (own, commands, options) == ("1", "completion", "--follow-links"), done.stderr
    assert "-F _nexus_completion nexus" in registered


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("nexus ask hand", ["handbook", "handwriting"]),
        ("nexus context remove handw", ["handwriting"]),
        ("nexus context sync handbook handw", ["handwriting"]),
        ("nexus keys new --owner ann --context handb", ["handbook"]),
        ("nexus run ", ["mine.yaml"]),
        ("nexus ask handbook why --pipeline m", ["mine.yaml"]),
        ("nexus chat ", ["handbook", "handwriting", "mine.yaml"]),
        ("nexus run mine.yaml why --model ", ["blunt", "sharp"]),
        ("nexus ask handbook --model gpt-4o-m", ["gpt-4o-mini"]),
        ("nexus ask handbook --model off", ["offline"]),
        ("nexus conversations show mon", ["monday"]),
        ("nexus conversations show --owner ann mon", []),
        ("nexus plugins bm", ["bm25"]),
        ("nexus directory install bm", ["bm25"]),
        ("nexus --store nowhere ask hand", []),
        ("nexus ask --store postgresql://127.0.0.1:9/none hand", []),
        ("nexus ask --store=nowhere hand", []),
        ("nexus ask handbook hand", []),
    ],
)
def test_names_are_completed_where_a_command_takes_them(named: Path, line: str, names: list[str]) -> None:
    """Those of the store that it would open, and of the folder; a store that is not there has none, and is not made."""
    found = [each.partition(",")[2] for each in completed(line) if each]
    assert [name for name in found if not name.startswith("gpt-4o-mini-")] == names
    assert not (named / "nowhere").exists()


def test_a_damaged_store_completes_nothing_silently(named: Path) -> None:
    """And a pipeline that cannot be read has no models."""
    (named.parent / "kept store" / "store.db").write_bytes(b"no database" * 1000)
    (named / "mine.yaml").write_bytes(b"\xff\xfe")
    assert (completed("nexus ask h"), completed("nexus run mine.yaml why --model ")) == ([], [])


def test_completion_of_names_imports_no_command(named: Path) -> None:
    """Shells wait for it: neither the engine, the store, YAML nor an event loop is imported."""
    code = (
        "import sys\nfrom nexus_core.__main__ import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    for line in ("nexus ask hand", "nexus conversations show m", "nexus run mine.yaml x --model s"):
        asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1), "_NEXUS_COMPLETE": "bash_complete"}
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, check=True
        )
        loaded = done.stderr.split()
        assert done.stdout, line
        heavy = ("nexus_core.engine", "nexus_core.cli.commands", "nexus_core.store.store", "yaml", "asyncio", "attrs")
        assert [name for name in loaded if name.startswith(heavy)] == [], line


@pytest.mark.parametrize("path", VALUES)
def test_the_table_of_names_has_the_options_of_each_command(path: str) -> None:
    """All that take a value, since the word after one is no argument; and as many arguments."""
    command: click.Command = cli
    for word in path.split():
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word) or pytest.fail(f"no command {path}")
    options = {
        name for each in command.params if isinstance(each, click.Option) and not each.is_flag for name in each.opts
    }
    assert {*VALUES[path].options.split(), *VALUES[path].named} == options - {*STORE}
    assert len(VALUES[path].arguments) <= sum(isinstance(each, click.Argument) for each in command.params)


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_a_new_fish_completes_commands_and_options(home: Path) -> None:
    """It finds the script by itself, and shows what each is for."""
    assert nexus("completion", "install", "fish") == 0
    code = 'complete -C "nexus com"; complete -C "nexus context add --follow"; complete -C "nexus ask --no-st"'
    done = subprocess.run(["fish", "-c", code], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    found = [line.partition("\t") for line in done.stdout.splitlines() if line]
    assert [name for name, _, _ in found] == ["completion", "--follow-links", "--no-stream"], done.stderr
    assert all(help for _, _, help in found)


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_a_new_fish_completes_names_with_what_they_are(named: Path) -> None:
    """Contexts with their descriptions, conversations with their titles."""
    assert nexus("completion", "install", "fish") == 0
    code = 'complete -C "nexus ask handb"; complete -C "nexus conversations show mon"'
    done = subprocess.run(["fish", "-c", code], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.stdout.splitlines() == ["handbook\tThe handbook", "monday\tHow many days?"], done.stderr


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_a_new_zsh_completes_commands_options_and_names(home: Path, named: Path) -> None:
    """At its own prompt, in a terminal, by the key Tab."""
    import pty  # no such module on Windows

    assert nexus("completion", "install", "zsh") == 0
    process, terminal = pty.fork()
    if process == 0:
        os.environ |= {"TERM": "dumb", "PS1": "ready$ "}
        os.execvp("zsh", ["zsh", "-i"])
    try:
        read_until(terminal, b"ready$ ")
        for begun, whole in (
            (b"nexus complet", b"nexus completion "),
            (b"nexus ask --no-st", b"nexus ask --no-stream "),
            (b"nexus ask handb", b"nexus ask handbook "),
            (b"nexus run m", b"nexus run mine.yaml "),
            (b"nexus conversations show mon", b"nexus conversations show monday "),
        ):
            os.write(terminal, begun + b"\t")
            read_until(terminal, whole)
            os.write(terminal, b"\x15")  # clears the line
    finally:
        os.close(terminal)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def read_until(terminal: int, expected: bytes) -> None:
    """Read what a terminal shows until it holds some bytes, for as long as it says something within 30 s."""
    shown = b""
    while expected not in shown:
        assert select.select([terminal], [], [], 30)[0], shown
        shown += os.read(terminal, 4096)


@pytest.mark.parametrize("shell", SHELLS)
def test_installing_again_changes_nothing(shell: str, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each file is there once, the line is there once, and an older script is brought up to date."""
    assert nexus("completion", "install", shell) == 0
    written = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert len(written) == (1 if shell == "fish" else 2)
    assert "wrote" in capfd.readouterr().out
    assert nexus("completion", "install", shell) == 0
    assert "is up to date" in capfd.readouterr().out
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == written
    (script,) = [path for path in written if path.name == f"nexus.{shell}"]
    script.write_text("old")
    assert nexus("completion", "install", shell) == 0
    assert script.read_bytes() == written[script]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed_without_installing_it(shell: str, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It is what is installed, and the shell takes it, where there is one."""
    assert nexus("completion", "install", shell, "--print") == 0
    printed = capfd.readouterr().out
    assert (printed, [*home.iterdir()]) == (script_of(shell), [])
    assert f"_NEXUS_COMPLETE={shell}_complete" in printed
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=printed, text=True, check=True, timeout=60)


def test_a_shell_without_completion_is_told(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With those that there are."""
    assert nexus("completion", "install", "zish") == 2
    assert "did you mean 'zsh'" in capfd.readouterr().err


def test_a_start_up_file_that_cannot_be_written_is_told(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With the reason of the system."""
    (home / ".bashrc").mkdir()
    assert nexus("completion", "install", "bash") == 2
    assert f"cannot write {home / '.bashrc'}" in capfd.readouterr().err
