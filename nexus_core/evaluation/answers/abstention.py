"""Abstention: whether an answer says that the items do not hold what was asked.

The packaged templates let a model say so in its own words (`qa`: "If the context does not hold the answer, say so"),
and `extractive` has two sentences for it. So an abstention is told by phrases, which are English: whoever asks in
another language, or has a template with a sentence of its own, gives patterns. On the 35 answers that they were not
written for (the last of tests/evaluation/answers/abstentions.jsonl) they find 17 of 20 abstentions, and take none of 15
answers for one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nexus_core.evaluation.answers.citations import CitedSentence

_PLACE = (
    r"(?:context|passages?|items?|documents?|documentation|sources?(?! code)|texts?|excerpts?|information|materials?)"
)
_SAID = (
    r"(?:hold|contain|say|state|mention|specify|provide|include|tell|answer|address|give|have|explain|describe|"
    r"indicate|cover|discuss|disclose|reveal|list|name|identify)s?\b(?! to\b)"
)
_NOT = r"(?:do(?:es)? not|do(?:es)?n['’]t|did not|never|cannot|can['’]t)"
_IS_NOT = r"(?:(?:is|are|was|were) (?:not|never)|(?:isn|aren|wasn|weren)['’]t)"
_CANNOT = r"(?:cannot|can not|can['’]t|could not|couldn['’]t)"
_ABOUT = r"[^.!?\n]{0,60}"
PHRASES = (
    # "The context does not say who is told.", "The passages are silent on it."
    rf"\b{_PLACE}\b{_ABOUT}\b{_NOT} (?:\w+ )?{_SAID}",
    rf"\b{_PLACE}\b {_ABOUT}\b(?:lacks?|(?:is|are) silent|say(?:s)? nothing|mentions? nothing|makes? no mention)\b",
    # "There is no mention of that in the context.", "None of the passages mentions it."
    r"\b(?:there(?: is| are| was|['’]s)|(?:provide|contain|give|hold|find|see)s?|ha(?:s|ve)|found) no (?:\w+ ){0,2}"
    rf"(?:{_PLACE}|mention|details?|data|indication|answer(?= to| in| for|\W*$))\b",
    rf"\b(?:no|none of the|neither)(?: of the)?(?: \w+)? {_PLACE}\b{_ABOUT}\b{_SAID}",
    r"\b(?:no|not enough|insufficient) (?:\w+ )?information\b",
    # "I cannot answer that from the context.", "I do not know.", "I'm unable to tell."
    rf"\bi (?:{_CANNOT}|am not able to|was not able to) (?:\w+ )?(?:answer|find|tell|say|determine|provide|locate)\b",
    r"\bunable to (?:\w+ )?(?:answer|find|tell|say|determine|provide|locate)\b",
    r"\bi (?:do not|don['’]t) (?:know\b(?=\W*$| from| based| whether| who| what| when| how| that)|"
    r"have (?:\w+ )?(?:information|details|data)\b)",
    # "It cannot be determined.", "The answer isn't in the passages."
    rf"\b{_CANNOT} be (?:answered|determined|inferred|derived)\b",
    rf"\b{_CANNOT} be (?:found|told)\b{_ABOUT}\b{_PLACE}\b",
    rf"\b{_IS_NOT} (?:\w+ )?(?:in|mentioned|stated|given|specified|provided|said|contained|covered|found|available|"
    rf"included|discussed|answered)\b{_ABOUT}\b{_PLACE}\b",
    rf"\binformation {_IS_NOT} (?:\w+ )?(?:provided|given|available|included|contained|mentioned|stated)\b",
    rf"\b(?:nobody|nothing|no one|nowhere)\b{_ABOUT}\bin the (?:\w+ ){{0,2}}{_PLACE}\b",
    # extractive
    r"\bnothing in the (?:\d+ )?items? that (?:was|were) packed matches the question\b",
    r"\bthere were no items to answer from\b",
)
"""Without regard to upper and lower case, anywhere in a sentence."""


def abstention_pattern(own: Sequence[str] = ()) -> re.Pattern[str]:
    """Return what finds the phrases, and the patterns of whoever measures; raises re.error for one that is none."""
    for pattern in own:
        re.compile(pattern)
    return re.compile("|".join(f"(?:{pattern})" for pattern in (*own, *PHRASES)), re.IGNORECASE)


def is_abstention(sentences: Sequence[CitedSentence], pattern: re.Pattern[str]) -> bool:
    """Tell whether an answer abstains: its first sentence does, or any where none of them cites a passage.

    So "Trains are second class [1]. The context does not say more." is an answer: it gives the part that there is.
    """
    looked_at = sentences[:1] if any(sentence.cited for sentence in sentences) else sentences
    return any(abstains(sentence, pattern) for sentence in looked_at)


def abstains(sentence: CitedSentence, pattern: re.Pattern[str]) -> bool:
    """Tell whether a sentence says that there is no answer, and nothing that a passage is cited for.

    So "The context does not say who; everybody has 28 days [1]." states something.
    """
    return not sentence.cited and pattern.search(sentence.text) is not None
