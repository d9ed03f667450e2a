"""Two model services that fail as services do, in a process of their own, so that only the client is measured.

    python tests/bench/flaky.py [SEED]

The first does badly with a third of its requests, in many ways; the second is nearly well. The line `ready PORT PORT`
on standard output says that they listen. The line `connections` on standard input is answered by how many are open,
the line `requests` by the requests of each `user`, by service, in JSON. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import random
import struct
import sys
from collections import Counter
from collections.abc import Sequence
from socket import IPPROTO_TCP, SO_LINGER, SOL_SOCKET, TCP_NODELAY
from typing import Any

from asked import answer

from nexus_core.testing.answers import (
    chat_events,
    completion,
    delta,
    error_body,
    event,
    http_head,
    json_answer,
    stream_answer,
)

Steps = Sequence[Any]
"""Bytes to write, seconds to pause, or one of the ends below."""
SILENCE, FIN, RST = "silence", "fin", "rst"

WORDS = [f"word{n} " for n in range(12)]
WHOLE: Steps = json_answer(completion("".join(WORDS)))
EVENTS = chat_events(*WORDS)
BUSY = error_body("busy", type="overloaded_error")
REFUSED: list[Steps] = [
    json_answer(error_body("slow down", code="rate_limit_exceeded"), status=429, headers={"Retry-After": "0.05"}),
    json_answer(error_body("slow down"), status=429),
    json_answer(error_body("oops"), status=500),
    json_answer(BUSY, status=503),
    [SILENCE],
    [FIN],
    [RST],
]
"""What may come of any request."""


def paced(events: Sequence[bytes], seconds: float) -> Steps:
    """Return a stream with a pause before each event."""
    head, *chunks = stream_answer(events)
    return [head, *(step for chunk in chunks for step in (seconds, chunk))]


def broken(end: Any) -> list[Steps]:
    """Return streams that end so after each event."""
    return [[*stream_answer(EVENTS[:n], ends=False), end] for n in range(len(EVENTS) - 2)]


HALF: list[Steps] = [[WHOLE[0][:-40], end] for end in (FIN, RST, SILENCE)]
ANSWERS: dict[bool, dict[str, list[Steps]]] = {
    False: {
        "well": [[0.02, *WHOLE], [0.1, *WHOLE]],
        "slow": [[0.2, *WHOLE], [0.4, *WHOLE]],
        "refused": REFUSED,
        "broken": HALF,
        "error in a 200": [json_answer(BUSY)],
        "no JSON": [[http_head({"Content-Type": "text/html", "Content-Length": "6"}) + b"<html>"]],
    },
    True: {
        "well": [stream_answer([b"".join(EVENTS)]), paced(EVENTS, 0.005), paced(EVENTS, 0.01)],
        "slow": [paced(EVENTS, 0.03), paced(EVENTS, 0.05)],
        "refused": REFUSED,
        "broken": [*broken(FIN), *broken(RST), *broken(SILENCE)],
        "error in a 200": [stream_answer([event(delta("so ")) * n, event(BUSY)]) for n in range(3)],
        "no stream": [WHOLE],
    },
}
SHARES = {"main": (0.66, 0.1, 0.1, 0.08, 0.04, 0.02), "spare": (0.84, 0.1, 0.02, 0.02, 0.01, 0.01)}


class Flaky:
    """One service."""

    def __init__(self, name: str, dice: random.Random) -> None:
        self.shares = SHARES[name]
        self.dice = dice
        self.requests: Counter[str] = Counter()
        """By their `user`, which says the run."""
        self.writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        """Listen on a free port and return it."""
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection, one way or another."""
        self.writers.add(writer)
        writer.get_extra_info("socket").setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
                body = json.loads(await reader.readexactly(length))
                self.requests[body["user"]] += 1
                if not await self.play(self.chosen(bool(body.get("stream"))), reader, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.writers.discard(writer)
            writer.transport.abort()

    def chosen(self, streamed: bool) -> Steps:
        """Return one of the answers, each with its share."""
        (kind,) = self.dice.choices(list(ANSWERS[streamed].values()), self.shares)
        return self.dice.choice(kind)

    async def play(self, steps: Steps, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Do one step after the other; return whether the connection can be used again."""
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                if step == RST:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)
                elif step == FIN:
                    writer.write_eof()
                if step != RST:
                    await reader.read()  # until the client closes
                return False
        return True


async def serve(seed: int) -> None:
    """Serve and tell the counts until the standard input ends."""
    services = {name: Flaky(name, random.Random(f"{seed}/{name}")) for name in SHARES}
    ports = [await service.start() for service in services.values()]
    print("ready", *ports, flush=True)

    async def tell(word: str) -> object:
        if word == "requests":
            return {name: service.requests for name, service in services.items()}
        return sum(len(service.writers) for service in services.values())

    await answer(tell)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) if sys.argv[1:] else 0))
