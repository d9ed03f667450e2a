"""`nexus chat`: questions one after the other, to a context or a pipeline, in a conversation that is kept."""

from __future__ import annotations

import os
from pathlib import Path

import click

from nexus_core.cli.approval_prompt import approve_option
from nexus_core.cli.chat.dialogue import Dialogue
from nexus_core.cli.chat.prompt_input import PromptInput
from nexus_core.cli.chat.session import ChatSession, Load, LoadedPipeline
from nexus_core.cli.chat.slash_commands import SUMMARIES
from nexus_core.cli.default_model import choose_model, show_model
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.next_steps import ask_steps, fill_steps, missing, no_pipeline, pipeline_steps
from nexus_core.cli.output.tables import line, plain
from nexus_core.cli.run_options import PIPELINE, programs_option, ranking
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.contract.errors import UsageError
from nexus_core.engine.pipeline import Pipeline
from nexus_core.store.records import Context
from nexus_core.store.store import Store
from nexus_core.toolkit.shared_resources import SharedResources
from nexus_core.toolkit.suggest import counted, did_you_mean

EPILOG = f"""\b
Examples:
  nexus chat handbook
  nexus chat handbook --model gpt-4o --continue
  nexus chat assistant.yaml
  nexus chat handbook < QUESTIONS.txt

\b
In a chat: {", ".join(usage.split(" ")[0] for usage in SUMMARIES)}.
Ctrl-C cancels the answer that is under way; at the prompt a second one ends the chat.
Who answers is chosen as by `nexus ask`.
"""


@click.command("chat", epilog=EPILOG)
@click.argument("target", metavar="[CONTEXT|PIPELINE]", default="")
@click.option("--context", "context_id", metavar="NAME", help="The context, where PIPELINE names none.")
@click.option("--model", metavar="NAME", help="offline, openai, a model of OpenAI such as gpt-4o, or one of PIPELINE.")
@click.option("--conversation", metavar="ID", default="", help="Go on with this conversation, or begin it.")
@click.option("--continue", "goes_on", is_flag=True, help="Go on with the conversation that was changed last.")
@approve_option
@programs_option
@store_option
def command(
    target: str,
    context_id: str | None,
    model: str | None,
    conversation: str,
    goes_on: bool,
    approve_tools: bool,
    programs: tuple[str, ...],
) -> None:
    """Ask a CONTEXT, or by a PIPELINE, question after question; the answers come as they are written.

    On a terminal Markdown is drawn, elsewhere the text is printed as it is. Where there is one context, its name may
    be left out. Lines that are piped in are questions, one each; exit code 1 tells that one had no whole answer.
    """
    if conversation and goes_on:
        raise UsageError("--conversation and --continue both say which conversation: give one")
    is_file = target.endswith((".yaml", ".yml")) or (bool(target) and Path(target).is_file())
    if is_file:
        if not Path(target).exists():
            raise no_pipeline(target, "chat")
        name, load = context_id, _by_pipeline(Path(target), programs)
    else:
        if context_id is not None:
            raise UsageError("--context is for a pipeline: nexus chat PIPELINE --context NAME")
        context = _context(target)
        name, load = context.name, _by_default(context)
    reader = PromptInput()
    with ChatSession(load, name, model, conversation) as session:
        if goes_on:
            session.conversation = session.last_changed()
        if reader.is_interactive:
            _greet(session, target if is_file else str(name))
        dialogue = Dialogue(session, reader, target if is_file else None, approve_tools)
        try:
            dialogue.run()
        finally:
            reader.keep_history()
    if dialogue.has_failed and not reader.is_interactive:
        raise click.exceptions.Exit(1)


def _by_pipeline(path: Path, programs: tuple[str, ...]) -> Load:
    def load(store: Store, model: str | None) -> LoadedPipeline:
        pipeline = Pipeline.load(
            path,
            shared=SharedResources(programs=programs),
            conversations=store.conversations,
            answers=store.answers,
        )
        return LoadedPipeline(pipeline, model)

    return load


def _by_default(context: Context) -> Load:
    """Return what loads the default pipeline, and says who answers."""

    def load(store: Store, model: str | None) -> LoadedPipeline:
        chosen = choose_model(model, {**os.environ, "NEXUS_CONTEXT": context.name})
        show_model(chosen, model)
        pipeline = Pipeline.load(
            PIPELINE,
            # What was searched by meaning has its order by the model of the context.
            overrides=() if context.embedder else ranking(),
            environment=chosen.environment,
            conversations=store.conversations,
            answers=store.answers,
        )
        return LoadedPipeline(pipeline, chosen.name)

    return load


def _context(name: str) -> Context:
    """Return the context of a name, or the only one there is; raises UsageError."""
    there = with_store(lambda store: store.contexts())
    found = [each for each in there if each.name == name] if name else list(there)
    if len(found) != 1:
        names = [each.name for each in there]
        what = (
            "there is no context yet, and no pipeline is named" if not there else "several contexts are there: name one"
        )
        if name:
            what = f"there is no context {name!r}{did_you_mean(name, names)}"
        raise missing(what, [*ask_steps("chat", names, ""), *pipeline_steps("chat", makes=False)])
    if not found[0].items:
        raise missing(f"the context {found[0].name!r} is empty", fill_steps(found[0].name))
    return found[0]


def _greet(session: ChatSession, subject: str) -> None:
    turns = session.turns()
    echo(f"{plain(subject)}, conversation {session.conversation}; /help lists commands, Ctrl-D ends", err=True)
    if turns:
        echo(f"{counted(len(turns), 'turn')} so far, the last: {line(turns[-1].query)}", err=True)
