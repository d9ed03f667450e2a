"""The reference pages, generated from the code: what the code declares is what the site says.

Each function returns the Markdown of one page. `mkdocs.yml` names this module as a hook: its pages exist only while the
site is built.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

import nexus_core
from nexus_core.cli.main import cli
from nexus_core.config import keys, option_types
from nexus_core.config.yaml.problems import CODES
from nexus_core.contract import answers, errors, events
from nexus_core.contract.components import Kind, OptionSpec, component_summary, options_of
from nexus_core.engine.plugins import PluginRegistry

ROOT = Path(__file__).parent.parent


def escape(text: str) -> str:
    """Return text for the cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("{{", "{ {")


def table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def paragraphs(docstring: str | None) -> str:
    """Return a docstring as Markdown; what is indented stays code."""
    return inspect.cleandoc(docstring or "").replace("<", "&lt;")


def option_rows(specs: Sequence[OptionSpec]) -> Iterator[Sequence[str]]:
    """Yield a row for each option: name, type, default, bounds, meaning."""
    for spec in specs:
        default = "required" if spec.required else f"`{json.dumps(spec.default, default=str)}`"
        bounds = [
            f"{sign} {value:g}"
            for sign, value in ((">=", spec.ge), (">", spec.gt), ("<=", spec.le))
            if value is not None
        ]
        kind = option_types.words(spec.annotation) + (f" ({', '.join(bounds)})" if bounds else "")
        yield f"`{spec.name}`", escape(kind), escape(default), escape(spec.help)


def option_table(specs: Sequence[OptionSpec]) -> str:
    """Return the table of some options."""
    return table(("key", "type", "default", "meaning"), option_rows(specs)) if specs else "No options.\n"


def pipeline_keys() -> str:
    """Return the keys of the pipeline language, mapping by mapping."""
    parts = [
        "# YAML keys\n\nEvery key of a pipeline file. How they work together: [pipelines](../how-to/pipelines.md).\n"
    ]
    for name, cls in sorted(vars(keys).items(), key=lambda pair: getattr(pair[1], "__firstlineno__", 0)):
        if isinstance(cls, type) and attrs.has(cls) and name.endswith("Keys"):
            parts.append(
                f"## {name.removesuffix('Keys')}\n\n{paragraphs(cls.__doc__)}\n\n{option_table(keys.keys_of(cls))}"
            )
    policies = importlib.import_module("nexus_core.config.policy_keys")
    for name, cls in vars(policies).items():
        if isinstance(cls, type) and attrs.has(cls) and name.endswith("Keys"):
            parts.append(
                f"## {name.removesuffix('Keys')}\n\n{paragraphs(cls.__doc__)}\n\n{option_table(keys.keys_of(cls))}"
            )
    return "\n".join(parts)


def components(kind: Kind) -> str:
    """Return all first-party components of a kind with their options."""
    registry = PluginRegistry.installed()
    parts = [f"# {kind.value.capitalize()}\n"]
    for report in registry.reports():
        offered = report.components.get(kind, {})
        for name, cls in offered.items():
            use = report.name if len(offered) == 1 or name == report.name else f"{report.name}.{name}"
            summary = component_summary(cls).replace("<", "&lt;")
            parts.append(f"## {use}\n\n{summary}\n\n{option_table(options_of(cls))}")
    return "\n".join(parts)


def commands() -> str:
    """Return every command with its help and options."""
    parts = ["# Commands\n\nExit codes: 0 done, 1 the run failed, 2 wrong usage or configuration, 130 interrupted.\n"]
    parts += _commands(cli, click.Context(cli, info_name="nexus"))
    return "\n".join(parts)


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        yield f"## {inner.command_path}\n\n```text\n{command.get_help(inner)}\n```\n"
        if isinstance(command, click.Group):
            yield from _commands(command, inner)


def public_api(module: Any, title: str) -> str:
    """Return every exported name with its signature and docstring."""
    parts = [f"# {title}\n\nImported from `{module.__name__}`. Paths of modules below it are not public.\n"]
    for name in sorted(module.__all__):
        value = getattr(module, name)
        parts.append(
            f"## {name}\n\n```python\n{_signature(name, value)}\n```\n\n{paragraphs(_docstring(value))}\n{_members(value)}"
        )
    return "\n".join(parts)


def _docstring(value: Any) -> str:
    return value.__doc__ if inspect.isclass(value) or inspect.isroutine(value) else ""


def _signature(name: str, value: Any) -> str:
    if not callable(value) or not hasattr(value, "__name__"):
        return name
    prefix = "class " if inspect.isclass(value) else "async def " if inspect.iscoroutinefunction(value) else "def "
    try:
        return f"{prefix}{name}{inspect.signature(value)}"
    except ValueError:
        return f"{prefix}{name}"


def _members(value: Any) -> str:
    if not inspect.isclass(value):
        return ""
    rows = []
    for member, function in vars(value).items():
        if member.startswith("_") or not (inspect.isfunction(function) or isinstance(function, property | classmethod)):
            continue
        text = inspect.getdoc(function) or ""
        rows.append((f"`{member}`", escape(text.split("\n\n")[0])))
    return "\n" + table(("member", "what it does"), rows) if rows else ""


def error_tree() -> str:
    """Return the errors with the tree and what each means."""
    classes = [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, Exception)]
    rows = [
        (f"`{c.__name__}`", f"`{c.__base__.__name__}`", escape((c.__doc__ or "").split("\n\n")[0])) for c in classes
    ]
    return f"# Errors\n\n{paragraphs(errors.__doc__)}\n\n{table(('error', 'is a', 'meaning'), rows)}"


def event_table() -> str:
    """Return the events with their fields."""
    parts = ["# Events\n\nWhat `Pipeline.stream` yields and sinks receive.\n"]
    for name, cls in {**vars(answers), **vars(events)}.items():
        if inspect.isclass(cls) and issubclass(cls, answers.Event):
            fields = [f"`{field.name}`" for field in attrs.fields(cls)]
            parts.append(f"## {name}\n\n{paragraphs(cls.__doc__)}\n\nFields: {', '.join(fields)}.\n")
    return "\n".join(parts)


def problem_codes() -> str:
    """Return the codes that `nexus lint` reports."""
    rows = [(f"`{code}`", escape(text)) for code, text in CODES.items()]
    return (
        f"# Problem codes\n\nA code keeps its meaning. `nexus lint` reports them.\n\n{table(('code', 'meaning'), rows)}"
    )


PAGES: Mapping[str, Callable[[], str]] = {
    "reference/api.md": lambda: public_api(nexus_core, "Python API"),
    "reference/toolkit.md": lambda: public_api(
        importlib.import_module("nexus_core.toolkit"), "Toolkit for plugin authors"
    ),
    "reference/keys.md": pipeline_keys,
    **{f"reference/{kind.value}.md": (lambda kind=kind: components(kind)) for kind in Kind},
    "reference/commands.md": commands,
    "reference/errors.md": error_tree,
    "reference/events.md": event_table,
    "reference/codes.md": problem_codes,
}
"""Each page by its path in the site."""


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages (hook of mkdocs)."""
    from mkdocs.structure.files import File

    for path, build in PAGES.items():
        files.append(File.generated(config, path, content=build()))
    return files
