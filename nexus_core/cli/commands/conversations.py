"""`nexus conversations`: what is kept of conversations, shown, exported, imported, shared, deleted and let expire."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, TypeVar, cast

import click
from attrs import asdict

from nexus_core.cli.option_types import seconds_above_0
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import print_table
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.contract.errors import UsageError

if TYPE_CHECKING:
    from nexus_core.store.conversations.conversation import Conversation, Rating, Turn
    from nexus_core.store.conversations.stored_conversations import StoredConversations

EPILOG = """\b
Examples:
  nexus run assistant.yaml "Who travels first class?" --conversation monday
  nexus conversations list
  nexus conversations list first class
  nexus conversations show monday --last 3
  nexus conversations rate monday down --comment "Of last year"
  nexus conversations export monday > monday.jsonl
  nexus conversations export --rated --qrels qrels.tsv > queries.jsonl
  nexus conversations import SAVED.jsonl
  nexus conversations share monday --expires 7d
  nexus conversations unshare monday
  nexus conversations delete monday
  nexus conversations expire --idle 30d
  nexus conversations expire --ttl 90d
"""

_EXAMPLE = "30d, 12h or 90m"
_PAGE = 1000
_TITLE = 60
"""Characters of a title that a list shows."""
_T = TypeVar("_T")
_Function = TypeVar("_Function", bound=Callable[..., Any])


@click.group("conversations", epilog=EPILOG)
@store_option
def command() -> None:
    """List, show, rate, export, import, share, delete and expire the conversations of a store.

    `nexus run PIPELINE QUERY --conversation ID` begins one and goes on with it.
    """


def _owner_option(function: _Function) -> _Function:
    return click.option("--owner", metavar="NAME", default="", help="Whose; by default of those who name nobody.")(
        function
    )


@command.command("list")
@click.argument("words", nargs=-1)
@_owner_option
@click.option("--all", "everybody", is_flag=True, help="Those of every owner.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000), help="How many at most.")
@click.option("--json", "as_json", is_flag=True, help="Print them as one JSON array.")
@store_option
def list_them(words: tuple[str, ...], owner: str, everybody: bool, limit: int, as_json: bool) -> None:
    """List conversations, the last changed first.

    With WORDS those whose title, questions or answers have them, together as they are written.
    """
    if words and everybody:
        raise UsageError("the conversations of one owner are searched: leave out --all, or name the owner by --owner")
    sought = " ".join(words)
    if words:
        found = _with(lambda kept: _having(kept, sought, owner, limit))
    else:
        found = _with(lambda kept: kept.list(owner=None if everybody else owner, limit=limit))
    if as_json:
        echo(json.dumps([_conversation_json(each) for each in found], ensure_ascii=False, indent=2))
        return
    if not found:
        none = "There is no conversation yet: `nexus run PIPELINE QUERY --conversation ID` begins one."
        echo(f"No conversation has {sought!r}." if words else none)
        return
    rows = [
        (each.id, each.owner or "-", str(each.turns), _shown(each.changed), _shown(each.expires), _short(each.title))
        for each in found
    ]
    print_table(("id", "owner", "turns", "last turn", "expires", "title"), rows, right=frozenset({2}))


@command.command("show")
@click.argument("id")
@_owner_option
@click.option("--last", metavar="N", type=click.IntRange(min=1), help="Only the last so many turns.")
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object.")
@store_option
def show(id: str, owner: str, last: int | None, as_json: bool) -> None:
    """Show the turns of conversation ID: what was asked, and the answers."""
    conversation, turns = _with(lambda kept: _read(kept, id, owner, last))
    if as_json:
        told = {**_conversation_json(conversation), "turns": [_turn_json(turn) for turn in turns]}
        echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    for turn in turns:
        echo(f"── {turn.number}  {_shown(turn.time)}  {turn.model} ", dim=True)
        echo(turn.query, bold=True)
        echo(turn.answer + "\n")
        if turn.rating is not None:
            echo(f"rated {turn.rating}{f': {turn.comment}' if turn.comment else ''}\n", dim=True)


@command.command("export")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@_owner_option
@click.option("--all", "everybody", is_flag=True, help="Those of every owner.")
@click.option("--rated", is_flag=True, help="Only answers that were rated.")
@click.option(
    "--qrels",
    metavar="FILE",
    type=click.File("w", encoding="utf-8"),
    help="Write there, as relevant for `nexus eval`, which items are cited by answers that were rated up.",
)
@store_option
def export(ids: tuple[str, ...], owner: str, everybody: bool, rated: bool, qrels: TextIO | None) -> None:
    """Print the turns of conversations, or of those named by ID, as JSON Lines, as `nexus eval` reads queries."""
    if ids and everybody:
        raise UsageError("an ID is that of one owner: leave out --all, or name the owner by --owner")
    if qrels is not None:
        qrels.write("query-id\tcorpus-id\tscore\n")

    def write(conversation: Conversation, turns: tuple[Turn, ...]) -> None:
        for turn in turns:
            if turn.rating is not None or not rated:
                echo(json.dumps(_query_json(conversation, turn), ensure_ascii=False))
            if qrels is not None and turn.rating == "up":
                for id in dict.fromkeys(passage.id for passage in turn.passages):
                    qrels.write(f"{turn.run_id}\t{id}\t1\n")

    async def work(kept: StoredConversations) -> None:
        for id in ids:
            write(*await _read(kept, id, owner, None))
        after = None
        while not ids and (page := await kept.list(owner=None if everybody else owner, after=after, limit=_PAGE)):
            for each in page:
                write(*await _read(kept, each.id, each.owner, None))
            after = page[-1].place

    _with(work)


@command.command("import")
@click.argument("file", type=click.File("rb"))
@_owner_option
@click.option("--all", "everybody", is_flag=True, help="Each to the owner that the file names.")
@store_option
def take(file: BinaryIO, owner: str, everybody: bool) -> None:
    """Keep the conversations of FILE (- for stdin): what `export` printed, or the page saved. All or none.

    What is there is never changed: what is the same is left alone, and one whose id another has gets a new id.
    """
    told = _with(
        lambda kept: kept.take(file.read(kept.file_bytes + 1), owner=None if everybody else owner), create=True
    )
    for id, each in told:
        if each is None:
            echo(f"{id}: there already")
        else:
            named = "" if each.id == id else f" as {each.id}, since there is another {id}"
            echo(f"{id}: imported{named}, {each.turns} turn{'s' * (each.turns != 1)}")


@command.command("rate")
@click.argument("id")
@click.argument("rating", type=click.Choice(["up", "down", "none"]))
@click.option("--turn", metavar="N", type=click.IntRange(min=1), help="The number of the turn; by default the last.")
@click.option("--comment", metavar="TEXT", help="Why, in at most 2,000 characters.")
@_owner_option
@store_option
def rate(id: str, rating: str, turn: int | None, comment: str | None, owner: str) -> None:
    """Keep with an answer of conversation ID what you think of it, in place of what was kept; `none` takes it back."""

    async def work(kept: StoredConversations) -> Turn:
        _, turns = await _read(kept, id, owner, 1 if turn is None else None)
        found = next((each for each in turns if turn in (None, each.number)), None)
        if found is None:
            raise UsageError(f"the conversation {id!r} has no turn {turn or 1}: `nexus conversations show` lists them")
        told = cast("Rating | None", None if rating == "none" else rating)
        return await kept.rate(id, found.run_id, told, comment=comment, owner=owner)

    rated = _with(work)
    echo(f"turn {rated.number} of {id} is {'not rated any more' if rated.rating is None else f'rated {rated.rating}'}")


@command.command("share")
@click.argument("id")
@_owner_option
@click.option("--expires", metavar="DURATION", help="How long the link holds, as in 30d; by default until `unshare`.")
@store_option
def share(id: str, owner: str, expires: str | None) -> None:
    """Make a link by which others read conversation ID as it is now, in place of the last one.

    Whoever has it and may use a server of this store reads the turns that are made of what they may see.
    """
    ttl_s = None if expires is None else seconds_above_0(expires, "--expires", _EXAMPLE)
    link, token = _with(lambda kept: kept.links.make(id, owner=owner, ttl_s=ttl_s))
    echo(f"shared#{token}")
    holds = "until `nexus conversations unshare`" if link.expires is None else f"until {_shown(link.expires)}"
    echo(f"Shown this once. Open it at your server's address, as https://HOST/shared#...; it holds {holds}.", err=True)


@command.command("unshare")
@click.argument("id")
@_owner_option
@store_option
def unshare(id: str, owner: str) -> None:
    """End the link to conversation ID at once."""
    ended = _with(lambda kept: kept.links.withdraw(id, owner=owner))
    echo(f"{id} is no longer shared" if ended else f"{id} was not shared")


@command.command("delete")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@_owner_option
@store_option
def delete(ids: tuple[str, ...], owner: str) -> None:
    """Delete conversations with all their turns, for good."""

    async def work(kept: StoredConversations) -> None:
        for id in ids:
            await kept.delete(id, owner=owner)
            echo(f"deleted {id}")

    _with(work)


@command.command("expire")
@click.option("--idle", metavar="DURATION", help="Delete also what had no turn for so long, as in 30d or 12h.")
@click.option(
    "--ttl", metavar="DURATION",
    help="Let conversations begun from now on live so long after their last turn, as in 90d; `never` lets none expire.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
@store_option
def expire(idle: str | None, ttl: str | None, as_json: bool) -> None:
    """Delete the conversations of every owner that have expired."""
    idle_s = None if idle is None else seconds_above_0(idle, "--idle", _EXAMPLE)
    ttl_s = None if ttl in (None, "never") else seconds_above_0(ttl, "--ttl", _EXAMPLE)

    async def work(kept: StoredConversations) -> tuple[int, float | None]:
        if ttl is not None:
            await kept.set_default_ttl(ttl_s)
        return await kept.expire(idle_s=idle_s), await kept.default_ttl()

    count, default = _with(work, create=ttl is not None)
    if as_json:
        echo(json.dumps({"deleted": count, "ttlSeconds": default}))
        return
    lives = "for ever" if default is None else f"for {_largest_unit(default)} after their last turn"
    echo(f"{count} deleted; conversations that are begun from now on live {lives}")


_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def _largest_unit(seconds: float) -> str:
    """Return a time in the largest unit that it is one of."""
    size, name = next((unit for unit in _UNITS if seconds >= unit[0]), _UNITS[-1])
    count = seconds / size
    return f"{count:g} {name}{'s' * (count != 1)}"


def _with(work: Callable[[StoredConversations], Awaitable[_T]], *, create: bool = False) -> _T:
    return with_store(lambda store: work(store.conversations), create=create)


async def _having(kept: StoredConversations, words: str, owner: str, limit: int) -> tuple[Conversation, ...]:
    """Return the conversations that have some words; one search looks at a part of them."""
    found, after = await kept.search(words, owner=owner, limit=limit)
    while after is not None and len(found) < limit:
        more, after = await kept.search(words, owner=owner, after=after, limit=limit - len(found))
        found += more
    return tuple(each.conversation for each in found)


async def _read(
    kept: StoredConversations, id: str, owner: str, last: int | None
) -> tuple[Conversation, tuple[Turn, ...]]:
    conversation = await kept.get(id, owner=owner)
    after = 0 if last is None else max(0, conversation.turns - last)
    found: tuple[Turn, ...] = ()
    while page := await kept.turns(id, owner=owner, after=after, limit=_PAGE):
        found, after = found + page, page[-1].number
    return conversation, found


def _time(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _shown(moment: float | None) -> str:
    return "-" if moment is None else datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M")


def _short(title: str) -> str:
    return title if len(title) <= _TITLE else title[: _TITLE - 1].rstrip() + "…"


def _conversation_json(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "owner": conversation.owner,
        "title": conversation.title,
        "created": _time(conversation.created),
        "changed": _time(conversation.changed),
        "expires": _time(conversation.expires),
        "turnCount": conversation.turns,
    }


def _turn_json(turn: Turn) -> dict[str, Any]:
    return {
        "number": turn.number,
        "runId": turn.run_id,
        "time": _time(turn.time),
        "query": turn.query,
        "response": turn.answer,
        "model": turn.model,
        "rating": turn.rating,
        "comment": turn.comment,
    }


def _query_json(conversation: Conversation, turn: Turn) -> dict[str, Any]:
    return {
        "_id": turn.run_id,
        "text": turn.query,
        "conversation": conversation.id,
        "owner": conversation.owner,
        "title": conversation.title if conversation.is_renamed else None,
        "time": datetime.fromtimestamp(turn.time, UTC).isoformat(timespec="milliseconds"),
        "response": turn.answer,
        "model": turn.model,
        "rating": turn.rating,
        "comment": turn.comment,
        "context": turn.context,
        "passages": [asdict(each) for each in turn.passages],
        "files": [*turn.files],
    }
