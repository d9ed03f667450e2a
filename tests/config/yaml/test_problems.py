"""Every code by example: a file that has the problem, and where the problem is shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core.config.yaml.problems import CODES

HEAD = "name: x\nmodels: {m: chat}\n"
STEPS = "steps:\n- generate: m\n"

EXAMPLES: list[tuple[str, str, str | bytes]] = [
    ("Y001", "2:3", b"name: x\nb \xff: 1\n"),
    ("Y002", "1:1", "#" * (256 * 1024 + 1)),
    ("Y002", "1:65", "[" * 100),
    ("Y002", "1:39996", "[" + "1," * 20_001 + "]"),
    ("Y003", "2:1", "name: x\n\tsteps: []\n"),
    ("Y003", "1:7", "name: 'x\nsteps: []\n"),
    ("Y003", "1:18", "x: {m: chat, k: ${KEY}}\n"),
    ("Y004", "4:1", HEAD + "\nname: y\n" + STEPS),
    ("Y005", "1:7", "name: &n x\n" + STEPS + "models: {m: chat}\n"),
    ("Y005", "4:13", HEAD + "steps:\n- generate: *m\n"),
    ("Y005", "3:1", HEAD + "<<: {a: 1}\n" + STEPS),
    ("Y006", "1:7", "name: !!str x\nmodels: {m: chat}\n" + STEPS),
    ("Y007", "3:1", HEAD + "12: x\n" + STEPS),
    ("Y007", "5:10", HEAD + STEPS + "  when: {{ items }}\n"),
    ("Y008", "5:12", HEAD + STEPS + "  timeout: .inf\n"),
    ("Y009", "5:1", HEAD + STEPS + "---\nname: y\n"),
    ("Y010", "3:16", HEAD + "description: 'a\x01'\n" + STEPS),
    ("Y010", "3:14", HEAD + 'description: "\\ud800"\n' + STEPS),
    ("S001", "1:1", "# nothing\n"),
    ("S001", "1:1", "- name: x\n"),
    ("S002", "3:1", HEAD + "step: []\n" + STEPS),
    ("S002", "4:3", HEAD + "steps:\n- rnk: words\n- generate: m\n"),
    ("S002", "4:22", HEAD + "steps:\n- rank: {use: words, topp: 3}\n- generate: m\n"),
    ("S003", "1:1", "models: {m: chat}\n" + STEPS),
    ("S003", "4:11", HEAD + "steps:\n- gather: files\n- generate: m\n"),
    ("S003", "4:9", HEAD + "steps:\n- rank: {words: {top: 3}}\n- generate: m\n"),
    ("S003", "4:11", HEAD + "steps:\n- prompt: {use: answers}\n- generate: m\n"),
    ("S004", "4:3", HEAD + "steps:\n- as: a\n- generate: m\n"),
    ("S004", "4:3", HEAD + "steps:\n- rank: words\n  generate: m\n"),
    ("S005", "5:9", HEAD + "steps:\n- rank: words\n  into: query\n- prompt: answers\n- generate: m\n"),
    ("S005", "5:7", HEAD + "steps:\n- prompt: answers\n  as: draft\n- generate: m\n"),
    ("S006", "4:41", HEAD + "steps:\n- prompt: {template: answers, overflow: cut}\n- generate: m\n"),
    ("S006", "3:39", HEAD + "inputs: {a: {required: true, default: 1}}\n" + STEPS),
    ("S006", "2:58", "name: x\nmodels: {m: {use: chat, breaker: {longest_open: 5, open: 6}}}\n" + STEPS),
    ("S007", "2:33", "name: x\nmodels: {m: {use: chat, limits: {queue: 5}}}\n" + STEPS),
    ("T001", "3:10", HEAD + "content: 'yes'\n".replace("'", "") + STEPS),
    ("T001", "3:8", "name: x\nmodels: {m: chat}\nsteps: {generate: m}\n"),
    ("T001", "4:3", HEAD + "steps:\n- rank words\n- generate: m\n"),
    ("T001", "2:13", "name: x\nmodels: {m: 3}\n" + STEPS),
    ("T002", "4:27", HEAD + "steps:\n- rank: {use: words, top: 0}\n- generate: m\n"),
    ("T002", "2:59", "name: x\nmodels: {m: {use: chat, window: 10, options: {max_tokens: 10}}}\n" + STEPS),
    ("T003", "4:38", HEAD + "steps:\n- prompt: {template: answers, order: best}\n- generate: m\n"),
    ("T004", "1:7", "name: two words\nmodels: {m: chat}\n" + STEPS),
    ("T004", "5:9", HEAD + STEPS + "  when: items\n"),
    ("T004", "5:12", HEAD + STEPS + "  timeout: soon\n"),
    ("N001", "4:13", HEAD + "steps:\n- generate: n\n"),
    ("N001", "2:36", "name: x\nmodels: {m: {use: chat, fallback: [n]}}\n" + STEPS),
    ("N002", "2:51", "name: x\nmodels: {m: {use: chat}, n: {use: chat, aliases: [m]}}\n" + STEPS),
    ("N003", "2:10", "name: x\nmodels: {m: {use: chat, fallback: n}, n: {use: chat, fallback: m}}\n" + STEPS),
    ("N004", "2:19", "name: x\nmodels: {m: chat, n: chat}\n" + STEPS),
    ("N005", "2:10", "name: x\nmodels: {m 1: chat}\nsteps:\n- generate:\n"),
    ("N005", "5:7", HEAD + STEPS + "  as: a-b\n"),
    ("N006", "3:13", "name: x\nsteps:\n- generate: m\n"),
    ("N007", "7:9", HEAD + STEPS + "tests:\n- {name: a, query: q}\n- name: a\n  query: q\n"),
    ("N008", "6:57", HEAD + STEPS + "tests:\n- {name: a, query: q, items: [x], expect: {not_packed: [y]}}\n"),
    ("P001", "4:9", HEAD + "steps:\n- rank: word\n- generate: m\n"),
    ("P002", "3:11", HEAD + "plugins: [./gone.py]\n" + STEPS),
    ("P002", "3:11", HEAD + "plugins: [../mine.py]\n" + STEPS),
    ("P003", "3:11", HEAD + "plugins: [./mine.py]\n" + STEPS),
    ("P004", "4:9", HEAD + "steps:\n- rank: broken\n- generate: m\n"),
    ("P005", "4:32", HEAD + "steps:\n- generate: {model: m, tools: [mute]}\n"),
    ("E001", "3:14", HEAD + "description: ${GONE}\n" + STEPS),
    ("E002", "3:14", HEAD + "description: ${a.b}\n" + STEPS),
    ("E002", "2:34", "name: x\nmodels: {m: {use: chat, api_key: $CHAT_KEY}}\n" + STEPS),
    ("E003", "3:11", HEAD + "plugins: ['./${SET}.py']\n" + STEPS),
    ("E003", "4:32", HEAD + "steps:\n- rank: {use: words, weights: {'${SET}': 1}}\n- generate: m\n"),
    ("E004", "5:12", HEAD + STEPS + "  timeout: ${ENDLESS}\n"),
    ("X001", "5:9", HEAD + STEPS + '  when: "{{ items | }}"\n'),
    ("X002", "5:9", HEAD + STEPS + '  when: "{{ item }}"\n'),
    ("X003", "5:9", HEAD + STEPS + '  when: "{{ inputs.tone }}"\n'),
    ("X004", "5:9", HEAD + STEPS + '  when: "{{ vars.a }}"\n  as: a\n'),
    ("X005", "3:14", HEAD + "description: '{{ query }}'\n" + STEPS),
    ("X006", "4:11", HEAD + "steps:\n- prompt: ./gone.jinja\n- generate: m\n"),
    ("X007", "4:29", HEAD + "steps:\n- prompt: {template: {text: '{{ tone }}'}}\n- generate: m\n"),
    ("X007", "4:22", HEAD + "steps:\n- prompt: {template: summary}\n- generate: m\n"),
    ("X008", "4:29", HEAD + "steps:\n- prompt: {template: {text: hi}, variables: {tone: 1}}\n- generate: m\n"),
    ("J001", "4:39", HEAD + "steps:\n- generate: {model: m, schema: {type: txt}}\n"),
    ("J001", "4:32", HEAD + "steps:\n- generate: {model: m, schema: ./gone.json}\n"),
    ("O001", "3:8", "name: x\nmodels: {m: chat}\nsteps: []\n"),
    ("O002", "5:3", HEAD + "steps:\n- prompt: answers\n- rank: words\n- generate: m\n"),
    ("O003", "4:3", HEAD + "steps:\n- prompt: answers\n- prompt: answers\n- generate: m\n"),
    ("O004", "4:3", HEAD + "steps:\n- rank: words\n- gather: notes\n- prompt: answers\n- generate: m\n"),
    ("O005", "4:3", HEAD + STEPS + "  into: query\n"),
    ("O006", "4:3", HEAD + "steps:\n- prompt: answers\n"),
    ("O007", "4:3", HEAD + "steps:\n- gather: notes\n- generate: m\n"),
    ("O008", "3:3", "name: x\nsteps:\n- gather: notes\n"),
    ("O009", "3:10", HEAD + "rewrite: true\n" + STEPS),
    ("O010", "4:12", HEAD + "steps:\n- choose: [{steps: [generate: m]}, {steps: [generate: m]}]\n"),
    ("O011", "4:29", HEAD + "steps:\n- together: [gather: notes, rank: words]\n- prompt: answers\n- generate: m\n"),
    ("O011", "4:14", HEAD + "steps:\n- together: [generate: m]\n- generate: m\n"),
    ("C001", "4:9", HEAD + "steps:\n- call: ./gone.yaml\n  as: a\n- generate: m\n"),
    ("C001", "4:9", HEAD + "steps:\n- call: ../other.yaml\n  as: a\n- generate: m\n"),
    ("C002", "4:9", HEAD + "steps:\n- call: ./p.yaml\n  as: a\n- generate: m\n"),
    ("C003", "4:9", HEAD + "steps:\n- call: ./items.yaml\n  as: a\n- generate: m\n"),
    ("Z001", "103:1", HEAD + "".join(f"k{number}: 1\n" for number in range(150)) + STEPS),
]
OVERRIDES = [("V001", "1:1", "steps"), ("V002", "1:1", "steps[7].timeout=3"), ("T001", "1:17", "models.m.window=big")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "place", "text"), EXAMPLES, ids=[f"{code}-{n}" for n, (code, *_) in enumerate(EXAMPLES)]
)
def test_check_finds_each_problem_at_its_place(
    code: str, place: str, text: str | bytes, found: Callable[..., list[str]], tmp_path: Path
) -> None:
    """A code has an example whose only problem it is, and the place is where a person would look."""
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "p.yaml").write_text("the file that is checked")
    (tmp_path / "items.yaml").write_text("name: items\nsteps:\n- gather: notes\n")
    problems = found(text, {"ENDLESS": "1e999", "SET": "a"})
    assert problems[-1:] == [f"{place} {code}"] if code == "Z001" else problems == [f"{place} {code}"]


@pytest.mark.parametrize(("code", "place", "override"), OVERRIDES, ids=[code for code, *_ in OVERRIDES])
def test_check_shows_the_problem_of_an_override_there(
    code: str, place: str, override: str, found: Callable[..., list[str]]
) -> None:
    """The place of an overridden value is the option of the command, not the file."""
    assert found(HEAD + STEPS, {}, [override]) == [f"{place} {code}"]


def test_codes_have_an_example_each() -> None:
    """A new code needs an example here."""
    assert {code for code, *_ in [*EXAMPLES, *OVERRIDES]} == set(CODES)


def test_codes_are_well_formed() -> None:
    """A code is a letter and three digits, its meaning a sentence."""
    assert all(re.fullmatch(r"[A-Z]\d{3}", code) and meaning.endswith(".") for code, meaning in CODES.items())
