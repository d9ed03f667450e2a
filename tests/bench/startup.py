"""What starting costs: modules imported and wall time, against bare imports in the same run.

    python tests/bench/startup.py [--runs 9]

`nexus --help` takes at most 4 x as long as bare Python and imports neither aiohttp, tiktoken, jinja2, yaml, numpy nor
any plugin; `nexus lint` neither aiohttp,
tiktoken, numpy nor any plugin that is not named. A quickstart run costs at most 1.5 x of importing aiohttp, jinja2,
yaml, attrs and pluggy. Wall times are medians of alternating runs. Exits 1 when a gate is missed.

Left out: a disk that is cold and byte code that is not compiled yet, pipelines with many models, `nexus serve`, and
plugins of others.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parent.parent.parent
RUN_GATE = 1.5
HELP_GATE = 4.0
COMMAND = "from nexus_core.cli.main import main; main()"
PIPELINE = str(ROOT / "pipelines" / "quickstart.yaml")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}

TIMED = {
    "python -c ''": ["-c", ""],
    "import aiohttp, jinja2, yaml, attrs, pluggy": ["-c", "import aiohttp, jinja2, yaml, attrs, pluggy"],
    "nexus --help": ["-c", COMMAND, "--help"],
    "nexus lint quickstart.yaml": ["-c", COMMAND, "lint", PIPELINE],
    "nexus run quickstart.yaml": ["-c", COMMAND, "run", PIPELINE, "Do API keys ever appear in errors or logs?"],
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
    "nexus --help": {"aiohttp", "tiktoken", "jinja2", "yaml", "numpy", "attr", "pluggy", "asyncio", *PLUGINS},
    "nexus lint quickstart.yaml": {"aiohttp", "tiktoken", "numpy", "Stemmer", "bs4", "nexus_sinks", "nexus_jsonl"},
    "nexus run quickstart.yaml": {"aiohttp", "tiktoken", "bs4", "rich", "nexus_sinks", "nexus_jsonl"},
}


def once(arguments: list[str]) -> float:
    """Return the wall milliseconds of one process."""
    began = perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=ENVIRONMENT)
    return (perf_counter() - began) * 1e3


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
    floor = times["import aiohttp, jinja2, yaml, attrs, pluggy"]
    ratio = statistics.median(b / a for a, b in zip(floor, times["nexus run quickstart.yaml"], strict=True))
    bare = times["python -c ''"]
    help_ratio = statistics.median(b / a for a, b in zip(bare, times["nexus --help"], strict=True))
    print(f"a quickstart run is {ratio:.2f} x the bare imports (gate {RUN_GATE} x)")
    print(f"nexus --help is {help_ratio:.2f} x bare Python (gate {HELP_GATE} x)")
    return int(failed or ratio > RUN_GATE or help_ratio > HELP_GATE)


if __name__ == "__main__":
    sys.exit(main())
