"""Wrong keys of each address at all servers of a store: each counts at once, and knows of the others a second later."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b

from nexus_core.contract.errors import NexusError
from nexus_core.server.access.access import AuthThrottle
from nexus_core.server.cluster.store_link import StoreLink
from nexus_core.store.access.server_agreements import count_wrong_keys
from nexus_core.store.database.sql import ServerConnection

_MINUTE_S = 60.0
_MOST = 1_000
"""Addresses whose counts wait to be told; those of more are counted here alone."""


class WrongKeys:
    """Tells the store what was counted here, and the server what was counted in all."""

    def __init__(self, link: StoreLink, throttle: AuthThrottle) -> None:
        self._link = link
        self._throttle = throttle
        self._waiting: Counter[str] = Counter()

    def note(self, origin: str) -> None:
        """Count one that came from an address, to be told with the next look."""
        if origin in self._waiting or len(self._waiting) < _MOST:
            self._waiting[origin] += 1

    async def look(self) -> None:
        """Tell what was counted since the last look, and learn how many there are in all."""
        counted, self._waiting = self._waiting, Counter()
        try:
            totals = await self._link.run(_count, counted) if counted else {}
        except NexusError:
            self._waiting = counted + self._waiting
            raise
        for origin, total in totals.items():
            self._throttle.learn(origin, total)


def _count(connection: ServerConnection, counted: Counter[str]) -> dict[str, int]:
    now = connection.clock()
    return {
        origin: count_wrong_keys(connection, _hash(origin), count, now, _MINUTE_S) for origin, count in counted.items()
    }


def _hash(origin: str) -> str:
    """Return what stands for an address in the store: who connects from where is nobody's business there."""
    return blake2b(origin.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
