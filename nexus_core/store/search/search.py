"""Searches the contexts of a store, in the thread that reads: the index proposes keys, the database has the items."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import islice
from time import monotonic

from attrs import define, evolve, frozen

from nexus_core.contract.errors import StoreError
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.run_context import Viewer
from nexus_core.contract.values import parts_of
from nexus_core.store import contexts
from nexus_core.store.contexts import ContextMoment
from nexus_core.store.database.connection import snapshot
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.items.rows import page_of_keys
from nexus_core.store.records import Context
from nexus_core.store.search.cache import ItemCache, still_there
from nexus_core.store.search.fresh_vectors import FreshVectors
from nexus_core.store.search.index_updates import IndexState
from nexus_core.store.search.indexes import IndexDamagedError, VectorIndexes, WordIndex, WordIndexes
from nexus_core.store.search.pool import WordPool, cut_by_id
from nexus_core.store.search.query_syntax import corrected, holds_phrases, phrases_of, stems_of
from nexus_core.store.search.rescoring import weighted
from nexus_core.store.search.visibility import Visibility, VisibleKeys
from nexus_core.store.vectors.meaning import QueryVector, fused, nearest_there, usual_weight
from nexus_core.toolkit.filters import EVERYTHING, Filter
from nexus_core.toolkit.text.bm25 import has_only_stop_words, terms
from nexus_core.toolkit.text.languages import DEFAULT
from nexus_core.toolkit.text.query_words import QueryWords, query_words
from nexus_core.toolkit.text.stemming import ANALYZER_VERSION

SCORED = 30
"""So many of the best by words are scored again at least, however few are asked for."""
LONGEST_QUERY = 20_000
"""Characters of a query that are looked at."""
MOST_WORDS = 64
"""Of a query's words: the rarest."""
TAIL = 1_000
"""Items that an index lacks, and that are looked at one by one while another process is about to add them."""
WITH_PHRASES = 300
"""Items that hold the words of a phrase, and are looked at for the phrase: more while it is in too few of them."""
MOST_WITH_PHRASES = 4_000
"""So many at most: no more than are kept."""
LOOKED_UP = 1_000
"""Items with a word that are looked up for one that somebody may see, before the index is told which those are."""
_LOOK_S = 1.0
"""The files of an open index are looked at after so long."""

_log = logging.getLogger(__name__)

_OLDER_WORDS = (
    "the words of {name!r} were made by another version, and who may not write here cannot renew them: run "
    "`nexus context check --repair` as who owns the store"
)


@frozen
class SearchRequest:
    """What is searched for, and for whom."""

    query: str
    limit: int
    where: Filter = EVERYTHING
    viewer: Viewer | None = None
    by_words: bool = True
    by_meaning: bool = True
    typos: bool = False
    """A word that no item holds may stand for one that is a typing error away."""
    without: str = ""
    """The id of an item that is not to be found: the one that others are to be like."""
    meaning: QueryVector | None = None
    """The query as a model understands it, to search by its vectors."""
    embedder: str | None = ""
    """Of a context by whose vectors it is made, where that can be had; `None` before it was asked for."""


@define(eq=False, repr=False)
class _Open:
    generation: str
    newest: int
    index: WordIndex
    looked: float
    is_sound: bool = False
    """It was found to hold what the database says, at this state."""


class ContextSearch:
    """The connection that reads, the indexes that are open, and the items found last."""

    def __init__(
        self,
        folder: StorePaths,
        connection: SqlConnection,
        words: WordIndexes,
        meaning: VectorIndexes,
        *,
        may_write: bool,
    ) -> None:
        self.connection = connection
        self._folder = folder
        self._words = words
        self._may_write = may_write
        self._open: dict[int, _Open] = {}
        self.fresh = FreshVectors()
        """What rankers have put with items that were found."""
        self._found = ItemCache(self.fresh)
        self._visibility = Visibility(connection)
        self._meaning = meaning
        self.suspect = ""
        """The generation of the index that the last search could not trust."""

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    @property
    def unarranged(self) -> dict[str, Context]:
        """Contexts by name whose vectors lack the graph that they should have."""
        return self._meaning.unarranged

    def visible(self, context: Context, viewer: Viewer | None, where: Filter = EVERYTHING) -> VisibleKeys | None:
        """Return what a viewer and a filter leave of a context; `None` is all of it."""
        return self._visibility.of(context, viewer, where)

    def contexts(self, viewer: Viewer | None) -> tuple[Context, ...]:
        """Return the contexts that a viewer may see, by name."""
        return tuple(self._as_seen(each, viewer) for each in contexts.everything(self.connection, viewer))

    def named(self, viewer: Viewer | None) -> tuple[Context, ...]:
        """Return the contexts that a viewer may see, by name; their items are not counted."""
        return contexts.everything(self.connection, viewer)

    def context(self, name: str, viewer: Viewer | None) -> Context:
        """Return one context as a viewer may see it; raises UsageError where there is none."""
        return self._as_seen(contexts.find(self.connection, name, viewer), viewer)

    def _as_seen(self, context: Context, viewer: Viewer | None) -> Context:
        """Return a context with the number of the items that a viewer may see."""
        count = self._visibility.count(context, viewer)
        return context if count is None else evolve(context, items=count)

    def search(self, name: str, asked: SearchRequest, *, written: int | None = None) -> Ranking | Context | None:
        """Return the best items, or `None` where the index is not up to the database or not to be read.

        Or the context alone, where the query is to be understood first by the model of its vectors.
        With `written`, an index will do that is behind because others are at it: of what it lacks, the first `TAIL`
        items are looked at one by one, and what this process has written, up to that key, is never passed over.
        """
        self.suspect = ""
        with snapshot(self.connection, self._folder.database):
            moment = contexts.find_moment(self.connection, name, asked.viewer)
            context = moment.context
            if not self._may_write and context.analyzer != ANALYZER_VERSION:
                raise StoreError(_OLDER_WORDS.format(name=name))
            if asked.by_meaning and asked.embedder != context.embedder:
                return context
            found = moment.newest, context.items, moment.removed, context.analyzer
            state = IndexState(self.connection, context, found)
            if not state.items or asked.limit < 1:
                return Ranking((), searched=(context.language, ())).scored("store", ())
            if not (state.is_current or (state.generation and written is not None)):
                return None
            tail = [] if state.is_current else self._tail(context, state.newest)
            if len(tail) > TAIL and min(written or 0, state.last) > state.newest:
                return None
            try:
                return self._ranked(self._index(context, state), state, moment, asked, tail[:TAIL])
            except IndexDamagedError as error:
                _log.warning("the index of %r is not as it should be: %s", name, error)
                self._open.pop(context.id, None)
                self.suspect = state.generation
                return None

    def _tail(self, context: Context, newest: int) -> list[int]:
        return page_of_keys(self.connection, context, after=newest, limit=TAIL + 1)

    def _index(self, context: Context, state: IndexState) -> WordIndex:
        """Return the open index, as new and as sound as the database says."""
        known, now = self._open.get(context.id), monotonic()
        if known is None or known.generation != state.generation:
            index = self._words.open(f"{context.id}-{state.generation}")
            known = self._open[context.id] = _Open(state.generation, state.newest, index, now)
        elif known.newest != state.newest or (state.is_current and len(known.index) != state.items):
            known.index.reload()
            known.newest, known.looked, known.is_sound = state.newest, now, False
        elif now - known.looked > _LOOK_S:
            if not known.index.is_untouched():
                known.index.reload()
                known.is_sound = False
            known.looked = now
        if state.is_current and not known.is_sound:
            _check(known.index, state)
            known.is_sound = True
        return known.index

    def _ranked(
        self, index: WordIndex, state: IndexState, moment: ContextMoment, request: SearchRequest, tail: Sequence[int]
    ) -> Ranking:
        query, limit, context, languages = request.query, request.limit, moment.context, moment.languages
        visible = self._visibility.of(context, request.viewer, request.where, moment)
        asked = [(query_words(text[:LONGEST_QUERY], languages), weight) for text, weight in parts_of(query)]
        known = self._held(asked, index, tail)
        if request.typos:
            seen = partial(_count_visible, index, visible)
            there = {stem for stem, held in known.items() if held and (tail or seen(stem))}
            asked = [(corrected(words, seen, there), weight) for words, weight in asked]
            known = self._held(asked, index, tail)
        weights = _weights([words for words, _ in asked], known, state.items)
        holding = {stem: known[stem] for stem in weights}
        is_phrase = request.meaning is None and not holding and DEFAULT in languages
        if is_phrase and has_only_stop_words(query[:LONGEST_QUERY]):
            return self._with_phrase(context, query, limit, visible)
        proposed: list[int] = []
        phrases = phrases_of(query[:LONGEST_QUERY]) if request.by_words else []
        if phrases:
            required = stems_of(phrases, languages)
            proposed = self._proposed(index, state, context, weights, limit, visible, required, phrases)
        if request.by_words and not proposed:
            proposed = self._proposed(index, state, context, weights, limit, visible)
        late: list[int] = []
        if tail and request.by_words:
            by_words = {*proposed}
            new = [key for key in tail if key not in by_words]
            late = still_there(self.connection, context, new if visible is None else visible.only(new))
        cosines = self._nearest(context, request, dict.fromkeys((*proposed, *late)), visible)
        streams = self._streams(context, limit, proposed, dict.fromkeys((*late, *cosines)))
        scores = weighted(asked, holding, state.items, index.average_length, [*streams.values()])
        words = dict(zip(streams, scores, strict=True))
        words = self._with_phrases(phrases, words)
        return self._ranking(context, request, words, {key: cosines[key] for key in words if key in cosines})

    def _streams(
        self, context: Context, limit: int, proposed: Sequence[int], others: Collection[int]
    ) -> dict[int, bytes]:
        """Return what items are scored by: those that the index proposes, and others."""
        streams: dict[int, bytes] = {}
        if limit >= SCORED:
            streams = self._found.streams_of_items(self.connection, context, proposed)
        missing = [key for key in dict.fromkeys((*proposed, *others)) if key not in streams]
        if missing:
            streams |= self._found.streams_of(self.connection, context, missing)
        if any(key not in streams for key in proposed):
            raise IndexDamagedError("it holds items that are not in the context")
        return streams

    def _held(
        self, asked: Sequence[tuple[QueryWords[str], float]], index: WordIndex, tail: Sequence[int]
    ) -> dict[str, int]:
        """Return for each word of a query how many items hold it."""
        every = dict.fromkeys(stem for words, _ in asked for stem in words.counts)
        return {stem: index.holding(stem) or bool(tail) for stem in every}

    def _with_phrases(self, phrases: Sequence[str], scores: dict[int, float]) -> dict[int, float]:
        """Return the items that hold the phrases in quotes; where none does, their words are words as any others."""
        if not phrases or not scores:
            return scores
        items = self._found.items_of(self.connection, [*scores])
        held = {key: score for key, score in scores.items() if holds_phrases(items[key], phrases)}
        return held or scores

    def _nearest(
        self, context: Context, request: SearchRequest, known: Collection[int], visible: VisibleKeys | None
    ) -> dict[int, float]:
        """Return the cosines of the items that are nearest to the query, and of those that words have found."""
        if request.meaning is None:
            return {}
        vectors = self._meaning.vectors_of(context, request.meaning.model)
        if vectors is None:
            return {}
        query = request.meaning.vector
        if not query.any():  # nothing is known of its words, and so nothing is near to it
            return {}
        wanted = max(request.limit, SCORED)
        nearest = nearest_there(self.connection, context, vectors, query, wanted, visible)
        # Worked out together once more, exactly: what is found roughly depends on what stands beside it.
        cosines = vectors.cosines_of(query, [*nearest, *(key for key in known if key not in nearest)])
        near = cut_by_id({key: cosines[key] for key in nearest}, wanted, self._ids_of)
        return {key: cosines[key] for key in dict.fromkeys([*near, *known]) if key in cosines}

    def _ids_of(self, keys: Sequence[int]) -> dict[int, str]:
        return self._found.ids_of(self.connection, keys)

    def _ranking(
        self, context: Context, request: SearchRequest, words: Mapping[int, float], cosines: Mapping[int, float]
    ) -> Ranking:
        """Return the best items by what is asked for."""
        if request.meaning is None:
            found = {key: score for key, score in words.items() if score > 0}
        elif request.by_words:
            found = fused(words, cosines, usual_weight(request.meaning.model))
        else:
            found = dict(cosines)
        keys = cut_by_id(found, request.limit + bool(request.without), self._ids_of)
        items = self._found.items_of(self.connection, keys)
        best = sorted([(key, found[key]) for key in keys], key=lambda each: (-each[1], items[each[0]].id))
        if request.without:
            best = [each for each in best if items[each[0]].id != request.without][: request.limit]
        scores = [score for _, score in best]
        chosen = tuple([items[key] for key, _ in best])
        ranking = Ranking(chosen, searched=(context.language, scores), by_meaning=bool(cosines))
        return ranking.scored("store", scores, range(len(best)))

    def _with_phrase(self, context: Context, query: str, limit: int, visible: VisibleKeys | None) -> Ranking:
        """Return the items that hold a query of stop words alone as it is: no index has such words."""
        words = terms(query, all_words=True)
        among = "" if visible is None else " AND key IN (SELECT value FROM json_each(?) AS numbers)"
        found = self.connection.execute(
            "SELECT key, title || '\n' || text FROM items"
            f" WHERE {'' if visible is None else '+'}context_id = ? AND lower(title || '\n' || text) LIKE ?{among}"
            " ORDER BY id",
            # Letters alone, which mean themselves.
            (context.id, f"%{'%'.join(words)}%", *([] if visible is None else [json.dumps(visible.listed)])),
        )
        phrase = " ".join(words)
        held = (key for key, text in found if f" {phrase} " in f" {' '.join(terms(text, all_words=True))} ")
        keys = still_there(self.connection, context, [*islice(held, limit)])
        items = self._found.items_of(self.connection, keys)
        column = [1.0] * len(keys)
        ranking = Ranking(tuple([items[key] for key in keys]), searched=(context.language, column))
        return ranking.scored("store", column, range(len(keys)))

    def _proposed(
        self, index: WordIndex, state: IndexState, context: Context, weights: Mapping[str, float], limit: int,
        visible: VisibleKeys | None, required: Sequence[Collection[str]] = (), phrases: Sequence[str] = (),
    ) -> list[int]:  # fmt: skip
        """Return the best by words that are visible, and hold the phrases."""
        pool = WordPool(
            self.connection, context, self._found, index, state.items, state.is_current, visible, weights, required
        )
        return self._best_with_phrases(pool, phrases, limit) if phrases else pool.best(max(limit, SCORED))

    def _best_with_phrases(self, pool: WordPool, phrases: Sequence[str], limit: int) -> list[int]:
        """Return the best that hold the phrases: many may hold their words in another order, and score higher."""
        looked: dict[int, bool] = {}
        asked = max(limit, WITH_PHRASES)
        while True:
            keys = pool.best(asked)
            new = self._found.items_of(self.connection, [key for key in keys if key not in looked])
            looked |= {key: holds_phrases(item, phrases) for key, item in new.items()}
            if any(key not in looked for key in keys):
                raise IndexDamagedError("it holds items that are not there")
            held = [key for key in keys if looked[key]]
            if len(held) >= limit or len(keys) < asked or asked >= MOST_WITH_PHRASES:
                return held
            asked = min(4 * asked, MOST_WITH_PHRASES)


def _weights(asked: Sequence[QueryWords[str]], holding: Mapping[str, int], size: int) -> dict[str, float]:
    """Return the weights of the words that are in any item, and of too many the rarest, in the order of the query."""
    weights: dict[str, float] = {}
    rarity: dict[str, float] = {}
    for words in asked:
        for stem, weight in words.weights(holding, size).items():
            weights[stem] = max(weight, weights.get(stem, 0.0))
            rarity[stem] = weight / words.counts[stem]
    if len(weights) <= MOST_WORDS:
        return weights
    kept = {*sorted(rarity, key=lambda stem: (-rarity[stem], stem))[:MOST_WORDS]}
    return {stem: weight for stem, weight in weights.items() if stem in kept}


def _count_visible(index: WordIndex, visible: VisibleKeys | None, stem: str) -> int:
    """Return how many of the items with a stem may be seen: of those that score highest, or whether any may at all."""
    held = index.holding(stem)
    if visible is None or not held:
        return held
    seen = len(visible.only([key for key, _ in index.search({stem: 1.0}, LOOKED_UP)]))
    if not seen and held > LOOKED_UP:
        return len(index.search({stem: 1.0}, 1, visible.listed))
    return seen


def _check(index: WordIndex, state: IndexState) -> None:
    """Raise IndexDamagedError where the index does not hold as many items as the database says, and none newer."""
    if len(index) != state.items or index.count_newer(state.newest):
        raise IndexDamagedError("it does not hold the items that the database says")
