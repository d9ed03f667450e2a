"""What a pipeline says about attempts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from attrs import asdict, fields
from hypothesis import HealthCheck, given, settings, strategies as st

from nexus_core.config.check import Checked
from nexus_core.config.keys import keys_of
from nexus_core.config.policies import BreakerPolicy, CachePolicy, CallPolicy, RateLimitPolicy, RetryPolicy
from nexus_core.config.policy_keys import (
    BREAKER,
    CACHE,
    CALLS,
    LIMITS,
    RETRY,
    BreakerKeys,
    CacheKeys,
    CallsKeys,
    LimitKeys,
    RetryKeys,
    is_duration,
)
from nexus_core.config.spec import PipelineSpec
from nexus_core.config.yaml.scalars import seconds, size
from nexus_core.contract.components import OptionSpec

pytestmark = pytest.mark.slow

Check = Callable[..., Checked]
STEPS = "steps:\n- generate:\n"


def text(model: str = "", top: str = "") -> str:
    """Return a pipeline whose model and top level have these keys besides."""
    return f"name: x\nmodels: {{m: {{use: chat, {model}}}}}\n{top}\n{STEPS}"


def sound(checked: Check, *parts: str, **more: Any) -> PipelineSpec:
    result = checked(text(*parts), **more)
    assert [str(problem) for problem in result.problems] == []
    assert result.spec is not None
    return result.spec


def value_of(spec: OptionSpec) -> Any:
    """Return the value of a default, which may be a text as people write it."""
    if not isinstance(spec.default, str):
        return spec.default
    return seconds(spec.default) if is_duration(spec) else size(spec.default)


@pytest.mark.parametrize("mapping", [RETRY, BREAKER, LIMITS, CACHE, CALLS], ids=lambda mapping: mapping.policy.__name__)
def test_keys_and_defaults_are_those_of_the_policy(mapping: Any) -> None:
    """A duration's key is the field without the `_s`; `on_stream_failure` stands at the top level."""
    keys = {f"{spec.name}_s" if is_duration(spec) else spec.name: value_of(spec) for spec in keys_of(mapping.keys)}
    values = {field.name: field.default for field in fields(mapping.policy) if field.name != "on_stream_failure"}
    assert keys == values


def test_a_file_that_says_nothing_has_no_policies(checked: Check) -> None:
    """The defaults are the engine's, and their classes are not imported for it."""
    spec = sound(checked)
    model = spec.models[0]
    assert (model.retry, model.breaker, model.limits, model.cache, spec.calls) == (None, None, None, None, None)


@pytest.mark.parametrize(
    ("said", "policy"),
    [
        ("cache: true", CachePolicy()),
        ("cache: {}", CachePolicy()),
        ("cache: false", None),
        ("cache: ", None),
        ("cache: {expires: 7d, max_items: 10000, max_bytes: 256MiB}", CachePolicy()),
        ("cache: {expires: 90, max_bytes: 4096}", CachePolicy(expires_s=90.0, max_bytes=4096)),
        ("cache: {max_bytes: 1 gib}", CachePolicy(max_bytes=2**30)),
    ],
)
def test_a_cache_is_off_by_default(said: str, policy: CachePolicy | None, checked: Check) -> None:
    """`true` is by the defaults; a mapping says for how long and how much."""
    assert sound(checked, said).models[0].cache == policy


def test_policies_are_read(checked: Check) -> None:
    """Durations in all their forms."""
    written = text(
        "retry: {attempts: 2, first_wait: 250ms, longest_wait: 3}, breaker: {failures: 9, share: 1, park: 2m}, "
        "limits: {concurrency: 3, queue: 0, queue_wait: 1.5}, fallback: n",
        "calls: {deadline: 1m, patience: 0, fallback_on_auth: false}\non_stream_failure: continue",
    )
    result = checked(written.replace("}}\n", "}, n: chat}\n", 1))
    assert result.problems == ()
    assert result.spec is not None
    spec, model = result.spec, result.spec.models[0]
    assert model.retry == RetryPolicy(attempts=2, first_wait_s=0.25, longest_wait_s=3)
    assert model.breaker == BreakerPolicy(failures=9, share=1, park_s=120)
    assert model.limits == RateLimitPolicy(concurrency=3, queue=0, queue_wait_s=1.5)
    assert spec.calls == CallPolicy(deadline_s=60, patience_s=0, fallback_on_auth=False, on_stream_failure="continue")


@pytest.mark.parametrize(
    ("said", "retry", "breaker"),
    [
        ("retry: false, breaker: false", RetryPolicy(attempts=1), False),
        ("retry: true, breaker: true", None, None),
        ("retry: , breaker: {}", None, None),
    ],
    ids=["off", "on", "empty"],
)
def test_short_forms(said: str, retry: Any, breaker: Any, checked: Check) -> None:
    """`false` switches off, `true` and nothing are the defaults."""
    model = sound(checked, said).models[0]
    assert (model.retry, model.breaker) == (retry, breaker)


def test_the_environment_gives_values(checked: Check) -> None:
    """A number is read as one, a duration as one."""
    pipeline = (
        "name: x\nmodels:\n  m:\n    use: chat\n    retry:\n      attempts: ${N}\n      first_wait: ${W}\n" + STEPS
    )
    spec = checked(pipeline, {"N": "4", "W": "50ms"}).spec
    assert spec is not None
    assert spec.models[0].retry == RetryPolicy(attempts=4, first_wait_s=0.05)


def test_an_override_widens_a_short_form(checked: Check) -> None:
    """`breaker: false` in the file, one of its keys on the command line."""
    spec = sound(checked, "breaker: false", overrides=["models.m.breaker.failures=2", "calls.attempts=5"])
    assert spec.models[0].breaker == BreakerPolicy(failures=2)
    assert spec.calls == CallPolicy(attempts=5)


@pytest.mark.parametrize(
    "keys", [RetryKeys, BreakerKeys, LimitKeys, CacheKeys, CallsKeys], ids=lambda keys: keys.__name__
)
def test_every_number_has_bounds(keys: type) -> None:
    """None is negative, none is without end."""
    numbers = [spec for spec in keys_of(keys) if spec.annotation is not bool]
    assert all(spec.le is not None and (spec.ge if spec.gt is None else spec.gt) is not None for spec in numbers)


@pytest.mark.parametrize(
    ("model", "top", "code", "message"),
    [
        ("retry: {attempts: 0}", "", "T002", "`attempts` must be from 1 to 10, found 0"),
        ("retry: {attempts: 11}", "", "T002", "from 1 to 10"),
        ("retry: {attempts: 1.5}", "", "T001", "a whole number"),
        ("retry: {first_wait: -1}", "", "T002", "`first_wait` must be from 0 to 60, found -1"),
        ("retry: {first_wait: 2m}", "", "T002", "`first_wait` must be from 0 to 60, found '2m'"),
        ("retry: {first_wait: .nan}", "", "Y008", "finite"),
        ("retry: {longest_wait: .inf}", "", "Y008", "finite"),
        ("retry: {longest_wait: nan}", "", "T004", "`longest_wait` must be seconds, or a text like 500ms"),
        ("retry: {attemps: 2}", "", "S002", "`retry` of model 'm' takes no 'attemps', did you mean 'attempts'?"),
        ("retry: {first_wait_s: 2}", "", "S002", "did you mean 'first_wait'?"),
        ("retry: 3", "", "T001", "`retry` of model 'm' must be a mapping, true or false, found 3"),
        ("retry: {first_wait: 2, longest_wait: 500ms}", "", "S006", "`first_wait` is more than `longest_wait`"),
        ("breaker: {share: 0}", "", "T002", "more than 0 and at most 1"),
        ("breaker: {open: 0s}", "", "T002", "`open` must be more than 0"),
        ("breaker: {open: 2m, longest_open: 60}", "", "S006", "`open` is more than `longest_open`"),
        ("breaker: [5]", "", "T001", "must be a mapping, true or false, found a list"),
        ("limits: {concurency: 5, queue: 3}", "", "S002", "did you mean 'concurrency'?"),
        ("limits: {requests_per_minute: 0}", "", "T002", "from 1 to 1000000"),
        ("cache: 3", "", "T001", "`cache` of model 'm' must be a mapping, true or false, found 3"),
        ("cache: 7d", "", "T001", "`cache` of model 'm' must be a mapping, true or false, found '7d'"),
        ("cache: {expires: 0}", "", "T002", "`expires` must be more than 0"),
        ("cache: {expires: soon}", "", "T004", "a text like 500ms, 30s or 7d (units: ms, s, m, h, d), found 'soon'"),
        ("cache: {max_bytes: 10}", "", "T002", "`max_bytes` must be from 1024 to"),
        ("cache: {max_bytes: 256MB}", "", "T004", "bytes, or a text like 32MiB (units: KiB, MiB, GiB; or K, M, G)"),
        ("cache: {max_item: 10}", "", "S002", "did you mean 'max_items'?"),
        ("limits: false", "", "T001", "`limits` of model 'm' must be a mapping, found false"),
        ("", "calls: {deadline: 0}", "T002", "`deadline` must be more than 0 and at most 86400"),
        ("", "calls: {deadline: 25h}", "T002", "`deadline` must be more than 0 and at most 86400"),
        ("", "calls: {deadline: [1]}", "T001", "`deadline` must be a number or text"),
        ("", "calls: {dead_line: 1}", "S002", "`calls` takes no 'dead_line', did you mean 'deadline'?"),
        ("", "calls: 3", "T001", "`calls` must be a mapping, found 3"),
        ("", "call: {deadline: 3}", "S002", "did you mean 'calls'?"),
        ("", "on_stream_failure: retry", "T003", "`on_stream_failure` must be fail, restart or continue"),
        ("", "on_stream_failure: continu", "T003", "did you mean 'continue'?"),
    ],
)  # fmt: skip
def test_problem_is_said_once(model: str, top: str, code: str, message: str, checked: Check) -> None:
    """One mistake, one problem, at its place."""
    result = checked(text(model, top))
    assert result.spec is None
    (problem,) = result.problems
    assert problem.code == code
    assert message in problem.message
    assert problem.line == (3 if top else 2)


@pytest.mark.parametrize(
    ("model", "top", "message"),
    [
        ("limits: {queue: 3}", "", "these `limits` limit nothing"),
        ("retry: {attempts: 8}", "", "`attempts` under `calls` ends a call before"),
        ("retry: {attempts: 3}", "calls: {attempts: 2}", "`attempts` under `calls` ends a call before"),
        ("fallback: n", "calls: {attempts: 1}", "no `fallback` is asked"),
        ("fallback: n", "calls: {targets: 1}", "no `fallback` is asked"),
        ("", "on_stream_failure: restart", "no model has a `fallback` that could take over"),
        ("", "on_stream_failure: continue", "no model has a `fallback` that could take over"),
    ],
)
def test_what_has_no_effect_is_a_warning(model: str, top: str, message: str, checked: Check) -> None:
    """The pipeline runs all the same."""
    steps = "steps:\n- generate: m\n- generate: n\n  as: a\n"
    result = checked(f"name: x\nmodels: {{m: {{use: chat, {model}}}, n: chat}}\n{top}\n{steps}")
    assert result.spec is not None
    assert [(problem.code, problem.severity) for problem in result.problems] == [("S007", "warning")]
    assert message in result.problems[0].message


@pytest.mark.parametrize("key", ["attempts", "requests"])
@pytest.mark.parametrize(("requests", "codes"), [(1, ["S007"]), (2, [])])
def test_tools_that_no_request_is_left_for_are_told_of(
    key: str, requests: int, codes: list[str], checked: Check
) -> None:
    """Whoever may ask once has to answer at once; also where the step stands in a branch."""
    generate = "generate: {model: m, tools: [mute]}"
    steps = f"steps:\n- choose:\n  - when: '{{{{ query == \"a\" }}}}'\n    steps: [{generate}]\n- generate: m\n"
    result = checked(f"name: x\nmodels: {{m: chat}}\ncalls: {{{key}: {requests}}}\n{steps}")
    assert [problem.code for problem in result.problems if "tools" in problem.message] == codes
    assert result.spec is not None


@pytest.mark.parametrize("top", ["calls: {attempts: 2}", "calls: {attempts: 1}"])
def test_a_default_that_is_cut_short_is_no_warning(top: str, checked: Check) -> None:
    """Nobody wrote that a model should be asked three times."""
    sound(checked, "retry: {first_wait: 1}", top)


def test_the_value_of_a_secret_variable_is_in_no_message(checked: Check) -> None:
    """Contradictions name the variable and not what it holds."""
    lines = (
        "name: x\nmodels:\n  m:\n    use: chat\n    retry:\n      first_wait: ${A}\n      longest_wait: ${B}\n" + STEPS
    )
    problems = checked(lines, {"A": "41.25", "B": "17.5"}).problems
    assert [problem.code for problem in problems] == ["S006"]
    assert "41.25" not in problems[0].message
    assert "17.5" not in problems[0].message


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["500ms", "2m", "nan", "1e9", "", "0s"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["attempts", "x"]), inner, max_size=2),
    max_leaves=3,
)
MAPPINGS = {
    name: VALUES | st.dictionaries(st.sampled_from([spec.name for spec in keys_of(keys)]), VALUES, max_size=3)
    for name, keys in {
        "retry": RetryKeys,
        "breaker": BreakerKeys,
        "limits": LimitKeys,
        "cache": CacheKeys,
        "calls": CallsKeys,
    }.items()
}


@given(said=st.fixed_dictionaries({}, optional=MAPPINGS))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_stands_there_is_a_problem_or_a_sound_policy(said: dict[str, Any], checked: Check) -> None:
    """The check never raises, and what it lets through is finite and not negative."""
    calls = said.pop("calls", None)
    pipeline = {"name": "x", "models": {"m": {"use": "chat", **said}}, "calls": calls, "steps": [{"generate": None}]}
    spec = checked(json.dumps(pipeline).replace("NaN", ".nan").replace("Infinity", ".inf")).spec
    if spec is not None:
        model = spec.models[0]
        policies = [policy for policy in (model.retry, model.breaker, model.limits, model.cache, spec.calls) if policy]
        numbers = [value for policy in policies for value in asdict(policy).values() if isinstance(value, int | float)]
        assert all(0 <= number < inf for number in numbers)


def test_reading_a_plain_pipeline_imports_nothing_of_attempts() -> None:
    """Start-up time: none of the machines."""
    program = (
        "import sys; from nexus_core.config.check import check; from nexus_core.engine.plugins import PluginRegistry\n"
        "plugins = PluginRegistry.installed()\n"
        "r = check('name: x\\nmodels: {m: extractive}\\nsteps: [{generate: m}]', 'x.yaml', plugins, {})\n"
        "assert r.spec is not None, r.problems\n"
        "print([n for n in sys.modules if n.startswith('nexus_core.engine.calls')])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
