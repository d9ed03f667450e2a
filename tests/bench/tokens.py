"""Measures token counting against tiktoken in the same run, without network: `python tests/bench/tokens.py`.

CPU time, medians. "Short run" is a fresh interpreter that counts one prompt of about 7,500 tokens and ends.

Left out: wall time on several cores, texts in other scripts but for loading, and code; the approximation has no floor.
"""

from __future__ import annotations

import base64
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

from tiktoken import Encoding
from tiktoken.load import load_tiktoken_bpe

from nexus_core.toolkit.tokens.counter import TokenCounter, token_counter
from nexus_core.toolkit.tokens.encodings import FACTS, EncodingFacts
from nexus_core.toolkit.tokens.exact import ExactCounter
from nexus_core.toolkit.tokens.vocabulary import load_ranks

_TEXT = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one
were all their when there can more would about packing windows tokens counted sentence measured incoming harbour
lighthouse keeper described unusual weather conditions throughout November representation
"""

_OURS = "from nexus_core.toolkit.tokens.counter import token_counter; token_counter({name!r}).count(text)"
_THEIRS = """
import tiktoken, tiktoken_ext.openai_public as public
load = public.load_tiktoken_bpe
public.load_tiktoken_bpe = lambda address, expected_hash: load({file!r}, expected_hash)
tiktoken.get_encoding({name!r}).encode_ordinary(text)
"""


def prose(words: int, seed: int) -> str:
    """Return sentences and paragraphs of made-up English."""
    rng, known = random.Random(seed), _TEXT.split()
    ends = [". ", ".\n\n", "? "]
    return "".join(rng.choice(known) + (rng.choice(ends) if place % 14 == 13 else " ") for place in range(words))


def cpu(work: Callable[[], object], rounds: int = 7) -> float:
    """Return the median CPU seconds of a piece of work."""
    times = []
    for _ in range(rounds):
        start = process_time()
        work()
        times.append(process_time() - start)
    return median(times)


def child(code: str) -> float:
    """Return the CPU seconds of a Python process that runs `code`, user and system, median of 7."""
    times = []
    for _ in range(7):
        before = os.times()
        subprocess.run([sys.executable, "-c", code], check=True)
        after = os.times()
        times.append(sum(after[2:4]) - sum(before[2:4]))
    return median(times)


def show(what: str, ours: float, theirs: float) -> None:
    """Print one line of the table."""
    print(f"{what:64} {ours * 1e3:9.2f} ms {theirs * 1e3:9.2f} ms {ours / theirs:7.2f} x")


def write_rank_file(facts: EncodingFacts, folder: Path) -> str:
    """Write the ranks as tiktoken downloads them; return the path."""
    ranks = load_ranks(facts).by_token()
    path = folder / f"{facts.name}.tiktoken"
    lines = (b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in sorted(ranks.items(), key=lambda r: r[1]))
    path.write_bytes(b"".join(lines))
    return str(path)


def short_run(facts: EncodingFacts, file: str, folder: Path) -> None:
    """Measure fresh interpreters."""
    path = folder / "prompt.txt"
    path.write_text(prose(7_000, 1), encoding="utf-8")
    read = f"text = open({str(path)!r}, encoding='utf-8').read()\n"
    bare = child(read)
    times = [child(read + code.format(name=facts.name, file=file)) - bare for code in (_OURS, _THEIRS)]
    show(f"{facts.name}: short run, above bare Python", *times)


def loading(facts: EncodingFacts, file: str) -> Encoding:
    """Measure what happens until the first count, imports aside; return tiktoken's encoding."""
    special = dict(facts.special_tokens)

    def theirs() -> Encoding:
        ranks = load_tiktoken_bpe(file, facts.rank_file_sha256)
        return Encoding(facts.name, pat_str=facts.pattern, mergeable_ranks=ranks, special_tokens=special)

    base = cpu(theirs)
    show(f"{facts.name}: load, common characters", cpu(lambda: ExactCounter(facts.name).count("a")), base)
    show(f"{facts.name}: load, other scripts (tiktoken)", cpu(lambda: ExactCounter(facts.name).count("я")), base)
    return theirs()


def fresh(name: str) -> TokenCounter:
    """Return a counter that has seen nothing."""
    token_counter.cache_clear()
    return token_counter(name)


def counting(name: str, encode: Callable[[str], list[int]]) -> None:
    """Measure throughput, cold and warm."""
    text = prose(7_000, 2)
    print(f"{name}: the prompt has {len(encode(text)):,} tokens")
    base = cpu(lambda: encode(text))
    show(f"{name}: prompt, nothing seen before, load included", cpu(lambda: fresh(name).count(text)), base)
    counter = fresh(name)
    assert counter.count(text) == len(encode(text))
    show(f"{name}: prompt, again", cpu(lambda: counter.count(text), 51), base)
    sentences = text.replace("\n", " ").split(". ")
    prompts = [". ".join(random.Random(seed).sample(sentences, len(sentences))) for seed in range(22)]
    counter.count(prompts.pop())
    show(f"{name}: prompt, known sentences in a new order", cpu(lambda: counter.count(prompts.pop()), 21), base)


def hostile(name: str, encode: Callable[[str], list[int]]) -> None:
    """Measure runs of a million characters without a space."""
    letters = "".join(random.Random(3).choices("abcdefghijklmnopqrstuvwxyz", k=1_000_000))
    for what, text in (("a million a", "a" * 1_000_000), ("a million random letters", letters)):
        ours = cpu(lambda run=text: fresh(name).count(run), 3)  # type: ignore[misc]
        show(f"{name}: {what}", ours, cpu(lambda run=text: encode(run), 3))  # type: ignore[misc]
    spaces = cpu(lambda: fresh(name).count(" " * 1_000_000), 3)
    print(f"{name + ': a million spaces':64} {spaces * 1e3:9.2f} ms     panics")


def main() -> None:
    """Print the whole table."""
    print(f"{'':64} {'here':>12} {'tiktoken':>12}")
    with tempfile.TemporaryDirectory() as name:
        os.environ["TIKTOKEN_CACHE_DIR"] = name
        for facts in FACTS.values():
            file = write_rank_file(facts, Path(name))
            short_run(facts, file, Path(name))
            encode = loading(facts, file).encode_ordinary
            counting(facts.name, encode)
            hostile(facts.name, encode)
    text = prose(7_000, 6)
    ratio = token_counter("approximate").count(text) / token_counter("o200k_base").count(text)
    print(f"approximate: {ratio:.2f} x the tokens of o200k_base on this prose")


if __name__ == "__main__":
    main()
