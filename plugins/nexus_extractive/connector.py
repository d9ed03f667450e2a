"""The connector `extractive`: answers with sentences of the packed items, without any model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    ModelInfo,
    ModelPrices,
    Prompt,
    Usage,
    component,
    hookimpl,
    option,
)
from nexus_core.toolkit import AnyLanguage
from nexus_extractive.answer import ENCODING

_AT_ONCE = 50_000
"""Characters of packed text that are gone through without leaving the event loop: some 20 milliseconds."""


@component
class Extractive:
    """Answers with the sentences of the packed items that best match the question, each with its citation."""

    sentences: int = option(3, help="The most sentences, list entries or stretches of code in an answer.", ge=1, le=50)
    min_score: float = option(
        0.3, help="The share of the question's words, rare ones counting more, that a sentence must match.", ge=0, le=1
    )
    language: AnyLanguage = option("auto", help="Whose stems words are compared by; `auto` takes each item's own.")

    @property
    def model_info(self) -> ModelInfo:
        """What stands for a model here; the window is larger than any context."""
        return ModelInfo(
            id="extractive",
            provider="extractive",
            window=1_000_000,
            max_output=4096,
            encoding=ENCODING,
            tokens_per_message=0,
            tokens_per_prompt=0,
            capabilities=frozenset({"streaming", "offline"}),
            prices=ModelPrices(input=0, output=0),
            description="Quotes the packed items; no model, no network.",
        )

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        """Return the whole answer."""
        chunks = [chunk async for chunk in self.stream_response(prompt, options)]
        text = "".join(chunk.text for chunk in chunks)
        return Completion(
            text=text, finish_reason=chunks[-1].finish_reason or "stop", usage=Usage(), model="extractive"
        )

    async def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncIterator[Chunk]:
        """Yield the answer, one sentence a chunk."""
        # What scores sentences is imported with the first question, not when the component is declared.
        import asyncio

        from nexus_extractive.answer import answer

        settings = (self.sentences, self.min_score, self.language)
        if sum(len(packed.text) for packed in prompt.items) > _AT_ONCE:
            pieces, reason = await asyncio.to_thread(answer, prompt, options, *settings)
        else:
            pieces, reason = answer(prompt, options, *settings)
        for piece in pieces:
            yield Chunk(piece)
        yield Chunk(finish_reason=reason, usage=Usage(), model="extractive")


@hookimpl
def nexus_connectors() -> Iterable[type]:
    """Yield the connector `extractive`."""
    return [Extractive]
