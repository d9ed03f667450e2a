"""Grammar: what the pipeline language expects at a place of an outline, by the declarations that lint reads, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import NOTHING, define, frozen

from nexus_core.config.cases.language import Case
from nexus_core.config.keys import InputKeys, ModelKeys, PipelineKeys, PromptKeys, keys_of
from nexus_core.config.option_types import alternatives, element, is_mapping, is_record, kind_of, mapped, words
from nexus_core.config.options import bounds
from nexus_core.config.yaml.misplaced_keys import INNER_TYPES
from nexus_core.contract.components import Kind, OptionSpec, component_summary, option, options_of
from nexus_core.lsp.outline import Chain, OutlineBlock
from nexus_core.lsp.plugin_cache import PluginCache


@define(init=False, repr=False, eq=False, slots=False)
class TestsFileKeys:
    """A file of tests beside a pipeline."""

    tests: tuple[Case, ...] = option((), help="What `nexus test` tries.")


_TYPES: Mapping[tuple[type, str], Any] = {
    **INNER_TYPES,
    (PipelineKeys, "inputs"): Mapping[str, InputKeys],
    (PipelineKeys, "tests"): tuple[Case, ...],
}


@frozen(kw_only=True, eq=False, repr=False)
class KnownKey:
    """A key that a mapping may have."""

    spec: OptionSpec
    types: tuple[Any, ...]
    """The types of its value, without `None`."""
    owner: type
    """The class that declares it: of the language, or a component."""

    def documentation(self) -> str:
        """Return what it means, its type, bounds and default, in Markdown."""
        spec = self.spec
        rest = [words(spec.annotation)] if spec.annotation is not Any else []
        rest += [limits] if (limits := bounds(spec)) else []
        rest += ["required"] if spec.required else []
        simple = isinstance(spec.default, str | int | float | bool) and spec.default != ""
        rest += [f"default `{_yaml(spec.default)}`"] if simple else []
        return f"{spec.help}\n\n{'; '.join(rest)}" if rest else spec.help


@frozen(kw_only=True, eq=False, repr=False)
class Expected:
    """What is expected as a value."""

    types: tuple[Any, ...]
    owner: type | None = None
    """The class that declares the key that it is the value of, or an entry of the value."""
    key: str = ""

    def kinds(self) -> tuple[Kind, ...]:
        """Return the kinds of component that it may be."""
        return tuple(kind for part in self.types if (kind := kind_of(part)) is not None)

    def is_mapping(self) -> bool:
        """Tell whether it may be a mapping."""
        return any(is_record(part) or is_mapping(part) or kind_of(part) is not None for part in self.types)


@frozen(eq=False, repr=False)
class Grammar:
    """The language with the components of some plugins."""

    plugins: PluginCache
    root: type = PipelineKeys

    def along(self, chain: Chain) -> list[Expected]:
        """Return what is expected of each mapping and list around a place, and of the value that they lead to."""
        found = [Expected(types=(self.root,))]
        for block, entry in chain:
            found.append(self._below(found[-1], block, None if entry.key is None else entry.key.text))
        return found

    def keys(self, expected: Expected, block: OutlineBlock | None) -> Mapping[str, KnownKey]:
        """Return the keys that a mapping may have, the options of the component that it names among them."""
        known: dict[str, KnownKey] = {}
        for part in expected.types:
            kind = Kind.CONNECTOR if part is ModelKeys else kind_of(part)
            if is_record(part):
                known |= _declared(part)
            if kind is not None:
                if not is_record(part):
                    use = OptionSpec(name="use", annotation=str, default=NOTHING, help=f"The {kind.word}.")
                    known.setdefault("use", KnownKey(spec=use, types=(str,), owner=object))
                cls = self.component(kind, None if block is None else block.scalar("use"))
                known = {**(_declared(cls) if cls is not None else {}), **known}
        return known

    def component(self, kind: Kind, use: str | None) -> type | None:
        """Return the class of a component, `None` where there is none of this name or it cannot be used."""
        if not use:
            return None
        try:
            return self.plugins.component(kind, use)
        except Exception:  # noqa: BLE001 - what is wrong with it is a diagnostic
            return None

    def used_kind(self, chain: Chain, along: list[Expected]) -> Kind | None:
        """Return the kind of component that a value names: the one that may stand alone, or that of `use`."""
        entry = chain[-1][1]
        if entry.key is not None and entry.key.text == "use":
            parts = along[-2].types
            kinds = [Kind.CONNECTOR if part is ModelKeys else kind_of(part) for part in parts]
            return next((kind for kind in kinds if kind is not None), None)
        if ModelKeys in along[-1].types:
            return Kind.CONNECTOR
        if PromptKeys in along[-1].types:  # whose template alone may stand instead
            return Kind.TEMPLATE
        return next(iter(along[-1].kinds()), None)

    def _below(self, expected: Expected, block: OutlineBlock, key: str | None) -> Expected:
        if block.is_list or key is None:
            inner = [element(part) for part in expected.types]
            types = [other for part in inner if part is not None for other in alternatives(part)]
            return Expected(types=tuple(types), owner=expected.owner, key=expected.key)
        known = self.keys(expected, block).get(key)
        if known is not None:
            return Expected(types=known.types, owner=known.owner, key=key)
        types = [other for part in expected.types if is_mapping(part) for other in alternatives(mapped(part))]
        return Expected(types=tuple(types), owner=expected.owner, key=expected.key)


def describe_component(use: str, kind: Kind, cls: type) -> str:
    """Return what a component does and its options, in Markdown."""
    lines = [f"**{use}** ({kind.word})", "", component_summary(cls) or "It says nothing of itself."]
    options = _declared(cls)
    lines += ["", *(f"- `{name}`: {known.spec.help}" for name, known in options.items())] if options else []
    return "\n".join(lines)


def _declared(cls: type) -> dict[str, KnownKey]:
    """Return the keys that a class declares; none where they cannot be read, which is a diagnostic."""
    try:
        specs = keys_of(cls) if cls.__module__.startswith("nexus_core.") else options_of(cls)
    except Exception:  # noqa: BLE001 - annotations and defaults are the plugin's code
        return {}
    return {
        spec.name: KnownKey(spec=spec, types=alternatives(_TYPES.get((cls, spec.name), spec.annotation)), owner=cls)
        for spec in specs
    }


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
