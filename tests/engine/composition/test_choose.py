"""Steps of which one list is chosen, in runs, streams and explanations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nexus_core import Answer, Delta, Pipeline, RunFinished, StepFinished, UsageError

Load = Callable[..., Pipeline]
ROUTES = """
- choose:
  - when: "{{ 'leave' in query }}"
    steps:
    - gather: {use: own.shelf, label: handbook}
    - prompt: {template: {text: "Handbook: {% for item in items %}{{ item.text }}{% endfor %}"}}
    - generate: main
  - when: "{{ 'price' in query }}"
    steps:
    - choose:
      - {when: "{{ inputs.cheap }}", steps: [{generate: spare}]}
      - steps: [{generate: main}]
"""
MODELS = 'main: {use: own.echo, prefix: "main: "}, spare: {use: own.echo, prefix: "spare: "}'
INPUTS = "inputs: {cheap: false}"


async def steps_of(pipeline: Pipeline, query: str, **asked: Any) -> tuple[list[StepFinished], Answer | None]:
    seen: list[StepFinished] = []

    def listen(event: Any) -> None:
        if isinstance(event, StepFinished):
            seen.append(event)

    async with pipeline:
        try:
            return seen, await pipeline.run(query, on_event=listen, **asked)
        except UsageError:
            return seen, None


@pytest.mark.parametrize(
    ("query", "inputs", "text", "paths"),
    [
        (
            "leave",
            {},
            "main: Handbook: handbook on leave for nobody",
            ["steps[0]", *(f"steps[0].choose[0].steps[{number}]" for number in range(3))],
        ),
        (
            "price",
            {"cheap": True},
            "spare: price",
            ["steps[0]", "steps[0].choose[1].steps[0]", "steps[0].choose[1].steps[0].choose[0].steps[0]"],
        ),
        (
            "price",
            {},
            "main: price",
            ["steps[0]", "steps[0].choose[1].steps[0]", "steps[0].choose[1].steps[0].choose[1].steps[0]"],
        ),
        ("weather", {}, None, ["steps[0]"]),
    ],
)
async def test_the_first_branch_that_holds_runs(
    load: Load, query: str, inputs: dict[str, Any], text: str | None, paths: list[str]
) -> None:
    """Its steps are steps of the run, told with their place; where none holds nothing is run."""
    seen, answer = await steps_of(load(ROUTES, models=MODELS, more=INPUTS), query, inputs=inputs)
    assert (None if answer is None else answer.text) == text
    assert [event.path for event in seen] == paths
    assert {event.step for event in seen} == {0}
    notes = seen[0].notes
    assert notes == (
        ("no branch was chosen: no condition holds",) if text is None else (f"chose branch {paths[1][16]}",)
    )


async def test_the_last_generate_of_the_chosen_branch_streams_and_takes_what_the_caller_says(load: Load) -> None:
    """Whichever gives the answer, its text comes in deltas, and the caller's model is asked."""
    async with load(ROUTES, models=MODELS, more=INPUTS) as pipeline:
        events: list[Any] = [event async for event in pipeline.stream("price of it", model="spare")]
    assert "".join(event.text for event in events if isinstance(event, Delta)) == "spare: price of it "
    assert isinstance(events[-1], RunFinished)
    assert events[-1].model == "spare"


async def test_a_generate_that_another_may_follow_is_not_the_last(load: Load) -> None:
    """What a rewriting model says is no part of the answer's stream, whether it stands in a branch or before one."""
    steps = """
- choose:
  - {when: "{{ true }}", steps: [{generate: spare, as: first}]}
- generate: main
"""
    async with load(steps, models=MODELS) as pipeline:
        events: list[Any] = [event async for event in pipeline.stream("hi")]
    assert "".join(event.text for event in events if isinstance(event, Delta)) == "main: hi "
    assert events[-1].answer.variables == {"first": "spare: hi"}


async def test_explain_shows_the_prompt_of_the_branch_that_would_run(load: Load) -> None:
    """And says which one."""
    async with load(ROUTES, models=MODELS, more=INPUTS) as pipeline:
        found = await pipeline.explain("leave")
        assert found.prompt.messages[-1].text == "Handbook: handbook on leave for nobody"
        assert found.notes == ("steps[0] (choose): chose branch 0",)
        with pytest.raises(UsageError, match="no generate step that would run"):
            await pipeline.explain("weather")


def test_callers_may_offer_tools_where_one_way_takes_them(load: Load) -> None:
    """As the last step of that way says."""
    steps = "- choose: [{when: '{{ inputs.cheap }}', steps: [{generate: {client_tools: %s}}]}, {steps: [generate: ]}]\n"
    assert load(steps % "true", more=INPUTS).takes_tools
    assert not load(steps % "false", more=INPUTS).takes_tools


async def test_an_override_reaches_into_a_branch(load: Load, write: Callable[..., Any]) -> None:
    """By the path that events and messages show."""
    path = write(ROUTES, models=MODELS, more=INPUTS)
    change = 'steps[0].choose[0].steps[1].prompt.template.text="Changed"'
    async with Pipeline.load(path, overrides=[change], environment={}) as pipeline:
        assert (await pipeline.run("leave")).text == "main: Changed"


async def test_a_tool_searches_with_what_was_chosen_run_side_by_side_and_called(load: Load, write: Any) -> None:
    """The steps before it find items for its own words, and tell no steps of their own."""
    write("- gather: {use: own.shelf, label: called}\n", name="other")
    steps = """
- choose:
  - {when: "{{ 'model' in query }}", steps: [{gather: {use: own.shelf, label: chosen}}]}
  - steps: [{gather: {use: own.shelf, label: not chosen}}, {generate: spare, as: said}]
- together: [{gather: {use: own.shelf, label: beside}}]
- call: {pipeline: ./other.yaml, take: items}
- generate: {model: main, tools: [search]}
"""
    models = MODELS.replace("main: {use: own.echo,", "main: {use: own.echo, calls: search,")
    seen, answer = await steps_of(load(steps, models=models), "hi")
    assert answer is not None
    [told] = answer.tools
    assert told.outcome == "ok"
    assert [entry.title for entry in told.trace] == ["chosen", "beside", "called"]
    assert "beside on asked by the model" in (told.result or "")
    assert len([event for event in seen if event.path == "steps[1].together[0]"]) == 1
