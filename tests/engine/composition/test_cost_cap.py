"""The cap of money: what a request could cost is taken of it before it is made, and given back but for what it cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_core import ConfigError, Pipeline, RequestCapError
from nexus_core.testing.upstream import ScriptedUpstream, json_answer
from tests.engine.composition.conftest import CALLED, TWICE

Load = Callable[..., Pipeline]
Write = Callable[..., Path]
PRICES = "prices: {input: 0, output: 1000000}, options: {max_tokens: 10}"
"""A dollar for each token of the answer, ten at most."""
ECHO = f"main: {{use: own.echo, {PRICES}}}"


def answered(tokens: int) -> Any:
    """Return an answer of the service that has so many tokens."""
    message = {"role": "assistant", "content": "Five days."}
    usage = {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens}
    return json_answer({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage})


@pytest.mark.parametrize(
    ("outer", "inner", "named", "made"),
    [(12, 99, "outer", 2), (99, 11, "other", 1), (9, 99, "outer", 0), (14, 12, "", 3)],
    ids=["the caller's", "its own", "not even one", "none is reached"],
)
async def test_money_is_bounded_over_the_pipelines_that_are_called(
    load: Load, write: Write, outer: int, inner: int, named: str, made: int
) -> None:
    """Each answer has two tokens by estimate, and could have ten; the error says whose cap it is."""
    write(TWICE, name="other", models=ECHO, more=f"calls: {{cost: {inner}}}")
    rows: list[Any] = []
    async with load(CALLED, models=ECHO, more=f"calls: {{cost: {outer}}}") as pipeline:
        for _ in range(2):  # each run anew
            rows.clear()
            if named:
                with pytest.raises(RequestCapError, match=f"could cost .* `calls.cost` of pipeline '{named}'"):
                    await pipeline.run("leave", on_event=rows.append)
            else:
                assert (await pipeline.run("leave", on_event=rows.append)).text == "leave"
            assert [row.type for row in rows].count("attempt_finished") == made


@pytest.mark.parametrize(("first", "made"), [(2, 2), (6, 1)], ids=["enough is left", "not enough is left"])
async def test_what_was_not_spent_is_given_back(load: Load, first: int, made: int) -> None:
    """By the tokens that the service tells; what it refuses to do costs nothing."""
    busy = json_answer({"error": {"message": "busy"}}, status=503)
    async with ScriptedUpstream(busy, busy, answered(first), answered(1)) as upstream:
        models = (
            f"main: {{use: openai, model: gpt-4o-mini, api_key: k, base_url: '{upstream.url}', "
            f"retry: {{first_wait: 1ms, longest_wait: 1ms}}, {PRICES}}}"
        )
        async with load(TWICE, models=models, more="calls: {cost: 15}") as pipeline:
            if made == 2:
                answer = await pipeline.run("leave")
                assert sum(row.cost or 0.0 for row in answer.attempts) == first + 1
            else:
                with pytest.raises(RequestCapError, match=r"could cost \$10, and \$9 are left"):
                    await pipeline.run("leave")
        assert len(upstream.requests) == 2 + made


async def test_a_model_whose_price_is_unknown_is_told_before_anything_runs(load: Load, write: Write) -> None:
    """Where the cap stands; a called pipeline without one of its own is refused when it asks."""
    models = "main: {use: own.echo}"
    with pytest.raises(ConfigError, match="the price of the model 'main' .* `calls.cost` cannot be kept"):
        load(TWICE, models=models, more="calls: {cost: 1}")
    write(TWICE, name="other", models=models)
    async with load(CALLED, models=ECHO, more="calls: {cost: 20}") as pipeline:
        with pytest.raises(RequestCapError, match="the price of 'other/main' is unknown, and `calls.cost` of pipeline"):
            await pipeline.run("leave")
