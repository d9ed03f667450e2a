"""The sink `jsonl`: one event a line, in a file that survives a crash."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Self

from nexus_core import Event, component, option, state

_HEARD = (
    "run_started", "prompt_packed", "waiting", "attempt_finished", "stream_restarted", "run_finished", "run_failed",
)  # fmt: skip
_OBJECTS = {"run_finished": ("answer",), "run_failed": ("error",)}
"""The fields of events that are no data."""
_BLOCK = 1 << 16
"""How much is read at a time in search of the start of a file's last line, in bytes."""


@component
class JsonlSink:
    """Appends events as one JSON object a line; a line that a crash has torn is mended when the file is opened."""

    name = "jsonl"

    path: str = option(help="The file, relative to the working directory; for its owner alone.")
    durable: bool = option(True, help="Wait for the disk after each batch, so that no event is lost in a power cut.")
    steps: bool = option(False, help="Write also each step that is done.")

    _file: BinaryIO | None = state()

    @property
    def hears(self) -> tuple[str, ...]:
        """The types of events that are written."""
        return (*_HEARD, "step_finished") if self.steps else _HEARD

    async def __aenter__(self) -> Self:
        """Open the file for appending and mend its end."""
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        try:
            _mend(file, path)
        except BaseException:
            file.close()
            raise
        self._file = file
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def emit(self, event: Event) -> None:
        """Append one event."""
        if self._file is None:
            raise OSError(f"the sink for {self.path} is not open")
        self._file.write(encoded(event))

    def flush(self) -> None:
        """Hand what was appended to the system, and wait for the disk if the sink is durable."""
        if self._file is not None:
            self._file.flush()
            if self.durable:
                os.fsync(self._file.fileno())


def encoded(event: Event) -> bytes:
    """Return an event as a line of JSON; an answer and an error object are for the reader of a stream and left out."""
    import orjson  # at the first event: declaring a sink costs nothing

    data = {"type": event.type, **vars(event)}
    for name in _OBJECTS.get(event.type, ()):
        del data[name]
    try:
        return orjson.dumps(data, default=repr, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # half of a surrogate pair, from a model that broke off inside it
        safe = {key: _sane(value) for key, value in data.items()}
        return orjson.dumps(safe, default=repr, option=orjson.OPT_APPEND_NEWLINE)


def _sane(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _mend(file: BinaryIO, path: Path) -> None:
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
    file.seek(0, os.SEEK_END)


def _last_line(file: BinaryIO) -> int:
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
    import orjson

    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False
