"""The model registry."""

from __future__ import annotations

import pytest

from nexus_core import AttemptFinished, UsageError
from nexus_core.engine.models import Model, ModelRegistry
from nexus_core.testing.fakes import FakeConnector


def model(name: str, *fallback: str, aliases: tuple[str, ...] = ()) -> Model:
    connector = FakeConnector()
    return Model(name=name, connector=connector, info=connector.model_info, fallback=fallback, aliases=aliases)


def attempt(model: str, outcome: str = "ok", seconds: float = 1.0, tokens: int | None = 10) -> AttemptFinished:
    return AttemptFinished(
        run_id="r", time=0.0, call_id="c", number=1, model=model, model_id="m", outcome=outcome,
        duration_s=seconds, prompt_tokens=tokens, completion_tokens=tokens,
    )  # fmt: skip


def test_get_without_a_name_returns_the_first_model() -> None:
    """The first declared model is the default."""
    assert ModelRegistry([model("a"), model("b")]).get().name == "a"


def test_set_default_accepts_an_alias_and_changes_what_get_returns() -> None:
    """The default can be changed at run time."""
    registry = ModelRegistry([model("a"), model("b", aliases=("fast",))])
    registry.set_default("fast")
    assert (registry.default, registry.get().name) == ("b", "b")


def test_get_of_an_unknown_name_suggests_the_closest() -> None:
    """A misspelt model is answered with what was meant."""
    with pytest.raises(UsageError, match="no model is named 'man', did you mean 'main'"):
        ModelRegistry([model("main")]).get("man")


def test_get_without_models_says_what_to_add() -> None:
    """A pipeline without models says so."""
    with pytest.raises(UsageError, match="add one under `models:`"):
        ModelRegistry([]).get()


def test_chain_lists_fallbacks_depth_first_and_each_once() -> None:
    """A fallback's own fallbacks come right after it, and no target is tried twice."""
    models = [model("a", "b", "d"), model("b", "c"), model("c", "a"), model("d")]
    assert [found.name for found in ModelRegistry(models).chain("a")] == ["a", "b", "c", "d"]


def test_usage_counts_requests_failures_and_tokens() -> None:
    """Figures add up; a cancelled request is no failure and an unknown count is no zero."""
    registry = ModelRegistry([model("a")])
    for outcome, tokens in (("ok", 10), ("ok", None), ("timeout", None), ("cancelled", 4)):
        registry.record(attempt("a", outcome, tokens=tokens))
    figures = registry.usage()["a"]
    assert (figures.requests, figures.failures, figures.prompt_tokens, figures.unreported) == (4, 1, 14, 2)
    assert figures.success_rate == 0.75


def test_usage_takes_percentiles_of_the_last_hundred_times() -> None:
    """Older response times than the last hundred are forgotten; percentiles are nearest-rank."""
    registry = ModelRegistry([model("a")])
    for seconds in (*[1000.0] * 50, *map(float, range(1, 101))):
        registry.record(attempt("a", seconds=seconds))
    figures = registry.usage()["a"]
    assert (figures.mean_s, figures.percentile_s(0.5), figures.percentile_s(0.95)) == (50.5, 50.0, 95.0)


def test_usage_before_the_first_request_is_unknown() -> None:
    """Nothing measured is `None`, not zero."""
    figures = ModelRegistry([model("a")]).usage()["a"]
    assert (figures.success_rate, figures.mean_s, figures.percentile_s(0.95)) == (None, None, None)


def test_usage_of_two_processes_adds_up() -> None:
    """Counts, outcomes and response times."""
    one, other = ModelRegistry([model("a")]), ModelRegistry([model("a")])
    one.record(attempt("a", seconds=1.0, tokens=3))
    for outcome in ("ok", "timeout"):
        other.record(attempt("a", outcome, seconds=3.0, tokens=4))
    both = one.usage()["a"] + other.usage()["a"]
    assert (both.requests, both.failures, both.prompt_tokens, both.mean_s) == (3, 1, 11, 2.0)
    assert both.outcomes == {"ok": 2, "timeout": 1}


def test_clear_usage_forgets_everything() -> None:
    """Clearing starts the figures anew."""
    registry = ModelRegistry([model("a")])
    registry.record(attempt("a"))
    registry.clear_usage()
    assert registry.usage()["a"].requests == 0


def test_record_leaves_out_an_attempt_that_was_never_sent() -> None:
    """An unconfigured connector has made no request."""
    import attrs

    registry = ModelRegistry([model("a")])
    registry.record(attrs.evolve(attempt("a", "not_configured"), request_sent=False))
    assert registry.usage()["a"].requests == 0
