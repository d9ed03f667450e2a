"""`nexus ask`: a question to a context, to files or to what is piped in, by a pipeline that ships with the package."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from stat import S_ISFIFO
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nexus_core.cli.approval_prompt import approve_option
from nexus_core.cli.commands.explain import show_explanation
from nexus_core.cli.commands.run import respond
from nexus_core.cli.default_model import OFFLINE, DefaultModel, choose_model, choose_recorded, show_model
from nexus_core.cli.event_loop import run
from nexus_core.cli.option_types import PipelineFile, json_schema
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.next_steps import ask_steps, fill_steps, missing, pipeline_steps
from nexus_core.cli.output.tables import line
from nexus_core.cli.recording_options import recording_arguments, recording_options
from nexus_core.cli.run_options import (
    KEY,
    PIPELINE,
    STDIN_ARGUMENT,
    StoreOnDemand,
    attach_option,
    fresh_option,
    is_piped,
    programs_option,
    ranking,
    read_query,
    repeatable,
    words_argument,
)
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.contract.answers import Answer
from nexus_core.contract.errors import UsageError
from nexus_core.contract.values import CallOptions, Value
from nexus_core.engine.pipeline import Pipeline
from nexus_core.store.records import Context
from nexus_core.toolkit.lazy_module import LazyModule
from nexus_core.toolkit.shared_resources import SharedResources
from nexus_core.toolkit.suggest import did_you_mean

if TYPE_CHECKING:
    from nexus_core.cli import question_files
else:
    question_files = LazyModule("nexus_core.cli.question_files")  # it brings what reads documents

_BUDGET = 4000
"""Tokens of a context's excerpts in the default pipeline."""

EPILOG = """\b
Examples:
  nexus ask handbook "How many days of leave can be carried over?"
  nexus ask -f CONTRACT.pdf "When does it end?"
  git diff | nexus ask "what changed?"
  git diff | nexus ask handbook -f - "Does this keep to our rules?"
  nexus ask handbook "And who approves it?" --model gpt-4o --conversation monday
  nexus ask -f INVOICE.pdf "Who gets how much?" --schema '{"properties": {"to": {}, "total": {"type": "number"}}}'
  nexus ask handbook "How many days of leave?" --system "Answer in one sentence."
  nexus ask handbook "How many days of leave?" --explain
  nexus ask handbook "How many days of leave?" --pipeline PIPELINE.yaml

\b
Who answers: with OPENAI_API_KEY set, or a key stored by nexus secrets, gpt-4o-mini at OpenAI, which is
sent the question and excerpts of the context of at most 4,000 tokens, and of files as much as its
window holds. Without a key the sentences that match best are quoted, offline. --model offline never
sends anything; --explain shows what would be sent. In a pipeline of your own `gather: store` searches
the context that is asked; ${NEXUS_CONTEXT} is its name.
"""


@click.command("ask", epilog=EPILOG)
@click.argument("name", metavar="[CONTEXT]", default="")
@words_argument("question")
@click.option(
    "--file",
    "-f",
    "files",
    multiple=True,
    metavar="FILE",
    help="Ask about this file, folder or page, too, and keep nothing of it; - is standard input (repeatable).",
)
@click.option("--pipeline", metavar="FILE", type=PipelineFile(), help="Answer by this pipeline.")
@click.option(
    "--model", metavar="NAME", help="offline, openai, a model of OpenAI such as gpt-4o, or one of --pipeline."
)
@click.option("--system", metavar="TEXT", help="Instructions beside those of the default pipeline.")
@click.option(
    "--schema",
    metavar="FILE|JSON",
    callback=json_schema,
    help="Answer with JSON that matches this JSON Schema: a file, or the schema itself.",
)
@click.option("--conversation", metavar="ID", help="Go on with this conversation, or begin it.")
@click.option("--explain", is_flag=True, help="Show what would be sent, and why, and send nothing.")
@attach_option
@fresh_option
@approve_option
@click.option("--json", "as_json", is_flag=True, help="Print the answer with its figures as one JSON object.")
@click.option("--no-stream", is_flag=True, help="Print the answer when it is whole, even on a terminal.")
@click.option(
    "--verbose", "-v", is_flag=True, help="Tell on stderr of waits, calls of tools and every request that was made."
)
@recording_options
@programs_option
@store_option
def command(
    name: str, question: str | None, files: tuple[str, ...], pipeline: str | None, model: str | None, explain: bool,
    system: str | None, schema: Any, **request: Any,
) -> None:  # fmt: skip
    """Ask a QUESTION of a CONTEXT, of files or of what is piped in, and print the answer with its sources.

    QUESTION may be several words, or - to read it from standard input. Without a CONTEXT the question is asked of what
    -f names, or of standard input. `nexus context list` lists the contexts.
    """
    if pipeline and system is not None:
        raise UsageError("--system is for the default pipeline: write it into the `prompt` of yours")
    asked_of = _subject(name, question, files)
    query = asked_of.query
    context = asked_of.context
    environment = {**os.environ, "NEXUS_CONTEXT": context.name if context else ""}
    replay = request.pop("replay")
    chosen = None if pipeline else _model(model, environment, replay, sends=not explain)
    if chosen and schema is not None and chosen.name == OFFLINE and not explain:
        raise UsageError(f"--schema needs a model, and offline only quotes: set {KEY}, or run nexus secrets set openai")
    again = repeatable(
        "ask",
        [context.name] if context else [],
        [
            ("--model", model),
            ("--pipeline", os.path.abspath(pipeline) if pipeline else None),
            ("--system", system),
            ("--schema", None if schema is None else json.dumps(schema)),
            *(("--file", file if "://" in file else os.path.abspath(file)) for file in asked_of.files),
            *(("--allow-program", name) for name in request["programs"]),
        ],
        {
            "standard input": asked_of.piped is not None,
            "--attach": request["attachments"],
            "--replay": replay,
        },
    )
    recording = recording_arguments(request.pop("record"), replay, chosen.environment if chosen else environment)
    conversation = request.pop("conversation")
    kept = StoreOnDemand(conversation)
    read = asked_of.read()
    if chosen and replay is None and not explain:
        show_model(chosen, model)
    loaded = Pipeline.load(
        Path(pipeline) if pipeline else PIPELINE,
        overrides=() if pipeline else (*_overrides(context, read), *_instructions(system, schema)),
        shared=SharedResources(programs=request.pop("programs")),
        conversations=kept.conversations,
        answers=kept if recording["interceptor"] is None else None,
        **recording,
    )
    asked = {
        "model": chosen.name if chosen else model,
        "conversation_id": conversation,
        "context_id": context.name if context else None,
        "attachments": request.pop("attachments"),
        "items": read.items if read else (),
        "options": None if schema is None else CallOptions(response_schema=schema),
    }
    if explain:
        show_explanation(loaded, kept, query, asked, as_json=request["as_json"])
        return
    asked["fresh"] = request.pop("fresh")

    def is_answered(answer: Answer) -> None:
        if read is not None:
            question_files.show_left_out(read, answer.prompt)

    respond(loaded, kept, query, asked, again, then=is_answered, **request)


@frozen(kw_only=True, eq=False, repr=False)
class _Subject(Value):
    """What is asked: a context, files, or both."""

    context: Context | None
    query: str
    files: tuple[str, ...] = ()
    piped: bytes | None = None

    def read(self) -> question_files.QuestionFiles | None:
        """Return what the files and the pipe hold, and say on stderr what could not be read; `None` without any."""
        if not self.files and self.piped is None:
            return None
        found = run(question_files.read_question_files(self.files, self.piped))
        for remark in found.remarks:
            echo(f"note: {remark}", err=True)
        return found


def _subject(name: str, question: str | None, files: tuple[str, ...]) -> _Subject:
    """Return what is asked; words that begin with no context are all the question where there is a file or a pipe."""
    there = with_store(lambda store: store.contexts(), quiet=bool(files) or is_piped()) if name or not files else ()
    context = next((each for each in there if each.name == name), None)
    pipes = STDIN_ARGUMENT in files
    if context is None and (files or (is_piped() and name and question != STDIN_ARGUMENT)):
        return _without_context(name, question, files, there)
    if context is None or (question is None and (pipes or not is_piped())):
        raise _no_subject(name, question, context, there)
    if pipes and question == STDIN_ARGUMENT:
        raise UsageError("standard input is the question or a file, not both: give one of the two - by another way")
    query = read_query(question)
    if not context.items and not files:
        raise missing(f"the context {name!r} is empty", fill_steps(name))
    if not files and sys.stderr.isatty() and question != STDIN_ARGUMENT and question is not None and _is_pipe():
        echo("standard input is not read: add -f - to ask about it, too", err=True)
    return _Subject(context=context, query=query, files=files, piped=question_files.read_piped() if pipes else None)


def _without_context(name: str, question: str | None, files: tuple[str, ...], there: Sequence[Context]) -> _Subject:
    """Return files or a pipe, asked by all the words; a context that was misspelt is none of them."""
    pipes = STDIN_ARGUMENT in files or not files
    if question is not None and did_you_mean(name, [each.name for each in there]):
        raise _no_subject(name, question, None, there)
    words = " ".join(filter(None, [name, question]))
    if not words or words == STDIN_ARGUMENT:
        if pipes or not is_piped():
            raise missing("a question is missing", [("nexus ask -f FILE QUESTION", "ask a file or a folder")])
        return _Subject(context=None, query=read_query(STDIN_ARGUMENT), files=files)
    piped = question_files.read_piped() if pipes else None
    if piped is not None and not piped.strip() and not files:
        there = with_store(lambda store: store.contexts())  # says so if there is no store
        raise _no_subject(name, question, None, there, "standard input is empty, ")
    return _Subject(context=None, query=words, files=files, piped=piped)


def _is_pipe() -> bool:
    """Tell whether standard input is a pipe of a command line, and no file that a loop reads."""
    try:
        return S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):
        return False


def _no_subject(
    name: str, question: str | None, found: Context | None, there: Sequence[Context], also: str = ""
) -> UsageError:
    """Return an error that says what is missing, and how to go on with the words that were given."""
    names, words = [each.name for each in there], " ".join(filter(None, [name, question]))
    if not name:
        what = "a context and a question are missing"
    elif found:
        what, names, words = "a question is missing", [name], ""
    else:
        hint = did_you_mean(name, names)
        what = f"there is no context {_short(name)}{hint}" + ", and no question follows it" * (question is None)
        words = question if hint and question else words
    return missing(also + what, [*ask_steps("ask", names, words), *pipeline_steps("run", words, makes=False)])


def _short(text: str) -> str:
    return repr(line(text, 60))


def _model(model: str | None, environment: dict[str, str], replay: Path | None, *, sends: bool) -> DefaultModel:
    """Return the model of the default pipeline that answers."""
    if replay is not None:
        return choose_recorded(model, environment, replay)
    return choose_model(model, environment, sends=sends)


def _instructions(system: str | None, schema: Any) -> Iterator[str]:
    """Yield what is changed in the default pipeline for instructions, and for an answer that has a schema."""
    if system is not None:
        text = json.dumps(system).replace("${", "$${")
        yield f"steps[2].prompt.template={{use: qa, instructions: {text}}}"
    if schema is not None:
        yield "models.openai.fallback=[]"  # sentences that are quoted match no schema


def _overrides(context: Context | None, read: question_files.QuestionFiles | None) -> tuple[str, ...]:
    """Return what is changed in the default pipeline: with files the prompt takes as much of them as fits."""
    # What was searched by meaning has its order by the model of the context.
    found = () if context is not None and context.embedder else ranking()
    if read is None:
        return found
    if context is not None:
        return (*found, f"steps[2].prompt.budget={_BUDGET + read.budget}")
    # As it was written, lines that say nearly the same included: those of a diff do.
    whole = {"budget": "null", "order": "source", "near_duplicates": "keep"}
    return (*found, "steps[0].when=false", *(f"steps[2].prompt.{key}={value}" for key, value in whole.items()))
