"""`nexus ask`: a question to a context, and who answers it."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from generated_pages import commands as commands_page

from nexus_core import Item, Message, Pipeline, Store
from nexus_core.cli.commands.ask import command
from nexus_core.cli.main import main
from nexus_core.cli.run_options import PIPELINE
from nexus_core.testing import answers
from nexus_core.testing.upstream import ScriptedUpstream, http_answer

pytestmark = pytest.mark.slow

Nexus = Callable[..., tuple[int, str, str]]
QUESTION = "How many days of leave can be carried over?"


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nexus:
    """Run a command where the context `handbook` is; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "NEXUS_MODEL", "NEXUS_CONTEXT"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    (tmp_path / "leave.md").write_text("# Leave\n\nUp to five days of leave may be carried over until March.\n")
    run("context", "add", "handbook", "leave.md")
    return run


def test_ask_quotes_offline_without_a_key_and_says_so(nexus: Nexus) -> None:
    """The answer with its source; nothing leaves the machine."""
    code, out, err = nexus("ask", "handbook", QUESTION)
    assert (code, "Up to five days" in out) == (0, True)
    assert "[1] Leave  (leave.md, line 3)" in out
    assert "offline" in err
    assert nexus("ask", "handbook", QUESTION, "--model", "offline")[2] == ""


def test_ask_prints_json_as_run_does(nexus: Nexus) -> None:
    """The same shape."""
    answer = json.loads(nexus("ask", "handbook", QUESTION, "--json")[1])
    assert (answer["query"], answer["modelId"], answer["metadata"]["contextItems"][0]["id"]) == (
        QUESTION, "extractive", "leave.md",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "said"), [(None, "gpt-4o-mini"), ("openai", "gpt-4o-mini"), ("gpt-4o", "gpt-4o")], ids=str
)
def test_ask_says_which_model_is_asked_before_it_is(
    nexus: Nexus, monkeypatch: pytest.MonkeyPatch, model: str | None, said: str
) -> None:
    """With a key a model of OpenAI answers; where it does not, the sentences are quoted, and that is said, too."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr("nexus_core.cli.commands.ask.PIPELINE", _unreachable(PIPELINE, Path.cwd()))
    code, out, err = nexus("ask", "handbook", QUESTION, *(["--model", model] if model else []))
    assert (code, "Up to five days" in out) == (0, True)
    assert err.startswith(f"asking {said} at 127.0.0.1:9 (there is a key")
    assert "did not answer" in err


def _unreachable(pipeline: Path, folder: Path) -> Path:
    """Return the pipeline with the address of nobody."""
    text = pipeline.read_text().replace("use: openai\n", 'use: openai\n    base_url: "http://127.0.0.1:9/v1"\n')
    (folder / "ask.yaml").write_text(text)
    return folder / "ask.yaml"


def test_ask_uses_a_pipeline_of_ones_own(nexus: Nexus, tmp_path: Path) -> None:
    """It reads the name of the context from a variable."""
    (tmp_path / "my.yaml").write_text(
        "name: my\nmodels: {main: {use: extractive}}\nsteps:\n"
        '  - gather: {use: store, context: "${NEXUS_CONTEXT}"}\n  - rank: bm25\n  - prompt: qa\n  - generate: main\n'
    )
    code, out, err = nexus("ask", "handbook", QUESTION, "--pipeline", "my.yaml")
    assert (code, "Up to five days" in out, err) == (0, True, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["handbok", "x"], "did you mean 'handbook'"),
        (["handbook"], "standard input holds no query"),
        (["handbook", "x", "--model", "gpt-4o"], "OPENAI_API_KEY"),
    ],
    ids=["context", "question", "key"],
)
def test_a_mistake_is_told_with_what_to_do(nexus: Nexus, arguments: list[str], message: str) -> None:
    """Exit code 2 and nothing on stdout."""
    code, out, err = nexus("ask", *arguments)
    assert (code, out, message in err) == (2, "", True), err


def test_every_option_is_documented() -> None:
    """The page that is made of the commands names each."""
    section = commands_page().partition("\n## nexus ask\n")[2].partition("\n## ")[0]
    options = [parameter.opts[0] for parameter in command.params if isinstance(parameter, click.Option)]
    assert [option for option in options if option not in section] == []


def test_a_store_and_a_context_can_be_named_for_any_pipeline(nexus: Nexus, tmp_path: Path) -> None:
    """A source that names neither searches what the command names, for as long as the command runs."""
    (tmp_path / "any.yaml").write_text(PIPELINE.read_text())
    assert nexus("context", "add", "elsewhere", "leave.md", "--store", str(tmp_path / "other"))[0] == 0
    asked = ("any.yaml", QUESTION, "--context", "elsewhere")
    for name in ("run", "explain"):
        code, out, _ = nexus(name, *asked, "--store", str(tmp_path / "other"))
        assert (code, "Up to five days" in out) == (0, True), name
        code, _, err = nexus(name, *asked)
        assert (code, "there is no context 'elsewhere'" in err) == (1, True), name


FOLLOWING = {
    "leave.md": "# Leave\n\nAnnual leave is 28 days. The team lead approves it.\n",
    "travel.md": "# Travel\n\nWho approves trips: the travel desk approves each, and the desk approves hotels.\n",
    "laptop.md": "# Laptops\n\nThe help desk approves laptops, and who approves phones too.\n",
}


def test_ask_searches_a_follow_up_with_what_was_asked_before(nexus: Nexus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline by the words of the question before; NEXUS_REWRITE=false searches for the question as it is."""
    for name, text in FOLLOWING.items():
        Path(name).write_text(text)
    assert nexus("context", "add", "handbook", *FOLLOWING)[0] == 0
    for number, (setting, found) in enumerate({"true": True, "false": False}.items()):
        monkeypatch.setenv("NEXUS_REWRITE", setting)
        talk = ("--conversation", f"c{number}", "--json")
        assert nexus("ask", "handbook", "How much annual leave is there?", *talk)[0] == 0
        answer = json.loads(nexus("ask", "handbook", "And who approves it?", *talk)[1])
        assert answer["query"] == "And who approves it?"
        assert ("The team lead approves it" in answer["response"].partition("\n")[0]) is found, answer["response"]
    monkeypatch.delenv("NEXUS_REWRITE")
    shown = nexus("explain", str(PIPELINE), "And who approves it?", "--context", "handbook", "--conversation", "c0")[1]
    assert "its words count 0.5" in shown


async def test_the_packaged_pipeline_lets_a_model_of_openai_rewrite(tmp_path: Path) -> None:
    """Over the wire: one request to rewrite, one to answer, a row for each."""
    said = [answers.completion("leave approval by the team lead"), answers.completion("The team lead.")]
    async with Store(tmp_path) as store:
        await store.create("handbook")
        await store.add("handbook", [Item(id=name, text=text) for name, text in FOLLOWING.items()])
    history = (Message("user", "How much annual leave is there?"), Message("assistant", "28 days."))
    script = [http_answer(json.dumps(each).encode()) for each in said]
    async with ScriptedUpstream(*script) as upstream:
        settings = [
            f"models.openai.base_url={upstream.url}", "default=openai", f"steps[0].gather.path={tmp_path}"
        ]  # fmt: skip
        async with Pipeline.load(PIPELINE, overrides=settings, environment={"OPENAI_API_KEY": "k"}) as pipeline:
            answer = await pipeline.run("And who approves it?", history=history, context_id="handbook")
    assert [(row.purpose, row.outcome) for row in answer.attempts] == [("rewrite", "ok"), ("answer", "ok")]
    assert (answer.text, answer.prompt.searched) == ("The team lead.", "leave approval by the team lead")
    assert answer.prompt.items[0].item.id == "leave.md"


SCHEMA = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}


async def test_ask_takes_instructions_and_the_schema_of_the_answer_for_one_question(
    nexus: Nexus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both reach the service beside the rules of the pipeline; what comes is validated, and printed without sources."""
    (tmp_path / "days.json").write_text(json.dumps(SCHEMA))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    replies = ('{"days": 5, "from": "[1]"}', '{"days": "five"}', '{"days": "five"}')
    async with ScriptedUpstream(*(answers.json_answer(answers.completion(each)) for each in replies)) as upstream:
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.url)
        asked = ("ask", "handbook", QUESTION, "--schema")
        first = await asyncio.to_thread(nexus, *asked, "days.json", "--system", 'Say "${HOME}" {{ 7 * 7 }}: x')
        second = await asyncio.to_thread(nexus, *asked, json.dumps(SCHEMA))
    assert (first[0], json.loads(first[1])["days"]) == (0, 5), first[2]
    assert "[1] Leave" in first[2]
    body = upstream.requests[0].json()
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["days"]
    assert 'Say "${HOME}" {{ 7 * 7 }}: x' in body["messages"][0]["content"]
    assert "from nothing else" in body["messages"][0]["content"]
    # Asked for once more, and not quoted in place of it.
    assert (second[0], second[1], len(upstream.requests)) == (1, "", 3)
    assert "/days" in second[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--schema", "nowhere.json"], "nowhere.json cannot be read: No such file or directory"),
        (["--schema", "{"], "what is given is no JSON"),
        (["--schema", '{"type": "strng"}'], "the JSON Schema cannot be used at `/type`"),
        (["--schema", "{}"], "--schema needs a model"),
        (["--pipeline", "leave.md", "--system", "x"], "--system is for the default pipeline"),
    ],
    ids=["file", "json", "schema", "offline", "pipeline"],
)
def test_a_schema_and_instructions_that_cannot_be_are_refused(nexus: Nexus, arguments: list[str], message: str) -> None:
    """Before anything is sent."""
    code, out, err = nexus("ask", "handbook", QUESTION, *arguments)
    assert (code, out, message in err) == (2, "", True), err
