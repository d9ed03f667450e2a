"""Waits that are told in the bodies of errors: in fields, and in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from nexus_core.toolkit import read_error_body

SENTENCES: dict[str, float | None] = {
    "Please try again in 34.2s.": 34.2,
    "Please retry in 34.2s.": 34.2,
    "Please try again in 6m0s. Visit the page for more.": 360,
    "try again in 7m12.5s": 432.5,
    "try again in 20ms": 0.02,
    "Please retry after 26 seconds.": 26,
    "Retry after 60 seconds": 60,
    "Please wait 12 seconds before retrying.": 12,
    "try again after 1 seconds": 1,
    "Try again in 1 hour and 2 minutes": 3720,
    "retry in 1h2m3s": 3723,
    "Please try again in about 3 minutes": 180,
    "Limit resets in 45 seconds": 45,
    "available again in 2 days": 172800,
    "Retry-After: 90 minutes": 5400,
    "please try again later": None,
    "try again in a moment": None,
    "try again in 0s": None,
    "The answer took 5 s": None,
    "Limit 30 requests per minute": None,
}


@pytest.mark.parametrize(("said", "seconds"), SENTENCES.items())
def test_a_wait_is_read_from_words(said: str, seconds: float | None) -> None:
    """In every unit, and only where it is said to wait."""
    assert read_error_body({"error": {"message": said}}).retry_after_s == (
        None if seconds is None else pytest.approx(seconds)
    )


@pytest.mark.parametrize(
    ("payload", "seconds"),
    [
        ({"error": {"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.2s"}]}}, 34.2),
        ({"error": {"details": [{"retryDelay": {"seconds": 34, "nanos": 200000000}}]}}, 34.2),
        ({"error": {"retry_after": 20}}, 20),
        ({"retry_after_ms": 1500}, 1.5),
        ({"retryAfter": "2m"}, 120),
        ({"error": {"type": "usage_limit_reached", "resets_in_seconds": 86400}}, 86400),
        ({"error": {"metadata": {"headers": {"Retry-After": "7"}}}}, 7),
        ({"error": "loading", "estimated_time": 20.5}, 20.5),
        ({"retry_after": "soon"}, None),
        ({"retry_after": -5}, None),
        ({"retry_after": float("nan")}, None),
        ({"retry_after": True}, None),
        ({"resets_at": 1}, None),
    ],
)
def test_a_wait_is_read_from_fields(payload: Any, seconds: float | None) -> None:
    """Seconds, milliseconds, durations and moments; what is no time to wait counts as not told."""
    assert read_error_body(payload).retry_after_s == (None if seconds is None else pytest.approx(seconds))


@given(
    st.sampled_from(["Please try again in {}.", "Please retry in {}", "retry after {}", "wait {} and try anew"]),
    st.integers(0, 23), st.integers(0, 59), st.integers(1, 59),
    st.sampled_from(["{}h{}m{}s", "{} hours {} minutes {} seconds"]),
)  # fmt: skip
def test_durations_in_words_are_summed(said: str, hours: int, minutes: int, seconds: int, form: str) -> None:
    """However a service writes them."""
    told = read_error_body({"error": said.format(form.format(hours, minutes, seconds))}).retry_after_s
    assert told == pytest.approx(3600 * hours + 60 * minutes + seconds)
