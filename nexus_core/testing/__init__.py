"""For authors of plugins: upstreams that fail on purpose, a fault proxy, fakes, strategies and contract suites.

Names are imported at first use, so that who needs a fake alone needs neither pytest nor hypothesis.
"""

from __future__ import annotations

from nexus_core.toolkit.lazy_module import lazy_names

_HOME = {
    "answers": ("chat_events", "completion", "json_answer", "stream_answer"),
    "contracts.behaving": ("ConnectorContract",),
    "contracts.embedder": ("EmbedderContract",),
    "contracts.ranker": ("RankerContract",),
    "contracts.reader": ("ReaderContract",),
    "contracts.reranker": ("RerankerContract",),
    "contracts.sink": ("SinkContract",),
    "contracts.source": ("SourceContract",),
    "contracts.store.store_contract": ("StoreContract",),
    "contracts.template": ("TemplateContract",),
    "contracts.tool": ("ToolContract",),
    "dialect": ("Dialect", "Refusal", "Sent", "Stream", "ToolDialect"),
    "fakes": ("FakeConnector", "FakeRanker", "FakeSink", "FakeSource", "FakeTemplate", "RaisingSink", "SlowSink"),
    "openai_dialect": ("OpenAIDialect",),
    "proxy": ("FaultProxy",),
    "upstream": ("ScriptedUpstream",),
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
