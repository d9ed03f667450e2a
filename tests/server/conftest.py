"""A server that runs: pipelines out of fakes and of `extractive`, over a store with one small context."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import aiohttp
import pytest
from attrs import frozen

from nexus_core import Item, Pipeline, Ranking, RunContext, component, hookimpl, option
from nexus_core.engine.plugins import Origin, PluginRegistry
from nexus_core.server.access.access import Verify
from nexus_core.server.server import Server
from nexus_core.server.settings import ServerLimits, ServerSettings
from nexus_core.store.store import Store
from nexus_core.testing.fakes import FakeConnector

QUOTES = """name: quotes
description: Quotes a context of the store.
models: {main: {use: extractive}}
steps:
  - gather: {use: fake}
  - prompt: chat
  - generate: main
"""
TALK = """name: talk
description: Talks about a context of the store.
inputs: {systemPrompt: {default: "", description: What the model is told first.}}
models:
  main: {use: fake, to: main, aliases: [best]}
  spare: {use: fake, to: spare}
steps:
  - gather: {use: fake}
  - prompt: {template: answer.jinja, variables: {told: "{{ inputs.systemPrompt }}"}}
  - generate: main
"""
OWN = """name: own
models: {main: {use: fake, to: own}}
steps:
  - gather: {use: inline, items: [{id: leave, title: Leave, text: Everybody has 28 days of leave.}]}
  - prompt: chat
  - generate: main
"""
ANSWER = """[system]
Answer. {{ told }}

[history]

[user]
{% for item in items %}{{ item.text }}
{% endfor %}{{ query }}
"""
PIPELINES = {"quotes": QUOTES, "talk": TALK, "own": OWN}
"""`quotes` is the default one; `quotes` and `talk` take a context, `own` does not."""
ITEMS = (
    Item(id="leave", title="Leave", text="Everybody has 28 days of leave a year.", tags=("time",)),
    Item(id="trains", title="Trains", text="Trains are booked in second class.", tags=("travel",), source="travel.md"),
    Item(id="flights", title="Flights", text="Flights need the consent of a manager.", tags=("travel",)),
)
"""Of the context `handbook`."""


class Fakes:
    """The connectors `main`, `spare` and `own` of the pipelines, to be set up and looked at."""

    def __init__(self) -> None:
        self.connectors = {name: FakeConnector() for name in ("main", "spare", "own")}
        self.store: Store | None = None
        """That of the running server, for the source."""


@frozen(kw_only=True)
class Running:
    """A server that listens, and a session to ask it."""

    server: Server
    store: Store
    session: aiohttp.ClientSession
    origin: str
    """Such as `http://127.0.0.1:8000`, without the prefix."""

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Return status and JSON of an answer; `None` for an empty one."""
        async with self.session.request(method, self.origin + path, **more) as response:
            data = await response.read()
            return response.status, await response.json() if data else None


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
def fakes() -> Fakes:
    """The fakes behind the pipelines."""
    return Fakes()


@pytest.fixture
async def start(tmp_path: Path, fakes: Fakes) -> AsyncIterator[Start]:
    """Start a server: `start(pipelines=..., limits=..., verify=..., store=..., **settings)`, all with defaults."""
    async with AsyncExitStack() as opened:

        async def started(
            *,
            pipelines: Mapping[str, str] = PIPELINES,
            limits: ServerLimits | None = None,
            verify: Verify | None = None,
            store: Store | None = None,
            **settings: Any,
        ) -> Running:
            kept = store or Store(tmp_path / "store")
            fakes.store = kept
            loaded = load_pipelines(tmp_path, pipelines, fakes, kept)
            server = Server(
                loaded, kept, ServerSettings(port=0, limits=limits or ServerLimits(), **settings), verify=verify
            )
            await opened.enter_async_context(server)
            session = await opened.enter_async_context(aiohttp.ClientSession())
            return Running(server=server, store=kept, session=session, origin=f"http://127.0.0.1:{server.port}")

        yield started


@pytest.fixture(scope="session")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the context `handbook`, to be copied: to sync files and to build an index takes a while."""
    folder = tmp_path_factory.mktemp("handbook") / "store"

    async def fill() -> None:
        async with Store(folder) as store:
            await store.create("handbook", description="The staff handbook")
            await store.add("handbook", ITEMS)
            await store.search("handbook", "leave")

    asyncio.run(fill())
    return folder


@pytest.fixture
async def running(start: Start, handbook: Path, tmp_path: Path) -> Running:
    """A server with all pipelines, and the context `handbook`."""
    shutil.copytree(handbook, tmp_path / "store")
    return await start()


def load_pipelines(folder: Path, texts: Mapping[str, str], fakes: Fakes, store: Store) -> dict[str, Pipeline]:
    """Load pipelines whose plugin `fake` is made of the fakes."""
    (folder / "answer.jinja").write_text(ANSWER)
    catalogue = PluginRegistry.installed()
    origins = [origin for group in catalogue._origins.values() for origin in group]
    fake = Origin(name="fake", target="fake", load=lambda: fake_plugin(fakes))
    loaded = {}
    for name, text in texts.items():
        file = folder / f"{name}.yaml"
        file.write_text(text)
        pipeline = Pipeline.load(
            file,
            catalogue=PluginRegistry([*origins, fake]),
            environment={},
            conversations=store.conversations,
            answers=store.answers,
        )
        loaded[pipeline.name] = pipeline
    return loaded


def fake_plugin(fakes: Fakes) -> Any:
    """Return a plugin module: a connector in front of each fake, and a source that searches the server's store."""

    @component
    class Connector:
        """Answers as the test says."""

        to: str = option("main", help="Which fake connector.")

        @property
        def model_info(self) -> Any:
            """The fake's."""
            return fakes.connectors[self.to].model_info

        def send_prompt(self, prompt: Any, options: Any) -> Any:
            """Ask the fake."""
            return fakes.connectors[self.to].send_prompt(prompt, options)

        def stream_response(self, prompt: Any, options: Any) -> Any:
            """Ask the fake."""
            return fakes.connectors[self.to].stream_response(prompt, options)

    @component
    class Source:
        """Searches the context that the caller chooses."""

        takes_context: ClassVar[bool] = True

        async def gather(self, query: str, run: RunContext) -> Ranking:
            """Return what the search finds."""
            assert fakes.store is not None
            return await fakes.store.search(run.context_id or "", query, limit=50)

    module: Any = ModuleType("fake")
    module.nexus_connectors = hookimpl(lambda: [Connector], specname="nexus_connectors")
    module.nexus_sources = hookimpl(lambda: [Source], specname="nexus_sources")
    return module
