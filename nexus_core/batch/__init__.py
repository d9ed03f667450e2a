"""Batches: a pipeline over a file of questions. Here are the stable names for authors of engines.

They are imported at first use (PEP 562); the paths of the modules below are not public.
"""

from __future__ import annotations

from nexus_core.toolkit.lazy_module import lazy_names

_HOME = {
    "control": ("BatchControl", "BatchTask", "RequestEnd"),
    "engines": ("BatchEngine", "BatchJob"),
    "journal": ("RequestUsage",),
    "record_runner": ("BatchInterceptor", "RecordRunner", "RequestLedger"),
    "results": ("RecordResult", "failure"),
    "shipment": ("PipelineShipment", "pack_pipeline"),
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
