"""The types of the lazily imported names; tests/test_public_api.py holds it against `__init__.py`."""

from nexus_core.toolkit.attachments import (
    attachment_of as attachment_of,
    attachment_of_base64 as attachment_of_base64,
    image_of_url as image_of_url,
    media_type_of as media_type_of,
)
from nexus_core.toolkit.documents.block_text import (
    block_text as block_text,
    blocks_text as blocks_text,
    fenced as fenced,
    record_text as record_text,
)
from nexus_core.toolkit.documents.charsets import Decoded as Decoded, NotReadError as NotReadError, decode as decode
from nexus_core.toolkit.documents.links import (
    definitions as definitions,
    markdown_links as markdown_links,
    targets as targets,
)
from nexus_core.toolkit.documents.main_text import finds_main_text as finds_main_text, main_text as main_text
from nexus_core.toolkit.documents.reading import (
    DocumentItems as DocumentItems,
    DocumentReader as DocumentReader,
    FileOrigin as FileOrigin,
    ReadSettings as ReadSettings,
    require_extra as require_extra,
    stream_blocks as stream_blocks,
    version_with as version_with,
)
from nexus_core.toolkit.documents.registry import ReaderChoice as ReaderChoice, ReaderRegistry as ReaderRegistry
from nexus_core.toolkit.documents.sections import (
    anchored as anchored,
    block_starts as block_starts,
    cut as cut,
    shortened as shortened,
    slug as slug,
)
from nexus_core.toolkit.documents.table_grid import Cell as Cell, TableGrid as TableGrid, table_rows as table_rows
from nexus_core.toolkit.embedding.embedder import (
    KEPT_NUMBERS as KEPT_NUMBERS,
    PART_TOKENS as PART_TOKENS,
    CrossEncoder as CrossEncoder,
    EmbedderKind as EmbedderKind,
    TextEmbedder as TextEmbedder,
    item_parts as item_parts,
    item_vectors_key as item_vectors_key,
)
from nexus_core.toolkit.embedding.item_vectors import parse_item_vectors as parse_item_vectors
from nexus_core.toolkit.embedding.model_folders import (
    InstalledModel as InstalledModel,
    installed_model as installed_model,
    new_model_folder as new_model_folder,
    readable_model as readable_model,
)
from nexus_core.toolkit.embedding.registry import (
    cross_encoder_named as cross_encoder_named,
    cross_encoder_problem as cross_encoder_problem,
    embedder_named as embedder_named,
    embedder_names as embedder_names,
    embedder_problem as embedder_problem,
)
from nexus_core.toolkit.embedding.vectors import ConnectorEmbedder as ConnectorEmbedder, unit_vectors as unit_vectors
from nexus_core.toolkit.file_stamps import (
    Stamp as Stamp,
    mark_stamp as mark_stamp,
    settled as settled,
    stamp_of as stamp_of,
)
from nexus_core.toolkit.filters import (
    EVERYTHING as EVERYTHING,
    Condition as Condition,
    Filter as Filter,
    parse_filter as parse_filter,
)
from nexus_core.toolkit.http.bodies import (
    ERROR_CAP as ERROR_CAP,
    BodyReader as BodyReader,
    Timeouts as Timeouts,
    connect_timeout as connect_timeout,
    open_session as open_session,
    read_body as read_body,
    read_start as read_start,
    retry_after_s as retry_after_s,
    should_retry as should_retry,
)
from nexus_core.toolkit.http.errors import (
    UpstreamErrors as UpstreamErrors,
    connector_error as connector_error,
    error_of_status as error_of_status,
    foreign_text as foreign_text,
    no_content as no_content,
)
from nexus_core.toolkit.http.event_stream import EventStreamDecoder as EventStreamDecoder
from nexus_core.toolkit.http.line_decoder import (
    JsonLinesDecoder as JsonLinesDecoder,
    ServerSentEvent as ServerSentEvent,
)
from nexus_core.toolkit.http.page_fetch import (
    FetchedPage as FetchedPage,
    FetchRules as FetchRules,
    PageFetchError as PageFetchError,
    PageGoneError as PageGoneError,
    fetch_page as fetch_page,
)
from nexus_core.toolkit.http.quota_headers import read_quota as read_quota
from nexus_core.toolkit.http.service_client import (
    RequestAuthorizer as RequestAuthorizer,
    ServiceClient as ServiceClient,
    StreamDecoder as StreamDecoder,
    WireFormat as WireFormat,
)
from nexus_core.toolkit.http.service_connector import ServiceConnector as ServiceConnector
from nexus_core.toolkit.http.service_settings import (
    URL_PATTERN as URL_PATTERN,
    ErrorWord as ErrorWord,
    ServiceAddress as ServiceAddress,
    ServiceSettings as ServiceSettings,
    is_near as is_near,
)
from nexus_core.toolkit.http.session import (
    ForbiddenAddress as ForbiddenAddress,
    is_forbidden as is_forbidden,
    is_public as is_public,
)
from nexus_core.toolkit.http.size_limits import (
    JSON_CAP as JSON_CAP,
    LARGEST_SIZES as LARGEST_SIZES,
    STREAM_CAP as STREAM_CAP,
    SizeLimits as SizeLimits,
    sizes_for as sizes_for,
)
from nexus_core.toolkit.http.sse import EventDecoder as EventDecoder
from nexus_core.toolkit.processes.call import (
    ApartError as ApartError,
    ApartStartError as ApartStartError,
    call_apart as call_apart,
    stream_apart as stream_apart,
)
from nexus_core.toolkit.processes.daemon_threads import in_thread as in_thread
from nexus_core.toolkit.processes.programs import (
    RunningProgram as RunningProgram,
    find_program as find_program,
    program_environment as program_environment,
    start_program as start_program,
)
from nexus_core.toolkit.services.closed_schemas import close_schema as close_schema
from nexus_core.toolkit.services.error_bodies import (
    ErrorBody as ErrorBody,
    holds_error as holds_error,
    is_only_error as is_only_error,
    read_error_body as read_error_body,
)
from nexus_core.toolkit.services.error_classes import (
    ERRORS_BY_KIND as ERRORS_BY_KIND,
    HINTS as HINTS,
    classify_error as classify_error,
    describe_refusal as describe_refusal,
)
from nexus_core.toolkit.services.error_texts import parse_error_body as parse_error_body
from nexus_core.toolkit.services.finish_reasons import (
    classify_finish_reason as classify_finish_reason,
    finish_gravity as finish_gravity,
    read_finish_reason as read_finish_reason,
)
from nexus_core.toolkit.services.json_bodies import (
    forces_tool as forces_tool,
    join_neighbours as join_neighbours,
    merge_extra as merge_extra,
    object_within as object_within,
    options_by_name as options_by_name,
    read_arguments as read_arguments,
    read_json as read_json,
    read_text as read_text,
    unsendable as unsendable,
    write_json as write_json,
)
from nexus_core.toolkit.services.key_source import KeyAuthorizer as KeyAuthorizer, KeySource as KeySource
from nexus_core.toolkit.services.model_table import (
    ModelRow as ModelRow,
    ModelTable as ModelTable,
    load_models as load_models,
)
from nexus_core.toolkit.services.printed_key import split_command as split_command
from nexus_core.toolkit.services.schema_subsets import schema_for_service as schema_for_service
from nexus_core.toolkit.services.stream_parts import (
    InBandError as InBandError,
    StreamParts as StreamParts,
    StreamReader as StreamReader,
    completion_of as completion_of,
    no_answer as no_answer,
)
from nexus_core.toolkit.services.tool_call_parts import ToolCallParts as ToolCallParts
from nexus_core.toolkit.services.usage import (
    find_usage as find_usage,
    merge_usage as merge_usage,
    read_usage as read_usage,
)
from nexus_core.toolkit.shared_resources import Closable as Closable, SharedResources as SharedResources
from nexus_core.toolkit.suggest import counted as counted, did_you_mean as did_you_mean, listed as listed
from nexus_core.toolkit.templates.template import TextTemplate as TextTemplate
from nexus_core.toolkit.text.bm25 import (
    CODE_SIZE as CODE_SIZE,
    DEFAULTS as DEFAULTS,
    TITLE_COUNTS as TITLE_COUNTS,
    Bm25Parameters as Bm25Parameters,
    code_of as code_of,
    codes as codes,
    has_only_stop_words as has_only_stop_words,
    inverse_frequency as inverse_frequency,
    item_codes as item_codes,
    length_norm as length_norm,
    query_terms as query_terms,
    saturation as saturation,
    terms as terms,
)
from nexus_core.toolkit.text.coded_texts import CodedTexts as CodedTexts
from nexus_core.toolkit.text.feedback import (
    FoundItem as FoundItem,
    with_feedback as with_feedback,
    word_shares as word_shares,
)
from nexus_core.toolkit.text.languages import (
    AUTO as AUTO,
    AnyLanguage as AnyLanguage,
    detect_language as detect_language,
    item_languages as item_languages,
    language_of as language_of,
    named_language as named_language,
)
from nexus_core.toolkit.text.normalization import (
    is_valid_unicode as is_valid_unicode,
    valid_unicode as valid_unicode,
)
from nexus_core.toolkit.text.query_words import QueryWords as QueryWords, query_words as query_words
from nexus_core.toolkit.text.segmentation import Span as Span, passages as passages, sentences as sentences
from nexus_core.toolkit.text.stemming import (
    ANALYZER_VERSION as ANALYZER_VERSION,
    LANGUAGES as LANGUAGES,
    Language as Language,
    PieceTable as PieceTable,
    pieces as pieces,
    stem_table as stem_table,
    stems as stems,
)
from nexus_core.toolkit.text.thinking import ThinkingStream as ThinkingStream, split_thinking as split_thinking
from nexus_core.toolkit.timers import TimeLimit as TimeLimit
from nexus_core.toolkit.tokens.counter import (
    TokenCounter as TokenCounter,
    encodings as encodings,
    token_counter as token_counter,
)
from nexus_core.toolkit.tokens.images import count_image as count_image, image_size as image_size
from nexus_core.toolkit.tool_calls import are_whole as are_whole, is_json as is_json
from nexus_core.toolkit.watched import SharedWork as SharedWork, WatchedFile as WatchedFile
