"""`nexus mcp install`: what the usual clients are told. It is printed, and written nowhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from attrs import frozen

from nexus_core.cli.option_types import named_paths
from nexus_core.cli.output.echo import echo
from nexus_core.cli.run_options import programs_option
from nexus_core.contract.errors import UsageError

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


def _claude_desktop(entry: McpEntry) -> str:
    if not entry.url:
        return _json({"mcpServers": {entry.name: entry.program}})
    # Its file takes programs alone: this one hands on to an address, and fills in what the environment has.
    header = ["--header", "Authorization:${AUTH_HEADER}"] if entry.key_variable else []
    told: dict[str, Any] = {"command": "npx", "args": ["-y", "mcp-remote", entry.url, *header]}
    return _json({"mcpServers": {entry.name: told | ({"env": {"AUTH_HEADER": _PLACEHOLDER}} if header else {})}})


def _claude_code(entry: McpEntry) -> str:
    if entry.url:
        header = f' --header "Authorization: Bearer ${entry.key_variable}"' if entry.key_variable else ""
        return f"claude mcp add --transport http {entry.name} {shlex.quote(entry.url)}{header}"
    variables = [part for name, value in entry.environment.items() for part in ("--env", f"{name}={value}")]
    words = ["claude", "mcp", "add", "--transport", "stdio", entry.name, *variables, "--", *entry.command]
    return shlex.join(words)


def _vscode(entry: McpEntry) -> str:
    if entry.url:
        return _json({"servers": {entry.name: {"type": "http", **entry.remote(_bearer(entry, "${env:%s}"))}}})
    return _json({"servers": {entry.name: {"type": "stdio", **entry.program}}})


def _cursor(entry: McpEntry) -> str:
    told = entry.remote(_bearer(entry, "${env:%s}")) if entry.url else entry.program
    return _json({"mcpServers": {entry.name: told}})


def _zed(entry: McpEntry) -> str:
    told = entry.remote(_PLACEHOLDER) if entry.url else {"source": "custom", **entry.program}
    return _json({"context_servers": {entry.name: told}})


def _any_client(entry: McpEntry) -> str:
    told = {"type": "http", **entry.remote(_bearer(entry, "${%s}"))} if entry.url else entry.program
    return _json({"mcpServers": {entry.name: told}})


CLIENTS: Mapping[str, tuple[str, Callable[[McpEntry], str]]] = {
    "claude-desktop": (
        "Claude Desktop, claude_desktop_config.json (Settings, Developer, Edit Config)",
        _claude_desktop,
    ),
    "claude-code": ("Claude Code, in a shell", _claude_code),
    "vscode": ("VS Code, .vscode/mcp.json", _vscode),
    "cursor": ("Cursor, ~/.cursor/mcp.json or .cursor/mcp.json", _cursor),
    "zed": ("Zed, settings.json", _zed),
    "other": ("Other clients, and .mcp.json of a project", _any_client),
}
"""By client, where its entry goes, and what writes it."""


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
def command(client: str | None, url: str | None, **given: Any) -> None:
    """Print what clients are told so that they start `nexus mcp PIPELINES`, or ask the server at --url.

    Nothing is written. Keys are never printed: an entry names the environment variable that has one.
    """
    entry = _remote_entry(url, **given) if url is not None else _program_entry(**given)
    if client is not None:
        where, write = CLIENTS[client]
        echo(where, err=True)
        echo(write(entry))
        return
    for where, write in CLIENTS.values():
        echo(f"{where}:\n\n{write(entry)}\n")


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


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)
