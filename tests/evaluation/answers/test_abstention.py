"""Abstention: which answers say that there is no answer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nexus_core.evaluation.answers.abstention import abstention_pattern, is_abstention
from nexus_core.evaluation.answers.citations import cited_sentences

ROWS = [json.loads(line) for line in (Path(__file__).parent / "abstentions.jsonl").read_text("utf-8").splitlines()]


def abstains(answer: str, *patterns: str) -> bool:
    return is_abstention(cited_sentences(answer), abstention_pattern(patterns))


def test_phrases_tell_abstentions_of_answers_that_they_were_written_for() -> None:
    """All of them, and no answer that only looks like one."""
    assert [row for row in ROWS if not row["held_out"] and abstains(row["answer"]) != row["abstains"]] == []


def test_phrases_tell_most_abstentions_that_they_were_not_written_for() -> None:
    """The documented figures: 17 of 20 found, and none of 15 answers mistaken."""
    verdicts = [(row["abstains"], abstains(row["answer"])) for row in ROWS if row["held_out"]]
    assert (verdicts.count((True, True)), verdicts.count((True, False))) == (17, 3)
    assert (verdicts.count((False, True)), verdicts.count((False, False))) == (0, 15)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param("Five days [1]. The context does not say more.", False, id="part-first"),
        pytest.param("The context does not say it. It says five days [1].", True, id="abstains-first"),
        pytest.param("The passages do not say who; everybody has 28 days [1].", False, id="part-in-one-sentence"),
        pytest.param("Sorry. I do not know.", True, id="later-without-citation"),
        pytest.param("", False, id="empty"),
    ],
)
def test_an_answer_that_gives_a_part_is_no_abstention(answer: str, expected: bool) -> None:
    """The first sentence decides where something is cited."""
    assert abstains(answer) is expected


def test_patterns_of_ones_own_are_added() -> None:
    """For another language, or the sentence that a template asks for; a wrong one is an error."""
    assert not abstains("Das steht nicht im Text.")
    assert abstains("Das steht nicht im Text.", "steht nicht im")
    with pytest.raises(re.error):
        abstention_pattern(["("])


def test_the_template_qa_still_lets_a_model_abstain_in_its_own_words() -> None:
    """If it asks for a sentence one day, that sentence belongs into the phrases."""
    template = Path(__file__).parents[3] / "plugins" / "nexus_templates" / "qa.jinja"
    assert "If the context does not hold the answer, say so" in template.read_text("utf-8")
