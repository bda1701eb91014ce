"""What rule files define, read item by item (falco userspace/engine/rule_loader_reader.cpp, rule_json_schema.h)."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from policylang.falco.syntax.document import Node
from policylang.source import SourceError

PRIORITIES = ("EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFORMATIONAL", "DEBUG")

APPEND_WITH_OVERRIDE = ("Keys 'override' and 'append: true' cannot be used together. Add an 'append' entry (e.g. "
                        "'condition: append') under 'override' instead.")
APPEND_DEPRECATED = ("'append' key is deprecated. Add an 'append' entry (e.g. 'condition: append') under 'override' "
                     "instead.")
ENABLED_DEPRECATED = ("The standalone 'enabled' key usage is deprecated. The correct approach requires also a "
                      "'replace' entry under the 'override' key (i.e. 'enabled: replace').")
_IDENTIFIER = re.compile(r"[a-zA-Z]+[a-zA-Z0-9_]*")
_BARE = re.compile(r"""[^()"' \t\n\v\f\r=,]+""")
_NUMBER = re.compile(r"[0-9]{1,18}")

_KEYS: dict[str, frozenset[str]] = {
    "rule": frozenset(("rule", "desc", "condition", "output", "priority", "source", "enabled", "tags", "exceptions",
                       "append", "override", "warn_evttypes", "skip-if-unknown-filter", "capture", "capture_duration",
                       "capture_events", "capture_filesize")),
    "macro": frozenset(("macro", "condition", "append", "override")),
    "list": frozenset(("list", "items", "append", "override")),
    "required_engine_version": frozenset(("required_engine_version",)),
    "required_plugin_versions": frozenset(("required_plugin_versions",)),
}
_APPENDABLE = ("condition", "output", "desc", "tags", "exceptions")
_REPLACEABLE = (*_APPENDABLE, "priority", "enabled", "warn_evttypes", "skip-if-unknown-filter", "capture",
                "capture_duration", "capture_events", "capture_filesize")
_FLAGS = ("enabled", "warn_evttypes", "skip-if-unknown-filter", "capture")
_COUNTS = ("capture_duration", "capture_events", "capture_filesize")


class Warned(NamedTuple):
    """What falco -V would warn of: the code and words it has there, and `file:line:column`."""

    code: str
    message: str
    place: str


@dataclass
class Exemption:
    """An item of `exceptions`. Entries are texts, or lists of entries."""

    name: str
    node: Node
    fields: Any = None
    comps: Any = None
    values: list[tuple[Any, Node]] = field(default_factory=list)


@dataclass
class ListItem:
    name: str
    node: Node
    items: list[str]
    append: bool


@dataclass
class MacroItem:
    name: str
    node: Node
    condition: Node
    append: bool


@dataclass
class RuleItem:
    """`values` by key, decoded. `how`: define, append, replace or enable. `source`: that a change names, if it does."""

    name: str
    node: Node
    how: str
    values: dict[str, Any]
    condition: Node | None = None
    output: Node | None = None
    source: str | None = None


@dataclass
class EngineItem:
    version: tuple[int, int, int]
    node: Node


@dataclass
class PluginItem:
    """Alternatives, any of which will do: names and versions."""

    alternatives: list[tuple[str, str]]
    node: Node


Item = ListItem | MacroItem | RuleItem | EngineItem | PluginItem


class Reader:
    """Items of one document; collects warnings."""

    def __init__(self, warnings: list[Warned]) -> None:
        self.warnings = warnings

    def warn(self, code: str, message: str, node: Node) -> None:
        line, column = node.source.place(node.start)
        self.warnings.append(Warned(code, message, f"{node.source.name}:{line}:{column}"))

    def items(self, document: Node) -> list[Item]:
        if document.null:
            return []
        if document.scalar:
            raise document.error("Rules content is not yaml")
        if isinstance(document.value, dict):
            raise document.error("Rules content is not yaml array of objects")
        return [item for node in document.value if not node.null for item in self.item(node)]

    def item(self, node: Node) -> list[Item]:
        if not isinstance(node.value, dict):
            raise node.error("Unexpected element type. Each element should be a yaml associative array.")
        for kind in ("required_engine_version", "required_plugin_versions", "list", "macro", "rule"):
            if kind in node.value:
                for key, at in node.keys.items():
                    if key not in _KEYS[kind]:
                        raise SourceError(f"Unknown key '{key}' in {kind} item", node.source, at,
                                          kind="LOAD_UNKNOWN_KEY")
                read: Any = getattr(self, f"_{kind}")
                items = read(node)
                return items if isinstance(items, list) else [items]
        raise node.error("Unknown top level item", "LOAD_UNKNOWN_ITEM")

    # --- kinds of items -----------------------------------------------------------------------------------------

    def _required_engine_version(self, node: Node) -> EngineItem:
        text = _text(node, "required_engine_version")
        version = (0, int(text), 0) if _NUMBER.fullmatch(text) else semver(text)
        if version is None:
            raise node.error(f"Unable to parse engine version '{text}' as a semver string. Expected \"x.y.z\" semver "
                             "format.")
        return EngineItem(version, node)

    def _required_plugin_versions(self, node: Node) -> list[Item]:
        value = node.value["required_plugin_versions"]
        if not isinstance(value.value, list):
            raise value.error("Value of required_plugin_versions must be a sequence")
        items: list[Item] = []
        for entry in value.value:
            if not isinstance(entry.value, dict):
                raise entry.error("Plugin version must be a mapping")
            _only(entry, ("name", "version", "alternatives"))
            asked = [(_text(entry, "name"), _text(entry, "version"))]
            alternatives = entry.value.get("alternatives")
            if alternatives is not None:
                if not isinstance(alternatives.value, list):
                    raise alternatives.error("Value of plugin version alternatives must be a sequence")
                for alternative in alternatives.value:
                    if not isinstance(alternative.value, dict):
                        raise alternative.error("Plugin version alternative must be a mapping")
                    _only(alternative, ("name", "version"))
                    asked.append((_text(alternative, "name"), _text(alternative, "version")))
            items.append(PluginItem(asked, entry))
        return items

    def _list(self, node: Node) -> ListItem:
        name = _text(node, "list")
        if _BARE.fullmatch(name) is None:
            raise node.error("List has an invalid name. List names must match a regular expression: "
                             "([^()\"'[:space:]=,]+)")
        items = _sequence(node, "items")
        append = self._append(node)
        changes = self._overrides(node, ("items",), ("items",), append)
        return ListItem(name, node, items, append or changes.get("items") == "append")

    def _macro(self, node: Node) -> MacroItem:
        name = _text(node, "macro")
        if _IDENTIFIER.fullmatch(name) is None:
            raise node.error("Macro has an invalid name. Macro names must match a regular expression: "
                             "([a-zA-Z]+[a-zA-Z0-9_]*)")
        _text(node, "condition")
        append = self._append(node)
        changes = self._overrides(node, ("condition",), ("condition",), append)
        return MacroItem(name, node, node.value["condition"], append or changes.get("condition") == "append")

    def _rule(self, node: Node) -> list[Item]:
        name = _text(node, "rule")
        append = self._append(node)
        changes = self._overrides(node, _APPENDABLE, _REPLACEABLE, append)
        if changes:
            return self._changed(name, node, changes)
        keys = node.value
        if append:
            present = [key for key in ("condition", "exceptions") if key in keys]
            return [self._rule_item(name, node, "append", present)]
        if not any(key in keys for key in ("condition", "output", "desc", "priority")):
            item = self._rule_item(name, node, "enable", ["enabled"])
            self.warn("LOAD_DEPRECATED_ITEM", ENABLED_DEPRECATED, node)
            return [item]
        required = ["condition", "output", "desc", "priority"]
        return [self._rule_item(name, node, "define", required + [
            key for key in ("source", "tags", "exceptions", *_FLAGS, *_COUNTS) if key in keys])]

    def _changed(self, name: str, node: Node, changes: dict[str, str]) -> list[Item]:
        items: list[Item] = []
        for how in ("append", "replace"):
            keys = [key for key in _REPLACEABLE if changes.get(key) == how]
            for key in keys:
                if key not in node.value:
                    raise node.error(f"An {how} override for '{key}' was specified but '{key}' is not defined")
            if keys:
                items.append(self._rule_item(name, node, how, keys))
        for key in _REPLACEABLE:
            if key in node.value and key not in changes:
                raise node.value[key].error(f"Unexpected key '{key}': no corresponding entry under 'override' is "
                                            "defined.")
        return items

    def _rule_item(self, name: str, node: Node, how: str, keys: list[str]) -> RuleItem:
        item = RuleItem(name, node, how, {})
        written = node.value.get("source")
        if how != "define" and written is not None and written.scalar and written.value:
            item.source = written.value
        for key in keys:
            if key == "exceptions":
                item.values[key] = self._exceptions(node, how != "define")
            elif key == "tags":
                item.values[key] = _sequence(node, key)
            elif key in _FLAGS:
                item.values[key] = _flag(node, key)
            elif key in _COUNTS:
                item.values[key] = _count(node, key)
            else:
                item.values[key] = _text(node, key)
        if "priority" in item.values:
            item.values["priority"] = _priority(node.value["priority"])
        if "condition" in item.values:
            item.condition = node.value["condition"]
        if "output" in item.values:
            item.output = node.value["output"]
        return item

    def _append(self, node: Node) -> bool:
        appending = _flag(node, "append") if "append" in node.value else False
        if appending:
            self.warn("LOAD_DEPRECATED_ITEM", APPEND_DEPRECATED, node)
        return appending

    def _overrides(self, node: Node, appendable: Collection[str], replaceable: Collection[str],
                   append: bool) -> dict[str, str]:
        value = node.value.get("override")
        if value is None:
            return {}
        if not isinstance(value.value, dict):
            raise value.error("Value of override must be a mapping")
        overrides = {}
        for key, how in value.value.items():
            if not how.scalar or how.value not in ("append", "replace"):
                allowed = "".join(f"{word} " for word, keys in (("append", appendable), ("replace", replaceable))
                                  if key in keys)
                shown = how.value if how.scalar else ""
                raise how.error(f"Invalid override operation for key '{key}': '{shown}'. Allowed values are: {allowed}")
            if how.value == "append" and key not in appendable:
                raise how.error(f"Key '{key}' cannot be appended to, use 'replace' instead")
            if how.value == "replace" and key not in replaceable:
                raise how.error(f"Key '{key}' cannot be replaced")
            overrides[key] = how.value
        if append and overrides:
            raise node.error(APPEND_WITH_OVERRIDE)
        return overrides

    def _exceptions(self, node: Node, append: bool) -> list[Exemption]:
        value = node.value["exceptions"]
        if value.null:
            return []
        if not isinstance(value.value, list):
            raise value.error("Rule exceptions must be a sequence")
        exemptions: list[Exemption] = []
        for mapping in value.value:
            if not isinstance(mapping.value, dict):
                raise mapping.error("Rule exception must be a mapping")
            _only(mapping, ("name", "fields", "comps", "values"))
            item = Exemption(_text(mapping, "name"), mapping)
            if any(item.name == earlier.name for earlier in exemptions):
                raise mapping.error("Exceptions names in the same object must be unique")
            if "fields" in mapping.value:
                item.fields = _entry(mapping.value["fields"])
            elif not append:
                raise mapping.error("Item has no mapping for key 'fields'")
            if "comps" in mapping.value:
                item.comps = _entry(mapping.value["comps"])
            values = mapping.value.get("values")
            if values is not None:
                if not isinstance(values.value, list):
                    raise values.error("Rule exception values must be a sequence")
                item.values = [(_entry(entry), entry) for entry in values.value]
            elif append:
                self.warn("LOAD_APPEND_NO_VALUES", "Overriding/appending exception with no values", mapping)
            exemptions.append(item)
        return exemptions


def semver(text: str) -> tuple[int, int, int] | None:
    match = re.fullmatch(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?:[-+][0-9A-Za-z.+-]+)?", text)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


def _only(node: Node, keys: Collection[str]) -> None:
    for key, at in node.keys.items():
        if key not in keys:
            raise SourceError(f"Unknown key '{key}'", node.source, at, kind="LOAD_UNKNOWN_KEY")


def _value(node: Node, key: str) -> Node:
    value: Node | None = node.value.get(key)
    if value is None:
        raise node.error(f"Item has no mapping for key '{key}'")
    if value.null:
        raise node.error(f"Mapping for key '{key}' is empty")
    if not value.scalar:
        raise value.error("Value is not a scalar value")
    if not value.value:
        raise value.error("Value must be non-empty")
    return value


def _text(node: Node, key: str) -> str:
    return str(_value(node, key).value)


def _flag(node: Node, key: str) -> bool:
    value = _value(node, key)
    flag = value.boolean()
    if flag is None:
        raise value.error("Can't decode YAML scalar value")
    return flag


def _count(node: Node, key: str) -> int:
    value = _value(node, key)
    if _NUMBER.fullmatch(value.value) is None:
        raise value.error("Can't decode YAML scalar value")
    return int(value.value)


def _sequence(node: Node, key: str) -> list[str]:
    value = node.value.get(key)
    if value is None:
        raise node.error(f"Item has no mapping for key '{key}'")
    if not isinstance(value.value, list):
        raise value.error("Value is not a sequence")
    for item in value.value:
        if not item.scalar:
            raise item.error("sequence value is not scalar")
    return [item.value for item in value.value]


def _priority(node: Node) -> int:
    name = node.value.upper()
    name = "INFORMATIONAL" if name == "INFO" else name
    if name not in PRIORITIES:
        raise node.error("Invalid priority")
    return PRIORITIES.index(name)


def _entry(node: Node, depth: int = 0) -> Any:
    """A text, or a list of entries."""
    if isinstance(node.value, dict) or depth > 2:
        raise node.error("Could not decode scalar value")
    if isinstance(node.value, list):
        return [_entry(item, depth + 1) for item in node.value]
    if not node.value:
        raise node.error("Value must be non-empty")
    return node.value
