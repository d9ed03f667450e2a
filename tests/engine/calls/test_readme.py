"""The page about failure says what the table of reactions says."""

from __future__ import annotations

from pathlib import Path

from nexus_core.engine.calls.failure_policy import AS_OFTEN_AS_ALLOWED, REACTIONS, FailureReaction

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "failure.md"
AGAIN = {0: "no", 1: "once", AS_OFTEN_AS_ALLOWED: "as allowed"}
ONWARD = {
    "yes": "yes",
    "no": "no",
    "larger": "a larger window",
    "if_auth": "if `fallback_on_auth`",
    "if_filtered": "if `fallback_on_content_filter`",
}


def cells(reacts: FailureReaction) -> str:
    again = AGAIN[reacts.retries] + (", at once" if reacts.at_once else "")
    breaker = "counts" if reacts.breaker else "parks" if reacts.parks else ""
    return f"{again} | {ONWARD[reacts.onward]} | {breaker} |"


def test_page_about_failure_tells_every_reaction() -> None:
    """Class, kind, retries, next target, breaker: in the order of the table."""
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `") and "Error` |" in line]
    assert rows == [f"| `{error.__name__}` | `{error.kind}` | {cells(reacts)}" for error, reacts in REACTIONS.items()]
