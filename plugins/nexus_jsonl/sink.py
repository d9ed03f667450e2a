"""The sink `jsonl`: one event a line, in a file that survives a crash and that several may write to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Self

from nexus_core import Event, TraceEntry, component, option, state

if sys.platform != "win32":
    import fcntl

_HEARD = (
    "run_started", "prompt_packed", "waiting", "attempt_finished", "stream_restarted", "tool_finished",
    "tool_round", "run_finished", "run_failed",
)  # fmt: skip
_OBJECTS = {"run_finished": ("answer",), "run_failed": ("error",)}
"""The fields of events that are no data."""
_BLOCK = 1 << 16
"""Bytes that are read at a time in search of the start of a file's last line; and about as many are written at once."""
_MOST = 1 << 20
"""Bytes that are kept where the file cannot be written, until it can."""


@component
class JsonlSink:
    """Appends events as one JSON object a line; a line that a crash has torn is mended when the file is opened."""

    name = "jsonl"

    path: str = option(help="The file, relative to the working directory; for its owner alone.")
    durable: bool = option(True, help="Wait for the disk after each batch, so that no event is lost in a power cut.")
    steps: bool = option(False, help="Write also each step that is done.")

    _file: FileIO | None = state()
    _lines: bytearray = state(factory=bytearray)
    """What is not written yet: whole lines, so that those of others never stand in between."""

    @property
    def hears(self) -> tuple[str, ...]:
        """The types of events that are written."""
        return (*_HEARD, "step_finished") if self.steps else _HEARD

    async def __aenter__(self) -> Self:
        """Open the file for appending and mend its end."""
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+")
        try:
            with _alone(file):
                _mend(file, path)
        except BaseException:
            file.close()
            raise
        self._file = file
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the file."""
        if self._file is not None:
            try:
                self._write(self._file)
            finally:
                self._file.close()
                self._file = None

    def emit(self, event: Event) -> None:
        """Append one event."""
        if self._file is None:
            raise OSError(f"the sink for {self.path} is not open")
        if len(self._lines) > _BLOCK:
            self._write(self._file)
        self._lines += encoded(event)

    def flush(self) -> None:
        """Hand what was appended to the system, and wait for the disk if the sink is durable."""
        if self._file is not None:
            self._write(self._file)
            if self.durable:
                os.fsync(self._file.fileno())

    def _write(self, file: FileIO) -> None:
        """Write all lines or none; those that could not be written are tried again, as long as they are not many."""
        with _alone(file):
            end = os.fstat(file.fileno()).st_size
            try:
                left = memoryview(bytes(self._lines))
                while left:
                    left = left[file.write(left) :]
            except OSError:
                os.ftruncate(file.fileno(), end)
                if len(self._lines) > _MOST:
                    self._lines.clear()
                raise
            self._lines.clear()


@contextmanager
def _alone(file: FileIO) -> Iterator[None]:
    """Keep others out who write to the same file: other pipelines, and other workers of a server."""
    if sys.platform == "win32":
        yield
        return
    with suppress(OSError):  # there are file systems without locks
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(file.fileno(), fcntl.LOCK_UN)


def encoded(event: Event) -> bytes:
    """Return an event as a line of JSON; an answer and an error object are for the reader of a stream and left out."""
    import orjson  # at the first event: declaring a sink costs nothing

    data = {"type": event.type, **vars(event)}
    for name in _OBJECTS.get(event.type, ()):
        del data[name]
    try:
        return orjson.dumps(data, default=_plain, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # half of a surrogate pair, from a model that broke off inside it
        safe = {key: _sane(value) for key, value in data.items()}
        return orjson.dumps(safe, default=_plain, option=orjson.OPT_APPEND_NEWLINE)


def _plain(value: object) -> object:
    return vars(value) if isinstance(value, TraceEntry) else repr(value)


def _sane(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _mend(file: FileIO, path: Path) -> None:
    """Put the end of the file after its last whole record: end a record that lacks its newline, cut off half of one."""
    start = _last_line(file)
    file.seek(start)
    torn = file.read()
    if torn and _is_record(torn):
        file.write(b"\n")
    elif torn.startswith(b"{"):
        file.truncate(start)
    elif torn:
        raise ValueError(
            f"{path} is no file of events, since its last line is no record; give the sink a path of its own"
        )


def _last_line(file: FileIO) -> int:
    """Return where the part of the file after its last newline begins."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
