"""`nexus plugins`: what is installed, from where, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click
from attrs import frozen

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import print_table
from nexus_core.contract.components import component_summary, options_of
from nexus_core.contract.errors import UsageError, describe_error
from nexus_core.engine.plugins import PluginRegistry, PluginReport
from nexus_core.toolkit.documents.registry import ReaderOrigin, ReaderRegistry, is_format
from nexus_core.toolkit.suggest import did_you_mean, listed

SLOW_IMPORT_S = 1.0
SHOWN_FORMATS = 4
"""Formats of a reader that the table names."""

EPILOG = """\b
Examples:
  nexus plugins
  nexus plugins bm25
  nexus plugins .html
  nexus plugins --json
"""


@click.command("plugins", epilog=EPILOG)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything, options included, as one JSON array.")
def command(name: str | None, as_json: bool) -> None:
    """List the installed plugins: kinds, summary, distribution and version; with NAME, one plugin and all its options.

    Readers are listed by the formats that they read, one of which may be NAME. A broken plugin is listed with its
    reason; it harms nobody but the pipelines that use it.
    """
    catalogue = PluginRegistry.installed()
    is_format = name is not None and (name.startswith(".") or "/" in name)
    readers = _readers(name if is_format else None) if is_format or name is None else []
    reports = [] if is_format else [catalogue.report(name)] if name else catalogue.reports()
    if as_json:
        told = [*map(_as_json, reports), *map(_reader_json, readers)]
        echo(json.dumps(told, indent=2, default=str))
    elif name:
        for report in reports:
            _print_one(report)
        for reader in readers:
            _print_reader(reader)
    else:
        _print_all(reports, readers)
    if name and any([*(report.problem for report in reports), *(reader.problem for reader in readers)]):
        raise SystemExit(2)


@frozen(kw_only=True)
class ReaderReport:
    """What `nexus plugins` tells of one reader."""

    origin: ReaderOrigin
    formats: tuple[str, ...]
    cls: type | None = None
    problem: str = ""
    """Why it cannot be used, or empty."""


def _readers(format: str | None) -> list[ReaderReport]:
    """Return the readers of a format, or all; each is imported, to tell what it is."""
    registry = ReaderRegistry.installed()
    found = [pair for pair in registry.offered() if format is None or format.lower() in pair[1]]
    if not found:
        raise UsageError(f"nothing that is installed reads {format!r}{did_you_mean(format or '', registry.formats)}")
    return [_reader_report(origin, formats) for origin, formats in found]


def _reader_report(origin: ReaderOrigin, formats: tuple[str, ...]) -> ReaderReport:
    misnamed = [format for format in formats if not is_format(format)]
    if misnamed:
        problem = f"named {listed(map(repr, misnamed))}, which is no suffix such as '.acme' and no media type"
        return ReaderReport(origin=origin, formats=formats, problem=problem)
    try:
        return ReaderReport(origin=origin, formats=formats, cls=origin.load())
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - of a plugin, whatever it raises: SystemExit at its import, too
        return ReaderReport(origin=origin, formats=formats, problem=describe_error(error))


def _print_all(reports: list[PluginReport], readers: list[ReaderReport]) -> None:
    rows = []
    for report in reports:
        origin = report.origins[0]
        distribution = f"{origin.distribution} {origin.version}"
        if report.problem:
            rows.append((report.name, "BROKEN", report.problem, distribution))
            continue
        for kind, offered in report.components.items():
            for part, cls in offered.items():
                summary = component_summary(cls) + _slow(report)
                rows.append((_use(report, offered, part), kind.word, summary, distribution))
    for reader in readers:
        more = "" if len(reader.formats) <= SHOWN_FORMATS else f" and {len(reader.formats) - SHOWN_FORMATS} more"
        summary = reader.problem or component_summary(reader.cls or object)
        what = "BROKEN" if reader.problem else "reader"
        told = " ".join(reader.formats[:SHOWN_FORMATS]) + more
        rows.append((told, what, summary, f"{reader.origin.distribution} {reader.origin.version}".strip()))
    print_table(("use", "kind", "what it is", "distribution"), rows)


def _use(report: PluginReport, offered: Mapping[str, type], part: str) -> str:
    """Return what a pipeline says after `use:`."""
    return report.name if len(offered) == 1 or part == report.name else f"{report.name}.{part}"


def _slow(report: PluginReport) -> str:
    if report.import_s < SLOW_IMPORT_S:
        return ""
    return f" (slow: its import took {report.import_s:.1f} s; only pipelines that use it pay for that)"


def _print_one(report: PluginReport) -> None:
    for origin in report.origins:
        echo(f"{report.name}: {origin}{_slow(report)}")
    if report.problem:
        echo(f"BROKEN: {report.problem}")
    for kind, offered in report.components.items():
        for part, cls in offered.items():
            echo(f"\n{kind.word} {_use(report, offered, part)}: {component_summary(cls)}")
            _print_options(cls)


def _print_reader(reader: ReaderReport) -> None:
    echo(f"{' '.join(reader.formats)}: {reader.origin}")
    if reader.problem or reader.cls is None:
        echo(f"BROKEN: {reader.problem}")
        return
    echo(f"\nreader: {component_summary(reader.cls)}")
    _print_options(reader.cls)


def _print_options(cls: type) -> None:
    rows = [
        (
            option.name,
            _type_name(option.annotation),
            "required" if option.required else repr(option.default),
            option.help,
        )
        for option in options_of(cls)
    ]
    if rows:
        print_table(("option", "type", "default", "meaning"), rows)


def _type_name(annotation: Any) -> str:
    text = getattr(annotation, "__name__", "") if isinstance(annotation, type) else str(annotation)
    return (
        text.replace("typing.", "")
        .replace("collections.abc.", "")
        .replace("nexus_core.contract.protocols.", "")
        .replace("nexus_core.toolkit.secrets.", "")
    )


def _as_json(report: PluginReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "origins": [
            {"distribution": origin.distribution, "version": origin.version, "target": origin.target}
            for origin in report.origins
        ],
        "problem": report.problem or None,
        "importSeconds": round(report.import_s, 3),
        "components": [
            {"kind": kind.word, "name": part, "summary": component_summary(cls), "options": _options_json(cls)}
            for kind, offered in report.components.items()
            for part, cls in offered.items()
        ],
    }


def _reader_json(reader: ReaderReport) -> dict[str, Any]:
    summary = component_summary(reader.cls) if reader.cls is not None else ""
    options = _options_json(reader.cls) if reader.cls is not None else []
    origin = reader.origin
    return {
        "name": " ".join(reader.formats),
        "origins": [{"distribution": origin.distribution, "version": origin.version, "target": origin.target}],
        "problem": reader.problem or None,
        "components": [
            {"kind": "reader", "name": format, "summary": summary, "options": options} for format in reader.formats
        ],
    }


def _options_json(cls: type) -> list[dict[str, Any]]:
    return [
        {
            "name": option.name,
            "type": _type_name(option.annotation),
            "required": option.required,
            "default": None if option.required else option.default,
            "help": option.help,
        }
        for option in options_of(cls)
    ]
