"""The public API as type checkers see it: mypy checks this file; a wrong use that it accepts is an unused ignore."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import assert_type

from nexus_core import (
    Answer,
    CallOptions,
    Chunk,
    Completion,
    Connector,
    Event,
    FeatureKey,
    Item,
    Message,
    ModelInfo,
    Pipeline,
    Prompt,
    RankerError,
    RunContext,
    RunFailed,
    RunFinished,
    component,
    option,
    ranker,
    vector_key,
)


async def ask(pipeline: Pipeline) -> Answer:
    """`run` returns an answer; there is nothing to await in `stream` but its events."""
    answer = await pipeline.run("Why?")
    assert_type(answer, Answer)
    assert_type(answer.text, str)
    assert_type(pipeline.stream("Why?"), AsyncIterator[Event])
    async for event in pipeline.stream("Why?"):
        if isinstance(event, RunFinished):
            assert_type(event.answer, Answer | None)
        elif isinstance(event, RunFailed):
            return await pipeline.run(event)  # type: ignore[arg-type]
    return answer


@component
class Echo:
    """A connector as an author writes it."""

    model: str = option("echo-1", help="The id to report.")

    @property
    def model_info(self) -> ModelInfo:
        return ModelInfo(id=self.model, provider="echo", window=8192)

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        return Completion(text=prompt.query, finish_reason="stop")

    async def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncIterator[Chunk]:
        yield Chunk(prompt.query)
        yield Chunk(finish_reason="stop")


def as_connector(echo: Echo) -> Connector:
    """A class with the methods is a connector; one without them is none."""
    wrong: Connector = RankerError("no connector")  # type: ignore[assignment]
    return echo or wrong


@ranker
def shortest(query: str, items: Sequence[Item], *, weight: float = 1.0) -> Sequence[float]:
    """Prefers short items."""
    return [-weight * len(item.text) for item in items]


def test_values_are_frozen_for_type_checkers_and_at_run_time() -> None:
    """A value that could be changed behind the back of a cache would be a bug."""
    message = Message(role="user", content="Why?")
    try:
        message.content = "No."  # type: ignore[misc]
    except AttributeError:
        changed = False
    else:
        changed = True
    assert not changed


def test_a_typed_component_is_a_connector() -> None:
    """What type checkers accept is what runs."""
    assert as_connector(Echo()).model_info.id == "echo-1"


def keep(item: Item) -> None:
    """A feature has the type of its key."""
    assert_type(item.features.get(FeatureKey[int]("acme.lines")), int | None)
    assert_type(item.features.put(vector_key("m"), b""), bytes)
    assert_type(RunContext().bind(item), Item)
