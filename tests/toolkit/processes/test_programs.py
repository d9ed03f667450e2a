"""Programs that are no Python of ours: which may be started, what they are given, and how they end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nexus_core import PluginError
from nexus_core.toolkit import find_program, program_environment, start_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs programs of POSIX")


def _program(path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_a_program_is_found_by_the_name_that_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In `PATH`, but for entries that mean the current folder; a path is allowed by itself, seen from the pipeline."""
    there = _program(tmp_path / "bin" / "mill")
    monkeypatch.chdir(tmp_path / "bin")
    monkeypatch.setenv("PATH", f".{os.pathsep}{os.pathsep}{tmp_path / 'bin'}{os.pathsep}/usr/bin")
    with pytest.raises(PluginError, match="is not there, in no folder of PATH"):
        find_program("mill", "/", {"mill"})
    monkeypatch.chdir(tmp_path)
    assert find_program("mill", "/", {"mill"}) == there
    assert find_program("./mill", str(tmp_path / "bin"), {"bin/mill"}) == there
    assert find_program(there, "/", {there}) == there


@pytest.mark.parametrize("allowed", [None, (), ("mil",), ("mill ",), ("/elsewhere/mill",), ("MILL",)])
def test_a_program_that_is_not_allowed_is_refused(allowed: tuple[str, ...] | None, tmp_path: Path) -> None:
    """Before it is looked for; a path is not allowed by the name of a program, nor the other way round."""
    with pytest.raises(PluginError, match="say `--allow-program mill`"):
        find_program("mill", str(tmp_path), allowed)
    with pytest.raises(PluginError, match=f"say `--allow-program {tmp_path}/mill`"):
        find_program("./mill", str(tmp_path), (*(allowed or ()), "mill"))


def test_a_program_has_a_minimal_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of ours; nothing that would load other code into it."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    found = program_environment({"TOKEN": "t"})
    assert found["TOKEN"] == "t"
    assert found["PATH"] == os.environ["PATH"]
    assert set(found) <= {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TOKEN"}
    for name in ("LD_PRELOAD", "DYLD_INSERT_LIBRARIES", "PATH", "", "A=B"):
        with pytest.raises(ValueError, match="may not be set"):
            program_environment({name: "x"})


async def test_a_program_sees_its_arguments_and_folder_and_no_pipe_of_ours(tmp_path: Path) -> None:
    """As if it had been started by nobody in particular."""
    code = (
        "import os, sys\nprint(sys.argv[1:], os.getcwd(), sorted(os.listdir('/dev/fd')), os.getpgrp() == os.getpid())"
    )
    running = await start_program(
        sys.executable, ["-c", code, "a b", "--c"], folder=str(tmp_path), environment=program_environment({})
    )
    assert running.process.stdout is not None
    said = (await running.process.stdout.read()).decode()
    await running.stop()
    assert said == f"['a b', '--c'] {tmp_path} ['0', '1', '2', '3'] True\n"  # 3 is the listing's own
    assert running.process.returncode == 0


async def test_what_is_no_program_says_so(tmp_path: Path) -> None:
    """On its stderr, as another failure of it would be told."""
    path = tmp_path / "text"
    path.write_text("no program")
    path.chmod(0o755)
    running = await start_program(str(path), [], folder=str(tmp_path), environment={})
    assert running.process.stderr is not None
    assert b"cannot be executed: Exec format error" in await running.process.stderr.read()
    await running.stop()
    assert running.process.returncode == 126
