"""The tool `mcp`: the tools of an MCP server, a program that is started or a service over HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit, urlunsplit

from nexus_core import (
    PluginError,
    RunContext,
    Secret,
    ToolDefinition,
    ToolError,
    ToolResult,
    component,
    hookimpl,
    injected,
    option,
    state,
)
from nexus_core.toolkit import SharedResources, find_program, is_near, program_environment
from nexus_tools.mcp.definitions import LostConnectionError, McpServer, ServerRefusalError, ServerTools, choose_tools

if TYPE_CHECKING:
    from nexus_tools.mcp.connection import McpConnection

_log = logging.getLogger(__name__)


@component
class McpTools:
    """Offers the tools of an MCP server: a program that is started, or a service over streamable HTTP.

    Needs the extra `mcp`. A program starts only where whoever runs the pipeline allows it by `--allow-program`.
    """

    name = "mcp"

    command: str | tuple[str, ...] = option((), help="The program and its arguments; it runs in the pipeline's folder.")
    env: Mapping[str, Secret] = option(
        factory=dict, help="Variables of the program, beside `PATH`, `HOME` and the language: `{TOKEN: ${TOKEN}}`."
    )
    url: str = option("", help="Or the address of a server, beginning with `https://`; `http://` is for near ones.")
    api_key: Secret | None = option(None, help="Sent to `url` as `Authorization: Bearer`; written as `${NAME}`.")
    headers: Mapping[str, Secret] = option(factory=dict, help="Further headers for `url`.")
    only: str | tuple[str, ...] = option((), help="The tools that are offered, by the server's names; all by default.")
    prefix: str = option("", help="Put before the names of the tools.", pattern="[A-Za-z0-9_-]{0,32}")
    trust_read_only: bool = option(
        False, help="A tool that its server calls read-only needs no `allow`; else each of them does."
    )
    connect_s: float = option(30.0, help="The time to connect and to list the tools, in seconds.", gt=0)
    base_dir: str = injected(default=".")
    shared: SharedResources | None = injected()
    _connection: Any = state()
    _tools: Any = state()
    _differing: Any = state(factory=set)
    _lock: Any = state()

    def __attrs_post_init__(self) -> None:
        """Check the options; raises ValueError."""
        self.env, self.headers = _secrets(self.env), _secrets(self.headers)
        if isinstance(self.api_key, str):
            self.api_key = Secret(self.api_key)
        if bool(self._words) == bool(self.url):
            raise ValueError("give the `command` of a program or the `url` of a server: one of them")
        if self._words and (self.headers or self.api_key):
            raise ValueError("`headers` and `api_key` are for a `url`: a program has `env`")
        if self.env and self.url:
            raise ValueError("`env` is for a `command`: a server at a `url` has `headers`")
        program_environment(dict.fromkeys(self.env, ""))
        if self.url:
            _check_url(self.url)

    @property
    def is_remote(self) -> bool:
        """True: a program is started, or a server is asked."""
        return True

    def check_built(self) -> None:
        """Raise PluginError where the program is not there, or may not be started by whoever runs this process."""
        if self.shared is not None and self.shared.programs is not None:
            self._server()

    async def __aenter__(self) -> Self:
        """Connect, and learn what tools there are; raises PluginError."""
        self._lock = asyncio.Lock()
        self._differing = set()
        connection = await self._connect()
        try:
            self._tools = self._chosen(await connection.open())
        except BaseException:
            await connection.close()
            raise
        self._connection = connection
        for note in self._tools.notes:
            _log.warning("mcp: %s", note)
        return self

    async def __aexit__(self, *error: object) -> None:
        """Leave the server; a program is ended."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def definitions(self, run: RunContext) -> Sequence[ToolDefinition]:
        """Return the tools as they were when the server was first asked."""
        tools: ServerTools = self._tools
        for note in tools.notes:
            run.note(note)
        if self._connection.has_changed:
            run.note(f"{self._shown} has other tools by now: they are not used before the pipeline is opened again")
        return tools.definitions

    async def call(self, name: str, arguments: Mapping[str, Any], run: RunContext) -> ToolResult:
        """Return what the server gives; a connection that is lost is made anew, once."""
        changes = next(each.changes for each in self._tools.definitions if each.name == name)
        try:
            connection = await self._connected()
            try:
                return await self._call_once(connection, name, arguments)
            except LostConnectionError as error:
                if changes and error.has_run:
                    raise ToolError(
                        "the connection to the server was lost during the call, which may have had its effect"
                    ) from error
            return await self._call_once(await self._connected(), name, arguments)
        except LostConnectionError as error:
            raise ToolError("the connection to the server was lost") from error
        except PluginError as error:
            _log.warning("mcp: %s", error)
            raise ToolError("the server is not there any more") from error
        except ServerRefusalError as error:
            raise ToolError(f"the server gave no result: {error}") from error

    async def _call_once(self, connection: McpConnection, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        if name in self._differing:
            raise ToolError("the server has come back with another tool of this name, which is not called")
        return await connection.call(self._tools.listed[name].name, arguments)

    async def _connected(self) -> McpConnection:
        """Return the connection, made anew where it is lost; raises PluginError."""
        async with self._lock:
            if self._connection.is_lost:
                await self._connection.close()
                fresh = await self._connect()
                found = {tool.name: tool for tool in await fresh.open()}
                known = self._tools.listed
                self._differing = {call for call, tool in known.items() if found.get(tool.name) != tool}
                if self._differing:
                    _log.warning("mcp: %s has come back with other tools", self._shown)
                self._connection = fresh
            connection: McpConnection = self._connection
            return connection

    async def _connect(self) -> McpConnection:
        if find_spec("mcp") is None:
            raise PluginError("the tool mcp needs an extra: pip install 'contextnexus[mcp]'")
        server = self._server()
        module: Any = await asyncio.to_thread(import_module, "nexus_tools.mcp.connection")  # half a second, at first
        made: McpConnection = module.McpConnection(server, self.connect_s)
        return made

    def _chosen(self, found: Sequence[Any]) -> ServerTools:
        only = (self.only,) if isinstance(self.only, str) else self.only
        return choose_tools(
            found, only=only, prefix=self.prefix, trust_read_only=self.trust_read_only, shown=self._shown
        )

    def _server(self) -> McpServer:
        """Return where the server is; raises PluginError where its program may not be started."""
        if self.url:
            headers = {name: value.reveal() for name, value in self.headers.items()}
            if self.api_key is not None:
                headers["Authorization"] = f"Bearer {self.api_key.reveal()}"
            return McpServer(shown=self._shown, url=self.url, headers=headers)
        program, *arguments = self._words
        path = find_program(program, self.base_dir, self.shared.programs if self.shared is not None else None)
        given = {name: value.reveal() for name, value in self.env.items()}
        return McpServer(
            shown=self._shown,
            path=path,
            arguments=arguments,
            folder=self.base_dir or ".",
            environment=program_environment(given),
        )

    @property
    def _words(self) -> tuple[str, ...]:
        if isinstance(self.command, str):
            return (self.command,) if self.command else ()
        return self.command

    @property
    def _shown(self) -> str:
        if not self.url:
            return f"the MCP server {os.path.basename(self._words[0])!r}"
        parts = urlsplit(self.url)
        return f"the MCP server {urlunsplit((parts.scheme, parts.netloc, parts.path, '', ''))}"


def _secrets(values: Mapping[str, Any]) -> Mapping[str, Secret]:
    return {name: Secret(value) if isinstance(value, str) else value for name, value in values.items()}


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise ValueError("`url` is no address") from error
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        raise ValueError("`url` must begin with https:// or http://, name a host, and hold no name or password")
    if parts.scheme == "http" and not is_near(host):
        raise ValueError("`url` is plain http to another network, where all can be read on the way: use https://")


@hookimpl
def nexus_tools() -> Iterable[type]:
    """Yield the component."""
    return [McpTools]
