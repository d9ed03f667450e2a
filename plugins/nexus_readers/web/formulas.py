"""Formulas of a page: MathML, and what KaTeX, MathJax and wikis write beside it, as TeX where the page has it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen
from selectolax.lexbor import LexborNode

_DEEPEST = 60
_TEX = "application/x-tex"
_STYLED = re.compile(r"\{?\\(?:displaystyle|textstyle)\s+(.*?)\}?", re.DOTALL)
_OPERATOR = re.compile(r"[=<>≤≥≈≠≡±∓×·÷∈∉⊂⊆∪∩→←↔⇒⇔∧∨+−\-]|:=")
_ACCENTS = frozenset({"mover", "munder", "munderover"})
_ATOM = re.compile(r"\w+|.", re.DOTALL)


@frozen
class FoundFormula:
    """A formula as the page has it."""

    text: str
    tex: bool
    display: bool
    """It stands on a line of its own."""

    @property
    def inline(self) -> str:
        """As it is written within a sentence."""
        return f"${self.text}$" if self.tex and self.text else self.text


def formula_of(math: LexborNode) -> FoundFormula:
    """Return the formula of a `math` element."""
    display = math.attributes.get("display") == "block"
    tex = next((node.text() for node in math.css("annotation") if node.attributes.get("encoding") == _TEX), "")
    tex = tex.strip() or (math.attributes.get("alttext") or "").strip()
    if tex:
        return FoundFormula(clean_tex(tex), True, display)
    return FoundFormula(" ".join(_plain(math, 0).split()), False, display)


def script_formula(script: LexborNode) -> FoundFormula | None:
    """Return the formula that MathJax 2 reads from a script, if it is one."""
    kind = script.attributes.get("type") or ""
    if not kind.startswith("math/tex"):
        return None
    return FoundFormula(clean_tex(script.text()), True, "mode=display" in kind.replace(" ", ""))


def clean_tex(tex: str) -> str:
    """Return TeX on one line, without what only sets its size."""
    tex = " ".join(tex.split())
    styled = _STYLED.fullmatch(tex)
    if not styled:
        return tex
    return styled[1].strip() if tex.startswith("{") == tex.endswith("}") else tex


def _elements(node: LexborNode) -> list[LexborNode]:
    return [child for child in node.iter() if child.tag not in ("annotation", "annotation-xml")]


def _plain(node: LexborNode, depth: int) -> str:
    """Write MathML in a line: `x^2`, `(a + b)/2`, `sqrt(x)`."""
    tag = node.tag or ""
    if depth > _DEEPEST or tag in ("mi", "mn", "mtext", "ms", "mo"):
        text = " ".join(node.text().split())
        return (
            f" {text} " if tag == "mo" and _OPERATOR.fullmatch(text) else "" if text in "\u2061\u2062\u2063" else text
        )
    written = [_plain(child, depth + 1) for child in _elements(node)]
    parts = [part.strip() for part in written]
    if tag in ("msup", "msub", "mfrac", "msubsup", "mroot", *_ACCENTS) and len(parts) > 1:
        return _scripted(tag, parts)
    if tag == "msqrt":
        return f"sqrt({''.join(written).strip()})"
    if tag == "mtable":
        return "; ".join(parts)
    if tag == "mtr":
        return ", ".join(parts)
    if tag == "mfenced":
        said = node.attributes
        separator = (said.get("separators") or ",")[:1]
        return f"{said.get('open') or '('}{f'{separator} '.join(parts)}{said.get('close') or ')'}"
    return "".join(written) or _own(node)


def _own(node: LexborNode) -> str:
    return "".join(_texts(node))


def _texts(node: LexborNode) -> Iterator[str]:
    for child in node.iter(include_text=True):
        if child.tag == "-text":
            yield child.text_content or ""


def _scripted(tag: str, parts: list[str]) -> str:
    base, first, *more = parts
    if tag == "mfrac":
        return f"{_grouped(base)}/{_grouped(first)}"
    if tag == "mroot":
        return f"root({base}, {first})"
    if tag == "msup" or tag == "mover":
        return f"{_grouped(base)}^{_grouped(first)}"
    lower = f"{_grouped(base)}_{_grouped(first)}"
    return f"{lower}^{_grouped(more[0])}" if more else lower


def _grouped(text: str) -> str:
    return text if _ATOM.fullmatch(text) or (text[:1], text[-1:]) == ("(", ")") else f"({text})"
