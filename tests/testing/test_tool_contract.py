"""The suite of tools can fail: each fault fails the test that is there for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from nexus_core import RunContext, ToolDefinition, ToolError, ToolResult
from nexus_core.testing import ToolContract

pytestmark = pytest.mark.slow
SHELF = {"type": "object", "properties": {"shelf": {"type": "string"}}, "required": ["shelf"]}


class Shelves:
    """A right one."""

    defined: Sequence[ToolDefinition] = (ToolDefinition(name="count", description="Count.", parameters=SHELF),)

    async def definitions(self, run: RunContext) -> Sequence[ToolDefinition]:
        return self.defined

    async def call(self, name: str, arguments: Mapping[str, Any], run: RunContext) -> Any:
        await asyncio.sleep(0.001)
        if arguments["shelf"] == "south":
            raise ToolError("the south is empty: ask for another one")
        return ToolResult(text="3 pieces")


class NoCall:
    async def definitions(self, run: RunContext) -> Sequence[ToolDefinition]:
        return Shelves.defined


class NoDescription(Shelves):
    defined = (ToolDefinition(name="count", parameters=SHELF),)


class NoSchema(Shelves):
    defined = (ToolDefinition(name="count", description="Count.", parameters={"type": "object", "required": 5}),)


class BadName(Shelves):
    defined = (ToolDefinition(name="count it", description="Count.", parameters=SHELF),)


class Twice(Shelves):
    defined = (*Shelves.defined, *Shelves.defined)


class OtherNames(Shelves):
    tool_names = ("weigh",)


class Numbers(Shelves):
    made = 0

    def __init__(self) -> None:
        Numbers.made += 1
        self.defined = (ToolDefinition(name="count", description=f"Count, version {self.made}.", parameters=SHELF),)


class ReturnsText(Shelves):
    async def call(self, name: str, arguments: Mapping[str, Any], run: RunContext) -> Any:
        return "3 pieces"


class RefusesItsOwn(Shelves):
    defined = (ToolDefinition(name="count", description="Count.", parameters={"type": "object", "maxProperties": 0}),)


class ChangesArguments(Shelves):
    async def call(self, name: str, arguments: Any, run: RunContext) -> Any:
        arguments["seen"] = True
        return ToolResult(text="3 pieces")


class RaisesAnything(Shelves):
    async def call(self, name: str, arguments: Mapping[str, Any], run: RunContext) -> Any:
        return ToolResult(text=f"{ {'north': 3}[arguments['shelf']] } pieces")


class NeverFails(Shelves):
    async def call(self, name: str, arguments: Mapping[str, Any], run: RunContext) -> Any:
        return ToolResult(text="3 pieces")


class OneAtATime(Shelves):
    busy = False

    async def call(self, name: str, arguments: Mapping[str, Any], run: RunContext) -> Any:
        if self.busy:
            return ToolResult(text="busy", is_error=True)
        self.busy = True
        await asyncio.sleep(0.001)
        self.busy = False
        return ToolResult(text="3 pieces")


class Blocks(Shelves):
    async def call(self, name: str, arguments: Mapping[str, Any], run: RunContext) -> Any:
        time.sleep(0.7)  # noqa: ASYNC251 - the fault
        return ToolResult(text="3 pieces")


class GoesOn(Shelves):
    async def call(self, name: str, arguments: Mapping[str, Any], run: RunContext) -> Any:
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            return ToolResult(text="3 pieces")
        return ToolResult(text="3 pieces")


def suite(tool: type) -> ToolContract:
    class TestWrong(ToolContract):
        calls = (("count", {"shelf": "north"}),)
        failing = (("count", {"shelf": "south"}),)

        def make(self) -> Any:
            return tool()

    return TestWrong()


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (NoCall, "test_it_is_a_tool"),
        *((wrong, "test_definitions_can_be_given_to_a_model")
          for wrong in (NoDescription, NoSchema, BadName, Twice, OtherNames)),
        (Numbers, "test_definitions_stay_the_same"),
        *((wrong, "test_calls_give_results") for wrong in (ReturnsText, RefusesItsOwn, ChangesArguments)),
        *((wrong, "test_failures_are_tool_errors") for wrong in (RaisesAnything, NeverFails)),
        (OneAtATime, "test_calls_run_side_by_side"),
        (Blocks, "test_calls_leave_the_event_loop_free"),
        (GoesOn, "test_a_cancelled_call_ends"),
    ],
)  # fmt: skip
def test_wrong_tool_fails_its_test(wrong: type, name: str) -> None:
    """A fault of a tool is found, and a right tool passes the same test."""
    getattr(suite(Shelves), name)()
    with pytest.raises(AssertionError):
        getattr(suite(wrong), name)()
