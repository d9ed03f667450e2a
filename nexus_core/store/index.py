"""The lexical index of a context: derived from the database, checked whenever it is opened, rebuilt where it is wrong.

tantivy holds, for each item, its key, its stems and its pairs of neighbouring stems, both worked out here so that the
index and the ranker `bm25` compare the same words. It answers with keys; what these stand for, the database tells.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tantivy

from nexus_core.store.preparing import pairs_of, stems_of

PAIR_WEIGHT = 0.3
"""What a pair counts against a word, as in the ranker `bm25`."""
FORMAT = "1"
"""Of what stands in an index: its indexes are rebuilt when this changes."""
_HEAP = 64 * 2**20
"""Bytes that are gathered in memory before a segment is written."""


class IndexDamagedError(Exception):
    """An index is not there, or not what it should be: build it anew."""


class ContextIndex:
    """One index on disk, for reading and, by one at a time, for writing."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        with _damage_is_told():
            if create:
                path.mkdir(parents=True, mode=0o700)
                self._index = tantivy.Index(_schema(), str(path), reuse=False)
            else:
                if not tantivy.Index.exists(str(path)):
                    raise IndexDamagedError(f"there is no index at {path}")
                self._index = tantivy.Index.open(str(path))
            self._index.config_reader("manual")
            self._schema = self._index.schema
            self.reload()

    def reload(self) -> None:
        """See what has been committed since, by whichever process."""
        with _damage_is_told():
            self._index.reload()
            self._searcher = self._index.searcher()

    def __len__(self) -> int:
        with _damage_is_told():
            return int(self._searcher.num_docs)

    def search(self, query: str, language: str, limit: int) -> list[tuple[int, float]]:
        """Return (key, BM25) of the best items, best first; none where the query has no word that counts."""
        asked = stems_of(query, language)
        if not asked or limit < 1:
            return []
        with _damage_is_told():
            hits = self._searcher.search(self._query(asked), limit, count=False).hits
            if not hits:
                return []
            keys = self._searcher.fast_field_values("key", [address for _, address in hits])
        found = [(int(key or 0), float(score)) for key, (score, _) in zip(keys, hits, strict=True)]
        found.sort(key=lambda hit: (-hit[1], hit[0]))
        return found

    def keys(self) -> Iterator[int]:
        """Yield the keys of all items that are in the index."""
        with _damage_is_told():
            hits = self._searcher.search(tantivy.Query.all_query(), max(len(self), 1), count=False).hits
            keys = self._searcher.fast_field_values("key", [address for _, address in hits])
            yield from (int(key or 0) for key in keys)

    def _query(self, asked: Sequence[str]) -> Any:
        term, query = self._term, tantivy.Query
        parts = [term("words", stem) for stem in dict.fromkeys(asked)]
        parts += [query.boost_query(term("pairs", pair), PAIR_WEIGHT) for pair in dict.fromkeys(pairs_of([*asked]))]
        return query.boolean_query([(tantivy.Occur.Should, part) for part in parts])

    def _term(self, field: str, value: str) -> Any:
        return tantivy.Query.term_query(self._schema, field, value, "freq")

    def writer(self) -> IndexWriter:
        """Return a writer; only who holds the lock of the context's index may ask for one."""
        with _damage_is_told():
            return IndexWriter(self._index.writer(_HEAP, 1))


class IndexWriter:
    """Changes an index; what is written counts from the commit on."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def add(self, key: int, words: str, pairs: str) -> None:
        """Add an item."""
        document = tantivy.Document()
        document.add_unsigned("key", key)
        document.add_text("words", words)
        document.add_text("pairs", pairs)
        with _damage_is_told():
            self._writer.add_document(document)

    def remove(self, keys: Iterable[int]) -> None:
        """Remove items, those that are not there included."""
        with _damage_is_told():
            for key in keys:
                self._writer.delete_documents_by_term("key", key)

    def commit(self) -> None:
        """Make durable what was written."""
        with _damage_is_told():
            self._writer.commit()

    def close(self) -> None:
        """Let segments that are being merged be done."""
        with _damage_is_told():
            self._writer.wait_merging_threads()


def delete(path: Path) -> None:
    """Delete an index; what another process still reads of it goes when it is done."""
    shutil.rmtree(path, ignore_errors=True)


def _schema() -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("key", indexed=True, fast=True)
    builder.add_text_field("words", tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field("pairs", tokenizer_name="whitespace", index_option="freq")
    return builder.build()


@contextmanager
def _damage_is_told() -> Iterator[None]:
    """Raise whatever the index says, and a panic of it, as damage; a full disk stays an OSError of the database."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise IndexDamagedError(str(error)) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of tantivy, and no Exception
            raise
        raise IndexDamagedError(f"the index panicked: {error}") from error
