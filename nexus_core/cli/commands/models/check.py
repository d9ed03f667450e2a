"""`nexus models check`: one tiny request to each service that has a key, all at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter

import click
from attrs import frozen

from nexus_core.cli.commands.models.available import InstalledConnector, connectors_named
from nexus_core.cli.event_loop import run
from nexus_core.cli.option_types import duration
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import dollars, json_option, print_json, print_table
from nexus_core.contract.errors import ConnectorError, UsageError
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import CallOptions, Message, Usage
from nexus_core.toolkit.http.service_connector import ServiceConnector
from nexus_core.toolkit.suggest import counted, listed

EPILOG = """\b
Examples:
  nexus models --check
  nexus models --check --connector openai --model gpt-5-mini
"""
PROMPT = Prompt(messages=(Message(role="user", content="Reply with one word: yes"),), query="Reply with one word: yes")
MOST_PROMPT_TOKENS = 100
"""What the prompt takes at most, with what services put around it."""
MOST_ANSWER_TOKENS = 16
MOST = 16
"""Requests of one check."""


@frozen(kw_only=True)
class CheckedModel:
    """What came of the request to one service."""

    connector: str
    model: str
    seconds: float
    problem: str = ""
    """Its kind and what to do, empty where the service has answered."""


@click.command("check", epilog=EPILOG)
@click.option("--connector", "names", multiple=True, metavar="NAME", help="Only this connector (repeatable).")
@click.option("--model", metavar="ID", help="Ask this model in place of a small one; with one --connector.")
@click.option(
    "--timeout", "limit_s", default="20s", show_default=True, callback=duration("100ms", "10m"), metavar="DURATION",
    help="How long each service may take.",
)  # fmt: skip
@json_option
def check(names: tuple[str, ...], model: str | None, limit_s: float, as_json: bool) -> None:
    """Send one tiny request to each connector that has a key, or is named, and tell what came of it.

    One request each, without retries, all at the same time; what they cost at most is said before they are sent. The
    exit code is 1 where one fails.
    """
    if model is not None and len(names) != 1:
        raise UsageError("--model is of one service: say which, as in --connector openai")
    connectors = [each for each in connectors_named(names) if names or each.key in ("set", "stored")]
    asked = [(each, _open(each, model)) for each in connectors]
    if not asked:
        raise UsageError("no connector has a key: nexus models shows where each would be read from")
    if len(asked) > MOST:
        raise UsageError(f"at most {MOST} services are asked at once: say which, with --connector")
    echo(announce([connector for _, connector in asked]), err=True)
    results = run(_ask_all(asked, limit_s))
    if as_json:
        print_json([
            {"connector": each.connector, "model": each.model, "seconds": round(each.seconds, 3),
             "ok": not each.problem, "problem": each.problem or None}
            for each in results
        ])  # fmt: skip
    else:
        rows = [(each.connector, each.model, f"{each.seconds:.1f} s", each.problem or "answers") for each in results]
        print_table(("connector", "model", "time", "result"), rows, right=frozenset({2}))
    if any(each.problem for each in results):
        raise SystemExit(1)


def _open(installed: InstalledConnector, model: str | None) -> ServiceConnector:
    """Return the connector with the model that is asked; raises UsageError where none can be."""
    if not issubclass(installed.cls, ServiceConnector):
        raise UsageError(f"{installed.name} asks no service: there is nothing to check")
    named = model or installed.cls.SMALL_MODEL
    if not named:
        raise UsageError(f"say which model of {installed.name} to ask: --connector {installed.name} --model ID")
    return installed.cls(model=named)


def announce(connectors: Sequence[ServiceConnector]) -> str:
    """Return how many requests are sent, to what, and what they cost at most."""
    most = Usage(prompt_tokens=MOST_PROMPT_TOKENS, completion_tokens=MOST_ANSWER_TOKENS)
    costs = [None if prices is None else prices.cost(most) for prices in (each.find_prices() for each in connectors)]
    known = [cost for cost in costs if cost is not None]
    unknown = [each.model for each, cost in zip(connectors, costs, strict=True) if cost is None]
    amount = [f"{dollars(sum(known))} at most"] if known else []
    amount += [f"the price of {listed(unknown)} is not known"] if unknown else []
    return (
        f"{counted(len(connectors), 'request')} to {listed([each.model for each in connectors])}: {'; '.join(amount)}"
    )


async def _ask_all(asked: Sequence[tuple[InstalledConnector, ServiceConnector]], limit_s: float) -> list[CheckedModel]:
    return list(await asyncio.gather(*(_ask(each.name, connector, limit_s) for each, connector in asked)))


async def _ask(name: str, connector: ServiceConnector, limit_s: float) -> CheckedModel:
    started, problem = perf_counter(), ""
    try:
        async with asyncio.timeout(limit_s), connector:
            await connector.send_prompt(PROMPT, CallOptions(max_tokens=MOST_ANSWER_TOKENS))
    except TimeoutError:
        problem = f"timeout: no answer within {limit_s:g} s"
    except ConnectorError as error:
        problem = f"{error.kind}: {error}"
    except Exception as error:  # noqa: BLE001 - of a plugin, whatever it raises: the others are checked all the same
        problem = f"the connector itself failed: {type(error).__name__}"
    return CheckedModel(connector=name, model=connector.model, seconds=perf_counter() - started, problem=problem)
