"""Refuses connections while a test of a pipeline runs, whoever makes them: a library, a thread, an event loop.

Python tells its audit hooks of each before it is made. Programs that a plugin starts are processes of their own, and
are not seen.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Never

_CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
"""Events whose second argument is an address."""
_LOOKS_UP = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
"""Events whose first argument is a host."""


class _Guard:
    """The one hook of this process: an audit hook cannot be removed, so it is let sleep."""

    def __init__(self) -> None:
        self.installed = False
        self.refused: list[str] | None = None
        """Takes the addresses that are refused; nothing is refused where it is `None`."""

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.refused is None:
            return
        if event in _CONNECTS and args[1] is not None:  # without an address, the socket is connected already
            refuse(_shown(args[1]), self.refused)
        elif event in _LOOKS_UP:
            refuse(_shown(args[:2]), self.refused)


_guard = _Guard()


@contextmanager
def refuse_connections(refused: list[str]) -> Iterator[None]:
    """Refuse all connections and lookups of this process meanwhile, and note their addresses."""
    if not _guard.installed:
        sys.addaudithook(_guard)
        _guard.installed = True
    before, _guard.refused = _guard.refused, refused
    try:
        yield
    finally:
        _guard.refused = before


def refuse(address: str, refused: list[str]) -> Never:
    """Note an address and raise ConnectionRefusedError."""
    refused.append(address)
    raise ConnectionRefusedError(f"a test of a pipeline makes no connections, and this one is to {address}")


def _shown(address: object) -> str:
    """Return an address as `host:port`, or the path of a socket."""
    parts = address[:2] if isinstance(address, tuple) else (address,)
    texts = [part.decode("ascii", "replace") if isinstance(part, bytes) else str(part) for part in parts]
    return ":".join(text for text in texts if text != "None")
