"""Conversations: each owner's own, read, renamed, rated, deleted; of those of others nobody hears that they exist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from typing import Any

from aiohttp import web
from attrs import asdict

from nexus_core.contract.errors import UsageError
from nexus_core.server.api.response_schemas import PASSAGE
from nexus_core.server.errors import Failure
from nexus_core.server.http.app import identity
from nexus_core.server.http.bodies import Parameters, read_bytes, read_json
from nexus_core.server.http.json_schema import COUNT, MOMENT, TEXT, array, checker, closed, or_null, text
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerLimits
from nexus_core.store.conversations.conversation import COMMENT_CHARACTERS, TITLE_CHARACTERS, Conversation, Turn
from nexus_core.store.conversations.conversation_files import FILE_BYTES, ConversationFileError
from nexus_core.store.conversations.conversation_search import FoundConversation

_TOLD = {
    "id": TEXT, "title": TEXT, "created": MOMENT, "changed": MOMENT, "expires": or_null(MOMENT), "turns": COUNT
}  # fmt: skip
_EXCERPT = {"turn": COUNT, "before": TEXT, "words": TEXT, "after": TEXT}
_FOUND = {
    "description": "Of a search: where the words stand, in the newest turn with them; null where the title has them.",
    **or_null(closed(_EXCERPT, required=tuple(_EXCERPT), name="ConversationExcerpt")),
}
CONVERSATION = closed({**_TOLD, "excerpt": _FOUND}, required=tuple(_TOLD), name="Conversation")
_RATING = or_null({"type": "string", "enum": ["up", "down"]})
ASKED = {
    "number": COUNT, "time": MOMENT, "query": TEXT, "response": TEXT, "model": TEXT, "contextId": or_null(TEXT),
    "contextItems": array(PASSAGE), "files": array(TEXT),
}  # fmt: skip
"""Of a turn what anybody is told who may read it; the passages are those that the answer cites, the files those
that the question was about, by name."""
_VERSION = {**COUNT, "description": "Which of its versions it is: each time that it was asked again made one."}
_TURN = {
    **ASKED, "id": TEXT, "rating": _RATING, "comment": or_null(TEXT), "version": _VERSION, "versions": COUNT
}  # fmt: skip
TURN = closed(_TURN, required=tuple(_TURN), name="ConversationTurn")
_TURNS = array(TURN)
VERSIONS = closed({"versions": _TURNS}, required=("versions",), name="TurnVersions")
RATING = closed(
    {"rating": _RATING, "comment": or_null(text(COMMENT_CHARACTERS))}, required=("rating",), name="TurnRating"
)
TURNS = closed(
    {"conversation": CONVERSATION, "turns": _TURNS, "next": or_null(COUNT)},
    required=("conversation", "turns", "next"),
    name="ConversationTurnPage",
)
LIST = closed(
    {"conversations": array(CONVERSATION), "next": or_null(TEXT)},
    required=("conversations", "next"),
    name="ConversationPage",
)
TAKEN = closed(
    {"conversations": array(CONVERSATION), "unchanged": COUNT},
    required=("conversations", "unchanged"),
    name="ImportedConversations",
)
FILE_TYPES = ("application/octet-stream", "application/jsonl", "text/markdown")
"""The first is what the OpenAPI document tells: those who make clients of it know no others."""
SLOWER = 8
"""A file may take so many times as long to come as another body."""
_NEW_TITLE = "Blank or null: it is called by its first question again."
CHANGE = closed(
    {"title": or_null(text(TITLE_CHARACTERS, description=_NEW_TITLE))},
    required=("title",),
    name="ConversationChange",
)
BRANCH = closed({"turnId": text()}, required=("turnId",), name="ShownVersion")
_SEARCH = (
    "Words as they are, in large or small letters, that the title, a question or an answer has. At most 200"
    " conversations are looked at, of each the newest 500 turns: a page may have fewer than its limit, or none, and a"
    " `next`."
)
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
_NEXT = "Where the next page begins: `next` of the page before."


class ConversationsApi:
    """Serves the conversations of whoever asks."""

    def __init__(self, serving: ServedPipelines, limits: ServerLimits) -> None:
        self._serving = serving
        self._limits = limits
        self._check_change, self._check_rating = checker(CHANGE), checker(RATING)
        self._check_branch = checker(BRANCH)
        search = text(200, description=_SEARCH)
        self._list = Parameters({"limit": _LIMIT, "after": text(100, description=_NEXT), "search": search})
        after = {"type": "integer", "minimum": 0, "maximum": 2**62, "description": _NEXT}
        self._turns = Parameters({"limit": _LIMIT, "after": after})

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        one = "/conversations/{conversationId}"
        return [
            Route(
                method="GET", path="/conversations", handler=self.list, scope="query",
                name="listConversations",
                summary="List your conversations, the last changed first, or those that have some words.",
                query=self._list.properties, answer=LIST, errors=(400,),
            ),
            Route(
                method="POST", path="/conversations", handler=self.take, scope="query",
                name="importConversations",
                summary="Keep conversations out of a file as yours, all or none; none that is there is changed.",
                file_types=FILE_TYPES[:1], answer=TAKEN, errors=(422, 507),
            ),
            Route(
                method="GET", path=one, handler=self.show, scope="query",
                name="getConversation", summary="Show the turns of a conversation of yours, in their order.",
                query=self._turns.properties, answer=TURNS, errors=(400, 404),
            ),
            Route(
                method="PATCH", path=one, handler=self.rename, scope="query",
                name="renameConversation", summary="Give a conversation of yours another title.",
                body=CHANGE, answer=CONVERSATION, errors=(404,),
            ),
            Route(
                method="PUT", path=f"{one}/turns/{{turnId}}/rating", handler=self.rate, scope="query",
                name="rateTurn", summary="Keep with an answer what you think of it; null takes it back.",
                body=RATING, answer=TURN, errors=(404,),
            ),
            Route(
                method="GET", path=f"{one}/turns/{{turnId}}/versions", handler=self.versions, scope="query",
                name="listTurnVersions",
                summary="List the versions of a turn that was asked again, the newest last.",
                answer=VERSIONS, errors=(404,),
            ),
            Route(
                method="PUT", path=f"{one}/branch", handler=self.show_version, scope="query", name="showTurnVersion",
                summary="Go back to a version of a turn: it and what had followed it are the conversation again.",
                body=BRANCH, answer=CONVERSATION, errors=(404,),
            ),
            Route(
                method="DELETE", path=one, handler=self.delete, scope="query",
                name="deleteConversation", summary="Delete a conversation of yours.", status=204, errors=(404,),
            ),
        ]  # fmt: skip

    async def list(self, request: web.Request) -> web.Response:
        """List the next conversations."""
        asked = self._list.read(request)
        limit = asked.get("limit", 100)
        who, after, words = identity(request), _place(asked.get("after")), asked.get("search", "").strip()
        view = self._serving.seen_by(who.viewer)
        if words:
            hits, place = await view.search_conversations(words, who.owner, after=after, limit=limit)
            return web.json_response(
                {"conversations": [_found_json(each) for each in hits], "next": place and _cursor(place)}
            )
        found = await view.conversations(who.owner, after=after, limit=limit + 1)
        page = found[:limit]
        return web.json_response(
            {
                "conversations": [_conversation_json(each) for each in page],
                "next": _cursor(page[-1].place) if len(found) > limit else None,
            }
        )

    async def take(self, request: web.Request) -> web.Response:
        """Keep the conversations of a file."""
        limits, who = self._limits, identity(request)
        if request.content_type not in FILE_TYPES:
            raise Failure(
                415, "unsupported_media_type", f"send the file with one of these types: {', '.join(FILE_TYPES)}"
            )
        data = await read_bytes(request, min(FILE_BYTES, limits.upload_bytes), SLOWER * limits.body_s)
        try:
            found = await self._serving.seen_by(who.viewer).take_conversations(data, who.owner)
        except ConversationFileError as error:
            raise Failure(422, "unreadable_conversations", error.why) from error
        kept = [_conversation_json(each) for _, each in found if each is not None]
        return web.json_response({"conversations": kept, "unchanged": len(found) - len(kept)})

    async def show(self, request: web.Request) -> web.Response:
        """Show the next turns of a conversation."""
        asked = self._turns.read(request)
        limit, who, name = asked.get("limit", 100), identity(request), request.match_info["conversationId"]
        view = self._serving.seen_by(who.viewer)
        try:
            conversation = await view.conversation(name, who.owner)
            found = await view.turns(name, who.owner, after=asked.get("after", 0), limit=limit + 1)
        except UsageError as error:
            raise no_conversation(name, error) from error
        page = found[:limit]
        return web.json_response(
            {
                "conversation": _conversation_json(conversation),
                "turns": [_turn_json(turn) for turn in page],
                "next": page[-1].number if len(found) > limit else None,
            }
        )

    async def rename(self, request: web.Request) -> web.Response:
        """Give a conversation another title."""
        title = self._check_change(await read_json(request, self._limits))["title"]
        name, who = request.match_info["conversationId"], identity(request)
        try:
            changed = await self._serving.seen_by(who.viewer).rename_conversation(name, who.owner, title)
        except UsageError as error:
            raise no_conversation(name, error) from error
        return web.json_response(_conversation_json(changed))

    async def rate(self, request: web.Request) -> web.Response:
        """Keep what is thought of an answer."""
        body = self._check_rating(await read_json(request, self._limits))
        name, turn, who = request.match_info["conversationId"], request.match_info["turnId"], identity(request)
        view = self._serving.seen_by(who.viewer)
        with conversation_absence_told(name):
            await view.conversation(name, who.owner)
        with turn_absence_told(name, turn):
            rated = await view.rate_turn(name, who.owner, turn, body["rating"], body.get("comment"))
        return web.json_response(_turn_json(rated))

    async def versions(self, request: web.Request) -> web.Response:
        """List the versions of a turn."""
        name, turn, who = request.match_info["conversationId"], request.match_info["turnId"], identity(request)
        view = self._serving.seen_by(who.viewer)
        with conversation_absence_told(name):
            await view.conversation(name, who.owner)
        with turn_absence_told(name, turn):
            found = await view.turn_versions(name, who.owner, turn)
        return web.json_response({"versions": [_turn_json(each) for each in found]})

    async def show_version(self, request: web.Request) -> web.Response:
        """Go back to a version of a turn."""
        turn = self._check_branch(await read_json(request, self._limits))["turnId"]
        name, who = request.match_info["conversationId"], identity(request)
        view = self._serving.seen_by(who.viewer)
        with conversation_absence_told(name):
            await view.conversation(name, who.owner)
        with turn_absence_told(name, turn):
            changed = await view.show_version(name, who.owner, turn)
        return web.json_response(_conversation_json(changed))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a conversation."""
        name, who = request.match_info["conversationId"], identity(request)
        try:
            await self._serving.seen_by(who.viewer).delete_conversation(name, who.owner)
        except UsageError as error:
            raise no_conversation(name, error) from error
        return web.Response(status=204)


def no_conversation(name: str, error: UsageError) -> Failure:
    """Return what is told where somebody has no conversation of a name."""
    said = f"there is no conversation {name[:200]!r} of yours, or it has expired"
    return Failure(404, "conversation_not_found", said, words=str(error))


@contextmanager
def conversation_absence_told(name: str) -> Iterator[None]:
    """Raise Failure where whoever asks has no conversation of a name."""
    try:
        yield
    except UsageError as error:
        raise no_conversation(name, error) from error


@contextmanager
def turn_absence_told(name: str, turn: str) -> Iterator[None]:
    """Raise Failure where a conversation has no turn of an id."""
    try:
        yield
    except UsageError as error:
        said = f"the conversation {name[:200]!r} has no turn {turn[:200]!r}"
        raise Failure(404, "turn_not_found", said, words=str(error)) from error


def _cursor(place: tuple[float, int]) -> str:
    changed, key = place
    return f"{changed!r}_{key}"


def _place(cursor: str | None) -> tuple[float, int] | None:
    if cursor is None:
        return None
    changed, _, key = cursor.partition("_")
    try:
        place = float(changed), int(key)
    except ValueError:
        place = (float("nan"), 0)
    if not isfinite(place[0]) or not 0 <= place[1] < 2**62:
        raise Failure(400, "invalid_request", "the parameter 'after' is not what a page gave as its `next`")
    return place


def _conversation_json(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "title": conversation.title,
        "created": conversation.created,
        "changed": conversation.changed,
        "expires": conversation.expires,
        "turns": conversation.turns,
    }


def _found_json(found: FoundConversation) -> dict[str, Any]:
    excerpt = None if found.excerpt is None else asdict(found.excerpt)
    return {**_conversation_json(found.conversation), "excerpt": excerpt}


def _turn_json(turn: Turn) -> dict[str, Any]:
    return {
        **asked_json(turn),
        "id": turn.run_id,
        "rating": turn.rating,
        "comment": turn.comment,
        "version": turn.version,
        "versions": turn.versions,
    }


def asked_json(turn: Turn) -> dict[str, Any]:
    """Return a turn as anybody is told it who may read it."""
    return {
        "number": turn.number,
        "time": turn.time,
        "query": turn.query,
        "response": turn.answer,
        "model": turn.model,
        "contextId": turn.context,
        "contextItems": [asdict(each) for each in turn.passages],
        "files": [*turn.files],
    }
