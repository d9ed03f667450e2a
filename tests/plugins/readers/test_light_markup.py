"""reStructuredText, AsciiDoc, Org, LaTeX, manual pages and subtitles: the same blocks from each."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest

from nexus_core import (
    Block,
    Code,
    Figure,
    Footnote,
    Formula,
    Heading,
    Item,
    ListItem,
    Metadata,
    Paragraph,
    Quotation,
    Table,
)
from nexus_core.toolkit import DocumentReader, FileOrigin

FILLER = "Filler sentences say nothing of note about the matter. " * 30

RST = """=====
Guide
=====

:Author: Ada

Intro ``code``, `the site <https://x.org>`_, :ref:`a part <part>`, ref_, H\\ :sub:`2`\\ O, |v| [1]_

.. _ref: https://ref.org
.. |v| replace:: version 9
.. a comment

Setup
-----

.. note:: Mind the gap.

- one
  goes on

  - inner

1. first

Run::

    $ make

.. code-block:: python

   x = 1

+------+------+
| Name | Rate |
+======+======+
| Ada  | 12   |
+------+------+
| both        |
+------+------+

.. math:: E = mc^2

.. figure:: x.png
   :alt: A map

   To the sea.

   To be.

.. [1] A note.
.. include:: secret.txt
.. raw:: html

   <b>no</b>
"""
ADOC = """= Guide
Ada Lovelace <ada@x.org>
:v: version 9

Intro `code`, https://x.org[the site], <<part,a part>>, link:https://ref.org[ref], H~2~O, {v} footnote:[A note.]

// a comment

== Setup

NOTE: Mind the gap.

* one
goes on
** inner

//-
. first

Run:

----
$ make
----

[source,python]
----
x = 1
----

[options="header"]
|===
|Name |Rate
|Ada |12
2+|both
|===

[stem]
++++
E = mc^2
++++

.To the sea.
image::x.png[A map]

____
To be.
____

include::secret.txt[]
"""
ORG = """#+TITLE: Guide
#+AUTHOR: Ada
* Guide
Intro =code=, [[https://x.org][the site]], a part, [[https://ref.org][ref]], H_{2}O, version 9 [fn:1]
# a comment
** Setup
:PROPERTIES:
:ID: no
:END:
Note: Mind the gap.
- one
  goes on
  - inner
1. first

Run:
: $ make
#+begin_src python
x = 1
#+end_src
| Name | Rate |
|------+------|
| Ada  | 12   |
| both | both |
\\[E = mc^2\\]
#+CAPTION: To the sea.
[[file:x.png]]
#+begin_quote
To be.
#+end_quote
* Notes
[fn:1] A note.
"""
TEX = r"""\documentclass{article}
\newcommand{\secret}[1]{no}
\author{Ada}
\begin{document}
\section{Guide}
Intro \texttt{code}, \href{https://x.org}{the site}, a part, \href{https://ref.org}{ref},
H\textsubscript{2}O, version~9 \footnote{A note.} % a comment
\subsection{Setup}
Note: Mind the gap.
\begin{itemize}
\item one
goes on
\begin{itemize}\item inner\end{itemize}
\end{itemize}
\begin{enumerate}\item first\end{enumerate}
Run:
\begin{verbatim}
$ make
\end{verbatim}
\begin{lstlisting}[language=python]
x = 1
\end{lstlisting}
\begin{tabular}{lr}
Name & Rate \\ \hline
Ada & 12 \\
\multicolumn{2}{c}{both} \\
\end{tabular}
\begin{equation} E = mc^2 \end{equation}
\begin{figure}\includegraphics{x}\caption{To the sea.}\end{figure}
\begin{quote}To be.\end{quote}
\input{secret}
\end{document}
no
"""
DOCUMENTS = {".rst": RST, ".adoc": ADOC, ".org": ORG, ".tex": TEX}


def blocks_of(text: str, suffix: str) -> list[Block]:
    return list(DocumentReader().blocks(BytesIO(text.encode()), FileOrigin(name="a" + suffix))[1])


def items_of(text: str, suffix: str) -> list[Item]:
    return list(DocumentReader().items(BytesIO(text.encode()), FileOrigin(name="a" + suffix)).items)


def of(kind: type, blocks: list[Block], *names: str) -> list[Any]:
    return [tuple(getattr(block, name) for name in names) for block in blocks if isinstance(block, kind)]


@pytest.mark.parametrize(("suffix", "text"), DOCUMENTS.items(), ids=DOCUMENTS.keys())
def test_the_same_document_gives_the_same_blocks(suffix: str, text: str) -> None:
    """Headings, lists, code, tables, formulas, notes; comments, macros and other files are no text."""
    blocks = blocks_of(text, suffix)
    assert of(Heading, blocks, "level", "text")[:2] == [(1, "Guide"), (2, "Setup")]
    assert of(ListItem, blocks, "depth", "marker", "text") == [
        (1, "-", "one goes on"),
        (2, "-", "inner"),
        (1, "1.", "first"),
    ]
    assert of(Code, blocks, "text", "language") == [("$ make", ""), ("x = 1", "python")]
    assert of(Table, blocks, "header", "rows") == [(("Name", "Rate"), (("Ada", "12"), ("both", "both")))]
    assert of(Formula, blocks, "text") == [("E = mc^2",)]
    assert of(Footnote, blocks, "mark", "text") == [("1", "A note.")]
    assert [caption for _, caption in of(Figure, blocks, "text", "caption")] == ["To the sea."]
    assert of(Metadata, blocks, "author")[0][0].startswith("Ada")
    whole = " ".join(text for (text,) in of(Paragraph | Quotation, blocks, "text"))  # type: ignore[arg-type]
    assert "Note: Mind the gap." in whole
    assert "To be." in whole
    assert not any(word in whole for word in ("secret", "comment", "no"))


@pytest.mark.parametrize(("suffix", "text"), DOCUMENTS.items(), ids=DOCUMENTS.keys())
def test_what_stands_in_a_line_is_written_as_blocks_have_it(suffix: str, text: str) -> None:
    """Code, links, lowered letters, names of values and marks of notes."""
    (intro,) = (text for (text,) in of(Paragraph, blocks_of(text, suffix), "text") if text.startswith("Intro"))
    expected = "Intro `code`, [the site](https://x.org), a part, [ref](https://ref.org), H_2O, version 9 [^1]"
    assert intro == expected


SECTIONS = {
    ".rst": "Guide\n=====\n\nSetup\n-----\n\n{0}\n\nRemoval\n-------\n\nThe code is 4711. {0}\n",
    ".adoc": "= Guide\n\n== Setup\n\n{0}\n\n== Removal\n\nThe code is 4711. {0}\n",
    ".org": "* Guide\n** Setup\n{0}\n** Removal\nThe code is 4711. {0}\n",
    ".tex": "\\section{{Guide}}\\subsection{{Setup}}{0}\\subsection{{Removal}}The code is 4711. {0}",
    ".1": '.TH G 1\n.SH Guide\n.SS Setup\n{0}\n.SS "Removal"\nThe code is 4711. {0}\n',
}


@pytest.mark.parametrize(("suffix", "text"), SECTIONS.items(), ids=SECTIONS.keys())
def test_facts_are_cited_by_their_section(suffix: str, text: str) -> None:
    """By the headings of the format."""
    (item,) = (item for item in items_of(text.format(FILLER), suffix) if "4711" in item.text)
    assert item.metadata["headings"] == ["Guide", "Removal"]


# Each on its own


def test_rst_tables_of_all_kinds() -> None:
    """Simple ones, lists of lists and CSV."""
    text = (
        "===  ===\nA    B\n===  ===\n1    2\n     3\n4    5\n===  ===\n\n"
        ".. list-table:: L\n   :header-rows: 1\n\n   * - A\n     - B\n   * - 1\n     - 2\n\n"
        '.. csv-table:: C\n   :header: "A", "B"\n\n   1, "2, 3"\n'
    )
    assert of(Table, blocks_of(text, ".rst"), "caption", "header", "rows") == [
        ("", ("A", "B"), (("1", "2 3"), ("4", "5"))),
        ("L", ("A", "B"), (("1", "2"),)),
        ("C", ("A", "B"), (("1", "2, 3"),)),
    ]


def test_latex_letters_and_signs() -> None:
    """Accents, quotes, dashes; a formula in a sentence stays."""
    text = "na\\\"{\\i}ve caf\\'e \\v{S}koda \\c{c}a \\ss{} 5\\,\\% ``so'' -- $x_1$ \\cite{k} \\verb|a_b|"
    assert of(Paragraph, blocks_of(text, ".tex"), "text") == [("naïve café Škoda ça ß 5 % “so” – $x_1$ [k] `a_b`",)]


@pytest.mark.parametrize("name", ["a.1", "a.man", "a.7"])
def test_manual_pages_have_sections_terms_and_examples(name: str) -> None:
    """Requests are no text; a file that only ends with a number is plain text."""
    text = '.\\" no\n.TH LS 1 2024-01-02\n.SH NAME\nls \\- \\fIlist\\fR\n.TP\n.BR \\-a ", " \\-\\-all\nshow all\n'
    text += ".nf\nx  y\n.fi\n"
    blocks = blocks_of(text, name[1:])
    assert of(Metadata, blocks, "title", "date") == [("LS(1)", "2024-01-02")]
    assert of(Heading, blocks, "text") == [("NAME",)]
    assert of(Paragraph, blocks, "text") == [("ls - list",)]
    assert of(ListItem, blocks, "text") == [("-a, --all: show all",)]
    assert of(Code, blocks, "text") == [("x  y",)]
    assert of(Paragraph, blocks_of("Words, no more.\n", name[1:]), "text") == [("Words, no more.",)]


CUE = "{0}\n00:0{1}:01,000 --> 00:0{1}:03,500\n{2}\n\n"


@pytest.mark.parametrize("suffix", [".srt", ".vtt"])
def test_subtitles_are_sentences_with_their_times(suffix: str) -> None:
    """Tags go, voices stay; each stretch of minutes is a section that tells when it is said."""
    head = "WEBVTT\n\nNOTE no\n\n" if suffix == ".vtt" else ""
    text = (
        head
        + CUE.format(1, 0, "<i>The code is</i>")
        + CUE.format(2, 0, "{\\an8}4716 today.")
        + CUE.format(3, 5, "<v Ada>Later.")
    )
    blocks = blocks_of(text, suffix)
    assert of(Paragraph, blocks, "text") == [("The code is 4716 today.",), ("Ada: Later.",)]
    assert [values["from"] for (values,) in of(Heading, blocks, "values")] == ["00:00:01", "00:05:01"]


def test_captions_that_scroll_are_said_once() -> None:
    """Each cue repeats the line before."""
    text = CUE.format(1, 0, "one two") + CUE.format(2, 0, "one two\nthree") + CUE.format(3, 0, "three\nfour.")
    assert of(Paragraph, blocks_of(text, ".srt"), "text") == [("one two three four.",)]


@pytest.mark.parametrize("suffix", [*SECTIONS, ".srt"])
@pytest.mark.parametrize(
    "text", ["", "\n\n", "[[[[", "{{{{", "\\begin{tabular}" * 500, "#+begin_center\n" * 2000, "  - " * 999]
)
def test_no_text_breaks_a_reader(suffix: str, text: str) -> None:
    """Whatever is open stays open."""
    assert isinstance(items_of(text, suffix), list)


def test_latex_writes_words_that_the_document_names_and_units() -> None:
    """A version behind a command of the document's own, and a quantity with its unit, are in the sentence."""
    source = r"""\documentclass{article}\newcommand{\version}{4.2}\def\prod{Acme Disk}
\begin{document}\prod{} \version{}
weighs \SI{5}{\kilo\gram}, costs \num{12}, runs at \qty{3}{\mega\hertz}.\end{document}"""
    assert of(Paragraph, blocks_of(source, ".tex"), "text") == [
        ("Acme Disk 4.2 weighs 5 kg, costs 12, runs at 3 MHz.",)
    ]


def test_asciidoc_reads_no_directive_within_a_paragraph() -> None:
    """Conditions between the lines of a paragraph are no words of it."""
    blocks = blocks_of("One\nifdef::pdf[]\ntwo\nendif::[]\nthree.\n", ".adoc")
    assert of(Paragraph, blocks, "text") == [("One two three.",)]


def test_asciidoc_reads_pictures_that_are_written_into_it() -> None:
    """A picture in the text itself gives its alternative text, and nothing of its letters."""
    source = f"Before image:data:image/png;base64,{90 * chr(105)}[chart] after.\n"
    blocks = blocks_of(source, ".adoc")
    assert of(Paragraph, blocks, "text") == [("Before chart after.",)]


def test_rst_numbers_no_note_as_another_one() -> None:
    """A note that is numbered by itself and one that gets its number are two, whatever their order."""
    blocks = blocks_of("Auto [#]_ and own [1]_.\n\n.. [1] Own note.\n.. [#] Auto note.\n", ".rst")
    assert of(Paragraph, blocks, "text") == [("Auto [^2] and own [^1].",)]
    assert of(Footnote, blocks, "mark", "text") == [("2", "Auto note."), ("1", "Own note.")]


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".rst", "`Docutils <https://d.org>`__ **Bugs** and ``*args``\n" + "=" * 60 + "\n\nText.\n"),
        (".org", "* [[https://d.org][Docutils]] *Bugs* and =*args=\n\nText.\n"),
        (".adoc", "= link:https://d.org[Docutils] *Bugs* and `+*args+`\n\nText.\n"),
        (".tex", r"\section{\href{https://d.org}{Docutils} \textbf{Bugs} and \texttt{*args}} Text."),
    ],
    ids=lambda value: value if len(value) < 6 else "",
)
def test_headings_are_words_without_markup(suffix: str, text: str) -> None:
    """They become titles of items, which are shown as they are."""
    assert of(Heading, blocks_of(text, suffix), "text") == [("Docutils Bugs and *args",)]
