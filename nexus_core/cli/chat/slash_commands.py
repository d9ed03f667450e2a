"""Slash commands: what can be said in a chat beside questions."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from nexus_core.cli.chat.session import ChatSession
from nexus_core.cli.commands.explain import print_explanation, print_messages, print_trace
from nexus_core.cli.commands.run import source_line
from nexus_core.cli.output.attempt_table import AttemptLog
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import plain
from nexus_core.contract.answers import Answer
from nexus_core.contract.errors import UsageError
from nexus_core.toolkit.suggest import counted, did_you_mean

SUMMARIES = {
    "/help": "show this",
    "/retry [QUESTION]": "ask the last question again, or this one in its place: the new answer replaces the old one",
    "/sources [N]": "list what the last answer was made of, or show the text of source N",
    "/explain [QUESTION]": "show what the last question sent and what it cost, or what a question would send",
    "/model [NAME]": "list the models, or ask another one from now on",
    "/save FILE": "write the conversation to a new file, as Markdown",
    "/new": "begin another conversation; this one stays in the store",
    "/quit": "end the chat, as Ctrl-D does",
}
_NOTES = """
A line that ends in \\ goes on with the next one, and a text may stand in three quotes: \"\"\"...\"\"\".
A question that begins with / is written with two. Ctrl-C cancels the answer that is under way."""


class SlashCommands:
    """The commands of one chat."""

    def __init__(self, session: ChatSession, ask: Callable[[str, str], None]) -> None:
        """Take what asks a question in the place of the turn that a run has made, by the id of that run."""
        self._session = session
        self._ask = ask
        self._known: Mapping[str, Callable[[str], None]] = {
            "/help": self._help,
            "/retry": self._retry,
            "/sources": self._sources,
            "/explain": self._explain,
            "/model": self._model,
            "/save": self._save,
            "/new": self._new,
        }

    def do(self, text: str) -> bool:
        """Do what a command says, and return whether the chat goes on; raises NexusError, OSError."""
        name, _, rest = text.partition(" ")
        if name in ("/quit", "/exit"):
            return False
        command = self._known.get(name)
        if command is None:
            names = [*self._known, "/quit"]
            raise UsageError(f"there is no command {name}{did_you_mean(name, names) or ';'} /help lists them")
        command(rest.strip())
        return True

    def _help(self, rest: str) -> None:
        width = max(map(len, SUMMARIES))
        for usage, summary in SUMMARIES.items():
            echo(f"  {usage:<{width}}  {summary}")
        echo(_NOTES)

    def _retry(self, rest: str) -> None:
        turns = self._session.turns()
        if not turns:
            raise UsageError("nothing was answered yet in this conversation, so there is nothing to ask again")
        self._ask(rest or turns[-1].query, turns[-1].run_id)

    def _sources(self, rest: str) -> None:
        answer = self._last()
        if not rest:
            cited = {packed.number for packed in answer.cited_items}
            for packed in answer.prompt.items:
                echo(f"{'*' if packed.number in cited else ' '} {source_line(packed, answer.text)}")
            echo("* is cited; /sources N shows a text" if answer.prompt.items else "nothing was packed")
            return
        found = next((packed for packed in answer.prompt.items if str(packed.number) == rest.strip("[]")), None)
        if found is None:
            count = counted(len(answer.prompt.items), "source")
            raise UsageError(f"there is no source {rest}: the last answer has {count}, and /sources lists them")
        echo(found.text)

    def _explain(self, rest: str) -> None:
        if rest:
            print_explanation(self._session.explain(rest))
            return
        answer = self._last()
        print_messages(answer.prompt)
        print_trace(answer.prompt)
        attempts = AttemptLog()
        for event in (*answer.tools, *answer.attempts):
            attempts.see(event)
        attempts.show()

    def _model(self, rest: str) -> None:
        if rest:
            self._session.switch_model(rest)
            echo(f"from now on {rest} is asked")
            return
        last = self._session.last
        asked = self._session.asked_model or (last.model if last else None)
        for model in self._session.pipeline.models.list():
            mark = "*" if model.name == asked else " "
            echo(f"{mark} {plain(model.name)}: {plain(model.info.id)}, window {model.info.window:,} tokens")

    def _save(self, rest: str) -> None:
        turns = self._session.turns()
        if not rest:
            raise UsageError("a file is missing: /save FILE")
        if not turns:
            raise UsageError("nothing was answered yet, so there is nothing to save")
        path = Path(os.path.expanduser(shlex.split(rest)[0] if rest[0] in "\"'" else rest))
        parts = [f"# Conversation {self._session.conversation}\n"]
        for turn in turns:
            parts += [f"## {' '.join(turn.query.split())}\n", f"{turn.answer.strip()}\n"]
            if lines := self._session.sources.get(turn.run_id):
                parts.append("Sources:\n\n" + "\n".join(f"- {line}" for line in lines) + "\n")
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write("\n".join(parts))
        except FileExistsError as error:
            raise UsageError(f"{path} is there already, and is left as it is: choose another name") from error
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error
        echo(f"{counted(len(turns), 'turn')} written to {path}")

    def _new(self, rest: str) -> None:
        self._session.begin_anew()
        echo(f"conversation {self._session.conversation}", err=True)

    def _last(self) -> Answer:
        if self._session.last is None:
            raise UsageError("nothing was answered yet in this chat")
        return self._session.last
