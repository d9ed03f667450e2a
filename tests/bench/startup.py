"""What starting costs: modules imported and processor time, against bare imports in the same run.

    python tests/bench/startup.py [--runs 9]

`nexus --help` takes at most 4 x as long as bare Python and imports neither aiohttp, tiktoken, jinja2, yaml, numpy nor
any plugin; `nexus lint` neither aiohttp, tiktoken, numpy nor any plugin that is not named. A run over one item costs at
most 1.5 x of importing aiohttp, jinja2, yaml, attrs and pluggy, and a run of the quickstart over 235 kB of this
documentation, which grows, 2 x: as much as there was when that was 1.33 x by the clock of two idle cores, and 1.78 x
by processors, since a second process reads the files. Times are those of the processors, of all processes of a run,
so that other work on the machine hardly counts; of alternating runs the medians. Exits 1 when a gate is missed.

Left out: a disk that is cold and byte code that is not compiled yet, pipelines with many models, `nexus serve`, the
time by the clock, and plugins of others.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
RUN_GATE = 1.5
DOCUMENTS_GATE = 2.0
HELP_GATE = 4.0
COMMAND = "from nexus_core.cli.main import main; main()"
PIPELINE = str(ROOT / "pipelines" / "quickstart.yaml")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}

QUESTION = "Do API keys ever appear in errors or logs?"
BYTES, FILES = 235_000, 57
"""Of the documentation, as much as there was at first."""
ONE_ITEM = """name: one
models: {main: {use: extractive}}
steps:
  - gather: {use: inline, items: [{id: keys, text: API keys never appear in errors or logs.}]}
  - rank: bm25
  - prompt: {template: qa, budget: 3000}
  - generate: main
"""
BARE, IMPORTS = "python -c ''", "import aiohttp, jinja2, yaml, attrs, pluggy"
HELP, LINT, RUN = "nexus --help", "nexus lint quickstart.yaml", "nexus run quickstart.yaml"
RUN_ONE, RUN_DOCUMENTS = "nexus run over one item", "nexus run quickstart.yaml over 235 kB"
TIMED = {
    BARE: ["-c", ""],
    IMPORTS: ["-c", IMPORTS],
    HELP: ["-c", COMMAND, "--help"],
    LINT: ["-c", COMMAND, "lint", PIPELINE],
    RUN: ["-c", COMMAND, "run", PIPELINE, QUESTION],
    RUN_ONE: ["-c", COMMAND, "run", "one.yaml", QUESTION],
    RUN_DOCUMENTS: ["-c", COMMAND, "run", "documents/quickstart.yaml", QUESTION],
}
PLUGINS = {
    "nexus_openai",
    "nexus_extractive",
    "nexus_sources",
    "nexus_rankers",
    "nexus_templates",
    "nexus_sinks",
    "nexus_jsonl",
}
FORBIDDEN = {
    HELP: {"aiohttp", "tiktoken", "jinja2", "yaml", "numpy", "attr", "pluggy", "asyncio", *PLUGINS},
    LINT: {"aiohttp", "tiktoken", "numpy", "Stemmer", "bs4", "nexus_sinks", "nexus_jsonl"},
    RUN: {"aiohttp", "tiktoken", "bs4", "rich", "nexus_sinks", "nexus_jsonl"},
}


def write_pipelines() -> None:
    """Write a pipeline with one item, and the quickstart over a part of the documentation, into this folder."""
    Path("one.yaml").write_text(ONE_ITEM, "utf-8")
    folder = Path("documents")
    folder.mkdir()
    pages = (
        page for part in ("how-to", "explanation", "tutorial") for page in sorted((ROOT / "docs" / part).iterdir())
    )
    text = b"".join(page.read_bytes() for page in pages if page.suffix == ".md")
    for n in range(FILES):
        (folder / f"{n}.md").write_bytes(text[n * BYTES // FILES : (n + 1) * BYTES // FILES])
    quickstart = re.sub(r"paths: \[.*", 'paths: ["*.md"]', Path(PIPELINE).read_text("utf-8"))
    (folder / "quickstart.yaml").write_text(re.sub(r"\n *exclude: .*", "", quickstart), "utf-8")


def _cpu_s() -> float:
    """Return the processor seconds of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def once(arguments: list[str]) -> float:
    """Return the milliseconds that one run takes of the processors."""
    began = _cpu_s()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=ENVIRONMENT)
    return (_cpu_s() - began) * 1e3


def imported(arguments: list[str]) -> set[str]:
    """Return the top-level modules that a process imports."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], check=True, capture_output=True, text=True, env=ENVIRONMENT
    )
    lines = [line for line in run.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().split(".")[0] for line in lines}


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    times: dict[str, list[float]] = {label: [] for label in TIMED}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_pipelines()
        # Compiled modules are kept, as in any installation; a first round, not counted, compiles them.
        ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)
        ENVIRONMENT["PYTHONPYCACHEPREFIX"] = folder
        for arguments in TIMED.values():
            once(arguments)
        for _ in range(options.runs):
            for label, arguments in TIMED.items():
                times[label].append(once(arguments))
        failed = False
        for label in TIMED:
            heavy = imported(TIMED[label]) & FORBIDDEN.get(label, set())
            failed = failed or bool(heavy)
            told = f"IMPORTS {', '.join(sorted(heavy))}" if heavy else ""
            print(f"{label:<46} {statistics.median(times[label]):>7.0f} ms {told}")
        os.chdir("/")
    gates = ((HELP, BARE, HELP_GATE), (RUN_ONE, IMPORTS, RUN_GATE), (RUN_DOCUMENTS, IMPORTS, DOCUMENTS_GATE))
    for label, floor, gate in gates:
        ratio = statistics.median(b / a for a, b in zip(times[floor], times[label], strict=True))
        failed = failed or ratio > gate
        print(f"{label} is {ratio:.2f} x {floor} (gate {gate} x){' MISSED' if ratio > gate else ''}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
