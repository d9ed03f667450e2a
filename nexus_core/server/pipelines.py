"""What a server serves: pipelines by name, the store behind them, and what they share."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from nexus_core.config.sibling_files import is_pipeline_file
from nexus_core.contract.errors import ConfigError, NexusError, Problem, UsageError
from nexus_core.contract.run_context import Viewer
from nexus_core.engine.pipeline import Pipeline
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.server.errors import Failure
from nexus_core.store.shared_store import lent
from nexus_core.store.store import Store
from nexus_core.store.store_view import StoreView
from nexus_core.toolkit.shared_resources import SharedResources
from nexus_core.toolkit.suggest import instead, listed


def pipeline_files(paths: Sequence[str]) -> list[Path]:
    """Return the files that are named, folders standing for the pipelines in them; raises UsageError for none."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += sorted(file for file in path.iterdir() if is_pipeline_file(file))
        elif path.is_file():
            found.append(path)
        else:
            raise UsageError(f"there is no file or folder {path}: name pipelines, or a folder of them")
    if not found:
        raise UsageError(f"there is no pipeline in {listed(paths)}: name a YAML file, or a folder that holds some")
    return list(dict.fromkeys(found))


def load(
    file: Path,
    store: Store,
    shared: SharedResources,
    environment: Mapping[str, str] | None = None,
    catalogue: PluginRegistry | None = None,
    overrides: Sequence[str] = (),
) -> Pipeline:
    """Load one pipeline over a store; raises ConfigError."""
    return Pipeline.load(
        file,
        overrides=overrides,
        catalogue=catalogue or PluginRegistry.installed(),
        shared=shared,
        conversations=store.conversations,
        answers=store.answers,
        environment=os.environ if environment is None else environment,
    )


def load_all(
    files: Sequence[Path],
    store: Store,
    shared: SharedResources,
    environment: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> dict[Path, Pipeline]:
    """Load pipelines, by file; raises ConfigError with the problems of all of them, two of one name included."""
    catalogue = PluginRegistry.installed()
    problems: list[Problem] = []
    loaded: dict[str, tuple[Path, Pipeline]] = {}
    for file in files:
        try:
            pipeline = load(file, store, shared, environment, catalogue, overrides)
        except ConfigError as error:
            problems += error.problems
            continue
        if pipeline.name in loaded:
            other = loaded[pipeline.name][0]
            raise UsageError(f"{other} and {file} are both named {pipeline.name!r}: give one of them another `name`")
        loaded[pipeline.name] = (file, pipeline)
    if problems:
        raise ConfigError(problems)
    return dict(loaded.values())


_KNOWN_S = 2.0
_MOST_KNOWN = 1000


class ServedPipelines:
    """The open pipelines and the open store of a server; an async context manager."""

    def __init__(self, pipelines: Mapping[str, Pipeline], store: Store, shared: SharedResources | None = None) -> None:
        """Take what is served; with `shared`, pipelines that were loaded with it use the same open store."""
        self.pipelines = dict(pipelines)
        self.store = store
        self._shared = shared or SharedResources()
        self._opened = AsyncExitStack()
        self.default = next(iter(self.pipelines))
        """The name of the pipeline that answers where a request names none."""
        self.is_warm = True
        """Whether first questions cost what later ones do, as far as that can be; who warms up says that it is not."""
        self.prepare: Callable[[Pipeline], Awaitable[None]] | None = None
        """Is called with an open pipeline before it takes the place of another, to warm it up."""
        self._open: list[Pipeline] = []
        self._known: dict[str, float] = {}
        """Until when it need not be looked up again that a context is there."""

    async def __aenter__(self) -> Self:
        """Open the store and the sinks of all pipelines."""
        try:
            await self._opened.enter_async_context(self.store)
            await self._opened.enter_async_context(lent(self.store, self._shared))
            for pipeline in self.pipelines.values():
                await self._take_up(pipeline)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close them all, the store last."""
        for pipeline in self._open:
            self._opened.push_async_exit(pipeline)
        self._open.clear()
        await self._opened.aclose()

    async def swap(self, before: Pipeline | None, after: Pipeline) -> None:
        """Open a pipeline, prepare it and serve it from now on, in the place of another, which is not closed yet."""
        await self._take_up(after)
        if self.prepare is not None:
            await self.prepare(after)
        taken = list(self.pipelines.values())
        at = len(taken) if before is None else taken.index(before)
        taken[at : at + 1] = [after]
        self.pipelines = {pipeline.name: pipeline for pipeline in taken}
        self.default = taken[0].name

    async def retire(self, pipeline: Pipeline) -> None:
        """Close a pipeline that is not served any more."""
        if pipeline in self._open:
            self._open.remove(pipeline)
            await pipeline.__aexit__(None, None, None)

    async def _take_up(self, pipeline: Pipeline) -> None:
        await pipeline.__aenter__()
        self._open.append(pipeline)

    def seen_by(self, viewer: Viewer | None) -> StoreView:
        """Return the store as a viewer may see it: the only way for routes to what it holds."""
        return StoreView(self.store, viewer)

    def asked_by(self, viewer: Viewer | None) -> dict[str, Pipeline]:
        """Return the pipelines that a viewer may ask, by name: who is bound to contexts asks none that has another."""
        return {
            name: pipeline
            for name, pipeline in self.pipelines.items()
            if viewer is None or pipeline.takes_context or viewer.may_ask(name)
        }

    async def find_write_problem(self) -> str | None:
        """Return why the store cannot be written, `None` where it can."""
        try:
            await self.store.write(lambda connection: None)
        except NexusError as error:
            return str(error)
        return None

    def pipeline(self, name: str | None, viewer: Viewer | None = None) -> Pipeline:
        """Return a pipeline by name, the default without one; raises Failure where there is none for a viewer."""
        pipelines, wanted = self.asked_by(viewer), name or self.default
        found = pipelines.get(wanted)
        if found is None:
            hint = instead(wanted, sorted(pipelines), "there are")
            raise Failure(404, "pipeline_not_found", f"there is no pipeline {wanted!r}{hint}")
        return found

    async def check_context(self, pipeline: Pipeline, context_id: str, viewer: Viewer | None) -> None:
        """Raise Failure unless a viewer can ask a pipeline over a context.

        A pipeline whose sources are its own has one context, and that has the pipeline's name.
        """
        if not pipeline.takes_context:
            if context_id != pipeline.name:
                raise Failure(
                    404,
                    "context_not_found",
                    f"pipeline {pipeline.name!r} reads its own sources, so its only context is {pipeline.name!r}: "
                    "give that, or name a `pipeline` that gathers from the store",
                )
            return
        if viewer is None and self._known.get(context_id, 0.0) > monotonic():
            return
        try:
            await self.seen_by(viewer).check(context_id)
        except UsageError as error:
            said = f"there is no context {context_id[:200]!r}"
            raise Failure(404, "context_not_found", said, words=str(error)) from error
        if viewer is not None:  # what is granted to them can be withdrawn at any time
            return
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[context_id] = monotonic() + _KNOWN_S


def keeps_usage(pipeline: Pipeline) -> bool:
    """Tell whether what the models of a pipeline use is kept by the sink `store`."""
    return any(getattr(type(sink), "name", "") == "store" for sink in pipeline.sinks)
