"""`nexus completion`: the completion of commands, options and names in bash, zsh and fish, installed by one command."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote

import click
from attrs import frozen
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from nexus_core.cli.main import COMPLETE, cli
from nexus_core.cli.output.echo import echo
from nexus_core.contract.errors import UsageError
from nexus_core.toolkit.atomic_file import whole_file
from nexus_core.toolkit.lazy_module import LazyModule
from nexus_core.toolkit.suggest import did_you_mean, listed

platformdirs = LazyModule("platformdirs")

EPILOG = """\b
Examples:
  nexus completion install
  nexus completion install zsh
  nexus completion install fish --print
"""
_CLASSES: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
# A start-up file that has not loaded the completion system of zsh has no `compdef`.
_ZSH_START = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"


@frozen(kw_only=True)
class CompletionFiles:
    """Where the completion of a shell goes."""

    script: Path
    start_up: Path | None = None
    """The file of the shell that loads the script; `None` where the shell finds it by itself."""

    @property
    def line(self) -> str:
        """The line of the start-up file that loads the script, where it is there."""
        path = quote(str(self.script))
        return f"[ ! -f {path} ] || . {path}"


@click.group("completion", epilog=EPILOG)
def command() -> None:
    """Complete commands, options and names of nexus in bash (4.4 or newer), zsh and fish.

    Names are those of contexts, pipelines of the folder, models, conversations and plugins. They are read from files of
    this machine: no service is asked, and no store of a server.
    """


@command.command("install", epilog=EPILOG)
@click.argument("shell", required=False)
@click.option("--print", "prints", is_flag=True, help="Print the script, and install nothing.")
def install(shell: str | None, prints: bool) -> None:
    """Install completion for SHELL: bash, zsh or fish, by default the one that SHELL in the environment names.

    It writes a script, and for bash and zsh adds one line to your start-up file, if it is not there. Running it again
    brings the script up to date and changes nothing else.
    """
    name = shell or os.path.basename(os.environ.get("SHELL", ""))
    if name not in _CLASSES:
        raise UsageError(
            f"there is no completion for the shell {name!r}{did_you_mean(name, _CLASSES)}: say which of "
            f"{listed(_CLASSES)}"
        )
    script = script_of(name)
    if prints:
        echo(script, nl=False)
        return
    places = files_of(name)
    try:
        told = [_write(places.script, script)]
        if places.start_up is not None:
            told.append(_add_line(places.start_up, places.line))
    except OSError as error:
        raise UsageError(f"cannot write {error.filename or places.script}: {error.strerror}") from error
    for line in told:
        echo(line)
    echo(f"it works in each {name} that is opened from now on")


def script_of(shell: str) -> str:
    """Return the script that completes `nexus`; it asks the command itself, so that it need not change with it."""
    source = _CLASSES[shell](cli, {}, "nexus", COMPLETE)
    # Not by `source()`, which runs bash to see its version.
    text = source.source_template % source.source_vars()
    return (_ZSH_START if shell == "zsh" else "") + text.strip() + "\n"


def files_of(shell: str) -> CompletionFiles:
    """Return where the completion of a shell goes, by the variables that the shells themselves heed."""
    home = Path.home()
    if shell == "fish":
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        return CompletionFiles(script=config / "fish" / "completions" / "nexus.fish")
    folder = home if shell == "bash" else Path(os.environ.get("ZDOTDIR") or home)
    script = platformdirs.user_data_path("contextnexus", appauthor=False) / "completion" / f"nexus.{shell}"
    return CompletionFiles(script=script, start_up=folder / f".{shell}rc")


def _write(path: Path, script: str) -> str:
    """Write the script where it differs from what is there, and return what was done."""
    content = script.encode()
    if path.is_file() and path.read_bytes() == content:
        return f"{path} is up to date"
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, begins=content[:16]) as file:
        file.write(content)
    return f"wrote {path}"


def _add_line(path: Path, line: str) -> str:
    """Add a line to the end of a file, unless it is there, and return what was done."""
    before = path.read_bytes() if path.exists() else b""
    if line.encode() in before.splitlines():
        return f"{path} loads it already"
    with path.open("ab") as file:
        file.write(b"\n" * (bool(before) and not before.endswith(b"\n")) + line.encode() + b"\n")
    return f"added to {path}: {line}"
