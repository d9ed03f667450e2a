"""`--set path=value`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from nexus_core.config.yaml.overrides import apply
from nexus_core.config.yaml.problems import Problems
from nexus_core.config.yaml.reader import read
from nexus_core.config.yaml.tree import plain

TEXT = """\
name: x
models: {m: chat, n: {use: chat, "v1.5": 1}}
inputs: {tone: plain, empty: }
steps:
- gather: {use: files, paths: [a]}
- rank: words
- prompt: answers
- generate:
sinks: [log]
"""


def changed(*overrides: str) -> tuple[Any, list[str]]:
    """Return the data with overrides, and the problems' texts."""
    problems = Problems("f")
    tree = read(TEXT, "f", problems)
    assert tree is not None
    return plain(apply(tree, overrides, problems)), [str(problem) for problem in problems.listed()]


def at(data: Any, *path: Any) -> Any:
    """Return what stands at a path."""
    for part in path:
        data = data[part]
    return data


CHANGES: dict[str, tuple[tuple[Any, ...], Any]] = {
    "name=y": (("name",), "y"),
    "description=a: b, [c] # d": (("description",), "a: b, [c] # d"),
    "content=true": (("content",), True),
    "name='12'": (("name",), "12"),
    "name=": (("name",), None),
    "steps[0].gather.paths=[a, '*.md']": (("steps", 0, "gather", "paths"), ["a", "*.md"]),
    "steps[0].gather.paths[0]=**/*.md": (("steps", 0, "gather", "paths", 0), "**/*.md"),
    "steps[0].gather={use: notes}": (("steps", 0, "gather"), {"use": "notes"}),
    "steps[1].rank.top=5": (("steps", 1, "rank"), {"use": "words", "top": 5}),
    "steps[2].prompt.budget=0x10": (("steps", 2, "prompt"), {"template": "answers", "budget": 16}),
    "steps[2].prompt.template.tone=b": (("steps", 2, "prompt"), {"template": {"use": "answers", "tone": "b"}}),
    "steps[3].generate.model=n": (("steps", 3, "generate"), {"model": "n"}),
    "steps[3].generate.options.stop=[a]": (("steps", 3, "generate"), {"options": {"stop": ["a"]}}),
    "models.m.window=10": (("models", "m"), {"use": "chat", "window": 10}),
    'models.n."v1.5"=2': (("models", "n"), {"use": "chat", "v1.5": 2}),
    'models."a=b.c".use=chat': (("models", "a=b.c"), {"use": "chat"}),
    "inputs.tone.required=true": (("inputs", "tone"), {"default": "plain", "required": True}),
    "inputs.empty.description=d": (("inputs", "empty"), {"description": "d"}),
    "steps[3].when={{ items }}": (("steps", 3, "when"), "{{ items }}"),
    "sinks[0].path=a=b": (("sinks", 0), {"use": "log", "path": "a=b"}),
}


@pytest.mark.parametrize("override", CHANGES)
def test_apply_puts_the_value_where_the_path_leads(override: str) -> None:
    """Missing mappings are made, short forms are widened, values are typed like plain scalars."""
    data, problems = changed(override)
    path, value = CHANGES[override]
    assert (at(data, *path), problems) == (value, [])


REFUSED = {
    "steps": "1:1 V001 --set 'steps': an override must be path=value",
    "=1": "1:1 V001",
    "[0]=1": "1:1 V001",
    "a..b=1": "1:1 V001",
    "a[x]=1": "1:1 V001",
    ".".join("a" * 40) + "=1": "1:1 V001",
    "steps.rank=1": "1:1 V002 --set 'steps.rank': steps is a list: say which entry, as in steps[0].rank",
    "steps[4].rank=1": "1:1 V002 --set 'steps[4].rank': steps has 4 entries, [0] to [3]; an override cannot add one",
    "name[0]=1": "1:1 V002 --set 'name[0]': name is no list but 'x', so it has no entry [0]",
    "gone[0]=1": "1:1 V002 --set 'gone[0]': gone is no list but nothing",
    "models.n.use.a.b=1": None,
    "name=[a": "1:6 Y003",
    "name={a: 1, a: 2}": "1:13 Y004",
    "name=.inf": "1:6 Y008",
}


@pytest.mark.parametrize("override", REFUSED)
def test_apply_says_why_an_override_cannot_be(override: str) -> None:
    """The place is the option's text, counted from its first character."""
    wanted = REFUSED[override]
    _, problems = changed(override)
    if wanted is not None:
        assert len(problems) == 1
        assert problems[0].startswith(f"--set:{wanted}")


def test_apply_takes_overrides_in_order() -> None:
    """A later one sees what an earlier one has made, and each has its own line."""
    data, problems = changed("steps[1].rank=[]", "steps[1].rank=words", "oops", "steps[1].rank.top=1")
    assert at(data, "steps", 1, "rank") == {"use": "words", "top": 1}
    assert [problem[:8] for problem in problems] == ["--set:3:"]


@pytest.mark.slow
@given(st.lists(st.text(alphabet='ab.[]0="{}:steps ', max_size=20), max_size=3))
def test_apply_never_raises(overrides: list[str]) -> None:
    """Any text is an override or a problem."""
    changed(*overrides)
