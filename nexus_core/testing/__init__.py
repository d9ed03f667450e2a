"""For authors of plugins: upstreams that fail on purpose, a fault proxy, fakes, strategies and contract suites.

Names are imported at first use, so that who needs a fake alone needs neither pytest nor hypothesis.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

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
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'nexus_core.testing' has no attribute {name!r}")
    value = getattr(import_module(f"nexus_core.testing.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
