"""Runs of pipelines for MCP: a question answered with its citations, and the prompt that would be sent for one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from nexus_core.contract.answers import Answer, Event, ToolFinished
from nexus_core.contract.errors import DeadlineError
from nexus_core.contract.events import Delta, PromptPacked, RunFailed, RunFinished, StepFinished, StreamRestarted
from nexus_core.contract.prompts import PackedItem
from nexus_core.contract.values import Message
from nexus_core.engine.pipeline import Pipeline, RunOptions, StreamOptions
from nexus_core.server.access.access import AccessControl
from nexus_core.server.api.run_query import events, question
from nexus_core.server.errors import Failure, failure_of
from nexus_core.server.mcp.caller import McpCaller, SaysProgress
from nexus_core.server.mcp.uris import ResourceAddress
from nexus_core.server.openai.citations import Citation, find_citations, find_in_store, list_sources, web_address
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.settings import ServerSettings
from nexus_core.toolkit.suggest import counted

_QUOTE = 300
"""Characters of what a citation cites."""
_EACH = 1_000
"""Characters of an answer after which the client is told of its progress again."""


class PipelineCalls:
    """Asks pipelines for those who call tools and get prompts."""

    def __init__(self, serving: ServedPipelines, gate: AccessControl, settings: ServerSettings) -> None:
        self._serving = serving
        self._gate = gate
        self._settings = settings

    async def ask(
        self, caller: McpCaller, name: str | None, arguments: Mapping[str, Any], say: SaysProgress
    ) -> tuple[str, dict[str, Any]]:
        """Return an answer as text with its sources, and as data; raises Failure, and what the run raises."""
        pipeline, context_id = await self._target(caller, name, arguments.get("context"))
        asked: StreamOptions = {
            "context_id": context_id,
            "deadline_s": self._settings.deadline_s,
            "owner": caller.who.owner,
            "viewer": caller.viewer,
            "fresh": caller.fresh,
            "traceparent": caller.traceparent,
            "inputs": arguments.get("inputs", {}),
        }
        if "conversation" in arguments:
            asked["conversation_id"] = arguments["conversation"]
        query = question(pipeline, arguments["question"], asked, caller.admitted_request)
        await say("searching")
        async with events(self._gate, query) as happening:
            caller.hand_over()
            answer = await _follow(happening, say)
        return await self._cited(caller, pipeline, answer)

    async def prompt(
        self, caller: McpCaller, pipeline: Pipeline, query: str, context: str | None, inputs: Mapping[str, Any]
    ) -> Sequence[Message]:
        """Return the messages that would be sent for a question, asking no model; raises Failure."""
        pipeline, context_id = await self._target(caller, pipeline.name, context)
        asked: RunOptions = {
            "context_id": context_id, "owner": caller.who.owner, "viewer": caller.viewer, "inputs": inputs,
        }  # fmt: skip
        if not query.strip():
            raise Failure(400, "invalid_request", "the question is empty")
        key_id = "" if caller.admitted_request is None else caller.admitted_request.key_id
        async with self._gate.slot(key_id):
            caller.hand_over()
            try:
                async with asyncio.timeout(self._settings.deadline_s):
                    return (await pipeline.explain(query, **asked)).prompt.messages
            except TimeoutError as error:
                raise DeadlineError("the prompt was not there within the time of a run") from error

    async def _target(self, caller: McpCaller, name: str | None, context: str | None) -> tuple[Pipeline, str]:
        """Return the pipeline and the context that are meant; raises Failure."""
        served = self._serving.asked_by(caller.viewer)
        if name is None and self._serving.default not in served:
            name = next(iter(served), None)
        pipeline = self._serving.pipeline(name, caller.viewer)
        if not pipeline.takes_context:
            context = pipeline.name if context is None else context
        elif context is None:
            contexts = await self._serving.seen_by(caller.viewer).names()
            if len(contexts) != 1:
                raise Failure(400, "invalid_request", f"pipeline {pipeline.name!r} answers from a context: name one")
            context = contexts[0].name
        await self._serving.check_context(pipeline, context, caller.viewer)
        return pipeline, context

    async def _cited(self, caller: McpCaller, pipeline: Pipeline, answer: Answer) -> tuple[str, dict[str, Any]]:
        packed = {each.number: each for each in answer.prompt.items}
        cited = {each.number: each for each in find_citations(answer)}
        addresses = await self._addresses(caller, answer, [packed[number] for number in cited])
        usage = answer.usage
        told = {
            "text": answer.text,
            "citations": [
                {
                    "number": number,
                    "uri": addresses[number],
                    "title": each.title,
                    "quote": _cut(packed[number].text),
                }
                for number, each in sorted(cited.items())
            ],
            "usage": {
                "promptTokens": usage.prompt_tokens,
                "completionTokens": usage.completion_tokens,
                "usageSource": usage.source,
            },
            "model": answer.model_id,
            "pipeline": pipeline.name,
            "context": answer.context_id if pipeline.takes_context else None,
            "conversation": answer.conversation_id,
            **({"value": answer.value} if answer.has_value else {}),
        }
        sources = [
            Citation(number=number, start=each.start, end=each.end, item=each.item, url=addresses[number])
            for number, each in cited.items()
        ]
        return answer.text + list_sources(sources), told

    async def _addresses(self, caller: McpCaller, answer: Answer, cited: Sequence[PackedItem]) -> dict[int, str]:
        """Return where what is cited can be read, by number: here, on the web, or nowhere."""
        there: dict[str, str] = {}
        if cited and caller.may("read"):
            view = self._serving.seen_by(caller.viewer)
            found = await find_in_store(view, answer, [each.item for each in cited])
            there = {item.id: ResourceAddress(context, "items", item.id).uri for context, item in found}
        return {each.number: there.get(each.item.id) or web_address(each.item) for each in cited}


async def _follow(happening: Any, say: SaysProgress) -> Answer:
    """Return the answer of a run, telling of its events; raises what it fails with."""
    characters, told = 0, 0
    async for event in happening:
        match event:
            case Delta():
                characters += len(event.text)
                if characters - told >= _EACH:
                    told = characters
                    await say(f"{characters:,} characters of the answer")
            case StreamRestarted():
                characters = told = 0
                await say("the answer begins anew")
            case RunFinished(answer=Answer() as answer):
                return answer
            case RunFinished():
                raise Failure(400, "invalid_request", "no step of the pipeline gave an answer")
            case RunFailed():
                error = event.error or RuntimeError(event.kind)
                raise failure_of(error) from error
            case _:
                if said := _said(event):
                    await say(said)
    raise Failure(500, "internal_error", "the run has ended without an answer")


def _said(event: Event) -> str:
    """Return what a client is told of an event; nothing of most of them."""
    match event:
        case StepFinished(verb="gather", skipped=False):
            return f"searched: {counted(event.items, 'item')}"
        case PromptPacked():
            return f"asking {event.model}"
        case ToolFinished():
            return f"called {event.name}: {event.outcome}"
    return ""


def _cut(passage: str) -> str:
    flat = " ".join(passage.split())
    return flat if len(flat) <= _QUOTE else flat[: _QUOTE - 1] + "…"
