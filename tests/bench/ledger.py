"""The rows that a jsonl sink has written, held against the requests that the services have counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from attrs import define, field
from held import Table


@define
class Ledger:
    """The rows that the jsonl sink has written."""

    key: str = "run_id"
    """What rows and requests are held against each other by."""
    rows: Counter[tuple[str, str]] = field(factory=Counter)
    """Of requests that were sent, by model and key."""
    left: Counter[tuple[str, str]] = field(factory=Counter)
    """Those of them whose caller had left."""
    outcomes: Counter[str] = field(factory=Counter)
    keys: Counter[tuple[str, int]] = field(factory=Counter)

    def read(self, file: Path) -> None:
        """Take all rows of a file."""
        with file.open() as lines:
            for row in map(json.loads, lines):
                if row["type"] == "attempt_finished":
                    self.keys[row["call_id"], row["number"]] += 1
                    self.outcomes[row["outcome"]] += 1
                    key = row["model"], row[self.key]
                    self.rows[key] += row["request_sent"]
                    self.left[key] += row["outcome"] == "cancelled" or row["code"] == "deadline"

    def compare(self, counted: dict[str, dict[str, int]], table: Table) -> None:
        """Hold the requests that the services have counted against the rows, one by one."""
        requests = Counter({(model, key): n for model, keys in counted.items() for key, n in keys.items()})
        table.row("requests counted by the services", "", requests.total(), "", True)
        lost, spare = requests - self.rows, self.rows - requests
        table.row("requests without a row", "", lost.total(), 0, not lost)
        # Who leaves while the connection is being made cannot know whether the request was still sent.
        table.row("rows without a request, of who left", "", (spare & self.left).total(), "", True)
        table.row("rows without a request, of others", "", (spare - self.left).total(), 0, not spare - self.left)
        twice = self.keys.total() - len(self.keys)
        table.row("rows with the key of another", "", twice, 0, not twice)
