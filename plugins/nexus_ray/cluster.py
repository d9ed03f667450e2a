"""Ray clusters: connect to one that is there, or start one on this machine for one batch, and end it afterwards.

One that is started here listens on the loopback interface alone, asks every connection for a secret token, reports no
statistics of usage and has no dashboard. Its files are in a folder of its own, which goes with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from shutil import rmtree
from tempfile import gettempdir, mkdtemp
from typing import Any

from attrs import define

from nexus_core import NexusError, PluginError, UsageError
from nexus_ray import versions

_log = logging.getLogger(__name__)

_OBJECT_STORE = 100 * 2**20
_LONGEST_FOLDER = 30
"""Characters: the paths of sockets below it may have about 100."""
_PROBE_S = 60.0
_REACH_S = 10.0
_LOOPBACK = ("127.0.0.1", "localhost")


def require_ray() -> None:
    """Raise PluginError where Ray is not installed; imports nothing, since Ray reads its environment at import."""
    if find_spec("ray") is None:
        raise PluginError("the engine `ray` needs Ray: pip install 'contextnexus[ray]'")


@define(eq=False)
class RayCluster:
    """A cluster that this process is connected to."""

    ray: Any
    folder: str | None
    """Of a local cluster, which ends with the batch."""
    environment: Mapping[str, str | None]
    """What stood in the environment before."""
    thread: ThreadPoolExecutor
    """Starts and ends Ray: Linux kills the processes of a local cluster when the thread that has started them ends."""

    @classmethod
    async def connect(cls, address: str | None, cpus: int) -> RayCluster:
        """Connect to the cluster at an address, or start one with so many CPUs; raises UsageError."""
        if address is not None and "://" in address:
            raise UsageError(
                f"--ray-address {address}: give HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or `auto` on "
                "a machine of the cluster; clients of Ray (ray://) are not supported"
            )
        folder = _make_folder() if address is None else None
        environment = {"RAY_USAGE_STATS_ENABLED": "0"}
        if address is None:
            environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        cluster = cls(None, folder, before, ThreadPoolExecutor(1, "nexus-ray"))
        try:
            cluster.ray = import_module("ray")
            # In a thread: it takes seconds, and Ray leaves the signals of the main thread alone.
            await asyncio.get_running_loop().run_in_executor(cluster.thread, cluster._initialize, address, cpus)
        except BaseException:
            await cluster.close()
            raise
        return cluster

    def _initialize(self, address: str | None, cpus: int) -> None:
        settings: dict[str, Any] = {"address": address}
        if address is not None and ":" in address:
            _reach(address)
        if address is None or address.partition(":")[0] in _LOOPBACK:
            constants: Any = import_module("ray._private.ray_constants")
            constants.ENABLE_RAY_CLUSTER = False  # or it uses all interfaces
        if self.folder is not None:
            settings = {
                "address": "local",
                "num_cpus": cpus,
                "num_gpus": 0,
                "object_store_memory": _OBJECT_STORE,
                "include_dashboard": False,
                "_temp_dir": self.folder,
            }
        logging.getLogger("ray").setLevel(logging.ERROR)
        # Ray prints to standard output what happens to workers, whatever it is told of logs.
        import_module("ray._private.worker").__dict__["print_to_stdstream"] = _log_messages
        try:
            self.ray.init(**settings, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # whatever it is: Ray raises errors of its own, of gRPC and the system's
            where = f"connect to the Ray cluster at {address}" if address else "start a Ray cluster on this machine"
            raise NexusError(f"cannot {where}: {type(error).__name__}: {error}") from error

    def cpus(self) -> int:
        """Return how many CPUs the cluster has."""
        return int(self.ray.cluster_resources().get("CPU", 0))

    async def check_versions(self, wanted: Mapping[str, str], plugins: Mapping[str, Sequence[str]]) -> None:
        """Raise PluginError that names what a machine lacks or has in another version; nothing else runs there."""
        self.ray.cloudpickle.register_pickle_by_value(versions)
        try:
            probe = self.ray.remote(versions.installed_versions)
            affinity = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
            nodes = [node for node in self.ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
            answers = {
                versions.describe_node(node): probe.options(
                    num_cpus=0, scheduling_strategy=affinity(node_id=node["NodeID"], soft=False)
                ).remote(list(wanted))
                for node in nodes
            }
        finally:
            self.ray.cloudpickle.unregister_pickle_by_value(versions)
        problems: list[str] = []
        for node, answer in answers.items():
            problems += versions.compare_versions(node, wanted, await self._wait(node, answer), plugins)
        if problems:
            raise PluginError(
                f"{'; '.join(problems)}. Nothing was sent: install the same versions on every machine of the cluster"
            )

    async def _wait(self, node: str, answer: Any) -> Mapping[str, str]:
        try:
            async with asyncio.timeout(_PROBE_S):
                found: Mapping[str, str] = await answer
        except Exception as error:
            raise NexusError(f"the worker {node} does not answer: {type(error).__name__}: {error}") from error
        return found

    async def close(self) -> None:
        """Leave the cluster, and end it where it was started here."""
        if self.ray is not None:
            await asyncio.get_running_loop().run_in_executor(self.thread, self.ray.shutdown)
        self.thread.shutdown(wait=False)
        if self.folder is not None:
            rmtree(self.folder, ignore_errors=True)
        for name, value in self.environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _log_messages(data: Mapping[str, Any], **_: object) -> None:
    """Log what Ray would print: the batch has its own words for it."""
    _log.info("Ray: %s", " ".join(data["lines"]))


def _reach(address: str) -> None:
    """Raise NexusError where nothing listens: Ray itself would wait for minutes, and say nothing."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _REACH_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise NexusError(f"cannot reach a Ray cluster at {address}: {error}") from error


def _make_folder() -> str:
    place = gettempdir()
    return mkdtemp(prefix="nexus-ray-", dir=place if len(place) <= _LONGEST_FOLDER else "/tmp")
