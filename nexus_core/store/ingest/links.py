"""Links between the documents of a context: from what a document says to the ids of items."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from posixpath import basename, splitext

from attrs import evolve

from nexus_core.contract.values import Item
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.items.prepare import PreparedItem
from nexus_core.store.items.rows import keys_of, read_items
from nexus_core.store.records import Context, checked_item, digest_of, links_of

_WIKI = re.compile(r"\[\[(.*)\]\](#.*)?", re.DOTALL)


class LinkResolver:
    """What links mean in one context, for the thread that writes.

    A link is the id of an item already; or `document#anchor`, where the document is short and has no such section, or
    `document`, whose first section is meant; or `[[Name]]`, a document by its name without folder and suffix.
    """

    def __init__(self, connection: SqlConnection, context: Context, names: Iterable[str]) -> None:
        self._connection = connection
        self._context = context
        self._by_stem: dict[str, str] | None = None
        self._names = names
        self.moved: dict[str, str] = {}
        """By which ids items are called now that another reader has made."""

    def resolved(self, prepared: Sequence[PreparedItem], fresh: Mapping[str, Sequence[str]]) -> list[PreparedItem]:
        """Return items with the ids of what they link to; `fresh` are the ids of documents written with them."""
        linking = [each for each in prepared if links_of(each.item)]
        if not linking:
            return list(prepared)
        named = {link: self._named(link) for each in linking for link in links_of(each.item)}
        meant = self._meant({link for link in named.values() if link}, fresh)
        return [self._with_ids(each, named, meant) if links_of(each.item) else each for each in prepared]

    def late(self) -> list[int]:
        """Return the keys of items with links that mean an item and do not tell its id yet."""
        dangling: dict[str, list[int]] = {}
        for key, target in self._connection.execute(
            "SELECT links.item_key, links.target FROM items JOIN links ON links.item_key = items.key"
            " WHERE items.context_id = ? AND NOT EXISTS"
            " (SELECT 1 FROM items AS other WHERE other.context_id = items.context_id AND other.id = links.target)",
            (self._context.id,),
        ):
            dangling.setdefault(target, []).append(key)
        meant = self._meant({*dangling}, {})
        return sorted({key for target, keys in dangling.items() if meant[target] != target for key in keys})

    def by_document(self, keys: Sequence[int]) -> dict[int | None, list[Item]]:
        """Return the items with these keys, by the number of their document."""
        found = read_items(self._connection, keys)
        numbers = self._connection.execute(
            "SELECT key, document_id FROM items WHERE key IN (SELECT value FROM json_each(?) AS numbers)",
            (json.dumps(list(keys)),),
        )
        items: dict[int | None, list[Item]] = {}
        for key, number in numbers.fetchall():
            items.setdefault(number, []).append(found[key])
        return items

    def _with_ids(self, each: PreparedItem, named: Mapping[str, str], meant: Mapping[str, str]) -> PreparedItem:
        links = links_of(each.item)
        ids = [meant[named[link]] for link in links if named[link]]
        ids = [link for link in dict.fromkeys(ids) if link != each.item.id]
        if ids == list(links):
            return each
        others = {key: value for key, value in each.item.metadata.items() if key != "links"}
        item = evolve(each.item, metadata={**others, **({"links": ids} if ids else {})})
        metadata = checked_item(item)
        return evolve(each, item=item, metadata=metadata, digest=digest_of(item, metadata))

    def _meant(self, links: set[str], fresh: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Return the id that each link means; one that means none stays as it is, since its item may yet come."""
        there = {name for ids in fresh.values() for name in ids}
        there |= keys_of(self._connection, self._context, links - there).keys()
        left = {_document(link) for link in links - there}
        firsts = {name: ids[0] for name, ids in fresh.items() if ids and name in left}
        firsts |= dict(self._firsts(left - firsts.keys()))
        firsts = {link: firsts.get(_document(link), link) for link in links - there}
        return {link: link if link in there else self.moved.get(link, firsts[link]) for link in links}

    def _firsts(self, names: set[str]) -> Iterator[tuple[str, str]]:
        """Yield the first item of each document that is there."""
        found = self._connection.execute(
            "SELECT documents.name, items.id FROM documents JOIN items ON items.document_id = documents.id"
            " WHERE documents.context_id = ? AND documents.name IN (SELECT value FROM json_each(?) AS texts)"
            " ORDER BY coalesce(json_extract(items.metadata, '$.line'), json_extract(items.metadata, '$.page'), 0)"
            " DESC, items.key DESC",
            (self._context.id, json.dumps([name.replace("%23", "#") for name in names])),
        )
        for name, first in found:  # the last one of each name stays
            yield name.replace("#", "%23"), first

    def _named(self, link: str) -> str:
        """Return the link with the name of the document in the place of a wiki's, `""` where there is none."""
        wiki = _WIKI.fullmatch(link)
        if wiki is None:
            return link
        if self._by_stem is None:
            self._by_stem = {}
            for name in self._names:
                self._by_stem.setdefault(_stem(name), name)
        found = self._by_stem.get(_stem(wiki[1]))
        return found.replace("#", "%23") + (wiki[2] or "") if found else ""


def _document(link: str) -> str:
    return link.partition("#")[0]


def _stem(name: str) -> str:
    return splitext(basename(name))[0].casefold().replace("_", " ").replace("-", " ")
