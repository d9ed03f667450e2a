"""The reference pages, generated from the code: what the code declares is what the site says.

Each function returns the Markdown of one page, or of a table inside one. `mkdocs.yml` names this module as a hook: its
pages exist only while the site is built.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Any

import attrs
import click
from nexus_metrics.metric_definitions import FAMILIES, LIVE
from python_reference import escape, field_table, fields_of, paragraphs, public_api, table

import nexus_core
from nexus_core.cli.directory.listing import read_list
from nexus_core.cli.main import cli
from nexus_core.config import keys, policy_keys
from nexus_core.config.cases import language
from nexus_core.config.option_types import alternatives, element, is_record, words
from nexus_core.config.options import bounds
from nexus_core.config.yaml.problems import CODES
from nexus_core.contract import answers, errors, events
from nexus_core.contract.components import Kind, OptionSpec, component_summary, options_of
from nexus_core.engine.calls.failure_policy import AS_OFTEN_AS_ALLOWED, reaction
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.server.http.openapi import document
from nexus_core.server.server import Server
from nexus_core.server.settings import ServerSettings
from nexus_core.store.store import Store

ROOT = Path(__file__).parent.parent
DOCS = Path(__file__).parent
HOW_TO = {
    "Add documents to a context": "contexts",
    "Ask a context": "ask",
    "Keep a context fresh": "fresh-context",
    "Serve a team": "serve",
    "Choose sources": "sources",
    "Choose rankers": "rankers",
    "Search in several steps": "search-in-steps",
    "Compose a pipeline": "compose",
    "Write a template": "templates",
    "Get JSON for an answer": "structured-answers",
    "Let a model call tools": "tools",
    "Connect a model service": "openai",
    "Connect Claude": "anthropic",
    "Connect Gemini": "gemini",
    "Connect Bedrock": "bedrock",
    "Run models with Ollama": "ollama",
    "Change models": "change-models",
    "Answer without a model": "extractive",
    "Record runs": "sinks",
    "Watch a service": "metrics",
    "Measure a ranking": "measure-a-ranking",
    "Run a batch": "batch",
    "Run a batch on a Ray cluster": "batch-ray",
    "Measure answers": "measure-answers",
    "Test a pipeline": "test-a-pipeline",
    "Test without a service": "test-without-a-service",
    "Write a plugin": "write-a-plugin",
    "Test a plugin": "test-a-plugin",
    "Write a store": "write-a-store",
    "Set up shell and editor": "shell-and-editor",
}
EXPLANATION = {
    "Layers": "layers",
    "A run": "run",
    "Packing": "packing",
    "Failure": "failure",
    "Follow-up questions": "follow-ups",
    "Store and search": "store",
    "Reading of documents": "reading",
    "Quoted answers": "extractive",
    "Evaluation figures": "evaluation",
    "Token counts": "tokens",
    "The page of the server": "page",
    "Faults": "faults",
    "Benchmarks": "benchmarks",
}
ABOUT_REACTIONS = (
    "For each error of a connector this page says whether the engine asks the same model again, and whether it asks "
    "the next model of the chain. It holds until the first text of a stream. After it the option `on_stream_failure` "
    "decides, whatever the error: `fail` (the default) asks no other model, and the stream ends with `RunFailed`; "
    "`restart` and `continue` ask the next one. "
    "Waits, limits and the breaker: [what happens when a request fails](../explanation/failure.md)."
)
ONWARD = {
    "yes": "yes",
    "no": "no",
    "larger": "one with a larger window",
    "if_auth": "if `fallback_on_auth`",
    "if_filtered": "if `fallback_on_content_filter`",
}
_MARKER = re.compile(r"^<!-- table: (\w+) -->$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def option_row(spec: OptionSpec) -> str:
    """Return the line of an option or key in a table: name, type with bounds, default, meaning."""
    limits = bounds(spec)
    kind = words(spec.annotation) + (f", {limits}" if limits else "")
    cells = (f"`{spec.name}`", kind, default_of(spec), spec.help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def default_of(spec: OptionSpec) -> str:
    """Return a default as YAML has it; nothing where that is no value."""
    if spec.required:
        return "required"
    value = attrs.asdict(spec.default) if attrs.has(type(spec.default)) else spec.default
    if value in (None, "", (), {}):
        return ""
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value, default=str)}`"


def option_table(specs: Sequence[OptionSpec]) -> str:
    """Return the table of some options."""
    if not specs:
        return "It has no options.\n"
    rows = "\n".join(map(option_row, specs))
    return f"| key | value | default | meaning |\n|---|---|---|---|\n{rows}\n"


def key_tables() -> Mapping[str, type]:
    """Return the mappings of the pipeline language, and of its tests, by the names of their classes."""
    return {
        name: cls
        for module in (keys, policy_keys, language)
        for name, cls in vars(module).items()
        if isinstance(cls, type) and attrs.has(cls) and cls.__module__ == module.__name__ and name[0] != "_"
    }


def fill(text: str) -> str:
    """Return a page with its markers, such as `<!-- table: ModelKeys -->`, replaced by tables."""

    def filled(found: re.Match[str]) -> str:
        if found[1] == "codes":
            return table(("code", "meaning"), [(f"`{code}`", meaning) for code, meaning in CODES.items()])
        if found[1] == "metrics":
            return metric_table()
        if found[1] == "plugins":
            return plugin_table()
        return option_table(keys.keys_of(key_tables()[found[1]]))

    return _MARKER.sub(filled, text)


def metric_table() -> str:
    """Return the families of the sink `prometheus`."""
    rows = [
        (f"`{metric.name}`", metric.kind, ", ".join(f"`{label}`" for label in metric.labels), metric.help)
        for metric in (*FAMILIES, *LIVE)
    ]
    return table(("family", "type", "labels", "meaning"), rows)


def plugin_table() -> str:
    """Return the directory of plugins, with what the contract suites said."""
    rows = [
        (f"`{each.name}`", ", ".join(each.kinds), escape(each.summary), f"{each.distribution} {each.version}",
         f"`{each.core}`", each.licence, each.checked)
        for each in read_list(None)
    ]  # fmt: skip
    return table(("plugin", "kind", "what it is", "distribution", "core", "licence", "contract suites"), rows)


def components(kind: Kind) -> str:
    """Return all first-party components of a kind with their options."""
    what = f"What the option `use` of a {kind.word} may be, of the plugins that come with ContextNexus."
    parts = [f"# {kind.value.capitalize()}\n\n{what}\n"]
    for use, cls in PluginRegistry.installed().all_components()[kind].items():
        parts.append(f"## {use}\n\n{component_summary(cls)}\n\n{option_table(options_of(cls))}")
        parts += [record_table(spec.name, part) for spec in options_of(cls) for part in records(spec.annotation)]
    return "\n".join(parts)


def records(annotation: Any) -> Iterator[type]:
    """Yield the classes of mappings, with keys of their own, that the value of an option may be or hold."""
    for part in alternatives(annotation):
        if inner := element(part):
            yield from records(inner)
        elif is_record(part):
            yield part


def record_table(option: str, cls: type) -> str:
    """Return the table of the keys of a mapping inside an option."""
    return f"A mapping in `{option}` takes:\n\n{option_table(options_of(cls))}"


def commands() -> str:
    """Return every command with its help and options."""
    parts = ["# Commands\n\nExit codes: 0 done, 1 the run failed, 2 wrong usage or configuration, 130 interrupted.\n"]
    parts += _commands(cli, click.Context(cli, info_name="nexus", terminal_width=80))
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


def error_tree() -> str:
    """Return the errors: the tree, what each means, and what the engine does about those of connectors."""
    parts = [f"# Errors\n\n{paragraphs(errors.__doc__)}\n\n{ABOUT_REACTIONS}\n"]
    for name, cls in vars(errors).items():
        if inspect.isclass(cls) and issubclass(cls, Exception):
            base = cls.__base__.__name__ if cls.__base__ else ""
            parent = f"Is a [`{base}`](#{base.lower()}). " if hasattr(errors, base) else ""
            fields = field_table(cls) if fields_of(cls) != fields_of(cls.__mro__[1]) else ""
            parts.append(f"## {name}\n\n{parent}{paragraphs(cls.__doc__)}\n\n{what_follows(cls)}{fields}")
    return "\n".join(parts)


def what_follows(error: type[Exception]) -> str:
    """Return what the engine does about an attempt that fails with an error."""
    if not issubclass(error, errors.ConnectorError):
        return ""
    does = reaction(error)
    again = {0: "no", 1: "once", AS_OFTEN_AS_ALLOWED: "yes"}[does.retries] + (", at once" if does.at_once else "")
    return f"Same model again: {again}. Next model: {ONWARD[does.onward]}.\n"


def event_list() -> str:
    """Return the events with their fields."""
    parts = [f"# Events\n\n{paragraphs(events.__doc__)}\n"]
    for name, cls in {**vars(answers), **vars(events)}.items():
        if inspect.isclass(cls) and issubclass(cls, answers.Event):
            rows = [(f"`{field}`", escape(text)) for field, text in fields_of(cls).items()]
            fields = table(("field", "meaning"), rows)
            parts.append(f"## {name}\n\n{paragraphs(cls.__doc__)}\n\nIts `type` is `{cls.type}`.\n\n{fields}")
    return "\n".join(parts)


def http_api() -> str:
    """Return the HTTP API: every address with its parameters, its body and the statuses of its answers."""
    with tempfile.TemporaryDirectory() as folder:
        settings = ServerSettings()
        served = {"quickstart": nexus_core.Pipeline.load(ROOT / "pipelines" / "quickstart.yaml", environment={})}
        routes = Server(served, Store(Path(folder) / "store"), settings).routes()
        whole = resolved(document(routes, settings.prefix))
    parts = [
        "# HTTP API\n\nMade of the same table that the server routes by; a running server gives it as `/openapi.json`. "
        "Keys, limits and errors are told in [the query service](server.md).\n\n## Statuses\n",
        table(("status", "meaning"), sorted(_statuses(whole).items())),
    ]
    for path, methods in whole["paths"].items():
        parts += [_operation(method.upper(), path, told) for method, told in methods.items()]
    return "\n".join(parts)


def resolved(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with its components where they are used, in place of references to them."""

    def within(value: Any) -> Any:
        if isinstance(value, list):
            return [within(each) for each in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return within(reduce(lambda found, key: found[key], value["$ref"].split("/")[1:], whole))
        return {key: within(each) for key, each in value.items()}

    return {**whole, "paths": within(whole["paths"])}


def _statuses(whole: Mapping[str, Any]) -> dict[str, str]:
    operations = [told for methods in whole["paths"].values() for told in methods.values()]
    return {code: said["description"] for told in operations for code, said in told["responses"].items()}


def _operation(method: str, path: str, told: Mapping[str, Any]) -> str:
    parts = [f"## {method} {path}\n\n{told['summary']} {told.get('description', '')}\n"]
    rows = [
        (f"`{each['name']}`", each["in"], _type(each["schema"]), escape(each["schema"].get("description", "")))
        for each in told.get("parameters", ())
    ]
    for media, content in told.get("requestBody", {}).get("content", {}).items():
        required = content["schema"].get("required", ())
        rows += [
            (f"`{name}`", f"body, {media}", _type(schema) + (", required" if name in required else ""),
             escape(schema.get("description", "")))
            for name, schema in content["schema"].get("properties", {}).items()
        ]  # fmt: skip
    if rows:
        parts.append(table(("name", "in", "value", "meaning"), rows))
    parts.append(f"Statuses: {', '.join(told['responses'])}.\n")
    return "\n".join(parts)


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "any value")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def pages() -> Mapping[str, Callable[[], str]]:
    """Return what makes each page, by its path in the site."""
    toolkit = importlib.import_module("nexus_core.toolkit")
    return {
        "reference/api.md": partial(public_api, "Python API", nexus_core),
        **(
            {"reference/toolkit.md": partial(public_api, "Toolkit for plugin authors", toolkit)}
            if hasattr(toolkit, "__all__")
            else {}
        ),
        **{f"reference/{kind.value}.md": partial(components, kind) for kind in Kind},
        "reference/commands.md": commands,
        "reference/http.md": http_api,
        "reference/errors.md": error_tree,
        "reference/events.md": event_list,
    }


def on_config(config: Any) -> Any:
    """Make the navigation: the pages in order, and after them whatever lies in docs/decisions (hook of mkdocs)."""
    config.nav = [*navigation()]
    return config


def navigation() -> Iterator[Any]:
    """Yield the pages of the site, in the order of reading."""
    yield {"Start": "index.md"}
    yield {"Tutorial": [f"tutorial/first-{name}.md" for name in ("answer", "pipeline", "ranker", "connector")]}
    yield {"How to": [{title: f"how-to/{name}.md"} for title, name in HOW_TO.items()]}
    generated = {"reference/pipelines.md": None, "reference/server.md": None, "reference/metrics.md": None, **pages()}
    yield {"Reference": list(generated)}
    yield {"Plugins": "plugins/index.md"}
    yield {"Explanation": [{title: f"explanation/{name}.md"} for title, name in EXPLANATION.items()]}
    decisions = sorted(path.relative_to(DOCS).as_posix() for path in (DOCS / "decisions").glob("*.md"))
    if decisions:
        yield {"Decisions": decisions}


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages (hook of mkdocs)."""
    from mkdocs.structure.files import File  # the tests read this module where mkdocs is not installed

    for path, make in pages().items():
        files.append(File.generated(config, path, content=make()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill the tables, and turn links that leave the site into paths of the repository (hook of mkdocs)."""
    folder = (DOCS / page.file.src_uri).parent

    def named(found: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / found[2]))
        if target.is_relative_to(DOCS):
            return found[0]
        path = target.relative_to(ROOT).as_posix()
        return found[1] if found[1].strip("`") == path else f"{found[1]} (`{path}`)"

    return _LINK.sub(named, fill(markdown))
