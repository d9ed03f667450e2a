"""What the parts of the connector suite share: how a connector is made, how its service speaks, what may be absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import pytest

from nexus_core.contract.protocols import Connector
from nexus_core.contract.values import CallOptions, FinishReason
from nexus_core.testing.contracts.calls import (
    NO_OPTIONS,
    OPTIONS,
    TEXT,
    TEXTS,
    Ask,
    CallOutcome,
    Scene,
    ask,
    impatient,
    stream,
    with_required,
)
from nexus_core.testing.contracts.suite import Contract, run
from nexus_core.testing.dialect import REFUSALS, Dialect
from nexus_core.testing.script import Step
from nexus_core.testing.upstream import ScriptedUpstream, http_answer, stream_answer

PATIENCE_S = 0.2
"""What an impatient connector waits."""
HOW: Mapping[str, Ask] = {"whole": ask, "streamed": stream}
"""The two ways to call."""
_PROBE = "carrowbeg"
"""A text that looks the same in every encoding."""
_WORDS = {kind.kind: kind for kind in REFUSALS}


class ServiceSuite(Contract):
    """The root of the parts of the connector suite."""

    dialect: ClassVar[Dialect | None] = None
    """How the service speaks; `None` for a connector that makes no request at all."""
    canary: ClassVar[str] = "canary-6f1d0b52c8e94a37"
    """The key that `make` gives the connector: it must reach the service and may be shown nowhere."""
    hooks = frozenset({"absent", "make", "dialect", "canary", "make_impatient"})
    capabilities: ClassVar[Mapping[str, str]] = {
        "streaming": "stream_response yields an answer in parts",
        "usage": "token counts are reported",
        "key": "the service is called with a key",
        "length": "the finish reason tells that an answer was cut at max_tokens",
        "retry_after": "the service's `Retry-After` stands in the error",
        "errors_in_stream": "the service can report an error inside a stream",
        "quirks": "the service's streams come in more than one form",
        "cap": "an endless answer is refused",
        "images": "images are sent by their bytes",
        "image_urls": "images are sent by their address",
        "files": "files are sent by their bytes",
        "tools": "definitions of tools are sent",
        "tool_results": "calls of tools and their results are sent back",
        "tool_calls": "calls of tools that the model asks for are read",
        "schema": "the schema of the answer is sent",
        **{name: f"the call option `{name}`" for name in OPTIONS},
        **{word: f"the service can refuse with what is a {kind.__name__}" for word, kind in _WORDS.items()},
    }

    def make(self, url: str) -> Connector:
        """Return a connector for the service at `url` (up to /v1), with `self.canary` for its key."""
        raise AssertionError("define make(self, url): return your connector, with base_url=url and the key self.canary")

    def make_impatient(self, url: str, seconds: float) -> Connector:
        """Return the same connector, one that waits only for `seconds` wherever it waits for the service.

        By default it is the one of `make` with that time in every option that ends in `timeout_s`.
        """
        return impatient(self.make(url), seconds)

    def _wire(self) -> Dialect:
        """Return how the service speaks; skip the test where there is no service."""
        if self.dialect is None:
            pytest.skip("no wire: `dialect = None`, the connector makes no request")
        return self.dialect

    def _impatient(self, url: str) -> Connector:
        return self.make_impatient(url, PATIENCE_S)

    def _options(self, options: CallOptions = NO_OPTIONS) -> CallOptions:
        """Return options with what the model must be given besides (`ModelInfo.requires`)."""
        return with_required(self.make("http://127.0.0.1:9/v1").model_info, options)

    def _before_text(self) -> int:
        """Return how many pieces of a stream come before its first text; fails where the dialect says none."""
        dialect = self._wire()
        assert _PROBE.encode() in dialect.answer(_PROBE) or dialect.stream((_PROBE,)).first_text is not None, (
            "the dialect's `answer` does not hold the text it was given: write the text into the body"
        )
        stream = dialect.stream((_PROBE, _PROBE))
        if stream.first_text is not None:
            return stream.first_text
        found = [place for place, piece in enumerate(stream.pieces) if _PROBE.encode() in piece]
        assert found, (
            "the dialect's `stream` holds none of the texts it was given: put each into a piece of its own, or say in "
            "`Stream.first_text` how many pieces come before the first"
        )
        return found[0]

    def _script(self, how: str, texts: Sequence[str] = TEXTS, finish_reason: FinishReason = "stop") -> list[Step]:
        """Return a good answer, whole or streamed; nothing where there is no service."""
        if self.dialect is None:
            return []
        if how == "whole":
            return http_answer(self.dialect.answer("".join(texts), finish_reason=finish_reason))
        good = self.dialect.stream(texts, finish_reason=finish_reason)
        return stream_answer(good.pieces, content_type=self.dialect.content_type)

    def _ways(self) -> list[str]:
        """Return the ways to call that there are."""
        return [how for how in HOW if how == "whole" or "streaming" not in self.absent]

    async def _answered(self, how: str, options: CallOptions = NO_OPTIONS) -> tuple[CallOutcome, ScriptedUpstream]:
        """Call a service that answers well."""
        scene = Scene(self.make, *self._script(how))
        outcome = await scene.call(HOW[how], options)
        assert outcome.complete, f"a {how} call that the service answers well ended in {outcome}"
        if self.dialect is not None:
            assert outcome.text == TEXT, f"a {how} answer is {outcome.text!r}, and the service said {TEXT!r}"
        return outcome, scene.upstream

    def _probe(self, capability: str) -> bool:
        if capability in _WORDS:
            return bool(self._wire().refusals("no").get(_WORDS[capability]))
        if capability in OPTIONS:
            self._check_option(capability, "whole")
            return True
        return super()._probe(capability)

    def _check_streaming(self) -> None:
        outcome, _ = run(self._answered("streamed"))
        assert outcome.last is not None
        assert outcome.last.finish_reason is not None

    def _check_usage(self) -> None:
        expected = self._wire().usage
        assert expected.prompt_tokens is not None or expected.completion_tokens is not None, (
            "the dialect's `usage` is empty: declare absent['usage'] if the service reports none"
        )
        for how in self._ways():
            outcome, _ = run(self._answered(how))
            said = getattr(outcome.last, "usage", None)
            assert said is not None, f"{how}: no usage came with the answer"
            counts = (said.prompt_tokens, said.completion_tokens)
            assert counts == (expected.prompt_tokens, expected.completion_tokens), (
                f"{how}: the usage is {counts}, and the service said "
                f"{(expected.prompt_tokens, expected.completion_tokens)}"
            )

    def _check_key(self) -> None:
        self._wire()
        _, upstream = run(self._answered("whole"))
        sent = [f"{request.target} {request.headers} {request.body!r}" for request in upstream.requests]
        assert any(self.canary in text for text in sent), (
            "the request does not hold the key: make() must give self.canary to the connector as its key, "
            "or declare absent['key']"
        )

    def _check_length(self) -> None:
        self._wire()
        for how in self._ways():
            scene = Scene(self.make, *self._script(how, finish_reason="length"))
            outcome = run(scene.call(HOW[how]))
            reason = getattr(outcome.last, "finish_reason", None)
            assert reason == "length", f"{how}: cut at max_tokens, and the finish reason is {reason!r} ({outcome})"

    def _check_option(self, name: str, how: str) -> None:
        dialect = self._wire()
        value = OPTIONS[name]
        _, upstream = run(self._answered(how, CallOptions(**{name: value})))
        sent = dialect.read_request(upstream.requests[0]).options
        expected = value if name == "extra" else {name: list(value) if isinstance(value, tuple) else value}
        for key, wanted in expected.items():
            told = f"{how}: {name}={value!r} was asked and {key}={sent.get(key)!r} was sent"
            assert sent.get(key) == wanted, f"{told}; where the service has no such option, declare {name!r} absent"
