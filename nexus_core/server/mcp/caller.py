"""The caller of a tool: who asks, by which request, and how long that is under way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import field, frozen

from nexus_core.contract.run_context import Viewer
from nexus_core.server.access.identity import ANYBODY, Identity, Scope
from nexus_core.server.access.key_limits import AdmittedRequest
from nexus_core.server.errors import Failure

SaysProgress = Callable[[str], Awaitable[None]]
"""Tells the client how far a call has come."""


def _ignore(failure: Failure) -> None:
    """Tell nobody: the message is all that there is."""


@frozen(kw_only=True)
class McpCaller:
    """Somebody who calls tools, reads resources or gets prompts."""

    who: Identity = ANYBODY
    admitted_request: AdmittedRequest | None = None
    """The HTTP request inside the limits of its key; `None` where the key has none, and over stdin."""
    to_operator: bool = True
    """Whether they read the words of errors."""
    request_id: str = ""
    session: str = ""
    """As which the client asks, by its own account: in the older era of the protocol calls are cancelled by it."""
    traceparent: str | None = None
    fresh: bool = False
    """Whether answers of the answer cache are refused."""
    log_failure: Callable[[Failure], None] = field(default=_ignore)
    """Writes what the caller may not read of a failure."""
    hand_over: Callable[[], None] = field(default=lambda: None)
    """Is called once a run has its slot: what ends runs now ends this one by itself."""

    @property
    def viewer(self) -> Viewer | None:
        """Whose eyes they see the store with."""
        return self.who.viewer

    def may(self, scope: Scope) -> bool:
        """Tell whether something that needs a scope is open to them."""
        return self.who.may(scope)

    def check(self, scope: Scope) -> None:
        """Raise Failure where something that needs a scope is not open to them."""
        if not self.may(scope):
            raise Failure(403, "forbidden", f"this key may not do this: it lacks the scope {scope!r}")

    def key_of(self, request_id: object) -> tuple[Any, ...] | None:
        """Return by what a call of theirs is told from all others; `None` where nothing does."""
        if not self.session or not isinstance(request_id, str | int):
            return None
        return self.who.owner, self.who.key_id, self.session, type(request_id).__name__, request_id


class RunningCalls:
    """The calls that are under way in this process, to be cancelled by another request of the same caller."""

    def __init__(self) -> None:
        self._cancels: dict[tuple[Any, ...], Callable[[], None]] = {}

    @contextmanager
    def under_way(self, key: tuple[Any, ...] | None, cancel: Callable[[], None]) -> Iterator[None]:
        """Let a call be cancelled while the block lasts; without a key it cannot be."""
        if key is None:
            yield
            return
        self._cancels[key] = cancel
        try:
            yield
        finally:
            if self._cancels.get(key) is cancel:
                del self._cancels[key]

    def cancel(self, key: tuple[Any, ...]) -> bool:
        """Cancel a call; returns whether it is one of this process."""
        found = self._cancels.get(key)
        if found is not None:
            found()
        return found is not None
