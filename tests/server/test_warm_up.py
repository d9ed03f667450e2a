"""Warm-up: what first questions need is there before the server is ready, and no service is asked for it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Item, Pipeline, Store
from nexus_core.cli.output.serve_screen import show_server
from nexus_core.server.pipelines import ServedPipelines, load
from nexus_core.server.warm_up import warm_pipeline, warm_up
from nexus_core.testing.upstream import ScriptedUpstream, completion, json_answer
from nexus_core.toolkit.shared_resources import SharedResources

pytestmark = pytest.mark.slow

ASKS = """name: {name}
models:
  main: {{use: openai, model: gpt-4o-mini, base_url: "{url}", api_key: sk-test}}
  offline: {{use: extractive}}
steps:
  - gather: {{use: store, path: "{store}"}}
  - rank: bm25
{more}  - prompt: {{template: qa, budget: 1000}}
  - generate: {model}
"""
LISTWISE = '  - rank: {{use: rerank, model: {{use: openai, model: m, base_url: "{url}", api_key: sk-test}}}}\n'
ITEMS = [
    Item(id="ferry", title="Ferry", text="The ferry leaves at nine."),
    Item(id="mill", title="Mill", text="The ferry to the mill leaves at ten."),
]


LATER = {
    f"nexus_core.{name}"
    for name in (
        "batch", "cli.context_sync", "contract.blocks", "engine.expansion", "engine.tools", "evaluation", "lsp",
        "pipeline_tests", "recordings", "server.access.issuer", "server.access.sign_in", "server.cluster",
        "server.mcp.pipeline_calls", "server.mcp.protocol_server", "store.copying", "store.export_import",
        "store.ingest.ingest", "store.integrity", "store.postgres", "store.snapshots", "store.vectors.embedding",
        "store.vectors.graph", "testing", "toolkit.documents.registry",
    )
}  # fmt: skip
LATER |= {"authlib", "bs4", "fsspec", "gzip", "joserfc", "jsonschema", "mcp", "numpy", "psycopg", "pydantic", "rich"}
"""What a server does without until somebody uses what it does; with what is below."""
SERVES = """
import asyncio, json, sys
from pathlib import Path
from urllib.request import Request, urlopen
from nexus_core.cli.commands.serve import ServerSettings, SharedResources, Server, Store, load_all
from nexus_core.server.warm_up import warm_up

def ask(origin):
    body = json.dumps({"query": "When does the ferry leave?", "contextId": "coast"}).encode()
    with urlopen(Request(f"{origin}/api/queries", body, {"Content-Type": "application/json"})) as answer:
        return json.load(answer)["response"]

async def main(file, folder):
    store, shared = Store(folder), SharedResources()
    pipelines = load_all([Path(file)], store, shared).values()
    served = {each.name: each for each in pipelines}
    async with Server(served, store, ServerSettings(port=0), shared=shared) as server:
        await warm_up(server.serving)
        ready = {*sys.modules}
        assert "ferry" in await asyncio.to_thread(ask, server.origin)
        print(json.dumps([sorted(ready), sorted({*sys.modules} - ready)]))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_ready_server_has_imported_what_questions_need_and_no_more(tmp_path: Path) -> None:
    """Each module is memory of every worker: what seldom is used comes with its first use, and not with a question."""
    async with Store(tmp_path / "store") as store:
        await store.create("coast")
        await store.add("coast", ITEMS)
    file = tmp_path / "local.yaml"
    file.write_text(ASKS.format(name="local", url="http://[::1]", store=store.folder.name, model="offline", more=""))
    command = [sys.executable, "-c", SERVES, str(file), str(tmp_path / "store")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    ready, asked = json.loads(done.stdout)
    assert [name for name in ready if any(f"{name}.".startswith(f"{later}.") for later in LATER)] == []
    assert asked == []


async def test_readiness_waits_for_the_warm_up(start: Any, fakes: Any) -> None:
    """Before it the answer is 503 with a code of its own, after it 200; no model of a service is asked."""
    running = await start()
    running.server.serving.is_warm = False
    status, told = await running.call("GET", "/readyz")
    assert (status, told["code"]) == (503, "warming_up")
    assert (await running.call("GET", "/healthz"))[0] == 200
    await warm_up(running.server.serving)
    assert (await running.call("GET", "/readyz"))[0] == 200
    assert [connector.prompts for connector in fakes.connectors.values()] == [[], [], []]


async def test_a_context_is_searched_and_no_service_is_asked(tmp_path: Path) -> None:
    """Connectors are open; a ranker that asks a model is left out, a model that runs here answers."""
    folder = tmp_path / "store"
    async with Store(folder) as store:
        await store.create("coast")
        await store.add("coast", ITEMS)
    async with ScriptedUpstream(json_answer(completion("[1]"))) as upstream:
        store, shared, pipelines = Store(folder), SharedResources(), {}
        for name, model, more in (("remote", "main", LISTWISE.format(url=upstream.url)), ("local", "offline", "")):
            file = tmp_path / f"{name}.yaml"
            file.write_text(ASKS.format(name=name, url=upstream.url, store=folder, model=model, more=more))
            pipelines[name] = load(file, store, shared)
        async with ServedPipelines(pipelines, store, shared) as serving:
            serving.is_warm = False
            await warm_up(serving)
            assert serving.is_warm
            for pipeline in pipelines.values():
                source: Any = next(iter(pipeline._plan.all_steps())).step
                assert source.source._store is store  # one index in memory, and one thread that reads
                opened = pipeline._plan.resources
                assert all(opened.is_open(model.connector) for model in pipeline.models.list())
            assert upstream.requests == []
            # A run does ask both: the ranker, and the model that answers.
            await pipelines["remote"].run("When does the ferry leave?", context_id="coast")
            assert len(upstream.requests) == 2


@pytest.mark.parametrize("limit_s", [60.0, 0.05], ids=["warm", "in time"])
async def test_a_pipeline_is_warm_before_it_replaces_another(limit_s: float, tmp_path: Path) -> None:
    """The previous version answers meanwhile; what takes too long is waited for no longer."""
    (tmp_path / "slow.py").write_text(
        "import asyncio\n"
        "from nexus_core import Item, component, hookimpl\n"
        "@component\n"
        "class Slow:\n"
        "    '''Gives an item once it may.'''\n"
        "    name = 'slow'\n"
        "    begun, may = asyncio.Event(), asyncio.Event()\n"
        "    async def gather(self, query, run):\n"
        "        self.begun.set()\n"
        "        await self.may.wait()\n"
        "        return [Item(id='ferry', text='The ferry leaves at nine.')]\n"
        "@hookimpl\n"
        "def nexus_sources():\n"
        "    return [Slow]\n"
    )
    text = "name: own\nmodels: {main: {use: extractive}}\n"
    text += "steps: [{gather: SOURCE}, {prompt: qa}, {generate: main}]\n"
    for name, source in (("before", "{use: inline, items: [{id: a, text: b}]}"), ("after", "slow")):
        (tmp_path / f"{name}.yaml").write_text(text.replace("SOURCE", source) + "plugins: [./slow.py]\n")
    before, after = (Pipeline.load(tmp_path / f"{name}.yaml") for name in ("before", "after"))
    async with ServedPipelines({"own": before}, Store(tmp_path / "store")) as serving:
        serving.prepare = partial(warm_pipeline, serving, limit_s=limit_s)
        swapping = asyncio.create_task(serving.swap(before, after))
        first: Any = next(iter(after._plan.all_steps())).step
        if limit_s > 1:
            await asyncio.wait_for(first.source.begun.wait(), 30)
            assert serving.pipeline("own") is before
            first.source.may.set()
        await asyncio.wait_for(swapping, 30)
        assert serving.pipeline("own") is after


@pytest.mark.parametrize(
    ("source", "limit_s"),
    [
        ("{use: files, paths: [nowhere.md]}", 60.0),
        ("{use: stuck}", 0.05),
        ("{use: stuck, how: deaf}", 0.05),
        ("{use: stuck, how: cancels}", 60.0),
    ],
    ids=["failing", "hanging", "hanging though it is told to end", "cancelling what calls it"],
)
async def test_what_cannot_be_warmed_keeps_nobody_from_being_ready(
    source: str, limit_s: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and its own questions tell of it; nor from being loaded again."""
    (tmp_path / "stuck.py").write_text(
        "import asyncio\n"
        "from nexus_core import component, hookimpl, option\n"
        "@component\n"
        "class Stuck:\n"
        "    '''Yields nothing, ever.'''\n"
        "    name = 'stuck'\n"
        "    how: str = option('', help='In which way.')\n"
        "    async def gather(self, query, run):\n"
        "        if self.how == 'cancels':\n"
        "            asyncio.current_task().cancel()\n"
        "        try:\n"
        "            await asyncio.Event().wait()\n"
        "        except asyncio.CancelledError:\n"
        "            if self.how != 'deaf':\n"
        "                raise\n"
        "        await asyncio.Event().wait()\n"
        "@hookimpl\n"
        "def nexus_sources():\n"
        "    return [Stuck]\n"
    )
    (tmp_path / "own.yaml").write_text(
        "name: own\nplugins: [./stuck.py]\nmodels: {main: {use: extractive}}\n"
        f"steps: [{{gather: {source}}}, {{prompt: qa}}, {{generate: main}}]\n"
    )
    store = Store(tmp_path / "store")
    async with ServedPipelines({"own": Pipeline.load(tmp_path / "own.yaml")}, store) as serving:
        serving.is_warm = False
        with caplog.at_level("INFO"):
            await asyncio.wait_for(warm_up(serving, limit_s), 30)
        assert serving.is_warm
        serving.prepare = partial(warm_pipeline, serving, limit_s=limit_s)
        after = Pipeline.load(tmp_path / "own.yaml")
        await asyncio.wait_for(serving.swap(serving.pipelines["own"], after), 30)
        assert serving.pipeline("own") is after
    assert "not warm" in caplog.text


async def test_a_model_without_its_key_is_no_news(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may never be asked: what a pipeline does without a key, its runs show, and the log of a start does not."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "quoting.yaml").write_text(
        "name: quoting\nmodels: {main: {use: extractive}, other: {use: openai, model: gpt-4o}}\n"
        "steps:\n  - gather: {use: inline, items: [{id: a, text: The ferry leaves at nine.}]}\n  - prompt: qa\n"
        "  - generate: main\n"
    )
    store, pipeline = Store(tmp_path / "store"), Pipeline.load(tmp_path / "quoting.yaml")
    async with ServedPipelines({"quoting": pipeline}, store) as serving:
        serving.is_warm = False
        with caplog.at_level("INFO"):
            await warm_up(serving)
        assert serving.is_warm
        assert pipeline._plan.resources.is_open(pipeline.models.get("main").connector)
    assert "not warm" not in caplog.text


async def test_the_screen_tells_what_is_served_and_how_to_stop(start: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Address, page, pipelines, contexts with their items, keys."""
    running = await start()
    await running.store.create("coast")
    await running.store.add("coast", ITEMS)
    await show_server(running.server, {name: Path(f"{name}.yaml") for name in running.server.serving.pipelines})
    shown = capfd.readouterr().out
    for words in (
        f"served at {running.origin}", f"page       {running.origin}/", "quotes *  Quotes a context of the store.",
        "talk  Talks", "coast  2 items", "none: whoever uses this machine", "Ctrl-C",
    ):  # fmt: skip
        assert words in shown, shown
