"""The lexical index of a context: derived from the database, checked whenever it is opened, rebuilt where it is wrong.

tantivy holds, for each item, its key, how many stems it has, and the stems, worked out here so that the index and the
ranker `bm25` compare the same words. It proposes keys; what these stand for, the database tells.

Pairs of neighbouring stems are not in it: of random words they made four fifths of the index and of the time to write
it, and the best 200 items by words alone hold what the pairs would bring up (see scoring.py).
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from math import log
from pathlib import Path
from struct import Struct
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, Self

import tantivy

from nexus_core.contract.errors import StoreBusyError, StoreError, StoreFullError
from nexus_core.store.database.connection import NO_SPACE
from nexus_core.store.search.index_checksums import META, Look, UnsoundError, is_whole, live_files, note, sound_files
from nexus_core.store.search.indexes import IndexDamagedError

FORMAT = "2"
"""Of what stands in an index: its indexes are rebuilt when this changes."""
_HEAP = 64 * 2**20
"""Bytes that are gathered in memory before a segment is written."""
_SYSTEM_ERROR = re.compile(r"os error (\d+)|\b(?:Os \{ )?code: (\d+)")
_PROBE = 2**20
_TRIES = 5
"""How often an index is looked at anew while another process changes it."""
_HELD_KEPT = 100_000
"""Words of which is kept how many items hold them."""
_NEAR_ONE = 2.0**-20
"""A boost that is as near to 1 is none."""
_SINGLE = Struct("<f")
"""A number of 32 bits."""


class TantivyIndexes:
    """The indexes of a store in a folder, each in one of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: str) -> ContextIndex:
        """Return an index that is there; raises IndexDamagedError."""
        return ContextIndex(self._folder / name)

    def create(self, name: str) -> ContextIndex:
        """Return a new, empty one."""
        return ContextIndex.create(self._folder / name)

    def delete(self, name: str) -> None:
        """Delete one; what another process still reads of it goes when it is done."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def names_of(self, context_id: int) -> list[str]:
        """Return the names of all that are there of a context."""
        return [path.name for path in self._folder.glob(f"{context_id}-*")]

    def damage_of(self, name: str) -> list[str]:
        """Return the files of segments that the sums at their ends say are damaged."""
        path = self._folder / name
        return [str(path / file) for file in live_files(path) if not is_whole(path / file)]


class ContextIndex:
    """One index on disk, for reading and, by one at a time, for writing."""

    def __init__(self, path: Path) -> None:
        """Open the index in a folder; raises IndexDamagedError."""
        self.path = path
        self._whole: dict[str, Look] = {}
        self.reload()

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make an empty one."""
        with _meaning_of_errors(path):
            path.mkdir(parents=True, mode=0o700)
            tantivy.Index(_schema(), str(path), reuse=False)
            note(path)
        return cls(path)

    def reload(self) -> None:
        """See what has been committed since, by whichever process."""
        for left in reversed(range(_TRIES)):
            try:
                with _meaning_of_errors(self.path):
                    self._whole = sound_files(self.path, self._whole)
                    self._open()
                return
            except IndexDamagedError:
                # Segments may have been merged, and their files deleted, between two looks.
                if not left:
                    raise

    def _open(self) -> None:
        if not tantivy.Index.exists(str(self.path)):
            raise IndexDamagedError(f"there is no index at {self.path}")
        if os.access(self.path, os.W_OK):
            self._index = _opened(self.path)
        else:
            # tantivy locks a file in the folder to read it. What is open stays so when its names are gone.
            with TemporaryDirectory(prefix="nexus-index-") as folder:
                for each in self.path.iterdir():
                    (Path(folder) / each.name).symlink_to(each.absolute())
                (Path(folder) / META).unlink()
                for name in os.listdir(folder):
                    if name.endswith(".lock"):
                        (Path(folder) / name).unlink()
                shutil.copyfile(self.path / META, Path(folder) / META)
                self._index = _opened(Path(folder))
        self._schema = self._index.schema
        if self._schema != _schema():
            raise IndexDamagedError(f"{self.path} holds an index of something else")
        self._searcher = self._index.searcher()
        self._average: float | None = None
        self._held: dict[str, tuple[int, float]] = {}
        self._counted = 0.0
        self._is_whole = False
        """Whether nothing that tantivy counts is removed."""
        self.scored_length = 0.0
        """The average length that tantivy scores by, known once a word was found: that of items gone is in it."""

    def is_untouched(self) -> bool:
        """Tell whether the files are still those that were opened: to read one that was cut short would be the end."""
        for name, (size, changed, _) in self._whole.items():
            try:
                state = (self.path / name).stat()
            except FileNotFoundError:  # merged away: what is open stays
                continue
            if state.st_size != size or state.st_mtime_ns != changed:
                return False
        return True

    def __len__(self) -> int:
        with _meaning_of_errors(self.path):
            return int(self._searcher.num_docs)

    @property
    def average_length(self) -> float:
        """How many stems the items have on average."""
        if self._average is None:
            with _meaning_of_errors(self.path):
                told = self._searcher.aggregate(tantivy.Query.all_query(), {"mean": {"avg": {"field": "length"}}})
            self._average = float(told["mean"]["value"] or 0.0)
        return self._average

    def count_newer(self, key: int) -> int:
        """Return how many items with larger keys there are."""
        with _meaning_of_errors(self.path):
            return int(self._searcher.search(_newer(self._schema, key), 1, count=True).count)

    def holding(self, stem: str) -> int:
        """Return how many items hold a stem."""
        return self._holding(stem)[0]

    def _holding(self, stem: str) -> tuple[int, float]:
        """Return how many items hold a stem, and what it weighs for tantivy, which counts those removed, too."""
        known = self._held.get(stem)
        if known is None:
            with _meaning_of_errors(self.path):
                counted = int(self._searcher.doc_freq("words", stem))
                there = self._there(stem) if counted and not self._is_whole else counted
            known = there, _own_weight(counted, self._counted) if there else 0.0
            if len(self._held) >= _HELD_KEPT:
                self._held.clear()
            self._held[stem] = known
        return known

    def _there(self, stem: str) -> int:
        """Return how many of the items with a stem are not removed; takes notice of what tantivy scores by."""
        found = self._searcher.search(self._term(stem), 1, count=True)
        if found.hits and not self._counted:
            figures = _figures(self._term(stem), self._searcher, found.hits[0][1])
            self._counted, self.scored_length = figures["N"], figures["avgdl"]
            self._is_whole = self._counted == _single(self._searcher.num_docs)
        return int(found.count)

    def _term(self, stem: str) -> Any:
        return tantivy.Query.term_query(self._schema, "words", stem, "freq")

    def _places_of(self, keys: Sequence[int]) -> dict[int, Any]:
        chosen = tantivy.Query.term_set_query(self._schema, "key", list(keys))
        places = [place for _, place in self._searcher.search(chosen, max(len(keys), 1), count=False).hits]
        found = self._searcher.fast_field_values("key", places) if places else []
        return {int(key or 0): place for key, place in zip(found, places, strict=True)}

    def lengths_of(self, keys: Sequence[int]) -> dict[int, int]:
        """Return how many stems each of some items has."""
        with _meaning_of_errors(self.path):
            places = self._places_of(keys)
            lengths = self._searcher.fast_field_values("length", [*places.values()]) if places else []
        return {key: int(length or 0) for key, length in zip(places, lengths, strict=True)}

    def counts_of(self, keys: Sequence[int], stems: Iterable[str]) -> dict[int, tuple[dict[str, float], float]]:
        """Return how often each of some items holds each stem, and its length as tantivy rounds it."""
        found: dict[int, tuple[dict[str, float], float]] = {}
        terms = {stem: self._term(stem) for stem in stems} if keys else {}
        with _meaning_of_errors(self.path):
            for key, place in self._places_of(keys).items() if keys else ():
                held: dict[str, float] = {}
                length = 0.0
                for stem, term in terms.items():
                    with suppress(ValueError):  # it does not hold that
                        figures = _figures(term, self._searcher, place)
                        held[stem], length = figures["freq"], figures["dl"]
                found[key] = held, length
        return found

    def search(
        self,
        asked: Mapping[str, float],
        limit: int,
        among: Sequence[int] | None = None,
        required: Sequence[Iterable[str]] = (),
    ) -> list[tuple[int, float]]:
        """Return (key, `word_score` as tantivy has it) of the best items for some stems, best first; of some keys only.

        `asked` tells what each stem counts. Of each group of `required` stems an item holds at least one.
        """
        weights = ((stem, weight, self._holding(stem)[1]) for stem, weight in asked.items())
        boosts = {stem: weight / own for stem, weight, own in weights if own > 0}
        if not boosts or limit < 1:
            return []
        query = tantivy.Query
        with _meaning_of_errors(self.path):
            parts = [
                term if abs(boost - 1.0) < _NEAR_ONE else query.boost_query(term, boost)
                for stem, boost in boosts.items()
                for term in (self._term(stem),)
            ]
            together = query.boolean_query([(tantivy.Occur.Should, part) for part in parts])
            for group in required:
                some = [self._term(stem) for stem in sorted(group)]
                any_of = query.const_score_query(
                    query.boolean_query([(tantivy.Occur.Should, part) for part in some]), 0.0
                )
                together = query.boolean_query([(tantivy.Occur.Must, together), (tantivy.Occur.Must, any_of)])
            if among is not None:
                chosen = query.const_score_query(query.term_set_query(self._schema, "key", list(among)), 0.0)
                together = query.boolean_query([(tantivy.Occur.Must, together), (tantivy.Occur.Must, chosen)])
            hits = self._searcher.search(together, limit, count=False).hits
            keys = self._searcher.fast_field_values("key", [address for _, address in hits]) if hits else []
        return [(int(key or 0), float(score)) for key, (score, _) in zip(keys, hits, strict=True)]

    def keys(self) -> Iterator[int]:
        """Yield the keys of all items that are in the index."""
        with _meaning_of_errors(self.path):
            hits = self._searcher.search(tantivy.Query.all_query(), max(len(self), 1), count=False).hits
            keys = self._searcher.fast_field_values("key", [address for _, address in hits])
        yield from (int(key or 0) for key in keys)

    def writer(self) -> IndexWriter:
        """Return a writer; only who holds the lock of the context's index may ask for one."""
        with _meaning_of_errors(self.path):
            _sweep(self.path)
            return IndexWriter(self.path, self._schema, self._index.writer(_HEAP, 1))


class IndexWriter:
    """Changes an index; what is written counts from the commit on.

    It is open until it is closed or abandoned, and raises StoreError from then on.
    """

    def __init__(self, path: Path, schema: Any, writer: Any) -> None:
        self._path = path
        self._schema = schema
        self._open: Any = writer
        self._ended = ""

    @property
    def is_open(self) -> bool:
        """Whether it can be written still."""
        return not self._ended

    @property
    def _writer(self) -> Any:
        if self._ended:
            raise StoreError(f"the index at {self._path} was {self._ended} by who wrote it: try again")
        return self._open

    def add(self, key: int, words: str) -> None:
        """Add an item."""
        document = tantivy.Document()
        document.add_unsigned("key", key)
        document.add_unsigned("length", words.count(" "))
        document.add_text("words", words)
        with _meaning_of_errors(self._path):
            self._writer.add_document(document)

    def remove(self, keys: Iterable[int]) -> None:
        """Remove items, those that are not there included."""
        keys = list(keys)
        if not keys:
            return
        with _meaning_of_errors(self._path):
            # Not by term: tantivy takes a number for a signed one there, which no field here is, and deletes nothing.
            gone = tantivy.Query.term_set_query(self._schema, "key", keys)
            self._writer.delete_documents_by_query(gone)

    def remove_newer(self, key: int) -> None:
        """Remove all items with larger keys."""
        with _meaning_of_errors(self._path):
            self._writer.delete_documents_by_query(_newer(self._schema, key))

    def commit(self) -> None:
        """Make durable what was written."""
        with _meaning_of_errors(self._path):
            self._writer.commit()

    def close(self) -> None:
        """Let segments that are being merged be done."""
        with _meaning_of_errors(self._path):
            self._writer.wait_merging_threads()
            self._ended, self._open = "closed", None
            note(self._path)

    def abandon(self) -> None:
        """Let go of the index without another word; what was not committed is lost.

        Not left to the end of this object: an error that is on its way holds on to it.
        """
        self._ended, self._open = self._ended or "abandoned", None


def _sweep(path: Path) -> None:
    """Delete what a crash has left of removals that were not committed.

    tantivy names these files by segment and number of the change, counts on from the last commit, and writes over none.
    """
    committed = int(json.loads((path / META).read_bytes())["opstamp"])
    for file in path.glob("*.del"):
        number = file.name.split(".")[1]
        if number.isdecimal() and int(number) > committed:
            file.unlink(missing_ok=True)


def _opened(path: Path) -> Any:
    index = tantivy.Index.open(str(path))
    index.config_reader("manual")
    index.reload()
    return index


def _schema() -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("key", indexed=True, fast=True)
    builder.add_unsigned_field("length", fast=True)
    builder.add_text_field("words", tokenizer_name="whitespace", index_option="freq")
    return builder.build()


def _own_weight(held: int, total: float) -> float:
    """Return how much a word weighs for tantivy, worked out in 32 bits as there."""
    share = _single(_single(total - held + 0.5) / _single(held + 0.5))
    return _single(log(_single(1.0 + share)))


def _single(number: float) -> float:
    """Return the number of 32 bits that is nearest."""
    return float(_SINGLE.unpack(_SINGLE.pack(number))[0])


def _figures(term: Any, searcher: Any, place: Any) -> dict[str, float]:
    """Return what tantivy works out the score of a word from; raises ValueError where an item does not hold it."""
    figures: dict[str, float] = {}
    left = [json.loads(term.explain(searcher, place).to_json())]
    while left:
        part = left.pop()
        left += part.get("details") or ()
        figures[part["description"].partition(",")[0]] = float(part["value"])
    return figures


def _newer(schema: Any, key: int) -> Any:
    return tantivy.Query.range_query(schema, "key", tantivy.FieldType.Unsigned, lower_bound=key, include_lower=False)


@contextmanager
def _meaning_of_errors(path: Path) -> Iterator[None]:
    """Raise whatever the index says, and a panic of it, as damage, but for what the system refuses."""
    try:
        yield
    except (ValueError, KeyError, OSError, UnsoundError) as error:
        raise _meaning(error, path) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of tantivy, and no Exception
            raise
        raise _meaning(error, path) from error


def _meaning(error: BaseException, path: Path) -> Exception:
    told = _SYSTEM_ERROR.search(str(error))
    number = getattr(error, "errno", None) or (int(told[1] or told[2]) if told else None)
    if number in NO_SPACE or (number is None and _is_full(path)):
        return StoreFullError(
            f"no space is left for the index at {path}: the items are kept, and searched again once there is space"
        )
    if "LockBusy" in str(error):
        return StoreBusyError(f"the index at {path} is being written by another process: try again when it is done")
    if number is None or number == errno.ENOENT:
        return IndexDamagedError(str(error))
    return StoreError(f"the index at {path} cannot be used: {os.strerror(number)}; look at the disk and the rights")


def _is_full(path: Path) -> bool:
    """Tell whether nothing can be written: tantivy's threads do not always say why they have ended."""
    try:
        with TemporaryFile(dir=path.parent) as probe:
            probe.write(bytes(_PROBE))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return error.errno in NO_SPACE
    return False
