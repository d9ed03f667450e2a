"""YAML 1.2 scalars, where a word is what it looks like."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, strategies as st

from nexus_core.config.yaml.scalars import resolve

MEANINGS: dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "nil": "nil",
    "true": True, "FALSE": False, "tRUE": "tRUE",
    "yes": "yes", "no": "no", "on": "on", "Off": "Off", "y": "y",
    "0": 0, "-12": -12, "+3": 3, "0x1F": 31, "0o17": 15, "0777": "0777", "-0": 0, "0b1": "0b1", "1_000": "1_000",
    "1.5": 1.5, ".5": 0.5, "1.": 1.0, "1e3": 1000.0, "-1.5E-2": -0.015, "007.5": "007.5", "1.2.3": "1.2.3",
    "12:30": "12:30", "2024-01-01": "2024-01-01", "1e": "1e", "-": "-", "+": "+", ".": ".", "-x": "-x",
    "=": "=", "<<": "<<", "0x": "0x", "18446744073709551615": 2**64 - 1,
}  # fmt: skip


@pytest.mark.parametrize("text", MEANINGS)
def test_resolve_reads_a_word_by_the_core_schema(text: str) -> None:
    """Booleans are true and false; everything that only looks special is text."""
    value = resolve(text)
    assert (type(value), value) == (type(MEANINGS[text]), MEANINGS[text])


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1e999", "9" * 30, "0x" + "f" * 17, "1" * 5000])
def test_resolve_refuses_numbers_nobody_can_use(text: str) -> None:
    """Infinity, not-a-number and whatever does not fit into 64 bits."""
    with pytest.raises(ValueError, match="finite"):
        resolve(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_resolve_reads_every_float_back(number: float) -> None:
    """What Python prints is what YAML reads."""
    assert resolve(repr(number)) == number


@given(st.text(alphabet="+-.0123456789abcdefoxEnT_:~ ", max_size=12))
def test_resolve_never_invents_a_value(text: str) -> None:
    """Any word is text or a finite value, or is refused with the one error."""
    try:
        value = resolve(text)
    except ValueError:
        return
    assert not isinstance(value, float) or math.isfinite(value)
    assert not isinstance(value, str) or value == text
