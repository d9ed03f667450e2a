"""What a ranker may return for scores: any finite numbers in a row, one per item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from math import isfinite, isnan
from typing import Any

from nexus_core.contract.errors import RankerError

_NUMBERS = frozenset({float, int, bool})
_KINDS = "fiub"
"""Of numpy's arrays: floating, signed, unsigned, bool."""


def check_scores(ranker: str, scores: Any, size: int) -> Sequence[float]:
    """Return scores as a sequence of numbers; raises RankerError, with the ranker's name, where they are none."""
    is_array = hasattr(getattr(scores, "dtype", None), "kind")
    column = _array(ranker, scores) if is_array else _numbers(ranker, scores)
    if len(column) != size:
        raise RankerError(f"ranker {ranker!r} returned {len(column)} scores for {size} items")
    # One NaN or infinity shows in the sum; a sum that is too large does so, too, and then each score is looked at.
    total = column.sum(dtype=float) if hasattr(column, "sum") else sum(column)
    if not isfinite(total):
        _check_each(ranker, column)
    return column


def _check_each(ranker: str, column: Sequence[float]) -> None:
    for place, score in enumerate(column):
        if isnan(score):
            raise RankerError(f"ranker {ranker!r} returned NaN for item {place}: a score that is not a number")
        if not isfinite(score):
            raise RankerError(f"ranker {ranker!r} returned {score} for item {place}: a score must be finite")


def check_head(ranker: str, head: Any, size: int) -> bool:
    """Tell that the indices of the best are sound; raises RankerError where a list of them is not.

    One that is worked out as it is read, as rankers of large contexts have it, is taken as it is.
    """
    if isinstance(head, list | tuple) or hasattr(head, "dtype"):
        places = list(head)
        if len({*places}) != len(places) or not all(0 <= place < size for place in places):
            raise RankerError(f"ranker {ranker!r} returned a head that is no choice of {size} items")
    return True


def _array(ranker: str, scores: Any) -> Any:
    if hasattr(scores, "filled"):
        raise RankerError(f"ranker {ranker!r} must return one number per item, not a masked array: fill it")
    if scores.ndim != 1 or scores.dtype.kind not in _KINDS:
        message = f"an array of {scores.dtype} with the shape {scores.shape}"
        raise RankerError(f"ranker {ranker!r} must return one number per item, not {message}")
    return scores


def _numbers(ranker: str, scores: Any) -> Sequence[float]:
    if isinstance(scores, str | bytes | Mapping | Set) or not isinstance(scores, Iterable):
        kind = "nothing" if scores is None else f"a {type(scores).__name__}"
        raise RankerError(f"ranker {ranker!r} must return one number per item, not {kind}")
    column = scores if isinstance(scores, list | tuple) else list(scores)
    if not _NUMBERS.issuperset(map(type, column)):
        try:
            if any(isinstance(score, str | bytes) or hasattr(score, "filled") for score in column):
                raise TypeError("a text or a masked value is no number")
            column = [float(score) for score in column]
        except (TypeError, ValueError, OverflowError) as error:
            raise RankerError(f"ranker {ranker!r} must return one number per item: {error}") from error
    return column
