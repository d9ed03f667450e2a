"""Threads that no exit waits for: work that is stuck in one of them keeps no process alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from threading import Thread
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return what a function returns in a thread of its own; whoever is cancelled leaves it behind.

    Unlike with `asyncio.to_thread`, neither the event loop nor the interpreter waits for it at the end.
    """
    future: Future[_T] = Future()
    call = partial(copy_context().run, work, *args, **kwargs)
    Thread(target=run_job, args=(future, call), name="nexus-work", daemon=True).start()
    return await asyncio.wrap_future(future)


def run_job(future: Future[Any], call: Callable[[], Any]) -> None:
    """Call a function and put into a future what comes of it, unless nobody wants it any more."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        found = call()
    except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
        future.set_exception(error)
    else:
        future.set_result(found)
