"""Exits with 0 where the server in this container takes requests; used by `HEALTHCHECK` of the image."""

from __future__ import annotations

import os
import sys
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener


def is_ready(address: str, timeout_s: float = 4.0) -> bool:
    """Tell whether the readiness route of a server answers with 200; no proxy is asked."""
    try:
        with build_opener(ProxyHandler({})).open(address, timeout=timeout_s) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):  # refused, timed out, or not ready (503)
        return False


if __name__ == "__main__":
    port = os.environ.get("NEXUS_PORT", "8000")
    sys.exit(0 if is_ready(os.environ.get("NEXUS_HEALTH_URL", f"http://127.0.0.1:{port}/readyz")) else 1)
