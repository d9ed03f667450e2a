"""What is known of a model: its window, what it takes and requires, how it counts, and what it costs."""

from __future__ import annotations

from math import isfinite
from typing import Any, Literal

import attrs
from attrs import field, frozen

from nexus_core.contract.values import Usage, Value


def _is_price(prices: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ValueError(f"`{attribute.name}` of ModelPrices must be a finite number of at least 0, not {value!r}")


def _price_of(name: str) -> Any:
    """Declare a price that is another one where nothing is said."""
    same = attrs.Factory(lambda prices: getattr(prices, name), takes_self=True)
    return field(default=same, validator=_is_price)


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ModelPrices(Value):
    """What a model costs, in US dollars per million tokens."""

    input: float = field(validator=_is_price)
    output: float = field(validator=_is_price)
    cached: float = _price_of("input")
    """Of those tokens of the prompt that the service had at hand; by default as any other of the prompt."""
    reasoning: float = _price_of("output")
    """Of those tokens of the completion that were thought and not said; by default as any other of the completion."""
    long_from: int | None = None
    """A prompt of more tokens than this costs `long`, with all its tokens and those of its completion."""
    long: ModelPrices | None = None

    def cost(self, usage: Usage) -> float | None:
        """Return what one attempt costs, in US dollars; `None` where its tokens are not known.

        Cached tokens are a part of the prompt's and reasoning tokens a part of the completion's, as OpenAI counts them
        and the connector `openai` reads them. Those that are not told are charged as the others. Where a part is more
        than its whole the service counts differently, and what it charges is not known.
        """
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        if prompt is None or completion is None:
            return None
        cached, reasoning = max(usage.cached_tokens or 0, 0), max(usage.reasoning_tokens or 0, 0)
        if cached > prompt or reasoning > completion:
            return None
        prices = self._for(prompt)
        spent = (prompt - cached) * prices.input + cached * prices.cached
        return (spent + (completion - reasoning) * prices.output + reasoning * prices.reasoning) / 1_000_000

    def bound_cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the most that a prompt can cost, in US dollars, before it is sent.

        Nothing of it is cached, and the completion, as long as what is reserved for it, costs the dearer of output and
        reasoning.
        """
        prices = self._for(prompt_tokens)
        spent = prompt_tokens * max(prices.input, prices.cached)
        return (spent + completion_tokens * max(prices.output, prices.reasoning)) / 1_000_000

    def _for(self, prompt_tokens: int) -> ModelPrices:
        if self.long is None or self.long_from is None or prompt_tokens <= self.long_from:
            return self
        return self.long._for(prompt_tokens)


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ImageTokens(Value):
    """How a service counts the tokens of an image, by its published formula; see `nexus_core.toolkit.count_image`.

    `fixed`: `base` for each. `tiles` (OpenAI): fitted into `longest` x `longest` pixels, then its shorter side to
    `shortest`, `per_tile` for each tile of `tile` pixels, and `base`; with low detail `base` alone. `patches` (OpenAI):
    patches of `tile` pixels, at most `patches`, times `factor`. `area` (Anthropic): `base` and pixels / `per_token`
    after fitting the longer side into `longest`. `crops` (Gemini): `per_tile` for each square whose side is two thirds
    of the shorter one; an image of at most `shortest` pixels on each side is one.
    """

    formula: Literal["fixed", "tiles", "patches", "area", "crops"]
    at_most: int
    """Of any image: what one counts whose size is not known."""
    base: int = 0
    per_tile: int = 0
    tile: int = 512
    longest: int = 2048
    shortest: int = 768
    patches: int = 1536
    factor: float = 1.0
    per_token: float = 750.0


def _is_set(info: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, str):  # it would be taken for a set of its letters
        raise TypeError(f"`{attribute.name}` of a ModelInfo is a set of names, not the text {value!r}")


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ModelInfo(Value):
    """What is known of a model. Window, max input and max output are three figures, in tokens."""

    id: str
    provider: str
    window: int
    """Prompt and answer together."""
    max_input: int | None = None
    """The longest prompt, where the service limits it apart from the window."""
    max_output: int | None = None
    """The longest answer, where the service limits it apart from the window."""
    encoding: str = "approximate"
    """The tokenizer by name (`o200k_base`, `cl100k_base`), or `approximate`."""
    tokens_per_message: int = 3
    """What the chat format adds to each message, in tokens."""
    tokens_per_prompt: int = 3
    """What the chat format adds once, in tokens."""
    capabilities: frozenset[str] = field(default=frozenset(), validator=_is_set)
    """Out of `streaming`, `json`, `schema` (it holds to a JSON Schema), `tools`, `vision`, `files`, `reasoning`,
    `offline`, `generate` (it writes text of its own, so that it can rewrite a question) and `continue` (it goes on
    where a last message of the assistant ends)."""
    unsupported: frozenset[str] = field(default=frozenset(), validator=_is_set)
    """The call options that the model refuses, by their names in `CallOptions`: the connector leaves them out."""
    joins_roles: bool = False
    """The model takes no two messages of one role in a row: the engine joins them."""
    image_tokens: ImageTokens | None = None
    """`None` where it takes no images, or nobody knows how it counts them."""
    file_tokens_at_most: int | None = None
    """Of any file that a message may hold; `None` where it takes none."""
    tool_tokens: int = 0
    """What tools add once to a prompt beside their definitions, in tokens."""
    endpoint: str = ""
    """The endpoint of the service that the model needs, where there are several: `chat`, `responses`."""
    requires: frozenset[str] = field(default=frozenset(), validator=_is_set)
    """The call options that each request must have, by their names in `CallOptions` or as keys of `extra`.

    The engine gives `max_tokens` by itself, as many as it keeps free for the answer, so that prompt and answer never
    exceed the window. Any other must stand in the `options` of the model, else the call raises `NotConfiguredError`
    before anything is sent.
    """
    version: str = ""
    description: str = ""
    prices: ModelPrices | None = None
    """Where they are known at once; a connector that has to look them up is a `PricedConnector`."""
