"""What makes plugins short: HTTP, event streams, tokens, text, templates, processes, watched files, embedders.

The stable names for authors of plugins. They are imported at first use (PEP 562), so that a plugin pays only for what
it needs; the paths of the modules below are not public.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "attachments": ("attachment_of", "attachment_of_base64", "image_of_url", "media_type_of"),
    "documents.block_text": ("block_text", "blocks_text", "fenced", "record_text"),
    "documents.charsets": ("Decoded", "NotReadError", "decode"),
    "documents.links": ("definitions", "markdown_links", "targets"),
    "documents.main_text": ("finds_main_text", "main_text"),
    "documents.reading": (
        "DocumentItems",
        "DocumentReader",
        "FileOrigin",
        "ReadSettings",
        "require_extra",
        "stream_blocks",
        "version_with",
    ),
    "documents.registry": ("ReaderChoice", "ReaderRegistry"),
    "documents.sections": ("anchored", "block_starts", "cut", "shortened", "slug"),
    "documents.table_grid": ("Cell", "TableGrid", "table_rows"),
    "embedding.embedder": (
        "CrossEncoder",
        "EmbedderKind",
        "KEPT_NUMBERS",
        "PART_TOKENS",
        "TextEmbedder",
        "item_parts",
        "item_vectors_key",
    ),
    "embedding.item_vectors": ("parse_item_vectors",),
    "embedding.model_folders": ("InstalledModel", "installed_model", "new_model_folder", "readable_model"),
    "embedding.registry": (
        "cross_encoder_named",
        "cross_encoder_problem",
        "embedder_named",
        "embedder_names",
        "embedder_problem",
    ),
    "embedding.vectors": ("ConnectorEmbedder", "unit_vectors"),
    "file_stamps": ("Stamp", "mark_stamp", "settled", "stamp_of"),
    "filters": ("Condition", "EVERYTHING", "Filter", "parse_filter"),
    "http.bodies": (
        "BodyReader",
        "ERROR_CAP",
        "Timeouts",
        "connect_timeout",
        "open_session",
        "read_body",
        "read_start",
        "retry_after_s",
        "should_retry",
    ),
    "http.errors": ("UpstreamErrors", "connector_error", "error_of_status", "foreign_text", "no_content"),
    "http.event_stream": ("EventStreamDecoder",),
    "http.page_fetch": ("FetchRules", "FetchedPage", "PageFetchError", "PageGoneError", "fetch_page"),
    "http.quota_headers": ("read_quota",),
    "http.service_client": ("RequestAuthorizer", "ServiceClient", "StreamDecoder", "WireFormat"),
    "http.service_connector": ("ServiceConnector",),
    "http.service_settings": ("ErrorWord", "ServiceAddress", "ServiceSettings", "URL_PATTERN", "is_near"),
    "http.session": ("ForbiddenAddress", "is_forbidden", "is_public"),
    "http.size_limits": ("JSON_CAP", "LARGEST_SIZES", "STREAM_CAP", "SizeLimits", "sizes_for"),
    "http.line_decoder": ("JsonLinesDecoder", "ServerSentEvent"),
    "http.sse": ("EventDecoder",),
    "processes.call": ("ApartError", "ApartStartError", "call_apart", "stream_apart"),
    "processes.daemon_threads": ("in_thread",),
    "processes.programs": ("RunningProgram", "find_program", "program_environment", "start_program"),
    "services.closed_schemas": ("close_schema",),
    "services.error_bodies": ("ErrorBody", "holds_error", "is_only_error", "read_error_body"),
    "services.error_classes": ("ERRORS_BY_KIND", "HINTS", "classify_error", "describe_refusal"),
    "services.error_texts": ("parse_error_body",),
    "services.finish_reasons": ("classify_finish_reason", "finish_gravity", "read_finish_reason"),
    "services.json_bodies": (
        "forces_tool",
        "join_neighbours",
        "merge_extra",
        "object_within",
        "options_by_name",
        "read_arguments",
        "read_json",
        "read_text",
        "unsendable",
        "write_json",
    ),
    "services.key_source": ("KeyAuthorizer", "KeySource"),
    "services.model_table": ("ModelRow", "ModelTable", "load_models"),
    "services.printed_key": ("split_command",),
    "services.schema_subsets": ("schema_for_service",),
    "services.stream_parts": ("InBandError", "StreamParts", "StreamReader", "completion_of", "no_answer"),
    "services.tool_call_parts": ("ToolCallParts",),
    "services.usage": ("find_usage", "merge_usage", "read_usage"),
    "shared_resources": ("Closable", "SharedResources"),
    "suggest": ("counted", "did_you_mean", "listed"),
    "templates.template": ("TextTemplate",),
    "text.bm25": (
        "Bm25Parameters",
        "CODE_SIZE",
        "DEFAULTS",
        "TITLE_COUNTS",
        "code_of",
        "codes",
        "has_only_stop_words",
        "inverse_frequency",
        "item_codes",
        "length_norm",
        "query_terms",
        "saturation",
        "terms",
    ),
    "text.coded_texts": ("CodedTexts",),
    "text.feedback": ("FoundItem", "word_shares", "with_feedback"),
    "text.languages": ("AUTO", "AnyLanguage", "detect_language", "item_languages", "language_of", "named_language"),
    "text.normalization": ("is_valid_unicode", "valid_unicode"),
    "text.query_words": ("QueryWords", "query_words"),
    "text.segmentation": ("Span", "passages", "sentences"),
    "text.stemming": ("ANALYZER_VERSION", "LANGUAGES", "Language", "PieceTable", "pieces", "stem_table", "stems"),
    "text.thinking": ("ThinkingStream", "split_thinking"),
    "timers": ("TimeLimit",),
    "tokens.counter": ("TokenCounter", "encodings", "token_counter"),
    "tokens.images": ("count_image", "image_size"),
    "tool_calls": ("are_whole", "is_json"),
    "watched": ("SharedWork", "WatchedFile"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'nexus_core.toolkit' has no attribute {name!r}")
    value = getattr(import_module(f"nexus_core.toolkit.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
