"""Every address of the READMEs is one of a server that was started as users start it, and every key is one of YAML."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from generated_pages import fill

from nexus_core.config.check import check
from nexus_core.engine.plugins import PluginRegistry

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(
    path
    for pattern in ("nexus_core/**/README.md", "plugins/*/README.md", "docs/**/*.md")
    for path in ROOT.glob(pattern)
)
_ROUTE = re.compile(r"(?P<methods>(?:`?(?:GET|POST|PUT|DELETE)`?,? )+)(?P<path>/[^`\s]*)`")
UPSTREAM = ("/embeddings", "/rerank", "/chat/completions")
"""Of services that are asked, and not of ours."""


def routes() -> Iterator[tuple[str, str]]:
    """Yield (method, path) of each address in the READMEs, as `GET`, `POST /api/contexts`."""
    for page in PAGES:
        for found in _ROUTE.finditer(page.read_text("utf-8")):
            for method in re.findall("[A-Z]+", found["methods"]):
                if found["path"] not in UPSTREAM:
                    yield method, found["path"]


ROUTES = tuple(dict.fromkeys(routes()))


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a `nexus serve` without pipelines of its own."""
    folder = tmp_path_factory.mktemp("serve")
    command = [sys.executable, "-P", "-m", "nexus_core", "serve", "--port", "0", "--store", str(folder / "store")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield next(line.split()[-1] for line in process.stderr if "listening on" in line)
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()


def asked(origin: str, method: str, path: str) -> tuple[int, str]:
    """Return the status of an answer and the code of its error."""
    request = urllib.request.Request(origin + re.sub(r"{[^}]*}", "x", path), method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        told = json.loads(error.read() or b"{}")
        inner = told.get("error")
        return error.code, str(inner.get("code") if isinstance(inner, dict) else told.get("code"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_every_documented_address_is_served(origin: str) -> None:
    """None is unknown, none refuses the method; what it says of an empty request is its own affair."""
    assert asked(origin, "GET", "/api/nowhere") == (404, "not_found")
    wrong = [
        (each, found) for each in ROUTES if (found := asked(origin, *each)) == (404, "not_found") or found[0] == 405
    ]
    assert wrong == []
    assert len(ROUTES) > 25


SECTIONS = {
    "The top level": "{KEY}",
    "Models": "{models: {main: {use: extractive, KEY}}}",
    "Call options": "{models: {main: {use: extractive, options: {KEY}}}}",
    "Tools": "{models: {main: {use: extractive, options: {tools: [{KEY}]}}}}",
    "`retry`": "{models: {main: {use: extractive, retry: {KEY}}}}",
    "`breaker`": "{models: {main: {use: extractive, breaker: {KEY}}}}",
    "`limits`": "{models: {main: {use: extractive, limits: {KEY}}}}",
    "`cache`": "{models: {main: {use: extractive, cache: {KEY}}}}",
    "`calls`": "{calls: {KEY}}",
    "Steps": "{steps: [{KEY}]}",
    "prompt": "{steps: [{prompt: {KEY}}]}",
    "text of a prompt": "{steps: [{prompt: {template: {KEY}}}]}",
    "generate": "{steps: [{generate: {KEY}}]}",
    "Inputs": "{inputs: {tone: {KEY}}}",
}
"""Where the keys of each table of the reference stand."""


def keys() -> Iterator[tuple[str, str, str]]:
    """Yield (section, key, default) of the tables of keys in the reference of the language."""
    section = ""
    for line in fill((ROOT / "docs/reference/pipelines.md").read_text("utf-8")).splitlines():
        if found := re.match(r"#+ (.*)|\*\*(`\w+`)\*\*", line):
            section = found[1] or found[2]
        row = re.match(r"\| `(\w+)` \| [^|]* \| ([^|]*) \| [^|]*[.`] \|$", line)
        if row and section in SECTIONS:
            yield ("text of a prompt" if row[1] == "text" else section), row[1], row[2].strip("` ")


@pytest.mark.parametrize("section", SECTIONS)
def test_every_documented_key_is_taken_with_its_default(section: str) -> None:
    """No key of a table is unknown where it stands, and a default that is told is a value that may be written."""
    found = [(key, default) for where, key, default in keys() if where == section]
    assert found
    for key, default in found:
        codes = codes_of(section, key, default if default not in ("", "required") else "null")
        assert "S002" not in codes, key
        assert not (default not in ("", "required") and codes & {"T001", "T002", "T003", "T004"}), (key, default, codes)
    assert codes_of(section, "nothing", "null") & {"S002", "S003"}  # the second: it is no template at all


def codes_of(section: str, key: str, value: str) -> set[str]:
    """Return the codes of the problems of a pipeline with this key."""
    text = SECTIONS[section].replace("KEY", f"{key}: {value}")
    return {problem.code for problem in check(text, "x.yaml", PluginRegistry.installed(), {}).problems}
