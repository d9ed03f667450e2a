"""The types of the lazily imported names; tests/test_public_api.py holds it against `__init__.py`."""

from nexus_core.batch.control import (
    BatchControl as BatchControl,
    BatchTask as BatchTask,
    RequestEnd as RequestEnd,
)
from nexus_core.batch.engines import BatchEngine as BatchEngine, BatchJob as BatchJob
from nexus_core.batch.journal import RequestUsage as RequestUsage
from nexus_core.batch.record_runner import (
    BatchInterceptor as BatchInterceptor,
    RecordRunner as RecordRunner,
    RequestLedger as RequestLedger,
)
from nexus_core.batch.results import RecordResult as RecordResult, failure as failure
from nexus_core.batch.shipment import PipelineShipment as PipelineShipment, pack_pipeline as pack_pipeline
