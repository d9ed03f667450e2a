"""`nexus run`: one query through a pipeline, its answer on stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import click

from nexus_core.cli.approval_prompt import ApprovalPrompt, approve_option
from nexus_core.cli.event_loop import run
from nexus_core.cli.option_types import seconds_above_0
from nexus_core.cli.output.attempt_table import AttemptLog
from nexus_core.cli.output.echo import echo, one_line
from nexus_core.cli.output.log_format import HeldWarnings
from nexus_core.cli.output.progress_line import ProgressLine
from nexus_core.cli.recording_options import recording_arguments, recording_options
from nexus_core.cli.run_options import (
    RepeatableCommand,
    StoreOnDemand,
    fresh_option,
    keeping_run,
    programs_option,
    read_inputs,
    read_query,
    repeatable,
    request_options,
)
from nexus_core.contract.answers import Answer, Event
from nexus_core.contract.errors import RunError, StoreError
from nexus_core.contract.events import Delta, RunFailed, RunFinished, StreamRestarted
from nexus_core.contract.prompts import PackedItem
from nexus_core.engine.json_shapes import answer_json
from nexus_core.engine.pipeline import Pipeline
from nexus_core.toolkit.documents.citation_place import place_of
from nexus_core.toolkit.shared_resources import SharedResources

EPILOG = """\b
Examples:
  nexus run assistant.yaml "How many days of leave can be carried over?"
  echo "Who travels first class?" | nexus run assistant.yaml - --json
  nexus run assistant.yaml "Who travels first class?" --model offline --set steps[2].prompt.budget=500
  nexus run assistant.yaml "Who travels first class?" --verbose --timeout 20s
  nexus run assistant.yaml "And by train?" --conversation monday
  nexus run PIPELINE.yaml "What does this plan show?" --attach PLAN.png
  nexus run assistant.yaml "Who travels first class?" --record recordings
  nexus run assistant.yaml "Who travels first class?" --replay recordings
"""

Listen = Callable[[Event], None]


def _seconds(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    return seconds_above_0(text, "--timeout", "500ms, 20s, 2m or 1h", bare=True)


@click.command("run", epilog=EPILOG)
@request_options
@recording_options
@programs_option
@fresh_option
@approve_option
@click.option("--timeout", metavar="DURATION", callback=_seconds, help="Give up after a time, such as 20s or 2m.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer with its figures as one JSON object.")
@click.option("--no-stream", is_flag=True, help="Print the answer when it is whole, even on a terminal.")
@click.option(
    "--verbose", "-v", is_flag=True, help="Tell on stderr of waits, calls of tools and every request that was made."
)
def command(
    pipeline: str,
    query: str | None,
    as_json: bool,
    no_stream: bool,
    verbose: bool,
    approve_tools: bool,
    **request: Any,
) -> None:
    """Run PIPELINE, a YAML file, for QUERY and print the answer with its sources.

    On a terminal the answer is printed as it comes. QUERY may be several words, or - to read it from standard input.
    """
    store = StoreOnDemand(request["conversation"])
    recording = recording_arguments(request["record"], request["replay"])
    loaded = Pipeline.load(
        Path(pipeline),
        overrides=request["overrides"],
        shared=SharedResources(programs=request["programs"]),
        conversations=store.conversations,
        answers=store if recording["interceptor"] is None else None,  # a recording holds every request
        **recording,
    )
    asked = {
        "inputs": read_inputs(request["inputs"]),
        "model": request["model"],
        "deadline_s": request["timeout"],
        "conversation_id": request["conversation"],
        "context_id": request["context_id"],
        "attachments": request["attachments"],
        "fresh": request["fresh"],
    }
    again = repeatable(
        "run",
        [os.path.abspath(pipeline)],
        [
            ("--model", request["model"]),
            ("--context", request["context_id"]),
            *(("--allow-program", name) for name in request["programs"]),
        ],
        {
            "--set": request["overrides"],
            "--input": request["inputs"],
            "--attach": request["attachments"],
            "--replay": request["replay"],
        },
    )
    respond(
        loaded, store, read_query(query), asked, again,
        as_json=as_json, no_stream=no_stream, verbose=verbose, approve_tools=approve_tools,
    )  # fmt: skip


def respond(
    pipeline: Pipeline,
    store: StoreOnDemand,
    query: str,
    asked: dict[str, Any],
    again: RepeatableCommand,
    *,
    as_json: bool,
    no_stream: bool,
    verbose: bool,
    approve_tools: bool,
    then: Callable[[Answer], None] | None = None,
) -> None:
    """Run a pipeline for a query and print the answer, as it comes where that is a terminal; opens and closes both.

    With `approve_tools` somebody at the terminal has to agree before a tool changes something; `then` may say more of
    the answer below it. `again` is what asks the same again, for the log of runs.
    """
    asked = {**asked, "traceparent": os.environ.get("TRACEPARENT")}  # whatever has started this may be traced
    streaming = not (as_json or no_stream) and sys.stdout.isatty()
    with (
        _log(verbose) as listen,
        HeldWarnings() as remarks,
        keeping_run(pipeline.name, query, again, source_lines) as keep,
    ):

        def show(answer: Answer) -> None:
            keep(answer)
            _print_answer(answer, as_json, streaming, remarks)
            if then is not None:
                then(answer)

        try:
            run(_show_answer(pipeline, store, query, streaming, listen, asked, show, approve_tools))
        except StoreError as error:  # the answer is not lost with its turn
            if error.answer is not None:
                show(error.answer)
            raise


def _print_answer(answer: Answer, as_json: bool, streamed: bool, remarks: HeldWarnings) -> None:
    if as_json:
        thought = {"reasoning": answer.reasoning} if answer.reasoning else {}
        echo(json.dumps({**answer_json(answer), **thought}, ensure_ascii=False, indent=2))
        return
    echo("" if streamed else answer.text)
    for call in answer.tool_calls:
        echo(f"[calls {call.name} with {call.arguments}]")
    print_sources(answer, err=answer.has_value)  # JSON stands alone
    print_notes(answer, remarks)


@contextmanager
def _log(verbose: bool) -> Iterator[Listen]:
    """Give what is to be told of each event, and at the end, however it comes, print the attempts."""
    if not verbose:
        yield _nothing
        return
    log = AttemptLog()
    try:
        yield log.see
    finally:
        log.show()


def _nothing(event: Event) -> None:
    """Tell nobody."""


async def _show_answer(
    pipeline: Pipeline,
    store: StoreOnDemand,
    query: str,
    streaming: bool,
    listen: Listen,
    asked: dict[str, Any],
    show: Callable[[Answer], None],
    approve_tools: bool,
) -> None:
    """Show the answer before sinks and store are closed, which may wait for others that write."""
    async with store, pipeline:
        with ProgressLine() as progress:

            def see(event: Event) -> None:
                progress.see(event)
                listen(event)

            if approve_tools:
                asked = {**asked, "approve": ApprovalPrompt(progress.stop)}
            if streaming:
                answer = await _streamed(pipeline, query, see, asked)
            else:
                answer = await pipeline.run(query, on_event=see, **asked)
        show(answer)


async def _streamed(pipeline: Pipeline, query: str, see: Listen, asked: dict[str, Any]) -> Answer:
    """Print an answer as it comes, and return it."""
    shown = False
    async with aclosing(pipeline.stream(query, **asked)) as events:  # type: ignore[type-var]
        async for event in events:
            see(event)
            match event:
                case Delta(text=text):
                    shown = shown or bool(text)
                    echo(text.replace("\r", ""), nl=False)  # half of an end of line, perhaps
                case StreamRestarted(model=model) if shown:  # what was void else is reasoning
                    echo(f"\n\n{model} broke off: what stands above is void, the answer begins anew.\n")
                case RunFinished(answer=Answer() as answer):
                    return answer
                case RunFailed():
                    raise failure_of(event)
    raise RunError(f"pipeline {pipeline.name!r} has no generate step that ran, so it has no answer")


def failure_of(event: RunFailed) -> Exception:
    """Return the error of a run that failed; says on stderr that a text that had begun is no answer."""
    if event.partial and not (isinstance(event.error, StoreError) and event.error.answer):
        echo("\n", nl=True)
        mismatch = event.kind == "schema_mismatch"
        what = "no answer: it breaks its schema" if mismatch else "not a whole answer: it broke off"
        echo(f"The text above is {what}.", err=True)
    return event.error or RunError(event.message)


def print_sources(answer: Answer, *, err: bool = False) -> None:
    """Print the items that the answer cites, under the numbers it cites them by."""
    lines = source_lines(answer)
    if lines:
        echo("\nSources:", err=err)
    for each in lines:
        echo(f"  {each}", err=err)


def source_lines(answer: Answer) -> list[str]:
    """Return a printable line for each item that the answer cites: its number, title, source and place."""
    return [source_line(packed, answer.text) for packed in answer.cited_items]


def source_line(packed: PackedItem, answer: str) -> str:
    """Return a printable line for an item of the prompt of an answer."""
    title = one_line(packed.item.title or packed.item.id)
    source = one_line(packed.item.source)
    where = [source] if source and source != title else []
    where += filter(None, [place_of(packed.item, answer, packed.text)])
    return f"[{packed.number}] {title}" + (f"  ({', '.join(where)})" if where else "")


def print_notes(answer: Answer, remarks: HeldWarnings) -> None:
    """Say on stderr when another model than the first has answered, and why."""
    failed = {row.model: row.error for row in answer.attempts if row.outcome != "ok" and row.model != answer.model}
    for model, error in failed.items():
        echo(f"\n{model} did not answer: {error}. Answered by {answer.model}.", err=True)
        remarks.is_said(error or "")
    if answer.finish_reason == "length":
        echo("\nThe answer was cut at its maximum length (raise max_tokens to get more).", err=True)
    if answer.native_finish_reason:
        word = ascii(answer.native_finish_reason)
        echo(f"\nThe answer may not be whole: its service ended it with the unknown reason {word}.", err=True)
