"""What stands inside a line of AsciiDoc: links, notes, marks, attributes."""

from __future__ import annotations

import re

from attrs import define, field

from nexus_core import Place

_ACTIVE = re.compile(r"[\[`{<^~+#]|--|\(C\)|\.\.\.")
_INLINE = re.compile(
    r"""(?P<pass>\+{3}(?P<raw>[^+\n]{0,500})\+{3}|pass:\w*\[(?P<passed>[^\[\]]*)\])
    | (?<!`)`(?:\+(?P<exact>[^`\n]{1,500}?)\+|(?P<code>[^`\n]{1,500}))`(?!`)
    | \{(?P<attribute>[\w-]{1,60})\}
    | (?P<note>footnote(?:ref)?:(?P<id>[\w-]*)\[(?P<said>(?:[^\[\]\\]|\\.|\[[^\[\]]*\])*)\])
    | (?:stem|latexmath|asciimath):\[(?P<tex>(?:[^\[\]]|\[[^\[\]]*\])*)\]
    | image:(?!:)[^\[\s]*\[(?P<alt>[^\[\],]*)[^\[\]]*\]
    | (?P<target>(?:link:|xref:)[^\[\s]+|mailto:[^\[\s]+|(?:https?|ftp)://[^\[\s<>]+)\[(?P<words>(?:[^\[\]\\]|\\.|\[[^\[\]]*\])*)\]
    | <<(?P<reference>[^,<>]{1,200})(?:,(?P<shown>[^<>]{1,300}))?>>
    | (?:kbd|btn|menu):[^\[\s]*\[(?P<key>[^\[\]]*)\]
    | \[\[(?P<anchor>[\w:.-]+)\]\]
    | \[(?:\.)?line-through\]\#(?P<struck>[^\#]+)\#
    | (?:\[[\w.\# -]{0,60}\])\#{1,2}(?P<marked>[^\#\n]+)\#{1,2}
    | \^(?P<raised>[^\s^]{1,60})\^
    | ~(?P<lowered>[^\s~]{1,60})~""",
    re.VERBOSE,
)


@define(eq=False)
class AsciiDocInline:
    """Writes the lines of a document as blocks have them; knows its attributes and collects its notes."""

    attributes: dict[str, str] = field(factory=dict)
    notes: dict[str, tuple[str, Place]] = field(factory=dict)
    _named: dict[str, str] = field(factory=dict)
    """The marks of notes that are referred to again."""
    _count: int = 0

    def __call__(self, text: str) -> str:
        """Return a line as blocks have it."""
        return _INLINE.sub(self._written, text) if _ACTIVE.search(text) else text

    def _written(self, found: re.Match[str]) -> str:
        if found["pass"]:
            return found["raw"] or found["passed"] or ""
        if found["exact"] or found["code"]:
            return f"`{found['exact'] or found['code']}`"
        if found["attribute"]:
            return self.attributes.get(found["attribute"].lower(), _SIGNS.get(found["attribute"], found[0]))
        if found["note"]:
            return self._note(found["id"] or "", found["said"].replace("\\]", "]"))
        if found["target"]:
            target = found["target"].removeprefix("link:").removeprefix("xref:")
            words = found["words"].replace("\\]", "]").removesuffix("^").partition(",window=")[0].strip('"')
            return f"[{words}]({target})" if words else target.removeprefix("mailto:")
        if found["reference"]:
            return found["shown"].strip() if found["shown"] else found["reference"].lstrip("#_").replace("_", " ")
        for name, mark in (("raised", "^"), ("lowered", "_")):
            if found[name]:
                return mark + found[name]
        if found["tex"]:
            return f"${found['tex']}$"
        return f"~~{found['struck']}~~" if found["struck"] else found["alt"] or found["key"] or found["marked"] or ""

    def _note(self, name: str, said: str) -> str:
        if not said and name in self._named:
            return f"[^{self._named[name]}]"
        self._count += 1
        mark = str(self._count)
        self._named[name] = mark
        self.notes[mark] = self(said), Place()
        return f"[^{mark}]"


_SIGNS = {"nbsp": " ", "zwsp": "", "sp": " ", "empty": "", "blank": "", "plus": "+", "asterisk": "*", "vbar": "|",
          "lt": "<", "gt": ">", "amp": "&", "cpp": "C++", "startsb": "[", "endsb": "]", "caret": "^", "tilde": "~",
          "backtick": "`", "backslash": "\\", "two-colons": "::", "deg": "°", "apos": "'", "quot": '"'}  # fmt: skip
