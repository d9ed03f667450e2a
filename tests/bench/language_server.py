"""What a keystroke costs in `nexus lsp`: the processor's time until the diagnostics are there, against a full lint.

    python tests/bench/language_server.py [--keystrokes 40] [--rounds 7]

A pipeline of 500 lines, which this script writes, is open in an editor. Each keystroke changes one character, and the
whole text is sent, as editors do; the server's time until it has published the diagnostics of that version is
at most .25 of the time of `nexus lint` on the same file. Beside it stands the same lint within a process that has
everything imported: what a server that kept nothing but its imports would take. Exits 1 when the gate is missed.

Left out: the pause before a check, completion and hovers, pipelines that call others, the first check, other systems
than Linux, whose /proc tells the time of a process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import process_time
from typing import Any

from nexus_core.engine.building.lint import lint_file
from nexus_core.engine.plugins import PluginRegistry

GATE = 0.25
LINES = 500
COMMAND = [sys.executable, "-m", "nexus_core.cli.main"]
HEAD = """\
name: long
description: Many branches.
default: large
models:
  large:
    use: openai
    model: gpt-4.1
    api_key: "${OPENAI_API_KEY:-none}"
    fallback: [offline]
    retry: {attempts: 2, first_wait: 500ms}
    options: {temperature: 0.2, max_tokens: 300}
  offline: extractive
inputs:
  tone: {description: How it sounds., default: friendly}
  audience: staff
steps:
- gather:
    use: inline
    items: [{text: one, title: One}, {text: two, title: Two}]
- choose:
"""
BRANCH = """\
  - when: "{{ inputs.audience == 'a@' }}"
    steps:
    - rank:
        use: bm25
        k1: 1.@
    - prompt:
        template:
          text: |
            Answer for branch @ in a {{ tone }} tone.
            {% for item in items %}{{ item.text }}
            {% endfor %}{{ query }}
        budget: 2@
        order: best_last
        variables: {tone: "{{ inputs.tone }}"}
    - generate:
        model: large
        options: {temperature: 0.@}
"""
TAIL = """\
  - steps:
    - rank: bm25
    - prompt: qa
    - generate: offline
"""


def pipeline() -> str:
    """Return a sound pipeline of 500 lines."""
    text, number = HEAD, 0
    while (text + BRANCH + TAIL).count("\n") <= LINES:
        number += 1
        text += BRANCH.replace("@", str(number))
    text += TAIL
    return text + "# the end\n" * (LINES - text.count("\n"))


def processor_s(pid: int) -> float:
    """Return the processor's time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class EditorPipe:
    """Speaks to a language server over its standard input and output."""

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        assert server.stdin is not None
        assert server.stdout is not None
        self.writing, self.reading = server.stdin, server.stdout

    def send(self, method: str, params: Any, number: int | None = None) -> None:
        """Send a request, or without a number a notification."""
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        body = json.dumps(message if number is None else {**message, "id": number}).encode()
        self.writing.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self.writing.flush()

    def receive(self) -> Any:
        """Return the next message."""
        length = 0
        while (line := self.reading.readline().strip()) or not length:
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return json.loads(self.reading.read(length))

    def wait_for(self, version: int) -> int:
        """Return how many diagnostics there are of a version of the document."""
        while True:
            message = self.receive()
            if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["version"] == version:
                return len(message["params"]["diagnostics"])


def keystrokes_s(path: Path, text: str, count: int) -> float:
    """Return the processor's time of the server for a keystroke, the mean of many; the first ones are not counted."""
    server = subprocess.Popen([*COMMAND, "lsp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    editor, uri, began = EditorPipe(server), path.as_uri(), 0.0
    editor.send("initialize", {"processId": None, "rootUri": None, "capabilities": {}}, 1)
    editor.receive()
    editor.send("initialized", {})
    document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
    editor.send("textDocument/didOpen", {"textDocument": document})
    editor.wait_for(1)
    warm, at = 3, text.index("Answer for branch 9")
    for number in range(count + warm):
        if number == warm:
            began = processor_s(server.pid)
        typed = f"{text[:at]}{'abcdefghij'[number % 10]}{text[at + 1 :]}"
        identifier = {"uri": uri, "version": number + 2}
        editor.send("textDocument/didChange", {"textDocument": identifier, "contentChanges": [{"text": typed}]})
        assert editor.wait_for(number + 2) == 0
    took = processor_s(server.pid) - began
    editor.send("shutdown", None, 2)
    editor.send("exit", None)
    server.stdin.close() if server.stdin is not None else None
    server.wait()
    return took / count


def command_s(path: Path) -> float:
    """Return the processor's time of one `nexus lint`."""
    before = os.times()
    subprocess.run([*COMMAND, "lint", str(path)], check=True, capture_output=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def warm_s(path: Path, registry: PluginRegistry) -> float:
    """Return the processor's time of a lint in this process."""
    began = process_time()
    assert lint_file(str(path), registry, os.environ) == ()
    return process_time() - began


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keystrokes", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    text, registry = pipeline(), PluginRegistry.installed()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.yaml"
        path.write_text(text)
        command_s(path)  # compiles what is not compiled yet
        warm_s(path, registry)
        rounds = [
            (command_s(path), warm_s(path, registry), keystrokes_s(path, text, options.keystrokes))
            for _ in range(options.rounds)
        ]
    command, warm, keystroke = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(one[2] / one[0] for one in rounds)
    beside = statistics.median(one[2] / one[1] for one in rounds)
    print(f"{text.count(chr(10))} lines, medians of {options.rounds} rounds, processor's time")
    print(f"nexus lint                      {command * 1e3:>7.1f} ms")
    print(f"the same, everything imported   {warm * 1e3:>7.1f} ms")
    print(f"a keystroke in nexus lsp        {keystroke * 1e3:>7.1f} ms")
    print(f"a keystroke is {ratio:.2f} of nexus lint (gate {GATE}), {beside:.2f} of it with everything imported")
    return int(ratio > GATE)


if __name__ == "__main__":
    sys.exit(main())
