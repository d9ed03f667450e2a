"""A model service for the tests of the engine `ray`: echoes, counts what it is asked, and can be slow.

    python tests/ray/service.py DELAY_S

The line `ready PORT` on standard output says that it listens; `GET /seen` returns what it has been asked.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter

from aiohttp import web

SEEN: web.AppKey[Counter[str]] = web.AppKey("seen", Counter)
"""Requests by the last line of their prompt."""
KEYS: web.AppKey[Counter[str]] = web.AppKey("keys", Counter)
"""The headers `Authorization` that came."""


def build_app(delay_s: float) -> web.Application:
    """Return the service."""

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        query = body["messages"][-1]["content"].strip().splitlines()[-1]
        request.app[SEEN][query] += 1
        request.app[KEYS][request.headers.get("Authorization", "")] += 1
        await asyncio.sleep(delay_s)
        message = {"role": "assistant", "content": f"Answer to {query} [1]"}
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }
        )

    async def show(request: web.Request) -> web.Response:
        keys = request.app[KEYS]
        return web.json_response({"seen": request.app[SEEN], "keys": sorted(keys)})

    app = web.Application()
    app[SEEN] = Counter[str]()
    app[KEYS] = Counter[str]()
    app.add_routes([web.post("/v1/chat/completions", answer), web.get("/seen", show)])
    return app


async def serve(delay_s: float) -> None:
    """Serve until the process is ended."""
    runner = web.AppRunner(build_app(delay_s), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print("ready", runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
