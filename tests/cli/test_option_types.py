"""Quantities as options take them."""

from __future__ import annotations

import click
import pytest

from nexus_core.cli import option_types
from nexus_core.cli.option_types import seconds_above_0

OPTION = click.Option(["--limit"])
CONTEXT = click.Context(click.Command("any"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 7_776_000), ("1.5 d", 129_600), ("12h", 43_200), ("90m", 5_400), ("500ms", 0.5)]
)
def test_durations_are_read_alike_by_every_option(text: str, seconds: float) -> None:
    """Days included."""
    assert seconds_above_0(text, "--idle", "30d") == seconds
    assert option_types.duration("1ms", "100d")(CONTEXT, OPTION, text) == seconds


@pytest.mark.parametrize("text", ["", "d", "0d", "0s", "-1d", "soon", "30"])
def test_durations_that_are_none_are_refused(text: str) -> None:
    """A number alone is seconds only where the option says so."""
    with pytest.raises(click.BadParameter, match="is no duration above 0: write it as in 30d"):
        seconds_above_0(text, "--idle", "30d")
    assert seconds_above_0("30", "--timeout", "20s", bare=True) == 30
