"""The `nexus` command. A subcommand's module is imported when it is called: `nexus --help` needs none of them."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from io import StringIO
from keyword import iskeyword
from typing import TYPE_CHECKING, Any
from warnings import simplefilter

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.store_option import store_option
from nexus_core.toolkit.processes.environment import protect_process
from nexus_core.toolkit.processes.leaving import (
    INTERRUPTED,
    end_interrupted,
    end_with_threads,
    hear_interrupts,
    leave_interrupts,
    write_nothing,
)
from nexus_core.toolkit.suggest import instead

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from nexus_core.contract.errors import ConnectorError

SECTIONS = {
    "Ask": {
        "ask": "Ask a context, files or a pipe a question.",
        "context": "Keep contexts of documents: add, search, list, tag, remove, export, check.",
        "chat": "Ask a context or a pipeline question after question.",
        "conversations": "List, show, share, rate, import and delete conversations.",
    },
    "Pipelines": {
        "init": "Write a pipeline, its tests and a plugin into a folder, to begin with.",
        "run": "Run a pipeline for one question.",
        "explain": "Show what would be sent, and why, without any call.",
        "lint": "Report every problem of pipeline files.",
        "test": "Run the tests that pipelines carry, offline.",
        "batch": "Run a pipeline over a file of questions, through failures and restarts.",
        "eval": "Measure how well pipelines rank and pack.",
    },
    "Models": {
        "models": "List the models that you can use, try them, and install some that run here.",
        "secrets": "Store, list and remove the API keys of model services.",
        "usage": "Show what models have used, by day, pipeline and model.",
    },
    "Servers": {
        "serve": "Serve pipelines over HTTP.",
        "mcp": "Serve pipelines over MCP to the program that starts this, and print how it is set up.",
        "keys": "Create, list, change, rotate and revoke API keys of a server.",
        "store": "Copy, back up, restore and verify whole stores.",
    },
    "Plugins": {
        "plugins": "List the installed plugins and what is wrong with any.",
        "directory": "Search the directory of plugins, install one, run the contract suites on it.",
        "new": "Write the package of a new plugin.",
    },
    "Shell and editor": {
        "completion": "Install completion for bash, zsh or fish.",
        "lsp": "Serve an editor: diagnostics, completion, hovers, definitions.",
        "schema": "Print the JSON Schema of the pipeline language.",
        "logs": "List, search, show and repeat the runs that were kept on request.",
    },
}
"""The commands with their summaries, by what they are for; what is done first stands first."""
COMMANDS = {name: summary for section in SECTIONS.values() for name, summary in section.items()}

EXAMPLES = """\b
Examples:
  nexus ask -f CONTRACT.pdf "When does it end?"
  git diff | nexus ask "what changed?"
  nexus context add handbook FOLDER
  nexus ask handbook "How many days of leave can be carried over?"
  nexus chat handbook
  nexus init
  nexus run assistant.yaml "How many days of leave can be carried over?"
  nexus serve
"""


COMPLETE = "_NEXUS_COMPLETE"
"""The environment variable by which the script of a shell asks for completions, as `bash_complete`."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and summary and imports one only to run it or to show its help."""

    def __init__(
        self,
        *args: Any,
        table: Mapping[str, str] = COMMANDS,
        package: str = "nexus_core.cli.commands",
        shared: Mapping[str, str] | None = None,
        sections: Mapping[str, Mapping[str, str]] | None = None,
        **options: Any,
    ) -> None:
        """Take the summaries of the commands, and for those that share a module the module's name.

        With `sections` the summaries stand under these titles in the help.
        """
        super().__init__(*args, **options)
        self._table = table
        self._package = package
        self._shared = shared or {}
        self._sections = sections or {"Commands": table}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in self._table:
            return None
        module = self._shared.get(cmd_name) or (f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name)
        package = import_module(f"{self._package}.{module}")
        # What has subcommands is a package, and its group a module of it.
        home = import_module(f"{package.__name__}.group") if hasattr(package, "__path__") else package
        command = getattr(home, cmd_name if cmd_name in self._shared else "command")
        if not isinstance(command, click.Command):
            return None
        _share_examples(self, command, f"{ctx.command_path} {cmd_name}")
        if isinstance(command, click.Group):
            for name, child in command.commands.items():
                _share_examples(command, child, f"{ctx.command_path} {cmd_name} {name}")
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin so, with their summaries, without importing any command."""
        from click.shell_completion import CompletionItem  # for shells, and not for whoever runs a command

        found = [CompletionItem(name, help=text) for name, text in self._table.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands from the summaries, without importing any."""
        for title, commands in self._sections.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a name that is nearly one is answered with the name."""
        known = self._table
        if args and args[0] not in known and not args[0].startswith("-") and not ctx.resilient_parsing:
            more = f"`{ctx.command_path} --help` lists all"
            ctx.fail(f"no command is named {args[0]!r}{instead(args[0], known, 'commands', more)}")
        return super().resolve_command(ctx, args)


def _share_examples(group: click.Group, command: click.Command, path: str) -> None:
    """Give a command that shows no examples those of its group that are of it."""
    found = [line for line in (group.epilog or "").splitlines() if f" {path} " in f"{line} "]
    if command.epilog is None and found:
        command.epilog = "\n".join(["\b", "Example:" if len(found) == 1 else "Examples:", *found])


class ImpliedGroup(LazyGroup):
    """A group that may be given the arguments of a subcommand alone: then it says which one is meant."""

    def __init__(self, *args: Any, implied: Callable[[Sequence[str]], Sequence[str]], **options: Any) -> None:
        """Take what returns arguments which begin with no subcommand with the one that is meant in front."""
        super().__init__(*args, **options)
        self._implied = implied

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the subcommand that is meant in front of arguments that begin with none."""
        if not args or args[0] not in ctx.help_option_names:
            args = self._with_subcommand(args)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that arguments mean, and the rest of them."""
        return super().resolve_command(ctx, self._with_subcommand(args))

    def _with_subcommand(self, args: list[str]) -> list[str]:
        return args if args and args[0] in self._table else [*self._implied(args)]


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="contextnexus", prog_name="nexus")
@store_option
@click.pass_obj
def cli(begins: Callable[[], None] | None) -> None:
    """Answer questions from your documents, with sources: by a language model, or offline by quoting them.

    A context is a named collection of documents, kept in a store: `nexus context add` makes one, `nexus ask` asks it.
    A pipeline is a YAML file that declares how questions are answered: `nexus init` writes one, `nexus run` runs it.

    Exit codes: 0 done, 1 the run failed, 2 wrong usage or configuration.
    """
    from nexus_core.cli.output.log_format import write_warnings  # not for --help

    write_warnings()
    if begins is not None:
        begins()


def main(args: list[str] | None = None) -> None:
    """Run the command line; errors become a message on stderr and an exit code."""
    owns = args is None  # this process is the command's own
    if owns:
        protect_process()
        sys.unraisablehook = end_interrupted
        if COMPLETE in os.environ and import_module("nexus_core.cli.completion.names").complete(os.environ):
            sys.exit(0)
    _start_lightly()
    out = sys.stdout  # in the place of which `click` puts another one where nobody reads, and exits
    try:
        code = _code_of(args, hear_interrupts if owns else None)
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and sys.stdout is out:
            code = error.code if isinstance(error.code, int) else 0
        else:  # the reader of our output (head, less) has left: there is nothing to report
            sys.stdout, code = out, 0
            if owns:
                write_nothing()
    except KeyboardInterrupt:  # between two lines that handle another one
        code = INTERRUPTED
    if owns:
        end_with_threads(code)
    sys.exit(code)


def _code_of(args: list[str] | None, begins: Callable[[], None] | None) -> int:
    """Run the command line and return its exit code; `begins` is called before the command does anything."""
    try:
        try:
            code: Any = cli.main(args=args, prog_name="nexus", standalone_mode=False, obj=begins)
            if sys.stdout is not None:
                sys.stdout.flush()  # here, and not by the interpreter, which would print that nobody reads it
        finally:
            if begins is not None:
                leave_interrupts()
    except click.exceptions.Abort as error:
        if begins is not None and isinstance(error.__context__, KeyboardInterrupt):
            simplefilter("ignore", RuntimeWarning)  # of what was made and not begun
        echo("interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        _show(error)
        return error.exit_code
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence decides by type what it is
        return _reported(error)
    return code if isinstance(code, int) else 0


def _start_lightly() -> None:
    """Look for garbage rarely, and only among the newest objects: most of a short command is loading modules.

    What arises then are the classes that attrs has made anew with slots, 2 MiB of them for `nexus serve`, and they are
    garbage at once. All objects are not looked through, neither now nor at the end, where Python would do so: that
    would be a seventh of a quickstart run.
    """
    gc.set_threshold(30_000, 1_000, 1_000)
    atexit.register(gc.freeze)


def _show(error: click.ClickException) -> None:
    """Write what is wrong with a command line, as `click` has it, to stderr."""
    shown = StringIO()
    error.show(file=shown)
    echo(shown.getvalue(), err=True, nl=False)


def _reported(error: Exception) -> int:
    """Write an error of ours to stderr, of any other its traceback, and return the exit code."""
    from traceback import format_exception  # for those who meet an error

    from nexus_core.contract.errors import ConfigError, ConnectorError, NexusError, PluginError, UsageError

    if not isinstance(error, NexusError):
        echo("".join(format_exception(error)), err=True, nl=False)
        return 1
    if isinstance(error, ConfigError):
        echo(str(error), err=True)
        shown = sum(problem.severity == "error" for problem in error.problems)
        echo(f"{shown} problem{'s' * (shown != 1)}: nothing was run", err=True)
        return 2
    whose = _whose(error) if isinstance(error, ConnectorError) else ""
    echo(f"Error: {whose}{error}", err=True)
    return 2 if isinstance(error, PluginError | UsageError) else 1


def _whose(error: ConnectorError) -> str:
    """Return which model an error of a service is of, as its pipeline and its service call it."""
    if not error.attempts:
        return ""
    last = error.attempts[-1]
    return f"model {last.model!r}{f' ({last.model_id})' if last.model_id not in ('', last.model) else ''}: "


if __name__ == "__main__":
    main()
