"""What is measured on: items, queries, and which items are relevant to which query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from attrs import evolve, field, frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.values import Item
from nexus_core.toolkit.suggest import counted

Judgements = Mapping[str, Mapping[str, int]]
"""Grades, by query and item; above 0 is relevant."""
Alternatives = Sequence[Sequence[int]]
"""Sets of sentences of one item, by number from 0; any of them is the whole evidence of that item."""


@frozen(kw_only=True, eq=False, repr=False)
class Query:
    """A question, and what answers it."""

    id: str
    text: str
    answers: tuple[str, ...] = ()
    """Texts, any of which answers it."""
    evidence: Mapping[str, Alternatives] = field(factory=dict)
    """By item."""
    answerable: bool | None = None
    """Whether the items hold an answer, where the queries file says it; `None` where it does not."""

    @property
    def is_answerable(self) -> bool:
        """Whether it can be told if a prompt holds what answers it."""
        return bool(self.answers) or bool(self.evidence)


@frozen(kw_only=True, eq=False, repr=False)
class JudgedCollection:
    """Queries with their relevant items; the items themselves where they come from a file."""

    __test__: ClassVar[bool] = False
    """No class of tests, whatever its name says to pytest."""

    name: str
    queries: tuple[Query, ...]
    """Those whose ranking is measured: each has a relevant item."""
    to_answer: tuple[Query, ...] = ()
    """Those whose answer can be measured: these, and others that say whether there is one; in the order of the file."""
    relevant: Judgements
    """Grades above 0 only."""
    items: tuple[Item, ...] | None = None
    """`None` where each pipeline gathers its own."""
    ends: Mapping[str, Sequence[int]] = field(factory=dict)
    """Where the sentences of an item end, by its id."""
    warnings: tuple[str, ...] = ()
    """What in the files does not fit together."""

    @property
    def judgements(self) -> int:
        """How many pairs of a query and a relevant item there are."""
        return sum(len(self.relevant[query.id]) for query in self.queries)

    def first(self, count: int | None) -> JudgedCollection:
        """Return the collection with its first `count` queries only."""
        if count is None:
            return self
        return evolve(self, queries=self.queries[:count], to_answer=self.to_answer[:count])


def match_items(
    collection: JudgedCollection, judged: Judgements, known: Iterable[str] | None = None, warnings: Sequence[str] = ()
) -> JudgedCollection:
    """Return the collection with the queries that have relevant items, and a warning for what has no counterpart.

    `known` are the ids of all items, where they are known. Raises UsageError where nothing fits.
    """
    relevant = {query: good for query, grades in judged.items() if (good := _above_zero(grades))}
    queries = tuple(query for query in collection.queries if query.id in relevant)
    if not queries:
        raise UsageError(_nothing_to_measure(collection, judged))
    found = [*warnings, *_about_queries(collection.queries, judged, len(queries))]
    if known is not None:
        found += _about_items(collection.name, {query.id: relevant[query.id] for query in queries}, frozenset(known))
    unclear = sum(not _is_clear(query, collection.ends) for query in queries)
    if unclear:
        queries = tuple(q if _is_clear(q, collection.ends) else evolve(q, evidence={}) for q in queries)
        found.append(
            f"the `evidence` of {counted(unclear, 'query', 'queries')} names sentences whose place no `ends` of a "
            "corpus file tells: answer recall goes by their `answers`, where they have any"
        )
    to_answer = tuple(query for query in collection.queries if query.id in relevant or query.answerable is not None)
    return evolve(collection, queries=queries, to_answer=to_answer, relevant=relevant, warnings=tuple(found))


def _is_clear(query: Query, ends: Mapping[str, Sequence[int]]) -> bool:
    """Tell whether every sentence of the evidence can be found in its item."""
    return all(max(map(max, chosen)) < len(ends.get(item, ())) for item, chosen in query.evidence.items())


def _above_zero(grades: Mapping[str, int]) -> dict[str, int]:
    return {item: grade for item, grade in grades.items() if grade > 0}


def _nothing_to_measure(collection: JudgedCollection, judged: Judgements) -> str:
    known = [query.id for query in collection.queries]
    if not any(query in judged for query in known):
        return (
            f"{collection.name}: the queries ({_such_as(known)}) and the judged ones ({_such_as(list(judged))}) have "
            "no id in common: check that both files are of one collection"
        )
    return f"{collection.name}: no query has an item with a score above 0, so there is nothing to measure"


def _about_queries(queries: Sequence[Query], judged: Judgements, measured: int) -> list[str]:
    known = {query.id for query in queries}
    unknown = [query for query in judged if query not in known]
    said = []
    if unknown:
        said.append(f"judged but not in the queries file, so not measured: {_counted(unknown, 'query', 'queries')}")
    if measured < len(queries):
        lacking = f"{len(queries) - measured:,} of {counted(len(queries), 'query', 'queries')}"
        said.append(f"{lacking} have no relevant item: their ranking is not measured")
    return said


def _about_items(name: str, relevant: Judgements, known: frozenset[str]) -> list[str]:
    wanted = list(dict.fromkeys(item for grades in relevant.values() for item in grades))
    unknown = [item for item in wanted if item not in known]
    if len(unknown) == len(wanted):
        raise UsageError(
            f"{name}: none of the relevant items ({_such_as(wanted)}) is in the corpus "
            f"({_such_as(sorted(known)[:1])}): check that both files are of one collection"
        )
    if not unknown:
        return []
    return [
        f"relevant but not in the corpus: {_counted(unknown, 'item', 'items')}; they count as not found, and all "
        "figures are the lower for it"
    ]


def _counted(ids: Sequence[str], one: str, many: str) -> str:
    return f"{len(ids):,} {one if len(ids) == 1 else many} ({_such_as(ids)})"


def _such_as(ids: Sequence[str]) -> str:
    return f"such as {ids[0]!r}" if ids else "there are none"
