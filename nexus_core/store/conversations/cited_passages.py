"""The passages that an answer cites, kept with its turn: what stands there later may be another text, or nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from attrs import asdict, frozen

from nexus_core.contract.prompts import PackedItem
from nexus_core.store.conversations.conversation import CitedPassage
from nexus_core.toolkit.attachments import ATTACHMENTS
from nexus_core.toolkit.documents.citation_place import place_of

MOST_PASSAGES = 20
"""Of one answer."""
PASSAGE_CHARACTERS = 2_000
"""Of one passage: conversations are read by the hundred turns."""
NAME_CHARACTERS = 4_096
"""Of what names a passage (its item's id and title, its source, and where it stands there), and of a file's name."""
MOST_FILES = 2 * ATTACHMENTS
"""Of one question, which has as many documents as attachments at most."""
_DIGITS = 2
"""Of scores: finer ones tell of items that may not be seen."""
_CITATION = re.compile(r"\[(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\]")
"""`[1]` or `[1, 3]`."""


@frozen
class KeptSources:
    """What is kept with a turn of what it was made of."""

    context: str | None = None
    """The context that was searched."""
    passages: tuple[CitedPassage, ...] = ()
    files: tuple[str, ...] = ()
    """The names of those that the question was about."""


def passages_json(
    answer: str, contexts: Sequence[str], items: Sequence[PackedItem], files: Sequence[str] = ()
) -> str | None:
    """Return what an answer cites of the items of its prompt, as it is kept; `None` where it cites nothing.

    With it go the names of the files that the question was about.
    """
    cited = {int(number) for told in _CITATION.findall(answer) for number in re.findall(r"\d+", told)}
    found = [packed for packed in items if packed.number in cited][:MOST_PASSAGES]
    context = contexts[0] if len(contexts) == 1 else None
    names = tuple(name[:NAME_CHARACTERS] for name in files[:MOST_FILES])
    return kept_json(KeptSources(context, tuple(_passage(packed) for packed in found), names))


def kept_json(kept: KeptSources) -> str | None:
    """Return what is kept with a turn as it is kept; `None` where there is neither a passage nor a file."""
    if not kept.passages and not kept.files:
        return None
    told = {"context": kept.context, "passages": [asdict(each) for each in kept.passages]}
    return json.dumps({**told, "files": [*kept.files]} if kept.files else told)


def read_passages(told: str | None) -> KeptSources:
    """Return the context that was searched, the passages that were cited and the files, from how they are kept."""
    if told is None:
        return KeptSources()
    kept = json.loads(told)
    passages = tuple(CitedPassage(**each) for each in kept["passages"])
    return KeptSources(kept["context"], passages, tuple(kept.get("files", ())))


def _passage(packed: PackedItem) -> CitedPassage:
    return CitedPassage(
        number=packed.number,
        id=packed.item.id[:NAME_CHARACTERS],
        title=packed.item.title[:NAME_CHARACTERS],
        source=packed.item.source[:NAME_CHARACTERS],
        place=place_of(packed.item, packed.text)[:NAME_CHARACTERS],
        relevance=round(packed.score, _DIGITS),
        whole=packed.whole,
        text=packed.text[:PASSAGE_CHARACTERS],
    )
