"""The types of the lazily imported names; tests/test_public_api.py holds it against `__init__.py`."""

from nexus_core.contract.answers import (
    Answer as Answer,
    AttemptFinished as AttemptFinished,
    Event as Event,
    ToolFinished as ToolFinished,
)
from nexus_core.contract.blocks import (
    Block as Block,
    Code as Code,
    Figure as Figure,
    Footnote as Footnote,
    Formula as Formula,
    Heading as Heading,
    ListItem as ListItem,
    Metadata as Metadata,
    PageBreak as PageBreak,
    Paragraph as Paragraph,
    Place as Place,
    Quotation as Quotation,
    Remark as Remark,
    Table as Table,
)
from nexus_core.contract.components import (
    component as component,
    injected as injected,
    option as option,
    ranker as ranker,
    state as state,
    tool as tool,
    tool_result as tool_result,
)
from nexus_core.contract.documents import (
    DocumentMark as DocumentMark,
    DocumentRead as DocumentRead,
    Reader as Reader,
    ReadHints as ReadHints,
)
from nexus_core.contract.errors import (
    AuthError as AuthError,
    ConfigError as ConfigError,
    ConflictError as ConflictError,
    ConnectError as ConnectError,
    ConnectorError as ConnectorError,
    ContentFilterError as ContentFilterError,
    ContextLengthError as ContextLengthError,
    DeadlineError as DeadlineError,
    DisconnectedError as DisconnectedError,
    EmptyAnswerError as EmptyAnswerError,
    InvalidRequestError as InvalidRequestError,
    LimitError as LimitError,
    ModelNotFoundError as ModelNotFoundError,
    NexusError as NexusError,
    NoAnswerError as NoAnswerError,
    NotConfiguredError as NotConfiguredError,
    NotReadyError as NotReadyError,
    OverloadedError as OverloadedError,
    PluginError as PluginError,
    PoolBusyError as PoolBusyError,
    Problem as Problem,
    PromptTooLongError as PromptTooLongError,
    ProtocolError as ProtocolError,
    QuotaError as QuotaError,
    RankerError as RankerError,
    RateLimitError as RateLimitError,
    RequestCapError as RequestCapError,
    ResponseTooLargeError as ResponseTooLargeError,
    RunError as RunError,
    SchemaMismatchError as SchemaMismatchError,
    ServerError as ServerError,
    SourceError as SourceError,
    StalledError as StalledError,
    StepTimeoutError as StepTimeoutError,
    StoreBusyError as StoreBusyError,
    StoreDamagedError as StoreDamagedError,
    StoreError as StoreError,
    StoreFullError as StoreFullError,
    StoreUnavailableError as StoreUnavailableError,
    TemplateError as TemplateError,
    ToolCallIncompleteError as ToolCallIncompleteError,
    ToolError as ToolError,
    ToolNameTakenError as ToolNameTakenError,
    ToolRoundsError as ToolRoundsError,
    TruncatedError as TruncatedError,
    UnsupportedRequestError as UnsupportedRequestError,
    UpstreamTimeoutError as UpstreamTimeoutError,
    UsageError as UsageError,
)
from nexus_core.contract.events import (
    Delta as Delta,
    PromptPacked as PromptPacked,
    QueryExpanded as QueryExpanded,
    RunFailed as RunFailed,
    RunFinished as RunFinished,
    RunStarted as RunStarted,
    StepFinished as StepFinished,
    StreamRestarted as StreamRestarted,
    ToolRoundFinished as ToolRoundFinished,
    Waiting as Waiting,
)
from nexus_core.contract.features import FeatureKey as FeatureKey, Features as Features, vector_key as vector_key
from nexus_core.contract.hookspecs import hookimpl as hookimpl
from nexus_core.contract.models import ImageTokens as ImageTokens, ModelInfo as ModelInfo, ModelPrices as ModelPrices
from nexus_core.contract.optional_protocols import (
    AddressedDocuments as AddressedDocuments,
    CheckedComponent as CheckedComponent,
    ContentSink as ContentSink,
    ContextSource as ContextSource,
    EmbeddingRanker as EmbeddingRanker,
    FilteringSink as FilteringSink,
    IdentifiedConnector as IdentifiedConnector,
    MetricsSink as MetricsSink,
    PricedConnector as PricedConnector,
    RequiringTemplate as RequiringTemplate,
    TracingSink as TracingSink,
    VersionedDocuments as VersionedDocuments,
    WeightedRanker as WeightedRanker,
)
from nexus_core.contract.prompts import PackedItem as PackedItem, Prompt as Prompt, TraceEntry as TraceEntry
from nexus_core.contract.protocols import (
    AnswerCache as AnswerCache,
    Connector as Connector,
    Conversations as Conversations,
    Documents as Documents,
    Embedder as Embedder,
    Ranker as Ranker,
    Reranker as Reranker,
    Sink as Sink,
    Source as Source,
    Template as Template,
    Tool as Tool,
)
from nexus_core.contract.ranking import Candidate as Candidate, Ranking as Ranking
from nexus_core.contract.run_context import (
    ApprovalRequest as ApprovalRequest,
    CallablePipeline as CallablePipeline,
    PipelineInput as PipelineInput,
    PipelineResult as PipelineResult,
    RunContext as RunContext,
    TraceContext as TraceContext,
    Viewer as Viewer,
    parse_readers as parse_readers,
)
from nexus_core.contract.values import (
    CallOptions as CallOptions,
    Chunk as Chunk,
    Completion as Completion,
    FilePart as FilePart,
    FinishReason as FinishReason,
    FollowUp as FollowUp,
    ImagePart as ImagePart,
    Item as Item,
    Message as Message,
    Quota as Quota,
    QuotaLimit as QuotaLimit,
    Results as Results,
    TextPart as TextPart,
    ToolCall as ToolCall,
    ToolCallDelta as ToolCallDelta,
    ToolDefinition as ToolDefinition,
    ToolResult as ToolResult,
    Transfer as Transfer,
    Usage as Usage,
    parts_of as parts_of,
)
from nexus_core.engine.pipeline import Pipeline as Pipeline
from nexus_core.store.conversations.conversation import Conversation as Conversation, Turn as Turn
from nexus_core.store.shared_store import open_store as open_store
from nexus_core.store.store import Store as Store
from nexus_core.store.usage import DailyUsage as DailyUsage
from nexus_core.toolkit.secrets import Secret as Secret

__all__: list[str]
