"""`nexus serve`: pipelines over HTTP."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click
from attrs import astuple

from nexus_core.cli.event_loop import run_steadily
from nexus_core.cli.oidc_options import oidc_of, oidc_options
from nexus_core.cli.option_types import SectionedCommand, SectionedOption, duration, named_paths, size
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.log_format import write_log
from nexus_core.cli.output.serve_screen import show_server
from nexus_core.cli.run_options import KEY, PIPELINE, answering, has_key, programs_option, ranking
from nexus_core.cli.store_option import store_option, without_store
from nexus_core.contract.errors import UsageError
from nexus_core.server.pipelines import load, load_all, pipeline_files
from nexus_core.server.reload import PipelineReloader
from nexus_core.server.server import Server, serve
from nexus_core.server.settings import OidcSettings, ServerLimits, ServerSettings, WorkerSettings
from nexus_core.server.workers.supervisor import check_workers, run_workers
from nexus_core.store.database.damage_sampling import refuse_damaged
from nexus_core.store.store import Store
from nexus_core.toolkit.lazy_module import LazyModule
from nexus_core.toolkit.processes.environment import module_command
from nexus_core.toolkit.processes.limits import end_within
from nexus_core.toolkit.shared_resources import SharedResources

if TYPE_CHECKING:
    from nexus_core.cli import context_sync
else:
    context_sync = LazyModule("nexus_core.cli.context_sync")  # it brings what reads documents, for --sync alone

EPILOG = """\b
Examples:
  nexus serve
  nexus serve assistant.yaml --port 8080
  nexus serve . --prefix /ask/v1 --reload
  nexus serve --host 0.0.0.0 --i-terminate-tls-elsewhere
  nexus serve --sync 15m
  nexus serve --oidc-issuer https://id.example.com --oidc-client-id nexus --oidc-admin-group it
  nexus serve --runs 200 --waiting 400 --run-timeout 2m --drain 1m
"""
DEFAULT = "pipelines"
LIMITS = ("running", "waiting", "connections", "upload_bytes", "read_s", "resume_s", "drain_s")
"""The fields of `Limits` that are options; `connections_per_address` depends on whether a proxy is in front."""


_Function = TypeVar("_Function", bound=Callable[..., Any])
_Beside = Callable[[], Coroutine[object, object, None]]


def _worker(
    context: click.Context, option: click.Parameter, told: tuple[int, int, int, int, str] | None
) -> WorkerSettings | None:
    if told is None:
        return None
    number, count, parent, file, folder = told
    return WorkerSettings(number=number, count=count, parent=parent, file=file, folder=folder)


def _address(context: click.Context, option: click.Parameter, told: str) -> str:
    parts = urlsplit(told)
    if told and (parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment):
        raise click.BadParameter(f"{told!r} is no address of a page: write it as in https://nexus.example.com")
    return told.rstrip("/")


def _limit(*names: str, **more: Any) -> Callable[[_Function], _Function]:
    about = {"section": "Limits (of each worker)", "metavar": "N", "show_default": True}
    return click.option(*names, cls=SectionedOption, **{**about, **more})


@click.command("serve", cls=SectionedCommand, epilog=EPILOG)
@click.argument("pipelines", nargs=-1, callback=named_paths)
@click.option(
    "--name", default="", envvar="NEXUS_SERVER_NAME", metavar="NAME",
    help="The name of this server in /metrics; by default the host name of the machine.",
)  # fmt: skip
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on; any but this machine's own needs keys.",
)
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port to listen on; 0 chooses a free one.",
)
@click.option("--prefix", default="/api", show_default=True, help="The path prefix of the query API.")
@click.option("--reload", "reloads", is_flag=True, help="Load pipelines again when their files change.")
@click.option(
    "--sync", "sync_s", default=None, callback=duration("10s", "365d"), metavar="DURATION",
    help="Update contexts from their sources at this interval, such as 15m.",
)  # fmt: skip
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that share the port."
)
@click.option("--certificate", default="", metavar="FILE", help="The TLS certificate chain (PEM): serve HTTPS.")
@click.option("--private-key", default="", metavar="FILE", help="The private key of the certificate (PEM).")
@click.option("--i-terminate-tls-elsewhere", "tls_elsewhere", is_flag=True, help="A proxy in front terminates TLS.")
@click.option(
    "--public-url", default="", callback=_address, metavar="URL", envvar="NEXUS_PUBLIC_URL",
    help="The public address of the page, if browsers use another one than the server sees.",
)  # fmt: skip
@click.option("--require-keys", is_flag=True, help="Require a key of every request, also from this machine.")
@click.option(
    "--show-upstream-errors", is_flag=True, help="Show the error messages of services and plugins to all clients."
)
@click.option("--show-reasoning", is_flag=True, help="Send the reasoning of models to clients of OpenAI's API.")
@click.option(
    "--list-sources", is_flag=True, help="Append the cited sources to the answer's text, for clients of OpenAI's API."
)
@click.option(
    "--no-sharing", "shares", is_flag=True, default=True, flag_value=False,
    help="Let nobody read conversations of others by links, also by those that were made before.",
)  # fmt: skip
@click.option(
    "--no-warm-up", "warms", is_flag=True, default=True, flag_value=False,
    help="Be ready at once: then first questions wait for what they need to be opened and loaded.",
)  # fmt: skip
@click.option("--worker", type=(int, int, int, int, str), hidden=True, callback=_worker, help="What a worker is told.")
@programs_option
@store_option
@oidc_options
@_limit("--runs", "running", default=64, type=click.IntRange(1, 10_000), help="Concurrent runs.")
@_limit("--waiting", default=128, type=click.IntRange(0, 100_000), help="Runs that may wait in the queue.")
@_limit("--connections", default=1024, type=click.IntRange(1, 100_000), help="Open connections.")
@_limit(
    "--connections-per-address", default=None, type=click.IntRange(0, 100_000),
    show_default="32; none behind a proxy", help="Open connections from one remote address; 0 is no such limit.",
)  # fmt: skip
@_limit(
    "--upload-limit", "upload_bytes", default="32MiB", callback=size("1KiB", "4GiB"), metavar="SIZE",
    help="Size of a request with files.",
)  # fmt: skip
@_limit(
    "--upload-timeout", "read_s", default="2m", callback=duration("1s", "24h"), metavar="DURATION",
    help="Time to read the files of a request into items.",
)  # fmt: skip
@_limit(
    "--run-timeout", "deadline_s", default="10m", callback=duration("1s", "24h"), metavar="DURATION",
    help="Time limit of a run.",
)  # fmt: skip
@_limit(
    "--resume", "resume_s", default="30s", callback=duration("0s", "1h"), metavar="DURATION",
    help="How long a stream without its client can be resumed; 0s ends it at once.",
)  # fmt: skip
@_limit(
    "--drain", "drain_s", default="25s", callback=duration("0s", "1h"), metavar="DURATION",
    help="How long runs may take to finish after SIGTERM.",
)  # fmt: skip
def command(
    pipelines: Sequence[str], reloads: bool, workers: int, sync_s: float | None, warms: bool,
    programs: tuple[str, ...], **given: Any,
) -> None:  # fmt: skip
    """Serve PIPELINES, YAML files or folders of them, by default the folder `pipelines`.

    If there is no such folder, it serves the pipeline of `nexus ask` over every context of the store.

    All pipelines are checked first; if any has a problem, the server does not start. Without keys (`nexus keys new`)
    only requests from this machine are served. Limits of keys apply to all workers together.
    """
    settings = settings_of(**given)
    paths, overrides = chosen_pipelines(pipelines)
    write_log()
    if settings.worker is None:  # one look is enough for all workers, and for those that are started again
        refuse_damaged(Store().folder)
    if workers > 1:
        check_workers(settings.port)
        load_all(pipeline_files(paths), Store(), SharedResources(programs=programs), overrides=overrides)
        sys.exit(run_workers(workers, _worker_command, drain_s=settings.limits.drain_s))
    shared = SharedResources(programs=programs)
    serving = _serve(paths, overrides, settings, shared, reloads=reloads, sync_s=sync_s, warms=warms)
    run_steadily(serving)


def chosen_pipelines(named: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the files and folders that are served, and what is overridden in them; the default pipeline is told of."""
    if named or Path(DEFAULT).exists():
        return named or (DEFAULT,), ()
    who = (
        "a model of OpenAI answers"
        if has_key()
        else f"it quotes, offline (no {KEY}, and no `nexus secrets set openai`)"
    )
    _say(f"there is no folder {DEFAULT} here, so the pipeline of `nexus ask` is served: {who}")
    return (str(PIPELINE),), (*ranking(), *answering())


def settings_of(*, prefix: str, connections_per_address: int | None, **given: Any) -> ServerSettings:
    """Return what the options say; raises UsageError where they cannot be meant."""
    if not prefix.startswith("/") or prefix.endswith("/"):
        raise UsageError(f"the prefix {prefix!r} must begin with a slash and not end with one, as in /api")
    if connections_per_address is None:
        connections_per_address = 0 if given["tls_elsewhere"] else ServerLimits().connections_per_address
    oidc = oidc_of(given)
    limits = ServerLimits(connections_per_address=connections_per_address, **{name: given.pop(name) for name in LIMITS})
    return ServerSettings(prefix=prefix, limits=limits, oidc=oidc, **given)


def _worker_command(worker: WorkerSettings) -> Sequence[str]:
    """Return the command of one of several workers: of --workers the last one holds."""
    told = map(str, astuple(worker))
    return module_command("nexus_core", *without_store(sys.argv[1:]), "--workers", "1", "--worker", *told)


async def _serve(
    paths: Sequence[str],
    overrides: Sequence[str],
    settings: ServerSettings,
    shared: SharedResources,
    *,
    reloads: bool,
    sync_s: float | None,
    warms: bool,
) -> None:
    store = Store()
    again = partial(load, store=store, shared=shared, overrides=overrides)
    loaded = load_all(pipeline_files(paths), store, shared, overrides=overrides)
    server = Server({pipeline.name: pipeline for pipeline in loaded.values()}, store, settings, shared=shared)
    for file, pipeline in loaded.items():
        _say(f"serving {pipeline.name} ({file}): {pipeline.description or 'no description'}")
    _say(f"the store is {store.folder.name}")
    if settings.oidc is not None:
        _say(_accepts(settings.oidc, settings.public_url))
    reloader = PipelineReloader(paths, loaded, server, again, _say)
    server.models.read_files = reloader.look
    beside: list[_Beside] = [reloader.run] if reloads else []
    if sync_s is not None and (settings.worker is None or settings.worker.number == 0):
        beside.append(partial(context_sync.serve_sync, store, sync_s, _say))
    names = {pipeline.name: file for file, pipeline in loaded.items()}
    # Workers are told of by the lines of their log: there would be a screen of each.
    show = partial(show_server, files=names) if settings.worker is None else None
    await serve(server, _say, partial(_together, beside) if beside else None, end_within, warms=warms, show=show)


def _accepts(oidc: OidcSettings, public_url: str) -> str:
    """Return whose tokens are accepted, and what is to be registered there so that people can sign in."""
    back = f"; the redirect URI is {public_url}/auth/callback" if public_url else ""
    return f"accepting tokens of {oidc.issuer}" + (f", and sign-in{back}" if oidc.client_id else "")


async def _together(work: Sequence[_Beside]) -> None:
    await asyncio.gather(*(each() for each in work))


def _say(text: str) -> None:
    echo(text, err=True)
