"""The pipeline of those who have written none: it answers from whichever context of the store it is asked of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

PIPELINE = Path(__file__).with_name("ask.yaml")
KEY = "OPENAI_API_KEY"
_BY_MEANING = "steps[1].rank={use: fuse, rankers: [bm25, semantic]}"
"""The mean nDCG@10 of seven collections is .663 so, and .647 by words alone: see docs/how-to/rankers.md."""
_BY_OPENAI = "steps[3].generate=openai"


def has_key(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a model of OpenAI can be asked."""
    return bool(environment.get(KEY, "").strip())


def ranking() -> tuple[str, ...]:
    """Return what overrides how the pipeline ranks: by meaning, too, where the package for that is installed."""
    return (_BY_MEANING,) if find_spec("wordllama") is not None else ()


def answering() -> tuple[str, ...]:
    """Return what overrides who answers, where nobody says it with each question."""
    return (_BY_OPENAI,) if has_key() else ()
