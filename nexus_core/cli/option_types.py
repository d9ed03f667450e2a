"""Options that are quantities, as people write them, within bounds; and sections of options in `--help`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from nexus_core import structured
from nexus_core.cli.output.next_steps import no_pipeline
from nexus_core.config.yaml import scalars
from nexus_core.config.yaml.scalars import seconds
from nexus_core.toolkit.filters import Filter, parse_filter

WHERE = "nexus_core.where"
"""In the `meta` of a command that has --where: the filter as YAML says it."""
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Read = Callable[[str], float | None]
_Callback = Callable[[click.Context, click.Parameter, str | None], float | None]


def duration(least: str, most: str) -> _Callback:
    """Return the callback of an option that is a length of time; its value is in seconds."""
    return _between(least, most, _seconds, "no duration: write it as in 500ms, 20s, 2m or 1h")


def seconds_above_0(text: str, option: str, example: str, *, bare: bool = False) -> float:
    """Return a length of time that has no bounds, in seconds; with `bare`, a number alone is seconds, as in a file."""
    found = _seconds(text.strip(), bare=bare)
    if not found:
        raise click.BadParameter(f"{text!r} is no duration above 0: write it as in {example}", param_hint=option)
    return found


def size(least: str, most: str) -> _Callback:
    """Return the callback of an option that is a number of bytes; units are powers of 1,024."""
    return _between(least, most, scalars.size, "no size: write it as in 512KiB, 32MiB or 1GiB")


def named_paths(context: click.Context, argument: click.Parameter, paths: tuple[str, ...]) -> tuple[str, ...]:
    """The callback of an argument that takes paths: an empty one is a variable that is not set, not this folder."""
    if not all(path.strip() for path in paths):
        raise click.BadParameter("a path is empty: name a file or a folder, the current one as .")
    return paths


def where_option(function: _Function) -> _Function:
    """Add --where: a filter in the words of pipelines, which a command is given as `where`."""
    return click.option(
        "--where", metavar="FIELDS", callback=_filter,
        help="Only items whose fields are so, as in a pipeline: '{year: {gte: 2020}, author: [Ann, Bob]}'.",
    )(function)  # fmt: skip


def _filter(context: click.Context, option: click.Parameter, text: str | None) -> Filter:
    try:
        fields = yaml.safe_load(text) if text is not None else None
    except (ValueError, yaml.YAMLError) as error:  # ValueError: of a date that is none
        raise click.BadParameter(f"{(text or '')[:100]} is no YAML: {' '.join(str(error).split())}") from error
    try:
        context.meta[WHERE] = fields
        return parse_filter(fields)
    except ValueError as error:
        raise click.BadParameter(" ".join(str(error).split())) from error


class PipelineFile(click.Path):
    """A pipeline, which is a file; where it is not there, the message names those of the folder."""

    def __init__(self, **more: Any) -> None:
        super().__init__(dir_okay=False, **more)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; raises UsageError where there is no such file."""
        if not os.path.exists(value):
            raise no_pipeline(str(value), _command_with(param, ctx))
        return super().convert(value, param, ctx)


def _command_with(param: click.Parameter | None, ctx: click.Context | None) -> str:
    """Return what stands before a pipeline: the command, and the option whose value it is."""
    command = ctx.command_path.partition(" ")[2] if ctx is not None else "run"
    return f"{command} CONTEXT {param.opts[0]}" if isinstance(param, click.Option) else command


class SectionedOption(click.Option):
    """An option that stands in a section of its own in `--help`."""

    def __init__(self, *names: Any, section: str, **more: Any) -> None:
        super().__init__(*names, **more)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose `--help` shows its options by sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those without a section first."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if isinstance(param, click.Option) and record is not None:
                sections.setdefault(getattr(param, "section", "Options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _between(least: str, most: str, read: _Read, otherwise: str) -> _Callback:
    def callback(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
        if text is None:  # an option without a default that was not given
            return None
        found = read(text.strip())
        if found is None:
            raise click.BadParameter(f"{text!r} is {otherwise}")
        if not (read(least) or 0) <= found <= (read(most) or 0):
            raise click.BadParameter(f"{text!r} is not between {least} and {most}")
        return found

    return callback


def _seconds(text: str, *, bare: bool = True) -> float | None:
    """Return a duration in seconds; `bare` numbers are seconds."""
    found = seconds(text)
    return seconds(f"{text}s") if found is None and bare else found


def json_schema(context: click.Context, option: click.Parameter, text: str | None) -> Any:
    """Return a JSON Schema that is given as JSON or as the name of a file of JSON, checked; `None` without one."""
    if text is None:
        return None
    name = "" if text.lstrip().startswith("{") else text
    try:
        schema = json.loads(Path(name).read_text("utf-8") if name else text)
        structured.check_schema(schema)
    except structured.InvalidSchemaError as error:
        raise click.BadParameter(str(error)) from error
    except OSError as error:
        raise click.BadParameter(f"{name} cannot be read: {error.strerror}; a schema itself begins with {{") from error
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{name or 'what is given'} is no JSON: {error}") from error
    return schema
