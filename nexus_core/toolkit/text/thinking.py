"""Think blocks: reasoning that a model writes in its text, before the answer, as `<think>...</think>`.

Only the start of an answer can be reasoning: a tag in code, or after the answer has begun, is text. Some chat templates
write the opening tag themselves, so that only the closing one comes back. In a whole answer that is seen; in a stream
it is seen too late, unless it is known of the model (`thinks`): then text is held back until the tag has come. Pure.
"""

from __future__ import annotations

import re

NAMES = ("think", "thinking", "thought")
_MOST_BLANK = 1024
"""Characters of white space that may stand before an opening tag, and that are held back within the reasoning."""
_OPENING = re.compile(rf"\s{{0,{_MOST_BLANK}}}<({'|'.join(NAMES)})>", re.IGNORECASE)
_CLOSING = re.compile(rf"</({'|'.join(NAMES)})>", re.IGNORECASE)
_LONGEST = len("</thinking>")
_MARKS = re.compile(rf"^[ ]{{0,3}}(?:```|~~~)|\n|`|</?(?:{'|'.join(NAMES)})>", re.IGNORECASE | re.MULTILINE)
_TAG = re.compile(rf"<(/?)(?:{'|'.join(NAMES)})>", re.IGNORECASE)
_STARTS = tuple(f"<{name}>" for name in NAMES)


def split_thinking(text: str, *, thinks: bool = False, cut: bool = False) -> tuple[str, str]:
    """Return the reasoning at the start of a whole answer and the answer after it; without any, the text as it is.

    A block that is never closed is reasoning to its end. With `thinks` the first closing tag ends the reasoning,
    wherever it stands, and an answer that was ended by its length (`cut`) before that tag is all reasoning. Without, a
    closing tag that has no opening one counts outside of code only.
    """
    if "<" not in text:
        return (text.strip(), "") if thinks and cut else ("", text)
    opening = _OPENING.match(text)
    if opening is not None:
        closing = _closing_of(opening[1]).search(text, opening.end())
        end, after = (closing.start(), closing.end()) if closing else (len(text), len(text))
        return text[opening.end() : end].strip(), text[after:].lstrip()
    closing = _CLOSING.search(text)
    if closing is None and thinks and cut:
        return text.strip(), ""
    if closing is None or not (thinks or _is_closed_at(text, closing)):
        return "", text
    return text[: closing.start()].strip(), text[closing.end() :].lstrip()


def _closing_of(name: str) -> re.Pattern[str]:
    return re.compile(f"</{name}>", re.IGNORECASE)


def _is_closed_at(text: str, closing: re.Match[str]) -> bool:
    """Tell whether a closing tag without an opening one stands outside of code."""
    fenced = quoted = False
    for mark in _MARKS.finditer(text, 0, closing.end()):
        found = mark[0].lstrip(" ")
        if found in ("```", "~~~"):
            fenced = not fenced
        elif found == "\n":
            quoted = False
        elif found == "`":
            quoted = not fenced and not quoted
        elif mark.start() == closing.start():
            return not (fenced or quoted)
        else:
            return False  # an opening tag: both are something that the answer speaks of
    return False


class ThinkingStream:
    """Parts reasoning from answer in a stream, however its text is cut.

    Give each piece of text to `take`, and call `finish` at the end: both return what has become clear, reasoning first.
    Once `passes` is true, every further piece is text and need not be given.
    """

    __slots__ = ("_begun", "_closing", "_held", "_pieces", "_state", "_thinks", "passes", "stray")

    def __init__(self, *, thinks: bool = False) -> None:
        self._state = "start"
        self._thinks = thinks
        self._held = ""
        """The end of what has come, as far as it is not decided."""
        self._pieces: list[str] = []
        """All that has come, while a closing tag is waited for."""
        self._closing = _CLOSING
        """The tag that ends the reasoning."""
        self._begun = False
        """Some reasoning has gone out."""
        self.passes = False
        self.stray = False
        """A closing tag stood in text that had gone out: perhaps all before it was reasoning."""

    @property
    def watches(self) -> bool:
        """Whether a piece that holds no `<` and ends with no backtick is text, and need not be given."""
        return self._state == "text" and not self._held

    def take(self, text: str) -> tuple[str, str]:
        """Return the reasoning and the answer that a piece of text adds; often nothing yet."""
        match self._state:
            case "start":
                return self._start(self._held + text)
            case "inside":
                return self._inside(self._held + text, len(text))
            case "hold":
                return self._hold(text)
            case "after":
                return "", self._after(text)
        return "", self._watch(text)

    def reasoned_elsewhere(self) -> tuple[str, str]:
        """Note that reasoning comes in a field of its own, and return the text that was held back for a closing tag."""
        self._thinks = False
        return ("", self._let_go()) if self._state == "hold" else ("", "")

    def finish(self, *, cut: bool = False) -> tuple[str, str]:
        """Return what is left at the end; `cut` says that the answer was ended by its length.

        What a model that thinks wrote until it was cut is reasoning, since no closing tag has come.
        """
        held, state = self._held, self._state
        if state == "hold":
            text = self._let_go()
            return (text.strip(), "") if cut else ("", text)
        self._held, self._state, self.passes = "", "text", True
        if state == "inside":
            return self._thought(held.rstrip()), ""
        if state == "start" and self._thinks and cut:
            return held.strip(), ""
        return "", held if state == "start" else ""

    def _start(self, held: str) -> tuple[str, str]:
        self._held = ""
        opening = _OPENING.match(held)
        if opening is not None:
            self._state, self._closing = "inside", _closing_of(opening[1])
            return self._inside(rest := held[opening.end() :], len(rest))
        if _may_open(held):
            self._held = held
            return "", ""
        if self._thinks:
            self._state = "hold"
            return self._hold(held)
        self._state = "text"
        return "", self._watch(held)

    def _inside(self, held: str, new: int) -> tuple[str, str]:
        closing = self._closing.search(held, max(0, len(held) - new - _LONGEST))
        if closing is not None:
            self._state, self._held = "after", ""
            return self._thought(held[: closing.start()].rstrip()), self._after(held[closing.end() :])
        # What may begin the tag waits, and so does the white space before it.
        sure = len(held) - _open_end(held)
        sure = max(len(held[:sure].rstrip()), sure - _MOST_BLANK)
        self._held = held[sure:]
        return self._thought(held[:sure]), ""

    def _thought(self, text: str) -> str:
        """Return reasoning without the blank lines at its start."""
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        return text

    def _hold(self, text: str) -> tuple[str, str]:
        self._pieces.append(text)
        end = self._held + text
        closing = _CLOSING.search(end)
        self._held = end[len(end) - _open_end(end) :]
        if closing is None:
            return "", ""
        whole = "".join(self._pieces)
        start, after = len(whole) - len(end) + closing.start(), len(whole) - len(end) + closing.end()
        self._state, self._held, self._pieces = "after", "", []
        return whole[:start].strip(), self._after(whole[after:])

    def _let_go(self) -> str:
        text = "".join(self._pieces)
        self._state, self._held, self._pieces, self.passes = "text", "", [], True
        return text

    def _after(self, text: str) -> str:
        """Return the answer without the blank lines between the block and it."""
        text = text.lstrip()
        self.passes = bool(text)
        return text

    def _watch(self, text: str) -> str:
        """Return text as it is, and look for a closing tag in it, also where it is cut."""
        if self._held or "<" in text or text.endswith("`"):
            seen = self._held + text
            tag = _TAG.search(seen)
            if tag is not None:  # after an opening one, both are something that the answer speaks of
                self.stray = bool(tag[1]) and seen[max(0, tag.start() - 1) : tag.start()] != "`"
                self.passes = True
            open_end = _open_end(seen)
            kept = open_end + 1 if open_end else int(seen.endswith("`"))
            self._held = seen[max(0, len(seen) - kept) :]
        return text


def _may_open(text: str) -> bool:
    """Tell whether a text may still turn out to begin with an opening tag."""
    start = text.lstrip().lower()
    return len(text) <= _MOST_BLANK + _LONGEST and any(tag.startswith(start) for tag in _STARTS)


def _open_end(text: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a tag."""
    at = text.rfind("<", max(0, len(text) - _LONGEST + 1))
    return 0 if at < 0 else len(text) - at
