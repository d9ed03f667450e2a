"""What plugins return and raise: checked where it comes in, so that a plugin's mistake is told as the plugin's.

An error of the project passes as it is, but for a bare `NexusError`, which says of nothing what it is, and a
`UsageError`, which would put the plugin's mistake down to the caller. An interrupt by Ctrl-C, and a cancellation that
somebody asked for, pass too; all else, `SystemExit`, a `CancelledError` and, where Ctrl-C raises none, a
`KeyboardInterrupt` of the plugin's own making included, becomes the error of its kind.

A plugin runs in the task of its caller. What cancels that task from within the plugin is refused, see
`watch_task` and docs/decisions/cancellation-by-plugins.md.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from types import FrameType, TracebackType
from typing import Any
from weakref import ref

from attrs import evolve

from nexus_core.contract.errors import NexusError, RankerError, SourceError, TemplateError, UsageError, describe_error
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.values import FilePart, ImagePart, Item, Message, TextPart
from nexus_core.toolkit.text.normalization import is_valid_unicode, valid_unicode

_CALLERS = frozenset({"nexus_core", "pluggy", "attr", "importlib_metadata"})
"""Packages that call plugins, or load them, as the last one does once anything has imported it."""
_ROLES = frozenset({"system", "user", "assistant", "tool"})
CANCELLED_ITSELF = (
    "the plugin cancelled the task that it runs in, which belongs to its caller: cancel only tasks that the plugin has "
    "created, and raise an error where a call cannot go on"
)
_UNASKED = (
    "the plugin raised it, and nobody had cancelled the run: catch it where a task of the plugin's own was cancelled, "
    "and raise an error instead"
)
_LISTENERS = frozenset({"nexus_core.engine.runner", "nexus_core.engine.tools.approvals"})
"""Modules that call functions of whoever asked for a run: these may cancel it."""


class PluginGuard:
    """Stands around what a plugin does: whatever it raises is told with the plugin's name. A context manager."""

    __slots__ = ("_error", "_what")

    def __init__(self, what: str, error: type[NexusError]) -> None:
        """Take what the plugin is, such as `ranker 'newest'`, and the error of its kind."""
        self._what = what
        self._error = error

    def __enter__(self) -> None:
        """Nothing is needed before the plugin acts: all is decided by what it raises."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and is_own(error):
            raise self._error(f"{self._what} failed: {describe_own(error)}{place_of(error)}") from error


def watch_task() -> None:
    """Refuse from now on that a plugin cancels the task that runs now; anybody else may. Each run begins with it.

    `cancel` then raises CancelledError within the plugin, at the line that called it, and nothing is cancelled: what
    was on its way to the caller would look like a cancellation by whoever asked. It shadows the method of this one task
    for as long as the task lives, so that a call costs nothing more: a task of its own for each call of a plugin would
    cost a streamed chunk more than all else that is done for it.
    """
    task: Any = _task()
    if task is not None and type(task.cancel) is not partial:
        task.cancel = partial(_cancel, ref(task))


def _cancel(watched: ref[asyncio.Task[Any]], msg: Any = None) -> bool:
    task = watched()
    if task is None:
        return False
    if task is _task() and _is_in_a_plugin(sys._getframe(1)):
        raise asyncio.CancelledError(CANCELLED_ITSELF)
    return type(task).cancel(task, msg=msg)


def _is_in_a_plugin(frame: FrameType | None) -> bool:
    """Tell whether a frame is of a plugin, or of what a plugin has called: the first of ours above it calls plugins."""
    is_first = True
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        package = name.partition(".")[0]
        if package == "nexus_core":
            return not is_first and name not in _LISTENERS
        if is_first and package == "asyncio":  # a task group that passes a cancellation on, or Ctrl-C
            return False
        frame, is_first = frame.f_back, False
    return False


def describe_own(error: BaseException) -> str:
    """Return the kind of an error that a plugin raised, and what it says, or for a bare CancelledError what to do."""
    if isinstance(error, asyncio.CancelledError) and not error.args:
        return f"{type(error).__name__}: {_UNASKED}"
    return describe_error(error)


def place_of(error: BaseException) -> str:
    """Return where the code of a plugin raised an error, as ` (FILE, line 4)`, empty where none of it did.

    The plugin's is the first file that belongs neither to Python's library nor to what calls plugins here.
    """
    file, place, step = "", "", error.__traceback__
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        file = file or (name if _is_of_a_plugin(step.tb_frame) else "")
        if file and name == file:
            place = f" ({os.path.basename(name)}, line {step.tb_lineno})"
        step = step.tb_next
    return place


def _is_of_a_plugin(frame: FrameType) -> bool:
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    calls_plugins = package in sys.stdlib_module_names or package in _CALLERS
    return not calls_plugins and not frame.f_code.co_filename.startswith("<")  # such as what attrs writes


def is_own(error: BaseException) -> bool:
    """Tell whether an error is a plugin's own, to be told as such, and not one that passes through it."""
    if isinstance(error, asyncio.CancelledError):
        task = _task()
        return task is None or not task.cancelling()
    if isinstance(error, KeyboardInterrupt):
        return not _interrupts()
    if isinstance(error, GeneratorExit):
        # A generator is closed at its `yield`; within a task nobody closes what is in the middle of an `await`.
        raised = error.__traceback__
        return _task() is not None and raised is not None and raised.tb_next is not None
    return type(error) in (NexusError, UsageError) or not isinstance(error, NexusError)


def _interrupts() -> bool:
    """Tell whether Ctrl-C raises a KeyboardInterrupt here: not in threads, nor where an event loop takes the signal."""
    if threading.current_thread() is not threading.main_thread():
        return False
    handler = signal.getsignal(signal.SIGINT)
    if str(getattr(handler, "__module__", "")).startswith("nexus_core."):  # those of commands and of a server
        return False
    return callable(handler) and getattr(handler, "__name__", "") != "_sighandler_noop"  # asyncio's for its own


def _task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def check_gathered(name: str, found: Any) -> tuple[Item, ...] | Ranking:
    """Return what a source has returned, as a tuple where it is no ranking; raises SourceError.

    Halves of surrogate pairs in the texts of its items are replaced: nothing that writes them could.
    """
    if isinstance(found, Ranking):
        _check_items(name, found.items)
        if (items := with_valid_texts(found.items)) is not found.items:
            found = Ranking(items, found.columns, found.order(), found.searched, by_meaning=found.by_meaning)
        try:
            checked: Ranking = found.checked(name)
        except RankerError as error:
            raise SourceError(f"source {name!r} returned a ranking that is none: {error}") from error
        return checked
    items = found if isinstance(found, tuple) else tuple(_iterated(name, found))
    _check_items(name, items)
    return with_valid_texts(items)


def _iterated(name: str, found: Any) -> Iterable[Any]:
    if isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable):
        raise SourceError(f"source {name!r} must return items or a ranking, not {_kind(found)}")
    with PluginGuard(f"source {name!r}", SourceError):  # a generator runs here
        return list(found)


def _check_items(name: str, items: Iterable[Any]) -> None:
    for place, item in enumerate(items):
        if not isinstance(item, Item):
            raise SourceError(f"source {name!r} must yield items, not {_kind(item)} (at place {place})")
        if not (
            isinstance(item.text, str)
            and isinstance(item.id, str)
            and isinstance(item.title, str)
            and isinstance(item.source, str)
            and isinstance(item.kind, str)
        ):
            raise SourceError(f"source {name!r} yields an item whose id, text, title, kind or source is no text "
                              f"(at place {place})")  # fmt: skip


def with_valid_texts(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Return items whose texts are valid Unicode, the very same ones where they were."""
    broken = {place for place, item in enumerate(items) if not _is_plain(item) and not _has_valid_texts(item)}
    if not broken:
        return items
    return tuple(
        item
        if place not in broken
        else evolve(
            item,
            id=valid_unicode(item.id),
            text=valid_unicode(item.text),
            title=valid_unicode(item.title),
            source=valid_unicode(item.source),
            kind=valid_unicode(item.kind),
            tags=tuple([valid_unicode(tag) if isinstance(tag, str) else tag for tag in item.tags]),
        )
        for place, item in enumerate(items)
    )


def _is_plain(item: Item) -> bool:
    """Tell whether an item is ASCII, which takes no look at its texts."""
    return (
        item.text.isascii()
        and item.id.isascii()
        and item.title.isascii()
        and item.source.isascii()
        and item.kind.isascii()
        and not item.tags
    )


def _has_valid_texts(item: Item) -> bool:
    return (
        is_valid_unicode(item.text)
        and is_valid_unicode(item.id)
        and is_valid_unicode(item.title)
        and is_valid_unicode(item.source)
        and is_valid_unicode(item.kind)
        and all(is_valid_unicode(tag) for tag in item.tags if isinstance(tag, str))
    )


def check_ranked(name: str, found: Any, given: Ranking) -> Ranking:
    """Return what a ranker has returned: a ranking of the items it was given, or one number for each; RankerError."""
    with PluginGuard(f"ranker {name!r}", RankerError):
        if not isinstance(found, Ranking):
            if inspect.isawaitable(found):
                raise RankerError(f"ranker {name!r} returned {_kind(found)}: await it within `rank`")
            return given.scored(name, found)
        if found.items is not given.items:
            raise RankerError(
                f"ranker {name!r} must return `ranking.scored(...)` of the ranking it was given, or one number per item"
            )
        return found.checked(name)


def check_rendered(name: str, messages: Any) -> tuple[Message, ...]:
    """Return what a template has made of its variables, as a tuple; raises TemplateError."""
    found = messages if type(messages) is tuple else _messages_in(name, messages)
    for message in found:
        if type(message) is not Message and not isinstance(message, Message):
            raise TemplateError(f"template {name!r} must return messages, not {_kind(message)}")
        if message.role not in _ROLES or not (isinstance(message.content, str) or _are_parts(message.content)):
            raise TemplateError(f"template {name!r} returned a message whose role or content is none")
    return found


def _are_parts(content: Any) -> bool:
    return isinstance(content, tuple) and all(isinstance(part, TextPart | ImagePart | FilePart) for part in content)


def _messages_in(name: str, messages: Any) -> tuple[Any, ...]:
    with PluginGuard(f"template {name!r}", TemplateError):
        if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
            raise TemplateError(f"template {name!r} must return messages, not {_kind(messages)}")
        return tuple(messages)


def _kind(value: Any) -> str:
    """Return what a value is, after closing it where nobody would: a coroutine that is never awaited warns."""
    if inspect.iscoroutine(value):
        value.close()
    return "nothing" if value is None else f"a {type(value).__name__}"
