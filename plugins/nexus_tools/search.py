"""The tool `search`: a model that needs more than its question found searches the same context again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nexus_core import RunContext, ToolDefinition, ToolResult, component, hookimpl, option

_DESCRIPTION = (
    "Search the documents for something that the passages at hand do not say. Ask for one thing at a time, in its own "
    "words, with the names that matter. Passages come with numbers, by which they are cited."
)


@component
class Search:
    """Searches what the pipeline gathers and ranks, for a query of the model's own.

    What the caller may not see is not found.
    """

    name = "search"
    tool_names = ("search",)

    top: int = option(8, help="Items of one search, at most.", ge=1, le=100)
    description: str = option(_DESCRIPTION, help="What the model is told of it.")

    async def definitions(self, run: RunContext) -> Sequence[ToolDefinition]:
        """Return the one tool."""
        return (
            ToolDefinition(
                name="search",
                description=self.description,
                parameters={
                    "type": "object",
                    "properties": {"query": {"type": "string", "minLength": 1, "description": "What to search for."}},
                    "required": ["query"],
                    "additionalProperties": False,
                },
            ),
        )

    async def call(self, name: str, arguments: Mapping[str, Any], run: RunContext) -> ToolResult:
        """Return the best items."""
        ranking = await run.search(arguments["query"])
        best = ranking.only(ranking.order(self.top))
        return ToolResult(items=best.items, scores=best.columns)


@hookimpl
def nexus_tools() -> Iterable[type]:
    """Yield the component."""
    return [Search]
