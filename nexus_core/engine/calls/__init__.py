"""Retry, wait, fallback, breaker, limits and the ledger: nothing else in the project tries anything twice."""

from __future__ import annotations

from nexus_core.engine.calls.call import Call, EmbedOrRerankRequest, Emit
from nexus_core.engine.calls.caller import Caller, CallResult
from nexus_core.engine.calls.prompt_fitting import DEFAULT_RESERVE, merge_options, pack_for, reserve

__all__ = [
    "DEFAULT_RESERVE",
    "Call",
    "CallResult",
    "Caller",
    "EmbedOrRerankRequest",
    "Emit",
    "merge_options",
    "pack_for",
    "reserve",
]
