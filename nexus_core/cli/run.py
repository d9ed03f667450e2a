"""`nexus run`: one query through a pipeline, its answer on stdout."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import click

from nexus_core.cli.progress import Progress
from nexus_core.cli.request import read_inputs, read_query, request_options
from nexus_core.contract.answers import Answer
from nexus_core.contract.errors import RunError
from nexus_core.contract.events import Delta, RunFailed, RunFinished
from nexus_core.engine.pipeline import Pipeline
from nexus_core.engine.wire import answer_json

EPILOG = """\b
Examples:
  nexus run pipelines/quickstart.yaml "Do API keys ever appear in errors or logs?"
  echo "What is a sink?" | nexus run pipelines/quickstart.yaml - --json
  nexus run pipelines/openai.yaml "What is a sink?" --model spare --set steps[2].prompt.budget=500
"""

_CITATION = re.compile(r"\[(\d{1,4})\]")


@click.command("run", epilog=EPILOG)
@request_options
@click.option("--json", "as_json", is_flag=True, help="Print the answer with its figures as one JSON object.")
@click.option("--no-stream", is_flag=True, help="Print the answer when it is whole, even on a terminal.")
def command(pipeline: str, query: str | None, as_json: bool, no_stream: bool, **request: Any) -> None:
    """Run PIPELINE, a YAML file, for QUERY and print the answer with its sources.

    On a terminal the answer is printed as it comes. QUERY may be - to read it from standard input.
    """
    streaming = not (as_json or no_stream) and sys.stdout.isatty()
    loaded = Pipeline.load(Path(pipeline), overrides=request["overrides"])
    asked = {"inputs": read_inputs(request["inputs"]), "model": request["model"]}
    answer = asyncio.run(_answer(loaded, read_query(query), streaming, asked))
    if as_json:
        click.echo(json.dumps(answer_json(answer), ensure_ascii=False, indent=2))
        return
    click.echo("" if streaming else answer.text)
    _print_sources(answer)
    _print_notes(answer)


async def _answer(pipeline: Pipeline, query: str, streaming: bool, asked: dict[str, Any]) -> Answer:
    async with pipeline:
        with Progress() as progress:
            if not streaming:
                return await pipeline.run(query, **asked)
            async with aclosing(pipeline.stream(query, **asked)) as events:  # type: ignore[type-var]
                async for event in events:
                    progress.see(event)
                    if isinstance(event, Delta):
                        click.echo(event.text, nl=False)
                    elif isinstance(event, RunFinished) and event.answer:
                        return event.answer
                    elif isinstance(event, RunFailed):
                        raise _failure(event)
    raise RunError(f"pipeline {pipeline.name!r} has no generate step that ran, so it has no answer")


def _failure(event: RunFailed) -> Exception:
    if event.partial:
        click.echo("\n", nl=True)
        click.echo("The text above is not a whole answer: it broke off.", err=True)
    return event.error or RunError(event.message)


def _print_sources(answer: Answer) -> None:
    """Print the items that the answer cites, under the numbers it cites them by."""
    cited = {int(number) for number in _CITATION.findall(answer.text)}
    sources = [packed for packed in answer.prompt.items if packed.number in cited]
    if not sources:
        return
    click.echo("\nSources:")
    for packed in sources:
        title = packed.item.title or packed.item.id
        where = f"  ({packed.item.source})" if packed.item.source and packed.item.source != title else ""
        click.echo(f"  [{packed.number}] {title}{where}")


def _print_notes(answer: Answer) -> None:
    """Say on stderr when another model than the first has answered, and why."""
    for attempt in answer.attempts:
        if attempt.outcome != "ok":
            click.echo(f"\n{attempt.model} did not answer: {attempt.error}. Answered by {answer.model}.", err=True)
    if answer.finish_reason == "length":
        click.echo("\nThe answer was cut at its maximum length (raise max_tokens to get more).", err=True)
