"""ContextNexus: answers questions from a body of context with a language model.

The stable public API. Names are imported at first use (PEP 562), so that `nexus --help` pays for none of them.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # that of `typing` takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

_HOME = {
    "contract.answers": ("Answer", "AttemptFinished", "Event", "ToolFinished"),
    "contract.blocks": (
        "Block", "Code", "Figure", "Footnote", "Formula", "Heading", "ListItem", "Metadata", "PageBreak", "Paragraph",
        "Place", "Quotation", "Remark", "Table",
    ),
    "contract.components": (
        "component", "injected", "option", "ranker", "state", "tool", "tool_result",
    ),
    "contract.documents": ("DocumentMark", "DocumentRead", "ReadHints", "Reader"),
    "contract.errors": (
        "AuthError", "ConfigError", "ConflictError", "ConnectError", "ConnectorError", "ContentFilterError",
        "ContextLengthError", "DeadlineError", "DisconnectedError", "EmptyAnswerError", "InvalidRequestError",
        "LimitError", "ModelNotFoundError", "NexusError", "NoAnswerError", "NotConfiguredError", "NotReadyError",
        "OverloadedError", "PluginError", "PoolBusyError", "Problem", "PromptTooLongError", "ProtocolError",
        "QuotaError", "RankerError", "RateLimitError", "RequestCapError", "ResponseTooLargeError", "RunError",
        "SchemaMismatchError",
        "ServerError", "SourceError", "StalledError", "StepTimeoutError", "StoreBusyError", "StoreDamagedError",
        "StoreError", "StoreFullError", "StoreUnavailableError", "TemplateError", "ToolCallIncompleteError",
        "ToolError", "ToolNameTakenError", "ToolRoundsError", "TruncatedError", "UnsupportedRequestError",
        "UpstreamTimeoutError", "UsageError",
    ),
    "contract.events": (
        "Delta", "PromptPacked", "QueryExpanded", "RunFailed", "RunFinished", "RunStarted", "StepFinished",
        "StreamRestarted", "ToolRoundFinished", "Waiting",
    ),
    "contract.features": ("FeatureKey", "Features", "vector_key"),
    "contract.hookspecs": ("hookimpl",),
    "contract.models": ("ImageTokens", "ModelInfo", "ModelPrices"),
    "contract.optional_protocols": (
        "AddressedDocuments", "CheckedComponent", "ContentSink", "ContextSource", "EmbeddingRanker", "FilteringSink",
        "IdentifiedConnector", "MetricsSink", "PricedConnector", "RequiringTemplate", "TracingSink",
        "VersionedDocuments", "WeightedRanker",
    ),
    "contract.prompts": ("PackedItem", "Prompt", "TraceEntry"),
    "contract.protocols": (
        "AnswerCache", "Connector", "Conversations", "Documents", "Embedder", "Ranker", "Reranker", "Sink", "Source",
        "Template", "Tool",
    ),
    "contract.ranking": ("Candidate", "Ranking"),
    "contract.run_context": (
        "ApprovalRequest", "CallablePipeline", "PipelineInput", "PipelineResult", "RunContext",
        "TraceContext", "Viewer", "parse_readers",
    ),
    "contract.values": (
        "CallOptions", "Chunk", "Completion", "FilePart", "FinishReason", "FollowUp", "ImagePart", "Item", "Message",
        "Quota", "QuotaLimit", "Results", "TextPart", "ToolCall", "ToolCallDelta", "ToolDefinition", "ToolResult",
        "Transfer", "Usage", "parts_of",
    ),
    "engine.pipeline": ("Pipeline",),
    "store.conversations.conversation": ("Conversation", "Turn"),
    "store.shared_store": ("open_store",),
    "store.store": ("Store",),
    "store.usage": ("DailyUsage",),
    "toolkit.secrets": ("Secret",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'nexus_core' has no attribute {name!r}")
    value = getattr(import_module(f"nexus_core.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
