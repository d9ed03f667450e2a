"""`nexus explain`: the exact prompt, a picture of the window, and what became of every candidate, without any call."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

import click

from nexus_core.cli.event_loop import run
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.log_format import HeldWarnings
from nexus_core.cli.output.tables import dollars, print_table, shown_scores
from nexus_core.cli.run_options import read_inputs, read_query, request_options, store_of
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import ExpandedQuery, parts_of
from nexus_core.engine.explain import ExplainedTarget, Explanation
from nexus_core.engine.json_shapes import explanation_json, message_json
from nexus_core.engine.packing.trace import left_out_for_likeness
from nexus_core.engine.pipeline import Pipeline
from nexus_core.toolkit.suggest import counted

EPILOG = """\b
Examples:
  nexus explain assistant.yaml "How many days of leave can be carried over?"
  nexus explain assistant.yaml "How many days of leave can be carried over?" --set steps[2].prompt.budget=300
"""

_BAR_WIDTH = 60
_FILL = {
    "instructions": "▓", "question": "?", "attachments": "a", "tools": "t", "history": "h", "context": "█",
    "answer": "░", "free": "·",
}  # fmt: skip


@click.command("explain", epilog=EPILOG)
@request_options
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option("--all", "show_all", is_flag=True, help="Show every candidate of the trace, not only the first 30.")
def command(pipeline: str, query: str | None, as_json: bool, show_all: bool, **request: Any) -> None:
    """Show what `nexus run PIPELINE QUERY` would send: messages, window, trace, models. Asks no model for an answer.

    Tokens of images, files and tools are marked `at most` where no published formula tells them exactly.
    """
    store = store_of(request["conversation"])
    memory = None if store is None else store.conversations
    loaded = Pipeline.load(Path(pipeline), overrides=request["overrides"], conversations=memory)
    asked = {
        "inputs": read_inputs(request["inputs"]),
        "model": request["model"],
        "conversation_id": request["conversation"],
        "context_id": request["context_id"],
        "attachments": request["attachments"],
    }
    show_explanation(loaded, store or nullcontext(), read_query(query), asked, as_json=as_json, show_all=show_all)


def show_explanation(
    pipeline: Pipeline,
    store: AbstractAsyncContextManager[object],
    query: str,
    asked: dict[str, Any],
    *,
    as_json: bool,
    show_all: bool = False,
) -> Explanation:
    """Print what a run would send, and why; opens and closes both. Returns it."""
    with HeldWarnings():
        explanation = run(explain_query(pipeline, store, query, asked))
    if as_json:
        echo(json.dumps(explanation_json(explanation), ensure_ascii=False, indent=2))
    else:
        print_explanation(explanation, show_all=show_all)
    return explanation


def print_explanation(explanation: Explanation, *, show_all: bool = False) -> None:
    """Print messages, window, trace and models; of a long trace the first 30 unless `show_all`."""
    print_messages(explanation.prompt)
    _print_searched(explanation)
    _print_window(explanation)
    print_trace(explanation.prompt, show_all=show_all)
    _print_chain(explanation)
    for note in explanation.notes:
        echo(f"\nNote: {note}.")


async def explain_query(
    pipeline: Pipeline, store: AbstractAsyncContextManager[object], query: str, asked: dict[str, Any]
) -> Explanation:
    """Return what a run would send; opens and closes both."""
    async with store, pipeline:
        return await pipeline.explain(query, **asked)


def _heading(text: str) -> None:
    echo(f"\n{text}", bold=True)


def print_messages(prompt: Prompt) -> None:
    """Print the messages of a prompt."""
    for message in prompt.messages:
        echo(f"── {message.role} " + "─" * (_BAR_WIDTH - len(message.role)), dim=True)
        told = message_json(message)
        for part in told.get("attachments", ()):
            what = part.get("url") or f"{part['mediaType']}, {part['bytes']:,} bytes, SHA-256 {part['sha256'][:12]}"
            echo(f"[{part['type']}: {what}]")
        if message.text:
            echo(message.text)
        for call in message.tool_calls:
            echo(f"[calls {call.name} with {call.arguments}]")
    echo("─" * (_BAR_WIDTH + 4), dim=True)


def _print_searched(explanation: Explanation) -> None:
    searched = explanation.searched
    if searched == explanation.query and len(parts_of(searched)) == 1:
        return
    _heading("Searched for")
    asked = len(parts_of(searched.question)) if isinstance(searched, ExpandedQuery) else len(parts_of(searched))
    for place, (line, weight) in enumerate(parts_of(searched)):
        what = "searched for besides" if place >= asked else "an earlier question"
        echo(f"  {line}" + ("" if place == 0 else f"  ({what}: its words count {weight:g})"))


def _print_window(explanation: Explanation) -> None:
    window = explanation.prompt.window
    counts = "exact" if explanation.exact else "approximate, on the safe side"
    _heading(
        f"The window of {explanation.model.name} ({explanation.model.info.id}): {window:,} tokens, counts {counts}"
    )
    echo("  [" + "".join(_FILL[name] * width for name, width in _widths(explanation)) + "]")
    for part in explanation.parts:
        if part.tokens:
            label = f"{part.name} (reserved)" if part.name == "answer" else part.name
            bound = "  at most" if part.at_most else ""
            echo(f"  {_FILL[part.name]} {label:<18} {part.tokens:>9,}  {part.tokens / window:6.1%}{bound}")


def _widths(explanation: Explanation) -> list[tuple[str, int]]:
    """Return how wide each part of the bar is: at least one character for what is there, the largest takes the rest."""
    window = max(explanation.prompt.window, 1)
    widths = {p.name: max(1, p.tokens * _BAR_WIDTH // window) if p.tokens > 0 else 0 for p in explanation.parts}
    largest = max(explanation.parts, key=lambda part: part.tokens).name
    widths[largest] += _BAR_WIDTH - sum(widths.values())
    return list(widths.items())


def print_trace(prompt: Prompt, *, show_all: bool = False) -> None:
    """Print what became of each candidate; of many the first 30 unless `show_all`."""
    trace = prompt.trace
    if not len(trace):
        return
    shown = trace if show_all else trace[:30]
    numbers = {packed.item.id: str(packed.number) for packed in prompt.items}
    _heading(f"What became of {counted(len(trace), 'candidate')}, best first")
    rows = [
        (
            f"[{numbers[entry.item_id]}]" if entry.item_id in numbers else "",
            entry.decision,
            "" if entry.tokens is None else f"{entry.tokens:,}",
            shown_scores(entry.scores),
            entry.title or entry.item_id,
            entry.reason,
        )
        for entry in shown
    ]
    print_table(("", "decision", "tokens", "scores", "item", "reason"), rows, right=frozenset({2}))
    passages, items = left_out_for_likeness(trace)
    if passages:
        echo(f"left out for likeness: {counted(passages, 'passage')} of {counted(items, 'item')}")
    if len(trace) > len(shown):
        echo(f"... and {len(trace) - len(shown)} more (--all shows them)")


def _print_chain(explanation: Explanation) -> None:
    _heading("Models, in the order they are tried")
    for place, target in enumerate(explanation.targets, 1):
        echo(f"  {place}. {_chain_line(target)}")


def _chain_line(target: ExplainedTarget) -> str:
    info = target.model.info
    line = (
        f"{target.model.name}: {info.id} ({info.provider}), window {info.window:,}, {target.reserved:,} for the answer"
    )
    if target.prompt is None:
        return f"{line}: {target.problem}"
    tokens, items = counted(target.prompt.tokens_at_most, "token"), counted(len(target.prompt.items), "item")
    price = "" if target.prompt_cost is None else f" for {dollars(target.prompt_cost)}"
    return f"{line}, prompt {tokens} with {items}{price}"
