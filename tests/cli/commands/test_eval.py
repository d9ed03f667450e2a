"""`nexus eval` as a person meets it: tables, JSON, a page, and messages."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core.cli.main import main

pytestmark = pytest.mark.slow

Nexus = Callable[..., tuple[int, str, str]]

CORPUS = """{"_id": "leave", "title": "Leave", "text": "Everybody has 28 days of leave."}
{"_id": "travel", "title": "Travel", "text": "Trains are booked in second class."}
{"_id": "desk", "title": "Desks", "text": "Desks can be raised."}
"""
QUERIES = """{"_id": "q1", "text": "How many days of leave are there?", "answers": ["28 days"]}
{"_id": "q2", "text": "Which class are trains booked in?", "answers": ["second class"]}
"""
QRELS = "query-id\tcorpus-id\tscore\nq1\tleave\t1\nq2\ttravel\t1\n"
PIPELINE = """name: NAME
models: {main: {use: extractive}}
steps:
  - gather: {use: jsonl, path: "${NEXUS_CONTEXT:-office}/corpus.jsonl", fields: {id: _id}}
  - rank: bm25
  - prompt: qa
  - generate: main
"""


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nexus:
    """Run a command in a folder with a collection and two pipelines; return exit code, stdout and stderr."""
    office = tmp_path / "office"
    office.mkdir()
    for name, text in (("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES), ("qrels.tsv", QRELS)):
        (office / name).write_text(text)
    (tmp_path / "good.yaml").write_text(PIPELINE.replace("NAME", "good"))
    (tmp_path / "plain.yaml").write_text(PIPELINE.replace("NAME", "plain").replace("  - rank: bm25\n", ""))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["eval", *arguments])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


SINGLE = ("--queries", "office/queries.jsonl", "--qrels", "office/qrels.tsv")


def test_eval_prints_a_table_for_each_subject(nexus: Nexus) -> None:
    """Figures with intervals, answer recall, times, differences, notes."""
    code, out, err = nexus("good.yaml", "plain.yaml", "--collection", "office")
    assert (code, err) == (0, "")
    for expected in (
        "office: 2 queries, 3 items, 2 relevant pairs",
        "nDCG@10",
        "1.000 [1.000, 1.000]",
        "Answer recall by tokens of context",
        "4,096",
        "Milliseconds per query",
        "Against good, on the same queries",
        "Note on plain: nothing ranks the items",
    ):
        assert expected in out


def test_eval_json_is_complete(nexus: Nexus) -> None:
    """One object; the figures of each query where they are asked for."""
    code, out, _ = nexus("good.yaml", "plain.yaml", "--collection", "office", "--json", "--budgets", "500,50")
    told = json.loads(out)
    assert code == 0
    assert (told["baseline"], told["budgets"], told["confidence"]) == ("good", [50, 500], 0.95)
    assert [line["pipeline"] for line in told["pipelines"]] == ["good", "plain"]
    assert list(told["pipelines"][0]["measures"]) == ["nDCG@10", "recall@100", "MRR@10", "MAP"]
    assert list(told["pipelines"][0]["milliseconds"]) == ["ranking", "packing"]
    assert "perQuery" not in told["pipelines"][0]
    again = nexus("good.yaml", "--collection", "office", "--json", "--per-query")[1]
    assert [row["query"] for row in json.loads(again)["pipelines"][0]["perQuery"]] == ["q1", "q2"]


def test_eval_html_writes_a_page(nexus: Nexus, tmp_path: Path) -> None:
    """Beside the tables; where it cannot be written, that is said."""
    code, out, err = nexus("good.yaml", "--collection", "office", "--html", "report.html")
    assert (code, "nDCG@10" in out, err) == (0, True, "wrote report.html\n")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    code, _, err = nexus("good.yaml", "--collection", "office", "--html", "none/report.html")
    assert (code, "cannot write none/report.html" in err) == (2, True)


def test_eval_with_single_files_lets_the_pipelines_gather(nexus: Nexus) -> None:
    """Without a corpus; `--context` is what the file calls NEXUS_CONTEXT."""
    assert "items of their own" in nexus("good.yaml", *SINGLE)[1]
    assert nexus("good.yaml", *SINGLE, "--context", "office")[0] == 0
    code, _, err = nexus("good.yaml", *SINGLE, "--context", "attic")
    assert (code, "query 'q1'" in err, "attic" in err) == (1, True, True)
    assert nexus("good.yaml", "--collection", "office", "--context", "office")[0] == 0


def test_eval_of_a_corpus_needs_no_source(nexus: Nexus) -> None:
    """The items of the file stand for what the gather steps would yield."""
    arguments = (
        "--corpus",
        "office/corpus.jsonl",
        "--set",
        "steps[0].gather.path=none.jsonl",
        "--queries-at-most",
        "1",
    )
    code, out, _ = nexus("good.yaml", *SINGLE, *arguments)
    assert (code, "1 query, 3 items" in out) == (0, True)


def test_eval_of_pipelines_with_one_name_tells_them_by_their_files(nexus: Nexus, tmp_path: Path) -> None:
    """And the same file twice by number."""
    (tmp_path / "other.yaml").write_text(PIPELINE.replace("NAME", "good"))
    for second, names in (("other.yaml", ["good", "other"]), ("good.yaml", ["good 1", "good 2"])):
        told = json.loads(nexus("good.yaml", second, "--collection", "office", "--json")[1])
        assert [line["pipeline"] for line in told["pipelines"]] == names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["good.yaml"], "give --queries and --qrels, or --collection", id="no-files"),
        pytest.param(["good.yaml", "--collection", "attic"], "there is no folder attic", id="no-folder"),
        pytest.param(["good.yaml", "--collection", "office", "--qrels", "x"], "leave out --qrels", id="both"),
        pytest.param(["good.yaml", *SINGLE, "--corpus", "x", "--context", "y"], "give one of them", id="two-sources"),
        pytest.param(["good.yaml", *SINGLE, "--corpus", "x"], "cannot read x: there is no such file", id="no-corpus"),
        pytest.param(["good.yaml", "--collection", "office", "--budgets", "a"], "numbers of tokens", id="budgets"),
        pytest.param(
            ["good.yaml", "--collection", "office", "--per-query"], "--per-query is for --json", id="per-query"
        ),
        pytest.param(["none.yaml", "--collection", "office"], "cannot read the pipeline none.yaml", id="no-pipeline"),
        pytest.param([], "Missing argument 'PIPELINE...'", id="no-pipelines"),
    ],
)
def test_eval_answers_a_mistake_with_what_to_do(nexus: Nexus, arguments: list[str], message: str) -> None:
    """Exit code 2, nothing on stdout."""
    code, out, err = nexus(*arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_eval_warns_of_what_does_not_match(nexus: Nexus, tmp_path: Path) -> None:
    """On stderr, so that the JSON stays one object; in the JSON too."""
    with (tmp_path / "office/qrels.tsv").open("a") as opened:
        opened.write("q1\tattic\t1\n")
    _, out, err = nexus("good.yaml", "--collection", "office", "--json")
    assert "Warning: relevant but not in the corpus: 1 item (such as 'attic')" in err
    assert len(json.loads(out)["collection"]["warnings"]) == 1


def test_eval_without_the_library_of_measures_says_what_to_install(
    nexus: Nexus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is run."""
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    code, _, err = nexus("good.yaml", "--collection", "office")
    assert (code, "pip install 'contextnexus[eval]'" in err) == (2, True)


def test_eval_shows_a_bar_on_a_terminal(nexus: Nexus, tmp_path: Path) -> None:
    """On stderr: what is piped from stdout stays clean."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "nexus_core.cli.main", "eval", "good.yaml", "--collection", "office", "--json"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=child, stdin=child)
    os.close(child)
    out, _ = process.communicate(timeout=60)
    shown = os.read(parent, 65536)
    os.close(parent)
    assert json.loads(out)["baseline"] == "good"
    assert b"2/2" in shown
