"""Pipelines whose models play a script, to be recorded and replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from nexus_core import Pipeline, component, hookimpl, option
from nexus_core.engine.interceptors import Interceptor
from nexus_core.engine.plugins import Origin, PluginRegistry
from nexus_core.testing.fakes import FakeConnector, Reply

PIPELINE = """
name: played
models:
  main: {use: played, script: main, retry: {attempts: 2, first_wait: 1ms}, fallback: [spare]}
  spare: {use: played, script: spare, retry: {attempts: 1}}
steps:
  - generate: main
"""

Scripts = Mapping[str, Sequence[Reply] | Any]


def load_played(
    folder: Path, scripts: Scripts, interceptor: Interceptor | None = None, text: str = PIPELINE
) -> Pipeline:
    """Load a pipeline whose connectors play the scripts; a connector that is no list of replies stands for itself."""
    playing: dict[str, Any] = {
        name: FakeConnector(replies=script) if isinstance(script, list) else script for name, script in scripts.items()
    }

    @component
    class Played:
        """Answers as the test says."""

        script: str = option("main", help="Which script.")

        def __getattr__(self, name: str) -> Any:
            return getattr(playing[object.__getattribute__(self, "script")], name)

        @property
        def model_info(self) -> Any:
            return playing[self.script].model_info

        def send_prompt(self, prompt: Any, options: Any) -> Any:
            return playing[self.script].send_prompt(prompt, options)

        def stream_response(self, prompt: Any, options: Any) -> Any:
            return playing[self.script].stream_response(prompt, options)

    module: Any = ModuleType("played")
    module.nexus_connectors = hookimpl(lambda: [Played], specname="nexus_connectors")
    origins = [origin for group in PluginRegistry.installed()._origins.values() for origin in group]
    registry = PluginRegistry([*origins, Origin(name="played", target="played", load=lambda: module)])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "played.yaml").write_text(text)
    return Pipeline.load(folder / "played.yaml", catalogue=registry, environment={}, interceptor=interceptor)
