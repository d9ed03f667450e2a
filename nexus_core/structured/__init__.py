"""Answers that are JSON: schemas are checked, answers read, repaired where that is safe, and validated.

The names are imported at first use (PEP 562): a pipeline without a schema pays for none of the libraries behind them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "schema_check": ("InvalidSchemaError", "check_schema", "pointer"),
    "schema_validator": ("SchemaMismatch", "SchemaValidator", "validator_of"),
    "structured_answers": ("StructuredAnswer", "describe_schema", "read_answer"),
}
_MODULE = {name: f"{__name__}.{module}" for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE)


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE[name]), name)
    return value
