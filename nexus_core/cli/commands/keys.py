"""`nexus keys`: who may ask a server, and how much."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nexus_core.cli.option_types import seconds_above_0
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import print_table
from nexus_core.cli.store_option import store_option, with_store
from nexus_core.contract.errors import UsageError
from nexus_core.store.access.api_keys import ApiKeys

if TYPE_CHECKING:
    from nexus_core.store.access.api_keys import ApiKey

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
    """Make, list, change and revoke the keys of those who may ask `nexus serve`.

    From the first key on, the servers of this store serve nobody without one.
    """


@command.command("new")
@click.option("--owner", required=True, metavar="NAME", help="Whose it is: owners see only their own conversations.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(("query", "read", "admin")), default=("query", "read"),
    show_default=True, help="What it may do; repeatable. `admin` may do all.",
)  # fmt: skip
@click.option("--admin", is_flag=True, help="The same as `--scope admin`: it may do all, and manage keys on the page.")
@click.option("--expires", metavar="DURATION", help="How long it holds, as in 90d or 12h; by default for ever.")
@click.option("--requests-per-minute", type=click.IntRange(min=1), metavar="N", help="By default without a limit.")
@click.option("--tokens-per-minute", type=click.IntRange(min=1), metavar="N", help="By default without a limit.")
@click.option("--concurrency", type=click.IntRange(min=1), default=8, show_default=True, help="Requests at once.")
@click.option("--group", "groups", multiple=True, metavar="group:NAME", help="A group that they are in (repeatable).")
@click.option(
    "--context",
    "contexts",
    multiple=True,
    metavar="NAME",
    help="Bind it to this context: others are not there (repeatable).",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="TAG",
    help="Bind it to items with this tag, or one of several: others are not there (repeatable).",
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
    """Make a key, and print it this once: only its hash is kept.

    It shows what is granted to none, and to one of its groups; with the scope `admin` all there is.
    """
    lives_s = None if expires is None else seconds_above_0(expires, "--expires", "90d, 12h or 30m")
    key, text = _with(
        lambda keys: keys.new(
            owner,
            (*scopes, "admin") if admin else scopes,
            lives_s=lives_s,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            concurrency=concurrency,
            groups=groups,
            contexts=contexts,
            tags=tags,
        ),
        create=True,
    )
    echo(f"key {key.id} of {key.owner}, for {' and '.join(key.scopes)}; it is shown this once:", err=True)
    echo(text)


@command.command("change")
@click.argument("id", metavar="KEY")
@click.option("--group", "groups", multiple=True, metavar="group:NAME", help="A group that they are in (repeatable).")
@click.option("--no-group", is_flag=True, help="They are in no group.")
@click.option("--context", "contexts", multiple=True, metavar="NAME", help="Bind it to this context (repeatable).")
@click.option("--any-context", is_flag=True, help="Bind it to no context.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Bind it to items with this tag (repeatable).")
@click.option("--any-tag", is_flag=True, help="Bind it to no tag.")
@store_option
def change(id: str, groups: tuple[str, ...], contexts: tuple[str, ...], tags: tuple[str, ...], **lifts: bool) -> None:
    """Change what is seen with a key, by the name that `nexus keys list` shows.

    What is named takes the place of what was; the rest stays. Servers of this machine go by it from their next request
    on; what runs already goes on.
    """
    groups_now = _chosen("--group", groups, "--no-group", lifts["no_group"])
    contexts_now = _chosen("--context", contexts, "--any-context", lifts["any_context"])
    tags_now = _chosen("--tag", tags, "--any-tag", lifts["any_tag"])
    if groups_now is None and contexts_now is None and tags_now is None:
        raise UsageError("nothing is to be changed: say --group, --context or --tag, or --no-group and the like")
    _with(lambda keys: keys.change(id, groups=groups_now, contexts=contexts_now, tags=tags_now))
    found = next(key for key in _with(lambda keys: keys.everything()) if key.id == id)
    echo(f"key {found.id} of {found.owner} sees: {_sees(found)}")


def _chosen(option: str, names: tuple[str, ...], lift: str, is_lifted: bool) -> tuple[str, ...] | None:
    """Return what takes the place of a list, nothing in it where it is lifted; `None` where it stays."""
    if names and is_lifted:
        raise UsageError(f"{option} and {lift} contradict each other: leave one out")
    return names if names or is_lifted else None


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as one JSON array.")
@store_option
def list_them(as_json: bool) -> None:
    """List the keys by name: whose they are, and what they may do."""
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
    print_table(("key", "owner", "scopes", "holds", "last used", "sees", "limits"), rows)


@command.command("rotate")
@click.argument("id", metavar="KEY")
@click.option(
    "--overlap", default="24h", show_default=True, metavar="DURATION",
    help="How long the old key goes on; 0s ends it at once.",
)  # fmt: skip
@store_option
def rotate(id: str, overlap: str) -> None:
    """Make a key that may do what KEY may, print it this once, and let KEY end after a while.

    A key that holds for a time is followed by one that holds as long, from now on.
    """
    overlap_s = 0.0 if overlap.strip() in ("0", "0s") else seconds_above_0(overlap, "--overlap", "24h, 7d or 0s")
    key, text, ends = _with(lambda keys: keys.rotate(id, overlap_s=overlap_s))
    said = f"key {key.id} of {key.owner} takes the place of {id}, which holds until {_shown(ends)}"
    echo(f"{said}; it is shown this once:", err=True)
    echo(text)


@command.command("revoke")
@click.argument("ids", metavar="KEY...", nargs=-1, required=True)
@store_option
def revoke(ids: tuple[str, ...]) -> None:
    """Let keys hold no more, for good, by the names that `nexus keys list` shows; servers know at once."""

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
        return "for ever" if key.expires is None else f"until {_shown(key.expires)}"
    return f"expired {_shown(key.expires)}"


def _sees(key: ApiKey) -> str:
    if key.viewer is None:
        return "all"
    told = [*key.groups, *(f"context {name}" for name in key.contexts or ()), *(f"tag {tag}" for tag in key.tags or ())]
    return ", ".join(told) or "what has no grant"


def _limits(key: ApiKey) -> str:
    told = [f"{key.concurrency} at once"]
    if key.requests_per_minute is not None:
        told.append(f"{key.requests_per_minute:,} requests/min")
    if key.tokens_per_minute is not None:
        told.append(f"{key.tokens_per_minute:,} tokens/min")
    return ", ".join(told)


def _shown(moment: float | None) -> str:
    return "-" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")


def _key_json(key: ApiKey) -> dict[str, Any]:
    """Return a key as JSON data; its hash is nobody's business."""
    names = ("id", "owner", "scopes", "created", "expires", "revoked", "used", "requests_per_minute",
             "tokens_per_minute", "concurrency", "groups", "contexts", "tags")  # fmt: skip
    return {name: getattr(key, name) for name in names}
