"""Optional protocols: members that a component may have besides those of its kind; each is declared here or ignored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from attrs import frozen

from nexus_core.contract.models import ModelPrices
from nexus_core.contract.prompts import PackedItem
from nexus_core.contract.run_context import RunContext, TraceContext, Viewer
from nexus_core.contract.values import Message, Value


@runtime_checkable
class ContextSource(Protocol):
    """A source whose context may be the caller's to choose; it finds the choice in `run.context_id`."""

    @property
    def takes_context(self) -> bool:
        """Whether the caller chooses the context."""


@runtime_checkable
class GuardedConversations(Protocol):
    """Conversations that know what each turn was made of, and show nobody a turn of what they may not see."""

    async def history_for(
        self, viewer: Viewer | None, id: str, *, owner: str = "", characters: int | None = None
    ) -> Sequence[Message]:
        """Return what was said so far, as `history` does, of it what a viewer may see."""

    async def add_turn(
        self,
        viewer: Viewer | None,
        id: str,
        *,
        query: str,
        answer: str,
        model: str,
        run_id: str,
        owner: str = "",
        contexts: Sequence[str] = (),
        items: Sequence[PackedItem] = (),
    ) -> int:
        """Keep a turn, as `add` does, with the contexts that were searched for it and the items of its prompt."""


@frozen(kw_only=True, eq=False, repr=False)
class RecalledHistory(Value):
    """What a run remembers of a conversation, and what its turn is to say of that once it is kept."""

    messages: tuple[Message, ...]
    unseen: tuple[int, ...] = ()
    """The numbers of the turns that were hidden from its viewer then: they are not among the messages."""
    last: int = 0
    """The number of the last turn that there was."""
    begun: float | None = None
    """When the conversation began, in seconds since the epoch; `None` where there was none."""
    follows: str | None = None
    """The run of the turn that was the last then, after which its own is asked; `None` where there was none."""


@runtime_checkable
class VersionedConversations(Protocol):
    """Conversations in which a turn can be asked again: its new version takes the place of the one before."""

    async def history_before(
        self, viewer: Viewer | None, id: str, run_id: str | None, *, owner: str = "", characters: int | None = None
    ) -> RecalledHistory:
        """Return what was said before the turn of a run, or so far; UsageError where a viewer sees no such turn."""

    async def replace_turn(
        self,
        viewer: Viewer | None,
        id: str,
        replaces: str | None,
        *,
        query: str,
        answer: str,
        model: str,
        run_id: str,
        owner: str = "",
        contexts: Sequence[str] = (),
        items: Sequence[PackedItem] = (),
        recalled: RecalledHistory | None = None,
        files: Sequence[str] = (),
    ) -> int:
        """Keep a turn, as `add_turn` does, in the place of the one that the run `replaces` has made.

        `recalled` is what its run remembered; without it, what the viewer may see now. `files` are the names of those
        that the question was about; it is given where there are some.
        """


@runtime_checkable
class PricedConnector(Protocol):
    """A connector that looks up what its model costs, where that takes longer than `model_info` may."""

    def find_prices(self) -> ModelPrices | None:
        """Return the prices of the model, or `None` where they are not known.

        Called once, in a thread, while the first request is under way, unless the pipeline or `model_info` has prices.
        """


@runtime_checkable
class IdentifiedConnector(Protocol):
    """A connector whose answers depend on more than its options, such as an address from the environment."""

    @property
    def answer_id(self) -> str:
        """Names that, without secrets: answers that were kept under one id are not given under another. No I/O."""


@runtime_checkable
class WeightedRanker(Protocol):
    """A ranker that says what it is worth beside others."""

    @property
    def usual_weight(self) -> float:
        """The weight that `fuse` gives it where the pipeline names none; 1.0 for rankers without."""


@runtime_checkable
class EmbeddingRanker(Protocol):
    """A ranker whose embedder others may ask, such as clients of the server's `/v1/embeddings`."""

    async def embed_texts(self, texts: Sequence[str], run: RunContext) -> Sequence[Sequence[float]]:
        """Return one vector for each text, none of which is blank; as `Results` where the service tells its usage."""


@runtime_checkable
class CheckedComponent(Protocol):
    """A component that can say what it lacks once it knows the folder of its pipeline."""

    def check_built(self) -> None:
        """Raise PluginError or ValueError where it cannot be used; called after `base_dir` is filled in. No network."""


@runtime_checkable
class RemoteTool(Protocol):
    """A tool that starts a program or connects to a service to know its definitions: lint and `explain` never do."""

    @property
    def is_remote(self) -> bool:
        """Whether opening it reaches out of the process."""


@runtime_checkable
class FilteringSink(Protocol):
    """A sink that wants only some events: what no sink wants is never made."""

    @property
    def hears(self) -> Collection[str] | None:
        """The types of the events it wants, such as `attempt_finished`; `None` is all."""


@runtime_checkable
class TracingSink(Protocol):
    """A sink that makes spans of runs: it is asked before each, so that services can be told of them."""

    def begin_trace(self, parent: TraceContext | None) -> TraceContext | None:
        """Return the span of a new run, below that of its caller where there is one; `None` traces nothing. No I/O."""


@runtime_checkable
class ContentSink(Protocol):
    """A sink that may be given queries and answers although its pipeline does not say `content: true`."""

    @property
    def wants_content(self) -> bool:
        """Whether whoever runs the process wants them in it."""


@runtime_checkable
class MetricsSink(Protocol):
    """A sink that keeps figures for the server's page of metrics."""

    def collect(self) -> Iterable[Any]:
        """Return Prometheus metric families; called in any thread."""


@runtime_checkable
class RequiringTemplate(Protocol):
    """A template class that names the variables that a pipeline must give; lint reads it from the class."""

    required_variables: Collection[str]


@runtime_checkable
class VersionedDocuments(Protocol):
    """A source of documents whose options change what it makes of the same file."""

    @property
    def variant(self) -> str:
        """Other than before where documents must be read again although they have not changed."""


@runtime_checkable
class AddressedDocuments(Protocol):
    """A source of documents that people name by an address: `nexus context add NAME git+https://example.com/a.git`.

    Of an address `acme+https://...` it is the source of the plugin `acme`.
    """

    @classmethod
    def address_options(cls, address: str) -> Mapping[str, Any]:
        """Return the options that an address stands for; raises ValueError where it cannot be meant. No I/O."""

    @property
    def origin(self) -> str:
        """What its documents are known by as a whole, without secrets: those gone from there can be pruned."""

    @property
    def within(self) -> str:
        """What the names of all its documents begin with."""
