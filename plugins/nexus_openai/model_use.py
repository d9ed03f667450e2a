"""How a model is used: what the table knows of it, the options of the pipeline over that, and what it refuses. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from attrs import evolve

from nexus_core import CallOptions, NotConfiguredError
from nexus_core.toolkit import listed
from nexus_openai.model_table import Endpoint, MaxTokensParameter, ModelEntry, find_model, row_of

Continues = Literal["plain", "prefix", "final_message"]
"""How a service is told to go on where a last message of the assistant ends."""
OptionName = Literal[
    "temperature", "max_tokens", "stop", "top_p", "frequency_penalty", "presence_penalty", "tools", "tool_choice",
    "response_schema", "reasoning_effort",
]  # fmt: skip
"""The call options that a model may refuse."""
Capability = Literal["json", "schema", "tools", "vision", "files", "reasoning"]
"""What a pipeline may say that a model can do."""
CHAT_OPTIONS = frozenset({"tools", "tool_choice", "response_schema", "reasoning_effort"})
_LACKING: Mapping[str, frozenset[str]] = {
    "completions": CHAT_OPTIONS,
    "responses": frozenset({"stop", "frequency_penalty", "presence_penalty"}),
}
"""The call options that an endpoint does not take."""
_CHAT_CAPABILITIES = frozenset({"json", "schema", "tools", "vision", "files", "reasoning"})


def resolve_entry(
    model: str,
    *,
    official: bool = True,
    near: bool = False,
    like: str | None = None,
    endpoint: Endpoint | Literal["auto"] = "auto",
    unsupported: Iterable[str] = (),
    max_tokens_parameter: MaxTokensParameter | None = None,
) -> ModelEntry:
    """Return what is known of a model, with what the pipeline says of it over that; the endpoint is settled.

    Services that are not OpenAI's `official` one serve all models by chat completions. Of one that is `near`, in a
    private network, nobody knows with which window a model of open weights was loaded, unless the pipeline says what it
    is `like`.
    """
    entry = row_of(like) if like else find_model(model)
    if entry.open_weights and not like and near:
        entry = entry.defaults
    found: Endpoint = entry.endpoint if endpoint == "auto" else endpoint
    if endpoint == "auto" and found in ("chat", "responses"):
        # Some chat models take tools by the Responses API alone: they are asked there for all.
        found = "responses" if official and "responses" in (found, entry.tools_endpoint) else "chat"
    refused = entry.unsupported | frozenset(unsupported) | _LACKING.get(found, frozenset())
    return evolve(
        entry,
        thinks=entry.thinks or find_model(model).thinks,
        endpoint=found,
        unsupported=refused,
        capabilities=entry.capabilities - _CHAT_CAPABILITIES if found == "completions" else entry.capabilities,
        images=None if found == "completions" else entry.images,
        max_tokens_parameter=max_tokens_parameter or entry.max_tokens_parameter,
    )


def find_refusal(model: str, entry: ModelEntry, options: CallOptions, *, strictly: bool) -> NotConfiguredError | None:
    """Return the error of a call that the model cannot answer, before anything is sent; `None` where it may.

    Call options that it refuses are an error where they are meant `strictly`, else they are left out later.
    """
    if entry.endpoint == "embeddings":
        return _not_configured(f"{model} makes vectors and answers no prompts: choose another model", model)
    if strictly and entry.unsupported:
        given = [name for name in sorted(entry.unsupported) if getattr(options, name) is not None]
        if given:
            return _not_configured(
                f"{model} does not take {listed(given)}: leave that out of its `options`, or set "
                "`unsupported_options: drop`",
                model,
            )
    return None


def _not_configured(message: str, model: str) -> NotConfiguredError:
    return NotConfiguredError(message, provider="openai", model=model)
