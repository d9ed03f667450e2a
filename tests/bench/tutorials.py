"""The tutorial: how long its pages take a person, by what is read, typed or copied, and waited for.

    python tests/bench/tutorials.py

Nobody's minutes are measured. A page is followed as it is written, from an empty folder on, and its commands are timed.
Its prose is read at 238 words a minute (silent reading of non-fiction in English: Brysbaert, "How many words do we read
per minute?", 2019). Commands are typed at 52 words of five characters a minute (the mean of 168,000 people: Dhakal et
al., "Observations on typing from 136 million keystrokes", 2018). Files are either copied, 15 s each for finding the
button, the folder and the name, and read at the same 238 words a minute; or typed, too, without their indentation,
which editors do. Exits 1 where a page, with the pages that it stands on, takes longer than it may.

Left out: thinking, mistakes and their search, reading what commands print, setting up Python.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]  # the tests that follow the pages, and the generator that they read

from tests.documented.test_pages import TUTORIAL, follow  # noqa: E402
from tests.test_readme import blocks  # noqa: E402

WORDS_READ = 238.0
CHARACTERS_TYPED = 52.0 * 5
COPY_MINUTES = 15 / 60
MOST = {"first-answer": 15.0, "first-pipeline": 15.0, "first-ranker": 10.0, "first-connector": 20.0}
"""Minutes for one page, where files are copied."""


def minutes_of(page: Path) -> tuple[float, float]:
    """Return the minutes of a person on a page, with files copied and with files typed."""
    text = page.read_text("utf-8")
    prose = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.DOTALL)
    read, copied, typed = len(prose.split()) / WORDS_READ, 0.0, 0.0
    for what, _, body in blocks(page):
        if what == "console":
            lines = (line.removeprefix("$ ") for line in body.splitlines() if line.startswith("$ "))
            read += sum(len(line) + 1 for line in lines) / CHARACTERS_TYPED
        else:
            copied += COPY_MINUTES + len(body.split()) / WORDS_READ
            typed += len(re.sub(r"(?m)^ +", "", body)) / CHARACTERS_TYPED
    return read + copied, read + typed


def main() -> int:
    """Follow the tutorial, and print a row for each page."""
    late = False
    print(f"{'page':<16} {'copied':>7} {'typed':>7} {'waited':>7} {'bar':>5}   (minutes; both without what is waited)")
    with TemporaryDirectory() as folder:
        for page in TUTORIAL:
            began = time.monotonic()
            follow(page, Path(folder))
            waited = (time.monotonic() - began) / 60
            copied, typed = minutes_of(page)
            late |= copied + waited > MOST[page.stem]
            print(f"{page.stem:<16} {copied:>7.1f} {typed:>7.1f} {waited:>7.1f} {MOST[page.stem]:>5.0f}")
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
