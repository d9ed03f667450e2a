"""Prices of services by their address, from the package `genai-prices`: its bundled table is read, nothing is fetched.

Only imported where a price is looked up, since the package takes a third of a second and 30 MB.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, Provider, TieredPrices, TimeOfDateConstraint

from nexus_core.contract.models import ModelPrices

_NAMED_BY_CUSTOMERS = frozenset({"azure", "databricks", "modal"})
"""Services whose customers name their deployments: `gpt-4o` may be any model there."""
_CHARGED = frozenset({"input_mtok", "cache_read_mtok", "output_mtok", "output_reasoning_mtok"})
_NOT_USED = re.compile(r"audio|image|video|searches|document")
"""In the names of prices: for what a conversation of texts does not have."""
_Price = Decimal | TieredPrices


def find_prices(model: str, base_url: str, now: datetime, *, writes_cache: bool = True) -> ModelPrices | None:
    """Return what a model costs at the service of an address, for its usual kind of service.

    `None` where the package does not know the address or the model, and where the price depends on more than the
    tokens of the ledger: on the hour, on tokens written to a cache (unless none are), on the number of requests.
    """
    service = _service_of(base_url)
    entry = None if service is None else service.find_model(model)
    if entry is None:
        return None
    by_time = entry.prices if isinstance(entry.prices, list) else []
    if any(isinstance(conditional.constraint, TimeOfDateConstraint) for conditional in by_time):
        return None
    return read_prices(entry.get_prices(now), writes_cache=writes_cache)


def _service_of(base_url: str) -> Provider | None:
    """Return the service of an address: what a pattern matches must end with the host, or at a slash after it."""
    for service in get_snapshot().providers:
        match = re.match(service.api_pattern, base_url)
        if match is not None and (match[0].endswith("/") or base_url[match.end() :][:1] in ("", "/")):
            return None if service.id in _NAMED_BY_CUSTOMERS else service
    return None


def read_prices(charged: ModelPrice, *, writes_cache: bool = True) -> ModelPrices | None:
    """Return prices of the package as ours, `None` where they are for what the ledger does not count."""
    prices = {name: price for name, price in vars(charged).items() if price is not None}
    if not writes_cache:
        prices = {name: price for name, price in prices.items() if not name.startswith("cache_write")}
    if "input_mtok" not in prices or any(not _NOT_USED.search(name) for name in prices.keys() - _CHARGED):
        return None
    tiers = [tier.start for price in prices.values() if isinstance(price, TieredPrices) for tier in price.tiers]
    found, above = None, None
    for start in sorted({0, *tiers}, reverse=True):
        found, above = _level(prices, start, above, found), start
    return found


def _level(prices: Mapping[str, _Price], start: int, above: int | None, longer: ModelPrices | None) -> ModelPrices:
    """Return the prices of prompts of more tokens than `start`, those of more than `above` being `longer`."""
    level = {name: _price_above(price, start) for name, price in prices.items() if name in _CHARGED}
    output = level.get("output_mtok", 0.0)  # a model that only makes vectors has none
    return ModelPrices(
        input=level["input_mtok"],
        cached=level.get("cache_read_mtok", level["input_mtok"]),
        output=output,
        reasoning=level.get("output_reasoning_mtok", output),
        long_from=above,
        long=longer,
    )


def _price_above(price: _Price, start: int) -> float:
    if isinstance(price, TieredPrices):
        return float(next((tier.price for tier in reversed(price.tiers) if tier.start <= start), price.base))
    return float(price)
