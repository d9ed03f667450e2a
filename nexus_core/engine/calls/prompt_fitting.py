"""What goes to a target: its options, the room for its answer, and the draft packed for its window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from attrs import evolve, fields, frozen

from nexus_core import structured
from nexus_core.contract.errors import NotConfiguredError, PromptTooLongError
from nexus_core.contract.models import ModelInfo
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.protocols import Template
from nexus_core.contract.values import NOTHING_ASKED, CallOptions, Message, TextPart
from nexus_core.engine.models import Model
from nexus_core.engine.packing.fixed_parts import Limit, fixed_parts_of
from nexus_core.engine.packing.packer import Draft, pack, pinned_items
from nexus_core.engine.packing.renderer import Renderer, most_tokens
from nexus_core.toolkit.http.size_limits import sizes_for
from nexus_core.toolkit.suggest import listed
from nexus_core.toolkit.tokens.counter import token_counter

DEFAULT_RESERVE = 1024
"""Tokens kept free for the answer when `max_tokens` is not set, and never more than a quarter of the window."""

_SETTABLE = tuple(part.name for part in fields(CallOptions) if part.name != "extra")


def merge_options(under: CallOptions, over: CallOptions) -> CallOptions:
    """Return `under` with everything that is set in `over`."""
    if over is NOTHING_ASKED or over == NOTHING_ASKED:
        return under
    if under is NOTHING_ASKED or under == NOTHING_ASKED:
        return over
    changes = {name: value for name in _SETTABLE if (value := getattr(over, name)) is not None}
    return evolve(under, **changes, extra={**under.extra, **over.extra})


def reserve(info: ModelInfo, options: CallOptions) -> int:
    """Return how many tokens of the window stay free for the answer."""
    if options.max_tokens is not None:
        return options.max_tokens
    return min(DEFAULT_RESERVE, info.window // 4, info.max_output or DEFAULT_RESERVE)


def most_characters(info: ModelInfo, options: CallOptions) -> int:
    """Return how many characters the answer of a model can have at most, by far, all that it says included."""
    return sizes_for(max(info.max_output or info.window, options.max_tokens or 0)).text


def with_required(model: Model, options: CallOptions, room: int) -> CallOptions:
    """Return the options with what the model must be given: `max_tokens` is what is kept free for the answer.

    Raises NotConfiguredError where another one is missing, since only the pipeline's author knows it.
    """
    missing = [name for name in sorted(model.info.requires) if _is_missing(options, name)]
    if "max_tokens" in missing:
        options = evolve(options, max_tokens=max(room, 1))
        missing.remove("max_tokens")
    if missing:
        raise NotConfiguredError(
            f"the model {model.name!r} must be given {listed(missing)}: set it under its `options`",
            provider=model.info.provider,
            model=model.info.id,
        )
    return options


def drop_unsupported_schema(model: Model, options: CallOptions) -> CallOptions:
    """Return the options without a schema that the model's service cannot hold to: the prompt describes it then."""
    if options.response_schema is None or _holds_to_schema(model.info):
        return options
    return evolve(options, response_schema=None)


def describe_to(model: Model, prompt: Prompt, options: CallOptions) -> Prompt:
    """Return a prompt that is ready made with the schema described, where the model's service cannot hold to it."""
    if options.response_schema is None or _holds_to_schema(model.info):
        return prompt
    return evolve(prompt, messages=_instructed(prompt.messages, structured.describe_schema(options.response_schema)))


def _holds_to_schema(info: ModelInfo) -> bool:
    return "schema" in info.capabilities and "response_schema" not in info.unsupported


def _is_missing(options: CallOptions, name: str) -> bool:
    return getattr(options, name, None) is None and name not in options.extra


def free_tokens(model: Model, draft: Draft, options: CallOptions) -> int:
    """Return the tokens that a target has for more than the draft's fixed parts; 0 where not even these fit."""
    info = model.info
    limit = Limit(window=info.window, reserved=reserve(info, options), max_input=info.max_input)
    page = Renderer(evolve(draft, history=()), info, partial(token_counter, info.encoding), options)
    try:
        return limit.tokens - fixed_parts_of(page.draft, page, limit, pinned_items(draft)).tokens
    except PromptTooLongError:
        return 0


def pack_for(model: Model, draft: Draft, options: CallOptions, *, exact: bool = False, call_id: str = "") -> Prompt:
    """Pack a draft for one target, whose merged options are given; raises PromptTooLongError."""
    info = model.info
    if options.response_schema is not None and not _holds_to_schema(info):
        draft = evolve(draft, template=SchemaDescribed(draft.template, options.response_schema))
        options = drop_unsupported_schema(model, options)
    count = partial(token_counter, info.encoding)
    reserved = reserve(info, options)
    return pack(draft, info, reserved=reserved, counter=count, options=options, exact=exact, call_id=call_id)


@frozen(eq=False, repr=False)
class SchemaDescribed:
    """A template whose instructions end with the JSON Schema that the answer has to match."""

    template: Template
    schema: Mapping[str, Any]

    @property
    def variables(self) -> frozenset[str]:
        """The names that the template reads."""
        return self.template.variables

    def render(self, variables: Mapping[str, Any]) -> Sequence[Message]:
        """Return the template's messages, with the schema in the first of the system, or in one before all others."""
        return _instructed(self.template.render(variables), structured.describe_schema(self.schema))


def _instructed(messages: Sequence[Message], text: str) -> tuple[Message, ...]:
    place = next((index for index, message in enumerate(messages) if message.role == "system"), None)
    if place is None:
        return (Message("system", text), *messages)
    first = messages[place]
    if isinstance(first.content, str):
        first = evolve(first, content=f"{first.content}\n\n{text}")
    else:
        first = evolve(first, content=(*first.content, TextPart(text)))
    return (*messages[:place], first, *messages[place + 1 :])


@frozen(eq=False, repr=False)
class Continued:
    """A template whose last message is the beginning of the answer, for a target that goes on from there."""

    template: Template
    text: str

    @property
    def variables(self) -> frozenset[str]:
        """The names that the template reads."""
        return self.template.variables

    def render(self, variables: Mapping[str, Any]) -> Sequence[Message]:
        """Return the template's messages and the answer so far."""
        return (*self.template.render(variables), Message("assistant", self.text))


def continued(draft: Draft, text: str) -> Draft:
    """Return a draft whose answer has begun with `text`."""
    return evolve(draft, template=Continued(draft.template, text))


def tokens_at_most(info: ModelInfo, prompt: Prompt, options: CallOptions) -> tuple[int, int]:
    """Return the most tokens that a request can use: of its prompt, and of the longest answer that is allowed."""
    asked = prompt.tokens_at_most if prompt.prompt_tokens is None else prompt.prompt_tokens
    asked = asked or most_tokens(info, prompt.messages, options)
    left = (prompt.window or info.window) - asked
    return asked, longest_answer(options, prompt.max_output, info.max_output, left)


def longest_answer(options: CallOptions, *limits: int | None) -> int:
    """Return the tokens that an answer can have at most, of all the choices that are asked for."""
    extra = options.extra
    asked = [options.max_tokens, extra.get("max_completion_tokens"), extra.get("max_output_tokens")]
    told = [most for most in asked if isinstance(most, int) and most > 0]
    longest = max(told) if told else min((limit for limit in limits if limit is not None and limit > 0), default=0)
    choices = extra.get("n")
    return longest * (choices if isinstance(choices, int) and choices > 0 else 1)
