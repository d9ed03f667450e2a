"""What commands print and files hold: the key, and when it expires."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nexus_core.contract.errors import NotConfiguredError
from nexus_core.toolkit.services.printed_key import read_key

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "expires_at"),
    [
        ("k\n", None),
        ('"k"', None),
        ('{"key": "k"}', None),
        ('{"api_key": " k ", "expires_at": null}', None),
        ('{"access_token": "k", "expires_in": 3600, "token_type": "Bearer"}', 4600.0),
        ('{"accessToken": "k", "expiresOn": "2026-01-31 12:00:00.000000", "expires_on": 1769860800}', NOON),
        ('{"token": "k", "expires_at": "2026-01-31T12:00:00Z"}', NOON),
        ('{"token": "k", "expires_at": "2026-01-31T13:00:00+01:00"}', NOON),
        ('{"token": "k", "expires_at": "1769860800"}', NOON),
        ('{"token": "k", "expiresAt": 1769860800000}', NOON),
        ('{"credential": {"access_token": "k", "token_expiry": "2026-01-31T12:00:00Z"}}', NOON),
        ('{"kind": "ExecCredential", "status": {"token": "k", "expirationTimestamp": "2026-01-31T12:00:00Z"}}', NOON),
    ],
    ids=["text", "json-text", "key", "null", "oauth", "azure", "zulu", "zone", "digits", "milliseconds", "gcloud",
         "kubernetes"],
)  # fmt: skip
def test_key_and_its_end_are_read(text: str, expires_at: float | None) -> None:
    """From each form, at the time 1000."""
    found = read_key(text, "api_key_file", 1000.0)
    assert (found.key, found.expires_at) == ("k", expires_at)
    assert "'k'" not in repr(found)


@pytest.mark.parametrize("text", ["a" * 65536, '["key"]', '{"a":' * 20_000, "[" * 60_000], ids=len)
def test_text_that_is_no_key_is_never_sent(text: str) -> None:
    """Neither what is cut, nor lists, nor JSON without a bottom."""
    with pytest.raises(NotConfiguredError, match="^api_key_command gives"):
        read_key(text, "api_key_command", 0.0)
