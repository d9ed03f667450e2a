"""The options that `run` and `explain` share, and how they become a request."""

from __future__ import annotations

import os
import sys
from asyncio import Lock
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import click

from nexus_core.cli.option_types import PipelineFile
from nexus_core.cli.store_option import store_option
from nexus_core.toolkit.attachments import ATTACHMENT_BYTES, ATTACHMENTS, attachment_of
from nexus_core.toolkit.lazy_module import LazyModule
from nexus_core.toolkit.stored_secrets import stored_names

if TYPE_CHECKING:
    from nexus_core.cli import run_log
    from nexus_core.contract.answers import Answer
    from nexus_core.contract.values import Completion, Part
    from nexus_core.store.answer_cache import StoredAnswers
    from nexus_core.store.conversations.stored_conversations import StoredConversations
    from nexus_core.store.store import Store
else:
    run_log = LazyModule("nexus_core.cli.run_log")  # for those who keep their runs

_Function = TypeVar("_Function", bound=Callable[..., Any])


def words_argument(name: str) -> Callable[[_Function], _Function]:
    """Add an argument that is one text, though it is given in several words; without any it is `None`."""

    def joined(context: click.Context, argument: click.Parameter, words: tuple[str, ...]) -> str | None:
        return " ".join(words) if words else None

    return click.argument(name, nargs=-1, callback=joined, metavar=f"[{name.upper()}]")


def request_options(function: _Function) -> _Function:
    """Add PIPELINE, QUERY and the options that shape a request."""
    for decorate in reversed(
        (
            click.argument("pipeline", type=PipelineFile()),
            words_argument("query"),
            click.option("--model", metavar="NAME", help="Answer with this model of the pipeline."),
            click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="Give an input (repeatable)."),
            click.option(
                "--set", "overrides", multiple=True, metavar="PATH=VALUE",
                help="Override a value of the file, as in steps[2].prompt.budget=500 (repeatable).",
            ),
            click.option(
                "--conversation", metavar="ID",
                help="Go on with this conversation, or begin it; `nexus conversations` shows those there are.",
            ),
            click.option(
                "--context", "context_id", metavar="NAME", help="The context, where the pipeline names none."
            ),
            attach_option,
            store_option,
        )
    ):  # fmt: skip
        function = decorate(function)
    return function


def attach_option(function: _Function) -> _Function:
    """Add --attach."""
    return click.option(
        "--attach", "attachments", multiple=True, metavar="FILE", type=click.Path(exists=True, dir_okay=False),
        callback=_attached, help="Send an image or a PDF with the query (repeatable).",
    )(function)  # fmt: skip


def _attached(context: click.Context, option: click.Parameter, paths: tuple[str, ...]) -> tuple[Part, ...]:
    found: list[Part] = []
    if len(paths) > ATTACHMENTS:
        raise click.BadParameter(f"a query has at most {ATTACHMENTS} attachments, and these are {len(paths)}")
    for path in map(Path, paths):
        try:
            if path.stat().st_size > ATTACHMENT_BYTES:
                raise ValueError(f"an attachment has at most {ATTACHMENT_BYTES:,} bytes")
            found.append(attachment_of(path.read_bytes(), filename=path.name))
        except (ValueError, OSError) as error:
            raise click.BadParameter(f"{path} cannot be attached: {error}") from error
    return tuple(found)


def programs_option(function: _Function) -> _Function:
    """Add --allow-program."""
    return click.option(
        "--allow-program", "programs", multiple=True, metavar="NAME",
        help="Let a pipeline start this program, for the tool mcp (repeatable). None is started otherwise.",
    )(function)  # fmt: skip


def fresh_option(function: _Function) -> _Function:
    """Add --no-cache."""
    return click.option(
        "--no-cache", "fresh", is_flag=True,
        help="Ask models that have a `cache` though the answer is there; the new one is kept.",
    )(function)  # fmt: skip


def store_of(conversation: str | None) -> Store | None:
    """Return the store that keeps a conversation, not open yet; `None` where there is no conversation."""
    return None if conversation is None else _new_store()


def _new_store() -> Store:
    from nexus_core.store.store import Store  # only who has a conversation or a model with a cache pays for it

    return Store()


class StoreOnDemand:
    """The store of a run: open where a conversation needs it, else from the first model on that has a `cache`.

    An async context manager, and the answer cache of the pipeline. A store that cannot be opened for the cache alone
    raises what the pipeline warns of, and the run goes on without it.
    """

    def __init__(self, conversation: str | None) -> None:
        """Take the id of the conversation that the run belongs to, if it does."""
        self._store = store_of(conversation)
        self._answers: StoredAnswers | None = None
        self._opened = AsyncExitStack()
        self._opening = Lock()

    @property
    def conversations(self) -> StoredConversations | None:
        """Those of the store, where a conversation needs it."""
        return None if self._store is None else self._store.conversations

    async def __aenter__(self) -> Self:
        """Open the store for a conversation; raises StoreError."""
        if self._store is not None:
            self._answers = (await self._opened.enter_async_context(self._store)).answers
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close what was opened, once everything is written."""
        await self._opened.aclose()

    async def get(self, key: str, *, owner: str, expires_s: float) -> Completion | None:
        """Return the answer that was kept, unless that is longer ago than `expires_s`."""
        return await (await self._cache()).get(key, owner=owner, expires_s=expires_s)

    async def put(
        self, key: str, completion: Completion, *, owner: str, model: str, expires_s: float, items: int, size: int
    ) -> None:
        """Keep an answer."""
        answers = await self._cache()
        await answers.put(key, completion, owner=owner, model=model, expires_s=expires_s, items=items, size=size)

    async def _cache(self) -> StoredAnswers:
        async with self._opening:
            if self._answers is None:
                self._answers = (await self._opened.enter_async_context(_new_store())).answers
        return self._answers


LOGS = "NEXUS_LOGS"
"""The variable that asks for runs to be kept: 1, or the folder."""


class RepeatableCommand(NamedTuple):
    """What asks the same again, but for the question, which comes last; and the names of what is not kept of it."""

    words: Sequence[str]
    missing: Sequence[str] = ()


def repeatable(
    name: str, subject: Sequence[str], options: Iterable[tuple[str, str | None]], missing: Mapping[str, object]
) -> RepeatableCommand:
    """Return a command with those of its options that were given; `missing` has by its name what is not kept."""
    given = [part for option, value in options if value for part in (option, value)]
    return RepeatableCommand((name, *given, "--", *subject), [name for name, value in missing.items() if value])


def logs_folder(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the folder in which runs are kept, empty for the user's own; `None` where nobody asks for that."""
    value = environment.get(LOGS, "").strip()
    if value.lower() in ("", "0", "off", "no", "false"):
        return None
    return "" if value.lower() in ("1", "on", "yes", "true") else value


def keeping_run(
    pipeline: str, query: str, command: RepeatableCommand, source_lines: Callable[[Answer], Sequence[str]]
) -> AbstractContextManager[Callable[[Answer], None]]:
    """Give what takes the answer of a run, which is kept at the end if that is asked for."""
    folder = logs_folder()
    if folder is None:
        return nullcontext(lambda answer: None)
    return run_log.keep_run(
        run_log.log_file(folder), pipeline=pipeline, query=query, command=command.words, missing=command.missing,
        source_lines=source_lines,
    )  # fmt: skip


STDIN_ARGUMENT = "-"
"""What stands for standard input."""


def is_piped() -> bool:
    """Tell whether standard input is something else than a terminal."""
    return sys.stdin is not None and not sys.stdin.closed and not sys.stdin.isatty()


def read_query(query: str | None) -> str:
    """Return the query; `-`, or none while something is piped in, means standard input."""
    if query == STDIN_ARGUMENT or (query is None and is_piped()):
        query = sys.stdin.read().strip()
        if not query:
            raise click.UsageError("standard input holds no query")
    if query is None:
        raise click.UsageError("a query is missing: give it as the last argument, or - to read it from standard input")
    return query


def read_inputs(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return `name=value` pairs as a mapping."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--input {pair!r} must have the form NAME=VALUE")
        found[name] = value
    return found


PIPELINE = Path(__file__).with_name("ask.yaml")
KEY = "OPENAI_API_KEY"
_PROVIDER = "openai"
_BY_MEANING = "steps[1].rank={use: fuse, rankers: [bm25, {use: semantic, only_without_vectors: true}]}"
"""The mean nDCG@10 of seven collections is .663 so, and .647 by words alone: see docs/how-to/rankers.md."""
_BY_OPENAI = "default=openai"


def has_key(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a model of OpenAI can be asked: its key is in the environment, or stored.

    Raises NotConfiguredError where the stored keys cannot be read.
    """
    return bool(environment.get(KEY, "").strip()) or _PROVIDER in stored_names()


def ranking() -> tuple[str, ...]:
    """Return what overrides how the pipeline ranks: by meaning, too, where the package for that is installed."""
    return (_BY_MEANING,) if find_spec("wordllama") is not None else ()


def answering() -> tuple[str, ...]:
    """Return what overrides who answers, where nobody says it with each question."""
    return (_BY_OPENAI,) if has_key() else ()
