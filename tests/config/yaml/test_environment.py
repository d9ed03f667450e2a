"""`${NAME}` in values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nexus_core.config.check import Checked
from nexus_core.config.yaml.environment import interpolate
from nexus_core.config.yaml.problems import Problems
from nexus_core.config.yaml.reader import read
from nexus_core.config.yaml.tree import plain

ENVIRONMENT = {"A": "x", "N": "42", "T": "true", "E": "", "PAIR": "a: [b]", "MONEY": "${A}"}


def value_of(text: str) -> Any:
    """Return what `v: TEXT` means, or the codes of its problems."""
    problems = Problems("f")
    tree = read(f"v: {text}\n", "f", problems)
    assert tree is not None
    data = plain(interpolate(tree, ENVIRONMENT, problems))
    return [problem.code for problem in problems.listed()] or data["v"]


VALUES: dict[str, Any] = {
    "${A}": "x",
    "${N}": 42,
    "'${N}'": "42",
    '"${N}"': "42",
    "${N}0": "420",
    "n${N}": "n42",
    "${T}": True,
    "${E}": None,
    "'${E}'": "",
    "${E:-3}": 3,
    "${GONE:-8192}": 8192,
    "'${GONE:-8192}'": "8192",
    "${GONE:-}": None,
    "${GONE:-a:b-c}": "a:b-c",
    "${A}/${GONE:-b}/$${A}": "x/b/${A}",
    "$${N}": "${N}",
    "$A and $": "$A and $",
    "${PAIR}": "a: [b]",
    "${MONEY}": "${A}",
    "|\n  ${A}": "x\n",
    "${GONE}": ["E001"],
    "${}": ["E002"],
    "${a b}": ["E002"],
    "${A": ["E002"],
    "x ${1A}": ["E002"],
}


@pytest.mark.parametrize("text", VALUES)
def test_interpolate_replaces_and_types(text: str) -> None:
    """A lone unquoted interpolation has the type of its value; quotes or company make it text."""
    assert value_of(text) == VALUES[text]


def test_interpolate_suggests_a_close_name(checked: Callable[..., Checked]) -> None:
    """Names of variables are no secrets."""
    problems = checked("name: ${NAEM}\nsteps: []\n", {"NAME": "x"}).problems
    assert "did you mean 'NAME'?" in problems[0].message


@pytest.mark.parametrize("value", ["\udcff", "a\udc80b"], ids=["alone", "inside"])
def test_interpolate_refuses_bytes_that_are_no_text(value: str, found: Callable[..., list[str]]) -> None:
    """An environment may hold any bytes; a pipeline holds text."""
    assert found("name: ${X}\nsteps:\n- gather: notes\n", {"X": value}) == ["1:7 E004"]


@pytest.mark.parametrize(
    "step",
    [
        "generate: m\n  when: '{{ items }} ${X}'",
        "prompt: {template: {text: 'a ${X}'}}",
        "prompt: {template: answers, variables: {a: '${X}'}}",
    ],
    ids=["when", "template", "variables"],
)
def test_environment_brings_no_expression(step: str, found: Callable[..., list[str]]) -> None:
    """What comes from outside is data: evaluating it would run somebody else's words."""
    text = f"name: x\nmodels: {{m: chat}}\nsteps:\n- {step}\n- generate: m\n"
    assert [problem.split()[1] for problem in found(text, {"X": "{{ inputs }}"})] == ["E004"]


@pytest.mark.slow
def test_environment_never_stands_in_a_message(checked: Callable[..., Checked], full: str) -> None:
    """Wherever a secret is put by mistake, no problem shows it."""
    canary = "canary-3f9a"
    lines = full.splitlines()
    for number, line in enumerate(lines):
        for word in line.replace(",", " ").replace("[", " ").replace("]", " ").replace("}", " ").split():
            if word.endswith(":") or word == "-":
                continue
            changed = [*lines[:number], line.replace(word, '"${X}"', 1), *lines[number + 1 :]]
            for problem in checked("\n".join(changed), {"X": canary}).problems:
                assert canary not in problem.message
