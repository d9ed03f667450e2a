"""A Ray cluster on the loopback interface for the tests, until standard input ends.

    python tests/ray/cluster.py CPUS

The line `ready ADDRESS FOLDER TOKEN` on standard output says that it is there.
"""

from __future__ import annotations

import asyncio
import os
import sys

from nexus_ray.cluster import RayCluster


async def hold(cpus: int) -> None:
    """Keep the cluster, and end it."""
    cluster = await RayCluster.connect(None, cpus)
    try:
        address = cluster.ray.get_runtime_context().gcs_address
        print("ready", address, cluster.folder, os.environ["RAY_AUTH_TOKEN"], flush=True)
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await cluster.close()


if __name__ == "__main__":
    asyncio.run(hold(int(sys.argv[1])))
