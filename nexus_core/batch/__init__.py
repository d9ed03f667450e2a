"""Batches: a pipeline over a file of questions. Here are the stable names for authors of engines.

They are imported at first use (PEP 562); the paths of the modules below are not public.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "control": ("BatchControl", "BatchTask", "RequestEnd"),
    "engines": ("BatchEngine", "BatchJob"),
    "journal": ("RequestUsage",),
    "record_runner": ("BatchInterceptor", "RecordRunner", "RequestLedger"),
    "results": ("RecordResult", "failure"),
    "shipment": ("PipelineShipment", "pack_pipeline"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'nexus_core.batch' has no attribute {name!r}")
    value = getattr(import_module(f"nexus_core.batch.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
