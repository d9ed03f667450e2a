"""`nexus keys`: who may ask a server, and how much."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nexus_core.cli.option_types import seconds_above_0
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import plain, print_table
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.contract.errors import UsageError
from nexus_core.store.access.api_keys import ApiKeys
from nexus_core.toolkit.suggest import counted, did_you_mean

if TYPE_CHECKING:
    from nexus_core.store.access.api_keys import ApiKey
    from nexus_core.store.store import Store

EPILOG = """\b
Examples:
  nexus keys new --owner ann
  nexus keys new --owner build --scope query --expires 90d --requests-per-minute 60
  nexus keys new --owner eve --group group:hr
  nexus keys new --owner site --scope query --context handbook --tag public
  nexus keys change 4fQx01Zb --group group:hr --any-context
  nexus keys list
  nexus keys rotate 4fQx01Zb --overlap 7d
  nexus keys revoke 4fQx01Zb
"""
_T = TypeVar("_T")


@click.group("keys", epilog=EPILOG)
@store_option
def command() -> None:
    """Create, list, change, rotate and revoke API keys of `nexus serve`.

    As soon as a store has a key, its servers refuse requests without one.
    """


@command.command("new")
@click.option(
    "--owner",
    required=True,
    metavar="NAME",
    help="The person or program that it is for; owners see only their own conversations.",
)
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(("query", "read", "admin")), default=("query", "read"),
    show_default=True, help="What it allows (repeatable); `admin` allows everything.",
)  # fmt: skip
@click.option("--admin", is_flag=True, help="Add the scope `admin`: everything, and managing keys on the page /admin.")
@click.option(
    "--expires", metavar="DURATION", help="How long it is valid, as in 90d or 12h; by default it does not expire."
)
@click.option("--requests-per-minute", type=click.IntRange(min=1), metavar="N", help="No limit by default.")
@click.option("--tokens-per-minute", type=click.IntRange(min=1), metavar="N", help="No limit by default.")
@click.option(
    "--concurrency", type=click.IntRange(min=1), default=8, show_default=True, help="Requests at the same time."
)
@click.option(
    "--group", "groups", multiple=True, metavar="group:NAME", help="A group that the owner is in (repeatable)."
)
@click.option(
    "--context",
    "contexts",
    multiple=True,
    metavar="NAME",
    help="Restrict it to this context; others appear not to exist (repeatable).",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="TAG",
    help="Restrict it to items with this tag; others appear not to exist (repeatable: any of the tags).",
)
@store_option
def new(
    owner: str,
    scopes: tuple[str, ...],
    admin: bool,
    expires: str | None,
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
    concurrency: int,
    groups: tuple[str, ...],
    contexts: tuple[str, ...],
    tags: tuple[str, ...],
) -> None:
    """Create a key and print it, once: only its hash is stored.

    It gives access to what is not restricted to groups, and to what is granted to one of its groups; with the scope
    `admin` to everything.
    """
    lives_s = None if expires is None else seconds_above_0(expires, "--expires", "90d, 12h or 30m")

    async def make(store: Store) -> tuple[ApiKey, str]:
        made = await ApiKeys(store).new(
            owner,
            (*scopes, "admin") if admin else scopes,
            lives_s=lives_s,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            concurrency=concurrency,
            groups=groups,
            contexts=contexts,
            tags=tags,
        )
        await _warn_of_absent(store, contexts)
        return made

    key, text = with_store(make, create=True)
    echo(f"key {key.id} of {key.owner}, for {' and '.join(key.scopes)}; it is shown only once:", err=True)
    echo(text)


@command.command("change")
@click.argument("id", metavar="KEY")
@click.option(
    "--group", "groups", multiple=True, metavar="group:NAME", help="A group that the owner is in (repeatable)."
)
@click.option("--no-group", is_flag=True, help="Remove it from all groups.")
@click.option("--context", "contexts", multiple=True, metavar="NAME", help="Restrict it to this context (repeatable).")
@click.option("--any-context", is_flag=True, help="Do not restrict it to contexts.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Restrict it to items with this tag (repeatable).")
@click.option("--any-tag", is_flag=True, help="Do not restrict it to tags.")
@store_option
def change(id: str, groups: tuple[str, ...], contexts: tuple[str, ...], tags: tuple[str, ...], **lifts: bool) -> None:
    """Change the groups, contexts or tags of KEY.

    KEY is its id in `nexus keys list`. A list that you give replaces the old one; other lists stay. Servers on this
    machine apply the change from their next request on; runs that have begun continue.
    """
    groups_now = _chosen("--group", groups, "--no-group", lifts["no_group"])
    contexts_now = _chosen("--context", contexts, "--any-context", lifts["any_context"])
    tags_now = _chosen("--tag", tags, "--any-tag", lifts["any_tag"])
    if groups_now is None and contexts_now is None and tags_now is None:
        raise UsageError(
            "there is nothing to change: give --group, --context or --tag, or --no-group, --any-context or --any-tag"
        )

    async def bind(store: Store) -> ApiKey:
        keys = ApiKeys(store)
        await keys.change(id, groups=groups_now, contexts=contexts_now, tags=tags_now)
        await _warn_of_absent(store, contexts)
        return next(key for key in await keys.everything() if key.id == id)

    found = with_store(bind)
    echo(f"key {found.id} of {found.owner} has access to: {_sees(found)}")


async def _warn_of_absent(store: Store, names: Sequence[str]) -> None:
    """Say on stderr which of the contexts that a key is bound to are not there: they may be made later."""
    known = {context.name for context in await store.contexts()}
    for name in dict.fromkeys(names):
        if name not in known:
            echo(
                f"warning: there is no context {plain(name)!r} in the store{did_you_mean(name, known)}; until there is,"
                " or a pipeline of this name with sources of its own is served, the key finds nothing there",
                err=True,
            )


def _chosen(option: str, names: tuple[str, ...], lift: str, is_lifted: bool) -> tuple[str, ...] | None:
    """Return what takes the place of a list, nothing in it where it is lifted; `None` where it stays."""
    if names and is_lifted:
        raise UsageError(f"{option} and {lift} contradict each other: leave one out")
    return names if names or is_lifted else None


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as one JSON array.")
@store_option
def list_them(as_json: bool) -> None:
    """List keys with their owners, scopes, access and limits."""
    found = _with(lambda keys: keys.everything())
    if as_json:
        echo(json.dumps([_key_json(key) for key in found], ensure_ascii=False, indent=2))
        return
    if not found:
        echo("There is no key yet: `nexus keys new --owner NAME` makes one.")
        return
    now = time()
    rows = [
        (key.id, key.owner, " ".join(key.scopes), _state(key, now), _shown(key.used), _sees(key), _limits(key))
        for key in found
    ]
    print_table(("key", "owner", "scopes", "expires", "last used", "access", "limits"), rows)


@command.command("rotate")
@click.argument("id", metavar="KEY")
@click.option(
    "--overlap", default="24h", show_default=True, metavar="DURATION",
    help="How long the old key stays valid; 0s ends it at once.",
)  # fmt: skip
@store_option
def rotate(id: str, overlap: str) -> None:
    """Replace KEY by a new key with the same rights.

    The new key is printed once; the old one stays valid for --overlap. Where the old key had a lifetime, the new one
    has the same, counted from now.
    """
    overlap_s = 0.0 if overlap.strip() in ("0", "0s") else seconds_above_0(overlap, "--overlap", "24h, 7d or 0s")
    key, text, ends = _with(lambda keys: keys.rotate(id, overlap_s=overlap_s))
    said = f"key {key.id} of {key.owner} replaces {id}, which is valid until {_shown(ends)}"
    echo(f"{said}; it is shown only once:", err=True)
    echo(text)


@command.command("revoke")
@click.argument("ids", metavar="KEY...", nargs=-1, required=True)
@store_option
def revoke(ids: tuple[str, ...]) -> None:
    """Revoke keys for good, by their ids in `nexus keys list`; servers refuse them at once."""

    async def work(keys: ApiKeys) -> None:
        for id in ids:
            await keys.revoke(id)
            echo(f"revoked {id}")

    _with(work)


def _with(work: Callable[[ApiKeys], Awaitable[_T]], *, create: bool = False) -> _T:
    return with_store(lambda store: work(ApiKeys(store)), create=create)


def _state(key: ApiKey, now: float) -> str:
    if key.revoked is not None:
        return f"revoked {_shown(key.revoked)}"
    if key.holds(now):
        return "never" if key.expires is None else _shown(key.expires)
    return f"expired {_shown(key.expires)}"


def _sees(key: ApiKey) -> str:
    if key.viewer is None:
        return "everything"
    told = [*key.groups, *(f"context {name}" for name in key.contexts or ()), *(f"tag {tag}" for tag in key.tags or ())]
    return ", ".join(told) or "unrestricted only"


def _limits(key: ApiKey) -> str:
    told = [f"{key.concurrency} at once"]
    if key.requests_per_minute is not None:
        told.append(f"{counted(key.requests_per_minute, 'request')}/min")
    if key.tokens_per_minute is not None:
        told.append(f"{counted(key.tokens_per_minute, 'token')}/min")
    return ", ".join(told)


def _shown(moment: float | None) -> str:
    return "-" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")


def _key_json(key: ApiKey) -> dict[str, Any]:
    """Return a key as JSON data; its hash is nobody's business."""
    names = ("id", "owner", "scopes", "created", "expires", "revoked", "used", "requests_per_minute",
             "tokens_per_minute", "concurrency", "groups", "contexts", "tags")  # fmt: skip
    return {name: getattr(key, name) for name in names}
