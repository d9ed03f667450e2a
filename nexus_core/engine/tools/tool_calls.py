"""Calls of tools: checked against their schemas, made side by side, each within its time; none of them breaks a run."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import perf_counter, time
from typing import Any

from attrs import evolve, frozen

from nexus_core.contract.errors import DeadlineError, NexusError, RequestCapError, ToolError, describe_error
from nexus_core.contract.ranking import check_scores
from nexus_core.contract.run_context import RunContext
from nexus_core.contract.values import Item, ToolCall, ToolResult
from nexus_core.engine.plugin_guard import is_own, with_valid_texts
from nexus_core.engine.tools.approvals import Approvals
from nexus_core.engine.tools.tool_results import characters_of
from nexus_core.engine.tools.toolbox import OfferedTool
from nexus_core.toolkit.suggest import did_you_mean, listed
from nexus_core.toolkit.text.normalization import valid_unicode
from nexus_core.toolkit.timers import run_all

MOST_RESULT = 4_000_000
"""Characters of a result that are looked at; a tool that gives more is told so."""
MOST_ITEMS = 10_000
"""Items of a result; a tool that gives more is told so."""
MOST_ERROR = 65_536
"""Characters of what a tool says of its failure; what follows is left out."""
MOST_ARGUMENTS = 65_536
"""Characters of the arguments of a call."""
MOST_DEPTH = 64
"""Lists and objects in each other that arguments may have."""
_LOOK_S = 0.01
"""While a person is waited for the time of a step stands still: it is looked at again no sooner than after this."""

_log = logging.getLogger(__name__)


@frozen(kw_only=True, eq=False, repr=False)
class ToolOutcome:
    """What became of one call."""

    call: ToolCall
    outcome: str
    """As in `ToolFinished`."""
    result: ToolResult
    duration_s: float = 0.0
    ended: float = 0.0
    """Seconds since the epoch; 0 where it was not made."""
    query: str = ""
    """What was asked for, in words: what parts of a long result are chosen by."""


async def run_calls(
    calls: Sequence[ToolCall],
    offered: Mapping[str, OfferedTool],
    run: RunContext,
    *,
    timeout_s: float,
    left: int,
    time_left: Callable[[], float],
    ended: dict[int, ToolOutcome],
    approvals: Approvals | None = None,
) -> list[ToolOutcome]:
    """Return what became of each call, in their order; at most `left` of them are made, all at the same time.

    What became of one stands in `ended` by its place as soon as it is over: whoever is told of an error has it there.
    With `approvals` a person is asked about each that changes something, before its time begins. Raises DeadlineError
    where the caller's time is up, or that of the step: `time_left` tells its seconds, which may become more meanwhile.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def check() -> None:
        nonlocal timer
        seconds = time_left()
        if seconds <= 0:
            limit.reschedule(loop.time())
        else:
            timer = loop.call_later(max(seconds, _LOOK_S), check)

    async def keep(place: int, call: ToolCall) -> None:
        ended[place] = await _one(call, offered, run, timeout_s=timeout_s, refused=place >= left, approvals=approvals)

    try:
        async with asyncio.timeout(None) as limit:
            check()
            await run_all([keep(place, call) for place, call in enumerate(calls)])
            return [ended[place] for place in range(len(calls))]
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DeadlineError(
            "the time of the call is up: tools took what was left of `calls.deadline` (of a stream `stream_deadline`)"
        ) from error
    finally:
        if timer is not None:
            timer.cancel()


async def _one(
    call: ToolCall,
    offered: Mapping[str, OfferedTool],
    run: RunContext,
    *,
    timeout_s: float,
    refused: bool,
    approvals: Approvals | None,
) -> ToolOutcome:
    if refused:
        return _failed(call, "refused", "not called: there were too many calls; answer with what you know")
    tool = offered.get(call.name)
    if tool is None:
        there = f"there are {listed(sorted(offered))}" if offered else "there is none"
        return _failed(call, "unknown", f"no tool has this name{did_you_mean(call.name, offered)}: {there}")
    arguments, why = _arguments(call, tool)
    if why:
        return _failed(call, "invalid", f"not called, the arguments are wrong: {why}")
    if approvals is not None and tool.definition.changes:
        why = await approvals.refusal(call, tool.definition, arguments)
        if why:
            return _failed(call, "not_approved", why)
    began, query = perf_counter(), _words_in(arguments)
    outcome, result = await _called(tool, call.name, arguments, run, timeout_s, approvals)
    duration_s = perf_counter() - began
    return ToolOutcome(call=call, outcome=outcome, result=result, duration_s=duration_s, ended=time(), query=query)


async def _called(
    tool: OfferedTool,
    name: str,
    arguments: Mapping[str, Any],
    run: RunContext,
    timeout_s: float,
    approvals: Approvals | None,
) -> tuple[str, ToolResult]:
    left_s = run.left_s()
    seconds = timeout_s if left_s is None else min(timeout_s, left_s)
    try:
        async with asyncio.timeout(seconds) as limit:
            within = run if approvals is None else approvals.during(limit, left_s)
            result = await _in_own_task(partial(tool.tool.call, name, arguments, within))
        _check(result)
    except ToolError as error:
        return "failed", _error(str(error)[:MOST_ERROR])
    except TimeoutError as error:
        if not limit.expired():
            return "error", _broken(tool, name, error)
        if left_s is not None and seconds == left_s:
            raise DeadlineError("the time that the caller gave the run is up") from error
        run.left_s()  # a person who was waited for may have taken it
        return "timeout", _error(f"there was no result within {timeout_s:g} s")
    except RequestCapError as error:
        return "error", _error(f"{error}; answer with what you know")
    except NexusError as error:
        if isinstance(error, DeadlineError):
            raise
        return "error", _broken(tool, name, error)
    except BaseException as error:
        if not is_own(error):
            raise
        return "error", _broken(tool, name, error)
    if len(result.items) > MOST_ITEMS:
        return "error", _error(f"the result has too many items ({len(result.items):,}): ask for less")
    size = characters_of(result)
    if size > MOST_RESULT:
        return "error", _error(f"the result is too long ({size:,} characters): ask for less")
    return ("failed" if result.is_error else "ok"), _with_valid_texts(result)


async def _in_own_task(call: Callable[[], Awaitable[ToolResult]]) -> ToolResult:
    """Make a call in a task of its own: a tool that cancels the task that it runs in ends nothing but its call."""
    failures: list[BaseException] = []

    async def called() -> ToolResult | None:
        try:
            return await call()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a task would hand SystemExit to the event loop
            failures.append(error)
            return None

    result = await asyncio.create_task(called())
    if failures:
        raise failures.pop()
    return result  # type: ignore[return-value]  # it is checked, like whatever a tool returns


def cancelled(call: ToolCall, offered: Mapping[str, OfferedTool]) -> ToolOutcome:
    """Return what is told of a call that had not ended when its run did."""
    outcome = "cancelled" if call.name in offered else "unknown"
    return ToolOutcome(call=call, outcome=outcome, result=ToolResult(is_error=True))


def _check(result: object) -> None:
    """Raise TypeError for what is no result: whatever reads it later takes its texts for texts."""
    if not isinstance(result, ToolResult):
        raise TypeError(f"it returned a {type(result).__name__} and no ToolResult")
    if not isinstance(result.text, str):
        raise TypeError(f"the text of its result is a {type(result.text).__name__}")
    if not isinstance(result.items, list | tuple):
        raise TypeError(f"the items of its result are a {type(result.items).__name__}")
    for item in result.items:
        if not isinstance(item, Item) or not all(
            isinstance(text, str) for text in (item.id, item.title, item.text, item.source, item.kind, *item.tags)
        ):
            raise TypeError("its result has an item that is no Item, or one whose texts are none")
    for ranker, scores in result.scores:
        check_scores(ranker, scores, len(result.items))


def _broken(tool: OfferedTool, name: str, error: BaseException) -> ToolResult:
    """Return what the model is told of a tool that broke: the log has more, which may be nobody else's business."""
    _log.warning("tool %r (%s) failed: %s", name, tool.use, describe_error(error))
    return _error(f"the tool failed ({type(error).__name__})")


def _error(why: str) -> ToolResult:
    return ToolResult(text=f"Error: {valid_unicode(why)}", is_error=True)


def _with_valid_texts(result: ToolResult) -> ToolResult:
    """Return a result without halves of surrogate pairs: nothing that writes them could."""
    return evolve(result, text=valid_unicode(result.text), items=with_valid_texts(tuple(result.items)))


def _failed(call: ToolCall, outcome: str, why: str) -> ToolOutcome:
    return ToolOutcome(call=call, outcome=outcome, result=_error(why))


def _arguments(call: ToolCall, tool: OfferedTool) -> tuple[dict[str, Any], str]:
    """Return the arguments of a call, and what is wrong with them."""
    if len(call.arguments) > MOST_ARGUMENTS:
        return {}, f"they have more than {MOST_ARGUMENTS:,} characters"
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        return {}, "they are no JSON"
    if not isinstance(arguments, dict):
        return {}, "they are no JSON object"
    if _is_deeper(arguments, MOST_DEPTH):
        return {}, f"they are nested more than {MOST_DEPTH} deep"
    try:
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:  # half of a surrogate pair is none, either
        return {}, "they hold a number that is too large, or a character that is none"
    mismatch = tool.find_mismatch(arguments)
    return arguments, "" if mismatch is None else str(mismatch)


def _is_deeper(value: Any, most: int) -> bool:
    """Tell whether a value of JSON has more lists and objects in each other than `most`."""
    level = [value]
    for _ in range(most + 1):
        level = [each for each in level if isinstance(each, dict | list)]
        if not level:
            return False
        level = [part for each in level for part in (each.values() if isinstance(each, dict) else each)]
    return True


def _words_in(value: Any) -> str:
    """Return the texts among arguments."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return " ".join(filter(None, map(_words_in, value)))
    return ""
