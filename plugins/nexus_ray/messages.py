"""Messages between the driver, which has the journal and the one control of a batch, and its workers.

Each side sends what has come together since its last call, in order: so many small messages cost one call.
"""

from __future__ import annotations

from attrs import frozen

from nexus_core.batch import BatchTask, RecordResult, RequestEnd

# To a worker


@frozen
class StartRecord:
    """Run a record."""

    task: BatchTask


@frozen
class AllowRequest:
    """The answer to a `BeginRequest`."""

    ticket: int
    number: int | None
    """Of the request, which may go now; `None` where it may not."""


ToWorker = StartRecord | AllowRequest

# To the driver


@frozen
class BeginRequest:
    """A record wants to send a request."""

    ticket: int
    """Of this worker, for the answer."""
    position: int
    model: str
    method: str
    most_tokens: int
    most_cost: float | None


@frozen
class EndRequest:
    """How a request ended; sent before the result of its record."""

    number: int
    end: RequestEnd


@frozen
class EndRecord:
    """What became of a record; `None` where its run was withdrawn."""

    position: int
    result: RecordResult | None


@frozen
class StopBatch:
    """No further record may begin."""

    why: str
    message: str


ToDriver = BeginRequest | EndRequest | EndRecord | StopBatch
