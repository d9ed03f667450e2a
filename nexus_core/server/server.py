"""Runs a server until it is told to stop, and lets what has begun come to its end."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import os
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import time
from types import FrameType
from typing import TYPE_CHECKING

from aiohttp import web

from nexus_core.contract.errors import NexusError, UsageError
from nexus_core.engine.pipeline import Pipeline
from nexus_core.server.access.access import AccessControl, Verify
from nexus_core.server.access.identity import Keyring
from nexus_core.server.access.spend_counter import SpendCounter
from nexus_core.server.api.contexts import ContextsApi
from nexus_core.server.api.conversations import ConversationsApi
from nexus_core.server.api.health import HealthApi
from nexus_core.server.api.items import ItemsApi
from nexus_core.server.api.keys import KeysApi
from nexus_core.server.api.metrics import MetricsApi
from nexus_core.server.api.models import ModelsApi
from nexus_core.server.api.queries import QueriesApi
from nexus_core.server.api.runs import RunsApi
from nexus_core.server.api.shared import SharedApi
from nexus_core.server.api.sign_in import SignInApi
from nexus_core.server.api.uploads import UploadsApi
from nexus_core.server.files.received_file import FileReading
from nexus_core.server.http.app import build
from nexus_core.server.http.connections import ConnectionCounter, acceptor
from nexus_core.server.http.listener import ConnectionSlots, Listener, bind
from nexus_core.server.http.openapi import OpenAPI
from nexus_core.server.mcp.mcp_api import McpApi
from nexus_core.server.openai.chat import OpenAIChatApi
from nexus_core.server.openai.citations import AnswerCitations
from nexus_core.server.openai.embeddings import EmbeddingsApi
from nexus_core.server.openai.models import PipelineModels
from nexus_core.server.openai.responses import ResponsesApi
from nexus_core.server.openai.runs import OpenAIRuns
from nexus_core.server.openai.stored_responses import StoredResponsesApi
from nexus_core.server.page.files import PageFiles
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.routes import Route
from nexus_core.server.runs.run_service import RunService
from nexus_core.server.settings import END_S, ServerSettings
from nexus_core.server.warm_up import warm_pipeline, warm_up
from nexus_core.server.workers.file_limits import SPARE, connections_within, make_room
from nexus_core.server.workers.supervisor import outlived
from nexus_core.server.workers.worker_rpc import WorkerRpc
from nexus_core.store.access.api_keys import ApiKeys
from nexus_core.store.access.spend import DailySpend, SpendKind, add_spend, read_spend
from nexus_core.store.store import Store
from nexus_core.toolkit.lazy_module import LazyModule
from nexus_core.toolkit.shared_resources import SharedResources
from nexus_core.toolkit.timers import TimeLimit

if TYPE_CHECKING:
    from nexus_core.server.access import sign_in
    from nexus_core.server.cluster import cluster
else:
    sign_in = LazyModule("nexus_core.server.access.sign_in")  # for servers with an issuer
    cluster = LazyModule("nexus_core.server.cluster.cluster")  # for stores whose database is on a server

_log = logging.getLogger(__name__)


class Server:
    """A server that listens; an async context manager."""

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        store: Store,
        settings: ServerSettings,
        *,
        shared: SharedResources | None = None,
        verify: Verify | None = None,
    ) -> None:
        """Take what is served; `shared` is what the pipelines were loaded with, `verify` says whose a key is.

        By default the store says that.
        """
        self.settings = settings
        self.serving = ServedPipelines(pipelines, store, shared)
        loopback = is_loopback(settings.host)
        keys = ApiKeys(store)
        ring = Keyring(keys, open_without=not needs_keys(settings) and settings.oidc is None, stamp=keys.stamp)
        self.keys = ring if verify is None else None
        verifies = verify if self.keys is None else self.keys.verify
        is_https = bool(settings.certificate or settings.tls_elsewhere)
        self.sign_in: sign_in.SignIn | None = None
        """What lets people of an issuer in, where there is one."""
        if settings.oidc is not None:
            self.sign_in = sign_in.sign_in_with(settings.oidc, settings, store, secure=is_https)
        self.cluster: cluster.ServerCluster | None = None
        """The other servers of the store, where its database is on a server."""
        if store.folder.is_server:
            is_first = settings.worker is None or settings.worker.number == 0
            self.cluster = cluster.ServerCluster(store.folder, self.serving, self._reload, keeps_indexes=is_first)
        self.spend = SpendCounter(partial(_add_spend, store))
        self.gate = AccessControl(
            settings.limits,
            verify=verifies,
            loopback=loopback and not settings.tls_elsewhere,
            scheme="https" if is_https else "http",
            worker=settings.worker,
            sign_in=self.sign_in,
            spend=self.spend,
            leases=None if self.cluster is None else self.cluster.leases,
        )
        self.runs = RunService(self.serving, self.gate, settings)
        self.siblings = WorkerRpc(settings.worker)
        self.models = ModelsApi(self.serving, settings, self.siblings, self.cluster)
        name = settings.name or socket.gethostname()
        self.metrics = MetricsApi(self.serving, self.gate, self.siblings, name, self.cluster)
        self.keys_api = KeysApi(
            ApiKeys(store), self.keys, self.spend, partial(_read_spend, store), settings, self.siblings
        )
        self._slow = TimeLimit(settings.limits.write_s)
        self.mcp = McpApi(self.serving, self.gate, settings, self._slow, self.siblings)
        self._runner: web.AppRunner | None = None
        self._listening: Listener | None = None
        self.port = settings.port
        """The port it listens on, once it does."""

    @property
    def origin(self) -> str:
        """The address it is reached at, without the prefix."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"{'https' if self.settings.certificate else 'http'}://{host}:{self.port}"

    def routes(self) -> list[Route]:
        """Return the table of all routes."""
        openai = PipelineModels(self.serving)
        citations = AnswerCitations(self.serving, self.settings)
        runs = OpenAIRuns(openai, citations, self.gate, self.settings, self._slow)
        reading = FileReading(self.settings.limits)
        parts = (
            QueriesApi(self.serving, self.gate, self.settings, self._slow, self.runs, reading),
            RunsApi(self.serving, self.runs, self.settings, self._slow),
            openai,
            OpenAIChatApi(runs, self.settings),
            ResponsesApi(runs, self.settings, self.runs, self._slow),
            StoredResponsesApi(self.serving, self.runs, self.settings, self._slow),
            EmbeddingsApi(openai, self.gate, self.settings),
            self.mcp,
            self.models,
            ContextsApi(self.serving, self.settings),
            ItemsApi(self.serving, self.settings),
            UploadsApi(self.serving, reading),
            ConversationsApi(self.serving, self.settings.limits),
            SharedApi(self.serving, self.settings),
            self.keys_api,
            SignInApi(self.sign_in, self.gate),
            HealthApi(self.serving, self.gate, self.cluster),
            self.metrics,
            PageFiles(self.settings),
        )
        routes = [route for part in parts for route in part.routes()]
        return [*routes, *OpenAPI(routes, self.settings).routes()]

    def application(self) -> web.Application:
        """Return the application with all routes."""
        application = build(self.routes(), self.gate, self.settings)
        application.middlewares.insert(0, self.metrics.watch)
        return application

    async def __aenter__(self) -> Server:
        """Open what is served, and listen."""
        check_exposure(self.settings)
        await self.serving.__aenter__()
        try:
            await self._check_keys()
            if self.cluster is not None:
                await self.cluster.open(self.gate)
            await self._listen()
            await self.runs.open()
            self.models.recall()  # before the others can tell of a change: an older choice shall not undo it
            await self.siblings.__aenter__()
        except BaseException as error:
            await self.__aexit__(None, None, None)
            if isinstance(error, OSError):
                where = f"{self.settings.host}:{self.settings.port}"
                raise UsageError(f"cannot listen on {where}: {_reason(error)}; choose another --port") from error
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop to listen, let runs come to their end for a while, cut what is left, and close what is served."""
        self.gate.places.is_draining = True
        try:
            if self._listening is not None:
                await self._listening.close()
            await self.gate.drained(self.settings.limits.drain_s)
        finally:
            if self._runner is not None:
                await self._runner.cleanup()
            await self.mcp.close()
            await self.siblings.__aexit__(None, None, None)
            self._slow.close()
            await self.runs.close()
            if self.sign_in is not None:
                await self.sign_in.issuer.__aexit__(None, None, None)
            await self.spend.close()
            if self.cluster is not None:
                await self.cluster.close()
            if self.keys is not None:
                with suppress(NexusError):
                    await self.keys.note_used()
            await self.serving.__aexit__(None, None, None)

    async def _reload(self) -> None:
        await self.models.look_at_files()

    def cut(self) -> None:
        """End all runs at once; their clients are told."""
        self.gate.places.cut()

    async def _check_keys(self) -> None:
        """Refuse to serve without keys where others than this machine's own users could ask."""
        if self.keys is None or not needs_keys(self.settings) or await self.keys.has_keys():
            return
        if self.settings.oidc is not None:  # then nobody is let in without a token or a session
            return
        settings = self.settings
        if settings.require_keys:
            why, instead = "--require-keys is given", "name the right --store"
        elif settings.tls_elsewhere:
            why, instead = "a proxy in front (--i-terminate-tls-elsewhere) brings others", "name the right --store"
        else:
            why = f"whoever reaches {settings.host} could ask"
            instead = "serve this machine alone with --host 127.0.0.1"
        raise UsageError(
            f"the store at {self.serving.store.folder.name} has no keys, and {why}: make one with "
            f"`nexus keys new --owner NAME`, or {instead}"
        )

    async def _listen(self) -> None:
        settings, tls = self.settings, _tls(self.settings)
        # Half of what remains after the runs: aiohttp waits for it twice.
        self._runner = web.AppRunner(
            self.application(), handler_cancellation=True, handle_signals=False, access_log=None, shutdown_timeout=1.0
        )
        await self._runner.setup()
        assert self._runner.server is not None
        most = connections_within(settings.limits)
        make = acceptor(self._runner.server, settings.limits, ConnectionCounter(settings.limits, most=most))
        sockets = await bind(settings.host, settings.port, shared=settings.worker is not None)
        self._listening = Listener(sockets, make, ConnectionSlots(most + SPARE), tls)
        self.port = self._listening.port


async def serve(
    server: Server,
    say: Callable[[str], None],
    reload: Callable[[], Coroutine[object, object, None]] | None = None,
    end_within: Callable[[float], None] | None = None,
    *,
    warms: bool = True,
    show: Callable[[Server], Awaitable[None]] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; a second signal cuts what is left at once. `reload` runs beside it.

    It is ready once the pipelines are warm, and those that are loaded again are served once they are; or at once where
    `warms` is not set. One of several workers also stops when the process that has started them is gone. `end_within`
    is told with each signal how many seconds are left, and is to end the process then, whatever is stuck in it. `show`
    tells a person of the server once it listens.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    signals = 0

    def request_stop() -> None:
        if stop.is_set():
            server.cut()
        stop.set()

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        loop.call_soon_threadsafe(request_stop)
        if end_within is not None:
            end_within(END_S + (server.settings.limits.drain_s if signals == 1 else 0.0))

    # Not by the loop, which may be what is stuck.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, on_signal)
    if short := make_room(server.settings.limits):
        say(short)
    server.serving.is_warm = not warms
    server.serving.prepare = partial(warm_pipeline, server.serving) if warms else None
    async with server:
        _reload_on_hangup(server, loop)
        spare_collector()
        say(f"listening on {server.origin}")
        if server.keys is not None and server.sign_in is None and not await server.keys.has_keys():
            say("there are no keys, so this machine alone is served, and whoever uses it: `nexus keys new` makes one")
        if show is not None:
            await show(server)
        beside = [asyncio.create_task(warm_up(server.serving))] if warms else []
        beside += [] if reload is None else [asyncio.create_task(reload())]
        if server.settings.worker is not None:
            beside.append(asyncio.create_task(outlived(server.settings.worker.parent, partial(on_signal, 0, None))))
        await stop.wait()
        for task in beside:
            task.cancel()
        say("stopping: what has begun may end; again to stop at once")
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)  # all is done: one more signal shall not make a failure of it


def _reload_on_hangup(server: Server, loop: asyncio.AbstractEventLoop) -> None:
    """Take pipelines anew with SIGHUP whose files have changed, here and at the other servers of the store."""
    if server.models.read_files is None or not hasattr(signal, "SIGHUP"):
        return
    orders = set[asyncio.Task[None]]()

    async def reload() -> None:
        try:
            await server.models.order_reload()
        except NexusError as error:
            _log.warning("the other servers are not told to take pipelines anew: %s", error)
            await server.models.look_at_files()

    def begin() -> None:
        orders.add(task := loop.create_task(reload()))
        task.add_done_callback(orders.discard)

    signal.signal(signal.SIGHUP, lambda number, frame: loop.call_soon_threadsafe(begin))


def spare_collector() -> None:
    """Let the collector of cycles look seldom, and never at what has been loaded: a request leaves next to none.

    It takes a sixth of the processor's time of a request otherwise (`tests/bench/relay.py`). The objects of 64 streams
    that come together are some 10,000: with a lower first threshold each such burst stands still for it, for nothing.
    Only the newest objects are looked at before: those of the modules were when they were new, and to look through all
    of them is a tenth of the start.
    """
    gc.collect(0)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def check_exposure(settings: ServerSettings) -> None:
    """Refuse to send keys over a network in the clear; raises UsageError."""
    if bool(settings.certificate) != bool(settings.private_key):
        raise UsageError("TLS needs both files: --certificate and --private-key")
    if not (is_loopback(settings.host) or settings.certificate or settings.tls_elsewhere):
        raise UsageError(
            f"keys would cross the network to {settings.host} in the clear: give --certificate and --private-key, or "
            "--i-terminate-tls-elsewhere where a proxy in front speaks TLS"
        )


def needs_keys(settings: ServerSettings) -> bool:
    """Tell whether others than the users of this machine may reach a server, or keys are asked for anyway."""
    return settings.require_keys or settings.tls_elsewhere or not is_loopback(settings.host)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _add_spend(store: Store, rows: Sequence[DailySpend]) -> None:
    await store.write(add_spend, rows, time())


async def _read_spend(store: Store, kind: SpendKind, since: str) -> Sequence[DailySpend]:
    return await store.read(read_spend, kind, since)


def _reason(error: OSError) -> str:
    """Return why the system does not let us listen: asyncio's own words name the address again."""
    if error.errno is None or isinstance(error, socket.gaierror):
        return str(error.strerror or error)
    return os.strerror(error.errno).lower()


def _tls(settings: ServerSettings) -> ssl.SSLContext | None:
    if not settings.certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An empty password: nobody is there to be asked for one.
        context.load_cert_chain(settings.certificate, settings.private_key, password="")
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{settings.certificate} and {settings.private_key} are no certificate and its private key: {error}"
        ) from error
    return context
