"""What new users meet first: one message for one failure, words taken as they are meant, options where they stand."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import pytest

from nexus_core.cli.main import COMMANDS, ImpliedGroup, cli, main
from nexus_core.cli.output.progress_bar import IngestProgressBar, pace
from nexus_core.cli.store_option import without_store

pytestmark = pytest.mark.slow

Nexus = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parent.parent.parent
PIPELINE = """name: p
models:
  best: {{use: openai, model: gpt-4o-mini, base_url: "{address}", api_key: "{key}", retry: false}}
  offline: {{use: extractive}}
steps:
  - gather: {{use: files, paths: "{paths}"}}
  - prompt: qa
  - generate: {model}
"""


class Refusing(BaseHTTPRequestHandler):
    """Refuses every key, and knows one path only."""

    def do_POST(self) -> None:
        """Answer as services do."""
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}'
        known = self.path == "/v1/chat/completions"
        self.send_response(401 if known else 404)
        self.end_headers()
        self.wfile.write(body if known else b"404 page not found")

    def log_message(self, *_: object) -> None:
        """Say nothing of requests."""


@pytest.fixture
def service() -> Iterator[str]:
    """The address of a service that refuses."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nexus:
    """Run a command in a folder with a document; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "NEXUS_MODEL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "leave.md").write_text("# Leave\n\nUp to five days of leave may be carried over.\n")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


FAILURES = {
    "key": ("{service}/v1", "*.md", "401", "OPENAI_API_KEY"),
    "path": ("{service}/nowhere", "*.md", "404", "OPENAI_BASE_URL"),
    "refused": ("http://127.0.0.1:9/v1", "*.md", "Connection refused", "OPENAI_BASE_URL"),
    "files": ("{service}/v1", "nowhere/*.md", "there is no 'nowhere'", "paths"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_message_that_says_what_to_set(nexus: Nexus, service: str, name: str, tmp_path: Path) -> None:
    """Once, on one line, with the model's name where it is a model's; the log does not say it again."""
    address, paths, said, variable = FAILURES[name]
    text = PIPELINE.format(address=address.format(service=service), key="sk-1", paths=paths, model="best")
    (tmp_path / "p.yaml").write_text(text)
    code, out, err = nexus("run", "p.yaml", "How many days?")
    assert (code, out, err.count("\n")) == (1, "", 1), err
    assert (said in err, variable in err, "best" in err or name == "files") == (True, True, True), err


def test_a_fallback_is_told_of_once(nexus: Nexus, service: str, tmp_path: Path) -> None:
    """With why the first model did not answer."""
    text = PIPELINE.format(address=f"{service}/v1", key="sk-1", paths="*.md", model="best")
    (tmp_path / "p.yaml").write_text(text.replace("retry: false}", "fallback: offline}"))
    code, out, err = nexus("run", "p.yaml", "How many days?")
    assert (code, "Up to five days" in out, err.count("Incorrect API key")) == (0, True, 1), err


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        (["How many days?"], "there is no context 'How many days?', and no question follows it"),
        (["How", "many", "days?"], "there is no context 'How'"),
        ([], "a context and a question are missing"),
        (["handbok", "How many?"], "did you mean 'handbook'"),
    ],
    ids=["question", "words", "nothing", "typo"],
)
def test_ask_without_a_context_says_how_to_go_on(nexus: Nexus, words: list[str], taken: str) -> None:
    """With the contexts and pipelines that are there, and the words that were given, as commands on lines."""
    nexus("context", "add", "handbook", "leave.md")
    Path("p.yaml").write_text("name: p\nsteps: []\n")
    Path("compose.yaml").write_text("services: {}\n")
    code, out, err = nexus("ask", *words)
    what, *steps = err.splitlines()
    question = shlex.quote(" ".join(words[words[:1] == ["handbok"] :])) if words else "QUESTION"
    assert (code, out, taken in what) == (2, "", True), err
    assert [re.split(r"   *", step.strip())[0] for step in steps] == [
        f"nexus ask handbook {question}",
        f"nexus ask -f FILE {question}",
        f"nexus run p.yaml {question if words else 'QUERY'}",
    ], err


BEGINNINGS = {
    "no question": ("ask", "nexus context add NAME FOLDER"),
    "no context": ("chat", "nexus context add NAME FOLDER"),
    "no pipeline": ("run nowhere.yaml why", "nexus init"),
    "no pipeline to chat": ("chat nowhere.yaml", "nexus init"),
    "no pipeline of a context": ("ask x y --pipeline nowhere.yaml", "nexus init"),
    "no pipeline for a batch": ("batch start nowhere.yaml q.jsonl -o o.jsonl", "nexus init"),
    "no key": ("ask -f leave.md why --model gpt-4o", "nexus secrets set openai"),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_what_beginners_lack_is_said_with_commands_to_go_on(nexus: Nexus, name: str) -> None:
    """A short line, then commands that are taken as they stand, whatever is put in the place of their capitals."""
    words, command = BEGINNINGS[name]
    code, out, err = nexus(*words.split())
    what, *steps = [line for line in err.splitlines() if not line.startswith("there is no store")]
    assert (code, out, len(what) < 100) == (2, "", True), err
    assert [step for step in steps if step.startswith(f"  {command}  ")], err
    for step in steps:
        found: click.Command = cli
        for word in step.strip().partition("  ")[0].split()[1:]:  # what follows says what it does
            if not isinstance(found, click.Group):
                break
            child = found.get_command(click.Context(found), word)
            assert child is not None, step
            found = child
        assert not isinstance(found, click.Group) or isinstance(found, ImpliedGroup), step


@pytest.mark.parametrize("command", ["run", "explain", "ask", "search"])
def test_several_words_are_one_question(nexus: Nexus, tmp_path: Path, command: str) -> None:
    """With options among them, too; the answer is that of the question in quotes."""
    nexus("context", "add", "handbook", "leave.md")
    (tmp_path / "p.yaml").write_text(PIPELINE.format(address="", key="", paths="*.md", model="offline"))
    start = {"run": ["run", "p.yaml"], "explain": ["explain", "p.yaml"], "ask": ["ask", "handbook"]}.get(
        command, ["context", "search", "handbook"]
    )
    more = ["--json"] if command == "search" else ["--model", "offline"]
    apart = nexus(*start, "days", "of", *more, "leave")
    assert apart == nexus(*start, *more, "days of leave")
    assert (apart[0], "five days of leave" in apart[1]) == (0, True)


def groups() -> list[str]:
    """Return the commands that have subcommands with `--store`, `list` among them."""
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in COMMANDS}
    lists = {name: each.get_command(context, "list") for name, each in found.items() if isinstance(each, click.Group)}
    return [
        name
        for name, each in lists.items()
        if each is not None and any("--store" in option.opts for option in each.params)
    ]


@pytest.mark.parametrize("group", groups())
def test_store_is_taken_before_and_after_a_subcommand(nexus: Nexus, tmp_path: Path, group: str) -> None:
    """Of each group, and of the command itself; where both are said, the last one holds."""
    nexus("--store", "a", "context", "add", "handbook", "leave.md")
    nexus("run", "p.yaml", "x", "--conversation", "c", "--store", "a")
    nexus("keys", "--store", "a", "new", "--owner", "ann")
    here = nexus(group, "list", "--store", "a")
    assert here[0] == 0
    for arguments in (["--store", "a", group, "list"], [group, "--store", "a", "list"],
                      [group, "--store", "b", "list", "--store", "a"]):  # fmt: skip
        assert nexus(*arguments) == here, arguments
    assert {"context": "handbook", "keys": "ann"}.get(group, "") in here[1]
    assert os.environ["NEXUS_STORE"] == str(tmp_path / "store")


def test_the_module_is_the_command_and_runs_no_file_of_the_folder(tmp_path: Path) -> None:
    """`python -P -m nexus_core`, in a folder with a hostile module."""
    (tmp_path / "click.py").write_text("raise SystemExit('executed')")
    command = [sys.executable, "-P", "-m", "nexus_core", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: nexus [OPTIONS] COMMAND")


def test_no_page_shows_another_spelling_of_the_module() -> None:
    """Readers copy what they see; without -P the current folder would come first."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("nexus_core/**/*.md"), *ROOT.glob("plugins/**/*.md")]
    pages += [*ROOT.glob("nexus_core/cli/**/*.txt"), *ROOT.glob("pipelines/**/*")]
    texts = [page.read_text("utf-8", "replace") for page in pages if page.is_file()]
    shown = [found for text in texts for found in re.findall(r".{7}-m nexus_core\S*", text)]
    assert {found.rstrip("`:,.;") for found in shown} == {"hon -P -m nexus_core"}


@pytest.mark.parametrize(
    ("model", "said"),
    [("ofline", "did you mean 'offline'"), ("nope", "nexus secrets set openai")],
)
def test_ask_lists_the_models_for_an_unknown_one(nexus: Nexus, model: str, said: str) -> None:
    """One that is nearly `offline` is never sent anywhere."""
    nexus("context", "add", "handbook", "leave.md")
    code, out, err = nexus("ask", "handbook", "How many?", "--model", model)
    assert (code, out, said in err) == (2, "", True), err


@pytest.mark.parametrize("command", ["run", "explain"])
def test_an_unknown_model_lists_those_of_the_pipeline(nexus: Nexus, tmp_path: Path, command: str) -> None:
    """By the names that may be said."""
    (tmp_path / "p.yaml").write_text(PIPELINE.format(address="", key="", paths="*.md", model="offline"))
    code, out, err = nexus(command, "p.yaml", "x", "--model", "nope")
    assert (code, out, "there are: best and offline" in err) == (2, "", True), err


@pytest.mark.parametrize(
    ("done", "total", "seconds", "told"),
    [
        (0, 100, 3.0, "time left unknown"),
        (100, 1100, 2.0, "50/s, 0:20 left"),
        (10, 1000, 10.0, "1.0/s, 16:30 left"),
        (1, 3, 60.0, "1.0/min, 2:00 left"),
        (1000, 5_000_000, 10.0, "100/s, 13:53:10 left"),
        (5, 5, 1.0, "5.0/s, 0:00 left"),
    ],
)
def test_progress_says_the_rate_and_labels_the_time_left(done: int, total: int, seconds: float, told: str) -> None:
    """A bare 0:20 beside a bar could be the time that has gone."""
    assert pace(done, total, seconds) == told


def test_the_bar_shows_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, once it takes longer than a moment."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    times = iter([0.0, 2.0, 2.0])
    with IngestProgressBar(quiet=False, clock=lambda: next(times)) as counting:
        counting.see(100, 1100, "docs/leave.md")
        counting._bar.refresh()
    assert "50/s, 0:20 left" in terminal.getvalue()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("nexus con", {"context", "conversations"}),
        ("nexus context sh", {"show"}),
        ("nexus context add --follow", {"--follow-links"}),
        ("nexus keys re", {"revoke"}),
        ("nexus nothing x", set()),
    ],
)
def test_shells_complete_commands_and_options(words: str, found: set[str]) -> None:
    """As the how-to page says to set them up, without a word on stderr."""
    code = "from nexus_core.cli.main import main; main()"
    environment = {**os.environ, "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env={**environment, "_NEXUS_COMPLETE": "bash_complete"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stderr, {line.partition(",")[2] for line in done.stdout.splitlines()} - {""}) == ("", found)


@pytest.mark.parametrize("kind", ["connector", "sink"])
def test_the_readme_of_a_new_plugin_says_how_to_install_a_checkout(nexus: Nexus, tmp_path: Path, kind: str) -> None:
    """Nobody has published it yet."""
    assert nexus("new", kind, "acme")[0] == 0
    page = (tmp_path / "contextnexus-acme" / "README.md").read_text()
    assert "python -m pip install --editable ." in page
    assert page.index("--editable .") < page.index("pip install contextnexus-acme")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("context list", 0), ("context show x", 2), ("context items x", 2), ("context search x y", 2),
        ("context remove x --yes", 2), ("context tag x --add t id", 2), ("context check", 0), ("context export x -", 2),
        ("conversations list", 0), ("conversations show c", 2), ("conversations delete c", 2),
        ("conversations expire", 0), ("usage", 0), ("keys list", 0), ("keys revoke k", 2), ("ask x y", 2),
    ],
    ids=lambda value: str(value).replace(" ", "-"),
)  # fmt: skip
def test_a_command_that_adds_nothing_makes_no_store(nexus: Nexus, tmp_path: Path, command: str, code: int) -> None:
    """A folder that was misspelt is named, and does not come into being."""
    found, _, err = nexus(*command.split(), "--store", "misspelt")
    assert (found, "there is no store in misspelt yet" in err) == (code, True), err
    assert not (tmp_path / "misspelt").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["serve", "--store", "postgresql://a:b@h/d", "--port", "1"], ["serve", "--port", "1"], id="two"),
        pytest.param(["serve", "--store=postgresql://a:b@h/d", "p.yaml"], ["serve", "p.yaml"], id="one"),
        pytest.param(["serve", "--store-url-file", "f", "p.yaml"], ["serve", "p.yaml"], id="file"),
        pytest.param(["serve", "--", "--store"], ["serve", "--", "--store"], id="no option"),
    ],
)
def test_children_have_the_store_by_their_environment(arguments: list[str], expected: list[str]) -> None:
    """Not among their arguments, which everybody may read: a URL may hold a password."""
    assert without_store(arguments) == expected


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param(b"ann:s3cret@host/name\n", "is no URL", id="half"),
        pytest.param(b"\xff\xfes3cret\n", "no text in UTF-8", id="bytes"),
        pytest.param(b"\xef\xbb\xbffoo://ann:s3cret@host/name\r\n", "no store for URLs of 'foo'", id="mark"),
    ],
)
def test_a_file_with_no_url_of_a_store_is_refused_and_not_shown(
    nexus: Nexus, tmp_path: Path, line: bytes, told: str
) -> None:
    """It is taken for no folder: its line may hold a password."""
    (tmp_path / "url").write_bytes(line)
    code, out, said = nexus("context", "list", "--store-url-file", str(tmp_path / "url"))
    assert (code, out) == (2, "")
    assert told in said.replace("\n", " ")
    assert "s3cret" not in said
