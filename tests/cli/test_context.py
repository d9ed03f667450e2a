"""`nexus context` as a person meets it: in an empty folder, with files that are good, bad and gone."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from generated_pages import commands as commands_page

from nexus_core.cli.commands.context.group import COMMANDS, command as group
from nexus_core.cli.main import main

pytestmark = pytest.mark.slow

Nexus = Callable[..., tuple[int, str, str]]
LEAVE = "# Leave\n\nEverybody has 28 days of leave. Up to five days may be carried over.\n"


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Nexus:
    """Run a command in an empty folder; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capfdbinary.readouterr()
        return int(ended.value.code or 0), out.decode(), err.decode()

    return run


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "leave.md").write_text(LEAVE)
    (folder / "travel.txt").write_text("Trains are booked in second class.")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_link_that_leads_nowhere_is_left_out_and_no_failure(nexus: Nexus, docs: Path) -> None:
    """Nobody can read it; one that led somewhere has vanished, and what was read of it waits for --prune."""
    target = docs.parent / "target.md"
    target.write_text("The mill opens at nine.")
    (docs / "linked.md").symlink_to(target)
    (docs / "gone.md").symlink_to("nowhere")
    code, out, err = nexus("context", "add", "handbook", "docs", "--follow-links")
    assert (code, "3 of 4 documents read" in out) == (0, True)
    assert "left out: docs/gone.md: is a link that leads nowhere" in err
    target.unlink()
    code, _, err = nexus("context", "add", "handbook", "docs", "--follow-links")
    assert (code, "no longer there: docs/linked.md" in err) == (0, True)
    assert "docs/linked.md" in nexus("context", "search", "handbook", "mill opens")[1]


def test_add_search_change_and_prune(nexus: Nexus, docs: Path) -> None:
    """The days of a context."""
    assert nexus("context", "add", "handbook", "docs") == (
        0, "handbook: 2 of 2 documents read from docs; items: 2 new\n", "",
    )  # fmt: skip
    assert "docs/leave.md" in nexus("context", "search", "handbook", "carried over")[1]
    (docs / "leave.md").write_text(LEAVE.replace("five", "six"))
    (docs / "travel.txt").unlink()
    code, out, err = nexus("context", "add", "handbook", str(docs))
    assert (code, "1 of 1 document read" in out, "docs/travel.txt: --prune removes it" in err) == (0, True, True)
    assert "1 pruned; items: 1 removed" in nexus("context", "add", "handbook", "docs", "--prune")[1]
    assert nexus("context", "check", "handbook") == (0, "all is well\n", "")
    (docs / "leave.md").unlink()
    code, _, err = nexus("context", "add", "handbook", "docs", "--prune")
    assert "docs/leave.md: not pruned, since" in err
    assert nexus("context", "remove", "handbook", "--document", "docs/leave.md", "--yes")[0] == 0


def test_a_part_of_a_folder_is_brought_up_to_date_under_its_names(nexus: Nexus, docs: Path) -> None:
    """Adding a file of a folder again makes no second item of it, and prunes nothing else."""
    nexus("context", "add", "handbook", "docs")
    (docs / "leave.md").write_text(LEAVE.replace("five", "six"))
    assert "items: 1 changed" in nexus("context", "add", "handbook", "docs/leave.md", "--prune")[1]
    assert len(json.loads(nexus("context", "items", "handbook", "--json")[1])) == 2


def test_two_folders_of_one_name_are_not_mixed(nexus: Nexus, docs: Path, tmp_path: Path) -> None:
    """The message says what to do, and that works."""
    (tmp_path / "other" / "docs").mkdir(parents=True)
    (tmp_path / "other" / "docs" / "leave.md").write_text("other")
    nexus("context", "add", "handbook", "docs")
    code, _, err = nexus("context", "add", "handbook", "other/docs")
    assert (code, "--as OTHER-NAME" in err) == (2, True)
    assert nexus("context", "add", "handbook", "other/docs", "--as", "second")[0] == 0
    assert nexus("context", "show", "handbook", "second/leave.md")[0] == 0


@pytest.mark.parametrize("paths", [("docs/leave.md", "old/leave.md"), ("docs", "old/docs")], ids=["files", "folders"])
def test_two_of_one_name_in_one_command_do_not_replace_each_other(
    nexus: Nexus, docs: Path, tmp_path: Path, paths: tuple[str, str]
) -> None:
    """Nothing is added; the same place twice is no clash."""
    (tmp_path / "old" / "docs").mkdir(parents=True)
    for place in ("old/leave.md", "old/docs/leave.md"):
        (tmp_path / place).write_text(LEAVE)
    code, _, err = nexus("context", "add", "handbook", "-", *paths, stdin=b"A text.")
    assert (code, f"{paths[0]} and {paths[1]} would both go by the name" in err) == (2, True)
    assert "there is none yet" in nexus("context", "show", "handbook")[2]
    code, out, _ = nexus("context", "add", "handbook", paths[0], str(tmp_path / paths[0]))
    assert (code, "unchanged" in out) == (0, True)


def test_what_lists_name_is_left_out_and_what_is_bad_is_told(nexus: Nexus, docs: Path) -> None:
    """Ignored, hidden and binary files are no failure; a broken one is, and the rest is in."""
    (docs / ".gitignore").write_text("drafts/\n*.log\n!keep.log\n")
    (docs / ".nexusignore").write_text("/secret.md\n")
    for name in ("drafts/a.md", "a.log", "keep.log", "secret.md", ".hidden.md", "deep/secret.md"):
        (docs / name).parent.mkdir(exist_ok=True)
        (docs / name).write_text("text")
    (docs / "pic.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    (docs / "gone.md").symlink_to("nowhere")
    (docs / "loop").symlink_to(".")
    code, out, err = nexus("context", "add", "handbook", "docs", "--json")
    told = json.loads(out)[0]
    assert (code, err, told["items"]["new"]) == (1, "", 4)
    assert [each["document"] for each in told["failed"]] == ["docs/broken.pdf"]
    assert [each["document"] for each in told["leftOut"]] == ["docs/gone.md", "docs/pic.png"]
    names = [each["id"] for each in json.loads(nexus("context", "items", "handbook", "--json")[1])]
    assert sorted(names) == ["docs/deep/secret.md", "docs/keep.log", "docs/leave.md", "docs/travel.txt"]


@pytest.mark.parametrize(
    ("stdin", "name", "ids"),
    [
        (b'{"_id":"q1","text":"one"}\n{"id":"q2","title":"T","text":"two"}\n', "stdin", ["q1", "q2"]),
        (b"just a text\n", "stdin", ["stdin"]),
        (b"# One\n\n" + b"word " * 300 + b"\n\n# Two\n\nmore\n", "a.md", ["a.md#one", "a.md#two"]),
    ],
    ids=["jsonl", "text", "markdown"],
)
def test_standard_input_is_added(nexus: Nexus, stdin: bytes, name: str, ids: list[str]) -> None:
    """Lines of JSON are items, all else is a text, and --as says of which kind."""
    options = ["--as", name] if name != "stdin" else []
    assert nexus("context", "add", "piped", "-", *options, stdin=stdin)[0] == 0
    assert [each["id"] for each in json.loads(nexus("context", "items", "piped", "--json")[1])] == ids


def test_files_in_another_encoding_are_read_when_it_is_named(nexus: Nexus, docs: Path) -> None:
    """What was read wrongly is read again, and a name that is none is told."""
    (docs / "leave.md").write_bytes("# Urlaub\n\nKollegen haben Anspruch auf größere Büros.\n".encode("cp1252"))
    (docs / "travel.txt").unlink()
    code, out, _ = nexus("context", "add", "handbook", "docs", "--encoding", "mac-roman")
    assert (code, "1 new" in out) == (0, True)
    assert "größere" not in nexus("context", "search", "handbook", "Anspruch")[1]
    code, out, _ = nexus("context", "add", "handbook", "docs", "--encoding", "cp1252")
    assert (code, "1 changed" in out) == (0, True)
    assert "größere" in nexus("context", "search", "handbook", "Anspruch")[1]
    assert "1 unchanged" in nexus("context", "add", "handbook", "docs", "--encoding", "cp1252")[1]
    code, _, err = nexus("context", "add", "handbook", "docs", "--encoding", "utf-61")
    assert (code, "--encoding: there is no encoding 'utf-61'" in err) == (2, True)


def test_jsonl_lines_are_items_and_logs_are_text(nexus: Nexus, docs: Path) -> None:
    """A line that is none is told, with its number; a file of something else is a text like any other."""
    (docs / "corpus.jsonl").write_text('{"_id": "1", "text": "one", "tags": ["x"], "more": 2}\n{bad\n')
    (docs / "log.jsonl").write_text('{"level": "info"}\n')
    code, _, err = nexus("context", "add", "c", "docs")
    assert (code, "corpus.jsonl:2: is no JSON" in err) == (1, True)
    item = json.loads(nexus("context", "show", "c", "1", "--json")[1])
    assert (item["text"], item["tags"], item["metadata"]) == ("one", ["x"], {"more": 2})
    assert json.loads(nexus("context", "show", "c", "docs/log.jsonl", "--json")[1])["kind"] == "markdown"


def test_tag_remove_export_and_import(nexus: Nexus, docs: Path, tmp_path: Path) -> None:
    """Everything that can be done to a context and its items."""
    nexus("context", "add", "a", "docs", "--tag", "all")
    assert nexus("context", "tag", "a", "docs/leave.md", "--add", "leave", "--remove", "all")[0] == 0
    code, out, err = nexus("context", "tag", "a", "docs/leave.md", "nowhere", "--add", "x")
    assert (code, out, "there is no item 'nowhere' in 'a'" in err) == (2, "changed 1 item\n", True)
    assert [i["id"] for i in json.loads(nexus("context", "items", "a", "--tag", "leave", "--json")[1])] == [
        "docs/leave.md"
    ]
    assert nexus("context", "export", "a", "a.jsonl")[:2] == (0, "wrote a.jsonl: 2 items\n")
    assert "--force" in nexus("context", "export", "a", "a.jsonl")[2]
    assert nexus("context", "export", "a")[1].encode() == (tmp_path / "a.jsonl").read_bytes()
    assert nexus("context", "import", "b", "a.jsonl")[1] == "b: 2 items new, 0 changed, 0 unchanged\n"
    assert nexus("context", "remove", "b", "docs/leave.md")[1] == "removed 1 of 1 item\n"
    assert nexus("context", "remove", "a", "--document", "docs/t*")[1] == "removed 1 document with 1 item\n"
    assert nexus("context", "remove", "a")[0] == 2
    assert nexus("context", "remove", "a", "--yes")[1] == "removed a with its 1 item\n"
    assert [each["name"] for each in json.loads(nexus("context", "list", "--json")[1])] == ["b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "handbook", "dosc"], "did you mean 'docs'"),
        (["add", "handbook", "docs/leav.txt"], "did you mean 'leave.md'"),
        (["add", "handbook", "docs/nothing.md"], "there is no file or folder docs/nothing.md\n"),
        (["add", "handbook", "docs", "--language", "germn"], "did you mean 'german'"),
        (["add", "handbook", "docs", "docs/leave.md", "--as", "x"], "--as names one thing"),
        (["add", "handbook", "docs", "--as", "a/b"], "has a slash"),
        (["add", "handbook", "ftp://example.com/docs"], "an address with https:// or http://"),
        (["add", "handbook", "-"], "standard input is empty"),
        (["search", "handbok", "x"], "did you mean 'handbook'"),
        (["show", "handbook", "none"], "nexus context items handbook"),
        (["remove", "handbook", "--document", "docs/leve.md"], "did you mean 'docs/leave.md'"),
        (["tag", "handbook", "docs/leave.md"], "--add TAG"),
        (["serch", "handbook", "x"], "did you mean 'search'"),
    ],
    ids=lambda value: "-".join(value[:1]) if isinstance(value, list) else None,
)
def test_a_mistake_is_told_with_what_to_do(nexus: Nexus, docs: Path, arguments: list[str], message: str) -> None:
    """Exit code 2, nothing on stdout, no traceback, and no empty context is left."""
    nexus("context", "add", "handbook", "docs") if "--language" not in arguments else None
    code, out, err = nexus("context", *arguments)
    assert (code, out, message in err, "Traceback" in err) == (2, "", True, False), err
    assert [each["items"] for each in json.loads(nexus("context", "list", "--json")[1])] in ([2], [])


@pytest.fixture
def linked(docs: Path, tmp_path: Path) -> Path:
    """The folder of documents with links that leave it, and some that do not."""
    (tmp_path / "secret" / "deep").mkdir(parents=True)
    (tmp_path / "secret" / "deep" / "salaries.md").write_text("# Salaries\n\nNobody may read this.\n")
    (docs / "inner").mkdir()
    (docs / "inner" / "hotels.md").write_text("Hotels up to 120 euros.")
    for name, target in (
        ("out", "../secret"), ("file.md", "../secret/deep/salaries.md"), ("far", str(tmp_path / "secret")),
        ("within", "inner"), ("same.md", "leave.md"),
    ):  # fmt: skip
        (docs / name).symlink_to(target)
    (docs / "hop").symlink_to("far/deep")
    return docs


def test_links_that_leave_a_folder_are_skipped_and_told(nexus: Nexus, linked: Path) -> None:
    """A folder is a folder; what stays in it is read, and the exit code is 0."""
    code, out, _ = nexus("context", "add", "handbook", "docs", "--json")
    left = ["docs/far", "docs/file.md", "docs/hop", "docs/out"]
    assert (code, [each["document"] for each in json.loads(out)[0]["leftOut"]]) == (0, left)
    assert "Nobody may read" not in nexus("context", "export", "handbook")[1]
    told = json.loads(nexus("context", "show", "handbook", "--json")[1])
    assert [each["name"] for each in told["documents"]] == [
        "docs/inner/hotels.md", "docs/leave.md", "docs/same.md", "docs/travel.txt",
    ]  # fmt: skip
    assert [each["name"] for each in told["skipped"]] == left


def test_links_are_followed_where_that_is_asked(nexus: Nexus, linked: Path) -> None:
    """And once it is not asked any more, what they led to leaves with --prune; nothing is left of it."""
    assert nexus("context", "add", "handbook", "docs", "--follow-links")[0] == 0
    assert "Nobody may read" in nexus("context", "export", "handbook")[1]
    assert json.loads(nexus("context", "show", "handbook", "--skipped", "--json")[1]) == []
    assert nexus("context", "add", "handbook", "docs", "--prune")[0] == 0
    assert "Nobody may read" not in nexus("context", "export", "handbook")[1]
    assert nexus("context", "check", "handbook")[:2] == (0, "all is well\n")


def test_what_was_skipped_is_no_document_and_has_its_reason(nexus: Nexus, docs: Path) -> None:
    """All of it: left out, failed, and linked away; and once it can be read, it is a document."""
    for number in range(30):
        (docs / f"pic{number:02}.gif").write_bytes(b"GIF89a\0\0")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    for _ in range(2):  # the second time they are known
        code, _, said = nexus("context", "add", "handbook", "docs")
        assert (code, "all 30 are listed by `nexus context show handbook --skipped`" in said) == (1, True)
    whole = nexus("context", "show", "handbook")[1]
    assert "2 items of 2 documents" in whole
    assert "31 files were skipped" in whole
    assert "and 11 more: --skipped" in whole
    lines = nexus("context", "show", "handbook", "--skipped")[1].splitlines()
    assert (len(lines), all(": is " in line for line in lines[1:])) == (32, True)
    (docs / "pic00.gif").write_text("a text after all")
    (docs / "pic01.gif").unlink()
    nexus("context", "add", "handbook", "docs")
    told = json.loads(nexus("context", "show", "handbook", "--json")[1])
    assert ("docs/pic00.gif" in [each["name"] for each in told["documents"]], len(told["skipped"])) == (True, 29)


@pytest.mark.parametrize("place", ["empty", "pictures", "broken.pdf", "nowhere", "http://127.0.0.1:9/page.html"])
def test_a_place_that_gives_nothing_makes_no_context(nexus: Nexus, tmp_path: Path, place: str) -> None:
    """A folder without files, one without texts, a file that is damaged, and what is not there."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    assert nexus("context", "add", "new", place)[0] in (1, 2)
    assert json.loads(nexus("context", "list", "--json")[1]) == []


@pytest.mark.skipif(sys.platform == "win32", reason="pipes, and such names")
def test_what_can_be_no_document_is_among_the_skipped_too(nexus: Nexus, docs: Path) -> None:
    """A pipe, and a name that cannot be kept, which is spelt out; each time, and as long as it is there."""
    os.mkfifo(docs / "pipe.md")
    odd = docs / "red\x1b[31m.md"
    odd.write_text(LEAVE)
    for _ in range(2):
        nexus("context", "add", "handbook", str(docs))
        _, out, _ = nexus("context", "show", "handbook", "--skipped")
        assert "docs/pipe.md: is neither a file nor a folder; left out" in out
        assert r"docs/red\x1b[31m.md: its name holds a control character" in out
    odd.unlink()
    nexus("context", "add", "handbook", str(docs))
    assert "red" not in nexus("context", "show", "handbook", "--skipped")[1]


@pytest.mark.parametrize("command", [["lint"], ["serve"], ["context", "add", "code"], ["context", "add", "code", "."]])
@pytest.mark.parametrize("path", ["", " "], ids=["empty", "blank"])
def test_an_empty_path_is_not_the_current_folder(nexus: Nexus, docs: Path, command: list[str], path: str) -> None:
    """It is a variable of the shell that is not set: nothing is read, run or made."""
    code, _, err = nexus(*command, path)
    assert (code, "a path is empty" in err) == (2, True)
    assert "code" not in nexus("context", "list")[1]


def test_an_export_keeps_what_was_skipped(nexus: Nexus, docs: Path) -> None:
    """With the reasons."""
    (docs / "pic.gif").write_bytes(b"GIF89a\0\0")
    nexus("context", "add", "a", "docs")
    nexus("context", "export", "a", "a.jsonl")
    nexus("context", "import", "b", "a.jsonl")
    shown = [nexus("context", "show", name, "--skipped")[1].replace(f"{name}:", "") for name in "ab"]
    assert "docs/pic.gif: is binary" in shown[0]
    assert shown[0] == shown[1]


def test_a_text_cannot_steer_the_terminal(nexus: Nexus, docs: Path) -> None:
    """What is printed of stored text has no escape sequences."""
    (docs / "evil.md").write_text("# Evil \x1b]0;owned\x07\n\nred \x1b[31m text")
    nexus("context", "add", "handbook", "docs")
    for arguments in (["search", "handbook", "evil"], ["show", "handbook", "docs/evil.md"], ["items", "handbook"]):
        assert "\x1b" not in nexus("context", *arguments)[1]


def test_every_subcommand_and_option_is_documented() -> None:
    """The page that is made of the commands has a section for each, with examples."""
    sections = dict(re.findall(r"^## nexus context (\w+)\n((?:(?!^## ).*\n)*)", commands_page(), re.MULTILINE))
    context = click.Context(group)
    assert sorted(sections) == sorted(COMMANDS)
    for name, section in sections.items():
        command = group.get_command(context, name)
        assert command is not None
        options = [parameter.opts[0] for parameter in command.params if isinstance(parameter, click.Option)]
        assert [option for option in options if option not in section] == [], name
        assert "Examples:" in section


def test_help_of_the_group_imports_no_store() -> None:
    """The summaries are enough."""
    import subprocess

    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "nexus_core.cli.main", "context", "--help"],
        capture_output=True, text=True, check=True, env={**os.environ},
    )  # fmt: skip
    found = {match[1] for match in re.finditer(r"\| +(\S+)$", done.stderr, re.MULTILINE)}
    assert {"tantivy", "aiohttp", "sqlite3", "asyncio"} & found == set()
