"""`nexus mcp install`: what the usual clients are told: it is printed and, where that is asked for, written."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from attrs import frozen

from nexus_core.cli.commands.mcp.client_file import desktop_file, write_entry
from nexus_core.cli.option_types import named_paths
from nexus_core.cli.output.echo import echo
from nexus_core.cli.run_options import programs_option
from nexus_core.contract.errors import UsageError
from nexus_core.toolkit.suggest import listed

DEFAULT = "pipelines"
_PATH = "/mcp"
"""Where a server has it, unless the address that is given has a path of its own."""
_PLACEHOLDER = "Bearer PUT_THE_KEY_HERE"


@frozen(kw_only=True)
class McpEntry:
    """A server as clients are told of it: a program to start, or an address."""

    name: str
    command: Sequence[str] = ()
    environment: Mapping[str, str] = {}
    url: str = ""
    key_variable: str = ""
    """The environment variable with the key, for an address; empty where it takes none."""

    @property
    def program(self) -> dict[str, Any]:
        """The program as most clients are told of it."""
        told: dict[str, Any] = {"command": self.command[0], "args": [*self.command[1:]]}
        return {**told, "env": dict(self.environment)} if self.environment else told

    def remote(self, value: str) -> dict[str, Any]:
        """Return the address, with a value for the header that has the key."""
        headers = {"headers": {"Authorization": value}} if self.key_variable else {}
        return {"url": self.url, **headers}


@frozen(kw_only=True)
class McpClient:
    """A client: where its entry goes, and what the entry is."""

    where: str
    told: Callable[[McpEntry], dict[str, Any]] | None = None
    """The entry, for a client with a file of JSON."""
    key: str = "mcpServers"
    """Below which its file has all entries."""
    file: Callable[[], Path] | None = None
    """Returns the file, where it is one of plain JSON."""

    def text(self, entry: McpEntry) -> str:
        """Return what is pasted into its file, or typed in a shell."""
        if self.told is None:
            return _claude_code(entry)
        return json.dumps({self.key: {entry.name: self.told(entry)}}, indent=2, ensure_ascii=False)


def _claude_desktop(entry: McpEntry) -> dict[str, Any]:
    if not entry.url:
        return entry.program
    # Its file takes programs alone: this one hands on to an address, and fills in what the environment has.
    header = ["--header", "Authorization:${AUTH_HEADER}"] if entry.key_variable else []
    told: dict[str, Any] = {"command": "npx", "args": ["-y", "mcp-remote", entry.url, *header]}
    return told | ({"env": {"AUTH_HEADER": _PLACEHOLDER}} if header else {})


def _claude_code(entry: McpEntry) -> str:
    if entry.url:
        header = f' --header "Authorization: Bearer ${entry.key_variable}"' if entry.key_variable else ""
        return f"claude mcp add --transport http {entry.name} {shlex.quote(entry.url)}{header}"
    variables = [part for name, value in entry.environment.items() for part in ("--env", f"{name}={value}")]
    words = ["claude", "mcp", "add", "--transport", "stdio", entry.name, *variables, "--", *entry.command]
    return shlex.join(words)


def _vscode(entry: McpEntry) -> dict[str, Any]:
    if entry.url:
        return {"type": "http", **entry.remote(_bearer(entry, "${env:%s}"))}
    return {"type": "stdio", **entry.program}


def _cursor(entry: McpEntry) -> dict[str, Any]:
    return entry.remote(_bearer(entry, "${env:%s}")) if entry.url else entry.program


def _zed(entry: McpEntry) -> dict[str, Any]:
    return entry.remote(_PLACEHOLDER) if entry.url else {"source": "custom", **entry.program}


def _any_client(entry: McpEntry) -> dict[str, Any]:
    return {"type": "http", **entry.remote(_bearer(entry, "${%s}"))} if entry.url else entry.program


CLIENTS: Mapping[str, McpClient] = {
    "claude-desktop": McpClient(
        where="Claude Desktop, claude_desktop_config.json (Settings, Developer, Edit Config)",
        told=_claude_desktop, file=desktop_file,
    ),
    "claude-code": McpClient(where="Claude Code, in a shell"),
    "vscode": McpClient(
        where="VS Code, .vscode/mcp.json", told=_vscode, key="servers", file=lambda: Path(".vscode/mcp.json")
    ),
    "cursor": McpClient(
        where="Cursor, ~/.cursor/mcp.json or .cursor/mcp.json", told=_cursor,
        file=lambda: Path.home() / ".cursor/mcp.json",
    ),
    "zed": McpClient(where="Zed, settings.json", told=_zed, key="context_servers"),
    "other": McpClient(
        where="Other clients, and .mcp.json of a project", told=_any_client, file=lambda: Path(".mcp.json")
    ),
}  # fmt: skip


def _server_name(context: click.Context, option: click.Parameter, name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise click.BadParameter(f"{name!r} is no name for all clients: use letters, digits, - and _")
    return name


def _variable(context: click.Context, option: click.Parameter, name: str) -> str:
    if name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise click.BadParameter(f"{name!r} is no name of an environment variable")
    return name


@click.command("install")
@click.argument("pipelines", nargs=-1, callback=named_paths)
@click.option("--client", type=click.Choice([*CLIENTS]), help="Print the entry of this client alone.")
@click.option("--write", is_flag=True, help="Put it into the file of --client, too, beside what is there.")
@click.option("--name", default="contextnexus", show_default=True, callback=_server_name, help="The server's name.")
@click.option("--url", metavar="URL", help="The address of a server, such as https://nexus.example.com/mcp.")
@click.option(
    "--key-variable", default="NEXUS_API_KEY", show_default=True, metavar="NAME", callback=_variable,
    help="The environment variable with the key for --url; empty for a server without keys.",
)  # fmt: skip
@click.option("--store", metavar="FOLDER_OR_URL", help="The store that is served, if not the default one.")
@click.option(
    "--store-url-file", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
    help="A file with the URL of the store in its first line.",
)  # fmt: skip
@programs_option
def command(client: str | None, write: bool, url: str | None, **given: Any) -> None:
    """Print what clients are told so that they start `nexus mcp PIPELINES`, or ask the server at --url.

    With --write the entry is put into the file of the client, too: for claude-desktop, vscode and other (files of this
    folder) and cursor (in your home). A copy of the file as it was is kept, and all else in it stays. Keys are never
    printed: an entry names the environment variable that has one.
    """
    entry = _remote_entry(url, **given) if url is not None else _program_entry(**given)
    chosen = None if client is None else CLIENTS[client]
    if write and (chosen is None or chosen.file is None):
        writable = listed(name for name, each in CLIENTS.items() if each.file is not None)
        raise UsageError(f"--write is for the clients with a file of plain JSON: add --client, one of {writable}")
    for each in CLIENTS.values() if chosen is None else ():
        echo(f"{each.where}:\n\n{each.text(entry)}\n")
    if chosen is not None:
        echo(chosen.where, err=True)
        echo(chosen.text(entry))
    if url is None and find_spec("mcp") is None:
        echo("`nexus mcp` needs an extra before it can start: pip install 'contextnexus[mcp]'", err=True)
    if write and chosen is not None and chosen.file is not None and chosen.told is not None:
        path = chosen.file()
        before = write_entry(path, chosen.key, entry.name, chosen.told(entry))
        kept = "" if before is None else f"; as it was it is in {before}"
        echo(f"written to {path}{kept}: restart the client", err=True)


def _remote_entry(
    url: str,
    name: str,
    key_variable: str,
    pipelines: Sequence[str],
    store: str | None,
    store_url_file: str | None,
    programs: tuple[str, ...],
) -> McpEntry:
    if pipelines or store or store_url_file or programs:
        raise UsageError(
            "the server at --url has its own pipelines, store and programs: leave PIPELINES, --store and "
            "--allow-program out"
        )
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise UsageError(f"{url!r} is no address of a server: write it as in https://nexus.example.com/mcp")
    if parts.path in ("", "/"):  # the address of the page
        url = parts._replace(path=_PATH).geturl()
    return McpEntry(name=name, url=url, key_variable=key_variable)


def _program_entry(
    name: str,
    key_variable: str,
    pipelines: Sequence[str],
    store: str | None,
    store_url_file: str | None,
    programs: tuple[str, ...],
) -> McpEntry:
    # Clients start programs in folders of their own, so that all paths are whole.
    named = pipelines or ([DEFAULT] if Path(DEFAULT).exists() else [])
    if missing := next((each for each in named if not Path(each).exists()), None):
        raise UsageError(f"there is no file or folder {missing}: name pipelines, or a folder of them")
    command = [*_executable(), "mcp", *(str(Path(each).resolve()) for each in named)]
    for program in programs:
        has_path = os.path.basename(program) != program  # its links are kept: it is allowed by the path that is named
        command += ["--allow-program", os.path.abspath(program) if has_path else program]
    if store_url_file is not None:
        command += ["--store-url-file", str(Path(store_url_file).resolve())]
    elif store is None:  # clients hand on none of the variables of this shell, nor what stands before `mcp`
        store = os.environ.get("NEXUS_STORE") or None
    environment = {} if store is None else {"NEXUS_STORE": _store(store)}
    return McpEntry(name=name, command=command, environment=environment)


def _store(store: str) -> str:
    if "://" not in store:
        return str(Path(store).expanduser().resolve())
    if urlsplit(store).password:
        raise UsageError("the URL of the store has a password: write it to a file, and give --store-url-file FILE")
    return store


def _executable() -> list[str]:
    """Return the command `nexus` of this installation: clients know no PATH of a shell."""
    beside = Path(sys.executable).with_name("nexus.exe" if sys.platform == "win32" else "nexus")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "nexus_core"]


def _bearer(entry: McpEntry, shape: str) -> str:
    return f"Bearer {shape % entry.key_variable}"
