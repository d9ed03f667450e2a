"""The types of the lazily imported names; tests/testing/test_kit.py holds it against `__init__.py`."""

from nexus_core.testing.answers import (
    chat_events as chat_events,
    completion as completion,
    json_answer as json_answer,
    stream_answer as stream_answer,
)
from nexus_core.testing.contracts.behaving import ConnectorContract as ConnectorContract
from nexus_core.testing.contracts.embedder import EmbedderContract as EmbedderContract
from nexus_core.testing.contracts.ranker import RankerContract as RankerContract
from nexus_core.testing.contracts.reader import ReaderContract as ReaderContract
from nexus_core.testing.contracts.reranker import RerankerContract as RerankerContract
from nexus_core.testing.contracts.sink import SinkContract as SinkContract
from nexus_core.testing.contracts.source import SourceContract as SourceContract
from nexus_core.testing.contracts.store.store_contract import StoreContract as StoreContract
from nexus_core.testing.contracts.template import TemplateContract as TemplateContract
from nexus_core.testing.contracts.tool import ToolContract as ToolContract
from nexus_core.testing.dialect import (
    Dialect as Dialect,
    Refusal as Refusal,
    Sent as Sent,
    Stream as Stream,
    ToolDialect as ToolDialect,
)
from nexus_core.testing.fakes import (
    FakeConnector as FakeConnector,
    FakeRanker as FakeRanker,
    FakeSink as FakeSink,
    FakeSource as FakeSource,
    FakeTemplate as FakeTemplate,
    RaisingSink as RaisingSink,
    SlowSink as SlowSink,
)
from nexus_core.testing.openai_dialect import OpenAIDialect as OpenAIDialect
from nexus_core.testing.proxy import FaultProxy as FaultProxy
from nexus_core.testing.upstream import ScriptedUpstream as ScriptedUpstream

__all__: list[str]
