"""The tools keep the contract of tools."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pytest
from nexus_tools.pipeline import PipelineTool
from nexus_tools.search import Search

from nexus_core import (
    CallablePipeline,
    DeadlineError,
    Item,
    PipelineInput,
    PipelineResult,
    Ranking,
    RunContext,
    Tool,
)
from nexus_core.testing import ToolContract

pytestmark = pytest.mark.slow

FOUND = Ranking((Item(id="a", text="The ferry leaves at nine."), Item(id="b", text="The mill grinds corn.")))
OTHER = CallablePipeline(
    name="timetable",
    description="Answers questions about the timetable.",
    inputs=(PipelineInput(name="day", required=True), PipelineInput(name="language", default="en")),
    path="timetable.yaml",
)


class HarbourRun(RunContext):
    """A run that finds two items, and in which another pipeline answers, but for those who ask for too much."""

    async def search(self, query: str) -> Ranking:
        await asyncio.sleep(0)
        return FOUND.scored("own", [1.0, 2.0])

    async def call_pipeline(
        self,
        pipeline: CallablePipeline,
        query: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        take: Literal["answer", "items"] = "answer",
    ) -> PipelineResult:
        await asyncio.sleep(0)
        if query == "Everything?":
            raise DeadlineError("the time of the call is up")
        return PipelineResult(text=f"At nine on {(inputs or {})['day']}.", ranking=FOUND)


class TestSearch(ToolContract):
    absent: ClassVar[Mapping[str, str]] = {
        "failure": "a search that finds nothing says so; what breaks it is the run's"
    }
    calls: ClassVar[Sequence[tuple[str, Mapping[str, Any]]]] = (("search", {"query": "When does the ferry leave?"}),)

    def make(self) -> Tool:
        return Search(top=1)

    def run_context(self) -> RunContext:
        return HarbourRun()


class TestPipelineTool(ToolContract):
    calls: ClassVar[Sequence[tuple[str, Mapping[str, Any]]]] = (
        ("timetable", {"query": "When?", "day": "Monday"}),
        ("timetable", {"query": "When?", "day": "Monday", "language": "no"}),
    )
    failing: ClassVar[Sequence[tuple[str, Mapping[str, Any]]]] = (
        ("timetable", {"query": "Everything?", "day": "Monday"}),
    )

    def make(self) -> Tool:
        return PipelineTool(pipeline=OTHER)

    def run_context(self) -> RunContext:
        return HarbourRun()


class TestPipelineToolOfItems(TestPipelineTool):
    def make(self) -> Tool:
        return PipelineTool(pipeline=OTHER, take="items", top=1)
