"""Reader process: `python -m nexus_core.store.ingest.reader_process` reads documents for its parent.

How to read and marks come in on standard input, and parts go out on what was standard output, many at a time, pickled
behind their length. Both ends are of one program and one user. What reads a document may crash, print or never end:
this process is made for that.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import struct
import sys
from collections.abc import Sequence
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO

from attrs import frozen

from nexus_core.contract.errors import describe_error
from nexus_core.toolkit.processes.limits import end_with, limit_memory

if TYPE_CHECKING:
    from nexus_core.store.ingest.read_document import DocumentPart, DocumentReading, Due

LENGTH = struct.Struct("<Q")
HELD_S = 0.1
"""So long parts are held back, to be sent with those that come after them."""
_ALLOCATIONS = 50_000
"""Between two looks for garbage: next to none arises here, and each looks at all words that are remembered."""


@frozen(eq=False, repr=False)
class ReadRequest:
    """How the documents that follow are to be read."""

    reading: bytes
    """A pickled `Reading`: what cannot be read back is told, and does not end the process."""
    limit_s: float


def main() -> None:
    """Serve until the other end closes."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what plugins print is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other end decides when it is over
    limit_memory()
    end_with(os.getppid())
    told = receive(requests)
    if told is None:
        return
    sys.path[:] = [*told, *(entry for entry in sys.path if entry not in told)]
    import_module("nexus_core.store.ingest.read_document")  # while the other end prepares what is to be read
    gc.set_threshold(_ALLOCATIONS)
    send(answers, "")
    _serve(requests, answers)


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    reading: DocumentReading | None = None
    limit_s = 0.0
    while (request := receive(requests)) is not None:
        if not isinstance(request, ReadRequest):
            assert reading is not None
            _answer(answers, reading, request, limit_s)
            continue
        limit_s = request.limit_s
        try:
            reading = pickle.loads(request.reading)
        except Exception as error:  # noqa: BLE001 - of a module that cannot be imported here, whatever it raises
            send(answers, describe_error(error))
        else:
            send(answers, "")


def _answer(answers: BinaryIO, reading: DocumentReading, some: Sequence[Due], limit_s: float) -> None:
    """Send the parts of some documents; none waits for long for those after it."""
    parts: list[DocumentPart] = []
    sent = monotonic()
    for due in some:
        _set_alarm(limit_s)
        for part in reading.parts(*due):
            parts.append(part)
            if part.end is None or monotonic() - sent > HELD_S:
                send(answers, parts)
                _set_alarm(limit_s)
                parts, sent = [], monotonic()
    if parts:
        send(answers, parts)
    _set_alarm(0)


def send(stream: BinaryIO, value: Any) -> None:
    """Write one value."""
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Return the next value, `None` at the end."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    return pickle.loads(stream.read(*LENGTH.unpack(head)))


def _set_alarm(limit_s: float) -> None:
    # Whoever waits ends this process in time; this is for when that one was killed.
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, limit_s * 2)


if __name__ == "__main__":
    from nexus_core.store.ingest.reader_process import (
        main as begin,  # by its name, by which what it is sent knows this module
    )

    begin()
