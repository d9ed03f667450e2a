"""The ledger: what a row holds, and that there is exactly one for each request."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from nexus_core import (
    AttemptFinished,
    Chunk,
    Completion,
    ConnectError,
    RateLimitError,
    ServerError,
    StalledError,
    ToolCall,
    Transfer,
    TruncatedError,
    Usage,
)
from nexus_core.config.policies import RetryPolicy

ONCE = RetryPolicy(attempts=1)
ZERO = Usage(prompt_tokens=0, completion_tokens=0)


def tokens(row: AttemptFinished) -> tuple[int | None, int | None, str]:
    return row.prompt_tokens, row.completion_tokens, row.usage_source


def test_a_row_holds_all_that_is_known(bench: Any, fake: Any) -> None:
    """Every field of the row, from an answer that tells all of it."""
    transfer = Transfer(status=200, first_byte_s=0.25, bytes_received=512, events=0)
    usage = Usage(prompt_tokens=70, completion_tokens=30, reasoning_tokens=20, cached_tokens=40)
    tried = bench(fake([1.5, Chunk("Because.", "stop", usage, "m", transfer=transfer)]))
    tried.complete()
    [row] = tried.rows
    assert (row.call_id, row.number, row.model, row.model_id, row.outcome) == ("c", 1, "m0", "fake", "ok")
    assert (row.status, row.bytes_received, row.events, row.first_byte_s) == (200, 512, 0, 0.25)
    assert (*tokens(row), row.reasoning_tokens, row.cached_tokens) == (70, 30, "provider", 20, 40)
    assert (row.duration_s, row.queued_s, row.waited_s, row.request_sent) == (1.5, 0.0, 0.0, True)
    assert row.answered_by == "m"


def test_a_stream_tells_its_first_byte_and_its_first_content(bench: Any, fake: Any) -> None:
    """Fault 59: the head of the answer and its first word are two moments, and a role is neither."""
    transfer = Transfer(status=200)
    chunks = [0.5, Chunk(transfer=transfer), 1.0, Chunk("Be"), 2.0, Chunk("cause."), Chunk(finish_reason="stop")]
    tried = bench(fake(chunks))
    tried.stream()
    assert (tried.rows[0].first_byte_s, tried.rows[0].first_content_s, tried.rows[0].duration_s) == (0.5, 1.5, 3.5)


def test_a_failed_row_tells_what_the_service_said(bench: Any, fake: Any) -> None:
    """Status, the service's own word, and what came over the wire until then."""
    transfer = Transfer(status=429, bytes_received=90)
    tried = bench(fake(RateLimitError("slow down", status=429, code="rpm", transfer=transfer)), retry=ONCE)
    with pytest.raises(RateLimitError):
        tried.complete()
    [row] = tried.rows
    assert (row.outcome, row.status, row.code, row.error, row.bytes_received) == (
        "rate_limit", 429, "rpm", "slow down", 90,
    )  # fmt: skip
    assert tokens(row) == (None, None, "provider")  # what is refused costs nothing


def test_a_connection_that_could_not_be_made_has_reached_nobody(bench: Any, fake: Any) -> None:
    """The row says so, and the figures of the model leave it out."""
    tried = bench(fake(ConnectError("refused", request_sent=False)), retry=ONCE)
    with pytest.raises(ConnectError):
        tried.complete()
    assert [row.request_sent for row in tried.rows] == [False]
    assert tried.registry.usage()["m0"].requests == 0


def test_zero_tokens_are_a_figure(bench: Any, fake: Any) -> None:
    """Fault 79: what the service counts as nothing is not replaced by an estimate; what it does not tell is."""
    tried = bench(fake("Because.", usage=ZERO))
    assert tried.complete().completion.usage == ZERO
    assert tokens(tried.rows[0]) == (0, 0, "provider")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(Usage(), (11, 3, "estimated"), id="nothing"),
        pytest.param(Usage(prompt_tokens=70), (70, 3, "mixed"), id="prompt"),
        pytest.param(Usage(completion_tokens=0), (11, 0, "mixed"), id="completion"),
    ],
)
def test_usage_that_the_service_does_not_tell_is_estimated_and_marked(
    bench: Any, fake: Any, usage: Usage, expected: Any, streamed: bool
) -> None:
    """The prompt by its messages, the answer by its text; in the row, and in the answer."""
    tried = bench(fake("Because.", usage=usage))
    answered = tried.stream()[1] if streamed else tried.complete()
    assert tokens(tried.rows[0]) == expected
    found = answered.completion.usage
    assert (found.prompt_tokens, found.completion_tokens, found.source) == expected
    assert tried.registry.usage()["m0"].estimated == 1


def test_reasoning_and_tool_calls_are_counted_too(bench: Any, fake: Any) -> None:
    """They were generated, whoever reads them."""
    call = ToolCall(id="x", name="find", arguments='{"query": "leave"}')
    plain, full = Completion(text="So.", finish_reason="stop"), Completion(
        text="So.", finish_reason="stop", reasoning="Let me think about it.", tool_calls=(call,)
    )  # fmt: skip
    tried = bench(fake(plain, full))
    tried.complete()
    tried.complete()
    assert (tried.rows[1].completion_tokens or 0) > (tried.rows[0].completion_tokens or 0) + 8


def test_leaving_a_stream_leaves_what_was_received_in_the_ledger(bench: Any, fake: Any) -> None:
    """Fault 78: whoever leaves after k words has used the prompt and k words, and is no failure."""
    found = []
    for count in (1, 2, 4):
        tried = bench(fake("one two three four five"))
        tried.leave_after(count)
        [row] = tried.rows
        assert (row.outcome, row.prompt_tokens, row.usage_source) == ("cancelled", 11, "estimated")
        assert tried.registry.usage()["m0"].outcomes == {"cancelled": 1}
        found.append(row.completion_tokens)
    assert found == sorted(set(found))


def test_usage_that_came_before_the_end_is_used(bench: Any, fake: Any) -> None:
    """Some services tell their counts with every chunk: the last one stands, and none are added up."""
    chunks = [Chunk("one ", usage=Usage(prompt_tokens=7, completion_tokens=n)) for n in range(1, 4)]
    tried = bench(fake([*chunks, TruncatedError("cut")]))
    with pytest.raises(TruncatedError):
        tried.stream()
    assert tokens(tried.rows[0]) == (7, 3, "provider")


@pytest.mark.parametrize(
    ("script", "counted"),
    [
        pytest.param([Chunk("one two"), ServerError("no")], True, id="after-content"),
        pytest.param([TruncatedError("cut")], True, id="truncated"),
        pytest.param([StalledError("slow")], True, id="stalled"),
        pytest.param([ServerError("no")], False, id="refused"),
        pytest.param([TruncatedError("cut", request_sent=False)], False, id="never-sent"),
    ],
)
def test_what_a_failed_attempt_has_used_is_estimated(bench: Any, fake: Any, script: Any, counted: bool) -> None:
    """A service that has begun to answer has read the prompt; one that refuses has not."""
    tried = bench(fake(script), retry=ONCE)
    with pytest.raises((ServerError, TruncatedError, StalledError)):
        tried.stream()
    assert (tried.rows[0].prompt_tokens is not None) == counted


def test_a_row_is_left_where_tokens_cannot_be_counted(bench: Any, fake: Any) -> None:
    """A crash of the accounting costs a figure and no row, and no answer."""
    from attrs import evolve

    tried = bench(fake("Because.", usage=Usage()))
    model = evolve(tried.models[0], info=evolve(tried.models[0].info, encoding="no-such"))
    tried.call = evolve(tried.call, chain=(model,))
    assert tried.complete().completion.text == "Because."
    assert [tokens(row) for row in tried.rows] == [(None, None, "provider")]


def test_a_listener_that_raises_costs_no_figure_and_no_slot(bench: Any, fake: Any) -> None:
    """The figures of the model are written and the slots given back before anybody is told."""
    tried = bench(fake("Because."))

    def emit(event: Any) -> None:
        if isinstance(event, AttemptFinished):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        tried.run(tried.attempts.complete(tried.call, emit))
    assert tried.registry.usage()["m0"].requests == 1
    tried.assert_nothing_is_left()


@pytest.mark.slow
def test_no_tokenizer_is_loaded_where_the_service_counts() -> None:
    """Counting is for those whom nobody tells."""
    code = """
import asyncio, sys
from nexus_core import ModelInfo
from nexus_core.contract.ranking import Ranking
from nexus_core.engine.calls.call import Call
from nexus_core.engine.calls.caller import Caller
from nexus_core.engine.models import Model, ModelRegistry
from nexus_core.engine.packing.packer import Draft
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.steps import BareQuery
from nexus_core.testing.fakes import FakeConnector
info = ModelInfo(id="m", provider="p", window=4096, encoding="o200k_base")
model = Model(name="m", connector=FakeConnector(model_info=info), info=info)
draft = Draft(template=BareQuery(), ranking=Ranking(()), query="Why?")
call = Call(id="c", run_id="r", draft=draft, chain=(model,))
asyncio.run(Caller(ModelRegistry([model]), ComponentLifecycle()).complete(call, lambda event: None))
print(*sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"nexus_core.toolkit.tokens.exact", "nexus_core.engine.calls.rate_limiter", "aiohttp"} & set(found)
