"""Questions that follow others: what is searched for when a question is asked within a conversation.

A model that writes text of its own is asked once to rewrite the question, so that it can be understood alone. Without
one, or where that fails, the words of the questions before count too. The question that is answered stays as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from attrs import evolve, frozen

from nexus_core.contract.errors import RunError
from nexus_core.contract.protocols import Template
from nexus_core.contract.values import CallOptions, Completion, FollowUp, Message
from nexus_core.engine.calls.call import Allowance, Call
from nexus_core.engine.calls.caller import Caller
from nexus_core.engine.calls.prompt_fitting import reserve
from nexus_core.engine.models import Model, ModelRegistry
from nexus_core.engine.packing.draft import Draft, PackingPolicy
from nexus_core.engine.packing.fixed_parts import turns
from nexus_core.engine.state import NO_ITEMS, Scope, State
from nexus_core.toolkit.text.segmentation import is_blank

GENERATE = "generate"
"""The capability of a model that can rewrite a question."""
SHARE = 5
"""The request may take a fifth of the time that the answer has."""
_TURNS = 3
"""So many turns of the conversation are sent, the newest."""
_MESSAGE = 2_000
"""Characters of each of their messages."""
_LONGEST = 1_000
"""Characters of a rewritten question: what is longer is no question."""
_QUOTES = "\"'`\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"

_log = logging.getLogger(__name__)


@frozen(kw_only=True, eq=False, repr=False)
class QueryRewriter:
    """Finds what is searched for; belongs to a pipeline that says `rewrite: true`."""

    attempts: Caller
    registry: ModelRegistry
    template: Template
    model: str | None
    """The one of the step that gives the answer; `None` is the default."""
    deadline_s: float
    """Of the call that gives the answer."""

    async def __call__(self, state: State, scope: Scope) -> State:
        """Return the state with what is searched for; asks a model at most once."""
        if not state.history:
            return state
        model = self.rewriter(scope)
        if model is not None:
            try:
                answered = await self.attempts.complete(self._call(model, state, scope), scope.emit)
            except RunError as error:
                _log.info("the question was not rewritten, the words of earlier ones count instead: %s", error)
            else:
                rewritten = read_query(answered.completion)
                if rewritten:
                    return evolve(state, searched=rewritten)
        return self.by_words(state)

    def by_words(self, state: State) -> State:
        """Return the state with the words of earlier questions beside those of the question."""
        earlier = [message.text for message in state.history if message.role == "user" and message.text.strip()]
        return evolve(state, searched=FollowUp.after(state.query, earlier)) if earlier else state

    def rewriter(self, scope: Scope) -> Model | None:
        """Return the model that is asked: the one that will answer, if it writes text of its own."""
        wanted = scope.model or self.model
        if wanted is None and self.registry.default is None:
            return None
        model = self.registry.get(wanted)
        return model if GENERATE in model.info.capabilities else None

    def _call(self, model: Model, state: State, scope: Scope) -> Call:
        left_s = scope.left_s()
        seconds = self.deadline_s if left_s is None else min(self.deadline_s, left_s)
        draft = Draft(
            template=self.template,
            ranking=NO_ITEMS,
            query=state.query,
            history=_recent(state.history),
            variables={"inputs": state.inputs, "vars": state.vars},
            policy=PackingPolicy(history_share=1.0),
        )
        return Call(
            id=scope.call_id(),
            run_id=scope.run_id,
            draft=draft,
            chain=(model,),
            purpose="rewrite",
            options=CallOptions(max_tokens=reserve(model.info, CallOptions())),
            allowance=Allowance(said="rewriting takes", requests=1, above=scope.allowance),
            deadline_s=seconds / SHARE,
            is_heard=scope.is_heard,
            owner=scope.owner,
            fresh=scope.fresh,
            trace=scope.trace,
        )


def read_query(completion: Completion) -> str:
    """Return the query that a model has written, on one line; empty where it is none."""
    if completion.finish_reason != "stop" or completion.tool_calls:
        return ""
    text = " ".join(completion.text.split())
    if text[:1] in _QUOTES and text[-1:] in _QUOTES:
        text = text.strip(_QUOTES).strip()
    return text if len(text) <= _LONGEST and not is_blank(text) else ""


def _recent(history: Sequence[Message]) -> tuple[Message, ...]:
    """Return what was said last, as text: images, calls of tools and their results make no query."""
    said = [message for turn in turns(history)[-_TURNS:] for message in turn if message.role != "tool"]
    return tuple([Message(message.role, message.text[:_MESSAGE]) for message in said if message.text])
