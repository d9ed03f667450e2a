"""Numbers of the events of a run: in the `id:` of each, so that a reader says what it has, and where it goes on."""

from __future__ import annotations

import re
from collections.abc import Sequence

import orjson
from aiohttp import web

from nexus_core.server.errors import Failure

HEADER = "Last-Event-ID"
LAST_EVENT = {
    HEADER: {"type": "string", "maxLength": 100, "description": "The id of the last event that you have had."}
}
"""The header, as routes declare it."""
_ID = re.compile(r"([0-9A-Za-z_]{1,64})-([0-9]{1,15})")
_END = b"\n\n"


def event_id(run_id: str, number: int) -> str:
    """Return the id of an event, as its line `id:` has it."""
    return f"{run_id}-{number}"


def number_events(run_id: bytes, before: int, frames: Sequence[bytes]) -> bytes:
    """Return events with their ids, one after the other; the first of them has the number after `before`."""
    if len(frames) == 1:
        return b"id: %b-%d\n%b" % (run_id, before + 1, frames[0])
    return b"".join([b"id: %b-%d\n%b" % (run_id, number, frame) for number, frame in enumerate(frames, before + 1)])


def split_events(data: bytes) -> list[bytes]:
    """Return the events that stand one after the other, each with its end."""
    return [each + _END for each in data.split(_END)[:-1]]


def data_of(frame: bytes) -> dict[str, object]:
    """Return the JSON of an event."""
    line = next(line for line in frame.split(b"\n") if line.startswith(b"data: "))
    found: dict[str, object] = orjson.loads(line[6:])
    return found


def gap_event(run_id: str, first: int, last: int) -> bytes:
    """Return the event that stands for those that are not kept any more."""
    told = {"type": "gap", "from": first, "to": last}
    return number_events(run_id.encode(), last - 1, [b"event: gap\ndata: %b\n\n" % orjson.dumps(told)])


def last_event(request: web.Request) -> tuple[str, int] | None:
    """Return the run and the number of the last event that a client has had; raises Failure for what is no id."""
    said = request.headers.getall(HEADER, ())
    if not said:
        return None
    found = _ID.fullmatch(said[0]) if len(said) == 1 else None
    if found is None:
        raise Failure(400, "invalid_request", f"{HEADER} is no id of an event: send that of the last one, as it was")
    return found[1], int(found[2])
