"""Serves a model by llama.cpp's server on loopback: `serve.py MODEL PORT [--embeddings]`; ends by itself in the end."""

from __future__ import annotations

import os
import sys
import time

import xllamacpp

LONGEST_S = 900
"""However the tests end, no server is left behind for longer."""
SLOTS = 2
WINDOW = 1024
"""Of all slots together."""


def serve(model: str, port: int, *, embeddings: bool) -> None:
    """Serve until the time is up."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx, params.n_parallel = WINDOW, SLOTS
    params.cpuparams.n_threads = 1  # several wait for each other, for long where a machine has other work
    params.endpoint_slots = True
    params.embedding = embeddings
    if embeddings:
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    time.sleep(LONGEST_S)
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), embeddings="--embeddings" in sys.argv)
