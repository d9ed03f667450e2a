"""Ctrl-C at any moment, and a reader that leaves: the process ends, and prints no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals")]

PROGRAM = """
import os, sys

count, begun = 0, False

def see(frame, event, argument):
    global count, begun
    if not begun:
        begun = frame.f_code.co_name == "main" and "nexus_core" in frame.f_code.co_filename
    count += begun
    if count == at and begun:
        os.kill(os.getpid(), 2)

def tell():
    os.write(told, str(count).encode())

at, told = int(sys.argv.pop(1)), int(sys.argv.pop(1))
if not at:
    import atexit
    atexit.register(tell)
sys.setprofile(see)
from nexus_core.__main__ import main
sys.exit(main())
"""
"""What the script `nexus` does, interrupted at a call or return of the main thread, counted from its first line on."""
COMMANDS = {
    "help": ["--help"],
    "ask": ["ask", "handbook", "How many days?"],
    "chat": ["chat", "handbook"],
    "lsp": ["lsp"],
    "serve": ["serve", "--port", "0"],
}
MOMENTS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a context in its store."""
    folder = tmp_path_factory.mktemp("interrupts")
    (folder / "leave.md").write_text("# Leave\n\nUp to five days of leave may be carried over.\n")
    command = [sys.executable, "-P", "-m", "nexus_core", "context", "add", "handbook", "leave.md"]
    subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, check=True)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of a user without keys."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NEXUS_", "OPENAI_"))}
    return {**kept, "NEXUS_STORE": str(folder / "store"), "HOME": str(folder)}


def interrupted(folder: Path, arguments: list[str], at: int) -> tuple[int, str, int]:
    """Run a command that is interrupted at a moment, 0 for at no one; return exit code, stderr and the moments of it.

    A server that is not interrupted before is so when it says that it is ready.
    """
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, str(at), str(writing), *arguments], cwd=folder, pass_fds=[writing],
        env=environment(folder), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        # With a shell behind it that ignores the signal it would be ignored here, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    ) as process:  # fmt: skip
        try:
            os.close(writing)
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.close()
            said = ""
            for line in process.stderr:
                said += line
                if "listening on" in line:
                    process.send_signal(signal.SIGINT)
            code = process.wait(60)
            return code, said, int(os.read(reading, 100) or 0)
        finally:
            os.close(reading)
            process.kill()


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_at_any_moment_prints_no_traceback(folder: Path, name: str) -> None:
    """From the first line on, while modules are loaded, at work, and up to the end of the interpreter."""
    arguments = COMMANDS[name]
    code, said, moments = interrupted(folder, arguments, 0)
    assert (code, moments > MOMENTS) == (0, True), said
    spread = [moments * number // MOMENTS for number in range(1, MOMENTS)]
    codes = set[int]()
    for at in (2, 40, *spread, moments - 5):
        code, said, _ = interrupted(folder, arguments, at)
        assert code in (0, 130, -signal.SIGINT), (at, code, said)
        codes.add(code)
        assert not [word for word in ("Traceback", "ignored", "Warning", "FATAL") if word in said], (at, said)
    assert codes - {0}


@pytest.mark.parametrize("arguments", [["--help"], ["schema"], ["nothing"]], ids=lambda each: each[0])
def test_a_reader_that_leaves_is_no_failure(folder: Path, arguments: list[str]) -> None:
    """As `head` does, of little output and of more than a pipe holds: nothing is printed about it."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "nexus_core", *arguments], cwd=folder, env=environment(folder), check=False,
            stdout=writing, stderr=writing if arguments == ["nothing"] else subprocess.PIPE, timeout=60,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr or b"") == (0, b"")
