"""What an MCP server offers, as definitions for a model: chosen, named, and bounded in number and size."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from nexus_core import PluginError, ToolDefinition
from nexus_core.toolkit import did_you_mean, listed

MOST_TOOLS = 64
"""Of one server that are offered; where it has more, those that are needed are named."""
MOST_DESCRIPTION = 1_024
"""Characters of a description; what follows is cut off."""
MOST_SCHEMA = 32_768
"""Characters of the JSON Schema of a tool's arguments."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHOWN = 80


class LostConnectionError(Exception):
    """A server is no longer there."""

    def __init__(self, message: str, *, has_run: bool = True) -> None:
        self.has_run = has_run
        """Whether the call may have had its effect."""
        super().__init__(message)


class ServerRefusalError(Exception):
    """A server has answered a call with an error of the protocol, or with what is no answer."""


@frozen(kw_only=True)
class McpServer:
    """Where a server is: a program or a URL."""

    shown: str
    """Its name in messages, without secrets."""
    path: str = ""
    arguments: Sequence[str] = ()
    folder: str = "."
    environment: Mapping[str, str] = field(factory=dict, repr=False)
    url: str = ""
    headers: Mapping[str, str] = field(factory=dict, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What is never shown."""
        return (*self.headers.values(), *(value.removeprefix("Bearer ") for value in self.headers.values()))


@frozen(kw_only=True)
class ListedTool:
    """A tool as its server lists it."""

    name: str
    description: str
    schema: Mapping[str, Any]
    reads_only: bool
    """By its own annotation."""


@frozen(kw_only=True)
class ServerTools:
    """The tools that are offered, by the names that a model calls them by."""

    listed: Mapping[str, ListedTool]
    definitions: Sequence[ToolDefinition]
    notes: Sequence[str] = ()
    """What is not offered, and why."""


def choose_tools(
    found: Sequence[ListedTool], *, only: Sequence[str], prefix: str, trust_read_only: bool, shown: str
) -> ServerTools:
    """Return the tools that a pipeline offers of those that a server lists.

    Raises PluginError where two have one name, where `only` names one that is not there or that no model can call, and
    where there are too many.
    """
    by_name: dict[str, ListedTool] = {}
    for tool in found:
        if tool.name in by_name:
            raise PluginError(f"{shown} lists two tools with the name {_short(tool.name)}")
        by_name[tool.name] = tool
    if unknown := [name for name in only if name not in by_name]:
        known = listed([_short(name) for name in list(by_name)[:20]]) or "none"
        hint = did_you_mean(unknown[0], by_name)
        raise PluginError(f"`only` names {unknown[0]!r}, which {shown} does not have{hint}: it has {known}")
    chosen, notes = [], []
    for tool in [by_name[name] for name in dict.fromkeys(only)] or found:
        if (why := _problem(tool, prefix)) and only:
            raise PluginError(f"the tool {_short(tool.name)} of {shown} {why}")
        if why:
            notes.append(f"the tool {_short(tool.name)} of {shown} {why}: not offered")
        else:
            chosen.append(tool)
    if len(chosen) > MOST_TOOLS:
        raise PluginError(
            f"{shown} has {len(chosen):,} tools, and a model is offered at most {MOST_TOOLS} of one server: name those "
            "that are needed under `only`"
        )
    definitions = [
        ToolDefinition(
            name=prefix + tool.name,
            description=described(tool),
            parameters=tool.schema,
            changes=not (trust_read_only and tool.reads_only),
        )
        for tool in chosen
    ]
    by_call = {prefix + tool.name: tool for tool in chosen}
    return ServerTools(listed=by_call, definitions=definitions, notes=notes[:MOST_TOOLS])


def described(tool: ListedTool) -> str:
    """Return what a model is told of a tool: one paragraph, of which the end is cut off where it is long."""
    text = " ".join(tool.description[: 8 * MOST_DESCRIPTION].split())
    text = "".join(letter for letter in text if letter.isprintable())
    return (text if len(text) <= MOST_DESCRIPTION else f"{text[:MOST_DESCRIPTION]}...") or tool.name


def _problem(tool: ListedTool, prefix: str) -> str:
    """Return why a tool cannot be offered; empty where it can."""
    if not _NAME.fullmatch(prefix + tool.name):
        return "has a name that no model can call: 1 to 64 letters, digits, `_` and `-`, the prefix included"
    if tool.schema.get("type") != "object":
        return "has arguments that are no JSON object"
    try:
        size = len(json.dumps(tool.schema))
    except (ValueError, RecursionError):
        return "has a JSON Schema that cannot be written"
    return f"has a JSON Schema of {size:,} characters, more than {MOST_SCHEMA:,}" if size > MOST_SCHEMA else ""


def _short(name: str) -> str:
    return ascii(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}...")
