"""Dialogue: reads questions and commands, shows answers as they come, and lets Ctrl-C cancel the one that runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from attrs import define, field

from nexus_core.cli.approval_prompt import ApprovalPrompt
from nexus_core.cli.chat.prompt_input import PromptInput
from nexus_core.cli.chat.session import ChatSession
from nexus_core.cli.chat.slash_commands import SlashCommands
from nexus_core.cli.commands.run import failure_of, print_notes, print_sources, source_lines
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.log_format import HeldWarnings
from nexus_core.cli.output.progress_line import ProgressLine
from nexus_core.cli.run_options import RepeatableCommand, keeping_run, repeatable
from nexus_core.contract.answers import Answer
from nexus_core.contract.errors import NexusError, RunError, StoreError
from nexus_core.contract.events import Delta, RunFailed, RunFinished, StreamRestarted
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    from nexus_core.cli.chat import markdown_stream
else:
    markdown_stream = LazyModule("nexus_core.cli.chat.markdown_stream")  # it brings rich, for terminals alone


class AnswerView(Protocol):
    """Shows the text of an answer in parts."""

    has_text: bool

    def add(self, text: str) -> None:
        """Show some more of it."""

    def end(self) -> None:
        """Show the rest; what comes then is another text."""


class PlainView:
    """Prints a text as it is."""

    def __init__(self) -> None:
        self.has_text = False

    def add(self, text: str) -> None:
        """Print it."""
        self.has_text = self.has_text or bool(text)
        echo(text.replace("\r", ""), nl=False)

    def end(self) -> None:
        """End the line."""
        echo()
        self.has_text = False


def renders_markdown() -> bool:
    """Tell whether stdout is a terminal with colours: all else is given the text as it is."""
    dumb = os.environ.get("TERM", "dumb") in ("", "dumb", "unknown") and sys.platform != "win32"
    return sys.stdout.isatty() and not dumb and not os.environ.get("NO_COLOR")


@define(eq=False, repr=False)
class Dialogue:
    """A chat from its first line to its last."""

    session: ChatSession
    reader: PromptInput
    file: str | None = None
    """Of the pipeline; `None` is the default one."""
    approves: bool = False
    """Whether the person is asked before a tool changes something."""
    has_failed: bool = False
    """Whether a question had no whole answer, or a command could not be done."""
    _make_view: Callable[[], AnswerView] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._make_view = markdown_stream.MarkdownStream if renders_markdown() else PlainView

    def run(self) -> None:
        """Go on until /quit, the end of the input, or a second Ctrl-C at the prompt."""
        commands = SlashCommands(self.session, self._answer)
        interrupted = False
        while True:
            try:
                text = self._read()
                interrupted = False
                if text is None or not self._take(commands, text):
                    return
            except KeyboardInterrupt:  # at the prompt, or between an answer and the prompt
                if interrupted or not self.reader.is_interactive:
                    raise
                interrupted = True
                echo("\n(Ctrl-C once more, or /quit, ends the chat)", err=True)

    def _read(self) -> str | None:
        """Return what is asked next; `None` is the end of the input."""
        try:
            return self.reader.read()
        except EOFError:
            if self.reader.is_interactive:
                echo(err=True)
            return None

    def _take(self, commands: SlashCommands, text: str) -> bool:
        """Do what a command says, or answer a question; return whether to go on."""
        if text.startswith("/") and not text.startswith("//"):
            return self._command(commands, text)
        if text:
            self._answer(text.removeprefix("/") if text.startswith("//") else text)
        return True

    def _command(self, commands: SlashCommands, text: str) -> bool:
        """Do what a command says and return whether to go on; what is wrong with it is said."""
        try:
            return commands.do(text)
        except (NexusError, OSError) as error:
            self.has_failed = True
            echo(f"Error: {error}", err=True)
        except KeyboardInterrupt:
            self._go_on("interrupted")
        return True

    def _go_on(self, what: str) -> None:
        """Say what was interrupted; lines of a pipe are not gone on with."""
        if not self.reader.is_interactive:
            raise KeyboardInterrupt
        echo(f"\n({what})", err=True)

    def _answer(self, question: str, replaces: str | None = None) -> None:
        view = self._make_view()
        with HeldWarnings() as remarks:
            try:
                session = self.session
                with keeping_run(session.pipeline.name, question, self._again(), source_lines) as keep:
                    answer = self._streamed(question, view, replaces)
                    keep(answer)
            except KeyboardInterrupt:
                old = "" if replaces is None else "; the old answer stays"
                self._go_on(f"cancelled: neither the question nor what came of the answer is kept{old}")
                return
            except NexusError as error:
                remarks.is_said(str(error))
                self.has_failed = True
                echo(f"Error: {error}", err=True)
                if not (isinstance(error, StoreError) and isinstance(error.answer, Answer)):
                    return
                answer = error.answer  # it is whole; only its turn is not kept
            self.session.last = answer
            self.session.sources[answer.id] = source_lines(answer)
            print_sources(answer)
            print_notes(answer, remarks)
            if self.reader.is_interactive:
                echo()

    def _again(self) -> RepeatableCommand:
        """Return what asks a question of this chat once more, by itself."""
        session = self.session
        if self.file is None:
            return repeatable("ask", [session.context or ""], [("--model", session.model)], {})
        options = [("--model", session.model), ("--context", session.context)]
        return repeatable("run", [os.path.abspath(self.file)], options, {})

    def _streamed(self, question: str, view: AnswerView, replaces: str | None) -> Answer:
        """Show an answer as it comes and return it; raises what the run failed with."""
        progress = ProgressLine()
        approve = ApprovalPrompt(progress.stop) if self.approves else None
        with progress, closing(self.session.ask(question, approve, replaces)) as events:
            try:
                for event in events:
                    progress.see(event)
                    match event:
                        case Delta(text=text):
                            if text and not view.has_text and self.session.last and not self.reader.is_interactive:
                                echo()  # between the answers
                            view.add(text)
                        case StreamRestarted(model=model) if view.has_text:
                            view.end()
                            echo(f"\n{model} broke off: what stands above is void, the answer begins anew.\n")
                        case RunFinished(answer=Answer() as answer):
                            return answer
                        case RunFailed():
                            if view.has_text:
                                view.end()
                            raise failure_of(event)
            finally:
                if view.has_text:
                    view.end()
        raise RunError("the pipeline has no generate step that ran, so it has no answer")
