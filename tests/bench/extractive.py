"""Honesty of `extractive`: how often it quotes an answer to a foreign question, and refuses one that it could answer.

    python tests/bench/extractive.py [DIR] [--minilm]

The texts and questions of `extractive/` are one file a language: subjects, texts, and under each text its questions
with what the answer must hold. A question is asked of all texts of its language, and, as a foreign one, of those of the
other subjects; in English also of the documentation of the project. Every second question was used to choose the
constants of `plugins/nexus_extractive/scoring.py`; the figures are those of the others, by words alone (`bm25`) and
with the static table beside them (`fuse` of `bm25` and `semantic`), or also with `minilm`, which takes it some minutes
and has to be installed. DIR holds collections in BEIR layout: a sample of the questions of each is asked of each. Exits
1 when a gate over the texts of English, or of all other languages, is missed.

Left out: questions on the subject that the texts do not answer, other models, prompts of more than 2,000
tokens, files of several languages.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from nexus_extractive.answer import read_cosines
from nexus_extractive.connector import Extractive
from nexus_extractive.scoring import Question, choose, score_units
from nexus_rankers.bm25 import Bm25
from nexus_rankers.fuse import Fuse
from nexus_rankers.semantic import Semantic
from nexus_sources.files import Files
from quality import ENCODING, INFO, Sources, load

from nexus_core import Item, Prompt, Ranker, Ranking, RunContext
from nexus_core.engine.packing.packer import Draft, PackingPolicy, pack
from nexus_core.evaluation.collection import JudgedCollection
from nexus_core.evaluation.measures import holds_answer
from nexus_core.toolkit.tokens.counter import token_counter

DATA = Path(__file__).with_name("extractive")
ROOT = Path(__file__).parents[2]
BUDGET = 2000
SAMPLE = 40
GATES = {"words": (0.20, 0.04), "static": (0.10, 0.03), "minilm": (0.10, 0.03)}
"""Shares of foreign questions that are quoted, and of answerable ones that are refused."""
SETTINGS = Extractive()


class Case(NamedTuple):
    """A question of a text."""

    subject: str
    text: str
    question: str
    answer: str


class Outcome(NamedTuple):
    """What became of a question."""

    sure: float
    """Of the best sentence."""
    quoted: bool
    holds: bool
    """The first sentence that is quoted holds the answer."""


def read_cases(file: Path) -> list[Case]:
    """Return the questions of a language in order."""
    cases = []
    subject = text = ""
    for line in file.read_text("utf-8").splitlines():
        if line.startswith("# "):
            subject = line[2:]
        elif line.startswith("? "):
            question, answer = line[2:].split(" | ")
            cases.append(Case(subject, text, question, answer))
        elif line:
            text = line
    return cases


def rankers(mode: str) -> Ranker:
    """Return what ranks in a mode."""
    return Bm25() if mode == "words" else Fuse(rankers=(Bm25(), Semantic(model=mode)))


async def prompt_for(question: str, items: Sequence[Item], ranker: Ranker) -> Prompt:
    """Return the prompt in which the connector gets a question."""
    ranking = await ranker.rank(question, Ranking(tuple(items)), RunContext())
    draft = Draft(template=Sources(), ranking=ranking, query=question, policy=PackingPolicy(budget=BUDGET))
    return pack(draft, INFO, reserved=1000, counter=lambda: token_counter(ENCODING))


def outcome(prompt: Prompt, answers: Iterable[str]) -> Outcome:
    """Return what the connector makes of a prompt."""
    question = Question.read(prompt.query, prompt.items, SETTINGS.language)
    scored = score_units(question, prompt.items, read_cosines(prompt))
    chosen = choose(scored, question.terms, SETTINGS.sentences, SETTINGS.min_score)
    first = chosen[0].unit.text.lower() if chosen else ""
    sure = max((one.match for one in scored), default=0.0)
    return Outcome(sure, bool(chosen), any(answer.lower() in first for answer in answers))


def area(right: Sequence[Outcome], foreign: Sequence[Outcome]) -> float:
    """Return the area under the ROC curve: how often an answerable question is the surer one."""
    low = sorted(one.sure for one in foreign)
    return sum(bisect_left(low, one.sure) + bisect_right(low, one.sure) for one in right) / (2 * len(right) * len(low))


def show(name: str, mode: str, right: Sequence[Outcome], foreign: Sequence[Outcome]) -> tuple[float, float]:
    """Print a row, and return the shares of false quotations and false refusals."""
    quoted = sum(one.quoted for one in foreign) / len(foreign)
    refused = sum(not one.quoted for one in right) / len(right)
    first = sum(one.holds for one in right) / len(right)
    counts = f"{len(right):>5} {len(foreign):>7}"
    print(f"{name:<26} {mode:<7} {counts} {area(right, foreign):>6.3f} {quoted:>7.3f} {refused:>7.3f} {first:>6.3f}")
    return quoted, refused


async def measure_language(
    cases: Sequence[Case], mode: str, half: int, documentation: Sequence[Item]
) -> tuple[list[Outcome], list[Outcome], list[Outcome]]:
    """Return the outcomes of a half of the questions: asked of their own texts, of others, of the documentation."""
    texts = dict.fromkeys((case.subject, case.text) for case in cases)
    items = {key: Item(id=f"{number}", text=key[1]) for number, key in enumerate(texts)}
    ranker = rankers(mode)
    right, foreign, documented = [], [], []
    for case in cases[half::2]:
        prompt = await prompt_for(case.question, [*items.values()], ranker)
        if any(packed.item.text == case.text for packed in prompt.items):
            right.append(outcome(prompt, [case.answer]))
        others = [item for (subject, _), item in items.items() if subject != case.subject]
        foreign.append(outcome(await prompt_for(case.question, others, ranker), ()))
        if documentation:
            documented.append(outcome(await prompt_for(case.question, documentation, ranker), ()))
    return right, foreign, documented


async def measure_own(mode: str, half: int) -> bool:
    """Measure the texts of the project, and tell whether a gate is missed."""
    source = Files(paths=("docs/**/*.md",))
    source.base_dir = str(ROOT)
    documentation = list(await source.gather("", RunContext()))
    together: dict[str, tuple[list[Outcome], list[Outcome]]] = {"english": ([], []), "other languages": ([], [])}
    for file in sorted(DATA.glob("*.txt")):
        is_english = file.stem == "english"
        right, foreign, documented = await measure_language(
            read_cases(file), mode, half, documentation if is_english else ()
        )
        if documented:
            show("english, documentation", mode, right, documented)
        show(file.stem, mode, right, foreign)
        group = together["english" if is_english else "other languages"]
        group[0].extend(right)
        group[1].extend(foreign)
    missed = False
    for name, (right, foreign) in together.items():
        quoted, refused = show(f"all: {name}", mode, right, foreign)
        gate = GATES["words" if name != "english" else mode]
        missed = missed or quoted > gate[0] or refused > gate[1]
    return missed


async def measure_collections(found: Sequence[JudgedCollection], mode: str) -> None:
    """Ask a sample of the questions of each collection of it and of each other one."""
    chance = random.Random(7)
    samples = {one.name: chance.sample(one.queries, min(len(one.queries), 3 * SAMPLE)) for one in found}
    for one in found:
        items, ranker = one.items or (), rankers(mode)
        right, foreign = [], []
        for query in samples[one.name]:
            prompt = await prompt_for(query.text, items, ranker)
            judged = one.relevant.get(query.id, {})
            if (
                holds_answer(prompt.items, query, one)
                if query.answers
                else {p.item.id for p in prompt.items} & {*judged}
            ):
                right.append(outcome(prompt, query.answers))
        for other in found:
            if other is not one and not {one.name, other.name} <= {"squad", "squad-sections"}:
                prompts = [await prompt_for(query.text, items, ranker) for query in samples[other.name][:SAMPLE]]
                foreign += [outcome(prompt, ()) for prompt in prompts]
        show(one.name, mode, right, foreign)


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", nargs="?")
    parser.add_argument("--half", type=int, choices=(0, 1), default=1, help="0: the questions that were used to choose")
    parser.add_argument("--minilm", action="store_true", help="with the vectors of minilm, too")
    options = parser.parse_args()
    files = sorted(options.folder.rglob("corpus.jsonl")) if options.folder else []
    print(f"{'texts':<26} {'mode':<7} {'asked':>5} {'foreign':>7} {'AUC':>6} {'quoted':>7} {'refused':>7} {'first':>6}")
    missed = False
    for mode in ("words", "static", *(["minilm"] if options.minilm else ())):
        missed = asyncio.run(measure_own(mode, options.half)) or missed
        # Anew each time: items keep the vectors of every model that has ranked them.
        asyncio.run(measure_collections([load(file.parent) for file in files], mode))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
