"""The help of every command: examples that can be copied, and no path that only a checkout of the project has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from nexus_core.cli.main import COMMANDS, SECTIONS, cli, main

IMPLIED = {"nexus batch start", "nexus models available", "nexus models check", "nexus models of", "nexus mcp serve"}
"""Commands that need not be named: their groups are given their arguments."""
COLLECTION = {"corpus.jsonl", "queries.jsonl", "qrels.tsv"}
"""What a folder in the format of BEIR holds."""
_WRITTEN = re.compile(
    r"(?:-o|--output|--html|--junit|--record|--as|>|context export \w+|conversations export .*--qrels) ([\w./-]+\w)"
)
_SUFFIXES = "ya?ml|jsonl?|csv|tsv|md|pdf|docx|xlsx|png|txt|html|gz|xml"
_PATH = re.compile(rf"(?<![\w:/@.\"*])(?:[\w-][\w.-]*(?:/[\w.-]*)+(?![\w*])|[\w-]+(?:\.\w+)?\.(?:{_SUFFIXES})\b)")
_PLACEHOLDER = re.compile(r"\b[A-Z][A-Z-]+\b")
_ADDRESS = re.compile(r"\S*://\S+|(?<![\w.])[~/][\w./~-]+")


def helps(group: click.Group = cli, path: str = "nexus") -> Iterator[tuple[str, click.Command]]:
    """Yield each command with what it is called by."""
    context = click.Context(group, info_name=path)
    yield path, group
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from helps(found, f"{path} {name}")
        else:
            yield f"{path} {name}", found


HELPS = dict(helps())


def text_of(command: click.Command) -> str:
    """Return all that a help says."""
    options = [option.help or "" for option in command.params if isinstance(option, click.Option)]
    return "\n".join([command.help or "", *options, command.epilog or ""])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `nexus init` writes."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.raises(SystemExit) as ended:
        main(["init", str(folder), "--yes"])
    assert not ended.value.code
    return folder


@pytest.mark.parametrize("path", HELPS)
def test_a_help_names_only_files_that_every_user_has(path: str, project: Path) -> None:
    """Those that `nexus init` writes, those that an example writes, and placeholders in capitals."""
    written = {name for command in HELPS.values() for name in _WRITTEN.findall(text_of(command))}
    text = _ADDRESS.sub("", text_of(HELPS[path]))
    unknown = [
        found
        for found in _PATH.findall(text)
        if not (project / found).exists()
        and not _PLACEHOLDER.search(found)
        and found not in written
        and found.removesuffix(".run") not in written
        and found not in COLLECTION
    ]
    assert unknown == []


@pytest.mark.parametrize("path", HELPS)
def test_a_help_says_what_the_command_is_for_and_has_an_example(path: str) -> None:
    """On its first line, which is a sentence; the examples are of the command itself, and are taken by it."""
    command = HELPS[path]
    first, _, _ = (command.help or "").partition("\n\n")
    assert re.fullmatch(r"[A-Z].+\.", first.strip(), re.DOTALL), first
    examples = [line for line in (command.epilog or "").splitlines() if re.search(r"(^| )nexus ", line)]
    shown = path.rpartition(" ")[0] if path in IMPLIED else path
    assert [line for line in examples if f" {shown} " in f"{line} "], f"{path} shows no example of itself"


def test_the_first_help_has_all_commands_in_sections() -> None:
    """Each once, those first that one begins with."""
    assert [name for section in SECTIONS.values() for name in section] == list(COMMANDS)
    assert [*COMMANDS][:3] == ["ask", "context", "chat"]
    shown = cli.get_help(click.Context(cli, info_name="nexus"))
    places = [shown.index(f"{title}:") for title in SECTIONS]
    assert places == sorted(places)
    assert all(shlex.split(line.partition("|")[2] or line) for line in (cli.epilog or "").splitlines()[2:])


def test_the_page_of_the_wheel_runs_no_file_that_is_not_written_on_it() -> None:
    """Who has installed the wheel reads the README on the package index, and has no checkout."""
    page = (Path(__file__).parent.parent.parent / "README.md").read_text("utf-8")
    there = {*re.findall(r"<!-- file: (\S+) -->", page), *_WRITTEN.findall(page), "assistant.yaml"}
    lines = re.findall(r"^(?:\$ )?(?:\S+ \| )?(nexus .*)$", page, re.MULTILINE)
    named = {path for line in lines for path in _PATH.findall(_ADDRESS.sub("", line)) if path.endswith((".yaml", "/"))}
    assert len(lines) > 5
    assert named - there == set()
