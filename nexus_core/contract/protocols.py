"""What a component must be able to do, kind by kind. Nothing to inherit from: having the methods is enough.

A component that holds resources is also an async context manager; the runner opens it once, before the first run that
needs it, and closes it at the end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from nexus_core.contract.answers import Event
from nexus_core.contract.models import ModelInfo
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.run_context import RunContext
from nexus_core.contract.values import CallOptions, Chunk, Completion, Item, Message, ToolDefinition, ToolResult

if TYPE_CHECKING:
    from nexus_core.contract.documents import DocumentMark, DocumentRead


@runtime_checkable
class Connector(Protocol):
    """Sends a prompt to a model service: exactly one upstream request per call, never a retry.

    Raises only subclasses of `ConnectorError`.
    """

    @property
    def model_info(self) -> ModelInfo:
        """What is known of the model; no I/O."""

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        """Return the whole answer."""

    def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncIterator[Chunk]:
        """Yield the answer in parts. The last chunk carries the finish reason; without one the stream must raise.

        An async generator: closing it early closes the upstream.
        """


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors: what a connector may be able to do besides, with one upstream request per call.

    Raises only subclasses of `ConnectorError`.
    """

    @property
    def embedding_id(self) -> str:
        """Names what makes the vectors: those of one id can be compared, and are kept under it. No I/O."""

    @property
    def embedding_batch(self) -> int:
        """How many texts one call takes at most."""

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector for each text, in their order: finite numbers, the same count in each.

        Where the service tells what it took, as `Results`.
        """


@runtime_checkable
class Reranker(Protocol):
    """Rates texts for a query: what a connector may be able to do besides, with one upstream request per call.

    Raises only subclasses of `ConnectorError`.
    """

    async def rerank(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Return the relevance of each text, in their order: finite numbers on any scale, higher is better.

        Where the service tells what it took, as `Results`.
        """


@runtime_checkable
class Ranker(Protocol):
    """Scores the items of a ranking for a query."""

    async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:
        """Return `ranking.scored(name, scores)`: relevance, higher first, one score per item of `ranking.items`.

        A ranker that holds others hands `run` on; one that holds a connector calls `run.bind(self.model)`.
        """


@runtime_checkable
class Template(Protocol):
    """Turns variables into messages; pure."""

    @property
    def variables(self) -> frozenset[str]:
        """The names it reads that have no default."""

    def render(self, variables: Mapping[str, Any]) -> Sequence[Message]:
        """Return the messages; `variables` holds JSON data only.

        Always there: `query`, `inputs`, `vars`, `items` (each with `number`, `id`, `title`, `text`, `kind`, `tags`,
        `source`, `metadata`) and `history` (each with `role`, `content`).
        """


@runtime_checkable
class Sink(Protocol):
    """Receives the events of runs, in a thread of its own, through a bounded queue.

    It may be a `FilteringSink` and a `MetricsSink` besides. One with the field `pipeline: Any = injected()` is given
    its pipeline before it is opened.
    """

    def emit(self, event: Event) -> None:
        """Take one event; may block, since no run waits for it."""

    def flush(self) -> None:
        """Make durable what has been emitted; called after each batch and before the sink is closed."""


@runtime_checkable
class Source(Protocol):
    """Yields the items of a context."""

    async def gather(self, query: str, run: RunContext) -> Sequence[Item] | Ranking:
        """Return the items. While nothing has changed it returns the same objects, so that indexes are reused.

        A source that searches returns a ranking of what it has found; its scores stand unless another source adds
        items. One whose context is the caller's to choose (`run.context_id`) is a `ContextSource`, too.
        """


@runtime_checkable
class Tool(Protocol):
    """What a model may call during a run: one function, or several that belong together, such as those of a server.

    Text that comes from documents or results never becomes a part of a definition. A class whose names are known before
    it is opened tells lint by a tuple `tool_names`, which of them change something by `tool_changes`, and which have no
    description by `undescribed_tools`. Where its one tool is called like a pipeline among its options
    (`CallablePipeline.tool_name`), `named_after` is the name of that option.
    """

    async def definitions(self, run: RunContext) -> Sequence[ToolDefinition]:
        """Return what it offers, by different names; the same as long as the component is open."""

    async def call(self, name: str, arguments: Mapping[str, Any], run: RunContext) -> ToolResult:
        """Return the result of a call, whose arguments match the definition's schema; as who asks in `run`.

        Raises ToolError with what the model should read; what else it raises the model is told without its text.
        """


@runtime_checkable
class Documents(Protocol):
    """Tells documents one by one: what a source may be able to do besides, so that a store reads the changed ones only.

    Called in threads, and in other processes where the component can be pickled; it is not opened for that. `read`
    needs nothing that `documents` has left behind.
    """

    @property
    def problems(self) -> Sequence[str]:
        """What the last look for documents has found wrong; if anything, what is missing may still be there."""

    def documents(self) -> Iterable[DocumentMark]:
        """Yield every document, without reading any; raises SourceError."""

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        """Return the items of a document, or only that its digest is the one known; raises SourceError."""


@runtime_checkable
class Conversations(Protocol):
    """Remembers what was asked and answered; given to a pipeline by whoever loads it, such as `store.conversations`.

    `owner` keeps the conversations of one user apart from those of all others, whatever their ids.
    """

    async def history(self, id: str, *, owner: str = "", characters: int | None = None) -> Sequence[Message]:
        """Return what was said so far, oldest first: nothing of a conversation that nobody has begun.

        More than the newest turns that come to so many characters is of no use.
        """

    async def add(self, id: str, *, query: str, answer: str, model: str, run_id: str, owner: str = "") -> int:
        """Keep a turn, durably and once for each run id, and return its number; begins the conversation."""


@runtime_checkable
class AnswerCache(Protocol):
    """Keeps answers of models with `cache:`; given to a pipeline by whoever loads it, such as `store.answers`.

    A key stands for everything that decides an answer. What is kept for one `owner` no other one is given. Whatever a
    method raises costs no run: it is told in the log, and the model is asked.
    """

    async def get(self, key: str, *, owner: str, expires_s: float) -> Completion | None:
        """Return the answer that was kept, unless that is longer ago than `expires_s`."""

    async def put(
        self, key: str, completion: Completion, *, owner: str, model: str, expires_s: float, items: int, size: int
    ) -> None:
        """Keep an answer for so long, and of this `model` (a digest) at most so many that come to so many bytes.

        The run waits for it: what takes long is done later.
        """


Scores = Sequence[float] | Awaitable[Sequence[float]]
"""What a plain ranking function returns."""
