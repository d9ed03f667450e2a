"""A pipeline as declared: checked, frozen, with the place of everything in the file. Nothing in it is built yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

from nexus_core.config.yaml.problems import SourceLocation
from nexus_core.contract.components import Kind
from nexus_core.contract.models import ModelPrices
from nexus_core.contract.values import NOTHING_ASKED, CallOptions, Value
from nexus_core.toolkit.filters import EVERYTHING, Filter

if TYPE_CHECKING:  # few files name a policy, and their classes cost start-up time
    from nexus_core.config.policies import BreakerPolicy, CachePolicy, CallPolicy, RateLimitPolicy, RetryPolicy

Scalar = str | int | float | bool | None


@frozen(kw_only=True, eq=False, repr=False)
class ComponentSpec(Value):
    """A component by name, and the options that are given for it."""

    kind: Kind
    use: str
    options: Mapping[str, Any] = field(factory=dict, repr=False)
    """Checked values; a nested component is a ComponentSpec, an option that is an attrs class a RecordSpec."""
    place: SourceLocation


@frozen(kw_only=True, eq=False, repr=False)
class ModelReference(Value):
    """A model of the file, where an option wants a connector."""

    name: str
    """Never an alias."""
    place: SourceLocation


@frozen(kw_only=True, eq=False, repr=False)
class RecordSpec(Value):
    """An option whose type is an attrs class: the class and its checked fields, not built since that runs its code."""

    cls: type
    fields: Mapping[str, Any] = field(factory=dict, repr=False)
    place: SourceLocation


@frozen(kw_only=True, eq=False, repr=False)
class ModelSpec(Value):
    """A named model: a connector, and figures that stand over the connector's own."""

    name: str
    component: ComponentSpec
    window: int | None = None
    max_input: int | None = None
    max_output: int | None = None
    encoding: str | None = None
    options: CallOptions = NOTHING_ASKED
    fallback: tuple[str, ...] = ()
    """Names (never aliases) of models, in the order they are tried."""
    aliases: tuple[str, ...] = ()
    retry: RetryPolicy | None = None
    """`None` is the default, here and in the next two."""
    breaker: BreakerPolicy | Literal[False] | None = None
    """False is none at all."""
    limits: RateLimitPolicy | None = None
    prices: ModelPrices | None = None
    cache: CachePolicy | None = None
    """`None` keeps no answers."""
    allow_empty: bool = False
    place: SourceLocation


@frozen(kw_only=True, eq=False, repr=False)
class TemplateFile(Value):
    """A template in a file of its own."""

    path: str
    """Absolute."""
    text: str = field(repr=False)


@frozen(kw_only=True, eq=False, repr=False)
class TemplateText(Value):
    """A template inside the pipeline file."""

    text: str = field(repr=False)


@frozen(kw_only=True, eq=False, repr=False)
class StepFields(Value):
    """What all steps have."""

    index: int
    """Of the step of the pipeline that it is, or stands in; from 0."""
    path: str
    """Where it stands: `steps[2]`, or within another one `steps[2].choose[0].steps[1]`."""
    as_name: str | None = None
    when: str | None = None
    """The source of an expression, with its braces."""
    timeout_s: float | None = None
    place: SourceLocation


@frozen(kw_only=True, eq=False, repr=False)
class ExpandSpec(Value):
    """What is searched for besides the question. What each field means stands in `keys.ExpandKeys`."""

    by: Literal["phrasings", "feedback", "hypothetical"]
    phrasings: int
    model: str | None
    """The name (never an alias), or `None` for the default model."""
    max_tokens: int
    timeout_s: float
    items: int
    words: int
    weight: float
    fusion: Literal["rrf", "scores"]


@frozen(kw_only=True, eq=False, repr=False)
class GatherSpec(StepFields):
    """Adds the items of a source."""

    source: ComponentSpec
    where: Filter = EVERYTHING
    """For sources that have no filter of their own."""
    expand: ExpandSpec | None = None


@frozen(kw_only=True, eq=False, repr=False)
class RankSpec(StepFields):
    """Scores and orders the items."""

    ranker: ComponentSpec


@frozen(kw_only=True, eq=False, repr=False)
class PromptSpec(StepFields):
    """Makes a draft. What each field means and its default stand in `language.PromptKeys`."""

    template: ComponentSpec | TemplateFile | TemplateText
    budget: int | None
    pin: tuple[str, ...]
    quota: Mapping[str, int]
    unit: Literal["passage", "item"]
    overflow: Literal["cut", "skip", "stop"]
    order: Literal["rank", "best_last", "both_ends", "source"]
    passage_tokens: int | None
    near_duplicates: Literal["drop", "keep"]
    history_share: float
    variables: Mapping[str, Any]
    """JSON data; a text that holds `{{` is an expression."""


@frozen(kw_only=True, eq=False, repr=False)
class ToolsSpec(Value):
    """What a model may call. What each field means stands in `keys.GenerateKeys`."""

    components: tuple[ComponentSpec, ...]
    allow: tuple[str, ...]
    rounds: int
    calls: int
    timeout_s: float
    approval_timeout_s: float
    share: float


@frozen(kw_only=True, eq=False, repr=False)
class GenerateSpec(StepFields):
    """Asks a model."""

    model: str | None = None
    """The name (never an alias), or `None` for the default model."""
    options: CallOptions = NOTHING_ASKED
    """With the schema of the answer, where there is one."""
    schema_file: str | None = None
    """Absolute, where the schema stands in a file of its own."""
    into_query: bool = False
    client_tools: bool = False
    """Callers of the server may offer tools."""
    tools: ToolsSpec | None = None


@frozen(kw_only=True, eq=False, repr=False)
class BranchSpec(Value):
    """Steps that run where a condition holds."""

    when: str | None
    """The source of an expression, with its braces; `None` holds always."""
    steps: tuple[StepSpec, ...]
    place: SourceLocation


@frozen(kw_only=True, eq=False, repr=False)
class ChooseSpec(StepFields):
    """Runs the steps of the first branch whose condition holds."""

    branches: tuple[BranchSpec, ...]


@frozen(kw_only=True, eq=False, repr=False)
class TogetherSpec(StepFields):
    """Runs gather steps, or rank steps, side by side."""

    parts: tuple[StepSpec, ...]


@frozen(kw_only=True, eq=False, repr=False)
class PipelineReference(Value):
    """Another pipeline file, which was checked with this one."""

    path: str
    """Absolute, links resolved; by this it is found in `Checked.called`."""
    name: str
    place: SourceLocation


@frozen(kw_only=True, eq=False, repr=False)
class CallPipelineSpec(StepFields):
    """Runs another pipeline."""

    pipeline: PipelineReference
    query: str | None
    """A text that may hold expressions; `None` is the query as it is."""
    inputs: Mapping[str, Any]
    """JSON data; a text that holds `{{` is an expression."""
    take: Literal["answer", "items"]


StepSpec = GatherSpec | RankSpec | PromptSpec | GenerateSpec | ChooseSpec | TogetherSpec | CallPipelineSpec


def walk_steps(steps: Iterable[StepSpec]) -> Iterator[StepSpec]:
    """Yield steps and those within them, in the order of the file."""
    for step in steps:
        yield step
        if isinstance(step, ChooseSpec):
            for branch in step.branches:
                yield from walk_steps(branch.steps)
        elif isinstance(step, TogetherSpec):
            yield from step.parts


@frozen(kw_only=True, eq=False, repr=False)
class InputSpec(Value):
    """An input that the caller of a run may give."""

    name: str
    default: Scalar = None
    required: bool = False
    description: str = ""


@frozen(kw_only=True, eq=False, repr=False)
class PipelineSpec(Value):
    """A whole pipeline file."""

    name: str
    description: str = ""
    models: tuple[ModelSpec, ...] = ()
    default_model: str | None = None
    """`None` only where there are no models."""
    steps: tuple[StepSpec, ...]
    sinks: tuple[ComponentSpec, ...] = ()
    inputs: tuple[InputSpec, ...] = ()
    content: bool = False
    """Events carry the query and the answer."""
    rewrite: bool = False
    """A question that follows others is searched for with what came before."""
    calls: CallPolicy | None = None
    """`None` is the default."""
    path: str | None = None
    """The file, or `None` where it came from standard input."""
    plugin_files: tuple[str, ...] = ()
    """Absolute paths."""
