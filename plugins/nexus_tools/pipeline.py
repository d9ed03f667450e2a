"""The tool `pipeline`: a model asks another pipeline, whose name, description and inputs tell it what that is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from nexus_core import (
    CallablePipeline,
    DeadlineError,
    PipelineInput,
    RunContext,
    ToolDefinition,
    ToolError,
    ToolResult,
    component,
    hookimpl,
    option,
)

_ASKED = ("query", "question", "query_text")
"""What the query is called among the arguments: the first that no input is called."""


@component
class PipelineTool:
    """Asks another pipeline, for the same caller and in the same run.

    It is called like the pipeline, and described by its `description`. What the caller may not see is not found.
    """

    name = "pipeline"
    named_after = "pipeline"

    pipeline: CallablePipeline = option(help="Its file, in the folder of this one or below it: `./other.yaml`.")
    take: Literal["answer", "items"] = option("answer", help="Its answer, or the items that it finds.")
    top: int = option(8, help="With `take: items`: how many at most.", ge=1, le=100)
    description: str = option("", help="What the model is told of it; else the description in its file.")

    async def definitions(self, run: RunContext) -> Sequence[ToolDefinition]:
        """Return the one tool."""
        asked = self.pipeline
        inputs = {given.name: _schema(given) for given in asked.inputs}
        query = {"type": "string", "minLength": 1, "description": "What it is asked, in full: it knows nothing else."}
        name = _argument(asked)
        return (
            ToolDefinition(
                name=asked.tool_name,
                description=self.description or asked.description or f"Ask {asked.name}.",
                parameters={
                    "type": "object",
                    "properties": {name: query, **inputs},
                    "required": [name, *(given.name for given in asked.inputs if given.required)],
                    "additionalProperties": False,
                },
            ),
        )

    async def call(self, name: str, arguments: Mapping[str, Any], run: RunContext) -> ToolResult:
        """Return the answer of the pipeline, or its best items."""
        query = _argument(self.pipeline)
        inputs = {key: value for key, value in arguments.items() if key != query}
        try:
            result = await run.call_pipeline(self.pipeline, arguments[query], inputs, take=self.take)
        except DeadlineError as error:
            run.left_s()  # raises where it is the caller's time that is up
            raise ToolError("there was no answer in time") from error
        if self.take == "answer":
            return ToolResult(text=result.text)
        best = result.ranking.only(result.ranking.order(self.top))
        return ToolResult(items=best.items, scores=best.columns)


def _argument(pipeline: CallablePipeline) -> str:
    taken = {given.name for given in pipeline.inputs}
    return next(name for name in (*_ASKED, *(f"query_{number}" for number in range(len(taken)))) if name not in taken)


def _schema(given: PipelineInput) -> Mapping[str, Any]:
    """Return the JSON Schema of an input: of the type of its default, where it has one."""
    kinds: list[str] | str = ["string", "number", "boolean"]
    if isinstance(given.default, bool):
        kinds = "boolean"
    elif isinstance(given.default, int | float):
        kinds = "number"
    elif given.default is not None:
        kinds = "string"
    described = {"description": given.description} if given.description else {}
    return {"type": kinds, **described}


@hookimpl
def nexus_tools() -> Iterable[type]:
    """Yield the component."""
    return [PipelineTool]
