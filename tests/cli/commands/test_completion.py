"""`nexus completion install`: it works in a real shell, and running it again changes nothing."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nexus_core.cli.commands.completion import script_of
from nexus_core.cli.main import main

pytestmark = pytest.mark.slow

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


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_a_new_fish_completes_commands_and_options(home: Path) -> None:
    """It finds the script by itself, and shows what each is for."""
    assert nexus("completion", "install", "fish") == 0
    code = 'complete -C "nexus com"; complete -C "nexus context add --follow"; complete -C "nexus ask --no-st"'
    done = subprocess.run(["fish", "-c", code], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    found = [line.partition("\t") for line in done.stdout.splitlines() if line]
    assert [name for name, _, _ in found] == ["completion", "--follow-links", "--no-stream"], done.stderr
    assert all(help for _, _, help in found)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_a_new_zsh_completes_commands_and_options(home: Path) -> None:
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
