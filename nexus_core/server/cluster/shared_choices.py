"""Choices that hold for all servers of a store: the default model of each pipeline, the order to look at files anew.

A model that was chosen holds until another one is, or until the file of the pipeline names another default than the one
that it was chosen instead of.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from secrets import token_hex

from nexus_core.contract.errors import NexusError
from nexus_core.engine.pipeline import Pipeline
from nexus_core.server.cluster.store_link import StoreLink
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.store.access.server_agreements import choose, read_choices

_DEFAULT = "default-model/"
_RELOAD = "reload"


class SharedChoices:
    """What was chosen at any server."""

    def __init__(self, link: StoreLink, serving: ServedPipelines, reload: Callable[[], Awaitable[None]]) -> None:
        """Take what reads the files of pipelines anew."""
        self._link = link
        self._serving = serving
        self._reload = reload
        self._configured: dict[str, tuple[Pipeline, str | None]] = {}
        """By the name of a pipeline: it, and the default that its file names."""
        self._applied: dict[str, tuple[Pipeline, str]] = {}
        """By the name of a pipeline: it, and the choice that it goes by."""
        self._reloaded: str | None = None
        """The last order to look at files that is known; `None` before the first look."""

    async def set_default(self, pipeline: Pipeline, model: str) -> None:
        """Let a model answer by default at all servers; raises StoreError where they cannot be told."""
        told = json.dumps({"model": model, "instead_of": self._default_of(pipeline)})
        await self._link.run(choose, _DEFAULT + pipeline.name, told)

    async def order_reload(self) -> None:
        """Let all servers look at the files of their pipelines; raises StoreError where they cannot be told."""
        await self._link.run(choose, _RELOAD, token_hex(8))

    async def look(self) -> None:
        """Go by what was chosen elsewhere."""
        choices = await self._link.run(read_choices)
        ordered, before = choices.get(_RELOAD, ""), self._reloaded
        self._reloaded = ordered
        if before is not None and ordered != before:
            await self._reload()
        for pipeline in tuple(self._serving.pipelines.values()):
            configured = self._default_of(pipeline)
            told = choices.get(_DEFAULT + pipeline.name)
            if told is None or self._applied.get(pipeline.name) == (pipeline, told):
                continue
            self._applied[pipeline.name] = (pipeline, told)
            chosen = json.loads(told)
            if chosen["instead_of"] == configured:
                with suppress(NexusError):  # a model that this server's file has not
                    pipeline.models.set_default(chosen["model"])

    def _default_of(self, pipeline: Pipeline) -> str | None:
        """Return the default that the file of a pipeline names."""
        known = self._configured.get(pipeline.name)
        if known is None or known[0] is not pipeline:
            known = self._configured[pipeline.name] = (pipeline, pipeline.models.default)
        return known[1]
