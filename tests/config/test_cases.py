"""The tests of a pipeline are linted: every problem at once, with its place and a hint; a run does not look at them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, strategies as st
from jsonschema import Draft202012Validator

from nexus_core.cli.commands.lint import command as lint
from nexus_core.config.cases.reader import connector_errors, read_cases
from nexus_core.config.check import check
from nexus_core.config.schema import schema
from nexus_core.engine.plugins import PluginRegistry

PIPELINE = """\
name: x
inputs: {tone: plain}
models: {main: {use: extractive, aliases: best}}
steps: [{prompt: {template: {text: "{{ inputs.tone }} {{ query }}"}}}, {generate: main}]
tests:
- name: a
  query: q
"""
WRONG = {
    "unknown key": ("expct: {}", "8:3 S002 test 'a' takes no 'expct', did you mean 'expect'?"),
    "unknown expectation": ("expect: {awnser: x}", "8:12 S002 `expect` takes no 'awnser', did you mean 'answer'?"),
    "unknown role": ("expect: {messages: {usr: x}}", "8:23 S002 `messages` takes no 'usr', did you mean 'user'?"),
    "wrong type": ("expect: {attempts: many}", "8:22 T001 `attempts` must be a whole number or a list of texts"),
    "unknown model": ("models: {mian: x}", "8:12 N001 no model is named 'mian', did you mean 'main'?"),
    "unknown expected model": ("expect: {model: bst}", "8:19 N001 no model is named 'bst', did you mean 'best'?"),
    "unknown input": ("inputs: {tome: x}", "8:12 X003 no input is named 'tome', did you mean 'tone'?"),
    "two ends": (
        "models: {main: {text: abc, cut: 1, stall: 1}}",
        "8:45 S006 a reply ends in one way, this one has `cut` and `stall`: keep one",
    ),
    "cut beyond the text": (
        "models: {main: {text: abc, cut: 4}}",
        "8:35 T002 `cut` is after the end of `text`, which has 3 characters",
    ),
    "wait without a failure": (
        "models: {main: {text: abc, retry_after: 4}}",
        "8:43 S006 `retry_after` has no effect without `status` or `error`",
    ),
    "status of success": ("models: {main: {status: 200}}", "8:27 T002 `status` must be from 400 to 599, found 200"),
    "unknown failure": (
        "models: {main: {error: rate_limt}}",
        "8:26 T003 `error` must be the kind of an error, found 'rate_limt', did you mean 'rate_limit'?",
    ),
    "unknown error": (
        "expect: {error: {kind: dedline}}",
        "8:26 T003 `kind` must be the kind of an error, found 'dedline', did you mean 'deadline'?",
    ),
    "answer and error": (
        "expect: {error: deadline, answer: x}",
        "8:37 S006 `answer` can never be as expected where `error` is: remove one of the two",
    ),
    "no outcome": (
        "expect: {attempts: [main]}",
        "8:23 T004 an attempt must be `model:outcome`, as in `main:ok`, found 'main'",
    ),
    "unknown outcome": (
        "expect: {fallback: ['main:okay']}",
        "8:23 T004 an attempt must be `model:outcome`, as in `main:ok`, found 'main:okay'",
    ),
    "attempt of an unknown model": ("expect: {fallback: ['man:ok']}", "8:23 N001 no model is named 'man', did you"),
    "no pattern": ("expect: {answer: {matches: '('}}", "8:30 T004 `matches` is no regular expression: missing )"),
    "no schema": (
        "expect: {answer: {json_schema: {type: txt}}}",
        "8:34 T004 `json_schema` is no JSON Schema up to draft 7: Unknown type",
    ),
    "impossible pattern": ("expect: {answer: {matches: 'a{99999999999}'}}", "8:30 T004 `matches` is no regular expr"),
    "schema over http": (
        "expect: {answer: {json_schema: {items: [{$ref: 'http://127.0.0.1:9/x#/a'}]}}}",
        "8:50 T004 in `json_schema`, `$ref` refers to another document, http://127.0.0.1:9/x, and none is fetched",
    ),
    "schema in a file": (
        "expect: {answer: {json_schema: {$ref: 'file:///etc/hostname'}}}",
        "8:41 T004 in `json_schema`, `$ref` refers to another document, file:///etc/hostname, and none is fetched",
    ),
    "schema beside its id": (
        "expect: {answer: {json_schema: {$id: 'ftp://127.0.0.1:9/', not: {$ref: x.json}}}}",
        "8:74 T004 in `json_schema`, `$ref` refers to another document, ftp://127.0.0.1:9/x.json, and none is",
    ),
    "unknown item": (
        "items: [{id: leave, text: x}]\n  expect: {packed: [leaf]}",
        "9:21 N008 the test gives no item 'leaf', did you mean 'leave'?",
    ),
    "two items of one id": (
        "items: [{id: a, text: x}, {id: a, text: y}]",
        "8:10 N007 two items of the test have the id 'a'",
    ),
    "two tests of one name": (
        "models: {}\n- name: a\n  query: q",
        "9:9 N007 two tests are called 'a', the other in x.yaml:6",
    ),
    "no mapping": ("models: {}\n- a", "9:3 T001 a test is a mapping with `name` and `query`, found 'a'"),
    "empty query": ("models: {}\n- name: b\n  query: ' '", "10:10 T004 the query of test 'b' is empty"),
    "no query": ("models: {}\n- name: b", "9:3 S003 test 'b' needs `query`: the question"),
}


def problems(text: str) -> list[str]:
    found = check(text, "x.yaml", PluginRegistry.installed(), {}, read_tests=read_cases).problems
    return [str(problem).removeprefix("x.yaml:") for problem in found]


@pytest.mark.parametrize(("more", "expected"), WRONG.values(), ids=WRONG)
def test_a_mistake_in_a_test_has_a_place_and_a_hint(more: str, expected: str) -> None:
    """As everywhere in the language."""
    [found] = problems(f"{PIPELINE}  {more}\n")
    assert found.startswith(expected)


def test_a_schema_may_refer_to_its_own_definitions() -> None:
    """Only other documents are refused."""
    schema = "{$ref: '#/definitions/days', definitions: {days: {type: number}}}"
    assert problems(f"{PIPELINE}  expect: {{answer: {{json_schema: {schema}}}}}\n") == []


ODD = ["${NOT_SET}", '"${NOT_SET}"', ".nan", ".inf", r'"a\uD800b"', "", "null", "*x", "!!str x", "&a b", "1e999"]
PLACES = [
    "inputs: {tone: ODD}", "items: [ODD]", "items: [{id: ODD, text: x}]", "items: [{id: x, text: ODD}]",
    "items: [{text: x, title: ODD}]", "items: [{text: x, tags: [ODD]}]", "items: [{text: x, metadata: {a: ODD}}]",
    "history: [{role: ODD, content: x}]", "history: [{role: user, content: ODD}]", "model: ODD", "stream: ODD",
    "models: {main: ODD}", "models: {main: [x, ODD]}", "models: {main: {text: ODD}}", "models: {main: {cut: ODD}}",
    "models: {main: {usage: {prompt_tokens: ODD}}}", "models: {main: {tool_calls: [{name: ODD}]}}", "models: ODD",
    "expect: {messages: {user: {matches: ODD}}}", "expect: {packed: [ODD]}", "expect: {packed: {contains: [ODD]}}",
    "expect: {attempts: [ODD]}", "expect: {answer: {json_schema: ODD}}",
    "expect: {answer: {json_schema: {const: ODD}}}",
    "expect: {tokens: {total_tokens: ODD}}", "expect: {error: {kind: ODD}}", "expect: {error: ODD}", "expect: ODD",
]  # fmt: skip


@given(
    name=st.sampled_from(["a", *ODD]),
    query=st.sampled_from(["q", *ODD]),
    odd=st.sampled_from(ODD),
    places=st.lists(st.sampled_from(PLACES), max_size=3, unique_by=lambda place: place.partition(":")[0]),
)
def test_no_scalar_of_a_test_crashes_lint(name: str, query: str, odd: str, places: list[str]) -> None:
    """What cannot be read is a problem with its place, whichever key has it."""
    head = PIPELINE.replace("name: a", f"name: {name}").replace("query: q", f"query: {query}")
    more = "".join(f"  {place.replace('ODD', odd)}\n" for place in places)
    found = problems(head + more)
    assert all(re.match(r"[1-9]\d*:[1-9]\d* [A-Z]\d{3} ", problem) for problem in found)
    assert found or odd in ("", "null") or not places


def test_a_test_gives_the_inputs_that_a_caller_must_give() -> None:
    """What has no default is missing in a run, too."""
    [found] = problems(PIPELINE.replace("tone: plain", "tone: , age: 3"))
    assert found == "6:3 S003 test 'a' needs the input 'tone', which has no default"


def test_braces_in_a_test_are_text() -> None:
    """A test may script or expect a template's braces: nothing of a test is evaluated."""
    assert problems(PIPELINE + "  expect: {messages: {user: {contains: '{{ x }}'}}}\n") == []


def test_tests_must_be_a_list() -> None:
    """As `steps` must be."""
    [found] = problems(PIPELINE.partition("tests:")[0] + "tests: {name: a}\n")
    assert found == "5:8 T001 `tests` must be a list: begin each test with '- name: ...'; found a mapping"


def test_a_run_does_not_look_at_the_tests() -> None:
    """A mistake in one, or a variable that only it reads, keeps no pipeline from running."""
    wrong = PIPELINE + "  expct: {answer: '${NOT_SET}'}\n"
    assert check(wrong, "x.yaml", PluginRegistry.installed(), {}).problems == ()
    assert len(problems(wrong)) == 2


@pytest.mark.parametrize("name", ["x.yaml", "x.tests.yaml", "."])
def test_lint_checks_the_file_of_tests_beside_a_pipeline(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two is named, or their folder: one pipeline, and places in the file that is wrong."""
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(PIPELINE)
    Path("x.tests.yaml").write_text("name: x\ntests:\n- {name: a, query: q}\n- {name: b, query: q, modl: main}\n")
    result = CliRunner().invoke(lint, [name])
    assert [line[:22] for line in result.stdout.splitlines()] == [
        "x.tests.yaml:1:1 S002 ", "x.tests.yaml:3:10 N007", "x.tests.yaml:4:23 S002",
    ]  # fmt: skip
    assert result.stderr == "1 file: 3 errors\n"


def test_lint_finds_tests_without_their_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would never run."""
    monkeypatch.chdir(tmp_path)
    Path("y.tests.yaml").write_text("tests: []\n")
    result = CliRunner().invoke(lint, ["."])
    assert result.stdout == "y.tests.yaml:1:1 Y001 these are tests of y.yaml, and there is no such file\n"
    assert result.exit_code == 2


@pytest.mark.slow
def test_the_schema_knows_tests() -> None:
    """Those of a pipeline, and a file of them."""
    whole = schema(PluginRegistry.installed().all_components())
    good = yaml.safe_load(
        PIPELINE + "  models: {main: [x, {text: abc, cut: 1}]}\n  expect: {packed: [a], attempts: 2}\n"
    )
    Draft202012Validator(whole).validate(good)
    of_file = Draft202012Validator({"$ref": "#/$defs/tests-file", "$defs": whole["$defs"]})
    assert of_file.is_valid({"tests": good["tests"]})
    for wrong in ({"name": "a"}, {"name": "a", "query": "q", "modl": "x"}, {"name": "a", "query": "q", "models": [1]}):
        assert not Draft202012Validator(whole).is_valid({**good, "tests": [wrong]}), wrong
        assert not of_file.is_valid({"tests": [wrong]}), wrong


def test_every_kind_of_a_connectors_error_can_be_scripted() -> None:
    """Except the one that has no meaning of its own."""
    assert {"rate_limit", "not_configured", "stalled", "content_filter", "config"} <= connector_errors().keys()
    assert "connector" not in connector_errors()
