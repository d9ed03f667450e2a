"""The tool suite: definitions a model can be given, results that are results, and calls that run side by side.

class TestStock(ToolContract):
    calls = (("count_shelf", {"shelf": "north"}),)
    failing = (("count_shelf", {"shelf": "south"}),)

    def make(self):
        return Stock(shelves={"north": 3, "south": 0})
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, ClassVar

from nexus_core import structured
from nexus_core.config.keys import TOOL_NAME
from nexus_core.contract.errors import ToolError
from nexus_core.contract.protocols import Tool
from nexus_core.contract.run_context import RunContext
from nexus_core.contract.values import Item, ToolDefinition, ToolResult
from nexus_core.testing.contracts.suite import Contract, opened, run

_BLOCKED_S = 0.5
"""The longest that the event loop may stand still during a call."""
_AT_ONCE = 8
_TRIES = 4


class ToolContract(Contract):
    """Holds a tool to the contract; a subclass defines `make` and `calls`, and `failing` where calls can fail."""

    hooks = frozenset({"absent", "make", "calls", "failing", "run_context"})
    capabilities: ClassVar[Mapping[str, str]] = {"failure": "a call with valid arguments can fail: `failing` has some"}
    calls: ClassVar[Sequence[tuple[str, Mapping[str, Any]]]] = ()
    """Calls that succeed, each a name and arguments; at least one for each definition."""
    failing: ClassVar[Sequence[tuple[str, Mapping[str, Any]]]] = ()
    """Calls whose arguments match the schema, and which fail all the same."""

    def make(self) -> Tool:
        """Return a tool."""
        raise AssertionError("define make(self): return your tool")

    def run_context(self) -> RunContext:
        """Return the run that calls are made in; by default no run in particular."""
        return RunContext(run_id="run-1", query="a question")

    def _definitions(self) -> tuple[ToolDefinition, ...]:
        async def ask() -> tuple[ToolDefinition, ...]:
            async with opened(self.make()) as tool:
                return tuple(await tool.definitions(self.run_context()))

        return run(ask())

    async def _call(self, tool: Tool, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        result = await tool.call(name, arguments, self.run_context())
        assert isinstance(result, ToolResult), f"{name} returned a {type(result).__name__}: return a ToolResult"
        return result

    def test_it_is_a_tool(self) -> None:
        """It has `definitions(run)` and `call(name, arguments, run)`.

        Fix: write both as `async def`, or make it of a function with `@tool`.
        """
        assert isinstance(self.make(), Tool), "a tool has `definitions(run)` and `call(name, arguments, run)`"

    def test_definitions_can_be_given_to_a_model(self) -> None:
        """Each has a name of its own, a description, and a JSON Schema of an object; `tool_names` has the same names.

        Fix: names are 1 to 64 letters, digits, `_` and `-`; `parameters` is a schema with `type: object`.
        """
        definitions = self._definitions()
        assert definitions, "there is no definition"
        for definition in definitions:
            assert isinstance(definition, ToolDefinition), f"a {type(definition).__name__} is no ToolDefinition"
            assert re.fullmatch(TOOL_NAME, definition.name), f"{definition.name!r} is no name of a tool"
            assert definition.description.strip(), f"{definition.name} has no description: a model reads nothing else"
            parameters = definition.parameters or {"type": "object"}
            assert parameters.get("type") == "object", f"the parameters of {definition.name} are no `type: object`"
            try:
                structured.check_schema(parameters)
            except structured.InvalidSchemaError as error:
                raise AssertionError(f"the parameters of {definition.name} are no JSON Schema: {error}") from error
        names = [definition.name for definition in definitions]
        assert len(set(names)) == len(names), f"two definitions have one name: {names}"
        told = getattr(self.make(), "tool_names", None)
        assert told is None or sorted(told) == sorted(names), f"`tool_names` has {told}, and the definitions {names}"

    def test_definitions_stay_the_same(self) -> None:
        """Asked again, and of another tool with the same options, they are the same.

        Fix: read no clock and no result of a call in `definitions`.
        """
        assert self._definitions() == self._definitions(), "asked again, the definitions are others"

    def test_calls_give_results(self) -> None:
        """Each call of `calls` gives a ToolResult of text and items, and changes none of its arguments.

        Fix: return `ToolResult(text=...)` or `ToolResult(items=...)`; copy before you change.
        """
        definitions = {definition.name: definition for definition in self._definitions()}
        missing = sorted(definitions.keys() - {name for name, _ in self.calls})
        assert not missing, f"`calls` has no call of {missing}: add one"

        async def each() -> None:
            async with opened(self.make()) as tool:
                for name, arguments in self.calls:
                    self._check_arguments(definitions[name], arguments)
                    given = deepcopy(dict(arguments))
                    result = await self._call(tool, name, given)
                    assert given == arguments, f"{name} has changed its arguments"
                    assert not result.is_error, f"{name} failed: {result.text}; put the call into `failing`"
                    assert isinstance(result.text, str), f"the text of {name} is a {type(result.text).__name__}"
                    assert all(isinstance(item, Item) for item in result.items), f"{name} gave what is no item"

        run(each())

    @staticmethod
    def _check_arguments(definition: ToolDefinition, arguments: Mapping[str, Any]) -> None:
        schema = definition.parameters or {"type": "object"}
        mismatch = structured.validator_of(schema).find_mismatch(dict(arguments))
        assert mismatch is None, f"the schema of {definition.name} refuses arguments that it should take: {mismatch}"

    def test_failures_are_tool_errors(self) -> None:
        """What fails is a ToolError or a result with `is_error`, with a text that the model can read.

        Fix: raise `ToolError("what is wrong, and what to do")`. Absent: `failure`.
        """
        self._needs("failure")
        self._check_failure()

    def _check_failure(self) -> None:
        assert self.failing, "`failing` has no call: add one, or declare `failure` absent"

        async def each() -> None:
            async with opened(self.make()) as tool:
                for name, arguments in self.failing:
                    try:
                        result = await self._call(tool, name, dict(arguments))
                    except ToolError as error:
                        result = ToolResult(text=str(error), is_error=True)
                    except AssertionError:
                        raise
                    except Exception as error:
                        raise AssertionError(f"{name} raised {type(error).__name__} and no ToolError") from error
                    assert result.is_error, f"{name} with {dict(arguments)} has not failed"
                    assert result.text.strip(), f"the failed result of {name} says nothing"

        run(each())

    def test_calls_run_side_by_side(self) -> None:
        """Eight calls at the same time give what they give one by one.

        Fix: keep nothing of a call in the component.
        """

        async def both() -> None:
            async with opened(self.make()) as tool:
                for name, arguments in self.calls:
                    alone = await self._call(tool, name, dict(arguments))
                    together = await asyncio.gather(*[self._call(tool, name, dict(arguments)) for _ in range(_AT_ONCE)])
                    kinds = [(bool(each.text), len(each.items), each.is_error) for each in (alone, *together)]
                    assert len(set(kinds)) == 1, (
                        f"{name} gives other results when it is called {_AT_ONCE} times at once"
                    )

        run(both())

    def test_calls_leave_the_event_loop_free(self) -> None:
        """Other work goes on during a call.

        Fix: await what takes time, or have it done in a thread: `await asyncio.to_thread(...)`.
        """

        async def watch() -> float:
            loop, longest = asyncio.get_running_loop(), 0.0

            async def beat() -> None:
                nonlocal longest
                while True:
                    begun = loop.time()
                    await asyncio.sleep(0.001)
                    longest = max(longest, loop.time() - begun)

            async with opened(self.make()) as tool:
                beating = asyncio.create_task(beat())
                await asyncio.sleep(0)
                for name, arguments in self.calls:
                    await self._call(tool, name, dict(arguments))
                await asyncio.sleep(0.01)  # so that the last beat is counted
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)
            return longest

        longest = run(watch())
        for _ in range(_TRIES):  # a busy machine may stop it now and then
            if longest < _BLOCKED_S:
                break
            longest = min(longest, run(watch()))
        assert longest < _BLOCKED_S, f"the event loop stood still for {longest:.2f} s during a call"

    def test_a_cancelled_call_ends(self) -> None:
        """A call that is cancelled raises CancelledError, and the next one works.

        Fix: do not catch CancelledError, or raise it again.
        """

        async def cancel() -> None:
            async with opened(self.make()) as tool:
                for name, arguments in self.calls:
                    task = asyncio.create_task(self._call(tool, name, dict(arguments)))
                    await asyncio.sleep(0)
                    if not task.cancel():
                        continue  # it was done at once
                    await asyncio.wait([task])
                    assert task.cancelled(), f"{name} went on after it was cancelled"
                    await self._call(tool, name, dict(arguments))

        run(cancel())
