"""The types of the lazily imported names; tests/test_public_api.py holds it against `__init__.py`."""

from nexus_core.contract.answers import Answer as Answer
from nexus_core.contract.components import (
    component as component,
)
from nexus_core.contract.components import (
    option as option,
)
from nexus_core.contract.components import (
    ranker as ranker,
)
from nexus_core.contract.components import (
    state as state,
)
from nexus_core.contract.errors import (
    AuthError as AuthError,
)
from nexus_core.contract.errors import (
    ConfigError as ConfigError,
)
from nexus_core.contract.errors import (
    ConnectError as ConnectError,
)
from nexus_core.contract.errors import (
    ConnectorError as ConnectorError,
)
from nexus_core.contract.errors import (
    ContentFilterError as ContentFilterError,
)
from nexus_core.contract.errors import (
    ContextLengthError as ContextLengthError,
)
from nexus_core.contract.errors import (
    InvalidRequestError as InvalidRequestError,
)
from nexus_core.contract.errors import (
    ModelNotFoundError as ModelNotFoundError,
)
from nexus_core.contract.errors import (
    NexusError as NexusError,
)
from nexus_core.contract.errors import (
    NoAnswerError as NoAnswerError,
)
from nexus_core.contract.errors import (
    NotConfiguredError as NotConfiguredError,
)
from nexus_core.contract.errors import (
    OverloadedError as OverloadedError,
)
from nexus_core.contract.errors import (
    PluginError as PluginError,
)
from nexus_core.contract.errors import (
    PromptTooLongError as PromptTooLongError,
)
from nexus_core.contract.errors import (
    ProtocolError as ProtocolError,
)
from nexus_core.contract.errors import (
    QuotaError as QuotaError,
)
from nexus_core.contract.errors import (
    RankerError as RankerError,
)
from nexus_core.contract.errors import (
    RateLimitError as RateLimitError,
)
from nexus_core.contract.errors import (
    ResponseTooLargeError as ResponseTooLargeError,
)
from nexus_core.contract.errors import (
    RunError as RunError,
)
from nexus_core.contract.errors import (
    ServerError as ServerError,
)
from nexus_core.contract.errors import (
    SourceError as SourceError,
)
from nexus_core.contract.errors import (
    StepTimeoutError as StepTimeoutError,
)
from nexus_core.contract.errors import (
    TemplateError as TemplateError,
)
from nexus_core.contract.errors import (
    TruncatedError as TruncatedError,
)
from nexus_core.contract.errors import (
    UpstreamTimeoutError as UpstreamTimeoutError,
)
from nexus_core.contract.errors import (
    UsageError as UsageError,
)
from nexus_core.contract.events import (
    AttemptFinished as AttemptFinished,
)
from nexus_core.contract.events import (
    Delta as Delta,
)
from nexus_core.contract.events import (
    Event as Event,
)
from nexus_core.contract.events import (
    PromptPacked as PromptPacked,
)
from nexus_core.contract.events import (
    RunFailed as RunFailed,
)
from nexus_core.contract.events import (
    RunFinished as RunFinished,
)
from nexus_core.contract.events import (
    RunStarted as RunStarted,
)
from nexus_core.contract.events import (
    StepFinished as StepFinished,
)
from nexus_core.contract.hookspecs import hookimpl as hookimpl
from nexus_core.contract.problems import Problem as Problem
from nexus_core.contract.prompts import (
    PackedItem as PackedItem,
)
from nexus_core.contract.prompts import (
    Prompt as Prompt,
)
from nexus_core.contract.prompts import (
    TraceEntry as TraceEntry,
)
from nexus_core.contract.protocols import (
    Connector as Connector,
)
from nexus_core.contract.protocols import (
    Ranker as Ranker,
)
from nexus_core.contract.protocols import (
    Sink as Sink,
)
from nexus_core.contract.protocols import (
    Source as Source,
)
from nexus_core.contract.protocols import (
    Template as Template,
)
from nexus_core.contract.ranking import (
    Candidate as Candidate,
)
from nexus_core.contract.ranking import (
    Ranking as Ranking,
)
from nexus_core.contract.values import (
    CallOptions as CallOptions,
)
from nexus_core.contract.values import (
    Chunk as Chunk,
)
from nexus_core.contract.values import (
    Completion as Completion,
)
from nexus_core.contract.values import (
    FinishReason as FinishReason,
)
from nexus_core.contract.values import (
    Item as Item,
)
from nexus_core.contract.values import (
    Message as Message,
)
from nexus_core.contract.values import (
    ModelInfo as ModelInfo,
)
from nexus_core.contract.values import (
    Usage as Usage,
)
from nexus_core.engine.pipeline import Pipeline as Pipeline
from nexus_core.toolkit.secrets import Secret as Secret

__all__: list[str]
