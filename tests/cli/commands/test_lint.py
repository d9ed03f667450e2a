"""`nexus lint`: what it prints where, its exit codes, and what it does not import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nexus_core.cli.commands.lint import command

GOOD = "name: good\nmodels: {m: extractive}\nsteps:\n- generate: m\n"
WARNED = "name: warned\nmodels: {m: extractive, n: extractive}\nsteps:\n- generate: m\n"
BAD = "nmae: bad\nmodels: {m: extractiv}\nsteps:\n- generate: m\n  when: '{{ itmes }}'\n"

Lint = Callable[..., Result]


@pytest.fixture
def lint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lint:
    """Run the command in a folder with a good, a warned and a bad file."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("good", GOOD), ("warned", WARNED), ("bad", BAD)):
        Path(f"{name}.yaml").write_text(text)

    def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(command, arguments, input=stdin, catch_exceptions=False)

    return run


def test_lint_says_nothing_about_a_good_file(lint: Lint) -> None:
    """Stdout is for problems."""
    result = lint("good.yaml")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "1 file: no errors\n")


def test_lint_prints_a_line_for_each_problem(lint: Lint) -> None:
    """file:line:column code message, on stdout; the sum on stderr; exit code 2."""
    result = lint("bad.yaml")
    heads = [line.split(" ", 2)[:2] for line in result.stdout.splitlines()]
    assert heads == [
        ["bad.yaml:1:1", "S002"],
        ["bad.yaml:1:1", "S003"],
        ["bad.yaml:2:13", "P001"],
        ["bad.yaml:5:9", "X002"],
    ]
    assert "did you mean 'name'?" in result.stdout
    assert (result.exit_code, result.stderr) == (2, "1 file: 4 errors\n")


def test_lint_marks_warnings_and_passes(lint: Lint) -> None:
    """A warning is no reason to fail."""
    result = lint("warned.yaml")
    assert result.stdout.startswith("warned.yaml:2:25 N004 warning: no step uses the model 'n'")
    assert (result.exit_code, result.stderr) == (0, "1 file: no errors, 1 warning\n")


def test_lint_json_has_files_and_problems(lint: Lint) -> None:
    """For machines: one object, all fields."""
    result = lint("good.yaml", "warned.yaml", "bad.yaml", "--format", "json")
    found = json.loads(result.stdout)
    assert found["files"] == ["good.yaml", "warned.yaml", "bad.yaml"]
    assert [problem["code"] for problem in found["problems"]] == ["N004", "S002", "S003", "P001", "X002"]
    assert set(found["problems"][0]) == {"file", "line", "column", "code", "severity", "message"}
    assert result.exit_code == 2


def test_lint_finds_what_components_refuse(lint: Lint) -> None:
    """Options that are right each and wrong together are found before anything runs, of all components at once."""
    Path("refused.yaml").write_text(
        "name: refused\nmodels:\n  m: {use: openai, model: m, api_key: k, like: nothing-known}\nsteps:\n"
        "- gather: {use: files, paths: '*.md', readers: {.md: nobody}}\n- generate: m\n"
    )
    result = lint("refused.yaml")
    assert [line.split()[0] for line in result.stdout.splitlines() if " P001 " in line] == [
        "refused.yaml:3:12",
        "refused.yaml:5:17",
    ]
    assert "`like` names no model" in result.stdout
    assert "no reader of 'nobody'" in result.stdout
    assert result.exit_code == 2
    assert lint("--no-plugins", "refused.yaml").exit_code == 0


def test_lint_walks_folders(lint: Lint, tmp_path: Path) -> None:
    """A folder stands for its YAML files, however deep; a file given twice counts once."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/deep.yml").write_text(GOOD)
    (tmp_path / "a/notes.txt").write_text("no pipeline")
    assert lint("a", "a/b/deep.yml").stderr == "1 file: no errors\n"
    assert lint(".").stderr.startswith("4 files: ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("gone.yaml", "there is no such file", id="missing"),
        pytest.param("empty", "there is no *.yaml or *.yml file in this folder", id="empty-folder"),
        pytest.param("a\0b", "null", id="impossible-name"),
    ],
)
def test_lint_reports_what_it_cannot_read(name: str, message: str, lint: Lint, tmp_path: Path) -> None:
    """A missing file is a problem among problems, and the other files are still checked."""
    (tmp_path / "empty").mkdir()
    result = lint(name, "warned.yaml")
    assert "Y001" in result.stdout
    assert message in result.stdout
    assert "N004" in result.stdout
    assert result.exit_code == 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_lint_calls_no_folder_empty_that_it_cannot_list(lint: Lint, tmp_path: Path) -> None:
    """It says what keeps it from looking."""
    (tmp_path / "closed").mkdir(mode=0)
    assert "closed:1:1 Y001 this folder cannot be listed: Permission denied" in lint("closed").stdout


def test_lint_reads_standard_input(lint: Lint) -> None:
    """`-` stands for it, in the places too; bytes that are no text are a problem like any other."""
    assert lint("-", stdin=GOOD).exit_code == 0
    assert lint("-", stdin=BAD).stdout.startswith("-:1:1 S002")
    assert lint("-", stdin=b"name: \xff").stdout.startswith("-:1:7 Y001")


def test_lint_applies_overrides(lint: Lint) -> None:
    """What would be run is what is checked."""
    assert lint("good.yaml", "--set", "steps[0].timeout=3s").exit_code == 0
    assert lint("good.yaml", "--set", "steps[0].timeout=soon").stdout.startswith("--set:1:18 T004 ")


def test_lint_without_a_file_is_wrong_usage(lint: Lint) -> None:
    """There is no file that is meant by default."""
    assert lint().exit_code == 2
    assert "Missing argument" in lint().stderr


def test_lint_reads_the_environment(lint: Lint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of the process, and never shows what is in it."""
    (tmp_path / "env.yaml").write_text(GOOD.replace("good", "${PIPELINE_NAME}"))
    assert "E001" in lint("env.yaml").stdout
    monkeypatch.setenv("PIPELINE_NAME", "not a name")
    result = lint("env.yaml")
    assert "T004" in result.stdout
    assert "not a name" not in result.stdout


@pytest.mark.slow
def test_lint_imports_only_what_the_file_names(tmp_path: Path) -> None:
    """No HTTP client, no tokenizer, no array library, and no plugin but those of the file."""
    path = tmp_path / "p.yaml"
    path.write_text(
        "name: x\nmodels: {m: {use: openai, model: gpt-4o}}\nsteps:\n- gather: {use: files, paths: a}\n- rank: bm25\n"
        "- prompt: {template: {text: '{{ query }}'}}\n- generate: m\n"
    )
    program = "import sys\nfrom nexus_core.cli.commands.lint import command\n"
    program += f"command([{str(path)!r}], standalone_mode=False)\n"
    program += "print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    heavy = {"aiohttp", "tiktoken", "numpy", "rich", "orjson", "Stemmer", "bs4", "pypdfium2", "markdown_it"}
    assert heavy & loaded == set()
    plugins = {name for name in loaded if name.startswith("nexus_") and not name.startswith("nexus_core")}
    assert (
        plugins & {"nexus_extractive", "nexus_rankers.mmr", "nexus_rankers.fuse", "nexus_jsonl", "nexus_sinks"} == set()
    )


HOSTILE = """name: hostile
plugins: [ranks.py]
models: {m: extractive, n: {use: ranks.model, any: thing}}
steps:
- gather: {use: ranks.source, paths: here}
- rank: {use: ranks, top: 3}
- prompt: {template: {use: ranks.page}}
- generate: m
"""


def test_lint_without_plugins_runs_no_plugin_file_and_checks_all_else(lint: Lint) -> None:
    """Whatever is made of them in whatever place: only what is wrong elsewhere is reported."""
    Path("ranks.py").write_text("open('ran', 'w').close()")
    Path("hostile.yaml").write_text(HOSTILE)
    result = lint("hostile.yaml", "--no-plugins")
    assert (result.exit_code, result.stdout, Path("ran").exists()) == (0, "", False)
    Path("hostile.yaml").write_text(HOSTILE.replace("- generate: m", "- generate: k\n  whenn: x"))
    assert {line.split()[1] for line in lint("hostile.yaml", "--no-plugins").stdout.splitlines()} == {"S002", "N001"}
    assert not Path("ran").exists()
    lint("hostile.yaml")
    assert Path("ran").exists()


def test_lint_says_in_its_help_that_it_runs_plugin_files(lint: Lint) -> None:
    """And how not to."""
    told = " ".join(lint("--help").stdout.split())
    assert "under `plugins` are RUN" in told
    assert "check what you do not trust with --no-plugins" in told
