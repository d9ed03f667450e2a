"""An MCP server made with the SDK, run as a program: `mcp_sdk_server.py plain [MARK]` or `http PORT [stateless]`.

With MARK it writes its number into that file when it begins, and knows by the lines there how often it has begun.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ImageContent, ResourceLink, TextContent, ToolAnnotations

MODE, *REST = sys.argv[1:]


def note(mark: str, text: str) -> None:
    """Write into a file what has come of a call."""
    Path(mark).write_text(text)


def plain(generation: int) -> Any:
    """Return a server of the SDK."""
    server = MCPServer("test")
    reads = ToolAnnotations(read_only_hint=True)

    @server.tool(annotations=reads, description=f"Say a text again. {'Now with a twist.' if generation > 1 else ''}")
    def echo(text: str) -> str:
        if text == "fail":
            raise ValueError("the mill has burnt")
        return text

    @server.tool(annotations=reads)
    def environment() -> str:
        """Tell the variables."""
        return json.dumps(dict(os.environ))

    @server.tool(annotations=reads)
    def figures() -> dict[str, int]:
        """Give figures."""
        return {"mills": 2, "ferries": 1}

    @server.tool(annotations=reads)
    def picture() -> CallToolResult:
        """Give a picture and a link."""
        image = ImageContent(data="aGk=", mime_type="image/png")
        link = ResourceLink(name="log", uri="file:///log")
        return CallToolResult(content=[TextContent(text="see"), image, link])

    @server.tool(annotations=reads)
    def fail() -> str:
        """Fail."""
        raise ValueError("the mill has burnt")

    @server.tool(annotations=reads)
    def read_and_die() -> str:
        """End the server; after its first life it answers."""
        if generation > 1:
            return f"life {generation}"
        os._exit(3)

    @server.tool()
    def die() -> str:
        """End the server."""
        os._exit(3)

    @server.tool(annotations=reads)
    async def wait(mark: str) -> str:
        """Wait until it is cancelled."""
        note(mark, "begun")
        try:
            await asyncio.sleep(30)
        except BaseException:
            note(mark, "cancelled")
            raise
        return "done"

    @server.tool(annotations=reads)
    def large() -> str:
        """Give 50 MB."""
        return "x" * 50_000_000

    @server.tool(annotations=reads)
    def rather_large() -> str:
        """Give 2 MB."""
        return "x" * 2_000_000

    @server.tool(annotations=reads)
    async def change(context: Context) -> str:
        """Change the tools of the server."""
        server.remove_tool("echo")
        await context.notify_tools_changed()
        return "changed"

    @server.tool(annotations=reads)
    def who(context: Context) -> str:
        """Tell the key that came."""
        request = context.request_context.request
        return str(request.headers.get("authorization")) if request is not None else "nobody"

    return server


if __name__ == "__main__":
    if MODE == "http":
        plain(1).run("streamable-http", host="127.0.0.1", port=int(REST[0]), stateless_http=REST[1:] == ["stateless"])
    else:
        lives = 1
        if REST:
            with open(REST[0], "a+") as mark:
                mark.write(f"{os.getpid()}\n")
                mark.seek(0)
                lives = len(mark.readlines())
        plain(lives).run()
