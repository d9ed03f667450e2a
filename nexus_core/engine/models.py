"""The model registry: models by name and alias, the default, the fallback chain, and what each model has done."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from math import ceil
from threading import Lock, Thread

from attrs import define, field, frozen

from nexus_core.config.policies import BreakerPolicy, CachePolicy, RateLimitPolicy, RetryPolicy
from nexus_core.contract.answers import AttemptFinished
from nexus_core.contract.errors import UsageError, describe_error
from nexus_core.contract.models import ModelInfo, ModelPrices
from nexus_core.contract.optional_protocols import PricedConnector
from nexus_core.contract.protocols import Connector
from nexus_core.contract.values import NOTHING_ASKED, CallOptions
from nexus_core.engine.interceptors import InterceptedConnector
from nexus_core.toolkit.suggest import instead

_log = logging.getLogger(__name__)

RESPONSE_TIMES_KEPT = 100


class PriceLookup:
    """Prices that a connector has to look up: found once, in a thread, while its first request is under way."""

    def __init__(self, find: Callable[[], ModelPrices | None]) -> None:
        self._find = find
        self._thread: Thread | None = None
        self._lock = Lock()
        self._prices: ModelPrices | None = None
        self._done = False

    def begin(self) -> None:
        """Begin to look, unless that has been done."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    thread = Thread(target=self._look_up, name="nexus-prices", daemon=True)
                    thread.start()
                    self._thread = thread

    def wait(self) -> ModelPrices | None:
        """Return the prices, as soon as they are found."""
        if not self._done:
            self.begin()
            if self._thread is not None:
                self._thread.join()
        return self._prices

    def _look_up(self) -> None:
        try:
            prices = self._find()
            if prices is not None and not isinstance(prices, ModelPrices):
                raise TypeError(f"it returned a {type(prices).__name__}, and no ModelPrices")
            self._prices = prices
        except Exception as error:  # noqa: BLE001 - foreign code; an answer is not lost for its price
            _log.warning("the prices of a model are unknown, find_prices failed: %s", describe_error(error))
        finally:
            self._done = True


@frozen(kw_only=True, eq=False, repr=False)
class Model:
    """A named, configured connector."""

    name: str
    connector: Connector
    info: ModelInfo
    """The connector's own account, with the pipeline's figures over it."""
    options: CallOptions = NOTHING_ASKED
    fallback: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    retry: RetryPolicy | None = RetryPolicy()
    """`None` is one attempt."""
    breaker: BreakerPolicy | None = BreakerPolicy()
    """`None` is switched off."""
    limits: RateLimitPolicy | None = None
    allow_empty: bool = False
    """An answer without text is one."""
    cache: CachePolicy | None = None
    """`None` keeps no answers."""
    declaration: str = ""
    """What the pipeline says of the connector, as JSON; only where answers are kept."""
    lookup: PriceLookup | None = None
    """Where neither the pipeline nor the connector's `model_info` has prices, and the connector can look them up."""

    @property
    def sends(self) -> bool:
        """Whether its requests reach a service: in a replay of recordings they do not, and cost nothing."""
        return not isinstance(self.connector, InterceptedConnector) or self.connector.sends

    @property
    def prices(self) -> ModelPrices | None:
        """What it costs, `None` where that is unknown; the first time it may take as long as an import."""
        return self.info.prices if self.lookup is None else self.lookup.wait()


def price_lookup(connector: Connector, info: ModelInfo) -> PriceLookup | None:
    """Return how to look up what a model costs, or `None` where it is known at once or not at all."""
    # By name: what an interceptor or a component is given in place of a connector hands on what it does not have.
    find = getattr(connector, PricedConnector.find_prices.__name__, None)
    return PriceLookup(find) if info.prices is None and callable(find) else None


@frozen(kw_only=True, eq=False, repr=False)
class UsageFigures:
    """What a model has done since the start or the last clearing."""

    requests: int = 0
    """Attempts that reached the service; cancelled ones included."""
    failures: int = 0
    """Of those, the ones that failed; a cancelled one has not."""
    outcomes: Mapping[str, int] = field(factory=dict)
    """How many requests ended how: `ok`, `cancelled`, or the kind of the error."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unreported: int = 0
    """Requests whose token counts are unknown and therefore not in the sums."""
    estimated: int = 0
    """Requests whose token counts are in the sums, and are in part or in whole no figures of the service."""
    cost: float = 0.0
    """In US dollars, of the requests whose cost is known."""
    unpriced: int = 0
    """Requests whose cost is unknown and therefore not in the sum."""
    times_s: tuple[float, ...] = ()
    """The last 100 response times."""

    @property
    def success_rate(self) -> float | None:
        """Share of requests that did not fail, or `None` before the first."""
        return None if not self.requests else 1 - self.failures / self.requests

    @property
    def known_cost(self) -> float | None:
        """The cost, or `None` where that of every request is unknown."""
        return None if self.requests and self.unpriced >= self.requests else self.cost

    @property
    def mean_s(self) -> float | None:
        """The mean of the response times, or `None` before the first."""
        return sum(self.times_s) / len(self.times_s) if self.times_s else None

    def percentile_s(self, share: float) -> float | None:
        """Return the nearest-rank percentile: the shortest time that at least `share` of all times do not exceed."""
        place = ceil(len(self.times_s) * share)
        return sorted(self.times_s)[max(place, 1) - 1] if self.times_s else None

    def __add__(self, other: UsageFigures) -> UsageFigures:
        """Return the figures of both, of the same model in two processes."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        outcomes = Counter(self.outcomes) + Counter(other.outcomes)
        return UsageFigures(**counts, outcomes=dict(outcomes), times_s=self.times_s + other.times_s)


_COUNTS = (
    "requests", "failures", "prompt_tokens", "completion_tokens", "unreported", "estimated", "cost", "unpriced",
)  # fmt: skip


@define(eq=False, repr=False)
class _UsageTotals:
    requests: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unreported: int = 0
    estimated: int = 0
    cost: float = 0.0
    unpriced: int = 0
    outcomes: dict[str, int] = field(factory=dict)
    times: deque[float] = field(factory=lambda: deque(maxlen=RESPONSE_TIMES_KEPT))

    def add(self, attempt: AttemptFinished) -> None:
        self.requests += 1
        self.outcomes[attempt.outcome] = self.outcomes.get(attempt.outcome, 0) + 1
        self.failures += attempt.outcome not in ("ok", "cancelled")
        self.prompt_tokens += attempt.prompt_tokens or 0
        self.completion_tokens += attempt.completion_tokens or 0
        self.unreported += attempt.prompt_tokens is None or attempt.completion_tokens is None
        self.estimated += attempt.usage_source != "provider"
        self.cost += attempt.cost or 0.0
        self.unpriced += attempt.cost is None
        if attempt.outcome == "ok":
            self.times.append(attempt.duration_s)

    def figures(self) -> UsageFigures:
        counts = {name: getattr(self, name) for name in _COUNTS}
        return UsageFigures(**counts, outcomes=dict(self.outcomes), times_s=tuple(self.times))


class ModelRegistry:
    """The models of one pipeline. Not a registry of the process: each pipeline builds its own and passes it on."""

    def __init__(self, models: Iterable[Model], default: str | None = None) -> None:
        self._models = {model.name: model for model in models}
        self._names = {alias: model.name for model in self._models.values() for alias in (model.name, *model.aliases)}
        self._default = default if default is not None else next(iter(self._models), None)
        self._tallies = {name: _UsageTotals() for name in self._models}
        self._chains: dict[str, tuple[Model, ...]] = {}
        self._given: list[Model] = []

    @property
    def default(self) -> str | None:
        """The name of the model that answers where a step names none."""
        return self._default

    def set_default(self, name: str) -> None:
        """Change the default model, for runs that begin from now on."""
        self._default = self.get(name).name

    def list(self) -> tuple[Model, ...]:
        """Return the models in the order of the pipeline."""
        return tuple(self._models.values())

    def targets(self) -> tuple[Model, ...]:
        """Return whatever is asked: the models, and the connectors that components were given."""
        return (*self._models.values(), *self._given)

    def add_given(self, model: Model) -> None:
        """Keep account of a connector that is an option of a component: no model that anybody could choose."""
        self._given.append(model)
        self._tallies[model.name] = _UsageTotals()

    def get(self, name: str | None = None) -> Model:
        """Return a model by name or alias, the default without one; raises UsageError where there is none."""
        wanted = name if name is not None else self._default
        if wanted is None:
            raise UsageError("the pipeline declares no model: add one under `models:`")
        if wanted not in self._names:
            raise UsageError(f"no model is named {wanted!r}{instead(wanted, sorted(self._names), 'there are')}")
        return self._models[self._names[wanted]]

    def chain(self, name: str | None = None) -> tuple[Model, ...]:
        """Return a model and, after it, its fallbacks and theirs, each once, in the order they are tried."""
        wanted = name if name is not None else self._default
        chain = None if wanted is None else self._chains.get(wanted)
        if wanted is None or chain is None:
            first = self.get(name)
            chain = self._chains[wanted or first.name] = self._chain(first)
        return chain

    def _chain(self, first: Model) -> tuple[Model, ...]:
        found: dict[str, Model] = {}
        waiting = [first]
        while waiting:
            model = waiting.pop(0)
            if model.name not in found:
                found[model.name] = model
                waiting[:0] = [self.get(other) for other in model.fallback]
        return tuple(found.values())

    def record(self, attempt: AttemptFinished) -> None:
        """Add an attempt to its model's figures, unless nothing was sent."""
        if attempt.request_sent:
            self._tallies[attempt.model].add(attempt)

    def usage(self) -> Mapping[str, UsageFigures]:
        """Return the figures by the name of the model, those of the connectors of components by their place."""
        return {name: tally.figures() for name, tally in self._tallies.items()}

    def clear_usage(self) -> None:
        """Forget all figures."""
        self._tallies = {name: _UsageTotals() for name in self._tallies}
