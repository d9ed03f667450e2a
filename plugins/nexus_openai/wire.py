"""Chat completions and legacy completions, as bytes: what the client of the toolkit needs to know of the protocol."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from nexus_core import CallOptions, Completion, Prompt, Transfer
from nexus_core.toolkit import WireFormat
from nexus_openai.connector import OpenAI
from nexus_openai.model_table import ModelEntry
from nexus_openai.model_use import Continues, find_refusal
from nexus_openai.request_body import option_names, write_request
from nexus_openai.response_parsing import read_completion
from nexus_openai.responses import ResponsesWire
from nexus_openai.stream_parsing import StreamReading

_log = logging.getLogger("nexus_openai")


@frozen(kw_only=True)
class WireOptions:
    """How a service speaks the protocol, from the options of the connector."""

    model: str
    chat: bool = True
    include_usage: bool = True
    complete_unconfirmed: bool = False
    continues: Continues | None = None
    strictly: bool = False
    """Call options that the model refuses are an error, not left out."""
    thinks: bool = False
    """Whether the text of the model begins with its reasoning, also where no opening tag comes."""
    entry: ModelEntry = field(repr=False)


class CompletionsWire(WireFormat):
    """Requests to `/chat/completions` or `/completions`, and their answers."""

    enlarging = frozenset({"logprobs", "top_logprobs", "n", "modalities", "audio"})

    def __init__(self, speech: WireOptions) -> None:
        self._speech = speech
        entry = speech.entry
        self._names = option_names(entry.max_tokens_parameter if speech.chat else "max_tokens", entry.unsupported)
        self._whole: Mapping[str, Any] = {"model": speech.model}
        streamed: dict[str, Any] = {"model": speech.model, "stream": True}
        self._streamed: Mapping[str, Any] = (
            {**streamed, "stream_options": {"include_usage": True}} if speech.include_usage else streamed
        )
        self._told_of_tags = False
        self._may_refuse = speech.strictly or entry.endpoint == "embeddings"

    def path(self, *, streamed: bool) -> str:
        """Return the path of the endpoint."""
        return "/chat/completions" if self._speech.chat else "/completions"

    def write(self, prompt: Prompt, options: CallOptions, *, streamed: bool) -> bytes:
        """Return the body of a request."""
        speech, unsupported = self._speech, self._speech.entry.unsupported
        if self._may_refuse:
            refusal = find_refusal(speech.model, speech.entry, options, strictly=speech.strictly)
            if refusal is not None:
                raise refusal
        if unsupported and _log.isEnabledFor(logging.DEBUG):
            left_out = [name for name in sorted(unsupported) if getattr(options, name) is not None]
            _log.debug("%s does not take %s: left out", speech.model, ", ".join(left_out) or "nothing set here")
        start = self._streamed if streamed else self._whole
        return write_request(start, prompt.messages, options, self._names, chat=speech.chat, continues=speech.continues)

    def read(self, data: bytes, transfer: Transfer | None) -> Completion:
        """Return a whole answer."""
        return read_completion(data, transfer, thinks=self._speech.thinks)

    def reading(self) -> StreamReading:
        """Return a reader of one stream."""
        return StreamReading(
            thinks=self._speech.thinks,
            unconfirmed=self._speech.complete_unconfirmed,
            tell_of_tag=self._tell_of_tag,
        )

    def _tell_of_tag(self) -> None:
        """Warn, once for a model, that reasoning may have been streamed as text."""
        if not self._told_of_tags:
            self._told_of_tags = True
            _log.warning(
                "a streamed answer of %s holds the end of a think block that never began, so that its reasoning may "
                "stand in the text: if the model thinks before it answers, set `thinks: true` on it",
                self._speech.model,
            )


def make_wire(connector: OpenAI) -> WireFormat:
    """Return how the service of a connector speaks."""
    entry = connector.entry
    if entry.endpoint == "responses":
        return ResponsesWire(connector.model, entry, strictly=connector.unsupported_options == "error")
    return CompletionsWire(
        WireOptions(
            model=connector.model,
            chat=entry.endpoint != "completions",
            include_usage=connector.include_usage,
            complete_unconfirmed=connector.complete_unconfirmed,
            continues=connector.continues,
            strictly=connector.unsupported_options == "error",
            thinks=entry.thinks if connector.thinks is None else connector.thinks,
            entry=entry,
        )
    )
