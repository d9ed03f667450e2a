"""What this server has in common with the others of its store, opened and closed together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nexus_core.contract.errors import NexusError
from nexus_core.server.access.access import AccessControl
from nexus_core.server.cluster.index_upkeep import IndexUpkeep
from nexus_core.server.cluster.leased_limiter import LeasedLimits
from nexus_core.server.cluster.shared_choices import SharedChoices
from nexus_core.server.cluster.store_link import StoreLink
from nexus_core.server.cluster.wrong_keys import WrongKeys
from nexus_core.server.errors import Failure
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.runs.server_process import describe_process
from nexus_core.store.database.paths import StorePaths

_RETRY = {"Retry-After": "1"}


class ServerCluster:
    """The servers of one store, as one of them sees them; open between `open` and `close`."""

    def __init__(
        self,
        place: StorePaths,
        serving: ServedPipelines,
        reload: Callable[[], Awaitable[None]],
        *,
        keeps_indexes: bool = True,
    ) -> None:
        """Take where the store is, and what reads the files of pipelines anew.

        One process of a machine `keeps_indexes` up for all of them.
        """
        self.link = StoreLink(place)
        self.leases = LeasedLimits(self.link, describe_process())
        self.choices = SharedChoices(self.link, serving, reload)
        self.indexes = IndexUpkeep(self.link, place, serving.store) if keeps_indexes else None

    async def open(self, gate: AccessControl) -> None:
        """Go by what the others have done, from now on."""
        wrong_keys = WrongKeys(self.link, gate.failures)
        gate.on_wrong_key = wrong_keys.note
        for look in (self.choices.look, self.leases.look, wrong_keys.look):
            self.link.each_look(look)
        if self.indexes is not None:
            self.link.each_look(self.indexes.look)
        await self.link.open()

    async def close(self) -> None:
        """Leave what was held to the others."""
        if self.indexes is not None:
            await self.indexes.close()
        try:
            await self.leases.close()
        except NexusError:  # then it comes back to them after some seconds
            return
        finally:
            await self.link.close()

    def check_ready(self) -> None:
        """Raise Failure, which says why, where requests are better sent to another server, or to none."""
        if self.link.is_lost:
            raise Failure(503, "store_unavailable", "the database of the store is lost", _RETRY)
        if self.link.unusable:
            said = "the database of the store cannot be used by this version"
            raise Failure(503, "store_unusable", said, _RETRY, noted=f"{said}: {self.link.unusable}")
