"""Texts that grow: 40 shapes for each reader, some known to be hard for parsers, the others drawn from pieces."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import frozen

COUNT = 40
"""Shapes for each reader."""

HTML_PIECES = (
    "<a ", "<a href='x.md'>", "<table>", "<tr>", "<td>", "<th>", "<p>", "</p>", "<div>", "</div>", "<b>", "</b>",
    "<ul>",
    "<li>", "<h1>", "<h2 id=s>", "</h2>", "<pre>", "</pre>", "<!--", "-->", "<![CDATA[", "<?x", "<script>", "</script",
    "<textarea>", "<title>", "&amp;", "&#", "&", "<", ">", "\"", "'", "=", "/", "word ", "\n", "   ", "<br>", "<code>",
    "</table>", "</td>", "<main>", "<dl><dt>", "<font size=1>", "x=\"", "<a b='",
)  # fmt: skip
MARKDOWN_PIECES = (
    "# same\n", "## a {#b}\n", "# ", "text ", "\n", "\n\n", "- ", "  - ", "> ", ">", "```\n", "~~~\n", "`", "[a](b.md)",
    "[", "](", "[[", "]]", "[a]: b\n", "| a | b |\n", "|---|---|\n", "|", "===\n", "---\n", "*", "_", "<div>\n", "<!--",
    "1. ", "\t", "    ", "{#", "}", "\\", "!", "<a ", "&", "# [a\n", "word\n---\n", "x\n===\n",
)  # fmt: skip
TEXT_PIECES = (
    "word ", "Word. ", "a", ". ", ".", "...", "\"", "'", "\n", "\n\n", "\n \n", "    ", "\t", "…", " … ", "。", "1. ",
    "e.g. ", "- ", "–", ", ", "é", "漢字", "Mr. ", "(", ")", "| a |", "===\n", "~~~~\n", "> ", "`", "x" * 70, "\r\n",
    "\u200b",
    "1,234.5 ", "snake_case ", "CamelCase", "A" * 40, "_", "#",
)  # fmt: skip
CODE_PIECES = (
    "def f(x):\n", "    return x\n", "class A:\n", "\n", "\n\n", "static int f(int x)\n", "{\n", "}\n",
    "public static ",
    "a ", "*", "(", ")", "const f = (", "async ", "// c\n", "# c\n", "'", "\"", ";\n", "\t", "  ", "func (s *S) f(",
    "export default ", "x" * 90, "a, ", "<a>", "::", "~", "pub(", "CREATE OR REPLACE VIEW v AS\n", "[a]", "&", "=",
    "if (",
    "end\n", "else\n", "a b c d e f ", "fn f", "name ",
)  # fmt: skip
JSON_PIECES = (
    '{"text": "a"}\n', '{"id": 1, "text": "a"}\n', "\n", "[", "]\n", "{", "}\n", '{"x": {"y": 1}}\n', '"', ",", "1",
    "null\n",
    '{"text": ["a"]}\n', '{"text": "word word", "tags": ["a", "b"]}\n', '{"title": "t"}\n', '{"": ""}\n', "\\u00e9",
    " ",
    '{"text": "a", "metadata": {"k": "v"}}\n', "x\n", "\ufeff", '{"text": 1}\n', "é", '{"_id": "a"}\n',
)  # fmt: skip


@frozen
class Shape:
    """A text of any size: what stands once before and after, and the rest, which comes again and again."""

    again: str
    before: str = ""
    after: str = ""
    numbered: bool = False
    """Each time with another number, where the text has `@`."""

    def text(self, size: int) -> str:
        """Return a text of about so many characters."""
        times = max(1, size // len(self.again))
        if self.numbered:
            return self.before + "".join(self.again.replace("@", str(n)) for n in range(times)) + self.after
        return self.before + self.again * times + self.after


def halves(first: Callable[[int], str], second: Callable[[int], str]) -> Callable[[int], str]:
    """Return what makes a text of which one half is of one kind and the other half of another."""
    return lambda size: first(size // 2) + second(size // 2)


def drawn(pieces: tuple[str, ...], count: int) -> list[Shape]:
    """Return shapes put together from a few pieces each, always the same ones."""
    chooser = random.Random(11)
    shapes = []
    for _ in range(count):
        again = "".join(chooser.choices(pieces, k=chooser.randint(1, 4)))
        before, after = (chooser.choice(("", "", chooser.choice(pieces))) for _ in range(2))
        shapes.append(Shape(again, before, after))
    return shapes


HTML = [
    *(
        Shape(again)
        for again in ("<a ", "<table><tr><td>x", "<tr><td>a", "<h2>same</h2>", "<h2>same", "<", "<!--", "</", "<p>a")
    ),
    *(
        Shape(again)
        for again in ("<div>", "<ul><li>a", "<li>a", "<b> </b>", "<table>", "&#", "<textarea>", "<pre>```\n")
    ),
    Shape("<th>x<table><tr>"),
    Shape("<font size=@>", numbered=True),
    Shape("<h2 id=s@>t</h2>", numbered=True),
    Shape("<a href='d@.md'>x</a>", "<table><tr><th>", numbered=True),
    Shape(" a=1", "<a", ">"),
    Shape(" a@=1", "<a", ">", numbered=True),
    Shape("<tr><td>", "<table><tr>" + "<th>wide" * 500),
    Shape("<h2>s</h2>a", "<h1>" + "long " * 300 + "</h1>"),
    Shape("<h@>t", numbered=True),
    Shape("<ol start=@><li>", numbered=True),
    Shape("<h1>x</h1 <template>"),
]
MARKDOWN = [
    *(
        Shape(again)
        for again in ("# same\n\na\n", "# same\n", "[a]: b\n", "> ", "- ", "`", "``` ", "[[", "[a](", "{#a", "*a ")
    ),
    *(Shape(again) for again in ("# a\n\\\n> > ", "# a\n\\\n> ", "###### a #\n|a|b|\n|-|-|\n\\\n> > ", "> # a\nb\n")),
    Shape(" ", "# a", "b\n"),
    Shape("{#a", "# x ", "\n"),
    Shape("[a]: b@\n", "x\n===\n", numbered=True),
    Shape("|a", "", "\n|-|\n"),
    Shape("|\n", "x\n===\n|" + "a|" * 300 + "\n|" + "-|" * 300 + "\n"),
    Shape("# a\n", "# " + "long " * 300 + "\n"),
    Shape("## h\n\n[a] [b]\n", "[a]: x.md\n"),
    Shape("## [a](b@.md)\n", numbered=True),
    Shape("<a ", "x\n===\n# "),
    Shape("a*", "# ", "\n"),
    Shape("# a\n", "---\nt: " + "x" * 1900 + "\n---\n"),
    Shape("# a\n", "---\na: &a {k: v}\n" + "".join(f"b{n}: &b{n} {{<<: [*a, *a]}}\n" for n in range(30)) + "---\n"),
]
TEXT = [
    *(
        Shape(again)
        for again in ("a", " ", "\n", ". ", ".", "Word. ", "a\n\n", "…", "'", "~~~~\n", "> a\n", "- a\n", 'x."')
    ),
    Shape(" ", "a", "b"),
    Shape("\n ", "a", "b"),
    Shape("Paragraph @ of a text.\n\n", numbered=True),
]
CODE = [
    *(
        Shape(again)
        for again in ("def f():\n    a\n\n", "x", "a ", "\n", "f(\n", "static int f(int a)\n{\n}\n\n", "public ", "}\n")
    ),
    Shape("def f@():\n    pass\n\n", numbered=True),
    Shape("a b c d e f g h i j k l m n o p q r s t u v w x y z (\n"),
]
JSONL = [
    *(Shape(again) for again in ('{"text": "a"}\n', "x\n", "\n", "[", "{", '{"x": 1}\n', '{"id": "a", "text": "b"}\n')),
    Shape('{"id": "@", "text": "b"}\n', numbered=True),
    Shape("a", '{"text": "', '"}\n'),
    Shape("a", '{"', '": 1}\n'),
    Shape('{"a":', '{"text": "b", "x": ', "1"),
    Shape('"k@": 1,', '{"text": "b", ', '"x": 1}', numbered=True),
]


RST_PIECES = (
    "word ",
    "\n",
    "\n\n",
    "===\n",
    "---\n",
    "T\n=\n",
    ".. note::\n\n",
    "   ",
    "  ",
    "- ",
    "* ",
    "1. ",
    "+--+--+\n",
    "| a|b |\n",
    "+==+==+\n",
    "=== ===\n",
    "a   b\n",
    ":f: x\n",
    ".. [1] n\n",
    "[1]_ ",
    "``",
    "`a`_ ",
    "`",
    "|x|",
    "::\n\n",
    ".. _a: b\n",
    ".. code::\n\n",
    ".. list-table::\n\n",
    "   * - a\n",
    "     - b\n",
    "|",
    "_",
    "\\",
    ".. ",
    "__ ",
    ".. csv-table::\n\n",
    "<",
    ">`_",
)
RST = [
    Shape(again)
    for again in (
        "``",
        "`a`_ ",
        "`",
        "|x|",
        "+--+--+\n",
        "=== ===\n",
        "- ",
        "* a\n  ",
        ".. list-table::\n\n   * - a\n",
    )
]
ASCIIDOC_PIECES = (
    "= T\n",
    "== S\n",
    "word ",
    "\n",
    "\n\n",
    "----\n",
    "====\n",
    "|===\n",
    "| a ",
    "|",
    "* ",
    "** ",
    ". ",
    ".T\n",
    "[source,x]\n",
    "NOTE: ",
    "a:: b\n",
    "+\n",
    "footnote:[x] ",
    "https://a[b] ",
    "https://a[",
    "{a}",
    "^a^",
    "<<a,b>>",
    "`",
    "+",
    "[[",
    "]]",
    "--\n",
    "____\n",
    "//",
    "////\n",
    "2+|",
    "5*|",
    "!===\n",
    ",===\n",
    "a,b\n",
    "T\n--\n",
)
ASCIIDOC = [
    Shape(again)
    for again in (
        "https://a[",
        "NOTE: ====\nhttps://a[[[+",
        "!===\n|===\n",
        "footnote:[x] ",
        "----\n",
        "== S\nword ",
        ":: a\n",
    )
]
ORG_PIECES = (
    "* H\n",
    "** H :a:\n",
    "word ",
    "\n",
    "\n\n",
    "- ",
    "  - ",
    "| a | b |\n",
    "|--\n",
    "#+BEGIN_SRC x\n",
    "#+END_SRC\n",
    "#+begin_center\n",
    ": x\n",
    ":A:\n",
    ":END:\n",
    "[fn:1] ",
    "[fn:1: x] ",
    "[[a][b]]",
    "[[",
    "=a=",
    "=",
    "~",
    "+",
    "\\(",
    "\\[",
    "#+TITLE: x\n",
    "^{",
    "}",
    "<",
    "# c\n",
)
ORG = [
    Shape(again)
    for again in (
        "#+begin_center\n",
        "[[",
        "[fn:1: x] ",
        ":A:\n",
        "| a ",
        "* H\n",
    )
]
LATEX_PIECES = (
    "\\section{a}",
    "word ",
    "\n\n",
    "{",
    "}",
    "\\begin{itemize}",
    "\\item ",
    "\\end{itemize}",
    "$",
    "$$",
    "\\[",
    "\\]",
    "\\(",
    "\\footnote{",
    "\\textbf{",
    "\\texttt{",
    "\\begin{tabular}{ll}",
    "&",
    "\\\\",
    "\\end{tabular}",
    "\\begin{verbatim}",
    "\\end{verbatim}",
    "\\verb|",
    "%",
    '\\"',
    "\\'e",
    "\\href{a}{",
    "[",
    "]",
    "\\caption{",
    "\\begin{table}",
    "\\end{table}",
    "\\multicolumn{9999}{l}{",
    "\\multirow{99}{*}{",
    "\\title{",
    "\\label{",
)
LATEX = [
    Shape(again)
    for again in (
        "\\[",
        "\\(",
        "\\begin{tabular}{ll}",
        "\\footnote{",
        "{",
        "\\texttt{",
        "$",
        "\\multicolumn{9999}{l}{a} & ",
    )
]
MANUAL_PIECES = (
    ".TH A 1\n",
    ".SH B\n",
    ".PP\n",
    ".TP\n",
    ".B x\n",
    ".BR a b\n",
    "word ",
    "\n",
    ".nf\n",
    ".fi\n",
    "\\fB",
    "\\",
    "\\(",
    ".IP x 1\n",
    ".de X\n",
    "..\n",
    ".It Fl a\n",
    ".Op x\n",
    ".Nm\n",
    '"',
    '.BR "',
    "\\[",
    "\\*[",
    "\\h'",
)
MANUAL = [
    Shape(again)
    for again in (
        ".TP\n",
        '.B "',
        "\\fB",
        "\\[",
        ".de X\n",
    )
]
SUBTITLE_PIECES = (
    "1\n",
    "00:00:01,000 --> 00:00:02,000\n",
    "00:00:01.000 --> 00:00:02.000\n",
    "word. ",
    "\n",
    "\n\n",
    "<i>",
    "<",
    "{\\",
    "- a\n",
    "<v A>",
    "&",
    "WEBVTT\n",
    "-->",
)
SUBTITLES = [
    Shape(again)
    for again in (
        "00:00:01,000 --> 00:00:02,000\n",
        "<",
        "{\\",
        "1\n",
    )
]


def shapes_of(known: list[Shape], pieces: tuple[str, ...]) -> list[Shape]:
    """Return as many shapes as are wanted: those that are known to be hard, then others."""
    return [*known, *drawn(pieces, COUNT - len(known))]
