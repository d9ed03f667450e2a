"""What is known of models: the table in models.json, found by id, snapshot, fine-tune or vendor prefix."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from attrs import evolve, frozen

from nexus_core import ImageTokens
from nexus_core.toolkit import did_you_mean

Endpoint = Literal["chat", "completions", "responses", "embeddings"]
MaxTokensParameter = Literal["max_tokens", "max_completion_tokens"]


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
    """The one that the model needs at OpenAI."""
    tools_endpoint: Endpoint | None = None
    """The one that it needs at OpenAI for a request with tools, unless its effort is `none`."""
    max_tokens_parameter: MaxTokensParameter = "max_tokens"
    unsupported: frozenset[str] = frozenset()
    """Call options that the model refuses."""
    thinks: bool = False
    """Its text begins with reasoning that a closing tag ends, where its server has no parser for it."""
    thinking: tuple[str, ...] = ()
    """Of the declared defaults: how the ids of models begin that are not in the table and think so."""
    images: ImageTokens | None = None
    tool_tokens: int = 0
    open_weights: bool = False
    """A server of one's own may have loaded it with a smaller window."""
    capabilities: frozenset[str] = frozenset()
    description: str = ""

    @property
    def known(self) -> bool:
        """Whether the figures are those of the model, not declared defaults."""
        return bool(self.id)

    @property
    def defaults(self) -> ModelEntry:
        """The entry with the declared defaults for its figures, where nobody knows what a server has loaded."""
        return evolve(self, window=load_table()[-1].window, max_input=None, max_output=None)


@lru_cache(maxsize=1)
def load_table() -> tuple[ModelEntry, ...]:
    """Return the rows of models.json, the declared defaults last."""
    table = _read_table()
    rows = [{**table["profiles"].get(row.get("profile"), {}), **row} for row in table["models"]]
    return tuple(_entry(row, table["images"]) for row in [*rows, table["default"]])


def known_ids() -> tuple[str, ...]:
    """Return the ids of the models in the table, in its order."""
    return tuple(row.id for row in load_table() if row.known)


def checked_on() -> str:
    """Return the day on which the table was last compared with what services say, as `2026-01-31`."""
    return str(_read_table()["checked"])


@lru_cache(maxsize=1)
def _read_table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(Path(__file__).with_name("models.json").read_text("utf-8"))
    return table


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


def row_of(name: str) -> ModelEntry:
    """Return the row of exactly this id; raises ValueError, with what may be meant, where there is none."""
    rows = {row.id: row for row in load_table() if row.known}
    if name not in rows:
        raise ValueError(f"`like` names no model of the table, {name!r}{did_you_mean(name, rows)}")
    return rows[name]


def snapshot(model: str) -> str:
    """Return the date in a model's id, such as `2024-08-06`, or an empty string."""
    match = re.search(r"\d{4}-\d{2}-\d{2}|(?<=-)\d{4}(?=$|-preview)", model)
    return match.group() if match else ""


def _entry(row: dict[str, Any], images: dict[str, Any]) -> ModelEntry:
    fields = {name: value for name, value in row.items() if name != "profile"}
    for name in ("unsupported", "capabilities"):
        fields[name] = frozenset(row.get(name, ()))
    fields["thinking"] = tuple(row.get("thinking", ()))
    fields["prefixes"] = tuple(row.get("prefixes", [f"{row['id']}-"] if "id" in row else []))
    fields["images"] = ImageTokens(**images[row["images"]]) if "images" in row else None
    return ModelEntry(**fields)
