"""What commands print of an ingestion: counts, reasons, what is gone; or the same as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import plain
from nexus_core.store.ingest.ingest import Ingested
from nexus_core.toolkit.suggest import counted

MOST_PRINTED = 20
"""Problems that are printed one by one."""
REASONS = 5
"""Of what is left out: those that most documents share."""


def print_ingested(name: str, shown: str, ingested: Ingested, *, prunes: bool, quiet: bool) -> None:
    """Print what became of the documents of one origin, `shown` as people see it; quietly only what has failed."""
    if not quiet:
        echo(f"{name}: {_summary(shown, ingested)}")
        _print_reasons("left out", ingested.left_out, name)
        _print_some("remark", ingested.remarks)
        _print_vanished(name, ingested.vanished, asked_to_prune=prunes)
    _print_some("failed", ingested.failed)


def _summary(shown: str, ingested: Ingested) -> str:
    items = ingested.items
    parts = [f"{ingested.written:,} of {counted(ingested.found, 'document')} read from {plain(shown)}"]
    parts += [f"{ingested.unchanged:,} unchanged"] if ingested.unchanged else []
    parts += [f"{ingested.pruned:,} pruned"] if ingested.pruned else []
    counts = {"new": items.new, "changed": items.changed, "removed": items.removed}
    told = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
    return ", ".join(parts) + f"; items: {told or 'none new'}"


def _print_reasons(word: str, pairs: Sequence[tuple[str, str]], context: str) -> None:
    """Say how many documents share each reason, since there may be thousands of images, and where all are listed."""
    reasons = Counter(reason for _, reason in pairs).most_common()
    for reason, count in reasons[:REASONS]:
        example = next(name for name, other in pairs if other == reason)
        told = f"{count:,} documents, such as {example}" if count > 1 else example
        echo(f"  {word}: {plain(told)}: {plain(reason)}", err=True)
    if len(pairs) > min(len(reasons), REASONS):
        echo(f"  {word}: all {len(pairs):,} are listed by `nexus context show {plain(context)} --skipped`", err=True)


def _print_some(word: str, pairs: Sequence[tuple[str, str]]) -> None:
    for name, reason in pairs[:MOST_PRINTED]:
        told = reason if not name or reason.startswith(f"{name}:") else f"{name}: {reason}"
        echo(f"  {word}: {plain(told)}", err=True)
    if len(pairs) > MOST_PRINTED:
        echo(f"  {word}: and {len(pairs) - MOST_PRINTED:,} more, see --json", err=True)


def _print_vanished(context: str, names: Sequence[str], *, asked_to_prune: bool) -> None:
    if not names:
        return
    told = f"no longer there: {plain(names[0])}"
    if len(names) > 1:
        told = f"no longer there: {counted(len(names), 'document')}, such as {plain(names[0])}"
    removes = "--prune removes them" if len(names) > 1 else "--prune removes it"
    if asked_to_prune:  # what cannot be listed, or is all empty, may be a disk that is missing
        removes = (
            "not pruned, since not all could be listed or nothing at all is left; if that is right, "
            f"`nexus context remove {plain(context)} --document DOCUMENT` removes it"
        )
    echo(f"  {told}: {removes}", err=True)


def ingested_json(shown: str, ingested: Ingested) -> dict[str, Any]:
    """Return the same as JSON data."""
    items = ingested.items
    pairs = {"failed": ingested.failed, "leftOut": ingested.left_out, "remarks": ingested.remarks}
    return {
        "place": shown,
        "found": ingested.found,
        "read": ingested.written,
        "unchanged": ingested.unchanged,
        "pruned": ingested.pruned,
        "items": {"new": items.new, "changed": items.changed, "unchanged": items.unchanged, "removed": items.removed},
        "vanished": list(ingested.vanished),
        **{key: [{"document": name, "reason": why} for name, why in found] for key, found in pairs.items()},
    }
