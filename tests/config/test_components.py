"""Components named in a file, and inside options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nexus_core.config.check import Checked
from nexus_core.config.spec import ComponentSpec, RankSpec, RecordSpec

PIPELINE = "name: x\nmodels: {{m: chat}}\nsteps:\n- rank: {}\n- prompt: answers\n- generate:\n"


def ranker(checked: Callable[..., Checked], text: str) -> ComponentSpec:
    """Return the ranker that `rank: TEXT` names."""
    result = checked(PIPELINE.format(text))
    assert result.problems == ()
    assert result.spec is not None
    step = result.spec.steps[0]
    assert isinstance(step, RankSpec)
    return step.ranker


@pytest.mark.parametrize("text", ["words", "{use: words}"])
def test_component_is_a_name_or_a_mapping(text: str, checked: Callable[..., Checked]) -> None:
    """Both forms mean the same."""
    spec = ranker(checked, text)
    assert (spec.use, spec.options, spec.kind.word) == ("words", {}, "ranker")


def test_component_keeps_the_options_that_are_given(checked: Callable[..., Checked]) -> None:
    """Defaults are left to the component."""
    assert ranker(checked, "{use: words, top: 5}").options == {"top": 5}


def test_component_nests_in_options(checked: Callable[..., Checked]) -> None:
    """In a list, in a record, or alone; each by name or as a mapping."""
    text = "{use: fuse, first: words, rankers: [words, {use: words, top: 1}], weighted: [{ranker: words, weight: 2}]}"
    options = ranker(checked, text).options
    assert isinstance(options["first"], ComponentSpec)
    assert [(inner.use, inner.options) for inner in options["rankers"]] == [("words", {}), ("words", {"top": 1})]
    (record,) = options["weighted"]
    assert isinstance(record, RecordSpec)
    assert (record.cls.__name__, record.fields["weight"], record.fields["ranker"].use) == ("Weighted", 2.0, "words")


MESSAGES = {
    "3": "a ranker is its name, or a mapping {use: name, ...} with options, found 3",
    "[words]": "a ranker is its name, or a mapping {use: name, ...} with options, found a list",
    "": "a ranker is its name, or a mapping {use: name, ...} with options, found nothing",
    "{top: 3}": "a ranker mapping needs `use`, the ranker's name",
    "{words: {top: 3}}": "a ranker mapping needs `use`, the ranker's name: write {use: words, ...}",
    "{use: 3}": "`use` must be the name of a ranker, found 3",
    "wrods": "no ranker is named 'wrods', did you mean 'words'? Installed: words and fuse",
    "{use: words, tpo: 3}": (
        "ranker 'words' takes no 'tpo', did you mean 'top'? It takes: top, language, weights and use"
    ),
    "{use: words, index: 3}": "ranker 'words' takes no 'index'; it takes: top, language, weights and use",
    "{use: fuse, rankers: [{use: words, top: x}]}": "`top` must be a whole number, found 'x'",
    "{use: fuse, first: {use: nope}}": "no ranker is named 'nope'; installed: words and fuse",
    "{use: broken, a: 1}": "the options of 'broken' cannot be read: NameError: name 'Nowhere' is not defined",
}


@pytest.mark.parametrize("text", MESSAGES)
def test_component_problem_is_said_once_and_in_words(text: str, checked: Callable[..., Checked]) -> None:
    """One mistake is one problem, wherever the component stands."""
    assert [problem.message for problem in checked(PIPELINE.format(text)).problems] == [MESSAGES[text]]


def test_component_from_a_plugin_file_is_known(checked: Callable[..., Checked], tmp_path: Any) -> None:
    """A file beside the pipeline offers its components under its own name, and the catalogue goes on with it."""
    (tmp_path / "mine.py").write_text("")
    result = checked(PIPELINE.format("mine") + "plugins: [./mine.py]\n")
    assert result.problems == ()
    assert result.spec is not None
    assert result.spec.plugin_files == (str(tmp_path / "mine.py"),)
    assert "mine" in result.catalogue.names(result.spec.steps[0].ranker.kind)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("./gone.py", "there is no such file"),
        ("../p.py", "'..' is not allowed"),
        ("./link.py", "leads out of the pipeline's folder"),
        ("/etc/passwd", "must be relative"),
        ("~/p.py", "must be relative"),
        ("a\\\\b.py", "must be relative"),
        ("./notes.txt", "ends in .py"),
        ("./two.dots.py", "cannot be a plugin's"),
        ("./folder", "there is no such file"),
        ("a\\0b.py", "cannot be read"),
        ("a" * 300 + ".py", "cannot be read"),
    ],
)
def test_plugin_file_stays_beside_the_pipeline(
    path: str, reason: str, checked: Callable[..., Checked], tmp_path: Any
) -> None:
    """What is imported is a Python file in the pipeline's folder, and nothing that leads elsewhere."""
    (tmp_path / "folder").mkdir()
    for name in ("notes.txt", "two.dots.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "link.py").symlink_to("/etc/hosts")
    problems = checked(PIPELINE.format("words") + f'plugins: ["{path}"]\n').problems
    assert [problem.code for problem in problems] == ["P002"]
    assert reason in problems[0].message
