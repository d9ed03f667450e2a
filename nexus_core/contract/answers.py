"""The result of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from nexus_core.contract.events import AttemptFinished
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.value import Value
from nexus_core.contract.values import FinishReason, ToolCall, Usage


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Answer(Value):
    """What a run answered, by whom, from what, at which cost."""

    id: str
    query: str
    """As the user asked it."""
    text: str
    finish_reason: FinishReason
    model: str
    """The name in the pipeline of the model that answered."""
    model_id: str
    """The model as its service calls it."""
    usage: Usage
    """Of the attempt that answered."""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    duration_s: float
    prompt: Prompt
    attempts: tuple[AttemptFinished, ...] = ()
    """Of the whole run, failed ones included, in order."""
    variables: Mapping[str, Any] = field(factory=dict)
    """What the steps kept with `as:`."""
    context_id: str | None = None
    conversation_id: str | None = None
    native_finish_reason: str = ""
    """The service's own word for the end, where nobody knows it: the answer may not be whole."""
