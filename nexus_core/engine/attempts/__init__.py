"""Retry, wait, fallback, breaker, limits and the ledger: nothing else in the project tries anything twice."""

from __future__ import annotations

from nexus_core.engine.attempts.attempts import Answered, Attempts
from nexus_core.engine.attempts.call import Asked, Call, Emit
from nexus_core.engine.attempts.fitting import DEFAULT_RESERVE, merge_options, pack_for, reserve

__all__ = ["DEFAULT_RESERVE", "Answered", "Asked", "Attempts", "Call", "Emit", "merge_options", "pack_for", "reserve"]
