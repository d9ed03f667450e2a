"""Keys and what they spend: made, listed, limited, rotated and revoked by who administrates; and who asks is told."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

from aiohttp import web

from nexus_core.contract.errors import UsageError
from nexus_core.server.access.identity import Keyring
from nexus_core.server.access.spend_counter import SpendCounter
from nexus_core.server.errors import Failure
from nexus_core.server.http.app import identity
from nexus_core.server.http.bodies import Parameters, json_answer, read_json
from nexus_core.server.http.json_schema import COUNT, MOMENT, TEXT, array, checker, closed, or_null, text
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings
from nexus_core.server.workers.worker_rpc import WorkerRpc
from nexus_core.store.access.api_keys import CONCURRENCY, OVERLAP_S, SCOPES, ApiKey, ApiKeys
from nexus_core.store.access.spend import KINDS, DailySpend, SpendKind
from nexus_core.store.usage import checked_day

SPEND_DAYS = 31
"""So many days of spend are told, unless a request names a day."""
_MOST = 2**31 - 1
_LIMIT = or_null({"type": "integer", "minimum": 1, "maximum": _MOST})
_NAMES = array(text(200, minLength=1), maxItems=100)
LIMITS = {
    "requestsPerMinute": _LIMIT,
    "tokensPerMinute": _LIMIT,
    "concurrency": {"type": "integer", "minimum": 1, "maximum": 10_000},
}
_LIFE = {"type": "number", "exclusiveMinimum": 0, "maximum": 1e10, "description": "Seconds that it holds."}
_OVERLAP = {"type": "number", "minimum": 0, "maximum": 1e10, "description": "Seconds that the old key goes on."}
NEW_KEY = closed(
    {
        "owner": text(200, minLength=1), "scopes": array({"enum": [*SCOPES]}, maxItems=3), "livesS": or_null(_LIFE),
        "groups": _NAMES, "contexts": _NAMES, "tags": _NAMES, **LIMITS,
    },
    required=("owner",), name="NewKey",
    example={"owner": "ann", "scopes": ["query", "read"], "requestsPerMinute": 60},
)  # fmt: skip
"""What `POST {prefix}/keys` takes."""
NEW_LIMITS = closed(LIMITS, required=tuple(LIMITS), name="KeyLimits")
VIEW = closed(
    {"groups": _NAMES, "contexts": _NAMES, "tags": _NAMES}, required=("groups", "contexts", "tags"), name="KeyView"
)
"""What `PUT {prefix}/keys/{keyId}/view` takes; an empty list binds to nothing."""
ROTATION = closed({"overlapS": _OVERLAP}, name="KeyRotation")
_MAYBE = or_null(COUNT)
_TEXTS = array(TEXT)
_KEY = {
    "id": TEXT, "owner": TEXT, "scopes": _TEXTS, "created": MOMENT, "expires": or_null(MOMENT),
    "revoked": or_null(MOMENT), "used": or_null(MOMENT), "holds": {"type": "boolean"}, "requestsPerMinute": _MAYBE,
    "tokensPerMinute": _MAYBE, "concurrency": COUNT, "groups": _TEXTS, "contexts": or_null(_TEXTS),
    "tags": or_null(_TEXTS),
}  # fmt: skip
KEY = closed(_KEY, required=tuple(_KEY), name="Key")
KEYS = closed({"keys": array(KEY)}, required=("keys",), name="KeyList")
MADE = closed({"key": KEY, "text": TEXT}, required=("key", "text"), name="MadeKey")
_PREVIOUS = closed({"id": TEXT, "expires": MOMENT}, required=("id", "expires"), name="PreviousKey")
ROTATED = closed(
    {"key": KEY, "text": TEXT, "previous": _PREVIOUS}, required=("key", "text", "previous"), name="RotatedKey"
)
_SPEND = {
    "day": TEXT, "name": TEXT, "requests": COUNT, "promptTokens": COUNT, "completionTokens": COUNT,
    "unreported": COUNT, "cost": or_null({"type": "number"}), "unpriced": COUNT,
}  # fmt: skip
_DAY = closed(_SPEND, required=tuple(_SPEND), name="DailySpend")
SPEND = closed({"spend": array(_DAY)}, required=("spend",), name="SpendReport")
_WHO = {"owner": TEXT, "keyId": TEXT, "scopes": _TEXTS, "groups": _TEXTS, "mayShare": {"type": "boolean"}}
WHO = closed(_WHO, required=tuple(_WHO), name="Caller")

ReadSpend = Callable[[SpendKind, str], Awaitable[Sequence[DailySpend]]]
_log = logging.getLogger(__name__)


class KeysApi:
    """Manages the keys of the store; what is changed here holds in all workers of this server at once."""

    def __init__(
        self,
        keys: ApiKeys,
        keyring: Keyring | None,
        spend: SpendCounter,
        read_spend: ReadSpend,
        settings: ServerSettings,
        siblings: WorkerRpc,
    ) -> None:
        self._keys = keys
        self._keyring = keyring
        self._spend = spend
        self._read_spend = read_spend
        self._settings = settings
        self._siblings = siblings
        self._new, self._limits, self._rotation, self._view = map(checker, (NEW_KEY, NEW_LIMITS, ROTATION, VIEW))
        since = text(10, description=f"The first day, as in 2026-11-23; by default {SPEND_DAYS} days ago.")
        self._about = Parameters({"by": text(10, enum=[*KINDS]), "since": since})
        siblings.on("keys", lambda _: self._renew())
        siblings.on("spend", lambda _: self._spend.flush())

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="GET", path="/identity", handler=self.tell_who, scope="any",
                name="getCaller", summary="Tell who asks: the owner, and what they may do.", answer=WHO,
            ),
            Route(
                method="GET", path="/keys", handler=self.list, scope="admin",
                name="listKeys", summary="List all keys, the oldest first; never what opens anything.", answer=KEYS,
            ),
            Route(
                method="POST", path="/keys", handler=self.make, scope="admin", status=201,
                name="createKey",
                summary="Make a key: its whole text is in this answer and nowhere else.", body=NEW_KEY, answer=MADE,
            ),
            Route(
                method="DELETE", path="/keys/{keyId}", handler=self.revoke, scope="admin", status=204,
                name="revokeKey", summary="Let a key hold no more, for good.", errors=(404,),
            ),
            Route(
                method="POST", path="/keys/{keyId}/rotate", handler=self.rotate, scope="admin", status=201,
                name="rotateKey",
                summary="Make a key that may do the same, and let the old one end after a while.", body=ROTATION,
                answer=ROTATED, errors=(404, 409),
            ),
            Route(
                method="PUT", path="/keys/{keyId}/limits", handler=self.limit, scope="admin", status=204,
                name="setKeyLimits", summary="Give a key other limits.", body=NEW_LIMITS, errors=(404,),
            ),
            Route(
                method="PUT", path="/keys/{keyId}/view", handler=self.change_view, scope="admin", status=204,
                name="setKeyView",
                summary="Put a key into other groups, and bind it to other contexts and tags.", body=VIEW,
                errors=(404,),
            ),
            Route(
                method="GET", path="/spend", handler=self.spend, scope="admin",
                name="getSpend",
                summary="Tell what keys, owners or groups have used, day by day.", query=self._about.properties,
                answer=SPEND, errors=(400,),
            ),
        ]  # fmt: skip

    async def tell_who(self, request: web.Request) -> web.Response:
        """Tell who asks."""
        who = identity(request)
        scopes = [scope for scope in SCOPES if scope in who.scopes]
        may_share = self._settings.shares and not who.scopes.isdisjoint(("query", "admin"))
        told = {"owner": who.owner, "keyId": who.key_id, "scopes": scopes, "groups": [*who.groups]}
        return json_answer({**told, "mayShare": may_share})

    async def list(self, request: web.Request) -> web.Response:
        """List the keys."""
        now = time()
        return json_answer({"keys": [_key_json(key, now) for key in await self._keys.everything()]})

    async def make(self, request: web.Request) -> web.Response:
        """Make a key."""
        body = self._new(await read_json(request, self._settings.limits))
        try:
            key, whole = await self._keys.new(
                body["owner"],
                body.get("scopes", ("query", "read")),
                lives_s=body.get("livesS"),
                requests_per_minute=body.get("requestsPerMinute"),
                tokens_per_minute=body.get("tokensPerMinute"),
                concurrency=body.get("concurrency", CONCURRENCY),
                groups=body.get("groups", ()),
                contexts=body.get("contexts", ()),
                tags=body.get("tags", ()),
            )
        except UsageError as error:
            raise Failure(400, "invalid_request", "no such key can be made", words=str(error)) from error
        await self._tell_all()
        return json_answer({"key": _key_json(key, time()), "text": whole}, status=201)

    async def revoke(self, request: web.Request) -> web.Response:
        """Revoke a key."""
        await self._check_there(request)
        await self._keys.revoke(request.match_info["keyId"])
        await self._tell_all()
        return web.Response(status=204)

    async def rotate(self, request: web.Request) -> web.Response:
        """Make a key in the place of another."""
        body = self._rotation(await read_json(request, self._settings.limits))
        old = await self._check_there(request)
        try:
            key, whole, ends = await self._keys.rotate(old.id, overlap_s=body.get("overlapS", OVERLAP_S))
        except UsageError as error:
            raise Failure(409, "key_ended", "no key takes the place of this one", words=str(error)) from error
        await self._tell_all()
        made = {"key": _key_json(key, time()), "text": whole, "previous": {"id": old.id, "expires": ends}}
        return json_answer(made, status=201)

    async def limit(self, request: web.Request) -> web.Response:
        """Give a key other limits."""
        body = self._limits(await read_json(request, self._settings.limits))
        await self._check_there(request)
        await self._keys.limit(
            request.match_info["keyId"],
            requests_per_minute=body["requestsPerMinute"],
            tokens_per_minute=body["tokensPerMinute"],
            concurrency=body["concurrency"],
        )
        await self._tell_all()
        return web.Response(status=204)

    async def change_view(self, request: web.Request) -> web.Response:
        """Change what may be seen with a key."""
        body = self._view(await read_json(request, self._settings.limits))
        await self._check_there(request)
        try:
            await self._keys.change(request.match_info["keyId"], **body)
        except UsageError as error:
            raise Failure(400, "invalid_request", "the key cannot be changed so", words=str(error)) from error
        await self._tell_all()
        return web.Response(status=204)

    async def spend(self, request: web.Request) -> web.Response:
        """Tell what was used."""
        asked = self._about.read(request)
        first = (datetime.now(UTC).date() - timedelta(days=SPEND_DAYS)).isoformat()
        try:
            since = checked_day(asked.get("since", first))
        except UsageError as error:
            raise Failure(400, "invalid_request", "this is no day", words=str(error)) from error
        await self._spend.flush()
        await self._siblings.ask("spend", needs_all=False)
        rows = await self._read_spend(asked.get("by", "key"), since)
        return json_answer({"spend": [_spend_json(row) for row in rows]})

    async def _check_there(self, request: web.Request) -> ApiKey:
        id = request.match_info["keyId"]
        found = next((key for key in await self._keys.everything() if key.id == id), None)
        if found is None:
            raise Failure(404, "key_not_found", f"there is no key {id[:80]!r}")
        return found

    async def _tell_all(self) -> None:
        """Let all workers know what has changed; where one does not answer, it knows within some seconds anyway."""
        await self._renew()
        try:
            await self._siblings.ask("keys", needs_all=False)
        except Failure as failure:
            _log.warning("not all workers know yet that keys have changed: %s", failure)

    async def _renew(self) -> None:
        if self._keyring is not None:
            await self._keyring.renew()


def _key_json(key: ApiKey, now: float) -> dict[str, Any]:
    """Return a key as it is told; its hash is nobody's business."""
    return {
        "id": key.id,
        "owner": key.owner,
        "scopes": [*key.scopes],
        "created": key.created,
        "expires": key.expires,
        "revoked": key.revoked,
        "used": key.used,
        "holds": key.holds(now),
        "requestsPerMinute": key.requests_per_minute,
        "tokensPerMinute": key.tokens_per_minute,
        "concurrency": key.concurrency,
        "groups": [*key.groups],
        "contexts": None if key.contexts is None else [*key.contexts],
        "tags": None if key.tags is None else [*key.tags],
    }


def _spend_json(row: DailySpend) -> dict[str, Any]:
    return {
        "day": row.day,
        "name": row.name,
        "requests": row.requests,
        "promptTokens": row.prompt_tokens,
        "completionTokens": row.completion_tokens,
        "unreported": row.unreported,
        "cost": row.known_cost,
        "unpriced": row.unpriced,
    }
