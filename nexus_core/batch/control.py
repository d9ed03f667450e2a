"""Batch control: what may begin, what was used, and when to stop. One object, on the machine that has the journal.

Engines ask it for records, tell it of each request before it leaves and after it ended, and hand it the results.
Limits, budget and journal are here alone, so that they hold however many machines do the work.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from time import monotonic

from attrs import evolve, frozen

from nexus_core.batch.concurrency import AdaptiveConcurrency
from nexus_core.batch.conversation_turns import ConversationTurns
from nexus_core.batch.journal import BatchTotals, Journal, RequestUsage
from nexus_core.batch.records import BatchRecord
from nexus_core.batch.results import RecordResult, failure
from nexus_core.contract.values import Message, Quota, Value
from nexus_core.toolkit.suggest import counted

STREAK = 20
"""So many failures of one kind in a row are no matter of the records."""
HOPELESS = frozenset({"auth", "quota", "config", "not_configured"})
"""Kinds of failures that every record would meet, where no other model can be asked."""
UNAVAILABLE = frozenset(
    {"connect", "disconnected", "overloaded", "rate_limit", "server_error", "stalled", "timeout", "truncated"}
)
"""Kinds of failures that count as one: the service is not there."""
PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""How long no record begins after one that has to wait: doubled from one time to the next, up to the second."""
PATIENCE_S = 3600.0
"""Without an answer for so long, records wait no more."""
_MOST_HELD = 10_000
"""Records that wait for an earlier one of their conversation, before no more are read ahead."""


@frozen(kw_only=True, eq=False)
class BatchTask(Value):
    """A record that may begin now."""

    position: int
    record: BatchRecord
    history: tuple[Message, ...] = ()
    """The turns of its conversation before it."""


@frozen(kw_only=True, eq=False)
class BatchBudget(Value):
    """The most that a batch may use, whatever was told or not; `None` is without limit."""

    tokens: int | None = None
    cost: float | None = None
    """In US dollars."""

    def refusal(self, tokens: int, cost: float | None) -> str:
        """Return in words that a request is refused which could use so much."""
        parts = [] if self.tokens is None else [(counted(tokens, "token"), counted(self.tokens, "token"))]
        if self.cost is not None:
            parts.append(("an unknown sum" if cost is None else f"${cost:,.6f}", f"${self.cost:,.6g}"))
        most, budget = " and ".join(each for each, _ in parts), " and ".join(each for _, each in parts)
        return (
            f"the next request could take {most} and exceed the budget of {budget}: a larger budget, or a smaller "
            "`max_tokens` among the `options` of the model, lets it go on"
        )


@frozen(kw_only=True, eq=False)
class BatchStop(Value):
    """Why a batch ends before its last record."""

    why: str
    """`interrupted`, `budget` or `failure`."""
    message: str


@frozen(kw_only=True, eq=False)
class RequestEnd(Value):
    """How one upstream request ended."""

    usage: RequestUsage
    ok: bool = False
    refused: bool = False
    """Since there were too many."""
    quota: Quota | None = None


class BatchControl:
    """The control of one batch while it runs."""

    def __init__(
        self,
        journal: Journal,
        concurrency: AdaptiveConcurrency,
        budget: BatchBudget | None = None,
        *,
        history_characters: int,
        keeps_going: bool = False,
        waits: bool = True,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """Take what it goes by.

        Of their conversation, records get the newest turns that come to `history_characters`. One that `keeps_going`
        stops for no number of failures in a row; one that does not wait, as in a replay, takes a rate limit for a
        failure.
        """
        self._journal = journal
        self.concurrency = concurrency
        self._budget = budget or BatchBudget()
        self.stopped: BatchStop | None = None
        self._before = before = journal.totals()
        self._done, self._failed, self._requests = before.done, before.failed, before.requests
        self._tokens, self._unknown_tokens = before.tokens, before.unknown_tokens
        self._cost, self._unknown_cost = before.cost or 0.0, before.unknown_cost
        self._priced, self._is_priced = before.priced, before.cost is not None or not before.priced
        self._position = -1
        self._is_read = False
        """No record is left but those that are ready, held or under way."""
        self._ready: deque[BatchTask] = deque()
        self._held: dict[str, deque[BatchTask]] = {}
        """By its conversation, what waits for the record of it that is ready or under way."""
        self._turns = ConversationTurns(journal, history_characters)
        self._streak: deque[int] = deque(maxlen=STREAK)
        """The positions of the last records that failed in a row; `--keep-going` may see a million."""
        self._streak_kind = ""
        self._open: dict[int, tuple[int, int, float | None]] = {}
        """Requests under way: their number for the concurrency, and the most that they use."""
        self._keeps_going, self._waits = keeps_going, waits
        self._now = now
        self._answered_at = now()
        self._pauses, self._paused_until = 0, 0.0
        self._reserved: tuple[int, float] = (0, 0.0)
        """The most that requests under way will use together."""
        self._largest: tuple[int, float] = (0, 0.0)
        """What one request has used at most, by its bounds."""

    @property
    def totals(self) -> BatchTotals:
        """How far it is, and what it has used, as of now."""
        return evolve(
            self._before,
            done=self._done,
            failed=self._failed,
            requests=self._requests,
            tokens=self._tokens,
            unknown_tokens=self._unknown_tokens,
            cost=self._cost if self._is_priced and (self._priced or not self._requests) else None,
            priced=self._priced,
            unknown_cost=self._unknown_cost,
        )

    def stop(self, why: str, message: str) -> None:
        """Let no further record begin."""
        if self.stopped is None or (why == "interrupted" and self.stopped.why != why):
            self.stopped = BatchStop(why=why, message=message)
            self.concurrency.close()

    # Records

    async def next(self) -> BatchTask | None:
        """Return the next record as soon as it may begin; `None` where no more will. For one caller at a time."""
        while self.stopped is None:
            task = self._next_ready()
            if task is None:
                if not self.concurrency.in_flight:
                    return None
                await self.concurrency.change()
            elif await self.concurrency.enter():
                while self._is_nearly_spent() and self.concurrency.in_flight > 1 and self.stopped is None:
                    await self.concurrency.change()
                if self.stopped is None:
                    return task
                self.concurrency.leave()
        return None

    def _next_ready(self) -> BatchTask | None:
        """Return the next record with its history; one whose conversation has a gap fails."""
        while (task := self._next_in_turn()) is not None:
            conversation = task.record.conversation
            if conversation is None:
                return task
            history = self._turns.history(conversation, task.position)
            if history is not None:
                return evolve(task, history=history)
            self._note(task, failure("conversation", "an earlier record of its conversation has no answer"))
            self._begin_turn(conversation)
        return None

    def _next_in_turn(self) -> BatchTask | None:
        while not self._ready and not self._is_read and sum(map(len, self._held.values())) < _MOST_HELD:
            page = self._journal.pending(self._position)
            self._is_read = not page
            for position, record in page:
                self._position = position
                self._take(BatchTask(position=position, record=record))
        return self._ready.popleft() if self._ready else None

    def _take(self, task: BatchTask) -> None:
        conversation = task.record.conversation
        if conversation is not None and conversation in self._held:
            self._held[conversation].append(task)
            return
        if conversation is not None:
            self._held[conversation] = deque()
        self._ready.append(task)

    def _begin_turn(self, conversation: str) -> None:
        """Make the next record of a conversation ready, now that the one before it has its result."""
        held = self._held[conversation]
        if held:
            self._ready.append(held.popleft())
        else:
            del self._held[conversation]

    def finish(self, task: BatchTask, result: RecordResult) -> None:
        """Take the result of a record that has begun."""
        self.concurrency.leave()
        if self._is_to_wait(result):
            self._ready.appendleft(task)
            return
        if result.state == "failed" and self._is_systemic(task, result):
            return
        if result.state == "done":
            self._streak_kind, self._pauses, self._answered_at = "", 0, self._now()
        self._note(task, result)
        if task.record.conversation in self._held:
            self._begin_turn(task.record.conversation)

    def _is_to_wait(self, result: RecordResult) -> bool:
        """Tell whether a record is done again after a pause: a breaker is open, or a limit of the service."""
        is_refused = result.kind in ("overloaded", "rate_limit") and not result.was_sent
        if not self._waits or not (is_refused or result.kind == "rate_limit"):
            return False
        if self.stopped is not None:  # it is done when the batch goes on
            return True
        if self._now() - self._answered_at > PATIENCE_S:
            return False
        now = self._now()
        if is_refused:
            self.concurrency.pause(PAUSE_S)
        elif now >= self._paused_until:  # those that were under way together count once
            pause_s = min(LONGEST_PAUSE_S, PAUSE_S * 2.0 ** min(self._pauses, 10))
            self._pauses, self._paused_until = self._pauses + 1, now + pause_s
            self.concurrency.pause(pause_s)
        return True

    def put_back(self, task: BatchTask, *, again: bool = False) -> None:
        """Take back a record that has begun and has no result: for the next time, or `again` for another machine."""
        if again:
            self._ready.appendleft(task)
        self.concurrency.leave()

    def _note(self, task: BatchTask, result: RecordResult) -> None:
        self._journal.finish(task.position, result.state, result.result, result.timings, result.kind)
        if task.record.conversation is not None:
            self._turns.add(task.record.conversation, task.position, task.record.query, result)
        if result.state == "done":
            self._done += 1
        else:
            self._failed += 1

    def _is_systemic(self, task: BatchTask, result: RecordResult) -> bool:
        """Stop where a failure is no matter of its record; then it and those like it are done again later."""
        kind = "unavailable" if result.kind in UNAVAILABLE else result.kind or ""
        message = json.loads(result.result)["error"]["message"]
        if kind in HOPELESS and result.is_sole:
            self.stop("failure", message)
            return True
        if self.stopped is not None and self.stopped.why == "failure" and kind == self._streak_kind:
            return True  # it was under way when the others had failed in the same way
        if kind != self._streak_kind:
            self._streak.clear()
            self._streak_kind = kind
        self._streak.append(task.position)
        if self._keeps_going or len(self._streak) < STREAK or self.stopped is not None:
            return False
        self._failed -= self._journal.reopen([*self._streak][:-1]) + self._journal.reopen(kind="conversation")
        told = f"{STREAK} records in a row failed in the same way, the last one with: {message}"
        self.stop("failure", f"{told}; `--keep-going` goes on all the same")
        return True

    # Requests

    async def begin_request(
        self, position: int, model: str, method: str, most_tokens: int, most_cost: float | None
    ) -> int | None:
        """Note a request in the journal, and return its number: it may go; `None` where the budget has no room.

        Raises StoreError where the journal cannot be written.
        """
        while not self._has_room(most_tokens, most_cost) and self._reserved[0] > 0:
            await self.concurrency.change()  # those under way use less than they could, mostly
        if not self._has_room(most_tokens, most_cost):
            self.stop("budget", self._budget.refusal(most_tokens, most_cost))
            return None
        self._reserve(most_tokens, most_cost)  # before anybody else looks
        try:
            number = await self._journal.begin_request(position, model, method, most_tokens, most_cost)
        except BaseException:
            self._reserve(-most_tokens, None if most_cost is None else -most_cost)
            raise
        self._open[number] = self.concurrency.begin_request(), most_tokens, most_cost
        self._largest = max(self._largest[0], most_tokens), max(self._largest[1], most_cost or 0.0)
        self._requests += 1
        return number

    def end_request(self, number: int, end: RequestEnd) -> None:
        """Note how a request ended."""
        usage = end.usage
        self._journal.end_request(number, usage)
        pace, most_tokens, most_cost = self._open.pop(number)
        self._reserve(-most_tokens, None if most_cost is None else -most_cost)
        tokens = (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)
        self.concurrency.end_request(
            pace, ok=end.ok, refused=end.refused, tokens=tokens if end.ok else None, quota=end.quota
        )
        if usage.state == "ok":
            self._tokens += tokens
            self._priced += usage.cost is not None
            self._is_priced = self._is_priced and usage.cost is not None
            self._cost += usage.cost or 0.0
        elif usage.state == "unknown":
            self._unknown_tokens += most_tokens
            self._unknown_cost = _sum(self._unknown_cost, most_cost)

    def _has_room(self, tokens: int, cost: float | None) -> bool:
        budget = self._budget
        used = self._tokens + self._unknown_tokens + self._reserved[0] + tokens
        paid = self._cost + (self._unknown_cost or 0.0) + self._reserved[1] + (cost or 0.0)
        return (budget.tokens is None or used <= budget.tokens) and (budget.cost is None or paid <= budget.cost)

    def _reserve(self, tokens: int, cost: float | None) -> None:
        self._reserved = self._reserved[0] + tokens, self._reserved[1] + (cost or 0.0)

    def _is_nearly_spent(self) -> bool:
        """Tell whether what has begun and not asked yet, as large as any was, needs what others may not use."""
        silent = max(1, self.concurrency.in_flight - len(self._open))
        return not self._has_room(silent * self._largest[0], silent * self._largest[1])


def _sum(total: float | None, more: float | None) -> float | None:
    return None if total is None or more is None else total + more
