"""One connection to an MCP server, by the official SDK; kept by a task of its own, since its scopes belong to one task.

Imports the SDK, so it is imported at first use only.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

import anyio
import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from nexus_core import PluginError, ToolResult
from nexus_core.toolkit import foreign_text
from nexus_tools.mcp.definitions import ListedTool, LostConnectionError, McpServer, ServerRefusalError
from nexus_tools.mcp.stdio import MOST_MESSAGE, program_streams

MOST_PAGES = 100
"""Of a list of tools."""
MOST_LISTED = 20_000
_CLOSE_S = 6.0
"""For a server to be left; then the connection is cut."""
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)


class McpConnection:
    """A connection: opened once, closed once."""

    def __init__(self, server: McpServer, connect_s: float) -> None:
        self._server = server
        self._connect_s = connect_s
        self._ending = asyncio.Event()
        self._ready = asyncio.Event()
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._was_too_large = False
        self.has_changed = False
        """The server has said that its tools are others now."""

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._ending.is_set() or self._task is None or self._task.done()

    async def open(self) -> list[ListedTool]:
        """Connect and return the tools of the server; raises PluginError where that fails, or takes too long."""
        self._task = task = asyncio.create_task(self._keep())
        ready = asyncio.create_task(self._ready.wait())
        try:
            async with asyncio.timeout(self._connect_s):
                await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
                if not self._ready.is_set():
                    raise PluginError(f"{self._server.shown} does not answer: {_why(task.exception())}")
                return await self._list()
        except TimeoutError as error:
            await self.close()
            raise PluginError(
                f"{self._server.shown} has not told its tools within {self._connect_s:g} s (connect_s)"
            ) from error
        except BaseException:
            await self.close()
            raise
        finally:
            ready.cancel()

    async def _list(self) -> list[ListedTool]:
        assert self._client is not None
        found: list[ListedTool] = []
        cursor = None
        for _ in range(MOST_PAGES):
            try:
                page = await self._answer_to(self._client.list_tools(cursor=cursor))
            except (LostConnectionError, ServerRefusalError) as error:
                raise PluginError(f"{self._server.shown} does not tell its tools: {error}") from error
            found += map(_listed, page.tools)
            cursor = page.next_cursor
            if len(found) > MOST_LISTED:
                break
            if cursor is None:
                return found
        raise PluginError(
            f"{self._server.shown} lists more than {MOST_LISTED:,} tools, or in more than {MOST_PAGES} parts"
        )

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Return the result of a tool; raises LostConnectionError, and ServerRefusalError where it gives none.

        Whoever is cancelled cancels the call in the server, too.
        """
        assert self._client is not None
        request = types.CallToolRequest(params=types.CallToolRequestParams(name=name, arguments=dict(arguments)))
        # Not by `call_tool`, which holds results to schemas of the server, whose patterns may never end.
        return tool_result(await self._answer_to(self._client.session.send_request(request, types.CallToolResult)))

    async def _answer_to(self, request: Any) -> Any:
        """Return what a request gives, or raise as soon as the connection has ended."""
        assert self._task is not None
        asking = asyncio.ensure_future(request)
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait((asking, ending, self._task), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise self._lost()
            return asking.result()
        except MCPError as error:
            raise self._read_error(error) from error
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            raise self._lost() from error
        except ValueError as error:  # pydantic's
            raise ServerRefusalError("the answer is not what the protocol says") from error
        finally:
            ending.cancel()
            if not asking.done():
                asking.cancel()
            await asyncio.wait((asking,), timeout=1.0)

    def _lost(self) -> Exception:
        if self._was_too_large:
            return ServerRefusalError(f"a message of it is larger than {MOST_MESSAGE // 2**20} MiB")
        return LostConnectionError("the connection has ended")

    def _read_error(self, error: MCPError) -> Exception:
        if error.code == types.CONNECTION_CLOSED:
            return self._lost()
        if error.code == types.INVALID_REQUEST and error.message == "Session terminated":
            return LostConnectionError("the session has ended", has_run=False)
        if error.code == types.PARSE_ERROR:
            return ServerRefusalError(f"the answer cannot be read, or is larger than {MOST_MESSAGE // 2**20} MiB")
        said = foreign_text(error.message, secrets=self._server.secrets, longest=300)
        return ServerRefusalError(f"the error {error.code} ({said})")

    async def close(self) -> None:
        """Leave the server; a program is ended."""
        self._ending.set()
        if self._task is None:
            return
        if not self._ready.is_set():  # it is still to begin, and hears nothing
            self._task.cancel()
        _, running = await asyncio.wait((self._task,), timeout=_CLOSE_S)
        if running:
            self._task.cancel()
            await asyncio.wait(running, timeout=_CLOSE_S)
        if self._task.done() and not self._task.cancelled():
            self._task.exception()  # it has been told of

    async def _keep(self) -> None:
        who = types.Implementation(name="contextnexus", version=version("contextnexus"))
        try:
            async with (
                AsyncExitStack() as stack,
                Client(await self._transport(stack), cache=None, client_info=who, message_handler=self._hear) as client,
            ):
                self._client = client
                self._ready.set()
                listening = asyncio.create_task(self._listen(client))
                try:
                    await self._ending.wait()
                finally:
                    listening.cancel()
                    await asyncio.wait((listening,))
        finally:
            self._ending.set()

    async def _transport(self, stack: AsyncExitStack) -> AbstractAsyncContextManager[Any]:
        if self._server.path:
            return program_streams(self._server, self._ending, self._note_size)
        client = await stack.enter_async_context(_http_client(self._server, self._connect_s))
        return streamable_http_client(self._server.url, http_client=client, max_sse_event_size=MOST_MESSAGE)

    async def _listen(self, client: Client) -> None:
        """Hear of changes of the tools from servers that tell only those who ask for it; others tell `_hear`."""
        tools = client.server_capabilities.tools
        if tools is None or not tools.list_changed:
            return
        # However it ends: whoever is not told of a change goes on with what there was.
        with suppress(MCPError, RuntimeError, ValueError, TimeoutError):
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self.has_changed = True

    def _note_size(self) -> None:
        self._was_too_large = True

    async def _hear(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.has_changed = True


@asynccontextmanager
async def _http_client(server: McpServer, connect_s: float) -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client without proxies of the environment, cookies kept or bodies unpacked, of which each is bounded."""

    async def bound(response: httpx2.Response) -> None:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise httpx2.DecodingError("the answer is compressed, which was not asked for")
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _BoundedStream(response.stream)

    async with httpx2.AsyncClient(
        headers={"Accept-Encoding": "identity", "User-Agent": "contextnexus", **server.headers},
        timeout=httpx2.Timeout(connect_s, read=None),
        trust_env=False,
        event_hooks={"response": [bound]},
    ) as client:
        yield client


class _BoundedStream(httpx2.AsyncByteStream):
    """The body of an answer, up to the size of a message."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._stream:
            size += len(piece)
            if size > MOST_MESSAGE:
                raise httpx2.StreamError("the answer is too large")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


def _listed(tool: types.Tool) -> ListedTool:
    hint = tool.annotations.read_only_hint if tool.annotations is not None else None
    return ListedTool(
        name=tool.name, description=tool.description or "", schema=tool.input_schema, reads_only=hint is True
    )


def tool_result(result: types.CallToolResult) -> ToolResult:
    """Return what a tool gave as text: its texts, structured content as JSON, and a note for what is no text."""
    parts = [_text_of(block) for block in result.content]
    structured = result.structured_content
    if structured is not None and not any(_holds(part, structured) for part in parts):
        parts.append(json.dumps(structured, ensure_ascii=False, indent=1))
    text = "\n\n".join(filter(None, parts))
    if result.is_error:
        return ToolResult(text=f"Error: {text or 'the tool failed, and does not say why'}", is_error=True)
    return ToolResult(text=text or "done")


def _text_of(block: object) -> str:
    match block:
        case types.TextContent(text=text):
            return text
        case types.ImageContent(mime_type=kind) | types.AudioContent(mime_type=kind):
            what = "an image" if isinstance(block, types.ImageContent) else "a sound"
            return f"({what}{_of_type(kind)} was given, and cannot be shown here)"
        case types.ResourceLink(uri=uri):
            return f"(a link to a resource was given, which is not followed: {str(uri)[:2_000]})"
        case types.EmbeddedResource(resource=types.TextResourceContents(text=text)):
            return text
        case types.EmbeddedResource(resource=resource):
            return f"(a file{_of_type(resource.mime_type)} was given, and cannot be shown here)"
    return "(something was given that cannot be shown here)"


def _of_type(kind: str | None) -> str:
    return f" of the type {kind}" if kind and _MEDIA_TYPE.fullmatch(kind) else ""


def _holds(text: str, structured: object) -> bool:
    """Tell whether a text is the structured content once more, as servers give it for older clients.

    The SDK calls what is no object its `result`.
    """
    if structured == {"result": text}:
        return True
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return structured in (value, {"result": value})


def _why(error: BaseException | None) -> str:
    """Return why there is no connection, without words of the other side."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case None:
            return "it ended at once"
        case PluginError():
            return str(error)
        case MCPError(code=types.CONNECTION_CLOSED):
            return (
                "it has ended: start its command in a shell to see why (what it printed is in the log, at level debug)"
            )
        case MCPError():
            return f"it answers with the error {error.code}"
    return f"there is no connection ({type(error).__name__})"
