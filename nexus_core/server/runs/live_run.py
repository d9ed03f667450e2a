"""A run that this process executes: its events go to the client that is there, and into the journal.

It is a task of its own and not that of a request, so that it can go on when a client is gone. The task writes to the
client by itself: handing each event over to the task of the request would cost more than the event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from attrs import define, field, frozen

from nexus_core.contract.answers import Answer, AttemptFinished, Event
from nexus_core.contract.events import Delta, PromptPacked, RunFailed, RunFinished
from nexus_core.server.access.key_limits import AdmittedRequest
from nexus_core.server.errors import Failure
from nexus_core.server.http.sse import EventStream
from nexus_core.server.runs.event_numbers import number_events, split_events
from nexus_core.store.conversations.turn_sources import sources_json
from nexus_core.store.runs import MOST_BYTES, NewRun, RunBatch, RunState

CANCELLED = "run_cancelled"
INTERRUPTED = "interrupted"
TOO_LARGE = b""
"""The answer, as it is kept, of a run that has given one which is too large to be kept."""
_STATES: Mapping[str, RunState] = {CANCELLED: "cancelled", INTERRUPTED: "interrupted"}
"""What a run is that failed with a code; any other is `failed`."""
_KEPT_WITHIN_S = 0.25
BATCH_EVENTS = 64
BATCH_BYTES = 256 * 2**10
"""So many events, or bytes of them, are written at once."""
_CHARACTERS_PER_TOKEN = 4


class RunEvents(Protocol):
    """Writes the events of a run in the words of an API, each as it is sent, with its empty line."""

    def delta(self, delta: Delta) -> Sequence[bytes]:
        """Return the events with more of the answer; none where it has nothing that clients are told."""

    def other(self, event: Event) -> Sequence[bytes]:
        """Return the events for what is neither more of the answer nor an end; mostly none."""

    async def finished(self, event: RunFinished) -> Sequence[bytes]:
        """Return the last events of an answer that is complete; raises Failure where there is none."""

    def failure(self, event: RunFailed) -> Failure:
        """Return what clients are told of a run that failed."""

    def failed(self, failure: Failure) -> Sequence[bytes]:
        """Return the last events of a run that has failed."""

    @property
    def answer(self) -> bytes | None:
        """The answer as it is kept, as JSON, once the last events were made."""


class EventJournal(Protocol):
    """What takes the events of a run to be written to the store."""

    def note(self, run: LiveRun, *, hurries: bool = False) -> None:
        """Write what waits of a run before long, or at once."""

    async def flush(self) -> None:
        """Write what waits now."""


@frozen(eq=False)
class RunReader:
    """The client of the request that has begun a run, as long as it is there."""

    out: EventStream
    done: asyncio.Future[None] = field(factory=lambda: asyncio.get_running_loop().create_future())
    """Has the error that ends the answer, where that is to be told by the request."""

    def settle(self, error: Exception | None) -> None:
        """Let the request go on to its end."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


@define(eq=False, repr=False, kw_only=True)
class LiveRun:
    """What there is of a run while it is under way."""

    new: NewRun
    write: RunEvents
    journal: EventJournal | None
    """`None` where runs cannot be kept: then events have no ids, and it ends with its client."""
    linger_s: float | None
    """How long it goes on when nobody reads it; `None` is to its end."""
    key_id: str = ""
    admitted: AdmittedRequest | None = None
    """Its place among those of its key."""
    tag: bytes = field(init=False, default=b"")
    state: RunState = "running"
    events: int = 0
    reader: RunReader | None = None
    followers: int = 0
    """How many read it by what is written, here or elsewhere."""
    task: asyncio.Task[None] | None = None
    reason: Failure | None = None
    """Why it was told to end."""
    failure: Failure | None = None
    """Why it has failed."""
    ended: asyncio.Event = field(factory=asyncio.Event)
    has_begun: bool = False
    """The pipeline has told something of it."""
    is_refused: bool = False
    """It has ended before that, and the request of its name may be tried again."""
    has_waited: bool = False
    """For the store to have it, before the first event."""
    is_kept: asyncio.Event = field(factory=asyncio.Event)
    """The store has it."""
    changed: asyncio.Event = field(factory=asyncio.Event)
    """Something of it was written; a new one each time."""
    pending: list[bytes] = field(factory=list)
    """What was sent and is not written yet."""
    pending_events: int = 0
    pending_bytes: int = 0
    batches: list[tuple[int, int]] = field(factory=list)
    """Of the batches that are written: the number of the last event, and the bytes."""
    is_sent: bool = False
    characters: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    usage_source: str = "estimated"
    sources: str = ""
    waiting: dict[str, asyncio.Future[bool]] = field(factory=dict)
    """The calls of tools that its owner is asked about."""
    lingering: asyncio.TimerHandle | None = None

    def __attrs_post_init__(self) -> None:
        self.tag = self.new.id.encode()

    @property
    def id(self) -> str:
        """Its id."""
        return self.new.id

    @property
    def is_lingering(self) -> bool:
        """Whether it goes on for a while only, since nobody reads it."""
        return self.lingering is not None

    # Events

    def delta(self, event: Delta) -> Sequence[bytes]:
        """Return the events with more of the answer, and count what it may come to in tokens."""
        self.characters += len(event.text) + len(event.reasoning)
        return self.write.delta(event)

    async def take(self, event: Event) -> None:
        """Tell any other event of the pipeline; raises Failure for one that failed."""
        self.has_begun = True
        if isinstance(event, RunFinished):
            frames = await self.write.finished(event)
            self._note_answer(event.answer)
            await self.emit(frames, ends="completed")
        elif isinstance(event, RunFailed):
            raise self.write.failure(event)
        else:
            self._note(event)
            if frames := self.write.other(event):
                await self.emit(frames)

    async def emit(self, frames: Sequence[bytes], ends: RunState | None = None) -> None:
        """Number events, note them to be written and send them to the client, if it is there."""
        if ends is not None:
            self.state = ends
        if self.journal is None:
            data = b"".join(frames)
        else:
            data = self._record(self.journal, frames)
            if self.is_refused:  # who hears of it may try again at once
                await self.journal.flush()
            if not self.has_waited:
                await self._wait_until_kept()
        reader = self.reader
        if reader is not None:
            try:
                await (reader.out.send(data) if ends is None else reader.out.end(data))
            except ConnectionError as error:
                reader.settle(error)
                self.reader = None
            if ends is not None:
                reader.settle(None)
        if ends is not None:
            self.ended.set()

    def _record(self, journal: EventJournal, frames: Sequence[bytes]) -> bytes:
        """Number events, note them to be written, and return them as they are sent."""
        data = number_events(self.tag, self.events, frames)
        self.events += len(frames)
        is_first = not self.pending
        self.pending.append(data)
        self.pending_events += len(frames)
        self.pending_bytes += len(data)
        hurries = self.state != "running" or self.pending_events >= BATCH_EVENTS or self.pending_bytes >= BATCH_BYTES
        if is_first or hurries:  # else the journal knows of it
            journal.note(self, hurries=hurries)
        return data

    async def fail(self, failure: Failure, log: Callable[[Failure], None]) -> None:
        """Tell that it has failed; before anything was sent that is for the request to say, with a status."""
        if self.state != "running":
            return
        self.failure = failure
        reader = self.reader
        if reader is not None and not reader.out.response.prepared:
            self.reader = None
            await self.emit(self.write.failed(failure), ends=_STATES.get(failure.code, "failed"))
            reader.settle(failure)
        else:
            log(failure)
            await self.emit(self.write.failed(failure), ends=_STATES.get(failure.code, "failed"))

    async def _wait_until_kept(self) -> None:
        """Wait a moment for the store: who is told an id is to find it; but no stream waits for a busy store."""
        self.has_waited = True
        if not self.is_kept.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_KEPT_WITHIN_S):
                    await self.is_kept.wait()

    def _note(self, event: Event) -> None:
        if isinstance(event, PromptPacked):
            self.is_sent = True
            self.prompt_tokens = event.tokens_at_most if event.prompt_tokens is None else event.prompt_tokens
        elif isinstance(event, AttemptFinished) and event.outcome == "ok":
            self.is_sent = False

    def _note_answer(self, answer: Answer | None) -> None:
        if answer is None:
            return
        usage = answer.usage
        self.prompt_tokens, self.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        self.usage_source = next((row.usage_source for row in reversed(answer.attempts)), "provider")
        contexts = [*filter(None, [self.new.context]), *answer.contexts]
        items = [packed.item for packed in answer.prompt.items]
        self.sources = sources_json(contexts, items, (), conversation=answer.conversation_id)

    # Batches

    def batch(self) -> tuple[RunBatch, int]:
        """Return what waits to be written, and how many pieces of `pending` that are."""
        last = self.events
        first = last - self.pending_events + 1
        newest, data = _newest(b"".join(self.pending), first, last)
        room = MOST_BYTES - len(data) if newest == first else -1
        oldest = 0
        for end, size in reversed(self.batches):
            room -= size
            if room < 0:
                oldest = end + 1
                break
        tokens = self.completion_tokens
        answer = self.write.answer if self.state != "running" or not self.batches else None
        batch = RunBatch(
            id=self.id,
            begins=None if self.batches else self.new,
            first_event=newest,
            last_event=last,
            data=data,
            oldest_event=oldest,
            is_sent=self.is_sent,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=-(-self.characters // _CHARACTERS_PER_TOKEN) if tokens is None else tokens,
            usage_source=self.usage_source,
            state=self.state,
            is_refused=self.is_refused,
            answer=TOO_LARGE if answer is not None and len(answer) > MOST_BYTES else answer,
            sources=self.sources,
        )
        return batch, len(self.pending)

    def note_written(self, batch: RunBatch, pieces: int) -> None:
        """Forget what is written, and let those know who wait for it."""
        written = self.pending[:pieces]
        del self.pending[:pieces]
        self.pending_events = self.events - batch.last_event
        self.pending_bytes -= sum(map(len, written))
        self.batches = [each for each in self.batches if each[0] >= batch.oldest_event]
        self.batches.append((batch.last_event, len(batch.data)))
        self.is_kept.set()
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    # Its client, and its end

    def leave(self, reader: RunReader) -> None:
        """Note that the client of its request is gone, or has had all."""
        if self.reader is reader:
            self.reader = None
        self.look_after()

    def look_after(self, least_s: float = 0.0) -> None:
        """Let it go on for a while only where nobody reads it; that begins anew where somebody has read meanwhile."""
        if self.lingering is not None:
            self.lingering.cancel()
            self.lingering = None
        if self.ended.is_set() or self.reader is not None or self.followers or self.linger_s is None:
            return
        if self.linger_s <= 0 or self.journal is None or not self.events:  # nobody has an id to read on from
            self.stop(cancelled())
        else:
            self.lingering = asyncio.get_running_loop().call_later(max(self.linger_s, least_s), self.stop, cancelled())

    def stop(self, reason: Failure) -> None:
        """End it; its events say why."""
        if self.task is not None and self.reason is None and self.state == "running":
            self.reason = reason
            self.task.cancel()


def _newest(data: bytes, first: int, last: int) -> tuple[int, bytes]:
    """Return of the events with these numbers the newest that there is room for, and the number of the first of them.

    So much waits at once only where the store could not be written for a while.
    """
    if len(data) <= MOST_BYTES:
        return first, data
    kept: list[bytes] = []
    room = MOST_BYTES
    for event in reversed(split_events(data)):
        room -= len(event)
        if room < 0:
            break
        kept.append(event)
    return last - len(kept) + 1, b"".join(reversed(kept))


def cancelled() -> Failure:
    """Return what is told of a run that was ended before it had an answer."""
    return Failure(409, CANCELLED, "the run was ended before its answer was complete")


def answer_not_kept() -> Failure:
    """Return what is told of an answer that has been given and is too large to be kept."""
    said = f"the answer was complete, and larger than the {MOST_BYTES // 2**20} MiB that are kept of one: ask again"
    return Failure(410, "answer_not_kept", said)


def interrupted() -> Failure:
    """Return what is told of a run whose server was killed, or was taken for that by another."""
    return Failure(503, INTERRUPTED, "the server that ran this was lost before its answer was complete: ask again")
