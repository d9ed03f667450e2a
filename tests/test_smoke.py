"""One of everything, end to end and fast: what `.ci/run` tries with the oldest versions of all dependencies."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import aiohttp
import pytest

from nexus_core import Item, Pipeline, Store
from nexus_core.server.server import Server
from nexus_core.server.settings import ServerSettings
from nexus_core.testing.upstream import ScriptedUpstream, chat_events, completion, json_answer, stream_answer

ROOT = Path(__file__).parents[1]
ASKS = """name: asks
models: {{main: {{use: openai, model: m, base_url: "{url}", api_key: sk-test, window: 8192}}}}
steps:
  - gather: {{use: inline, items: [{{id: leave, title: Leave, text: Everybody has 28 days of leave.}}]}}
  - rank: bm25
  - prompt: {{template: qa, budget: 2000}}
  - generate: main
"""


def nexus(*arguments: str) -> str:
    """Run the command in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "nexus_core.cli.main", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_examples_are_checked_and_the_quickstart_answers() -> None:
    """By the commands that the README shows first."""
    nexus("lint", "pipelines")
    assert "keys" in nexus("run", "pipelines/quickstart.yaml", "Do API keys ever appear in errors or logs?").lower()


@pytest.mark.slow
async def test_a_store_takes_in_a_folder_and_finds(tmp_path: Path) -> None:
    """Markdown, HTML and code, through readers, index and search."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("# Ferries\n\nThe ferry leaves at nine.\n")
    (docs / "b.html").write_text("<h1>Bakers</h1><p>The baker opens at <b>six</b>.</p>")
    (docs / "c.py").write_text("def harbour():\n    return 'boats'\n")
    nexus("context", "add", "harbour", str(docs), "--store", str(tmp_path / "store"))
    async with Store(tmp_path / "store") as store:
        assert "nine" in (await store.search("harbour", "When does the ferry leave?")).items[0].text
        assert "six" in (await store.search("harbour", "baker")).items[0].text
        await store.add("harbour", [Item(id="x", text="The lighthouse keeper.", metadata={"n": 1})])
        assert (await store.search("harbour", "lighthouse")).items[0].id == "x"
        assert await store.check() == ()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_server_answers_whole_and_in_a_stream(tmp_path: Path, stream: bool) -> None:
    """By the query API, through the connector to a service and back."""
    script = stream_answer(chat_events("Twenty-eight.")) if stream else json_answer(completion("Twenty-eight."))
    async with ScriptedUpstream(script) as upstream:
        file = tmp_path / "asks.yaml"
        file.write_text(ASKS.format(url=upstream.url))
        async with Server({"asks": Pipeline.load(file)}, Store(tmp_path / "store"), ServerSettings(port=0)) as server:
            body = {"model": "nexus/asks", "stream": stream, "messages": [{"role": "user", "content": "How many?"}]}
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{server.origin}/v1/chat/completions", json=body) as answer,
            ):
                assert answer.status == 200, await answer.text()
                text = await answer.text()
    assert len(upstream.requests) == 1
    assert ("data: [DONE]" in text) is stream


def test_every_dependency_has_a_floor() -> None:
    """So that the oldest versions can be installed and tried, and none with a known hole is let in."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["pdf"], *extras["testing"]]
    assert not [each for each in wanted if not re.match(r"[\w.-]+>=\d", each)]
    floors = dict(each.split(",")[0].split(">=") for each in wanted)
    for name, least in {
        "pypdfium2": (5,),
        "orjson": (3, 11, 6),
        "filelock": (3, 20, 3),
        "aiohttp": (3, 14, 3),
    }.items():
        assert tuple(map(int, floors[name].split("."))) >= least
