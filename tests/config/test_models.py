"""The models of a pipeline."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nexus_core.config.check import Checked
from nexus_core.config.keys import CallKeys, keys_of
from nexus_core.config.spec import GenerateSpec, PipelineSpec
from nexus_core.contract.values import CallOptions, ToolDefinition

STEPS = "steps:\n- generate:\n"


def pipeline(checked: Callable[..., Checked], models: str, steps: str = STEPS) -> PipelineSpec:
    """Return the pipeline with these models."""
    result = checked(f"name: x\nmodels: {models}\n{steps}")
    assert [str(problem) for problem in result.problems if problem.severity == "error"] == []
    assert result.spec is not None
    return result.spec


def test_call_keys_are_those_of_the_value() -> None:
    """What YAML says is what travels, under the same names; a schema stands elsewhere."""
    names = [field.name for field in CallOptions.__attrs_attrs__ if field.name != "response_schema"]
    assert [spec.name for spec in keys_of(CallKeys)] == names


def test_model_divides_its_keys_between_core_and_connector(checked: Callable[..., Checked]) -> None:
    """A figure that the connector declares too goes to both."""
    spec = pipeline(checked, "{m: {use: chat, model: big, window: 10, max_output: 5, encoding: o200k_base}}").models[0]
    assert (spec.window, spec.max_output, spec.encoding) == (10, 5, "o200k_base")
    assert spec.component.options == {"model": "big", "window": 10}


def test_model_options_become_call_options(checked: Callable[..., Checked]) -> None:
    """A single stop text is a list of one; what is not given stays unset."""
    options = "{use: chat, options: {temperature: 1, stop: END, extra: {seed: 7}}}"
    spec = pipeline(checked, f"{{m: {options}}}").models[0]
    assert spec.options == CallOptions(temperature=1.0, stop=("END",), extra={"seed": 7})


@pytest.mark.parametrize(
    ("default", "step", "model"),
    [("", "", None), ("", "b", "b"), ("", "bee", "b"), ("default: bee\n", "", None), ("", "{model: bee}", "b")],
    ids=["default", "name", "alias", "declared default", "mapping"],
)
def test_generate_finds_its_model(default: str, step: str, model: str | None, checked: Callable[..., Checked]) -> None:
    """Aliases are resolved when the file is read."""
    steps = f"{default}steps:\n- generate: {step}\n"
    spec = pipeline(checked, "{a: chat, b: {use: chat, aliases: [bee]}}", steps)
    assert isinstance(spec.steps[0], GenerateSpec)
    assert spec.steps[0].model == model
    assert spec.default_model == ("b" if default else "a")


def test_model_says_whether_an_answer_may_be_empty(checked: Callable[..., Checked]) -> None:
    """It may not, unless the file says so; anything but true or false is found by lint."""
    models = pipeline(checked, "{a: chat, b: {use: chat, allow_empty: true}}").models
    assert [model.allow_empty for model in models] == [False, True]
    problems = checked(f"name: x\nmodels: {{a: {{use: chat, allow_empty: some}}}}\n{STEPS}").problems
    assert ["allow_empty" in str(problem) for problem in problems if problem.severity == "error"] == [True]


def test_fallbacks_are_resolved_in_order(checked: Callable[..., Checked]) -> None:
    """One name or several, aliases or names."""
    spec = pipeline(checked, "{a: {use: chat, fallback: [sea, b]}, b: chat, c: {use: chat, aliases: sea, fallback: b}}")
    assert [model.fallback for model in spec.models] == [("c", "b"), (), ("b",)]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("{a: {use: chat, fallback: a}}", "the fallbacks form a circle: a > a"),
        ("{a: {use: chat, fallback: b}, b: {use: chat, fallback: c}, c: {use: chat, fallback: a}}", "a > b > c > a"),
        ("{a: {use: chat, fallback: spar}, spare: chat}", "'spar', did you mean 'spare'?"),
        ("{a: {use: chat, aliases: [a]}}", "two models are called 'a'"),
        ("{a: {use: chat, aliases: ['${A}']}}", "an alias cannot come from the environment"),
        ("{a: {use: chat, window: 10, max_input: 20}}", "`max_input` must be at most the `window` of 10, found 20"),
        ("{a: {use: chat, max_output: 5, options: {max_tokens: 6}}}", "more than the `max_output` of 5"),
        ("{a: {use: chat, encoding: o200k}}", "`encoding` must be o200k_base, cl100k_base or approximate"),
        ("{a: {use: chat, options: {temprature: 1}}}", "'temprature', did you mean 'temperature'?"),
        ("{a: {use: chat, modle: x}}", "model 'a' takes no 'modle', did you mean 'model'?"),
        ("{a: {use: caht, modle: x}}", "no connector is named 'caht'"),
        ("{a: {model: x}}", "a connector mapping needs `use`"),
        ("[chat]", "`models` must be a mapping of names to models"),
    ],
)  # fmt: skip
def test_model_problem_is_said_once(models: str, message: str, checked: Callable[..., Checked]) -> None:
    """One mistake, one problem."""
    problems = checked(f"name: x\nmodels: {models}\n{STEPS}", {"A": "b"}).problems
    assert len(problems) == 1
    assert message in problems[0].message


@pytest.mark.slow
def test_circles_are_found_in_long_chains(checked: Callable[..., Checked]) -> None:
    """Neither depth nor number of circles is a problem."""
    chain = ", ".join(f"m{n}: {{use: chat, fallback: m{(n + 1) % 1500}}}" for n in range(1500))
    problems = checked(f"name: x\nmodels: {{{chain}}}\n{STEPS}").problems
    assert [problem.code for problem in problems] == ["N003"]


def test_unused_model_is_a_warning_unless_a_fallback_reaches_it(checked: Callable[..., Checked]) -> None:
    """A pipeline with a spare part still runs."""
    models = "{a: {use: chat, fallback: b}, b: {use: chat, fallback: c}, c: chat, d: chat}"
    result = checked(f"name: x\nmodels: {models}\n{STEPS}")
    assert result.spec is not None
    assert [(problem.code, problem.severity) for problem in result.problems] == [("N004", "warning")]
    assert "'d'" in result.problems[0].message


def test_tools_become_definitions(checked: Callable[..., Checked]) -> None:
    """With their schemas as they are; the effort is a word."""
    tool = "{name: look, description: Looks., parameters: {type: object, properties: {a: {type: string}}}}"
    options = f"{{tools: [{tool}], tool_choice: look, reasoning_effort: high}}"
    found = pipeline(checked, f"{{m: {{use: chat, options: {options}}}}}").models[0].options
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert found.tools == (ToolDefinition(name="look", description="Looks.", parameters=schema),)
    assert (found.tool_choice, found.reasoning_effort) == ("look", "high")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{tools: [{name: a}, {name: a}]}", "two tools are called 'a'"),
        ("{tools: [{name: look}], tool_choice: lok}", "names no tool: 'lok', did you mean 'look'?"),
        ("{tools: [{name: a b}]}", "must match"),
        ("{tools: [{description: x}]}", "needs `name`"),
    ],
    ids=["twice", "choice", "name", "missing"],
)
def test_tools_are_checked_when_the_file_is_read(checked: Callable[..., Checked], options: str, said: str) -> None:
    """At the place of the options, of a model and of a step."""
    for text in (
        f"name: x\nmodels: {{m: {{use: chat, options: {options}}}}}\n{STEPS}",
        f"name: x\nmodels: {{m: chat}}\nsteps:\n- generate: {{model: m, options: {options}}}\n",
    ):
        assert any(said in problem.message for problem in checked(text).problems), checked(text).problems
