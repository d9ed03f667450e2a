"""Links to conversations: made, withdrawn and opened. Whoever opens one needs a key, and sees no more than it shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from nexus_core.contract.errors import UsageError
from nexus_core.server.api.conversations import ASKED, asked_json, no_conversation
from nexus_core.server.errors import Failure
from nexus_core.server.http.app import identity
from nexus_core.server.http.bodies import Parameters, read_json
from nexus_core.server.http.json_schema import COUNT, MOMENT, TEXT, array, checker, closed, or_null
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings
from nexus_core.store.conversations.share_links import ShareLink
from nexus_core.store.store_view import StoreView

_LIFE = {
    "type": "number",
    "exclusiveMinimum": 0,
    "maximum": 1e10,
    "description": "Seconds that it holds; null: for ever.",
}
NEW_LINK = closed({"livesS": or_null(_LIFE)}, name="NewShareLink")
_LINK = {"created": MOMENT, "expires": or_null(MOMENT), "turns": COUNT}
LINK = closed(_LINK, required=tuple(_LINK), name="ShareLink")
LINK_OR_NONE = closed({"link": or_null(LINK)}, required=("link",), name="ShareLinkState")
MADE = closed({"link": LINK, "token": TEXT}, required=("link", "token"), name="MadeShareLink")
_SHARED = {
    "title": TEXT, "created": MOMENT, "expires": or_null(MOMENT), "isPartial": {"type": "boolean"},
    "turns": array(closed(ASKED, required=tuple(ASKED), name="SharedTurn")), "next": or_null(COUNT),
}  # fmt: skip
SHARED = closed(_SHARED, required=tuple(_SHARED), name="SharedConversation")


class SharedApi:
    """Serves conversations to those to whom their owners gave a link."""

    def __init__(self, serving: ServedPipelines, settings: ServerSettings) -> None:
        self._serving = serving
        self._limits = settings.limits
        self._shares = settings.shares
        self._check_new = checker(NEW_LINK)
        self._page = Parameters(
            {
                "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
                "after": {
                    "type": "integer", "minimum": 0, "maximum": 2**62,
                    "description": "Where the next page begins: `next` of the page before.",
                },
            }
        )  # fmt: skip

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        link = "/conversations/{conversationId}/link"
        return [
            Route(
                method="GET", path=link, handler=self.show, scope="query", name="getShareLink",
                summary="Tell whether others can read a conversation of yours by a link.",
                answer=LINK_OR_NONE, errors=(404,),
            ),
            Route(
                method="PUT", path=link, handler=self.make, scope="query", name="makeShareLink",
                summary="Make a link by which others read a conversation of yours as it is now, in place of the last.",
                body=NEW_LINK, answer=MADE, errors=(404, 409),
            ),
            Route(
                method="DELETE", path=link, handler=self.withdraw, scope="query", name="withdrawShareLink",
                summary="End the link to a conversation of yours.", status=204, errors=(404,),
            ),
            Route(
                method="GET", path="/shared/{token}", handler=self.open, scope="any", name="openShareLink",
                summary="Read a conversation that somebody shares, as far as you may see what it is made of.",
                query=self._page.properties, answer=SHARED, errors=(400, 404),
            ),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        """Tell of the link to a conversation."""
        self._check_shares()
        view, name, owner = self._place(request)
        try:
            link = await view.share_link(name, owner)
        except UsageError as error:
            raise no_conversation(name, error) from error
        return web.json_response({"link": None if link is None else _link_json(link)})

    async def make(self, request: web.Request) -> web.Response:
        """Make a link to a conversation; its token is told this once."""
        self._check_shares()
        life = self._check_new(await read_json(request, self._limits)).get("livesS")
        view, name, owner = self._place(request)
        try:
            seen = await view.conversation(name, owner)
        except UsageError as error:
            raise no_conversation(name, error) from error
        if not seen.turns:
            raise Failure(409, "nothing_to_share", "this conversation has no answer yet: ask something in it first")
        link, token = await view.share(name, owner, life)
        return web.json_response({"link": _link_json(link), "token": token})

    async def withdraw(self, request: web.Request) -> web.Response:
        """End the link to a conversation."""
        view, name, owner = self._place(request)
        try:
            await view.withdraw_link(name, owner)
        except UsageError as error:
            raise no_conversation(name, error) from error
        return web.Response(status=204)

    async def open(self, request: web.Request) -> web.Response:
        """Show the next turns of a conversation by a link."""
        self._check_shares()
        asked = self._page.read(request)
        limit, view = asked.get("limit", 100), self._serving.seen_by(identity(request).viewer)
        try:
            found = await view.shared(request.match_info["token"], after=asked.get("after", 0), limit=limit + 1)
        except UsageError as error:
            said = "this link leads to nothing: it is not whole, was withdrawn, or has expired"
            raise Failure(404, "link_not_found", said) from error
        page = found.turns[:limit]
        return web.json_response(
            {
                "title": found.link.title,
                "created": found.link.created,
                "expires": found.link.expires,
                "isPartial": found.is_partial,
                "turns": [asked_json(turn) for turn in page],
                "next": page[-1].number if len(found.turns) > limit else None,
            }
        )

    def _check_shares(self) -> None:
        if not self._shares:
            raise Failure(403, "sharing_off", "this server has no links to conversations: whoever runs it says so")

    def _place(self, request: web.Request) -> tuple[StoreView, str, str]:
        """Return the store as whoever asks sees it, the conversation's id, and whose it is to be."""
        who = identity(request)
        return self._serving.seen_by(who.viewer), request.match_info["conversationId"], who.owner


def _link_json(link: ShareLink) -> dict[str, Any]:
    return {"created": link.created, "expires": link.expires, "turns": link.turns}
