"""Pipelines out of fakes: a catalogue with a plugin `fake` of every kind, and a file to load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nexus_core import Item, Pipeline, RunContext, component, hookimpl, option, ranker
from nexus_core.engine.plugins import Origin, PluginRegistry
from nexus_core.testing.fakes import FakeConnector, FakeSink, FakeSource

Load = Callable[..., Pipeline]


class Fakes:
    """The fakes that the pipelines of one test use, by the name that YAML gives them."""

    def __init__(self) -> None:
        self.connectors: dict[str, FakeConnector] = {}
        self.source = FakeSource(
            items=tuple(Item(id=f"i{n}", title=f"T{n}", text=f"Text number {n}.") for n in range(3))
        )
        self.sink = FakeSink()


@pytest.fixture
def fakes() -> Fakes:
    """Fakes to be set up before the pipeline is loaded and read afterwards."""
    return Fakes()


@pytest.fixture
def load(fakes: Fakes, tmp_path: Path) -> Load:
    """Load a pipeline whose plugin `fake` is made of the fakes."""

    def loaded(text: str, **options: Any) -> Pipeline:
        file = tmp_path / "pipeline.yaml"
        file.write_text(text)
        catalogue = PluginRegistry.installed()
        origins = [origin for group in catalogue._origins.values() for origin in group]
        fake = Origin(name="fake", target="fake", load=lambda: fake_plugin(fakes))
        return Pipeline.load(file, catalogue=PluginRegistry([*origins, fake]), environment={}, **options)

    return loaded


def fake_plugin(fakes: Fakes) -> Any:
    """Return a plugin module that yields thin components around the fakes."""

    @component
    class Connector:
        """Answers as the test says."""

        to: str = option("main", help="Which fake connector.")

        @property
        def model_info(self) -> Any:
            return fakes.connectors[self.to].model_info

        def __getattr__(self, name: str) -> Any:
            return getattr(fakes.connectors[object.__getattribute__(self, "to")], name)

        def send_prompt(self, prompt: Any, options: Any) -> Any:
            return fakes.connectors[self.to].send_prompt(prompt, options)

        def stream_response(self, prompt: Any, options: Any) -> Any:
            return fakes.connectors[self.to].stream_response(prompt, options)

    @component
    class Source:
        """Yields the items of the test."""

        async def gather(self, query: str, run: RunContext) -> Any:
            return await fakes.source.gather(query, run)

    @component
    class Sink:
        """Keeps the events of the test."""

        def emit(self, event: Any) -> None:
            fakes.sink.emit(event)

        def flush(self) -> None:
            fakes.sink.flush()

    @ranker
    def backwards(query: str, items: Any) -> list[float]:
        """Puts the last item first."""
        return [float(place) for place in range(len(items))]

    @ranker
    def raising(query: str, items: Any) -> list[float]:
        """Fails."""
        raise KeyError("no such thing")

    @ranker
    def short(query: str, items: Any) -> list[float]:
        """Forgets an item."""
        return [1.0] * (len(items) - 1)

    module: Any = ModuleType("fake")
    module.nexus_connectors = hookimpl(lambda: [Connector], specname="nexus_connectors")
    module.nexus_sources = hookimpl(lambda: [Source], specname="nexus_sources")
    module.nexus_sinks = hookimpl(lambda: [Sink], specname="nexus_sinks")
    module.nexus_rankers = hookimpl(lambda: [backwards, raising, short], specname="nexus_rankers")
    return module
