"""Prompts: what a pipeline would send for a question, with what it finds, so that the client's own model answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from nexus_core.contract.run_context import PipelineInput
from nexus_core.contract.values import Message
from nexus_core.engine.pipeline import Pipeline
from nexus_core.server.errors import Failure
from nexus_core.server.mcp.caller import McpCaller
from nexus_core.server.mcp.pipeline_calls import PipelineCalls
from nexus_core.server.mcp.tool_definitions import input_types, tool_names
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.toolkit.suggest import did_you_mean

QUESTION, CONTEXT = "question", "context"
_TRUTHS = {"true": True, "false": False}


@frozen(kw_only=True)
class ListedPrompt:
    """A prompt as it is listed."""

    name: str
    title: str
    description: str
    arguments: Sequence[tuple[str, str, bool]]
    """Name, description, and whether it must be given."""


class McpPrompts:
    """Lists the prompts of pipelines, and makes them."""

    def __init__(self, serving: ServedPipelines, calls: PipelineCalls) -> None:
        self._serving = serving
        self._calls = calls

    def list(self, caller: McpCaller) -> Sequence[ListedPrompt]:
        """Return the prompts of the pipelines that a caller may ask."""
        return [
            ListedPrompt(
                name=name,
                title=pipeline.name,
                description=pipeline.description or f"The prompt of the pipeline {pipeline.name}.",
                arguments=_arguments(pipeline),
            )
            for name, pipeline in self._named(caller).items()
        ]

    async def get(self, caller: McpCaller, name: str, arguments: Mapping[str, str]) -> Sequence[Message]:
        """Return the messages of a prompt; raises Failure."""
        caller.check("query")
        pipelines = self._named(caller)
        pipeline = pipelines.get(name)
        if pipeline is None:
            hint = did_you_mean(name, pipelines)
            raise Failure(404, "prompt_not_found", f"there is no prompt {name[:200]!r}{hint}")
        known = _arguments(pipeline)
        for argument in arguments:
            if argument not in (each[0] for each in known):
                raise Failure(400, "invalid_request", f"this prompt has no argument {argument[:200]!r}")
        for argument, _, is_required in known:
            if is_required and not arguments.get(argument, "").strip():
                raise Failure(400, "invalid_request", f"the argument {argument!r} is missing")
        inputs = {each.name: _value(each, arguments[each.name]) for each in _own(pipeline) if each.name in arguments}
        context = arguments.get(CONTEXT)
        return await self._calls.prompt(caller, pipeline, arguments[QUESTION], context, inputs)

    def _named(self, caller: McpCaller) -> dict[str, Pipeline]:
        if not caller.may("query"):
            return {}
        names = tool_names(self._serving.pipelines, prefix="")
        return {names[name]: pipeline for name, pipeline in self._serving.asked_by(caller.viewer).items()}


def _arguments(pipeline: Pipeline) -> list[tuple[str, str, bool]]:
    found = [(QUESTION, "The question.", True)]
    if pipeline.takes_context:
        found.append((CONTEXT, "The name of the context.", True))
    return found + [(each.name, each.description, each.required) for each in _own(pipeline)]


def _own(pipeline: Pipeline) -> list[PipelineInput]:
    """Return the inputs that can be given as arguments: but for those that are named as ours are."""
    return [each for each in pipeline.declared_inputs if each.name not in (QUESTION, CONTEXT)]


def _value(declared: PipelineInput, text: str) -> object:
    """Return an argument, which is always a text, as the input that it is; raises Failure."""
    types = input_types(declared)
    try:
        if types == ["boolean"]:
            return _TRUTHS[text.strip().lower()]
        if types == ["number"]:
            return int(text) if text.strip().lstrip("+-").isdigit() else float(text)
    except (KeyError, ValueError) as error:
        raise Failure(400, "invalid_request", f"the argument {declared.name!r} is no {types[0]}") from error
    return text
