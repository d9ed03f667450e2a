"""Runs of a server: begun for requests, read on after a cut, ended; with a store that may be written, kept there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from time import time

from aiohttp import web
from attrs import evolve, frozen

from nexus_core.contract.events import Delta
from nexus_core.server.access.access import AccessControl
from nexus_core.server.access.run_slots import RunSlot, take_back
from nexus_core.server.api.run_query import QueryRequest, events, slot_of
from nexus_core.server.errors import Failure, cancelled_within, failure_of
from nexus_core.server.http.app import identity, log_failure
from nexus_core.server.http.sse import EventStream
from nexus_core.server.pipelines import ServedPipelines, keeps_usage
from nexus_core.server.runs.approvals import ApprovalEvents, RunApprovals, settle
from nexus_core.server.runs.follow import RunFollower
from nexus_core.server.runs.journal import Interrupted, RunJournal
from nexus_core.server.runs.live_run import LiveRun, RunEvents, RunReader, cancelled
from nexus_core.server.settings import ServerSettings
from nexus_core.store.conversations.turn_sources import sources_json
from nexus_core.store.runs import NewRun, StoredRun, describe_viewer

NOT_KEPT = "runs_not_kept"
_ENDS_WITHIN_S = 2.0
_CALL_ID = re.compile(r"[0-9a-f]{32}\.[0-9]{1,9}")
"""As runs make them; what a database could not even be asked for is none."""


@frozen(kw_only=True)
class RunRequest:
    """A question, and how long its run lives."""

    question: QueryRequest
    id: str
    api: str
    events: RunEvents
    background: bool = False
    """It goes on to its end, whether anybody reads it or not."""
    idempotency: str | None = None
    """The name of the request; then it goes on to its end, too."""
    fingerprint: str = ""
    asks: ApprovalEvents | None = None
    """Asks its owner before a tool changes something; `None`: what the pipeline allows is called."""

    @property
    def stays(self) -> bool:
        """Whether it goes on without a client."""
        return self.background or self.idempotency is not None


class RunService:
    """Executes and follows runs; open between `open` and `close`."""

    def __init__(self, serving: ServedPipelines, gate: AccessControl, settings: ServerSettings) -> None:
        self._serving = serving
        self._gate = gate
        self._settings = settings
        self._interrupted: dict[str, Interrupted] = {}
        self.journal: RunJournal | None = None
        """`None` where the store may not be written."""
        gate.let_make_room(self.make_room)

    def on_interrupt(self, api: str, write: Interrupted) -> None:
        """Say how the last event of a run that was interrupted is written in the words of an API."""
        self._interrupted[api] = write

    async def open(self) -> None:
        """Begin to keep runs, where the store may be written."""
        if self._serving.store.runs.may_write:
            self.journal = RunJournal(lambda: self._serving.store.runs, self._interrupted)
            await self.journal.open()

    async def close(self) -> None:
        """Write what is left of the runs that have ended."""
        if self.journal is not None:
            await self.journal.close()
            self.journal = None

    def follower(self, request: web.Request, id: str) -> RunFollower:
        """Return a reader of a run in the name of who asks."""
        who, store = identity(request), self._serving.store
        return RunFollower(self.journal, store.runs, self._serving.seen_by(who.viewer), id, who.owner)

    async def stream(self, request: web.Request, asked: RunRequest, out: EventStream) -> StoredRun | None:
        """Begin a run and send its events; or return the run that its name stands for already."""
        run, slot = self._make(request, asked), slot_of(self._gate, asked.question)
        if asked.stays and (kept := await self._begin(run, asked)).id != run.id:
            return kept
        reader = run.reader = RunReader(out)
        self._start(request, run, asked, slot)
        try:
            await reader.done
        finally:
            run.leave(reader)
        return None

    async def start(self, request: web.Request, asked: RunRequest) -> tuple[StoredRun, LiveRun | None]:
        """Begin a run that stays, and return it, or the one that its name stands for, which may be elsewhere."""
        run, slot = self._make(request, asked), slot_of(self._gate, asked.question)
        kept = await self._begin(run, asked)
        if kept.id != run.id:
            return kept, None
        self._start(request, run, asked, slot)
        return kept, run

    async def end(self, run: StoredRun) -> None:
        """End a run that is under way, here or on another server, which hears of it within a second."""
        live = None if self.journal is None else self.journal.live.get(run.id)
        if live is None:
            await self._serving.store.runs.ask_to_end(run.id)
            return
        live.stop(cancelled())
        try:
            async with asyncio.timeout(_ENDS_WITHIN_S):
                await live.ended.wait()
        except TimeoutError:
            return
        if self.journal is not None:
            await self.journal.flush()

    async def decide(self, run: StoredRun, call_id: str, *, approved: bool) -> None:
        """Decide on a call that a run waits to be let make, wherever it runs; raises Failure where it does not wait.

        Its own server goes on at once, another one within a second.
        """
        kept = self._serving.store.runs.approvals
        holds = await kept.decide(run.id, call_id, approved=approved) if _CALL_ID.fullmatch(call_id) else None
        if holds is None:
            raise Failure(404, "approval_not_found", f"the run waits for no approval {call_id[:80]!r}")
        if self.journal is not None:
            settle(self.journal.live.get(run.id), call_id, approved=holds)
        if holds is not approved:
            said = (
                "the call was approved already" if holds else "the call was refused already, or nobody answered in time"
            )
            raise Failure(409, "approval_decided", said)

    def make_room(self, key_id: str | None) -> bool:
        """End the run that nobody has read for longest, of a key or of any; returns whether there was one."""
        live = () if self.journal is None else self.journal.live.values()
        for run in live:
            if run.is_lingering and run.reason is None and (key_id is None or run.key_id == key_id):
                run.stop(cancelled())
                if run.admitted is not None:
                    run.admitted.release_early()
                return True
        return False

    def _make(self, request: web.Request, asked: RunRequest) -> LiveRun:
        if asked.stays and self.journal is None:
            said = "this server keeps no runs, since its store may only be read: ask without a key, and wait for it"
            raise Failure(501, NOT_KEPT, said)
        question, who = asked.question, identity(request)
        pipeline = question.pipeline
        context = question.asked.get("context_id") if pipeline.takes_context else None
        new = NewRun(
            id=asked.id,
            owner=who.owner,
            idempotency=asked.idempotency,
            fingerprint=asked.fingerprint,
            api=asked.api,
            viewer=describe_viewer(who.viewer),
            pipeline=pipeline.name,
            context=context,
            model=pipeline.models.get(question.asked.get("model")).name,
            model_id=question.begins_with,
            background=asked.background,
            in_ledger=keeps_usage(pipeline),
            created=time(),
            server="" if self.journal is None else self.journal.server,
            answer=asked.events.answer,
            sources=sources_json(
                [*filter(None, [context])], (), (), conversation=question.asked.get("conversation_id")
            ),
        )
        linger_s = None if asked.stays else self._settings.limits.resume_s
        return LiveRun(new=new, write=asked.events, journal=self.journal, linger_s=linger_s, key_id=who.key_id)

    async def _begin(self, run: LiveRun, asked: RunRequest) -> StoredRun:
        """Keep a run that stays before it begins, and return it, or the one that its name stands for already."""
        try:
            kept = await self._serving.store.runs.begin(run.new)
        except BaseException:  # its client has left, too: it may be written all the same
            if self.journal is not None:
                self.journal.discard(run.id)
            raise
        if kept.id != run.id and (kept.fingerprint, kept.api) != (asked.fingerprint, asked.api):
            said = "this Idempotency-Key was sent with another request: each request has a key of its own"
            raise Failure(422, "idempotency_key_reused", said)
        run.is_kept.set()
        return kept

    def _start(self, request: web.Request, run: LiveRun, asked: RunRequest, slot: RunSlot) -> None:
        question = asked.question
        if asked.asks is not None:
            approvals = RunApprovals(run=run, kept=lambda: self._serving.store.runs.approvals, events=asked.asks)
            question = evolve(question, asked={**question.asked, "approve": approvals.ask})
        if question.admitted_request is not None:
            run.admitted = question.admitted_request.hand_over()
        if self.journal is not None:
            self.journal.live[run.id] = run
            self.journal.note(run, hurries=True)
        self._gate.places.hand_over()
        work = self._execute(run, question, slot, partial(log_failure, request))
        run.task = asyncio.get_running_loop().create_task(work)

    async def _execute(
        self, run: LiveRun, question: QueryRequest, slot: RunSlot, log: Callable[[Failure], None]
    ) -> None:
        failure: Failure | None = None
        try:
            async with events(self._gate, question, slot) as stream:
                async for event in stream:
                    if type(event) is Delta:  # a call less for each
                        if frames := run.delta(event):
                            await run.emit(frames)
                    else:
                        await run.take(event)
        except asyncio.CancelledError as error:
            take_back()
            failure = run.reason or cancelled_within(error)
        except Exception as error:  # noqa: BLE001 - by its type it is decided what clients are told
            failure = failure_of(error)
        finally:
            if run.admitted is not None:
                run.admitted.release(failure)
        if failure is not None:
            if self.journal is not None and not (run.has_begun or run.new.background):
                run.is_refused = run.new.idempotency is not None
                if not run.is_refused:  # nobody has heard of it
                    await self.journal.forget(run)
            await run.fail(failure, log)
