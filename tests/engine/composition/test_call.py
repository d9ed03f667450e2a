"""Pipelines that call others: by a step, for answers or items, and by a tool of a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_core import (
    ConfigError,
    Delta,
    NoAnswerError,
    Pipeline,
    RunError,
    RunFailed,
    ServerError,
    StepFinished,
    UsageError,
)
from nexus_core.contract.run_context import CallablePipeline, RunContext
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.pipeline_tests.runner import check_files, run_cases

Load = Callable[..., Pipeline]
Write = Callable[..., Path]
OTHER = """
- gather: {use: own.shelf, label: shelf}
- prompt: {template: {text: "{{ inputs.tone }}: {% for item in items %}{{ item.text }}{% endfor %}"}}
- generate: main
"""
OTHER_MODELS = 'main: {use: own.echo, prefix: "other says "}'
CALL = """
- call: {pipeline: ./other.yaml, query: "what is {{ query }}", inputs: {tone: "{{ query|upper }}"}}
  as: found
- prompt: {template: {text: "Given {{ vars.found }}"}}
- generate: main
"""
FOUND = "other says LEAVE: shelf on what is leave for ann"


@pytest.fixture
def other(write: Write) -> Path:
    """Another pipeline, beside the one that a test loads."""
    return write(OTHER, name="other", models=OTHER_MODELS, more="description: Knows shelves.\ninputs: {tone: plain}")


async def test_the_answer_of_another_pipeline_is_a_variable(load: Load, other: Path) -> None:
    """It runs for the same caller; its requests are rows of the run, by names that tell the pipelines apart."""
    seen: list[StepFinished] = []

    def listen(event: Any) -> None:
        if isinstance(event, StepFinished):
            seen.append(event)

    async with load(CALL) as pipeline:
        answer = await pipeline.run("leave", owner="ann", on_event=listen)
        assert set(pipeline.targets()) == {"main", "other/main"}
        assert pipeline.files == (
            other.with_name("outer.yaml"),
            other.with_name("own.py"),
            other,
            other.with_name("own.py"),
        )
    assert answer.variables == {"found": FOUND}
    assert answer.text == f"Given {FOUND}"
    assert [row.model for row in answer.attempts] == ["other/main", "main"]
    assert len({row.call_id for row in answer.attempts}) == 2
    assert [(event.path, event.step) for event in seen[:4]] == [
        *((f"steps[0].call.steps[{number}]", 0) for number in range(3)),
        ("steps[0]", 0),
    ]
    assert seen[0].notes == ("asked shelf",)


async def test_what_it_is_given_by_the_caller_is_for_the_outer_answer_alone(load: Load, other: Path) -> None:
    """The caller's model and the stream are those of the pipeline that was asked."""
    models = 'main: own.echo, best: {use: own.echo, prefix: "best: "}'
    async with load(CALL, models=models) as pipeline:
        events: list[Any] = [event async for event in pipeline.stream("leave", owner="ann", model="best")]
    assert "".join(event.text for event in events if isinstance(event, Delta)) == f"best: Given {FOUND} "
    assert [row.model for row in events[-1].answer.attempts] == ["other/main", "best"]


async def test_its_items_are_added_and_no_model_is_asked_for_them(load: Load, other: Path) -> None:
    """With `take: items` the steps after its last gather or rank do not run."""
    steps = """
- gather: {use: own.shelf, label: mine}
- call: {pipeline: ./other.yaml, take: items}
- prompt: {template: {text: "{% for item in items %}{{ item.text }};{% endfor %}"}}
- generate: main
"""
    async with load(steps) as pipeline:
        answer = await pipeline.run("leave")
        assert answer.text == "mine on leave for nobody;shelf on leave for nobody;"
        assert [row.model for row in answer.attempts] == ["main"]
        explained = await pipeline.explain("leave")
        assert explained.prompt.messages[-1].text == answer.text


async def test_an_answer_that_is_handed_on_cites_nothing(load: Load, write: Write) -> None:
    """The numbers are those of the other prompt: here they would cite an item that says something else."""
    steps = """
- gather: {use: own.shelf, label: theirs}
- prompt: {template: {text: "{% for item in items %}{{ query }} [1][1], [2] and a[1]{% endfor %}"}}
- generate: main
"""
    write(steps, name="other")
    async with load(
        "- gather: {use: own.shelf, label: mine}\n" + CALL.replace(', inputs: {tone: "{{ query|upper }}"}', "")
    ) as pipeline:
        answer = await pipeline.run("leave")
    assert answer.variables == {"found": "what is leave, [2] and a"}
    assert answer.cited_items == ()


async def test_a_structured_answer_is_a_value(load: Load, write: Write) -> None:
    """Expressions read its fields."""
    write("- generate: {model: main, schema: {type: object, required: [n]}}\n", name="other")
    steps = """
- call: {pipeline: ./other.yaml, query: '{"n": 3}'}
  as: found
- choose:
  - {when: "{{ vars.found.n == 3 }}", steps: [{prompt: {template: {text: "three"}}}, generate: main]}
  - steps: [generate: main]
"""
    async with load(steps) as pipeline:
        assert (await pipeline.run("hi")).text == "three"


async def test_explain_runs_no_call_for_an_answer(load: Load, other: Path) -> None:
    """It says so, and shows what follows."""
    async with load(CALL) as pipeline:
        found = await pipeline.explain("leave")
    assert found.prompt.messages[-1].text == "Given (the model's answer)"
    assert found.notes == ("steps[0] (call) is not run: what follows is shown as if it had changed nothing",)


async def test_its_failure_is_that_of_the_run_and_its_policies_hold(load: Load, write: Write) -> None:
    """A fallback of its own answers; where none does, the run fails with the rows of what was asked."""
    failing = "main: {use: own.echo, fails: true, retry: false%s}, spare: {use: own.echo, prefix: 'spare '}"
    write("- generate: main\n", name="other", models=failing % ", fallback: spare")
    steps = "- call: ./other.yaml\n  as: found\n- generate: main\n"
    async with load(steps) as pipeline:
        answer = await pipeline.run("hi")
    assert answer.variables == {"found": "spare hi"}
    assert [row.model for row in answer.attempts] == ["other/main", "other/spare", "main"]
    write("- generate: main\n", name="other", models=failing.partition(", spare")[0] % "")
    async with load(steps) as pipeline:
        with pytest.raises((ServerError, NoAnswerError)) as caught:
            await pipeline.run("hi")
        assert [row.model for row in caught.value.attempts] == ["other/main"]
        events: list[Any] = [event async for event in pipeline.stream("hi")]
    assert isinstance(events[-1], RunFailed)


async def test_an_answer_that_no_step_gave_is_an_error(load: Load, write: Write) -> None:
    """As where its only generate is skipped."""
    write('- generate: main\n  when: "{{ false }}"\n', name="other")
    async with load("- call: ./other.yaml\n  as: found\n- generate: main\n") as pipeline:
        with pytest.raises(UsageError, match="pipeline 'other' has no generate step that ran"):
            await pipeline.run("hi")


async def test_its_components_open_once_and_close_with_the_outer_pipeline(load: Load, write: Write) -> None:
    """However often it is called, by however many ways."""
    write("- generate: main\n", name="inner", models=OTHER_MODELS)
    write(
        "- call: ./inner.yaml\n  as: a\n- prompt: {template: {text: '{{ vars.a }}'}}\n- generate: main\n", name="other"
    )
    steps = "- call: ./other.yaml\n  as: a\n- call: ./inner.yaml\n  as: b\n- generate: main\n"
    async with load(steps) as pipeline:
        first, second = await pipeline.run("hi"), await pipeline.run("ho")
    assert first.variables == {"a": "other says hi", "b": "other says hi"}
    assert second.variables["a"] == "other says ho"
    assert [row.model for row in first.attempts] == ["inner/main", "other/main", "inner/main", "main"]
    lines = Path(pipeline.files[1]).with_name("own.py.txt").read_text().splitlines()
    # One for each pipeline, and no request of `other/main` or `main` opened what `inner/main` is.
    assert sorted(lines) == ["close ", "close ", "close other says ", "open ", "open ", "open other says "]


async def test_a_model_calls_another_pipeline_by_its_name_description_and_inputs(load: Load, other: Path) -> None:
    """What it answers is the result; its requests and steps are told as those of the run."""
    seen: list[StepFinished] = []

    def listen(event: Any) -> None:
        if isinstance(event, StepFinished):
            seen.append(event)

    steps = "- generate: {model: main, tools: [{use: pipeline, pipeline: ./other.yaml}]}\n"
    async with load(steps, models="main: {use: own.echo, calls: other}") as pipeline:
        answer = await pipeline.run("hi", owner="ann", on_event=listen)
        explained = await pipeline.explain("hi")
    [told] = answer.tools
    assert (told.name, told.outcome) == ("other", "ok")
    assert told.result == "other says plain: shelf on asked by the model for ann"
    assert [row.model for row in answer.attempts] == ["main", "other/main", "main"]
    assert seen[0].path == "steps[0].tools.steps[0]"
    [definition] = explained.options.tools or ()
    assert (definition.name, definition.description) == ("other", "Knows shelves.")
    assert definition.parameters["required"] == ["query"]
    assert definition.parameters["properties"]["tone"] == {"type": "string"}


async def test_a_run_calls_only_what_its_pipeline_names() -> None:
    """Outside of a run there is nothing to call."""
    with pytest.raises(RunError, match="no pipeline can be called here"):
        await RunContext().call_pipeline(CallablePipeline(path="/x.yaml", name="x"), "hi")


def test_what_is_wrong_with_a_called_pipeline_is_told_at_its_place(write: Write, load: Load) -> None:
    """All at once, with the problems of the file that calls it."""
    write("- gather: {use: own.shelf}\n- generate: man\n", name="other")
    steps = "- call: ./other.yaml\n  as: a\n- generate: nobody\n"
    with pytest.raises(ConfigError) as caught:
        load(steps)
    found = [(Path(problem.file).name, problem.code) for problem in caught.value.problems]
    assert found == [("outer.yaml", "N001"), ("other.yaml", "S003"), ("other.yaml", "N001")]


@pytest.mark.parametrize(
    ("inputs", "code", "message"),
    [
        ("{tune: 1, topic: x}", "X003", "no input is named 'tune', did you mean 'tone'?"),
        ("{}", "S003", "steps[0] (call) needs the input 'topic', which has no default"),
    ],
)
def test_its_inputs_are_checked_where_it_is_called(
    write: Write, load: Load, inputs: str, code: str, message: str
) -> None:
    """Unknown ones, and those that are missing."""
    write("- generate: main\n", name="other", more="inputs: {tone: plain, topic: }")
    with pytest.raises(ConfigError) as caught:
        load(f"- call: {{pipeline: ./other.yaml, inputs: {inputs}}}\n  as: a\n- generate: main\n")
    assert any(problem.code == code and message in problem.message for problem in caught.value.problems)


def test_pipelines_that_call_each_other_in_a_circle_are_an_error(write: Write, load: Load) -> None:
    """Also where one of the calls is that of a tool."""
    write("- generate: {model: main, tools: [{use: pipeline, pipeline: ./outer.yaml}]}\n", name="other")
    with pytest.raises(ConfigError) as caught:
        load("- call: ./other.yaml\n  as: a\n- generate: main\n")
    [problem] = caught.value.problems
    assert (Path(problem.file).name, problem.line, problem.code) == ("other.yaml", 6, "C002")
    assert "in a circle" in problem.message
    assert problem.message.count("outer.yaml") == 2


@pytest.mark.parametrize("deep", [8, 9])
async def test_calls_nest_at_most_8_deep(write: Write, load: Load, deep: int) -> None:
    """Eight below the outermost run; nine are an error of lint, also where the lower ones were checked before."""
    call = "- call: ./p{}.yaml\n  as: a\n- prompt: {{template: {{text: '{{{{ vars.a }}}}'}}}}\n- generate: main\n"
    write("- generate: main\n", name=f"p{deep}")
    for number in range(1, deep):
        write(call.format(number + 1), name=f"p{number}")
    steps = call.format(1)
    if deep == 8:
        async with load(steps) as pipeline:
            assert (await pipeline.run("hi")).text == "hi"
        return
    for before in ("", f"- call: ./p{deep}.yaml\n  as: b\n", "- call: ./p5.yaml\n  as: b\n"):
        with pytest.raises(ConfigError, match="nest more than 8 deep"):
            load(before + steps)


def test_nexus_test_scripts_the_models_of_a_called_pipeline(write: Write, other: Path) -> None:
    """By the name that the ledger has for them; the items of a test are those of its sources, too."""
    tests = """tests:
- name: asks both
  query: leave
  items: [given]
  models: {other/main: from the other, main: done}
  expect: {answer: done, attempts: ["other/main:ok", "main:ok"], messages: {user: Given from the other}}
- name: packs
  query: leave
  items: [given]
  models: {other/man: x}
"""
    path = write(CALL, more=tests)
    with pytest.raises(ConfigError, match="no model is named 'other/man', did you mean 'other/main'"):
        check_files([path], PluginRegistry.installed(), {})
    path.write_text(path.read_text().replace("other/man:", "main:"))
    results = [*run_cases(check_files([path], PluginRegistry.installed(), {}))]
    # The second script leaves `other/main` to its connector, which would be asked over the network.
    assert [result.passed for result in results] == [True, False]


@pytest.mark.parametrize(
    ("tools", "more", "told"),
    [
        ("{PIPELINE}, {PIPELINE, take: items}", "", ["two tools are called 'other'"]),
        ("{PIPELINE}, search", "allow: [othr]", ["`allow` names no tool: 'othr', did you mean 'other'"]),
        ("{PIPELINE}, search", "allow: [other]", []),
    ],
    ids=["twice", "unknown", "known"],
)
def test_lint_knows_what_a_tool_is_called_that_runs_a_pipeline(
    load: Load, other: Path, tools: str, more: str, told: list[str]
) -> None:
    """By the name of the pipeline; a run would find it out with the first question."""
    used = tools.replace("PIPELINE", "use: pipeline, pipeline: ./other.yaml")
    steps = f"- generate: {{model: main, tools: [{used}], {more}}}\n"
    try:
        load(steps)
        problems = []
    except ConfigError as error:
        problems = [problem.message for problem in error.problems]
    assert [message[: len(start)] for message, start in zip(problems, told, strict=True)] == told
