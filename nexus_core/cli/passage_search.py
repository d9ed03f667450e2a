"""Passages of a search: what the default pipeline would pack of a context for a question, with scores and places."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from nexus_core.cli.commands.explain import explain_query
from nexus_core.cli.default_model import choose_model
from nexus_core.cli.event_loop import run
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.log_format import HeldWarnings
from nexus_core.cli.output.tables import plain, print_json, shown_scores
from nexus_core.cli.run_options import PIPELINE, ranking
from nexus_core.cli.store_option import with_store
from nexus_core.contract.errors import UsageError
from nexus_core.contract.prompts import Prompt, TraceEntry
from nexus_core.engine.json_shapes import passages_json
from nexus_core.engine.pipeline import Pipeline
from nexus_core.toolkit.documents.citation_place import place_of
from nexus_core.toolkit.suggest import counted, did_you_mean


def show_passages(
    name: str,
    query: str,
    *,
    tags: Sequence[str],
    by: str | None,
    where: Mapping[str, Any] | None,
    most: int | None,
    as_json: bool,
) -> None:
    """Print the passages of a context that `nexus ask` would send with a question; nothing is sent.

    `where` is a filter as YAML says it; `most` limits the items that are looked at. Raises UsageError where there is no
    such context.
    """
    there = with_store(lambda store: store.contexts())
    context = next((each for each in there if each.name == name), None)
    if context is None:
        raise UsageError(f"there is no context {name!r}{did_you_mean(name, [each.name for each in there])}")
    source: dict[str, Any] = {"use": "store", "tags": [*tags], "by": by or "", "where": dict(where or {})}
    if most is not None:
        source["candidates"] = most
    chosen = choose_model(None, {**os.environ, "NEXUS_CONTEXT": name}, sends=False)
    loaded = Pipeline.load(
        PIPELINE,
        overrides=(
            *(() if context.embedder else ranking()),
            # JSON is YAML; a date that YAML has made of a text is compared with what a text of that form is.
            f"steps[0].gather={json.dumps(source, default=str)}",
        ),
        environment=chosen.environment,
    )
    with HeldWarnings():
        found = run(explain_query(loaded, nullcontext(), query, {"model": chosen.name, "context_id": name}))
    traced = {entry.item_id: entry for entry in found.prompt.trace}
    if as_json:
        print_json(_passages_json(found.prompt, traced))
    elif not found.prompt.items:
        echo("nothing found: try other words, or fewer")
    else:
        _print_passages(found.prompt, traced)


def _passages_json(prompt: Prompt, traced: Mapping[str, TraceEntry]) -> list[dict[str, Any]]:
    entries = [traced[packed.item.id] for packed in prompt.items]
    return [
        {**told, "scores": {name: round(score, 4) for name, score in entry.scores.items()}, "tokens": entry.tokens}
        for told, entry in zip(passages_json(prompt, 4), entries, strict=True)
    ]


def _print_passages(prompt: Prompt, traced: Mapping[str, TraceEntry]) -> None:
    for each in prompt.items:
        item, entry = each.item, traced[each.item.id]
        title, source = plain(item.title or item.id), plain(item.source)
        where = ", ".join(filter(None, [source if source != title else "", place_of(item, each.text)]))
        scores = shown_scores(entry.scores)
        tokens = "" if entry.tokens is None else f", {counted(entry.tokens, 'token')}"
        echo(f"[{each.number}] {title}" + (f"  ({where})" if where else ""), bold=True)
        echo(f"    {scores}{tokens}, {'whole' if each.whole else 'in part'}", dim=True)
        echo("\n".join(f"    {line}" for line in each.text.splitlines()) + "\n")
    left_out = sum(entry.decision == "dropped" for entry in traced.values())
    count = counted(len(prompt.items), "item")
    echo(f"{count} packed, {left_out:,} left out (`nexus ask --explain` shows each with its reason)")
