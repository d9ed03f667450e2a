"""`expand` of a gather step: what it may say, what lint finds, and what an editor is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from nexus_core.config.check import Checked
from nexus_core.config.schema import schema
from nexus_core.config.spec import ExpandSpec, GatherSpec

STEPS = "steps:\n- gather: {use: files, paths: [a], expand: EXPAND}\n- prompt: answers\n- generate: m\n"
FILE = "name: x\nmodels: {m: {use: chat, aliases: [best]}, n: chat}\n" + STEPS


def expand_of(checked: Callable[..., Checked], said: str, file: str = FILE) -> ExpandSpec | None:
    """Return what a file without errors says."""
    result = checked(file.replace("EXPAND", said))
    assert [str(problem) for problem in result.problems if problem.severity == "error"] == []
    assert result.spec is not None
    step = result.spec.steps[0]
    assert isinstance(step, GatherSpec)
    assert step.source.options == {"paths": ("a",)}
    return step.expand


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ("{}", {"by": "phrasings", "phrasings": 3, "model": None, "timeout_s": 10.0, "fusion": "rrf"}),
        ("{phrasings: 5, model: best, timeout: 500ms}", {"phrasings": 5, "model": "m", "timeout_s": 0.5}),
        ("feedback", {"by": "feedback", "items": 3, "words": 20, "weight": 0.5, "fusion": "rrf"}),
        ("{by: feedback, fusion: scores, items: 1}", {"by": "feedback", "items": 1, "fusion": "scores"}),
        ("{by: hypothetical, model: n, max_tokens: 64}", {"by": "hypothetical", "model": "n", "max_tokens": 64}),
    ],
)
def test_expand_says_what_is_searched_for(said: str, fields: dict[str, Any], checked: Callable[..., Checked]) -> None:
    """A word alone is `by`; durations are seconds; an alias is the model it stands for."""
    found = expand_of(checked, said)
    assert {name: getattr(found, name) for name in fields} == fields


def test_nothing_is_expanded_by_default(checked: Callable[..., Checked]) -> None:
    """An override takes it away with `null`."""
    assert expand_of(checked, "null") is None
    assert expand_of(checked, "", FILE.replace(", expand: EXPAND", "")) is None


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ("3", "T003", "`by` must be phrasings, feedback or hypothetical"),
        ("[feedback]", "T001", "`expand` must be a mapping"),
        ("{by: words}", "T003", "`by` must be"),
        ("{by: feedback, phrasings: 3}", "S006", "`phrasings` has no effect with `by: feedback`"),
        ("{by: feedback, model: m}", "S006", "`model` has no effect"),
        ("{items: 3}", "S006", "`items` has no effect with `by: phrasings`"),
        ("{by: hypothetical, phrasings: 2}", "S006", "`phrasings` has no effect with `by: hypothetical`"),
        ("{phrasings: 9}", "T002", "`phrasings` must be from 1 to 8"),
        ("{weight: 0}", "T002", "`weight` must be more than 0"),
        ("{timeout: soon}", "T004", "`timeout` must be seconds"),
        ("{model: nobody}", "N001", "no model is named 'nobody'"),
        ("{phrasing: 3}", "S002", "did you mean 'phrasings'?"),
    ],
)
def test_wrong_settings_are_told(said: str, code: str, words: str, checked: Callable[..., Checked]) -> None:
    """Each at its place, and one message for each."""
    (problem,) = (each for each in checked(FILE.replace("EXPAND", said)).problems if each.severity == "error")
    assert problem.code == code
    assert words in problem.message


def test_phrasings_need_a_model(checked: Callable[..., Checked]) -> None:
    """Feedback needs none, and that is said."""
    file = "name: x\nsteps:\n- gather: {use: files, paths: [a], expand: EXPAND}\n  as: found\n"
    codes = [problem.code for problem in checked(file.replace("EXPAND", "{}")).problems]
    assert "N006" in codes
    assert "N006" not in [problem.code for problem in checked(file.replace("EXPAND", "feedback")).problems]


def test_a_model_that_only_expands_is_used(checked: Callable[..., Checked]) -> None:
    """It is no model that nothing names."""
    assert [problem.code for problem in checked(FILE.replace("EXPAND", "{model: m}")).problems] == ["N004"]
    assert checked(FILE.replace("EXPAND", "{model: n}")).problems == ()


def test_a_key_of_expand_beside_it_is_told_where_it_belongs(checked: Callable[..., Checked]) -> None:
    """And `expand` itself is at home in a gather step, whatever else is wrong with the file."""
    file = FILE.replace("expand: EXPAND", "expand: {by: feedback}, words: 5")
    (problem,) = (each for each in checked(file).problems if each.severity == "error")
    assert (problem.code, "`words` belongs to `expand`" in problem.message) == ("S002", True)
    misspelt = checked(FILE.replace("EXPAND", "{by: feedback}").replace("- prompt: answers", "- prompt: answer"))
    assert [each.code for each in misspelt.problems] == ["P001"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "is_good"),
    [
        ("feedback", True),
        (None, True),
        ({"phrasings": 3, "model": "m", "timeout": "5s"}, True),
        ({"by": "words"}, False),
        ({"phrasings": 99}, False),
        ({"phrasing": 3}, False),
    ],
)
def test_an_editor_knows_expand(said: Any, is_good: bool, components: Any) -> None:
    """Beside the options of each source."""
    step = {"gather": {"use": "files", "paths": ["a"], "expand": said}}
    pipeline = {"name": "x", "models": {"m": "chat"}, "steps": [step, {"generate": "m"}]}
    assert Draft202012Validator(schema(components)).is_valid(pipeline) is is_good
