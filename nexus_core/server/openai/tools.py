"""Tools of clients: their definitions, and the calls and results in a conversation, for a pipeline that lets them by.

Nothing here runs a tool: a model's calls go to the client, which sends the results with its next request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve

from nexus_core.contract.values import NOTHING_ASKED, CallOptions, ToolCall, ToolDefinition
from nexus_core.engine.pipeline import Pipeline
from nexus_core.server.errors import Failure
from nexus_core.server.http.json_schema import array, named

MOST_TOOLS = 128
TOOLS = array(named("Tool", {"type": "object"}), maxItems=MOST_TOOLS)
TOOL_CHOICE = {"anyOf": [{"type": "string", "maxLength": 64}, named("ToolChoice", {"type": "object"})]}
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CHOICES = frozenset({"auto", "none", "required"})


def with_tools(options: CallOptions | None, body: Mapping[str, Any], pipeline: Pipeline) -> CallOptions | None:
    """Return options with the tools of a request; raises Failure where the pipeline takes none.

    A definition stands within `function` in chats, and beside the type in responses.
    """
    given = body.get("tools") or ()
    choice = body.get("tool_choice", "auto")
    if not given:
        if choice not in ("auto", "none"):
            raise Failure(
                400, "unsupported_parameter", "tool_choice asks for a tool, and there are none", param="tool_choice"
            )
        return options
    if not pipeline.takes_tools:
        raise Failure(400, "unsupported_parameter", f"tools are not served: {_allow(pipeline)}", param="tools")
    tools = tuple(_definition(f"tools[{place}]", tool) for place, tool in enumerate(given))
    if len({tool.name for tool in tools}) != len(tools):
        raise Failure(400, "invalid_request", "tools: two have the same name", param="tools")
    return evolve(options or NOTHING_ASKED, tools=tools, tool_choice=_choice(choice, tools))


def refuse_tools(where: str, pipeline: Pipeline) -> None:
    """Raise Failure for calls and results of tools in the conversation, where the pipeline takes none."""
    if not pipeline.takes_tools:
        said = f"{where} is of a tool, and tools are not served: {_allow(pipeline)}"
        raise Failure(400, "unsupported_parameter", said, param=where)


def read_calls(where: str, calls: Any) -> tuple[ToolCall, ...]:
    """Return the calls that a message of the assistant asked for; raises Failure for what is none."""
    if not isinstance(calls, list | tuple):
        raise Failure(400, "invalid_request", f"{where} is no list of calls", param=where)
    return tuple(_call(f"{where}[{place}]", call) for place, call in enumerate(calls))


def _allow(pipeline: Pipeline) -> str:
    return (
        f"pipeline {pipeline.name!r} must say `generate: {{client_tools: true}}` to let them by, and ask a model with "
        "the capability `tools`"
    )


def _call(where: str, call: Any) -> ToolCall:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise Failure(400, "invalid_request", f"{where} is no call of a function", param=where)
    found = (call.get("id"), function.get("name"), function.get("arguments"))
    if not all(isinstance(each, str) for each in found) or not found[0] or not found[1]:
        raise Failure(400, "invalid_request", f"{where} needs `id`, and `name` and `arguments` as texts", param=where)
    return ToolCall(id=found[0], name=found[1], arguments=found[2] or "{}")


def _definition(where: str, tool: Mapping[str, Any]) -> ToolDefinition:
    if tool.get("type") != "function":
        said = f"{where} is no function: tools of the service itself are not served"
        raise Failure(400, "unsupported_parameter", said, param=where)
    function = tool.get("function", tool)
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        said = f"{where} needs a name of up to 64 letters, digits, dots, dashes and underscores"
        raise Failure(400, "invalid_request", said, param=where)
    description, parameters = function.get("description") or "", function.get("parameters") or {}
    if not isinstance(description, str) or not isinstance(parameters, Mapping):
        raise Failure(400, "invalid_request", f"{where}: description is a text, parameters an object", param=where)
    return ToolDefinition(name=name, description=description, parameters=parameters)


def _choice(choice: Any, tools: Iterable[ToolDefinition]) -> str:
    if isinstance(choice, str):
        if choice in _CHOICES:
            return choice
    elif choice.get("type") == "function":
        function = choice.get("function", choice)
        name = function.get("name") if isinstance(function, Mapping) else None
        if isinstance(name, str) and name in _CHOICES:
            said = f"tool_choice: a function named {name!r} cannot be told from the choice of that name"
            raise Failure(400, "invalid_request", said, param="tool_choice")
        if any(tool.name == name for tool in tools):
            return str(name)
    said = "tool_choice is none of auto, none, required, and the function of one of the tools"
    raise Failure(400, "invalid_request", said, param="tool_choice")
