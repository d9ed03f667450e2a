"""`nexus ask`: a question to a context, by a pipeline that ships with the package or one of your own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from nexus_core.cli.chosen import store_option, with_store
from nexus_core.cli.output import echo
from nexus_core.cli.request import read_query, store_of
from nexus_core.cli.run import respond
from nexus_core.cli.usual import KEY, PIPELINE, has_key, ranking
from nexus_core.contract.errors import UsageError
from nexus_core.engine.pipeline import Pipeline

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
@click.argument("name")
@click.argument("question", required=False)
@click.option("--pipeline", metavar="FILE", type=click.Path(dir_okay=False), help="Answer by this pipeline.")
@click.option(
    "--model", metavar="NAME", help="offline, openai, a model of OpenAI such as gpt-4o, or one of --pipeline."
)
@click.option("--conversation", metavar="ID", help="Go on with this conversation, or begin it.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer with its figures as one JSON object.")
@click.option("--no-stream", is_flag=True, help="Print the answer when it is whole, even on a terminal.")
@click.option("--verbose", "-v", is_flag=True, help="Tell on stderr of waits, and of every request that was made.")
@store_option
def command(name: str, question: str | None, pipeline: str | None, model: str | None, **request: Any) -> None:
    """Ask the context NAME a QUESTION and print the answer with its sources.

    QUESTION may be - to read it from standard input.
    """
    query = read_query(question)
    context = with_store(lambda store: store.context(name))
    if not context.items:
        raise UsageError(f"the context {name!r} is empty: fill it with `nexus context add {name} PATH`")
    environment = {**os.environ, "NEXUS_CONTEXT": name}
    if pipeline is None:
        model, environment = _who(model, environment)
    conversation = request.pop("conversation")
    kept = store_of(conversation)
    loaded = Pipeline.load(
        Path(pipeline) if pipeline else PIPELINE,
        overrides=() if pipeline else ranking(),
        environment=environment,
        conversations=kept.conversations if kept is not None else None,
    )
    respond(loaded, kept, query, {"model": model, "conversation_id": conversation, "context_id": name}, **request)


def _who(model: str | None, environment: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the model of the default pipeline that answers, and say which one that is."""
    answers = has_key(environment)
    if model is None:
        chosen = "openai" if answers else "offline"
    else:
        chosen = model if model in ("offline", "openai") else "openai"
        if chosen == "openai" and model != "openai":
            environment = {**environment, "NEXUS_MODEL": model}
    if chosen == "openai" and not answers:
        raise UsageError(f"--model {model} needs the environment variable {KEY}; --model offline needs nothing")
    if chosen == "openai":
        named = environment.get("NEXUS_MODEL") or "gpt-4o-mini"
        echo(f"asking {named} at OpenAI ({KEY} is set; --model offline sends nothing)", err=True)
    elif model is None:
        echo(f"quoting what matches best, offline (with {KEY} set, a model of OpenAI answers)", err=True)
    return chosen, environment
