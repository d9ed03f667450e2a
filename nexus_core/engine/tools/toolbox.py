"""Toolbox: the tools of one generate step, what they offer in a run, and the limits that hold for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from nexus_core import structured
from nexus_core.config.keys import TOOL_NAME
from nexus_core.contract.errors import PluginError, ToolNameTakenError
from nexus_core.contract.optional_protocols import RemoteTool
from nexus_core.contract.protocols import Tool
from nexus_core.contract.run_context import RunContext
from nexus_core.contract.values import ToolDefinition
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.plugin_guard import PluginGuard
from nexus_core.toolkit.suggest import listed

_NAME = re.compile(TOOL_NAME)


@frozen(kw_only=True, eq=False, repr=False)
class NamedTool:
    """A tool component, and what the pipeline calls it."""

    use: str
    tool: Tool


@frozen(kw_only=True, eq=False, repr=False)
class OfferedTool:
    """What a model may call by one name."""

    use: str
    tool: Tool
    definition: ToolDefinition

    def find_mismatch(self, arguments: Any) -> structured.SchemaMismatch | None:
        """Return what is wrong with arguments by the definition's schema, `None` where nothing is."""
        schema = self.definition.parameters or {"type": "object", "maxProperties": 0}
        return structured.validator_of(schema).find_mismatch(arguments)


@frozen(kw_only=True, eq=False, repr=False)
class Toolbox:
    """The tools of a step, and how often and how long they may be called."""

    tools: Sequence[NamedTool]
    resources: ComponentLifecycle
    allow: frozenset[str] = frozenset()
    """Those that may change something outside of the run."""
    rounds: int = 5
    """Requests to the model at most; in the last it has to answer."""
    calls: int = 16
    """Of tools, in all rounds together."""
    timeout_s: float = 30.0
    """Of one call."""
    approval_timeout_s: float = 120.0
    """Of the wait for a person who is asked whether a call is made."""
    share: float = 0.5
    """Of the free window, for results."""

    async def open(
        self, run: RunContext, client: Sequence[ToolDefinition], *, connects: bool = True
    ) -> Mapping[str, OfferedTool]:
        """Return what is offered in a run, by name; opens the components, without `connects` those alone that are here.

        What changes something and is not allowed is left out. Raises PluginError where definitions are none,
        ToolNameTakenError where a tool of the `client`, who runs it, has the name of one of these.
        """
        offered: dict[str, OfferedTool] = {}
        for named in self.tools:
            if not connects and isinstance(named.tool, RemoteTool) and named.tool.is_remote:
                run.note(f"the tools of {named.use} are not shown: a run alone asks what they are")
                continue
            with PluginGuard(f"tool {named.use!r}", PluginError):
                await self.resources.open(named.tool)
                definitions = tuple(await named.tool.definitions(run))
            for definition in definitions:
                _check(named.use, definition)
                if definition.name in offered:
                    raise PluginError(
                        f"the tools {offered[definition.name].use!r} and {named.use!r} both offer {definition.name!r}: "
                        "each needs a name of its own"
                    )
                if not definition.changes or definition.name in self.allow:
                    if not definition.description.strip():
                        run.note(f"the tool {definition.name} has no description: a model knows no more than its name")
                    offered[definition.name] = OfferedTool(use=named.use, tool=named.tool, definition=definition)
                else:
                    run.note(f"the tool {definition.name} changes something and is not under `allow`: not offered")
        if both := sorted({tool.name for tool in client} & offered.keys()):
            are = "is a tool" if len(both) == 1 else "are tools"
            raise ToolNameTakenError(f"{listed(both)} {are} of the pipeline, too: offer others, or by other names")
        return offered


def _check(use: str, definition: object) -> None:
    if not isinstance(definition, ToolDefinition):
        raise PluginError(f"tool {use!r} must define tools, not a {type(definition).__name__}")
    if not isinstance(definition.name, str) or not _NAME.fullmatch(definition.name):
        raise PluginError(f"tool {use!r} offers {definition.name!r}: a name is 1 to 64 letters, digits, `_` and `-`")
    try:
        structured.check_schema(definition.parameters or {"type": "object"})
    except structured.InvalidSchemaError as error:
        raise PluginError(
            f"the arguments of the tool {definition.name!r} ({use}) have no JSON Schema: {error.why}"
        ) from error
