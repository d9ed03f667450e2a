"""Failover of one call: what it has tried and what it does next. Every decision about failure is made here.

A failure is looked up in the table of reactions by its class alone. Then there are three ways: the same target after a
pause, the next target of the chain, or an end, with the error of the only target or with what each of them said.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING

from attrs import evolve

from nexus_core.contract.answers import AttemptFinished
from nexus_core.contract.errors import (
    ConnectorError,
    DeadlineError,
    EmptyAnswerError,
    NoAnswerError,
    PromptTooLongError,
    RequestCapError,
    RunError,
    SchemaMismatchError,
)
from nexus_core.contract.events import StreamRestarted, Waiting
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import Completion
from nexus_core.engine.calls.attempt import Attempt
from nexus_core.engine.calls.call import Call, CallEnvironment, Emit
from nexus_core.engine.calls.deadline import Deadline, DeadlineShare, is_share, share_of
from nexus_core.engine.calls.failure_policy import FailureReaction, reaction
from nexus_core.engine.calls.retry_budget import retry_delay
from nexus_core.engine.calls.stream_accumulator import StreamAccumulator
from nexus_core.engine.calls.target_request import TargetRequest
from nexus_core.engine.calls.targets import Target
from nexus_core.engine.models import Model

if TYPE_CHECKING:
    from nexus_core.engine.calls.rate_limiter import Admission, RateLimiter

SHORTEST_ATTEMPT_S = 1.0
"""No attempt but the first of a call is begun that has less time than this."""
LONGEST_SHUT_S = 1.0
"""Where every target is left alone, the one that is free first is waited for if it is free so soon."""

_TOO_LONG = FailureReaction(0, "larger", breaker=False)


class Failover:
    """One call on its way: `begin` gives its next attempt, `failed` or `broke_off` decide what comes after it."""

    rows = 0
    """Of the ledger."""
    written = ""
    """What has been shown already of an answer that another target continues."""
    _attempts = 0
    _targets = 0
    """Models that got an attempt."""
    _place = -1
    """Of the target in the chain."""
    _on_target = 0
    """Attempts on it."""
    _wait_s = 0.0
    _queueing = False
    """It has been told that the next attempt waits for the limits of its target."""
    _waited_s = 0.0
    _larger_than = 0
    """In tokens: only a target with a larger window can do better."""
    _continues = False
    _void: StreamRestarted | None = None

    def __init__(self, setting: CallEnvironment, call: Call, emit: Emit, seconds: float) -> None:
        self.setting = setting
        self.call = call
        self.now = setting.clock.now
        self.alone = len(call.chain) == 1
        """The call has no other target."""
        self._emit = emit
        self._request = TargetRequest(setting, call, emit)
        self.is_hurried = call.deadline_s is not None and call.deadline_s < min(seconds, setting.policy.deadline_s)
        """The caller gives less time than the pipeline, so that the shares are shorter, too."""
        if call.deadline_s is not None and call.deadline_s < seconds:
            seconds = call.deadline_s
        self._seconds = seconds
        self._silent_since = now = self.now()
        """No content has come since: what shares are counted from."""
        self._ends_at = now + seconds
        self.deadline = Deadline(setting.timer, seconds, self._out_of_time)
        self._errors: dict[str, RunError] = {}
        """The last of each model, in the order in which they were tried."""

    def end(self) -> None:
        """Note that the call is over."""
        self.deadline.end()
        # Each holds, by its traceback, a frame that holds this: they would stay until a collection.
        self._errors.clear()

    @property
    def waits(self) -> bool:
        """Whether the next attempt comes after a wait that has been told of."""
        return self._wait_s > 0 or self._queueing

    def record(self, row: AttemptFinished) -> None:
        """Enter a row of the ledger: in the figures of the model, and for whoever listens."""
        self.rows += 1
        self.setting.registry.record(row)
        self._emit(row)

    def restarted(self) -> None:
        """Say that what has been shown is void, now that something else comes in its place."""
        if self._void is not None:
            self._emit(self._void)
            self._void = None

    def ended(self, completion: Completion) -> Completion:
        """Return the whole answer of a stream that has come to its end, with what other targets have begun of it."""
        self.restarted()
        return evolve(completion, text=self.written + completion.text) if self.written else completion

    def share(self) -> DeadlineShare | None:
        """Return how long the attempt that begins may be silent while another target is left, `None` where none is.

        Also a stream's is of `deadline`: `stream_deadline` is for what flows, and would keep the next target waiting.
        """
        if self.alone:
            return None
        now, policy = self.now(), self.setting.policy
        left = min(self._attempts_left(), policy.targets - self._targets)
        others = len([None for _ in islice(self._others(now), max(left, 0))])
        if not others:
            return None
        # Waits and the opening of a connector may use up `deadline` where a stream has more time than that.
        silent_s = self._silent_since + policy.deadline_s - now
        left_s = min(self._ends_at - now, silent_s if silent_s > 0 else SHORTEST_ATTEMPT_S)
        seconds, model = left_s / (1 + others), self.call.chain[self._place]
        whole_s = min(self._seconds, policy.deadline_s)
        return share_of(self.setting.timer, seconds, whole_s, model.name, model.info)

    # The next attempt

    def at_once(self) -> Attempt | None:
        """Return the first attempt where nothing has to be waited for, which is the usual case; `None` elsewhere."""
        setting, model = self.setting, self.call.chain[0]
        if model.cache is not None:
            return None
        target = setting.targets.of(model)
        if target.limiter is not None or not target.breaker.closed or not setting.resources.is_open(model.connector):
            return None
        self._place = 0
        try:
            self._request.pack(model, "")
        except (ConnectorError, PromptTooLongError) as error:
            self.failed(error, asked=False)
            return None
        return self._admit(Attempt(self, target))

    async def begin(self) -> Attempt:
        """Wait as decided and return the next attempt; raises what the call ends with where there is none."""
        while (attempt := await self.advance()) is None:
            continue
        return attempt

    async def advance(self) -> Attempt | None:
        """Go one step towards the next attempt; `None` is one that has told of something, such as of a wait to come.

        So the reader of a stream hears of a wait before it is made.
        """
        if self._place < 0:
            if (attempt := await self._reused_first()) is not None:
                return attempt
            self._choose_first()
            if self._place:
                self._request.clear()
            if self.waits:
                return None
        try:
            return await self._ready()
        except (ConnectorError, PromptTooLongError) as error:
            self.failed(error, asked=False)
            return None

    async def _ready(self) -> Attempt | None:
        if self._wait_s:
            await self._pause()
        target = self.setting.targets.of(self.call.chain[self._place])
        attempt = Attempt(self, target)
        if self._request.packed is None and await self._request.reuse(attempt):
            return attempt
        if not self._on_target:
            await attempt.open()
        prompt, _ = self._request.pack(target.model, self.written)
        attempt.key = self._request.key
        if target.limiter is not None:
            attempt.admission = await self._admitted(attempt, target.limiter, prompt)
            if attempt.admission is None:
                return None
        attempt.waited_s, self._waited_s = self._waited_s, 0.0
        return self._admit(attempt)

    async def _reused_first(self) -> Attempt | None:
        """Return an attempt of the first target that its cache answers: its breaker has no say, as nothing is sent."""
        if self.call.chain[0].cache is None:
            return None
        attempt = Attempt(self, self.setting.targets.of(self.call.chain[0]))
        try:
            if not await self._request.reuse(attempt):
                return None
        except (ConnectorError, PromptTooLongError):
            return None  # raised again when it is that target's turn
        self._place = 0
        return attempt

    def _admit(self, attempt: Attempt) -> Attempt:
        """Let an attempt through the breaker and count it."""
        assert self._request.packed is not None
        attempt.prompt, attempt.options = self._request.packed
        target = attempt.target
        attempt.permit = target.breaker.enter(now := self.now(), alone=self.alone)
        if attempt.permit is None:
            attempt.give_back(None, now)
            raise target.closed_off(now, target.breaker.opens_at(now, alone=self.alone))
        if (allowance := self.call.allowance) is not None:
            try:
                attempt.take_from(allowance)
            except RequestCapError:
                attempt.give_back(None, now)
                raise
        self._attempts += 1
        self._on_target += 1
        if self._on_target == 1:
            self._targets += 1
            target.budget.first()
        return attempt

    async def _pause(self) -> None:
        began, wait_s, self._wait_s = self.now(), self._wait_s, 0.0
        await self.setting.clock.sleep(wait_s)
        self._waited_s += self.now() - began

    async def _admitted(self, attempt: Attempt, limiter: RateLimiter, prompt: Prompt) -> Admission | None:
        """Enter the limits of the target, after a wait if need be, but not a long one if there is another target.

        `None` says that there will be a wait: the next time it is made.
        """
        tokens = prompt.tokens_at_most + prompt.reserved
        was_told, self._queueing = self._queueing, False
        found = limiter.try_enter(tokens)
        if not isinstance(found, float):
            return found
        began = self.now()
        left = self._ends_at - began - (SHORTEST_ATTEMPT_S if self._attempts else 0.0)
        if self._other(began) is not None:
            left = min(left, self.setting.policy.patience_s)
        if not was_told and (not isfinite(found) or found <= left):
            self._tell_of_wait(attempt.target.model, "queued", min(found, left))
            self._queueing = True
            return None
        try:
            return await limiter.enter(tokens, left)
        except BaseException:
            with attempt:
                raise
        finally:
            attempt.queued_s = self.now() - began

    def _tell_of_wait(self, model: Model, why: str, wait_s: float) -> None:
        call, time = self.call, self.setting.clock.wall()
        self._emit(Waiting(run_id=call.run_id, time=time, call_id=call.id, model=model.name, why=why, wait_s=wait_s))

    # What comes next

    def failed(self, error: RunError, *, asked: bool = True) -> None:
        """Decide what comes after a failure without any content; raises where nothing does.

        `asked` is false where it failed before the connector was asked: then asking the same again cannot help.
        """
        model, now = self.call.chain[self._place], self.now()
        target, policy = self.setting.targets.of(model), self.setting.policy
        reacts = self._note(error, target, now, asked)
        pause = self._retry_after(error, reacts, target, now) if asked and isinstance(error, ConnectorError) else None
        other = self._other(now) if self._may_move_on(reacts) else None
        if reacts.next_first and other is not None:
            pause = None
        if pause is not None and (other is None or pause <= policy.patience_s):
            if now + pause + SHORTEST_ATTEMPT_S <= self._ends_at:
                if target.budget.take():
                    self._wait(model, error, pause)
                    return
            elif other is None:
                raise self._out_of_time()
        elif pause is not None and isinstance(error, ConnectorError) and error.retry_after_s is not None:
            target.gate(error, now, error.retry_after_s)
        if other is None:
            try:
                self._give_up(error, reacts)
            finally:
                del error  # its traceback holds this frame, and both would stay until a collection
        elif now + SHORTEST_ATTEMPT_S > self._ends_at and not is_share(error):
            raise self._out_of_time()
        else:  # what a share has left is meant for the next, however little it is
            self._turn_to(other)

    def broke_off(self, error: ConnectorError, shown: bool, said: StreamAccumulator) -> None:
        """Decide what becomes of a stream that failed: after its first content it raises the error where it ends."""
        model, now = self.call.chain[self._place], self.now()
        if shown:
            self._silent_since = now
        if not shown or isinstance(error, EmptyAnswerError):
            # Of an empty answer nothing but reasoning was shown, and that is no part of what a reader waits for.
            self._void = self._restart(model, error) if shown else self._void
            try:
                self.failed(error)
            finally:
                del error
            return
        wanted = self.setting.policy.on_stream_failure
        reacts = self._note(error, self.setting.targets.of(model), now, asked=True)
        if wanted == "continue":
            self._continues = True
        # An answer that is whole and does not match its schema cannot be continued.
        goes_on = wanted == "continue" and not isinstance(error, SchemaMismatchError)
        can = wanted == "restart" or (goes_on and bool(said.text) and not said.has_tool_calls)
        other = self._other(now) if can and self._may_move_on(reacts) else None
        if other is None or now + SHORTEST_ATTEMPT_S > self._ends_at:
            try:
                raise error
            finally:
                del error
        if wanted == "continue":
            self.written += said.text.text()
        else:
            self._void = self._restart(model, error)
        self._turn_to(other)

    def _restart(self, model: Model, error: ConnectorError) -> StreamRestarted:
        call, time = self.call, self.setting.clock.wall()
        return StreamRestarted(run_id=call.run_id, time=time, call_id=call.id, model=model.name, kind=error.kind)

    def _note(self, error: RunError, target: Target, now: float, asked: bool) -> FailureReaction:
        self._errors[target.model.name] = error
        if not isinstance(error, ConnectorError):
            reacts = _TOO_LONG
        else:
            reacts = reaction(type(error))
            if reacts.parks and asked:
                target.park(error, now)
        if reacts.onward == "larger":
            self._larger_than = max(self._larger_than, target.model.info.window)
        return reacts

    def _retry_after(self, error: ConnectorError, reacts: FailureReaction, target: Target, now: float) -> float | None:
        """Return the pause before the same target is asked again, or `None` where it is not."""
        if not reacts.retries:
            return None
        policy = target.retry
        pause = retry_delay(error, self._on_target, policy, self.setting.random, at_once=reacts.at_once)
        if pause.gate_s is not None:
            target.gate(error, now, pause.gate_s)
            return None
        allowed = min(policy.attempts, reacts.retries + 1)
        if error.should_retry is False or self._on_target >= allowed or self._is_out_of_attempts():
            return None
        return pause.wait_s

    def _attempts_left(self) -> int:
        left, allowance = self.setting.policy.attempts - self._attempts, self.call.allowance
        return left if allowance is None else min(left, allowance.left(of_component=self.call.asked is not None))

    def _is_out_of_attempts(self) -> bool:
        return self._attempts_left() <= 0

    def _may_move_on(self, reacts: FailureReaction) -> bool:
        policy = self.setting.policy
        if self._is_out_of_attempts() or self._targets >= policy.targets:
            return False
        match reacts.onward:
            case "no":
                return False
            case "if_auth":
                return policy.fallback_on_auth
            case "if_filtered":
                return policy.fallback_on_content_filter
        return True

    def _wait(self, model: Model, error: RunError, wait_s: float) -> None:
        self._wait_s = wait_s
        if wait_s > 0:
            self._tell_of_wait(model, getattr(error, "kind", type(error).__name__), wait_s)

    def _turn_to(self, place: int) -> None:
        self._place = place
        self._on_target = 0
        self._request.clear()
        self._wait_s = 0.0
        self._queueing = False

    def _choose_first(self) -> None:
        if self.setting.targets.of(self.call.chain[0]).breaker.closed:
            self._place = 0
            return
        now = self.now()
        place = self._other(now)
        if place is not None:
            self._place = place
            return
        waits = [self._opens_at(model, now) for model in self.call.chain]
        self._place = waits.index(wait_s := min(waits))
        soonest = self.setting.targets.of(self.call.chain[self._place])
        error = soonest.closed_off(now, wait_s)
        if wait_s > LONGEST_SHUT_S or now + wait_s + SHORTEST_ATTEMPT_S > self._ends_at:
            raise error
        self._wait(soonest.model, error, wait_s)

    def _other(self, now: float) -> int | None:
        """Return the place of the next target that may be asked now."""
        return next(self._others(now), None)

    def _others(self, now: float) -> Iterator[int]:
        """Yield the places of the targets after this one that may be asked now."""
        chain = self.call.chain
        for place in range(self._place + 1, len(chain)):
            info = chain[place].info
            if info.window <= self._larger_than or (self._continues and "continue" not in info.capabilities):
                continue
            if self._opens_at(chain[place], now) <= 0:
                yield place

    def _opens_at(self, model: Model, now: float) -> float:
        return self.setting.targets.of(model).breaker.opens_at(now, alone=self.alone)

    # The end

    def _give_up(self, error: RunError, reacts: FailureReaction) -> None:
        if len(self._errors) == 1 or reacts.onward in ("no", "if_filtered"):
            try:
                raise error
            finally:
                del error
        said = "; ".join(f"{name}: {failure}" for name, failure in self._errors.items())
        raise NoAnswerError(f"no model answered: {said}", list(self._errors.values())) from error

    def _out_of_time(self) -> DeadlineError:
        last = next(reversed(self._errors.values()), None)
        after = f"; the last error was: {last}" if last else ""
        error = DeadlineError(f"no answer within the {self._seconds:.3g} s that the call may take{after}")
        error.__cause__ = last
        return error
