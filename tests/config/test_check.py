"""A whole file: what comes out of a sound one, and that nothing comes out of the others but problems."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from nexus_core.config.check import Checked, check
from nexus_core.config.spec import GatherSpec, GenerateSpec, InputSpec, PromptSpec, RankSpec
from nexus_core.config.yaml.problems import CODES
from nexus_core.contract.errors import Problem


def test_check_returns_the_whole_specification(checked: Callable[..., Checked], full: str, tmp_path: Path) -> None:
    """Everything that a file says is in it, and nothing is a problem."""
    result = checked(full)
    assert result.problems == ()
    spec = result.spec
    assert spec is not None
    assert (spec.name, spec.default_model, spec.content) == ("handbook", "main", False)
    assert spec.path == str(tmp_path / "p.yaml")
    assert [model.name for model in spec.models] == ["main", "spare", "tiny"]
    assert [type(step) for step in spec.steps] == [
        GatherSpec, PromptSpec, GenerateSpec, RankSpec, PromptSpec, GenerateSpec,
    ]  # fmt: skip
    assert [step.index for step in spec.steps] == list(range(6))
    rewriting = spec.steps[2]
    assert isinstance(rewriting, GenerateSpec)
    assert (rewriting.model, rewriting.into_query, rewriting.timeout_s) == ("spare", True, 30.0)
    assert spec.inputs == (
        InputSpec(name="tone", default="friendly"),
        InputSpec(name="audience", default="staff", description="Who asks."),
        InputSpec(name="topic", required=True),
    )


def test_check_finds_everything_in_one_pass(found: Callable[..., list[str]]) -> None:
    """Mistakes of every layer, in the order of the file."""
    text = """\
nmae: x
models:
  main: {use: chat, windo: 10, fallback: [gone]}
  main: chat
steps:
  - gather: {use: files, paths: docs}
    when: {{ items }}
  - rank: wrods
    as: ${GONE}
  - prompt: {template: answers, budget: -1, unit: word}
  - generate: mian
    timeout: soon
"""
    assert found(text) == [
        "1:1 S002", "1:1 S003", "3:21 S002", "3:43 N001", "4:3 Y004", "6:33 T001", "7:12 Y007", "8:11 P001", "9:9 E001",
        "10:41 T002", "10:51 T003", "11:15 N001", "12:14 T004",
    ]  # fmt: skip


def test_check_takes_standard_input(catalogue: Any) -> None:
    """`-` is no path; files are looked for in the working directory."""
    result = check("name: x\nsteps:\n- prompt: ./gone.jinja\n- generate:\nmodels: {m: chat}\n", "-", catalogue, {})
    assert "in the working directory" in result.problems[0].message
    result = check("name: x\nsteps:\n- generate:\nmodels: {m: chat}\n", "-", catalogue, {})
    assert result.spec is not None
    assert result.spec.path is None


def test_warnings_keep_nothing_from_loading(checked: Callable[..., Checked]) -> None:
    """A warning is a problem of another severity, and waits until there are no errors."""
    warned = checked("name: x\nmodels: {a: chat, b: chat}\nsteps:\n- generate:\n")
    assert warned.spec is not None
    assert [problem.severity for problem in warned.problems] == ["warning"]
    broken = checked("name: x\nmodels: {a: chat, b: chat}\nsteps:\n- generate: c\n")
    assert [problem.code for problem in broken.problems] == ["N001"]


@pytest.mark.parametrize("wrong", ["\x1b[2Jx", "a\nb", "y" * 5000], ids=["escape", "line", "long"])
def test_messages_are_one_printable_line(wrong: str, checked: Callable[..., Checked]) -> None:
    """What a file or a plugin says cannot write to the terminal, break the line format, or flood it."""
    text = (
        'name: x\nmodels: {m: chat}\nsteps:\n- rank: "' + wrong.encode("unicode_escape").decode() + '"\n- generate:\n'
    )
    for problem in checked(text).problems:
        assert problem.message.isprintable()
        assert len(problem.message) <= 1000


def test_problems_beyond_a_hundred_are_counted(checked: Callable[..., Checked]) -> None:
    """The last line says how many more, and is an error if any of those is."""
    problems = checked("".join(f"k{number}: 1\n" for number in range(300))).problems
    assert len(problems) == 101
    assert (problems[-1].code, problems[-1].severity) == ("Z001", "error")
    assert "201 more" in problems[-1].message or "202 more" in problems[-1].message


def assert_sound(problems: tuple[Problem, ...], spec: Any) -> None:
    """A spec or an error, never both; and every problem is a known one at a real place."""
    errors = [problem for problem in problems if problem.severity == "error"]
    assert (spec is None) == bool(errors)
    for problem in problems:
        assert problem.code in CODES
        assert problem.message.isprintable()
        assert problem.line >= 1
        assert problem.column >= 1


def mutated(text: str, seed: int) -> bytes:
    """Return the text with a few bytes, lines or words deleted, doubled, swapped or replaced."""
    chance = random.Random(seed)
    lines = text.splitlines(keepends=True)
    words = text.split()
    for _ in range(chance.randint(1, 3)):
        at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        kind = chance.randrange(6)
        if kind == 0:
            lines[at : at + chance.randint(1, 3)] = [""]
        elif kind == 1:
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == 2:
            lines.insert(at, lines[other])
        elif kind == 3:
            lines[at] = lines[at].replace(chance.choice(lines[at].split() or ["-"]), chance.choice(words), 1)
        elif kind == 4:
            lines[at] = " " * chance.randint(0, 6) + lines[at].lstrip()
        else:
            place = chance.randrange(len(lines[at]) + 1)
            lines[at] = (
                lines[at][:place] + chance.choice("{}[]:,'\"#&*!|>-?%@\t$\\ \x00\n") + lines[at][place + kind % 2 :]
            )
    return "".join(lines).encode()


@pytest.mark.parametrize("seed", range(150))
def test_check_never_raises_on_a_mutated_file(seed: int, checked: Callable[..., Checked], full: str) -> None:
    """A file that was sound a moment ago is what people really have."""
    result = checked(mutated(full, seed))
    assert_sound(result.problems, result.spec)


VALUES = ["", "x", "main", "words", "chat", "3", "-1", "true", "'{{ query }}'", "'{{'", "${A}", "'${'", "./a.jinja"]
INNER_KEYS = [
    "use",
    "template",
    "text",
    "model",
    "options",
    "variables",
    "quota",
    "pin",
    "top",
    "rankers",
    "default",
    "x",
]
NODES = st.recursive(
    st.sampled_from(VALUES),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | st.dictionaries(st.sampled_from(INNER_KEYS), inner, max_size=3).map(
            lambda parts: "{" + ", ".join(f"{key}: {value}" for key, value in parts.items()) + "}"
        )
    ),
    max_leaves=6,
)
KEYS = ["name", "models", "default", "steps", "sinks", "inputs", "plugins", "content"]
STEPS = st.lists(
    st.dictionaries(
        st.sampled_from(["gather", "rank", "prompt", "generate", "as", "when", "timeout", "into"]), NODES, max_size=3
    ),
    max_size=4,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(top=st.dictionaries(st.sampled_from(KEYS), NODES, max_size=8), steps=STEPS)
def test_check_never_raises_on_a_file_of_the_right_words(
    top: dict[str, str], steps: list[dict[str, str]], catalogue: Any
) -> None:
    """Known keys with values that do not belong there reach further than random bytes do."""
    lines = [f"{key}: {value}" for key, value in top.items() if key != "steps" or not steps]
    lines += ["steps:"] if steps else []
    for step in steps:
        body = [f"{key}: {value}" for key, value in step.items()] or ["{}"]
        lines += [("- " if number == 0 else "  ") + line for number, line in enumerate(body)]
    result = check("\n".join(lines), "p.yaml", catalogue, {"A": "7"})
    assert_sound(result.problems, result.spec)
