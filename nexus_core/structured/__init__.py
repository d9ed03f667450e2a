"""Answers that are JSON: schemas are checked, answers read, repaired where that is safe, and validated.

The names are imported at first use (PEP 562): a pipeline without a schema pays for none of the libraries behind them.
"""

from __future__ import annotations

from nexus_core.toolkit.lazy_module import lazy_names

_HOME = {
    "schema_check": ("InvalidSchemaError", "check_schema", "pointer"),
    "schema_validator": ("SchemaMismatch", "SchemaValidator", "validator_of"),
    "structured_answers": ("StructuredAnswer", "describe_schema", "read_answer"),
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
