"""Formulas of Office Open XML (OMML) as TeX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nexus_readers.office.packages import attribute, child, name_of

_SYMBOLS = {
    "×": r"\times ", "÷": r"\div ", "·": r"\cdot ", "±": r"\pm ", "∓": r"\mp ", "≤": r"\le ", "≥": r"\ge ",
    "≠": r"\ne ", "≈": r"\approx ", "≡": r"\equiv ", "∞": r"\infty ", "∂": r"\partial ", "∇": r"\nabla ",
    "→": r"\to ", "⇒": r"\Rightarrow ", "∈": r"\in ", "∉": r"\notin ", "∀": r"\forall ", "∃": r"\exists ",
    "⊂": r"\subset ", "⊆": r"\subseteq ", "∪": r"\cup ", "∩": r"\cap ", "…": r"\dots ", "−": "-",
    "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\epsilon ", "ζ": r"\zeta ",
    "η": r"\eta ", "θ": r"\theta ", "ι": r"\iota ", "κ": r"\kappa ", "λ": r"\lambda ", "μ": r"\mu ", "ν": r"\nu ",
    "ξ": r"\xi ", "π": r"\pi ", "ρ": r"\rho ", "σ": r"\sigma ", "τ": r"\tau ", "υ": r"\upsilon ", "φ": r"\phi ",
    "χ": r"\chi ", "ψ": r"\psi ", "ω": r"\omega ", "Γ": r"\Gamma ", "Δ": r"\Delta ", "Θ": r"\Theta ",
    "Λ": r"\Lambda ", "Ξ": r"\Xi ", "Π": r"\Pi ", "Σ": r"\Sigma ", "Φ": r"\Phi ", "Ψ": r"\Psi ", "Ω": r"\Omega ",
    "%": r"\%", "&": r"\&", "#": r"\#", "{": r"\{", "}": r"\}", "$": r"\$",
}  # fmt: skip
_OPERATORS = {"∑": r"\sum", "∏": r"\prod", "∫": r"\int", "∬": r"\iint", "∭": r"\iiint", "∮": r"\oint", "⋃": r"\bigcup"}
_ACCENTS = {
    "\u0302": r"\hat", "\u0303": r"\tilde", "\u0304": r"\bar", "\u0305": r"\overline", "\u0307": r"\dot",
    "\u0308": r"\ddot", "\u20d7": r"\vec", "\u030c": r"\check", "\u0301": r"\acute", "\u0300": r"\grave",
}  # fmt: skip
_FUNCTIONS = frozenset("sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan log ln exp min max lim det".split())
_PARENTHESES = {"(", ")", "[", "]", "|", "‖", "⟨", "⟩"}
_PROPERTIES = frozenset({"ctrlPr", "rPr", "argPr"})


def tex_of(element: Any) -> str:
    """Return the formula in an element `oMath` or `oMathPara` as TeX, on one line."""
    return " ".join(_inside(element).split())


def _inside(element: Any | None) -> str:
    return "" if element is None else "".join(map(_written, element))


def _written(element: Any) -> str:
    name = name_of(element)
    if name.endswith("Pr") or name in _PROPERTIES:
        return ""
    write = _WRITERS.get(name)
    return write(element) if write is not None else _inside(element)


def _run(element: Any) -> str:
    text = "".join(inner.text or "" for inner in element if name_of(inner) == "t")
    if len(text) > 1 and text in _FUNCTIONS:
        return f"\\{text} "
    return "".join(_SYMBOLS.get(character, character) for character in text)


def _argument(element: Any, name: str) -> str:
    return "{" + _inside(child(element, name)).strip() + "}"


def _base(element: Any) -> str:
    """Return what a script stands at, in braces where it is more than one sign."""
    text = _inside(child(element, "e")).strip()
    return text if len(text) <= 1 or text.isalnum() or (text[0] == "\\" and text[1:].isalpha()) else "{" + text + "}"


def _fraction(element: Any) -> str:
    return r"\frac" + _argument(element, "num") + _argument(element, "den")


def _root(element: Any) -> str:
    degree = _inside(child(element, "deg")).strip()
    return r"\sqrt" + (f"[{degree}]" if degree else "") + _argument(element, "e")


def _nary(element: Any) -> str:
    sign = child(element, "naryPr", "chr")
    text = attribute(sign, "val") if sign is not None else "∫"
    below, above = (_inside(child(element, name)).strip() for name in ("sub", "sup"))
    limits = (f"_{{{below}}}" if below else "") + (f"^{{{above}}}" if above else "")
    return f"{_OPERATORS.get(text, text)}{limits} {_inside(child(element, 'e'))}"


def _delimited(element: Any) -> str:
    properties = child(element, "dPr")

    def sign(name: str, default: str) -> str:
        found = child(properties, name)
        text = default if found is None else attribute(found, "val")
        return text if text in _PARENTHESES else f"\\{text}" if text in ("{", "}") else text

    inner = [_inside(each) for each in element if name_of(each) == "e"]
    return sign("begChr", "(") + sign("sepChr", "|").join(inner) + sign("endChr", ")")


def _matrix(element: Any) -> str:
    rows = [[_inside(cell) for cell in row if name_of(cell) == "e"] for row in element if name_of(row) == "mr"]
    return r"\begin{matrix}" + r" \\ ".join(" & ".join(row) for row in rows) + r"\end{matrix}"


def _lines(element: Any) -> str:
    return r" \\ ".join(_inside(each) for each in element if name_of(each) == "e")


def _accent(element: Any) -> str:
    sign = child(element, "accPr", "chr")
    return _ACCENTS.get(attribute(sign, "val") if sign is not None else "\u0302", r"\hat") + _argument(element, "e")


_WRITERS: dict[str, Callable[[Any], str]] = {
    "r": _run,
    "f": _fraction,
    "rad": _root,
    "nary": _nary,
    "d": _delimited,
    "m": _matrix,
    "eqArr": _lines,
    "acc": _accent,
    "bar": lambda e: r"\overline" + _argument(e, "e"),
    "sSup": lambda e: _base(e) + "^" + _argument(e, "sup"),
    "sSub": lambda e: _base(e) + "_" + _argument(e, "sub"),
    "sSubSup": lambda e: _base(e) + "_" + _argument(e, "sub") + "^" + _argument(e, "sup"),
    "sPre": lambda e: "{}_" + _argument(e, "sub") + "^" + _argument(e, "sup") + _base(e),
    "limLow": lambda e: _inside(child(e, "e")).strip() + "_" + _argument(e, "lim"),
    "limUpp": lambda e: _inside(child(e, "e")).strip() + "^" + _argument(e, "lim"),
    "func": lambda e: _inside(child(e, "fName")).strip() + " " + _inside(child(e, "e")),
}
