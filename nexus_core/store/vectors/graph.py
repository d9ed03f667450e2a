"""The graph of a context's vectors (HNSW, by usearch): a file that is mapped, derived from the rows of the database.

It is made as a whole and never changed: what has come since stands beside it, and is compared one by one, until there
is enough of it for another graph. A graph whose files are not what was written is not used, and made anew.

Of 56,000 parts of six collections, with vectors of the static table and real questions, usearch finds (recall@10):

| connectivity, expansion of building | searching 100 | 200 | 400 | size, against the vectors in 8 bits |
|---|---|---|---|---|
| 8, 96 | .940 | .971 | .979 | 1.33 |
| 11, 128 | .967 | .985 | .991 | 1.43 |
| 12, 96 | .962 | .978 | .989 | 1.46 |
| 12, 160 | .974 | .989 | .996 | 1.46 |

Of clustered text (`tests/bench/meaning.py`) it finds all at 100,000 rows, and less of 1,000,000 (connectivity 12,
building 128): recall@10 of all, and of a tenth of them among the 600 nearest:

| searching | all | a tenth | CPU time against 320 |
|---|---|---|---|
| 320 | .958 | .867 | 1 |
| 640 | .963 | .873 | 1.5 |
| 1,000 | .968 | .905 | 2.2 |
| 1,500 | .987 | .927 | 3.5 |
| 2,500 | .992 | .955 | 5.3 |

Of 100 other questions, with three times as many rows asked for as are wanted, 1,365 finds .982 and 2,019 .988.

So it is searched the wider the more rows there are, and the wider the fewer of them are visible; up to a number of
visible ones that is as quick to compare one by one. Rows are read from the file itself: usearch takes seven times as
long to give many of them.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary, finalize
from zlib import crc32

from nexus_core.store.search.visibility import VisibleKeys
from nexus_core.store.vectors.matrix import Keys, Rows, Vector, VectorMatrix, cosines
from nexus_core.toolkit.lazy_module import LazyModule
from nexus_core.toolkit.suggest import counted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:
    np = LazyModule("numpy")

FORMAT = 2
EXACT = 20_000
"""Rows that are compared one by one: above, there is a graph."""
EXACT_VISIBLE = 150_000
"""Visible rows up to which a graph is not asked: they are compared one by one."""
MOST_ASKED = 10_000
"""Of a graph for one search; where there are not enough visible ones among so many, these are compared one by one."""
_CONNECTIVITY, _BUILDING, _SEARCHING = 12, 128, 320
_SEARCHED_ROWS = 100_000
"""Rows of which all are found so."""
_WIDENING = 0.63
"""For more rows it is searched wider, by this power of how many times as many they are: 1,000,000 by 1,365."""
_WIDEST = 6_000
_THREADS = max(1, min(4, (os.cpu_count() or 2) // 2))
"""For the building of a graph: others want to work, too."""
_GRAPH, _KEYS, _ORDER, _NOTE = "graph.usearch", "keys.npy", "order.npy", "note.json"
_FILES = (_GRAPH, _KEYS, _ORDER)
_HEAD = 8
"""Bytes before the rows in a file of usearch: how many rows, and how wide."""
_FEW = 2_000
"""Rows that are read one by one."""
_KEPT = 4_096
"""Of these so many are kept: the nearest are compared twice, and searches for the same find the same."""
_PIECE = 2**20
_AT_ONCE = 10_000
_SEED = 16


class GraphDamagedError(Exception):
    """A graph is not there, or not what was written: make it anew."""


def has_graphs() -> bool:
    """Tell whether graphs can be made and read here: usearch is an extra."""
    return find_spec("usearch") is not None


def build_graph(folder: Path, width: int, parts: Iterable[VectorMatrix]) -> int:
    """Make a graph in a new folder; returns how many rows it has. The folder is whole once its note is there."""
    from usearch.index import Index

    folder.mkdir(parents=True, mode=0o700)
    index = Index(
        ndim=width, metric="cos", dtype="i8", connectivity=_CONNECTIVITY, expansion_add=_BUILDING,
        expansion_search=_SEARCHING,
    )  # fmt: skip
    keys: list[Keys] = []
    sums: list[Keys] = []
    count = 0
    for part in parts:
        index.add(np.arange(count, count + len(part)), part.rows, threads=_THREADS)
        keys.append(part.keys)
        sums.append(_row_sums(part.rows))
        count += len(part)
    index.save(str(folder / _GRAPH))
    every = np.concatenate(keys) if keys else np.empty(0, np.int64)
    np.save(folder / _KEYS, _narrow(every))
    np.save(folder / _ORDER, _narrow(_slots(folder, count, width, np.concatenate(sums) if sums else every)))
    items = len(np.unique(every))
    files = {name: _sum_of(folder / name) for name in _FILES}
    note = {"format": FORMAT, "folder": folder.name, "width": width, "rows": count, "items": items, "files": files}
    part_file = folder / f"{_NOTE}.part"
    part_file.write_text(json.dumps(note), "utf-8")
    _sync(part_file)
    os.replace(part_file, folder / _NOTE)
    return count


def _rows_in(path: Path, count: int, width: int) -> Rows | None:
    """Return the rows at the beginning of a file of usearch, in an order of its own; `None` where there are none."""
    if not count or np.fromfile(path, np.uint32, 2).tolist() != [count, width]:
        return None
    return np.memmap(path, np.int8, "r", _HEAD, (count, width))


def _row_sums(rows: Rows) -> Keys:
    """Return a number for each row by which rows are told apart."""
    factors = np.random.default_rng(_SEED).integers(-(2**40), 2**40, rows.shape[1])
    return np.asarray(rows.astype(np.int64) @ factors, np.int64)


def _slots(folder: Path, count: int, width: int, sums: Keys) -> Keys:
    """Return at which place of the file each row stands; nothing where the file is not as it is known.

    Several threads add rows in no order, so that they are found again by what they hold.
    """
    rows = _rows_in(folder / _GRAPH, count, width)
    if rows is None:
        return np.empty(0, np.int64)
    there = np.concatenate([_row_sums(rows[start : start + _AT_ONCE]) for start in range(0, count, _AT_ONCE)])
    slots = np.empty(count, np.int64)
    slots[np.argsort(sums, kind="stable")] = np.argsort(there, kind="stable")
    return slots if np.array_equal(there[slots], sums) else np.empty(0, np.int64)


def _narrow(numbers: Keys) -> npt.NDArray[np.integer[Any]]:
    """Return numbers in half of the room where they are small enough."""
    is_small = not len(numbers) or (numbers.min() >= 0 and numbers.max() < 2**32)
    return numbers.astype(np.uint32) if is_small else numbers


class VectorGraph:
    """A graph on disk, for reading."""

    def __init__(self, folder: Path, width: int) -> None:
        """Open it; raises GraphDamagedError."""
        try:
            from usearch.index import Index

            note = json.loads((folder / _NOTE).read_bytes())
            if (note["format"], note["folder"], note["width"]) != (FORMAT, folder.name, width):
                raise GraphDamagedError(f"{folder} holds a graph of something else")
            for name in _FILES:
                if note["files"][name] != _sum_of(folder / name):
                    raise GraphDamagedError(f"{folder / name} is damaged")
            self.keys: Keys = np.load(folder / _KEYS).astype(np.int64)
            self._slots: Keys = np.load(folder / _ORDER)
            """Where in the file each row is; nothing where usearch is to be asked for rows."""
            self._number = os.open(folder / _GRAPH, os.O_RDONLY)
            finalize(self, os.close, self._number)
            self._file = _rows_in(folder / _GRAPH, len(self._slots), width)
            self._index: Any = Index(ndim=width, metric="cos", dtype="i8", expansion_search=_SEARCHING)
            self._index.view(str(folder / _GRAPH))
            if len(self.keys) != note["rows"] or len(self._index) != note["rows"]:
                raise GraphDamagedError(f"{folder} does not hold {counted(note['rows'], 'row')}")
        except (KeyError, TypeError) as error:
            raise GraphDamagedError(f"{folder / _NOTE} does not say what it should") from error
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            raise GraphDamagedError(str(error)) from error
        self._order = np.argsort(self.keys, kind="stable")
        self._sorted = self.keys[self._order]
        self.items = int(note["items"])
        """How many items it was made of."""
        self._kept: dict[int, bytes] = {}
        """Rows by their places in the file, which never changes."""
        self._places: WeakKeyDictionary[VisibleKeys, Keys] = WeakKeyDictionary()
        self._looks = {name: _look(folder / name) for name in _FILES}
        self._folder = folder

    def __len__(self) -> int:
        return len(self.keys)

    def is_untouched(self) -> bool:
        """Tell whether the files are those that were opened: to read one that was cut short would be the end."""
        try:
            return all(_look(self._folder / name) == look for name, look in self._looks.items())
        except FileNotFoundError:  # another graph has taken its place: what is mapped stays
            return True

    def places_of(self, keys: Keys) -> Keys:
        """Return the rows of some items, by their keys."""
        first = np.searchsorted(self._sorted, keys, "left")
        counts = np.searchsorted(self._sorted, keys, "right") - first
        starts = np.repeat(first - (np.cumsum(counts) - counts), counts)
        return np.asarray(self._order[starts + np.arange(int(counts.sum()))], np.int64)

    def places_of_visible(self, visible: VisibleKeys) -> Keys:
        """Return the same of what somebody may see, which is kept as long as that is."""
        known = self._places.get(visible)
        if known is None:
            known = self._places[visible] = self.places_of(visible.keys)
        return known

    def nearest(self, query: Vector, count: int, share: float = 1.0) -> tuple[Keys, Vector]:
        """Return the items of the rows that are most like a query, and their cosines, the best first.

        `share` tells what part of the rows are of any use: of few of them more are looked at.
        """
        many = max(1.0, len(self) / _SEARCHED_ROWS) ** _WIDENING
        widened = min(_WIDEST, round(_SEARCHING * many / max(share, 1e-9)))
        if self._index.expansion_search != widened:
            self._index.expansion_search = widened
        peak = float(np.abs(query).max()) or 1.0
        matches = self._index.search(np.rint(query * (127 / peak)).astype(np.int8), min(count, len(self)), threads=1)
        places = np.asarray(matches.keys, np.int64)
        return self.keys[places], cosines(self.rows_at(places), query)

    def scores(self, query: Vector, places: Keys) -> tuple[Keys, Vector]:
        """Return the items of some rows, and their cosines."""
        return self.keys[places], cosines(self.rows_at(places), query)

    def rows_at(self, places: Keys) -> Rows:
        """Return some rows.

        Read, or let go of again where they are many: the file is mapped by usearch, and pages that are mapped twice are
        twice in what the process takes.
        """
        if self._file is not None:
            slots = self._slots[places]
            if len(slots) <= _FEW and hasattr(os, "pread"):
                width = self._file.shape[1]
                rows = b"".join(self._read_rows(slots.tolist(), width))
                return np.frombuffer(rows, np.int8).reshape(len(slots), width)
            found = np.asarray(self._file[slots])
            if hasattr(mmap, "MADV_DONTNEED"):
                cast(mmap.mmap, self._file._mmap).madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
            return found
        kept = self._index.get(places) if len(places) else []
        return np.asarray(kept, np.int8).reshape(len(places), -1)

    def _read_rows(self, slots: Sequence[int], width: int) -> list[bytes]:
        kept = self._kept
        if len(kept) > _KEPT:
            kept.clear()
        rows = []
        for slot in slots:
            row = kept.get(slot)
            if row is None:
                row = kept[slot] = os.pread(self._number, width, _HEAD + slot * width)
            rows.append(row)
        return rows


def rows_in_graph(folder: Path) -> int:
    """Return how many rows the graph in a folder has, 0 where it does not say."""
    try:
        return int(json.loads((folder / _NOTE).read_bytes())["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def delete_graph(folder: Path) -> None:
    """Delete a graph; what another process has mapped of it goes when it is done."""
    shutil.rmtree(folder, ignore_errors=True)


def _sum_of(path: Path) -> list[int]:
    """Return the size and the CRC-32 of a file, which is on the disk then."""
    crc = size = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            crc, size = crc32(piece, crc), size + len(piece)
    return [size, crc]


def _sync(path: Path) -> None:
    for each in (*path.parent.iterdir(), path.parent):
        number = os.open(each, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _look(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns
