"""People whom an issuer vouches for: claims into owner and groups, and these into what somebody may do.

Their conversations belong to issuer and subject together. Groups come from one claim; which of them administrate, and
which are let in at all, the settings say at every request, so that a change holds for who is signed in, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from attrs import frozen

from nexus_core.config.policies import RateLimitPolicy
from nexus_core.contract.errors import UsageError
from nexus_core.contract.run_context import NOBODY, Viewer
from nexus_core.server.access.identity import Identity
from nexus_core.server.access.token_verifier import TokenError
from nexus_core.server.errors import Failure
from nexus_core.server.settings import OidcSettings
from nexus_core.store.access.api_keys import CONCURRENCY
from nexus_core.store.records import checked_name, checked_readers

_GROUP = "group:"
_LONGEST_SUBJECT = 255
_LONGEST_NAME = 100
_NAMES = ("preferred_username", "email", "name")
"""The claims by which somebody is called, the first there is."""


@frozen(kw_only=True)
class Person:
    """Somebody whom the issuer knows."""

    owner: str
    """Issuer and subject, as in `https://id.example.com#4711`."""
    name: str
    """What to call them; anybody may have chosen it."""
    groups: tuple[str, ...]
    """As `group:hr`."""


def person_of(claims: Mapping[str, Any], settings: OidcSettings) -> Person:
    """Return whom claims are about; raises TokenError where their subject is no name."""
    subject = claims.get("sub")
    try:
        if not isinstance(subject, str) or len(subject) > _LONGEST_SUBJECT:
            raise UsageError("the subject is no text, or too long")
        # An issuer has no # in it, so no subject of one can be taken for a subject of another.
        owner = checked_name(f"{settings.issuer}#{subject}", "the owner")
    except UsageError as error:
        raise TokenError("the token names nobody (sub)", is_genuine=True) from error
    called = next((told for name in _NAMES if isinstance(told := claims.get(name), str) and told.strip()), subject)
    name = "".join(filter(str.isprintable, called))[:_LONGEST_NAME]
    return Person(owner=owner, name=name, groups=_groups(claim(claims, settings.groups_claim)))


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its name, or by those of the claims that it stands in, with dots between; `None` for none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _groups(told: Any) -> tuple[str, ...]:
    """Return the groups of a claim: a list of texts, or one text. What can be no group's name is passed over."""
    names = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    groups = set[str]()
    for name in names:
        try:
            groups.update(checked_readers((f"{_GROUP}{name}",), "a token") if isinstance(name, str) else ())
        except UsageError:
            continue
    return tuple(sorted(groups - {NOBODY}))


def identity_of(owner: str, groups: tuple[str, ...], settings: OidcSettings) -> Identity:
    """Return who asks, as the settings are now; raises Failure where they are in no group that is let in."""
    ours = frozenset(groups)
    is_admin = not ours.isdisjoint(_GROUP + name for name in settings.admin_groups)
    allowed = [_GROUP + name for name in settings.allowed_groups]
    if allowed and not is_admin and ours.isdisjoint(allowed):
        said = "you are signed in, and in no group that may use this server: ask who runs it"
        raise Failure(403, "not_in_a_group", said)
    scopes = ("query", "read", "admin") if is_admin else ("query", "read")
    return Identity(
        owner=owner,
        scopes=frozenset(scopes),
        # For limits, places and the log, where addresses and names of people have no place.
        key_id=f"oidc-{sha256(owner.encode()).hexdigest()[:12]}",
        limits=RateLimitPolicy(requests_per_minute=None, tokens_per_minute=None, concurrency=CONCURRENCY, queue=0),
        viewer=None if is_admin else Viewer(groups=ours),
        groups=groups,
    )
