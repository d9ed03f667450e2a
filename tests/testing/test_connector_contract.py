"""The connector suite can fail: a wrong connector fails the test that is there for its fault, a right one none."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, ClassVar, Self

import aiohttp
import attrs
import pytest
from nexus_openai.connector import OpenAI

from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    ConnectError,
    ConnectorError,
    ModelInfo,
    Prompt,
    ProtocolError,
    QuotaError,
    RateLimitError,
    Secret,
    ServerError,
    TruncatedError,
    UpstreamTimeoutError,
    Usage,
)
from nexus_core.testing import ConnectorContract, OpenAIDialect, watching
from nexus_core.testing.contracts import answering
from nexus_core.testing.contracts.calls import impatient

pytestmark = pytest.mark.slow

KEY = ConnectorContract.canary


class Right:
    """Passes everything on to the right one."""

    def __init__(self, inner: OpenAI) -> None:
        self.inner = inner

    @property
    def model_info(self) -> ModelInfo:
        return self.inner.model_info

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> None:
        await self.inner.__aexit__(*failure)

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        return await self.inner.send_prompt(prompt, options)

    async def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncGenerator[Chunk, None]:
        async with aclosing(self.inner.stream_response(prompt, options)) as chunks:
            async for chunk in chunks:
                yield chunk


class Retries(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        with suppress(ServerError):
            return await self.inner.send_prompt(prompt, options)
        return await self.inner.send_prompt(prompt, options)


class RetriesLostConnections(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        with suppress(ConnectError):
            return await self.inner.send_prompt(prompt, options)
        return await self.inner.send_prompt(prompt, options)


class SwallowsTruncation(Right):
    fault: ClassVar[type[ConnectorError]] = TruncatedError

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        try:
            return await self.inner.send_prompt(prompt, options)
        except self.fault:
            return Completion(text="", finish_reason="stop")

    async def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncGenerator[Chunk, None]:
        try:
            async for chunk in super().stream_response(prompt, options):
                yield chunk
        except self.fault:
            yield Chunk(finish_reason="stop")


class SwallowsStalls(SwallowsTruncation):
    fault = UpstreamTimeoutError


class SwallowsErrors(SwallowsTruncation):
    fault = ConnectorError


class TakesAnyObject(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        try:
            return await self.inner.send_prompt(prompt, options)
        except ProtocolError as error:
            if "no valid JSON" in str(error):
                raise
            return Completion(text="", finish_reason="stop")


class RaisesItsOwn(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        try:
            return await self.inner.send_prompt(prompt, options)
        except ConnectorError as error:
            raise ValueError(str(error)) from None


class TakesQuotaForRate(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        try:
            return await self.inner.send_prompt(prompt, options)
        except QuotaError as error:
            raise RateLimitError("slow down", provider="p", model="m", status=error.status) from None


class ForgetsDetails(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        try:
            return await self.inner.send_prompt(prompt, options)
        except ConnectorError as error:
            raise type(error)("it failed") from None


class Shows(Right):
    def __repr__(self) -> str:
        return f"Shows({self.inner.api_key.reveal() if self.inner.api_key else ''})"


class ShowsInErrors(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        try:
            return await self.inner.send_prompt(prompt, options)
        except ConnectorError as error:
            raise type(error)(f"failed with key {KEY}") from None


class ShowsInChains(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        try:
            return await self.inner.send_prompt(prompt, options)
        except ConnectorError as error:
            raise type(error)("it failed") from ValueError({"Authorization": f"Bearer {KEY}"})


class ShowsThePrompt(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        try:
            return await self.inner.send_prompt(prompt, options)
        except ConnectorError as error:
            raise type(error)(f"could not send {prompt.messages[-1].content}") from None


class Logs(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        logging.getLogger("wrong").debug("sending with %s", KEY)
        return await self.inner.send_prompt(prompt, options)


class Leaks(Right):
    async def __aexit__(self, *failure: Any) -> None:
        return


class LeaksTasks(Right):
    async def __aenter__(self) -> Self:
        self.task = asyncio.ensure_future(asyncio.sleep(60))
        return await super().__aenter__()


class HoldsOn(Right):
    held: ClassVar[list[Any]] = []

    async def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncGenerator[Chunk, None]:
        chunks = self.inner.stream_response(prompt, options)
        self.held.append(chunks)
        async for chunk in chunks:
            yield chunk


class SwallowsCancel(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        try:
            return await self.inner.send_prompt(prompt, options)
        except asyncio.CancelledError:
            return Completion(text="", finish_reason="stop")


class Collects(Right):
    async def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncGenerator[Chunk, None]:
        for chunk in [chunk async for chunk in super().stream_response(prompt, options)]:
            yield chunk


class EndsWithoutReason(Right):
    async def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncGenerator[Chunk, None]:
        async for chunk in super().stream_response(prompt, options):
            yield attrs.evolve(chunk, finish_reason=None)


class GoesOnAfterTheEnd(Right):
    async def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncGenerator[Chunk, None]:
        async for chunk in super().stream_response(prompt, options):
            yield chunk
        yield Chunk("")


class AlwaysStops(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        return attrs.evolve(await self.inner.send_prompt(prompt, options), finish_reason="stop")


class LosesLetters(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        completion = await self.inner.send_prompt(prompt, options)
        return attrs.evolve(completion, text=completion.text.encode("ascii", "replace").decode())

    async def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncGenerator[Chunk, None]:
        async for chunk in super().stream_response(prompt, options):
            yield attrs.evolve(chunk, text=chunk.text.strip())


class DropsOptions(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        return await self.inner.send_prompt(prompt, CallOptions())


class HasDefaults(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        return await self.inner.send_prompt(prompt, attrs.evolve(options, temperature=options.temperature or 1.0))


class SendsTheLastMessage(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        return await self.inner.send_prompt(attrs.evolve(prompt, messages=prompt.messages[-1:]), options)


class CountsNothing(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        completion = await self.inner.send_prompt(prompt, options)
        return attrs.evolve(completion, usage=Usage(prompt_tokens=0, completion_tokens=0))


class MixesCalls(Right):
    text = ""

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        text = (await self.inner.send_prompt(prompt, options)).text
        self.text += text
        return Completion(text=self.text, finish_reason="stop")


class BelongsToOneLoop(Right):
    loop: Any = None

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        self.loop = self.loop or asyncio.get_running_loop()
        if self.loop is not asyncio.get_running_loop():
            raise RuntimeError("attached to a different loop")
        return await self.inner.send_prompt(prompt, options)


class KnowsNoWindow(Right):
    @property
    def model_info(self) -> ModelInfo:
        return attrs.evolve(self.inner.model_info, window=0)


class AsksWhenOpened(Right):
    async def __aenter__(self) -> Self:
        async with aiohttp.ClientSession() as session:
            with suppress(aiohttp.ClientError, TimeoutError):
                await session.get(f"{self.inner.base_url}/models", timeout=aiohttp.ClientTimeout(total=0.1))
        return await super().__aenter__()


class SaysItWasSent(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        try:
            return await self.inner.send_prompt(prompt, options)
        except ConnectError as error:
            error.request_sent = True
            raise


class Naive(Right):
    """As one writes it in ten minutes: nothing is limited, nothing is mapped, redirects are followed."""

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        key = self.inner.api_key.reveal() if self.inner.api_key else ""
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session,
            session.post(f"{self.inner.base_url}/chat/completions", json={"messages": []}) as response,
        ):
            body = json.loads(await response.read() or b"{}")
            return Completion(text=body["choices"][0]["message"]["content"], finish_reason="stop")


class OtherForm(OpenAIDialect):
    """Says something else in one of its forms, as a form does that is not understood."""

    def quirks(self, texts: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        return {**super().quirks(texts), "odd": self.stream(["something else"]).pieces}


def suite_of(wrong: Callable[[OpenAI], Any], dialect: OpenAIDialect | None) -> ConnectorContract:
    spoken = dialect

    class TestWrong(ConnectorContract):
        dialect = spoken

        def make(self, url: str) -> Any:
            return wrong(OpenAI(model="test-model", base_url=url, api_key=Secret(self.canary)))

        def make_impatient(self, url: str, seconds: float) -> Any:
            made = OpenAI(model="test-model", base_url=url, api_key=Secret(self.canary))
            return wrong(impatient(made, seconds))  # type: ignore[arg-type]

    return TestWrong()


FAULTS: list[tuple[type[Right], str, dict[str, Any]]] = [
    (Retries, "test_one_request_for_each_call", {}),
    (Retries, "test_refusal_is_of_its_class", {"kind": "server_error"}),
    (RetriesLostConnections, "test_a_stale_connection_costs_no_second_request", {}),
    (RetriesLostConnections, "test_connection_lost_before_an_answer_is_a_connect_error", {}),
    (SwallowsTruncation, "test_cut_stream_is_never_an_answer", {"ending": "end"}),
    (SwallowsTruncation, "test_cut_stream_is_never_an_answer", {"ending": "fin"}),
    (SwallowsTruncation, "test_cut_stream_is_never_an_answer", {"ending": "reset"}),
    (SwallowsTruncation, "test_cut_answer_is_never_an_answer", {"ending": "no length"}),
    (SwallowsTruncation, "test_cut_answer_is_never_an_answer", {"ending": "fin"}),
    (SwallowsStalls, "test_cut_stream_is_never_an_answer", {"ending": "silence"}),
    (SwallowsStalls, "test_silence_ends_in_time", {"where": "in the body"}),
    (SwallowsErrors, "test_error_inside_a_stream_is_of_its_class", {}),
    (SwallowsErrors, "test_nobody_there_is_a_connect_error", {}),
    (SwallowsErrors, "test_endless_answer_is_refused", {}),
    (TakesAnyObject, "test_garbage_is_a_connector_error", {"garbage": "other JSON"}),
    (RaisesItsOwn, "test_garbage_is_a_connector_error", {"garbage": "web page"}),
    (RaisesItsOwn, "test_refusal_is_of_its_class", {"kind": "auth"}),
    (TakesQuotaForRate, "test_refusal_is_of_its_class", {"kind": "quota"}),
    (ForgetsDetails, "test_refusal_is_of_its_class", {"kind": "overloaded"}),
    (ForgetsDetails, "test_the_wait_that_the_service_asks_for_is_told", {}),
    (Shows, "test_secrets_are_never_shown", {}),
    (ShowsInErrors, "test_secrets_are_never_shown", {}),
    (ShowsInChains, "test_secrets_are_never_shown", {}),
    (ShowsThePrompt, "test_secrets_are_never_shown", {}),
    (Logs, "test_secrets_are_never_shown", {}),
    (Leaks, "test_connector_leaves_nothing_behind", {}),
    (LeaksTasks, "test_connector_leaves_nothing_behind", {}),
    (HoldsOn, "test_left_stream_closes_its_connection", {}),
    (SwallowsCancel, "test_cancelled_call_closes_its_connection", {"phase": "before the first byte"}),
    (Collects, "test_stream_comes_as_it_is_sent", {}),
    (EndsWithoutReason, "test_finish_reason_is_always_told", {}),
    (GoesOnAfterTheEnd, "test_finish_reason_is_always_told", {}),
    (AlwaysStops, "test_finish_reason_tells_of_a_cut_at_max_tokens", {}),
    (LosesLetters, "test_call_returns_the_whole_answer", {}),
    (LosesLetters, "test_stream_returns_the_whole_answer", {}),
    (LosesLetters, "test_stream_is_the_same_in_every_cut", {}),
    (DropsOptions, "test_option_reaches_the_service", {"name": "stop"}),
    (DropsOptions, "test_option_reaches_the_service", {"name": "extra"}),
    (HasDefaults, "test_options_that_are_not_set_are_not_sent", {}),
    (SendsTheLastMessage, "test_messages_reach_the_service", {}),
    (CountsNothing, "test_usage_is_that_of_the_service", {}),
    (MixesCalls, "test_calls_do_not_disturb_each_other", {}),
    (BelongsToOneLoop, "test_connector_serves_one_loop_after_another", {}),
    (KnowsNoWindow, "test_model_info_is_sane", {}),
    (AsksWhenOpened, "test_model_info_is_sane", {}),
    (SaysItWasSent, "test_nobody_there_is_a_connect_error", {}),
    (Naive, "test_redirect_is_not_followed", {}),
    (Naive, "test_cut_answer_is_never_an_answer", {"ending": "reset"}),
    (Naive, "test_garbage_is_a_connector_error", {"garbage": "nothing"}),
]


@pytest.mark.parametrize(
    ("wrong", "name", "case"), FAULTS, ids=[f"{row[0].__name__}-{row[1]}-{'-'.join(row[2].values())}" for row in FAULTS]
)
def test_wrong_connector_fails_its_test(
    wrong: type[Right], name: str, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The suite finds the fault by the test that is there for it; the same test passes the right connector."""
    getattr(suite_of(Right, OpenAIDialect()), name)(**case)
    # What never goes is not waited for as long as what may go late.
    monkeypatch.setattr(watching, "SETTLE_S", 0.2)
    monkeypatch.setattr(answering, "_LATE_S", 0.5)
    with pytest.raises(AssertionError):
        getattr(suite_of(wrong, OpenAIDialect()), name)(**case)
    HoldsOn.held.clear()


def test_form_that_is_not_understood_fails() -> None:
    """A form in which the dialect says the texts, and that is read otherwise, is named."""
    with pytest.raises(AssertionError, match="odd"):
        suite_of(Right, OtherForm()).test_stream_is_the_same_in_every_form()


def test_connector_with_a_service_needs_a_dialect() -> None:
    """`dialect = None` does not excuse a connector that calls a service from the suite."""
    with pytest.raises(AssertionError, match=r"hangs|called the service|ended in"):
        suite_of(Shortly, None).test_connector_makes_no_connection_without_a_dialect()


class Shortly(Right):
    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                return await self.inner.send_prompt(prompt, options)
        return Completion(text="", finish_reason="stop")


def test_missing_make_says_what_to_define() -> None:
    """A suite without its hook says which."""
    with pytest.raises(AssertionError, match=r"define make\(self, url\)"):
        ConnectorContract().test_it_is_a_connector()


def test_refusal_that_the_dialect_lacks_must_be_declared() -> None:
    """A class of refusal is neither skipped nor passed where the dialect says nothing of it."""

    class Poor(OpenAIDialect):
        def refusals(self, message: str) -> Any:
            return {}

    with pytest.raises(AssertionError, match="the dialect has no refusal that is a QuotaError"):
        suite_of(Right, Poor()).test_refusal_is_of_its_class("quota")
