"""`nexus ask`: a question to a context, by a pipeline that ships with the package or one of your own."""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from nexus_core.cli.approval_prompt import approve_option
from nexus_core.cli.commands.run import respond
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import line, plain
from nexus_core.cli.recording_options import recording_arguments, recording_options
from nexus_core.cli.run_options import (
    KEY,
    PIPELINE,
    StoreOnDemand,
    attach_option,
    fresh_option,
    has_key,
    programs_option,
    ranking,
    read_query,
    words_argument,
)
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.contract.errors import UsageError
from nexus_core.engine.pipeline import Pipeline
from nexus_core.store.records import Context
from nexus_core.toolkit.shared_resources import SharedResources
from nexus_core.toolkit.suggest import did_you_mean, listed

_MODELS = ("offline", "openai")
_KNOWN = "models: offline (needs nothing), openai, or the id of a model of OpenAI such as gpt-4o"
_NAMED = 20
"""Contexts that a message names."""

EPILOG = """\b
Examples:
  nexus ask handbook "How many days of leave can be carried over?"
  nexus ask handbook "How many days of leave can be carried over?" --model offline
  nexus ask handbook "And who approves it?" --model gpt-4o --conversation monday
  nexus ask handbook "What is a sink?" --pipeline my.yaml

\b
Who answers: with OPENAI_API_KEY set, gpt-4o-mini at OpenAI, which is sent the question and excerpts
of the context of at most 4,000 tokens. Without it the sentences that match best are quoted, offline.
--model offline never sends anything. In a pipeline of your own `gather: store`
searches the context that is asked; ${NEXUS_CONTEXT} is its name.
"""


@click.command("ask", epilog=EPILOG)
@click.argument("name", metavar="CONTEXT", default="")
@words_argument("question")
@click.option("--pipeline", metavar="FILE", type=click.Path(dir_okay=False), help="Answer by this pipeline.")
@click.option(
    "--model", metavar="NAME", help="offline, openai, a model of OpenAI such as gpt-4o, or one of --pipeline."
)
@click.option("--conversation", metavar="ID", help="Go on with this conversation, or begin it.")
@attach_option
@fresh_option
@approve_option
@click.option("--json", "as_json", is_flag=True, help="Print the answer with its figures as one JSON object.")
@click.option("--no-stream", is_flag=True, help="Print the answer when it is whole, even on a terminal.")
@click.option("--verbose", "-v", is_flag=True, help="Tell on stderr of waits, and of every request that was made.")
@recording_options
@programs_option
@store_option
def command(name: str, question: str | None, pipeline: str | None, model: str | None, **request: Any) -> None:
    """Ask the context CONTEXT a QUESTION and print the answer with its sources.

    QUESTION may be several words, or - to read it from standard input. `nexus context list` lists the contexts.
    """
    context = _context(name, question)
    query = read_query(question)
    if not context.items:
        raise UsageError(f"the context {name!r} is empty: fill it with `nexus context add {name} PATH`")
    environment = {**os.environ, "NEXUS_CONTEXT": name}
    replay = request.pop("replay")
    if pipeline is None:
        model, environment = _who(model, environment) if replay is None else _who_was(model, environment, replay)
    recording = recording_arguments(request.pop("record"), replay, environment)
    conversation = request.pop("conversation")
    kept = StoreOnDemand(conversation)
    loaded = Pipeline.load(
        Path(pipeline) if pipeline else PIPELINE,
        # What was searched by meaning has its order by the model of the context.
        overrides=() if pipeline or context.embedder else ranking(),
        shared=SharedResources(programs=request.pop("programs")),
        conversations=kept.conversations,
        answers=kept if recording["interceptor"] is None else None,
        **recording,
    )
    asked = {
        "model": model,
        "conversation_id": conversation,
        "context_id": name,
        "fresh": request.pop("fresh"),
        "attachments": request.pop("attachments"),
    }
    respond(loaded, kept, query, asked, **request)


def _context(name: str, question: str | None) -> Context:
    """Return the context; where there is none of that name, say which words were taken for what."""
    there = with_store(lambda store: store.contexts())
    found = next((each for each in there if each.name == name), None)
    if found is not None and (question is not None or not sys.stdin.isatty()):
        return found
    if not name:
        taken = "neither a context nor a question is named"
    else:
        asked = "for the question there is none" if question is None else f"{_short(question)} for the question"
        taken = f"{_short(name)} is taken for the name of the context, {asked}"
        taken += "" if found else f"; there is no such context{did_you_mean(name, [each.name for each in there])}"
    some = [plain(each.name) for each in there[:_NAMED]] + ([f"{len(there) - _NAMED} more"] if there[_NAMED:] else [])
    known = f"contexts: {listed(some)}" if some else "there is none yet: `nexus context add NAME PATH` makes one"
    raise UsageError(f"{taken}; say nexus ask CONTEXT QUESTION; {known}")


def _short(text: str) -> str:
    return repr(line(text, 60))


def _chosen(model: str | None, environment: dict[str, str], *, answers: bool) -> tuple[str, dict[str, str]]:
    """Return the model of the default pipeline that is meant; `answers` says whether one of OpenAI can."""
    if model is None:
        return "openai" if answers else "offline", environment
    if model in _MODELS:
        return model, environment
    return "openai", {**environment, "NEXUS_MODEL": model}


def _who_was(model: str | None, environment: dict[str, str], replay: Path) -> tuple[str, dict[str, str]]:
    """Return the model of the default pipeline whose answers were recorded, and say that nothing is sent."""
    chosen, environment = _chosen(model, environment, answers=any(replay.glob("openai-*.json")))
    echo(f"replaying what was recorded of {chosen} in {replay}; nothing is sent", err=True)
    return chosen, environment


def _who(model: str | None, environment: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the model of the default pipeline that answers, and say which one that is."""
    answers = has_key(environment)
    chosen, environment = _chosen(model, environment, answers=answers)
    meant = get_close_matches(model or "", _MODELS, n=1, cutoff=0.8)
    if meant and model not in _MODELS:  # else a service were sent what was to stay here
        raise UsageError(f"no model is named {model!r}, did you mean {meant[0]!r}? {_KNOWN}")
    if chosen == "openai" and not answers:
        unknown = "" if model in _MODELS else ", which is taken for the id of a model of OpenAI,"
        raise UsageError(f"--model {model}{unknown} needs the environment variable {KEY}; {_KNOWN}")
    if chosen == "openai":
        named = environment.get("NEXUS_MODEL") or "gpt-4o-mini"
        echo(f"asking {named} at OpenAI ({KEY} is set; --model offline sends nothing)", err=True)
    elif model is None:
        echo(f"quoting what matches best, offline (with {KEY} set, a model of OpenAI answers)", err=True)
    return chosen, environment
