"""Every command and option that a README or a page of the site names is taken by the real command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from generated_pages import commands as commands_page

from nexus_core.cli.main import COMMANDS, cli

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(
    page
    for page in (*ROOT.rglob("README.md"), *(ROOT / "docs").rglob("*.md"))
    if not any(part.startswith(".") for part in page.relative_to(ROOT).parts)
)
FOREIGN = frozenset({
    "--api-key", "--max-model-len", "--data-binary", "--import-mode", "--editable", "--no-deps", "--no-build-isolation",
    "--rounds", "--fuse", "--minilm", "--wheel", "--seed", "--seconds", "--longest", "--clients", "--workers",
    "--resource", "--task", "--vectors", "--url",
    "--install-extension",
    "--build", "--build-arg", "--cap-drop", "--detach", "--from-file", "--read-only", "--reuse-values", "--rm", "--set",
    "--tmpfs",
})  # fmt: skip
"""Options of other programs: vLLM, curl, openapi-python-client, pip, pytest, az, optimum-cli, docker, kubectl, helm,
VS Code, the benchmarks."""
IMPLIED = ("mcp", "models")
"""Groups that are given the arguments of a subcommand alone."""
_COMMAND = re.compile(r"(?:`|^\$ |^| \| )nexus ((?:[a-z]|-[a-z-])[^`\n]*)", re.MULTILINE)
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def command_of(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """Return the command that words begin with, and the rest of them; raises UsageError where there is none."""
    found: click.Command = cli
    context = click.Context(cli, info_name="nexus")
    while words and isinstance(found, click.Group) and (not words[0].startswith("-") or found.name in IMPLIED):
        _, next_one, words = found.resolve_command(context, words)
        assert next_one is not None
        found, context = next_one, click.Context(next_one, parent=context, info_name=next_one.name)
    return found, context, words


def commands(page: Path) -> Iterator[str]:
    """Yield the command lines of a README: without what the shell makes of the rest, of `list|show` the first."""
    for told in _COMMAND.findall(page.read_text("utf-8")):
        yield re.sub(r"\b([a-z]+)(\|[a-z]+)+", r"\1", re.split(r"  +#| > | \| ", told)[0].strip())


def options_of(command: click.Command) -> set[str]:
    """Return the long options of a command."""
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")} | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_of_a_readme_is_taken(page: Path) -> None:
    """The command is there, and its parser knows each option, with its value where it wants one."""
    for line in commands(page):
        command, context, rest = command_of(shlex.split(line))
        # The last option may stand without its value, in prose.
        alone = rest[-1:] if rest[-1:] and rest[-1].startswith("--") else []
        assert set(alone) <= options_of(command), (page, line)
        command.make_parser(context).parse_args(rest[: len(rest) - len(alone)])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_option_that_a_readme_names_is_one(page: Path) -> None:
    """Of any command of ours, or of a program that is named beside it."""
    known = FOREIGN | {name for command in all_commands() for name in options_of(command)}
    assert sorted(set(_OPTION.findall(page.read_text("utf-8"))) - known) == []


def all_commands(group: click.Group = cli) -> Iterator[click.Command]:
    """Yield every command of a group and the groups in it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield found
        if isinstance(found, click.Group):
            yield from all_commands(found)


def sections() -> Iterator[tuple[str, set[str]]]:
    """Yield (command, options) of each section of the page that is made of the commands."""
    for text in re.split(r"^## nexus ", commands_page(), flags=re.MULTILINE)[1:]:
        yield text.partition("\n")[0], set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))


SECTIONS = dict(sections())


@pytest.mark.parametrize(("name", "options"), SECTIONS.items(), ids=SECTIONS)
def test_every_section_of_the_reference_has_the_options_of_its_command(name: str, options: set[str]) -> None:
    """All that it names are there, and all that are there are named."""
    command, _, rest = command_of(name.split())
    assert rest == []
    hidden = {name for each in command.params if getattr(each, "hidden", False) for name in each.opts}
    assert options == options_of(command) - hidden


def test_the_reference_has_a_section_for_each_command() -> None:
    """Those of groups included."""
    assert len(SECTIONS) == len(list(all_commands()))


def test_every_command_has_a_help_with_options_that_are_there() -> None:
    """The examples in a help are command lines too."""
    for name in COMMANDS:
        command, _, _ = command_of([name])
        for line in re.findall(r"^ *nexus ([a-z].*)$", command.epilog or "", re.MULTILINE):
            found, context, rest = command_of(shlex.split(line.partition(" | ")[0].partition(" > ")[0]))
            found.make_parser(context).parse_args(rest)
