"""Tells whether the files of an index are those that were written: by their sums, or as they were when last looked at.

tantivy ends each file with a line of JSON that holds the CRC of all before it, the line's length and a magic number,
and reads on regardless of the sum. To work it out takes a second for a gigabyte; so what a file looked like when it was
found whole (size, time of change) is noted beside it, and only what looks otherwise is read again.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

NOTE = "nexus.json"
"""The file with what is noted, and the name of the folder that the index was made in."""
META = "meta.json"
"""The file of tantivy that says which segments an index is made of."""
_END = struct.Struct("<II")
_MAGIC = 1337
_PIECE = 2**20

Look = tuple[int, int, int]
"""Size, time of the last change of the content, and of the file at all; who sets back one of them changes the other."""


class UnsoundError(Exception):
    """A file of an index is not what was written."""


def sound_files(path: Path, known: Mapping[str, Look] | None = None) -> dict[str, Look]:
    """Return the files of the live segments and how they look; raises UnsoundError where one is not what was written.

    `known` is what this process has found whole before, beside what is noted in the folder.
    """
    noted = {**_noted(path), **(known or {})}
    found = {}
    for name in live_files(path):
        try:
            look = _look(path / name)
            if noted.get(name) != look and not is_whole(path / name):
                raise UnsoundError(f"{path / name} is damaged")
        except FileNotFoundError:  # merged away meanwhile; where it is missed, tantivy says so
            continue
        found[name] = look
    return found


def note(path: Path) -> None:
    """Note how the files look that have just been written, in the folder itself."""
    looks: dict[str, Look] = {}
    for name in live_files(path):
        looks[name] = _look(path / name)
    part = path / f"{NOTE}.part"
    part.write_text(json.dumps({"folder": path.name, "files": looks}), "utf-8")
    os.replace(part, path / NOTE)


def is_whole(path: Path) -> bool:
    """Tell whether a file has the sum that stands at its end."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(size - _END.size, 0))
        end = file.read()
        if len(end) < _END.size:
            return False
        length, magic = _END.unpack(end)
        left = size - _END.size - length
        if magic != _MAGIC or left < 0:
            return False
        file.seek(left)
        line = file.read(length)
        file.seek(0)
        crc = 0
        while piece := file.read(min(left, _PIECE)):
            crc, left = crc32(piece, crc), left - len(piece)
    try:
        return not left and bool(json.loads(line)["crc"] == crc)
    except (ValueError, KeyError, TypeError):
        return False


def _look(path: Path) -> Look:
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _noted(path: Path) -> dict[str, Look]:
    try:
        told = json.loads((path / NOTE).read_bytes())
        folder, files = told["folder"], {name: (int(a), int(b), int(c)) for name, (a, b, c) in told["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnsoundError(f"{path / NOTE} cannot be read ({error})") from error
    if folder != path.name:
        raise UnsoundError(f"{path} holds an index that was made as {folder!r}")
    return files


def live_files(path: Path) -> list[str]:
    """Return the names of the files of the segments that the index is made of now; raises UnsoundError.

    Of what was removed from a segment the last committed state belongs to it: a crash may leave half of a later one.
    """
    try:
        told = json.loads((path / META).read_bytes())
        live = {segment["segment_id"].replace("-", ""): segment["deletes"] for segment in told["segments"]}
        removals = {f"{name}.{deletes['opstamp']}.del" for name, deletes in live.items() if deletes}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnsoundError(f"{path / META} cannot be read ({error})") from error
    names = (name for name in os.listdir(path) if name.partition(".")[0] in live)
    return sorted(name for name in names if not name.endswith(".del") or name in removals)
