"""What turns of conversations were made of, and who may still see it.

With each turn are kept the contexts that were searched, the items of its prompt, who might see these, and which turns
before it were not in its prompt. A viewer is shown a turn if all of that may be seen now as it could be then: what was
granted and is no longer hides it, and each later turn whose prompt it was in. What a turn out of a file was made of is
not known: who sees all that its importer saw is shown it, and by a link who sees everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from nexus_core.contract.run_context import Viewer
from nexus_core.contract.values import Item
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.ingest.successors import find_visible
from nexus_core.store.records import Context
from nexus_core.store.search.search import ContextSearch

LONGEST_RUN_S = 3600.0
"""A turn that is kept so long after an earlier version was replaced has the later one in its prompt."""


def sources_json(
    contexts: Sequence[str],
    items: Sequence[Item],
    unseen: Sequence[int],
    *,
    granted: Mapping[str, Sequence[str]] | None = None,
    conversation: str | None = None,
) -> str:
    """Return what a turn was made of as it is kept; `unseen` are the turns before it that were not in its prompt.

    `granted` has the groups that might see its contexts then, for the time when another has the name of one. Of a run,
    which may be asked for beside its turn, `conversation` is the id of that which its turn is kept in.
    """
    marks = sorted({(tuple(sorted(item.readers)), tuple(sorted(item.tags))) for item in items})
    told = {
        "contexts": [*dict.fromkeys(contexts)],
        "items": [*dict.fromkeys(item.id for item in items)],
        "marks": marks,
        "unseen": [*unseen],
        "granted": {name: [*readers] for name, readers in (granted or {}).items()},
    }
    return json.dumps(told if conversation is None else {**told, "conversation": conversation})


def imported_json(viewer: Viewer | None) -> str:
    """Return as what a turn from a file is kept, by what whoever imports it may see."""
    parts = None if viewer is None else (viewer.groups, viewer.contexts, viewer.tags)
    seen = None if parts is None else [None if part is None else sorted(part) for part in parts]
    return json.dumps({"contexts": [], "items": [], "marks": [], "unseen": [], "imported": seen})


@frozen
class HiddenTurns:
    """What of the turns of a conversation somebody may not see; it is false where that is nothing."""

    numbers: frozenset[int] = frozenset()
    """Of the turns whose newest version it is."""
    versions: frozenset[str] = frozenset()
    """The runs of earlier versions."""

    def __bool__(self) -> bool:
        return bool(self.numbers or self.versions)


@frozen
class _HiddenTurn:
    """A turn that may not be seen, or an earlier version of one."""

    number: int
    run_id: str
    replaced: float | None
    """When a later version took its place; `None` of the newest."""

    def may_be_in_prompt(self, kept: float) -> bool:
        """Tell whether it may be in the prompt of a later turn that was kept at a moment: of a run begun before."""
        return self.replaced is None or kept < self.replaced + LONGEST_RUN_S


@define(eq=False, repr=False)
class TurnVisibility:
    """Tells which turns a viewer may see; for one look at a store, in the thread that reads."""

    search: ContextSearch
    viewer: Viewer
    by_link: bool = False
    """Whether they look by a link, at what is somebody else's."""
    _contexts: dict[str, Context] | None = None
    _sees_all: bool | None = None
    _seen: dict[str, bool] = field(factory=dict)
    """By what a turn was made of: turns after one another are often made of the same."""

    def hidden(self, connection: SqlConnection, conversation_key: int) -> HiddenTurns:
        """Return what of the turns of a conversation the viewer may not see."""
        found = self._hidden(connection, conversation_key)
        return HiddenTurns(
            frozenset(each.number for each in found if each.replaced is None),
            frozenset(each.run_id for each in found if each.replaced is not None),
        )

    def _hidden(self, connection: SqlConnection, conversation_key: int) -> list[_HiddenTurn]:
        rows = connection.execute(
            "SELECT number, run_id, sources, time, NULL AS replaced FROM turns WHERE conversation_key = ?"
            " UNION ALL SELECT number, run_id, sources, time, replaced FROM replaced_turns WHERE conversation_key = ?"
            " ORDER BY number",
            (conversation_key, conversation_key),
        )
        hidden: list[_HiddenTurn] = []
        for number, run_id, told, time, replaced in rows.fetchall():
            sources: Mapping[str, Any] | None = None if told is None else json.loads(told)
            before = {each.number for each in hidden if each.number < number and each.may_be_in_prompt(time)}
            unseen = frozenset[int]() if sources is None else frozenset(sources["unseen"])
            if before - unseen or not self._may_see(connection, told, sources, time):
                hidden.append(_HiddenTurn(number, run_id, replaced))
        return hidden

    def hidden_since(self, connection: SqlConnection, conversation_key: int, moment: float) -> bool:
        """Tell whether a turn is hidden that may have been seen at a moment: what it is made of has changed since."""
        changed = connection.execute("SELECT name FROM contexts WHERE changed >= ?", (moment,)).fetchall()
        names = {name for (name,) in changed}
        numbers = self.hidden(connection, conversation_key).numbers if names else ()
        rows = connection.execute("SELECT number, sources FROM turns WHERE conversation_key = ?", (conversation_key,))
        return any(
            told is None or not names.isdisjoint(json.loads(told)["contexts"])
            for number, told in (rows.fetchall() if numbers else ())
            if number in numbers
        )

    def may_see(self, connection: SqlConnection, told: str, made: float) -> bool:
        """Tell whether the viewer may see all that something was made of at a moment, as `sources_json` has it."""
        return self._may_see(connection, told, json.loads(told), made)

    def _may_see(
        self, connection: SqlConnection, told: str | None, sources: Mapping[str, Any] | None, made: float
    ) -> bool:
        if sources is None or told is None:  # of an older version: nobody knows what it was made of
            return self._all_is_seen(connection)
        if "imported" in sources:
            return self._sees_as_much(sources["imported"]) or self._all_is_seen(connection)
        known = self._known()
        for name in sources["contexts"]:
            if (
                name in known and known[name].created > made
            ):  # another one, made since under the name of one that is gone
                readers = sources.get("granted", {}).get(name)
                if not (self._all_is_seen(connection) if readers is None else self.viewer.may_see(tuple(readers))):
                    return False
        place = json.dumps([sources["contexts"], sources["items"], sources["marks"]])
        if place not in self._seen:
            self._seen[place] = self._are_seen(connection, sources)
        return self._seen[place]

    def _sees_as_much(self, told: Sequence[Sequence[str] | None] | None) -> bool:
        """Tell whether the viewer may see all that whoever has imported a turn could see, and is its owner."""
        if told is None or self.by_link:
            return False
        groups, contexts, tags = told
        return self.viewer.groups.issuperset(groups or ()) and all(
            own is None or (theirs is not None and own.issuperset(theirs))
            for own, theirs in ((self.viewer.contexts, contexts), (self.viewer.tags, tags))
        )

    def _are_seen(self, connection: SqlConnection, sources: Mapping[str, Any]) -> bool:
        viewer, known = self.viewer, self._known()
        for readers, tags in sources["marks"]:
            if not viewer.may_see_item(Item(id="", text="", readers=tuple(readers), tags=tuple(tags))):
                return False
        for name in sources["contexts"]:
            if name not in known:
                return False
            hidden = self._hidden_of(connection, known[name], sources["items"])
            if next(hidden, None) is not None:
                return False
        return True

    def _hidden_of(self, connection: SqlConnection, context: Context, ids: Sequence[str]) -> Iterator[str]:
        """Yield the ids of items that are there and hidden: what is gone is judged by who might see it then."""
        visible = self.search.visible(context, self.viewer)
        if visible is None:
            return
        seen = find_visible(connection, context, ids, visible)
        there = find_visible(connection, context, ids, None)
        yield from (each for each in ids if each in there and each not in seen)

    def _known(self) -> dict[str, Context]:
        if self._contexts is None:
            self._contexts = {each.name: each for each in self.search.named(self.viewer)}
        return self._contexts

    def _all_is_seen(self, connection: SqlConnection) -> bool:
        """Tell whether nothing in the store is hidden from the viewer."""
        if self._sees_all is None:
            known = self._known()
            (count,) = connection.execute("SELECT count(*) FROM contexts").fetchone()
            self._sees_all = len(known) == count and all(
                self.search.visible(each, self.viewer) is None for each in known.values()
            )
        return self._sees_all
