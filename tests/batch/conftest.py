"""A model service on loopback that counts what it is asked and what it charges, and `nexus batch` as a process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import define, field

PIPELINE = """
name: batch
models:
  main: {{use: openai, model: gpt-4o-mini, base_url: "{url}", api_key: "${{BATCH_KEY}}", retry: {retry},
         options: {{max_tokens: 50}}}}
steps:
  - prompt:
      template:
        text: "{{{{ query }}}}{{% for message in history %}} | {{{{ message.content }}}}{{% endfor %}}"
  - generate: main
"""
KEY = "sk-canary-4711"

Behave = Callable[[str, int], tuple[int, dict[str, str]]]


@define
class Service:
    """What it has seen; `behave` gives the status and headers for the n-th request of a query."""

    url: str = ""
    delay_s: float = 0.0
    behave: Behave = lambda query, time: (200, {})
    seen: list[str] = field(factory=list)
    bill: int = 0
    """Tokens of every answer that it began to send."""
    open: int = 0
    most_open: int = 0
    hold: asyncio.Event | None = None
    """Where there is one, no answer goes out before it is set."""
    asked: asyncio.Event = field(factory=asyncio.Event)

    async def seen_above(self, count: int, process: asyncio.subprocess.Process) -> None:
        """Wait until it has seen more requests than so many, or the process that asks has ended."""
        ended = asyncio.ensure_future(process.wait())
        while len(self.seen) <= count and not ended.done():
            self.asked.clear()
            asked = asyncio.ensure_future(self.asked.wait())
            await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
        ended.cancel()

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a chat completion."""
        query = (await request.json())["messages"][-1]["content"]
        self.seen.append(query)
        self.asked.set()
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await (self.hold.wait() if self.hold else asyncio.sleep(self.delay_s))
            status, headers = self.behave(query, Counter(self.seen)[query])
        finally:
            self.open -= 1
        if status != 200:
            return web.json_response({"error": {"message": "no", "code": "c"}}, status=status, headers=headers)
        prompt, completion = 5 + len(query) % 7, 3 + len(query) % 5
        self.bill += prompt + completion
        message = {"role": "assistant", "content": f"About {query}"}
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = {"object": "chat.completion", "model": "gpt-4o-mini", "choices": [choice], "usage": usage}
        return web.json_response(body, headers=headers)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Serve on a free port of loopback."""
    made = Service()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", made.answer)
    runner = web.AppRunner(app, handler_cancellation=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield made
    await runner.cleanup()


def write_pipeline(folder: Path, url: str, retry: str = "false") -> Path:
    """Write the pipeline that asks the service."""
    path = folder / "batch.yaml"
    path.write_text(PIPELINE.format(url=url, retry=retry))
    return path


def write_questions(path: Path, records: Iterable[dict[str, Any]]) -> Path:
    """Write an input."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


async def start(folder: Path, *arguments: object, stdin: int = subprocess.DEVNULL) -> asyncio.subprocess.Process:
    """Start `nexus batch` in a process of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "nexus_core", "batch", *map(str, arguments),
        cwd=folder, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"PATH": "", "HOME": str(folder), "BATCH_KEY": KEY},
    )  # fmt: skip


async def batch(folder: Path, *arguments: object, stdin: bytes | None = None) -> tuple[int, str, str]:
    """Run `nexus batch`, and return its exit code and what it said."""
    process = await start(folder, *arguments, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE)
    out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def results(path: Path) -> list[dict[str, Any]]:
    """Return the results of an output."""
    return [json.loads(line) for line in path.read_text().splitlines()]
