"""`nexus plugins`: what is installed, from where, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import print_table
from nexus_core.contract.components import component_summary, options_of
from nexus_core.engine.plugins import PluginRegistry, PluginReport

SLOW_IMPORT_S = 1.0

EPILOG = """\b
Examples:
  nexus plugins
  nexus plugins bm25
  nexus plugins --json
"""


@click.command("plugins", epilog=EPILOG)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything, options included, as one JSON array.")
def command(name: str | None, as_json: bool) -> None:
    """List the installed plugins: kinds, summary, distribution and version; with NAME, one plugin and all its options.

    A broken plugin is listed with its reason; it harms nobody but the pipelines that use it.
    """
    catalogue = PluginRegistry.installed()
    reports = [catalogue.report(name)] if name else catalogue.reports()
    if as_json:
        echo(json.dumps([_as_json(report) for report in reports], indent=2, default=str))
    elif name:
        _print_one(reports[0])
    else:
        _print_all(reports)
    if name and reports[0].problem:
        raise SystemExit(2)


def _print_all(reports: list[PluginReport]) -> None:
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
            {
                "kind": kind.word,
                "name": part,
                "summary": component_summary(cls),
                "options": [
                    {
                        "name": option.name,
                        "type": _type_name(option.annotation),
                        "required": option.required,
                        "default": None if option.required else option.default,
                        "help": option.help,
                    }
                    for option in options_of(cls)
                ],
            }
            for kind, offered in report.components.items()
            for part, cls in offered.items()
        ],
    }
