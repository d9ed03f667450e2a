"""`nexus eval --answers` as a person meets it: what is measured of answers, in tables, JSON and the page."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nexus_core.cli.main import main
from nexus_core.testing.upstream import ScriptedUpstream, completion, error_body, json_answer

pytestmark = pytest.mark.slow

Nexus = Callable[..., tuple[int, str, str]]

CORPUS = """{"_id": "leave", "title": "Leave", "text": "Everybody has 28 days of leave."}
{"_id": "travel", "title": "Travel", "text": "Trains are booked in second class."}
{"_id": "desk", "title": "Desks", "text": "Desks can be raised."}
"""
QUERIES = """{"_id": "q1", "text": "How many days of leave are there?", "answers": ["28 days"]}
{"_id": "q2", "text": "Which class are trains booked in?", "answers": ["second class"]}
{"_id": "q3", "text": "Who invented calculus?", "answers": []}
{"_id": "q4", "text": "Can desks be lowered?", "answerable": false}
{"_id": "q5", "text": "What else?"}
"""
QRELS = "query-id\tcorpus-id\tscore\nq1\tleave\t1\nq2\ttravel\t1\n"
PIPELINE = """name: NAME
plugins: [./scripted.py]
models:
  main: {use: scripted, replies: NAME.json}
  judge: {use: scripted, replies: verdicts.json}
steps:
  - rank: bm25
  - prompt: qa
  - generate: main
"""
SCRIPTED = '''
import json
from pathlib import Path

from nexus_core import Completion, InvalidRequestError, ModelInfo, Usage, component, hookimpl, injected, option

@component
class Scripted:
    """Answers each query as a file says; what stands under `*` where it says nothing."""

    replies: str = option(help="A file.")
    base_dir: str = injected(default=".")
    model_info = ModelInfo(id="scripted", provider="scripted", window=8192)

    async def send_prompt(self, prompt, options):
        replies = json.loads((Path(self.base_dir) / self.replies).read_text())
        text = replies.get(prompt.query, replies.get("*", "I do not know."))
        if text == "fail":
            raise InvalidRequestError("refused on purpose", provider="scripted", model="scripted")
        return Completion(text=text, finish_reason="stop", usage=Usage(prompt_tokens=100, completion_tokens=10))

    async def stream_response(self, prompt, options):
        raise NotImplementedError
        yield

@hookimpl
def nexus_connectors():
    return [Scripted]
'''
LEAVE, CLASS, CALCULUS, DESKS = (json.loads(line)["text"] for line in QUERIES.splitlines()[:4])
GOOD = {LEAVE: "There are 28 days of leave [1].", CLASS: "Second class."}
BAD = {
    LEAVE: "There are 30 days of leave [1]. They are paid. Ask the pope [9].",
    CLASS: "The context does not say.",
    CALCULUS: "Leibniz did [1].",
    DESKS: "fail",
}
OTHER = ("--answers", "--embedder-threshold", "0.5", "--embedder")
COLLECTION = ("--collection", "office", "--answers")


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nexus:
    """Run a command beside a collection and two pipelines with scripted models; return exit code, stdout, stderr."""
    (tmp_path / "office").mkdir()
    for name, text in (("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES), ("qrels.tsv", QRELS)):
        (tmp_path / "office" / name).write_text(text)
    (tmp_path / "scripted.py").write_text(SCRIPTED)
    for name, replies in (("good", GOOD), ("bad", BAD)):
        (tmp_path / f"{name}.yaml").write_text(PIPELINE.replace("NAME", name))
        (tmp_path / f"{name}.json").write_text(json.dumps(replies))
    (tmp_path / "verdicts.json").write_text(json.dumps({"*": "SUPPORTED"}))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["eval", *arguments])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def report(nexus: Nexus, *arguments: str) -> dict[str, Any]:
    code, out, _ = nexus(*arguments, *COLLECTION, "--json", "--per-query")
    assert code == 0
    told: dict[str, Any] = json.loads(out)
    return told


def means(line: Mapping[str, Any]) -> dict[str, float]:
    return {name: round(figure["mean"], 3) for name, figure in line["answers"]["figures"].items()}


def test_answers_are_measured_against_the_known_ones(nexus: Nexus) -> None:
    """Without its citations; a query is left out that has neither a known answer nor a relevant item."""
    good, bad = report(nexus, "good.yaml", "bad.yaml", "--embedder", "none")["pipelines"]
    assert [row["query"] for row in good["answers"]["perQuery"]] == ["q1", "q2", "q3", "q4"]
    first, second = (row["figures"] for row in good["answers"]["perQuery"][:2])
    assert (first["exact match"], first["token F1"], first["contains answer"]) == (0, 0.5, 1)
    assert (second["exact match"], second["token F1"]) == (1, 1)
    assert means(bad)["contains answer"] == 0
    assert good["answers"]["figures"]["exact match"]["queries"] == 2


def test_each_cited_sentence_is_held_against_its_passage(nexus: Nexus) -> None:
    """A changed number and a passage that is not there are wrong; what cites nothing is counted apart."""
    bad = report(nexus, "bad.yaml", "--embedder", "none")["pipelines"][0]["answers"]
    number, uncited, missing = bad["perQuery"][0]["sentences"]
    assert (number["cited"], number["byWords"]) == ([1], False)
    assert (uncited["cited"], uncited["byWords"]) == ([], None)
    assert (missing["cited"], missing["missing"], missing["byWords"]) == ([9], [9], False)
    assert (bad["counts"]["sentences"], bad["counts"]["withoutCitation"], bad["counts"]["missingPassages"]) == (4, 1, 1)
    assert bad["perQuery"][0]["figures"]["grounded by words"] == 0
    good = report(nexus, "good.yaml", "--embedder", "none")["pipelines"][0]
    assert means(good)["grounded by words"] == 1


def test_embeddings_are_used_where_their_extra_is_installed(nexus: Nexus) -> None:
    """By the name of a ranker; the threshold is the user's."""
    pytest.importorskip("wordllama")
    told = report(nexus, "good.yaml")
    assert told["answers"]["embedder"] == {"name": "semantic", "threshold": 0.45}
    assert means(told["pipelines"][0])["grounded by embeddings"] == 1
    strict = report(nexus, "good.yaml", "--embedder", "semantic", "--embedder-threshold", "1")
    assert means(strict["pipelines"][0])["grounded by embeddings"] == 0


def test_embeddings_are_left_out_where_their_extra_is_missing(nexus: Nexus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by name it is an error that says what to install."""
    monkeypatch.setattr("nexus_embedders.kinds.find_spec", lambda name: None)
    told = report(nexus, "good.yaml")
    assert (told["answers"]["embedder"], "grounded by embeddings" in means(told["pipelines"][0])) == (None, False)
    code, _, err = nexus("good.yaml", *COLLECTION, "--embedder", "semantic")
    assert (code, "pip install 'contextnexus[static]'" in err) == (2, True)


def test_abstentions_are_right_or_wrong_by_the_queries_file(nexus: Nexus) -> None:
    """An empty list of answers, or `answerable: false`, says that there is none."""
    told = report(nexus, "good.yaml", "bad.yaml")
    assert (told["answers"]["answerable"], told["answers"]["unanswerable"]) == (2, 2)
    good, bad = map(means, told["pipelines"])
    assert (good["right abstention"], good["wrong abstention"]) == (1, 0)
    assert (bad["right abstention"], bad["wrong abstention"]) == (0, 0.5)


def test_abstain_patterns_are_those_of_the_user_too(nexus: Nexus, tmp_path: Path) -> None:
    """For other languages and templates."""
    (tmp_path / "good.json").write_text(json.dumps({"*": "Keine Angabe."}))
    assert means(report(nexus, "good.yaml")["pipelines"][0])["right abstention"] == 0
    arguments = ("--abstain-pattern", "^keine angabe")
    assert means(report(nexus, "good.yaml", *arguments)["pipelines"][0])["right abstention"] == 1


def test_a_failed_run_is_a_failure_and_no_zero(nexus: Nexus) -> None:
    """It is in no other figure, and told with its reason; a pipeline that only fails is an error."""
    code, out, _ = nexus("good.yaml", "bad.yaml", *COLLECTION)
    assert (code, "bad: 1 of 4 runs failed" in out, "refused on purpose" in out) == (0, True, True)
    row = report(nexus, "bad.yaml")["pipelines"][0]["answers"]["perQuery"][3]
    assert (row["figures"], row["answer"], "refused" in row["failure"]) == ({"failed": 1}, None, True)
    Path("bad.json").write_text(json.dumps({"*": "fail"}))
    code, out, err = nexus("bad.yaml", *COLLECTION)
    assert (code, "all 4 runs failed, the first with: refused on purpose" in err) == (1, True)
    assert "bad: 4 of 4 runs failed" in out


@pytest.mark.parametrize("pipelines", [("good.yaml", "bad.yaml"), ("bad.yaml", "good.yaml")])
def test_what_came_of_the_others_is_told_before_an_error(nexus: Nexus, pipelines: tuple[str, str]) -> None:
    """In the tables, in JSON and on the page: it was paid for."""
    Path("bad.json").write_text(json.dumps({"*": "fail"}))
    code, out, err = nexus(*pipelines, *COLLECTION, "--json", "--html", "page.html")
    (good,) = (line for line in json.loads(out)["pipelines"] if line["pipeline"] == "good")
    assert (code, means(good)["right abstention"], "pipeline 'bad': all 4 runs failed" in err) == (1, 1, True)
    assert "right abstention" in Path("page.html").read_text()
    code, out, err = nexus(*pipelines, *COLLECTION)
    assert (code, "Answers against the known ones" in out, "all 4 runs failed" in err) == (1, True, True)


def test_a_page_that_cannot_be_written_is_told_before_the_first_run(nexus: Nexus) -> None:
    """A run may cost money."""
    for name, reason in (
        ("nodir/page.html", "there is no folder nodir"),
        ("good.yaml/page.html", "there is no folder"),
    ):
        code, out, err = nexus("good.yaml", *COLLECTION, "--html", name)
        assert (code, out, f"cannot write {name}: {reason}" in err) == (2, "", True)


def test_a_pipeline_that_has_no_answers_is_told_before_the_first_run(nexus: Nexus) -> None:
    """Whichever of them it is."""
    Path("dry.yaml").write_text("name: dry\nsteps:\n  - rank: bm25\n")
    code, out, err = nexus("good.yaml", "dry.yaml", *COLLECTION)
    assert (code, out, "pipeline 'dry' has no generate step" in err) == (2, "", True)


def test_one_is_counted_as_one(nexus: Nexus) -> None:
    """In tables and on the page."""
    out = nexus("good.yaml", *COLLECTION, "--queries-at-most", "1", "--html", "page.html")[1]
    for text in (out, Path("page.html").read_text()):
        assert not any(wrong in text for wrong in ("1 queries", "1 runs", "1 relevant pairs"))
    assert "1 query, 3 items, 1 relevant pair; " in out
    assert "Counts of 1 run each" in out


def test_a_judge_gives_verdicts_and_what_is_none_is_counted_apart(nexus: Nexus, tmp_path: Path) -> None:
    """One request for each cited sentence whose passages are there; only one word is a verdict."""
    verdicts = {"There are 30 days of leave.": "Unsupported.", "Leibniz did.": "SUPPORTED, I think"}
    (tmp_path / "verdicts.json").write_text(json.dumps({"*": "SUPPORTED", **verdicts}))
    told = report(nexus, "good.yaml", "bad.yaml", "--judge", "judge")
    good, bad = (line["answers"] for line in told["pipelines"])
    assert good["figures"]["grounded by judge"]["mean"] == 1
    said = {row["text"]: row["byJudge"] for answer in bad["perQuery"] for row in answer["sentences"]}
    assert list(said.values()) == ["unsupported", None, "unsupported", "unknown"]
    assert bad["counts"]["unknownToTheJudge"] == 1
    assert told["answers"]["judge"]["tokens"]["requests"] == 3
    assert "SUPPORTED, I think" in told["answers"]["notes"][-1]


def test_tokens_of_the_answers_are_summed_failed_requests_included(nexus: Nexus) -> None:
    """Those of the answers, not those of rankings or of the judge."""
    good, bad = (line["answers"]["tokens"] for line in report(nexus, "good.yaml", "bad.yaml")["pipelines"])
    assert (good["requests"], good["promptTokens"], good["completionTokens"]) == (4, 400, 40)
    assert (bad["requests"], bad["promptTokens"], bad["unknown"]) == (4, 300, 1)


def test_differences_are_paired_and_corrected(nexus: Nexus) -> None:
    """On the queries that both have a figure of: q4 failed in one of them. A lower share of failures is better."""
    first, *others = report(nexus, "bad.yaml", "good.yaml", "good.yaml")["pipelines"]
    assert first["answers"]["differences"] == {}
    found = others[0]["answers"]["differences"]
    assert found["right abstention"]["mean"] == 1  # q3 alone
    assert found["failed"]["mean"] == -0.25
    assert all(0 < one["p"] <= one["pHolm"] <= 1 for one in found.values())
    code, out, _ = nexus("bad.yaml", "good.yaml", *COLLECTION)
    assert (code, "Answers against those of bad" in out) == (0, True)


def test_tables_and_page_show_answers(nexus: Nexus, tmp_path: Path) -> None:
    """Both the same; without --answers neither has them."""
    _, out, _ = nexus("good.yaml", "bad.yaml", *COLLECTION, "--html", "page.html", "--judge", "judge")
    page = (tmp_path / "page.html").read_text()
    for expected in (
        "token F1",
        "grounded by judge",
        "right abstention",
        "tokens in",
        "US$ per run",
        "judge judge",
        "runs failed",
    ):
        assert expected in out
        assert expected in page
    _, out, _ = nexus("good.yaml", "--collection", "office", "--html", "page.html")
    assert "token F1" not in out + (tmp_path / "page.html").read_text()
    assert "answers" not in json.loads(nexus("good.yaml", "--collection", "office", "--json")[1])


def test_queries_at_most_are_the_first_of_the_file(nexus: Nexus) -> None:
    """For answers as for rankings."""
    told = report(nexus, "good.yaml", "--queries-at-most", "3")
    assert [row["query"] for row in told["pipelines"][0]["answers"]["perQuery"]] == ["q1", "q2", "q3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--judge", "main"], "--judge is for answers: give --answers, too", id="no-answers"),
        pytest.param(["--abstain-pattern", "x"], "--abstain-pattern is for answers", id="pattern-alone"),
        pytest.param(["--answers", "--abstain-pattern", "("], "'(' is no regular expression", id="pattern"),
        pytest.param(["--answers", "--judge", "maim"], "no model is named 'maim', did you mean 'main'", id="judge"),
        pytest.param(["--answers", "--embedder", "bm25"], "needs an --embedder-threshold", id="no-threshold"),
        pytest.param([*OTHER, "fuse"], "the ranker cannot be made without options", id="embedder-options"),
        pytest.param([*OTHER, "nosuch"], "nosuch", id="no-embedder"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(nexus: Nexus, arguments: list[str], message: str) -> None:
    """Before anything is run."""
    code, out, err = nexus("good.yaml", "--collection", "office", *arguments)
    assert (code, out) == (2, "")
    assert message in err


async def test_answers_and_verdicts_come_from_a_service(tmp_path: Path, nexus: Nexus) -> None:
    """Over a socket, in a process of its own; a refused verdict is unknown, with its reason."""
    scripts = [json_answer(completion("There are 28 days [1].")), json_answer(error_body("no"), status=400)]
    async with ScriptedUpstream(*scripts) as upstream:
        service = f'{{use: openai, model: gpt-4o-mini, base_url: "{upstream.url}", api_key: sk-test}}'
        text = PIPELINE.replace("{use: scripted, replies: NAME.json}", service).replace("NAME", "real")
        (tmp_path / "real.yaml").write_text(text)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "nexus_core.cli.main", "eval", "real.yaml", *COLLECTION, "--json",
            "--queries-at-most", "1", "--judge", "main", "--embedder", "none",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=tmp_path,
        )  # fmt: skip
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    told = json.loads(out)
    assert told["pipelines"][0]["answers"]["tokens"]["promptTokens"] == 7
    assert told["pipelines"][0]["answers"]["counts"]["unknownToTheJudge"] == 1
    assert told["answers"]["judge"]["tokens"]["requests"] == 1
    statement = upstream.requests[1].json()["messages"][1]["content"]
    assert statement.endswith("Statement: There are 28 days.")
    assert "Everybody has 28 days of leave." in statement
