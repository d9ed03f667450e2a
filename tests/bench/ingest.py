"""Files into a context: how fast `nexus context add` takes in a folder, cold, unchanged, touched and with changes.

    python tests/bench/ingest.py [--files 5000] [--large 20]
    python tests/bench/ingest.py pdf [FILE ...]

Small files of 1 to 10 kB (Markdown, HTML, Python, text) and large ones of 1 MB, of Zipf-distributed words. Each figure
is that of the whole command in a process of its own, less what the same takes for a folder of one file. Compiled
modules are kept, as in any installation. The floor is to list, read and hash the same files, in the same run. CPU is
that of all processes. The store is measured against the bytes of its files, without vectors. Exits 1 when a gate is
missed.

`pdf` measures reading PDF as a multiple of what pdfium takes for the bare text of the same pages, in turn in the same
process: dense pages of plain text, which are gated, or the files that are named.

Left out: other formats that need a reader of their own, folders with more than some thousand files, a disk
that is not in the system's memory, searches meanwhile, and originals that are kept.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from time import perf_counter, process_time

from attrs import frozen

SYLLABLES = ["ka", "lo", "mi", "ren", "tas", "vor", "pel", "ni", "dur", "sha", "go", "bri"]
WORDS = 20_000
LARGE_BYTES = 1_000_000
COLD_FILES_PER_S = 300
SAME_FILES_PER_S = 10_000
STORE_PER_SOURCE = 2.5
PDF_RATIO = 2.0
GATED = 5_000
"""Files from which the start of the processes counts for little."""
COMMAND = [sys.executable, "-c", "import sys; from nexus_core.cli.main import main; sys.exit(main())"]


class Writer:
    """Writes texts that look like those of people, each time the same ones."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        found: dict[str, None] = {}
        while len(found) < WORDS:
            found["".join(self._chance.choices(SYLLABLES, k=self._chance.randint(2, 4)))] = None
        self._words = list(found)
        self._weights = list(accumulate(1 / (rank + 10) for rank in range(WORDS)))

    def words(self, count: int) -> str:
        """Return some words."""
        return " ".join(self._chance.choices(self._words, cum_weights=self._weights, k=count))

    def paragraph(self) -> str:
        """Return a few sentences."""
        return " ".join(f"{self.words(self._chance.randint(6, 18)).capitalize()}." for _ in range(4))

    def until(self, size: int, section: Callable[[], str]) -> str:
        """Return sections up to a size."""
        parts: list[str] = []
        while sum(map(len, parts)) < size:
            parts.append(section())
        return "".join(parts)

    def file(self, suffix: str, size: int) -> str:
        """Return the content of a file of one kind."""
        match suffix:
            case "md":
                return f"# {self.words(3)}\n\n" + self.until(
                    size,
                    lambda: f"## {self.words(3)}\n\n{self.paragraph()}\n\n- {self.words(5)}\n- {self.words(5)}\n\n",
                )
            case "html":
                body = self.until(size, lambda: f"<h2>{self.words(3)}</h2>\n<p>{self.paragraph()}</p>\n")
                return f"<html><head><title>{self.words(3)}</title></head><body>\n{body}</body></html>\n"
            case "py":
                return f'"""{self.words(6)}."""\n\n' + self.until(
                    size,
                    lambda: f"def {self.words(1)}(value):\n    # {self.words(8)}\n    return value + 1\n\n\n",
                )
        return self.until(size, lambda: f"{self.paragraph()}\n\n")

    def size(self) -> int:
        """Return the bytes of a small file."""
        return self._chance.randint(1_000, 10_000)


@frozen
class Cost:
    """What something took, in seconds."""

    wall: float
    cpu: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(max(self.wall - other.wall, 1e-9), max(self.cpu - other.cpu, 1e-9))


def write_folder(root: Path, small: int, large: int) -> None:
    """Write the files, a hundred in each folder."""
    writer = Writer(3)
    for number in range(small):
        suffix = ("md", "html", "py", "txt")[number % 4]
        path = root / "small" / f"{number // 100:03}" / f"{number:05}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(writer.file(suffix, writer.size()))
    for number in range(large):
        suffix = ("md", "html", "py", "txt")[number % 4]
        path = root / "large" / f"{number:02}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(writer.file(suffix, LARGE_BYTES))
    (root / "one").mkdir()
    (root / "one" / "one.md").write_text("# One\n")


def floor(folder: Path) -> Cost:
    """List, read and hash the files of a folder."""
    began, cpu = perf_counter(), sum(os.times()[:2])
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            os.stat(path)
            with open(path, "rb") as file:
                sha256(file.read()).hexdigest()
    return Cost(perf_counter() - began, max(sum(os.times()[:2]) - cpu, 0.01))


def add(store: Path, folder: Path) -> Cost:
    """Run the command, and return what it took with all its processes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    command = [*COMMAND, "context", "add", "bench", str(folder), "--store", str(store)]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    kept["PYTHONPYCACHEPREFIX"] = str(store.parent / "compiled")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=kept)
    wall, after = perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def total_size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def change(folder: Path, *, every: int, content: bool) -> int:
    """Touch some of the files, or write something new to them; returns how many those are."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())[::every]
    for path in files:
        if content:
            with path.open("a") as file:
                file.write(f"\nchanged {path.name}\n")
        else:
            path.touch()
    return len(files)


class Table:
    """Prints figures with their gates, and knows whether one was missed."""

    def __init__(self) -> None:
        self.is_over = False
        print(f"{'figure':<52} {'a second':>10} {'CPU ms each':>12} {'CPU / floor':>12}  gate")

    def row(self, name: str, cost: Cost, count: float, bare: Cost, total: int, gate: float | None = None) -> None:
        """Print one figure; `total` files are what the floor has read."""
        rate = count / cost.wall
        gate = gate if total >= GATED else None
        missed = gate is not None and rate < gate
        self.is_over = self.is_over or missed
        ratio = (cost.cpu / count) / (bare.cpu / total)
        told = "" if gate is None else f">={gate:,g}"
        verdict = "MISSED" if missed else ""
        print(
            f"{name:<52} {rate:>10,.0f} {cost.cpu / count * 1e3:>12.3f} {ratio:>11.1f}x {told:>9} {verdict}", flush=True
        )

    def size(self, name: str, store: Path, folder: Path) -> None:
        """Print how many times as large as its files a store is."""
        ratio = total_size(store) / total_size(folder)
        missed = ratio > STORE_PER_SOURCE
        self.is_over = self.is_over or missed
        print(f"{name:<52} {ratio:>36.2f}x {f'<={STORE_PER_SOURCE:g}':>9} {'MISSED' if missed else ''}", flush=True)


def measure(root: Path, small: int, large: int, table: Table) -> None:
    """Measure both folders."""
    write_folder(root, small, large)
    add(root / "none", root / "one")
    start = add(root / "none", root / "one")
    print(f"{'a folder of one file, unchanged: start-up':<52} {start.wall * 1e3:>7,.0f} ms {start.cpu * 1e3:>9,.0f} ms")
    folder, store = root / "small", root / "store"
    floor(folder)
    bare = floor(folder)
    table.row(f"{small:,} files listed, read and hashed: the floor", bare, small, bare, small)
    table.row(f"{small:,} small files, cold", add(store, folder) - start, small, bare, small, COLD_FILES_PER_S)
    table.size("  its store, against the files", store, folder)
    table.row("the same, unchanged", add(store, folder) - start, small, bare, small, SAME_FILES_PER_S)
    change(folder, every=1, content=False)
    table.row("all touched, content unchanged", add(store, folder) - start, small, bare, small)
    changed = change(folder, every=10, content=True)
    table.row(f"{changed:,} of {small:,} changed, per changed file", add(store, folder) - start, changed, bare, small)
    if large:
        folder = root / "large"
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        bare = floor(folder)
        table.row(f"{large} files of 1 MB, cold, per MB", add(root / "other", folder) - start, size, bare, large)
        table.size("  its store, against the files", root / "other", folder)


def dense_pages() -> bytes:
    """Return a PDF of plain text, as reports and filings are."""
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Paragraph, SimpleDocTemplate

    writer, styles, data = Writer(5), getSampleStyleSheet(), BytesIO()
    flow = [Paragraph(f"{writer.paragraph()} {writer.paragraph()}", styles["BodyText"]) for _ in range(300)]
    SimpleDocTemplate(data, leftMargin=50, rightMargin=50, topMargin=50, bottomMargin=50).build(flow)
    return data.getvalue()


def bare_text(data: bytes) -> int:
    """Read the text of a PDF with pypdfium2 alone; returns how many pages it has."""
    from pypdfium2 import PdfDocument

    document = PdfDocument(data)
    for page in document:
        text = page.get_textpage()
        text.get_text_range()
        text.close()
        page.close()
    count = len(document)
    document.close()
    return count


def measure_pdf(files: list[Path]) -> int:
    """Print the CPU of reading PDF as a multiple of bare text extraction; returns the exit code."""
    from nexus_core.toolkit import DocumentReader, FileOrigin

    reader, missed = DocumentReader(), 0
    for name, data in [(path.name, path.read_bytes()) for path in files] or [("dense pages", dense_pages())]:
        costs: list[list[float]] = [[], []]
        for _ in range(5):
            began = process_time()
            pages = bare_text(data)
            between = process_time()
            deque(reader.blocks(BytesIO(data), FileOrigin(name="a.pdf"))[1], 0)
            costs[0].append(between - began)
            costs[1].append(process_time() - between)
        bare, blocks = map(min, costs)
        missed += not files and blocks > PDF_RATIO * bare
        print(f"{name:<40} {pages:>5} pages {bare / pages * 1e3:>8.2f} ms bare {blocks / bare:>6.2f}x", flush=True)
    return int(missed > 0)


def main() -> int:
    """Measure, print a table, and return the exit code."""
    if sys.argv[1:2] == ["pdf"]:
        return measure_pdf([Path(name) for name in sys.argv[2:]])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5_000)
    parser.add_argument("--large", type=int, default=20)
    options = parser.parse_args()
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.files, options.large, table)
    return int(table.is_over)


if __name__ == "__main__":
    sys.exit(main())
