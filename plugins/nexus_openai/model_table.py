"""What is known of models: the table in models.json, found by id, snapshot, fine-tune or vendor prefix."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from attrs import evolve, frozen

Endpoint = Literal["chat", "completions"]


@frozen(kw_only=True)
class ModelEntry:
    """One row of the table."""

    id: str = ""
    """Empty for the declared defaults of a model that is not in the table."""
    prefixes: tuple[str, ...] = ()
    """What the ids of its variants begin with; by default its id and a hyphen."""
    window: int
    max_input: int | None = None
    max_output: int | None = None
    encoding: str | None = None
    """`None` where it is not known."""
    endpoint: Endpoint = "chat"
    max_tokens_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    unsupported: frozenset[str] = frozenset()
    """Call options that the model refuses."""
    thinks: bool = False
    """Its text begins with reasoning that a closing tag ends, where its server has no parser for it."""
    thinking: tuple[str, ...] = ()
    """Of the declared defaults: how the ids of models begin that are not in the table and think so."""
    capabilities: frozenset[str] = frozenset()
    description: str = ""

    @property
    def known(self) -> bool:
        """Whether the figures are those of the model, not declared defaults."""
        return bool(self.id)


@lru_cache(maxsize=1)
def load_table() -> tuple[ModelEntry, ...]:
    """Return the rows of models.json, the declared defaults last."""
    table = json.loads(Path(__file__).with_name("models.json").read_text("utf-8"))
    profiles = table["profiles"]
    rows = [{**profiles.get(row.pop("profile", ""), {}), **row} for row in table["models"]]
    return tuple(_entry(row) for row in [*rows, table["default"]])


def find_model(model: str) -> ModelEntry:
    """Return the row for a model id; the declared defaults if it is not in the table.

    `gpt-4o-2024-08-06` (a snapshot), `ft:gpt-4o:org::id` (a fine-tune) and `openai/gpt-4o` (as routers call it) are all
    found under `gpt-4o`; the longest match counts.
    """
    plain = model.lower().rpartition("/")[2].removeprefix("ft:").partition(":")[0]
    found = load_table()[-1]
    longest = 0
    for row in load_table()[:-1]:
        for prefix in (row.id, *row.prefixes):
            fits = plain == prefix if prefix == row.id else plain.startswith(prefix)
            if fits and len(prefix) > longest:
                found, longest = row, len(prefix)
    if found.thinking and plain.startswith(found.thinking):
        return evolve(found, thinks=True)
    return found


def snapshot(model: str) -> str:
    """Return the date in a model's id, such as `2024-08-06`, or an empty string."""
    match = re.search(r"\d{4}-\d{2}-\d{2}|(?<=-)\d{4}(?=$|-preview)", model)
    return match.group() if match else ""


def _entry(row: dict[str, Any]) -> ModelEntry:
    for name in ("unsupported", "capabilities"):
        row[name] = frozenset(row.get(name, ()))
    row["thinking"] = tuple(row.get("thinking", ()))
    row["prefixes"] = tuple(row.get("prefixes", [f"{row['id']}-"] if "id" in row else []))
    return ModelEntry(**row)
