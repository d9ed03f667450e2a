"""What stands inside a line of reStructuredText: roles, links, marks of notes, substitutions, code."""

from __future__ import annotations

import re

_DEFINED = re.compile(r"\.\.[ \t]+_(?:`([^`\n]+)`|((?:[^:\\\n]|\\.)+)):[ \t]*(\S.*)?$")
_ANONYMOUS = re.compile(r"(?:\.\.[ \t]+__:|__)[ \t]+(\S+)$")
_REPLACED = re.compile(r"\.\.[ \t]+\|([^|\n]{1,200})\|[ \t]+replace::[ \t]+(.*)$")
_NUMBERED = re.compile(r"\.\.[ \t]+\[(\d{1,4})\](?:[ \t]|$)")
_INLINE = re.compile(
    r"""(?P<code>``(?P<literal>[^\n]+?)``)(?!`)
    | (?::(?P<role>[A-Za-z][\w:+.-]{0,60}):)`(?P<content>(?:[^`\\]|\\.)+)`
    | `(?P<words>(?:[^`\\]|\\.)+)`(?P<link>__?)?
    | \[(?P<note>\#?[\w.-]{0,60}|\*)\]_(?!\w)
    | \|(?P<name>[^|\s](?:[^|]{0,100}[^|\s])?)\|_{0,2}
    | (?<![\w_])(?P<word>[A-Za-z0-9](?:[\w.+-]{0,100}[A-Za-z0-9])?)(?P<under>__?)(?![\w_])
    | \\(?P<escaped>.)""",
    re.VERBOSE,
)
_ACTIVE = re.compile(r"[`|_\\]")
_TARGET = re.compile(r"(.*?)[ \t]*<([^<>]+)>$", re.DOTALL)
_SCRIPTS = {"sup": "^", "superscript": "^", "sub": "_", "subscript": "_"}
_WORDS = frozenset({
    "ref", "doc", "term", "numref", "any", "abbr", "dfn", "emphasis", "strong", "guilabel", "menuselection", "title",
    "title-reference", "index", "cite", "download", "rfc", "pep", "pypi", "issue", "eq", "keyword", "manpage",
})  # fmt: skip


class RstInline:
    """Writes the lines of a document as blocks have them; knows the names that it defines anywhere."""

    def __init__(self, lines: list[str]) -> None:
        self._targets: dict[str, str] = {}
        self._anonymous: list[str] = []
        self._replaced: dict[str, str] = {}
        self._marks = {"defined": 0, "used": 0, "star defined": 0, "star used": 0}
        self._next_anonymous = 0
        self._taken: set[str] = set()
        for line in lines:
            if line.lstrip().startswith((".. ", "__ ")):
                self._define(line.strip())

    def _define(self, line: str) -> None:
        if found := _DEFINED.match(line):
            if found[3]:
                self._targets[_name(found[1] or found[2])] = found[3].strip().strip("`").removesuffix("`_")
        elif found := _ANONYMOUS.match(line):
            self._anonymous.append(found[1])
        elif found := _NUMBERED.match(line):
            self._taken.add(found[1])
        elif found := _REPLACED.match(line):
            self._replaced[found[1]] = found[2]

    def __call__(self, text: str) -> str:
        """Return a line as blocks have it."""
        return _INLINE.sub(self._written, text) if _ACTIVE.search(text) else text

    def note_mark(self, written: str, *, defines: bool = False) -> str:
        """Return the mark of a note: its name, or the number that `#` gets: none that a note has by itself."""
        if written not in ("#", "*"):
            return written.lstrip("#")
        key = ("star " if written == "*" else "") + ("defined" if defines else "used")
        self._marks[key] += 1
        while written == "#" and str(self._marks[key]) in self._taken:
            self._marks[key] += 1
        return f"{written}{self._marks[key]}" if written == "*" else str(self._marks[key])

    def _written(self, found: re.Match[str]) -> str:
        if found["code"]:
            return f"`{found['literal']}`"
        if found["role"]:
            return _role(found["role"].lower(), _plain(found["content"]))
        if found["words"]:
            return self._link(_plain(found["words"]), found["link"] or "")
        if found["note"]:
            return f"[^{self.note_mark(found['note'])}]"
        if found["name"]:
            return self._replaced.get(found["name"], found[0])
        if found["word"]:
            target = self._targets.get(_name(found["word"]), "")
            if found["under"] == "__" and self._anonymous:
                target = self._take_anonymous()
            return f"[{found['word']}]({target})" if target else found[0]
        return "" if found["escaped"] == " " else found["escaped"]

    def _link(self, words: str, under: str) -> str:
        if not under:
            return f"`{words}`"
        if embedded := _TARGET.match(words):
            target = self._targets.get(_name(embedded[2].removesuffix("_")), embedded[2])
            self._targets.setdefault(_name(embedded[1]), target)
            return f"[{embedded[1]}]({target})" if embedded[1] else target
        target = self._take_anonymous() if under == "__" else self._targets.get(_name(words), "")
        return f"[{words}]({target})" if target else words

    def _take_anonymous(self) -> str:
        self._next_anonymous += 1
        return self._anonymous[self._next_anonymous - 1] if self._next_anonymous <= len(self._anonymous) else ""


def _role(role: str, content: str) -> str:
    """Return what a role shows of its content."""
    role = role.rpartition(":")[2]
    if role == "math":
        return f"${content}$"
    if role in _SCRIPTS:
        return _SCRIPTS[role] + content
    if embedded := _TARGET.match(content):
        target = embedded[2]
        return f"[{embedded[1]}]({target})" if role in ("doc", "download") and embedded[1] else embedded[1] or target
    if role in ("rfc", "pep"):
        return f"{role.upper()} {content}"
    content = content.rpartition(".")[2] if content.startswith("~") else content.lstrip("!")
    return content if role in _WORDS else f"`{content}`"


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text) if "\\" in text else text


def _name(text: str) -> str:
    return " ".join(text.replace("\\", "").casefold().split())
