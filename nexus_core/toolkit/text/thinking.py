"""Think blocks: reasoning that a model writes in its text, before the answer, as `<think>...</think>`.

Only the start of an answer can be reasoning: a tag in code, or after the answer has begun, is text. All blocks that
follow one another there are reasoning, and a block within a block is part of it. Some chat templates write the opening
tag themselves, so that only the closing one comes back. In a whole answer that is seen; in a stream it is seen too
late, unless it is known of the model (`thinks`): then text is held back until the tag has come. Pure.
"""

from __future__ import annotations

import re
from itertools import accumulate

from nexus_core.toolkit.text.segmentation import INVISIBLE

NAMES = ("think", "thinking", "thought")
_MOST_BLANK = 1024
"""Characters of white space that may stand before an opening tag, and that are held back within the reasoning."""
_MOST_ATTRIBUTES = 200
"""Characters of an opening tag after its name."""
_LONGEST = len("<thinking ") + _MOST_ATTRIBUTES
_ANY = "|".join(NAMES)
_BLANK = rf"[{INVISIBLE}]{{0,{_MOST_BLANK}}}"
_ATTRIBUTES = rf"(?:\s[^<>]{{0,{_MOST_ATTRIBUTES}}})?(?<!/)"
_BEGINNINGS = "|".join(sorted({begun for name in NAMES for begun in accumulate(name)}, key=len, reverse=True))
_PART = rf"(?:/?(?:{_BEGINNINGS})?|(?:{_ANY})\s[^<>]{{0,{_MOST_ATTRIBUTES}}})\Z"
_OPENING = re.compile(rf"{_BLANK}(?i:<({_ANY}){_ATTRIBUTES}>)")
_MAY_OPEN = re.compile(rf"{_BLANK}(?i:\Z|<(?!/){_PART})")
_TAG = re.compile(rf"<(?:(/)(?:{_ANY})|(?:{_ANY}){_ATTRIBUTES})>", re.IGNORECASE)
_TAG_PART = re.compile(f"<{_PART}", re.IGNORECASE)
_MARKS = re.compile(r"^[ ]{0,3}(?:```|~~~)|\n|`", re.MULTILINE)


def _tags_of(name: str) -> re.Pattern[str]:
    """Return what finds the tags in a block: each closing one, and an opening one that is not quoted."""
    return re.compile(rf"<(/)(?:{name})>|(?<!`)<(?:{name}){_ATTRIBUTES}>", re.IGNORECASE)


_ANY_TAGS = _tags_of(_ANY)


def split_thinking(text: str, *, thinks: bool = False, cut: bool = False) -> tuple[str, str]:
    """Return the reasoning at the start of a whole answer and the answer after it; without any, the text as it is.

    A block that is never closed is reasoning to its end. With `thinks` the first closing tag ends the reasoning,
    wherever it stands, and an answer that was ended by its length (`cut`) before that tag is all reasoning. Without, a
    closing tag that has no opening one counts outside of code only. One that ends a block within another does not count
    for the outer one. Where too few come, an opening tag was only spoken of: then the last closing one counts.
    """
    if "<" not in text:
        return (text.strip(), "") if thinks and cut else ("", text)
    if not thinks and _OPENING.match(text) is None:
        if not _begins_closed(text):
            return "", text
        thinks = True
    stream = ThinkingStream(thinks=thinks)
    (thought, answer), (last_thought, last) = stream.take(text), stream.finish(cut=cut)
    return thought + last_thought, answer + last


def _begins_closed(text: str) -> bool:
    """Tell whether the first tag is a closing one and stands outside of code."""
    tag = _TAG.search(text)
    if tag is None or not tag[1]:
        return False  # after an opening one, both are something that the answer speaks of
    fenced = quoted = False
    for mark in _MARKS.finditer(text, 0, tag.start()):
        match mark[0]:
            case "\n":
                quoted = False
            case "`":
                quoted = not fenced and not quoted
            case _:
                fenced = not fenced
    return not (fenced or quoted)


class ThinkingStream:
    """Parts reasoning from answer in a stream, however its text is cut.

    Give each piece of text to `take`, and call `finish` at the end: both return what has become clear, reasoning first.
    Once `passes` is true, every further piece is text and need not be given.
    """

    __slots__ = (
        "_begun", "_closed", "_depth", "_gap", "_held", "_kept", "_last", "_state", "_tags", "_thinks", "passes",
        "stray",
    )  # fmt: skip

    def __init__(self, *, thinks: bool = False) -> None:
        self._state = "start"
        self._thinks = thinks
        self._held = ""
        """The end of what has come, as far as it is not decided."""
        self._tags = _ANY_TAGS
        """What finds the tags of the block."""
        self._depth = 1
        """How many blocks are open, one within the other."""
        self._kept: list[str] | None = None
        """What is reasoning if a closing tag comes: the text of a model that thinks, or all after an inner block."""
        self._last: int | None = None
        """The place of the last closing tag in it."""
        self._closed = False
        """A block has ended: further ones may follow."""
        self._begun = False
        """Some reasoning of the block has gone out."""
        self._gap = ""
        """What stands between the reasoning that has gone out and that of the next block."""
        self.passes = False
        self.stray = False
        """A closing tag stood in text that had gone out: perhaps all before it was reasoning."""

    @property
    def watches(self) -> bool:
        """Whether a piece that holds no `<` and ends with no backtick is text, and need not be given."""
        return self._state == "text" and not self._held

    @property
    def inside(self) -> bool:
        """Whether a block has been opened and not closed."""
        return self._state == "inside"

    def take(self, text: str) -> tuple[str, str]:
        """Return the reasoning and the answer that a piece of text adds; often nothing yet."""
        if self._state == "text":
            return "", self._watch(text)
        text, self._held = self._held + text, ""
        if self._begun and self._kept is None and "<" not in text and text[-1:].isalnum() and self._state == "inside":
            return text, ""  # nearly every piece of reasoning
        thoughts: list[str] = []
        place: int | None = 0
        while place is not None and self._state != "text":
            place = self._start(text, place) if self._state == "start" else self._inside(text, place, thoughts)
        rest = "" if place is None else text[place:]
        return "".join(thoughts), rest if self.passes else self._watch(rest)

    def reasoned_elsewhere(self) -> tuple[str, str]:
        """Note that reasoning comes in a field of its own, and return the text that was held back for a closing tag."""
        self._thinks = False
        if self._kept is None or self._tags is not _ANY_TAGS:
            return "", ""
        text = "".join(self._kept) + self._held
        self._held, self._state, self._kept, self.passes = "", "text", None, True
        return "", text

    def finish(self, *, cut: bool = False) -> tuple[str, str]:
        """Return what is left at the end; `cut` says that the answer was ended by its length.

        What a model that thinks wrote until it was cut is reasoning, since no closing tag has come.
        """
        held, state, kept, last = self._held, self._state, self._kept, self._last
        self._held, self._state, self._kept, self.passes = "", "text", None, True
        if state == "text":
            return "", ""
        if state == "start":
            return (held.strip(), "") if self._thinks and cut and not self._closed else ("", held)
        if kept is None or cut:
            return self._thought("".join(kept or ()) + held).rstrip(), ""
        if last is None:
            return "", "".join(kept) + held
        thought = self._thought("".join(kept[:last])).rstrip()
        self._state, self._closed, self.passes = "start", True, False
        (more, answer), (last_thought, rest) = self.take("".join(kept[last + 1 :]) + held), self.finish()
        return thought + more + last_thought, answer + rest

    def _start(self, text: str, place: int) -> int | None:
        """Return where a block or the answer begins, `None` where that is not clear yet."""
        while self._closed and place < len(text) and text[place].isspace():
            place += 1
        opening = _OPENING.match(text, place)
        if opening is not None:
            self._state, self._tags, self._depth, self._begun = "inside", _tags_of(opening[1].lower()), 1, False
            return opening.end()
        if _MAY_OPEN.match(text, place):
            self._held = text[place:]
            return None
        if self._thinks and not self._closed:
            self._state, self._kept = "inside", []
        else:
            self._state, self.passes = "text", self._closed
        return place

    def _inside(self, text: str, place: int, thoughts: list[str]) -> int | None:
        """Go on to the next tag and return its end, `None` where none has come; add reasoning that is clear."""
        tag, kept = self._tags.search(text, place), self._kept
        if tag is None:
            sure = _undecided(text, place)
            if kept is None:  # what may begin the tag waits, and so does the white space before it
                sure = max(place + len(text[place:sure].rstrip()), sure - _MOST_BLANK)
            self._held = text[sure:]
        else:
            self._depth += -1 if tag[1] else 1
            sure = tag.start() if tag[1] else tag.end()
        said = text[place:sure]
        if tag is None or not tag[1]:
            thoughts.append(self._thought(said)) if kept is None else kept.append(said)
            return None if tag is None else tag.end()
        if self._depth:  # the rest is reasoning only if the outer block is closed, too
            if kept is None:
                thoughts.append(self._thought(words := said.rstrip()))
                kept, said = [], said[len(words) :]
            kept += said, tag[0]
            self._kept, self._last = kept, len(kept) - 1
        else:
            thoughts.append(self._thought("".join(kept or ()) + said).rstrip())
            self._state, self._kept, self._last, self._closed = "start", None, None, True
        return tag.end()

    def _thought(self, text: str) -> str:
        """Return reasoning without the blank lines at its start, apart from that of the block before."""
        if not self._begun:
            text = text.lstrip()
            if text:
                self._begun, text, self._gap = True, self._gap + text, "\n\n"
        return text

    def _watch(self, text: str) -> str:
        """Return text as it is, and look for a closing tag in it, also where it is cut."""
        if text and (self._held or "<" in text or text.endswith("`")):
            seen = self._held + text
            tag = _TAG.search(seen)
            if tag is not None:  # after an opening one, both are something that the answer speaks of
                self.stray = bool(tag[1]) and seen[max(0, tag.start() - 1) : tag.start()] != "`"
                self.passes = True
            self._held = seen[_undecided(seen, 0) :]
        return text


def _undecided(text: str, place: int) -> int:
    """Return where the end of a text begins that may be part of a tag, with the backtick that quotes it."""
    at = text.rfind("<", max(place, len(text) - _LONGEST))
    if at < 0 or _TAG_PART.match(text, at) is None:
        at = len(text)
    return at - 1 if at > place and text[at - 1] == "`" else at
