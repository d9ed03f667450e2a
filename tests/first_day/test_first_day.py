"""Each row of the first day works as its command says, and needs no more steps than the peer beside it."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from attrs import frozen

from nexus_core.testing.upstream import chat_events, completion

PAGE = Path(__file__).with_name("README.md")
_ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (\d+|-) \| (.+) \| (\d+) \|$", re.MULTILINE)
_DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
"""A PNG of one pixel."""


@frozen
class Row:
    number: int
    steps_there: int | None
    here: str
    steps_here: int

    @property
    def commands(self) -> list[str]:
        return [text.replace("\\|", "|") for text in re.findall(r"`([^`]+)`", self.here) if "nexus " in text]


def rows() -> Iterator[Row]:
    for number, _, _, there, here, steps in _ROW.findall(PAGE.read_text("utf-8")):
        yield Row(int(number), None if there == "-" else int(there), here, int(steps))


def test_there_are_forty_and_none_needs_more() -> None:
    found = list(rows())
    assert [row.number for row in found] == list(range(1, 41))
    assert [row.number for row in found if row.steps_there is not None and row.steps_here > row.steps_there] == []
    for row in found:
        assert len(row.commands) <= row.steps_here
        for name, path in re.findall(r"\[(test_\w+)\]\(([^)]+)\)", row.here):
            assert f"def {name}(" in (PAGE.parent / path).read_text("utf-8"), row
        assert row.commands or "](" in row.here


def prepare(folder: Path) -> None:
    """Write what the commands read."""
    files = {
        "docs/leave.md": "# Leave\nEverybody has 28 days of leave a year. Up to five days may be carried over.\n",
        "docs/travel.md": "# Travel\nTrains are booked in second class.\n",
        "questions.jsonl": '{"query": "How many days of leave can be carried over?"}\n',
        "proof/corpus.jsonl": '{"_id": "leave", "title": "Leave", "text": "Everybody has 28 days."}\n',
        "proof/queries.jsonl": '{"_id": "q1", "text": "How many days has everybody?"}\n',
        "proof/qrels.tsv": "query-id\tcorpus-id\tscore\nq1\tleave\t1\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "dot.png").write_bytes(base64.b64decode(_DOT))
    program = folder / "bin" / "nexus"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nexus_core.cli.main "$@"\n')
    program.chmod(0o755)


async def answer(request: web.Request) -> web.Response:
    """Answer whatever is asked, as a stream where one is asked for."""
    said = "Up to five days may be carried over. [1]"
    if (await request.json()).get("stream"):
        return web.Response(body=b"".join(chat_events(said)), content_type="text/event-stream")
    return web.json_response(completion(said))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
async def test_the_commands_of_all_rows_run_in_their_order(tmp_path: Path) -> None:
    """By a shell, as they stand there."""
    prepare(tmp_path)
    service = web.Application()
    service.router.add_post("/{path:.*}", answer)
    async with TestServer(service) as upstream:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "NEXUS_"))},
            "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(tmp_path / "home"),
            "XDG_CONFIG_HOME": str(tmp_path / "home/config"),
            "XDG_DATA_HOME": str(tmp_path / "home/data"),
            "NEXUS_SECRETS": str(tmp_path / "home/secrets.json"),
            "OPENAI_API_KEY": "sk-first-day",
            "OPENAI_BASE_URL": str(upstream.make_url("/v1")),
        }
        (tmp_path / "home").mkdir()
        for row in rows():
            for command in row.commands:
                done = await asyncio.create_subprocess_shell(
                    command, cwd=tmp_path, env=environment, stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                )  # fmt: skip
                out, err = await done.communicate()
                assert done.returncode == 0, (row.number, command, out.decode(), err.decode())
                assert out or err, (row.number, command)
