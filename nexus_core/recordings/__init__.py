"""Recordings: what models were asked and what they answered, in files, to be answered from without a service.

The two entries are imported at first use (PEP 562): a command that may record pays for it only when it does.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_ENTRIES = ("recording_interceptor", "replay_environment")


def __getattr__(name: str) -> Any:
    if name not in _ENTRIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.replayer"), name)
