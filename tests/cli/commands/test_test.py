"""`nexus test`: each expectation passes and fails as it should, and what is printed where it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from nexus_core.cli.commands.test import command
from nexus_core.contract.errors import ConfigError, UsageError

PIPELINE = """\
name: qa
inputs: {tone: plain}
models:
  main: {use: openai, model: gpt-4o-mini, fallback: spare, aliases: best}
  spare: extractive
steps:
  - gather: {use: url, url: "https://example.org/handbook"}
  - rank: bm25
  - prompt:
      template: {text: "[system]\\nAnswer in a {{ tone }} tone.\\n\\n[history]\\n\\n[user]\\n{% for item in items %}{{ item.text }}\\n{% endfor %}{{ query }}"}
      variables: {tone: "{{ inputs.tone }}"}
  - generate: main
tests:
"""  # noqa: E501 - as a file has it
CASE = """\
  - name: leave
    query: How many days of leave?
    items:
      - {id: leave, text: You have thirty days of leave.}
      - {id: pay, text: Salaries are paid monthly.}
"""

RunTests = Callable[..., Result]


@pytest.fixture
def run_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunTests:
    """Run the command on a pipeline in an empty folder, whose only test ends in some more YAML."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def run(more: str = "", *options: str, files: tuple[str, ...] = ("qa.yaml",)) -> Result:
        if more:
            Path("qa.yaml").write_text(PIPELINE + CASE + indent(dedent(more).strip("\n"), "    ") + "\n")
        return CliRunner().invoke(command, [*files, *options], catch_exceptions=False)

    return run


SCRIPT = "models: {main: 'Thirty days [1].'}\n"
FAILURES = "models: {main: [{status: 503}, {error: connect}, {status: 429, retry_after: 60}]}\n"
PASSING = {
    "nothing": SCRIPT,
    "answer": SCRIPT + "expect: {answer: 'Thirty days [1].'}",
    "answer equals": SCRIPT + 'expect: {answer: {equals: "Thirty days [1].\\n"}}',
    "answer contains": SCRIPT + "expect: {answer: {contains: Thirty, not_contains: [forty, fifty]}}",
    "answer matches": SCRIPT + "expect: {answer: {matches: '^Thirty days'}}",
    "answer schema": "models: {main: '{\"days\": 30}'}\nexpect: {answer: {json_schema: {required: [days]}}}",
    "citations": SCRIPT + "expect: {citations: [leave]}",
    "messages by role": "expect: {messages: {system: Answer in a plain tone., user: {contains: [thirty, How many]}}}",
    "messages": "history: [{role: user, content: Hi}]\nexpect:\n  messages:\n"
    "  - {role: system, content: Answer in a plain tone.}\n  - {role: user, content: Hi}\n"
    "  - role: user\n    content: |\n      You have thirty days of leave.\n      Salaries are paid monthly.\n"
    "      How many days of leave?\n",
    "input": "inputs: {tone: cheerful}\nexpect: {messages: {system: {contains: cheerful}}}",
    "packed": "expect: {packed: [leave, pay]}",
    "packed in any order": "expect: {packed: {any_order: [pay, leave]}}",
    "packed contains": "expect: {packed: {contains: [pay]}, not_packed: []}",
    "tokens": SCRIPT + "expect: {tokens: {prompt_tokens: 60, completion_tokens: 9}}",
    "usage": "models: {main: {text: x, usage: {prompt_tokens: 7, completion_tokens: 2}}}\n"
    "expect: {tokens: {completion_tokens: 2, total_tokens: 9}}",
    "model": SCRIPT + "expect: {model: best}",
    "chosen model": "model: spare\nexpect: {model: spare, attempts: ['spare:ok']}",
    "fallback": FAILURES + "expect: {fallback: ['main:rate_limit', 'spare:ok']}",
    "attempts": FAILURES + "expect: {attempts: ['main:overloaded', 'main:connect', 'main:rate_limit', 'spare:ok']}",
    "count of attempts": "models: {best: [{status: 500}, yes]}\nexpect: {attempts: 2, model: main}",
    "stall": "models: {main: {stall: 0}}\nexpect: {fallback: ['main:timeout', 'spare:ok']}",
    "cut": "models: {main: {text: Thirty, cut: 3}}\nexpect: {error: truncated, attempts: 1}",
    "silence later": "models: {main: {text: Thirty, stall: 3}}\nexpect: {error: {kind: deadline, contains: 600 s}}",
    "cut at the start": "models: {main: {text: Thirty, cut: 0}}\nexpect: {fallback: ['main:truncated', 'spare:ok']}",
    "error": "models: {main: {status: 400}}\nexpect: {error: invalid_request}",
    "error with words": "models: {main: {status: 400, text: no such option}}\nexpect: {error: {contains: such option}}",
    "stream": "stream: true\nmodels: {main: {text: Thirty, reasoning: hm}}\nexpect: {answer: Thirty}",
    "tool calls": "models: {main: {tool_calls: [{name: look, arguments: '{}'}]}}\nexpect: {answer: ''}",
    "one reply for all": "models: {main: {error: not_configured}}\nexpect: {model: spare}",
}


@pytest.mark.parametrize("more", PASSING.values(), ids=PASSING)
def test_a_test_passes_where_all_is_as_expected(more: str, run_tests: RunTests) -> None:
    """One line in all, exit code 0."""
    result = run_tests(more)
    assert (result.stdout, result.stderr, result.exit_code) == ("1 passed (1 pipeline)\n", "", 0)


FAILING = {
    "answer": (
        SCRIPT + 'expect: {answer: "Forty days [1].\\nNot more."}',
        """
        answer: differs
          --- expected
          +++ found
          @@ -1,2 +1 @@
          -Forty days [1].
          -Not more.
          +Thirty days [1].
        """,
    ),
    "answer contains": (
        SCRIPT + "expect: {answer: {contains: [Thirty, forty], not_contains: days, matches: '^days'}}",
        """
        answer: does not contain 'forty'; contains 'days'; does not match '^days'
          Thirty days [1].
        """,
    ),
    "answer schema": (
        "models: {main: '{}'}\nexpect: {answer: {json_schema: {required: [days]}}}",
        """
        answer: is not what its `json_schema` allows: it must contain ['days'] properties
          {}
        """,
    ),
    "answer json": (
        "models: {main: Thirty}\nexpect: {answer: {json_schema: {required: [days]}}}",
        """
        answer: is no JSON: Expecting value: line 1 column 1 (char 0)
          Thirty
        """,
    ),
    "citations": (SCRIPT + "expect: {citations: [leave, pay]}", "citations: expected [leave, pay], found [leave]"),
    "messages by role": (
        "expect: {messages: {system: Answer in a cheerful tone., assistant: {contains: x}}}",
        """
        messages.system: differs
          --- expected
          +++ found
          @@ -1 +1 @@
          -Answer in a cheerful tone.
          +Answer in a plain tone.
        messages.assistant: there is no such message; there are: [system, user]
        """,
    ),
    "messages": (
        "expect: {messages: [{role: system, content: Answer in a plain tone.}]}",
        """
        messages: differ
          --- expected
          +++ found
          @@ -1,2 +1,7 @@
           [system]
           Answer in a plain tone.
          +
          +[user]
          +You have thirty days of leave.
          +Salaries are paid monthly.
          +How many days of leave?
        """,
    ),
    "packed": ("expect: {packed: [pay, leave]}", "packed: expected [pay, leave], found [leave, pay]"),
    "packed in any order": ("expect: {packed: {any_order: [pay]}}", "packed: expected [pay], found [leave, pay]"),
    "not packed": ("expect: {not_packed: [pay]}", "not_packed: [pay] is in the prompt; found [leave, pay]"),
    "tokens": (
        SCRIPT + "expect: {tokens: {prompt_tokens: 5, completion_tokens: 1}}",
        """
        tokens.prompt_tokens: expected at most 5, found 37
        tokens.completion_tokens: expected at most 1, found 5
        """,
    ),
    "model": (SCRIPT + "expect: {model: spare}", "model: expected spare, found main"),
    "fallback": (
        FAILURES + "expect: {fallback: ['best:ok']}",
        "fallback: expected [main:ok], found [main:rate_limit, spare:ok]",
    ),
    "attempts": (SCRIPT + "expect: {attempts: ['spare:ok']}", "attempts: expected [spare:ok], found [main:ok]"),
    "count of attempts": (SCRIPT + "expect: {attempts: 2}", "attempts: expected 2, found 1: [main:ok]"),
    "error that does not come": (
        SCRIPT + "expect: {error: deadline}",
        """
        error: expected deadline, found an answer
          Thirty days [1].
        """,
    ),
    "another error": (
        "models: {main: {status: 400, text: no such option}}\nexpect: {error: {kind: auth, contains: key}}",
        """
        error: expected auth, found invalid_request
          no such option
        error: its message does not contain 'key'
          no such option
        """,
    ),
    "error that is not expected": (
        "models: {main: {status: 400, text: no such option}}\nexpect: {answer: x}",
        """
        error: the run failed with invalid_request after [main:invalid_request]
          no such option
        """,
    ),
    "no script": ("stream: false", "test: the model 'main' would be asked over the network: script it under `models`"),
    "script too short": (
        "models: {main: [{status: 503}]}",
        "test: the model 'main' is asked 2 times, and its script has 1 reply",
    ),
    "script too long": (
        "models: {main: [x, y, z]}",
        "models: the script of 'main' has 3 replies, and 1 was asked for",
    ),
    "script of nobody": (
        "model: spare\nmodels: {main: [x]}",
        "models: the script of 'main' has 1 reply, and none was asked for",
    ),
}


def test_what_did_not_fit_is_missing(run_tests: RunTests) -> None:
    """`packed: {contains: ...}` fails where a budget is too small for an item."""
    result = run_tests("expect: {packed: {contains: [pay]}}", "--set", "steps[2].prompt.budget=9")
    assert "  packed: [pay] missing; found [leave]\n" in result.stdout


@pytest.mark.parametrize(("more", "expected"), FAILING.values(), ids=FAILING)
def test_a_test_that_fails_says_where_and_how(more: str, expected: str, run_tests: RunTests) -> None:
    """The place and name of the test, then each difference, with a diff where texts differ; exit code 1."""
    result = run_tests(more)
    body = indent(dedent(expected).strip("\n"), "  ")
    assert result.stdout == f"FAILED qa.yaml:14 leave\n{body}\n1 failed, 0 passed (1 pipeline)\n"
    assert result.exit_code == 1


def test_a_source_that_would_connect_fails_the_test(run_tests: RunTests) -> None:
    """Without `items` the sources are asked, and none of them reaches the network."""
    Path("qa.yaml").write_text(PIPELINE + "  - {name: net, query: Where, models: {main: x}}\n")
    result = run_tests()
    assert "test: it makes no connections, and one to example.org:443 was wanted: give it `items`" in result.stdout
    assert result.exit_code == 1


TWO = SCRIPT + "expect: {answer: no}\n"


def test_tests_beside_a_pipeline_run_after_its_own(run_tests: RunTests) -> None:
    """`qa.tests.yaml` beside `qa.yaml`; each failure names the file that it stands in."""
    Path("qa.tests.yaml").write_text(f"tests:\n{CASE.replace('leave', 'beside', 1)}    models: {{main: x}}\n")
    result = run_tests(TWO, "-v")
    assert [line.split(" ", 2)[:2] for line in result.stdout.splitlines() if "yaml" in line] == [
        ["FAILED", "qa.yaml:14"],
        ["passed", "qa.tests.yaml:2"],
    ]
    assert run_tests("", files=("qa.tests.yaml",)).stdout == result.stdout.replace(
        "passed qa.tests.yaml:2 beside\n", ""
    )


def test_a_folder_stands_for_its_pipelines_with_tests(run_tests: RunTests) -> None:
    """What has none is left alone, be it a pipeline or not; a pipeline is not run twice for its two files."""
    run_tests(SCRIPT)
    Path("compose.yaml").write_text("services: {}\n")
    Path("qa.tests.yaml").write_text(f"tests:\n{CASE.replace('leave', 'beside', 1)}    models: {{main: x}}\n")
    result = run_tests("", files=(".", "qa.yaml"))
    assert (result.stdout, result.exit_code) == ("2 passed (1 pipeline)\n", 0)


def test_names_choose_tests(run_tests: RunTests) -> None:
    """`-k` takes a part of a name in any case; one that no name has is wrong usage."""
    assert run_tests(SCRIPT, "-k", "LEA", "-v").stdout == "passed qa.yaml:14 leave\n1 passed (1 pipeline)\n"
    with pytest.raises(UsageError, match="no test has 'holiday' in its name"):
        run_tests("", "-k", "holiday")


def test_no_tests_at_all_are_wrong_usage(run_tests: RunTests) -> None:
    """So that a path that is mistyped in CI is not taken for success."""
    Path("qa.yaml").write_text(PIPELINE.replace("tests:\n", ""))
    with pytest.raises(UsageError, match=r"there are no tests in qa\.yaml: write some under `tests`"):
        run_tests()
    with pytest.raises(UsageError, match=r"there is no file or folder other\.yaml"):
        run_tests("", files=("other.yaml",))


def test_a_wrong_file_runs_nothing(run_tests: RunTests) -> None:
    """What lint would say is said, with the hint."""
    with pytest.raises(ConfigError, match=r"qa\.yaml:19:5 S002 test 'leave' takes no 'expct', did you mean 'expect'\?"):
        run_tests("expct: {}")


def test_junit_has_a_suite_for_each_pipeline(run_tests: RunTests, tmp_path: Path) -> None:
    """With place and difference of what failed, and without characters that XML has no place for."""
    result = run_tests('models: {main: "bell\\a"}\nexpect: {answer: {contains: ring}}', "--junit", "out.xml")
    root = ElementTree.parse(tmp_path / "out.xml").getroot()
    [case] = root.iter("testcase")
    assert {key: root[0].get(key) for key in ("name", "tests", "failures")} == {
        "name": "qa.yaml", "tests": "1", "failures": "1",
    }  # fmt: skip
    assert (case.get("name"), case.get("classname"), case.get("file"), case.get("line")) == (
        "leave", "qa.yaml", "qa.yaml", "14",
    )  # fmt: skip
    assert case[0].get("message") == "answer: does not contain 'ring'"
    assert "bell\ufffd" in str(case[0].text)
    assert result.exit_code == 1


def test_junit_is_xml_whatever_the_path(run_tests: RunTests, tmp_path: Path) -> None:
    """A folder may be called by characters that XML has no place for."""
    Path("bell\a").mkdir()
    Path("bell\a/qa.yaml").write_text(PIPELINE + CASE + "    models: {main: x}\n")
    run_tests("", "--junit", "out.xml", files=("bell\a/qa.yaml",))
    [case] = ElementTree.parse(tmp_path / "out.xml").getroot().iter("testcase")
    assert (case.get("classname"), case.get("file")) == ("bell\ufffd/qa.yaml", "bell\ufffd/qa.yaml")


def test_a_missing_folder_for_junit_is_found_before_any_test_runs(run_tests: RunTests) -> None:
    """Not after all of them."""
    with pytest.raises(UsageError, match=r"cannot write out/x\.xml: there is no folder out, make it first"):
        run_tests("", "--junit", "out/x.xml", files=("other.yaml",))


def test_json_has_every_test(run_tests: RunTests) -> None:
    """For programs; nothing else is printed."""
    printed = json.loads(run_tests(TWO, "--json").stdout)
    assert (printed["passed"], printed["failed"]) == (0, 1)
    [test] = printed["tests"]
    assert {key: test[key] for key in ("file", "line", "name", "passed")} == {
        "file": "qa.yaml", "line": 14, "name": "leave", "passed": False,
    }  # fmt: skip
    assert test["mismatches"][0]["lines"][-2:] == ["-no", "+Thirty days [1]."]


def test_overrides_hold_for_every_test(run_tests: RunTests) -> None:
    """`--set` as with `nexus run`."""
    assert run_tests("expect: {messages: {system: {contains: cold}}}", "--set", "inputs.tone=cold").exit_code == 0
