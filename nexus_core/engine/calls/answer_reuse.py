"""Answer reuse: what a model with a `cache` has answered is its answer when exactly the same is asked again.

The key is a SHA-256 of everything that decides an answer. Where any part cannot be written as JSON nothing is kept:
nobody could tell whether it is the same. Nothing that goes wrong with the cache costs a run more than a warning.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from hashlib import sha256
from typing import Any

import attrs
from attrs import evolve

from nexus_core.config.spec import ComponentSpec, ModelReference, RecordSpec
from nexus_core.contract.errors import describe_error
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.protocols import AnswerCache
from nexus_core.contract.values import (
    CallOptions,
    Chunk,
    Completion,
    FilePart,
    ImagePart,
    ToolCallDelta,
    Usage,
    Value,
    parts_of,
)
from nexus_core.engine.calls.deadline import Clock
from nexus_core.engine.models import Model
from nexus_core.toolkit.secrets import Secret
from nexus_core.toolkit.text.segmentation import is_blank
from nexus_core.toolkit.tool_calls import are_whole

FORMAT = 1
"""Of the keys: with another one, what was kept before is never given again."""
NO_TOKENS = Usage(prompt_tokens=0, completion_tokens=0)
"""What an answer of the cache has used."""
LOOKUP_S = 2.0
"""A cache that takes longer is passed over: the model is asked."""
REST_S = 10.0
"""So long no answer is looked up after that has failed: each could take as long to fail."""
_OF_ITEMS = ("id", "title", "kind", "tags", "source", "metadata")
"""What of an item counts beside the text that is in the prompt."""
_PIECE = 1_000
"""Characters of a part of a stream."""

_log = logging.getLogger(__name__)


class AnswerReuse:
    """Gives and keeps the answers of models with a `cache`, in what the pipeline was loaded with."""

    def __init__(self, answers: AnswerCache | None, clock: Clock) -> None:
        self._answers = answers
        self._clock = clock
        self._rests_until = 0.0
        self._has_warned = False

    def key(self, model: Model, prompt: Prompt, options: CallOptions) -> str | None:
        """Return the key of a request; `None` where its answer cannot be kept."""
        if self._answers is None:
            self._warn(
                "the `cache` of model %r has no effect: the pipeline was loaded without a place for answers, as in "
                "`Pipeline.load(..., answers=store.answers)`",
                model.name,
            )
            return None
        try:
            return _digest([_group(model), _prompt_json(model, prompt), to_json(options)])
        except Exception as error:  # noqa: BLE001 - the connector's `answer_id` is foreign code
            self._warn("answers of model %r are not kept: %s", model.name, describe_error(error))
            return None

    async def recall(self, model: Model, key: str, owner: str) -> Completion | None:
        """Return the answer that was kept under a key, as one that has used nothing; `None` where there is none."""
        if self._answers is None or model.cache is None or self._clock.now() < self._rests_until:
            return None
        try:
            async with asyncio.timeout(LOOKUP_S):
                found = await self._answers.get(key, owner=owner, expires_s=model.cache.expires_s)
            if found is None or not is_reusable(found):
                return None
            return evolve(found, usage=NO_TOKENS, transfer=None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the model can be asked
            self._warn("the answers that were kept cannot be read, so models are asked: %s", describe_error(error))
            self._rests_until = self._clock.now() + REST_S
            return None

    async def keep(self, model: Model, key: str, owner: str, completion: Completion) -> None:
        """Keep an answer, if it is a whole and good one."""
        policy = model.cache
        if self._answers is None or policy is None or not is_reusable(completion):
            return
        try:
            await self._answers.put(
                key,
                completion,
                owner=owner,
                model=_group(model),
                expires_s=policy.expires_s,
                items=policy.max_items,
                size=policy.max_bytes,
            )
        except Exception as error:  # noqa: BLE001 - the answer is there all the same
            self._warn("an answer could not be kept: %s", describe_error(error))

    def _warn(self, message: str, *about: object) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning(message, *about)


def is_reusable(completion: Completion) -> bool:
    """Tell whether an answer is whole and good: not cut, filtered, empty, or ended for a reason that nobody knows."""
    if completion.native_finish_reason or completion.finish_reason not in ("stop", "tool_calls"):
        return False
    if completion.tool_calls:
        return all(are_whole(call.arguments, completion.finish_reason) for call in completion.tool_calls)
    return completion.finish_reason == "stop" and not is_blank(completion.text)


async def chunks_of(completion: Completion) -> AsyncGenerator[Chunk, None]:
    """Yield an answer of the cache as a stream would bring it: reasoning, text, tool calls, and the end."""
    for start in range(0, len(completion.reasoning), _PIECE):
        yield Chunk(reasoning=completion.reasoning[start : start + _PIECE])
    for start in range(0, len(completion.text), _PIECE):
        yield Chunk(completion.text[start : start + _PIECE])
    for index, call in enumerate(completion.tool_calls):
        yield Chunk(tool_calls=(ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments),))
    yield Chunk(finish_reason=completion.finish_reason, usage=completion.usage, model=completion.model)


def declaration(spec: ComponentSpec) -> str:
    """Return a component with its options as JSON, without the secrets among them.

    Secrets in a mapping are headers and such, which may decide an answer: of those there is a digest.
    """
    return _written(to_json(spec))


def to_json(value: Any) -> Any:
    """Return a value as JSON data that differs where the value does; raises TypeError where it cannot be told.

    The order of a mapping counts: that of a schema is what the model is shown.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case ImagePart(data=data, detail=told) | FilePart(data=data, filename=told):
            return [type(value).__name__, sha256(data).hexdigest(), value.url, value.media_type, told]
        case Secret():
            return sha256(value.reveal().encode("utf-8", "surrogatepass")).hexdigest()
        case ComponentSpec(use=use, options=options):
            return [use, {name: to_json(options[name]) for name in sorted(options) if not _is_secret(options[name])}]
        case RecordSpec(fields=fields):
            return {name: to_json(fields[name]) for name in sorted(fields) if not _is_secret(fields[name])}
        case ModelReference(name=name):
            return name
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                raise TypeError("a mapping whose keys are not all texts")
            return {key: to_json(part) for key, part in value.items()}
        case tuple() | list():
            return [to_json(part) for part in value]
        case Value():
            parts = attrs.fields(type(value))  # type: ignore[arg-type]
            return {part.name: to_json(getattr(value, part.name)) for part in parts if part.eq}
    raise TypeError(f"a {type(value).__name__} is no JSON")


def _is_secret(value: Any) -> bool:
    return isinstance(value, Secret)


def _group(model: Model) -> str:
    """Return a digest of the connector and its model: what bounds are counted by."""
    info = model.info
    # By name: what an interceptor puts in place of an IdentifiedConnector hands on what it does not have.
    more = getattr(model.connector, "answer_id", "")
    return _digest([FORMAT, model.declaration, info.provider, info.id, info.version, more])


def _prompt_json(model: Model, prompt: Prompt) -> list[Any]:
    """Return what a connector may read of a prompt.

    Offline ones answer from the items and their scores; what is sent to a service are the messages, and a score that
    changes because an item was added elsewhere changes nothing of them.
    """
    offline = "offline" in model.info.capabilities
    items = [
        [packed.number, packed.text, packed.whole, packed.score if offline else None]
        + [to_json(getattr(packed.item, name)) for name in _OF_ITEMS]
        for packed in prompt.items
    ]
    sizes = [prompt.window, prompt.reserved, prompt.max_output]
    return [to_json(prompt.messages), prompt.query, to_json(parts_of(prompt.searched)), items, sizes]


def _digest(parts: list[Any]) -> str:
    return sha256(_written(parts).encode("ascii")).hexdigest()


def _written(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
