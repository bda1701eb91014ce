"""Definitions of all files, later ones over earlier ones, into rules (rule_loader_collector.cpp, _compiler.cpp)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from policylang.falco.check.condition import Piece, Text, with_exceptions
from policylang.falco.syntax import definitions
from policylang.falco.syntax.document import Node
from policylang.falco.syntax.lexer import LISTED, MODIFIERS, NUMERIC, OPERATORS, UNARY
from policylang.falco.syntax.parser import parse
from policylang.falco.syntax.tree import And, Condition, Macro, Not, Or
from policylang.falco.values import fields
from policylang.source import SourceError

ENGINE = (0, 63, 0)
LEGACY = (0, 5, 0)  # rule files for older engines ask string operators of list-valued fields
MOST_ITEMS = 100_000  # of one list with the lists in it
MOST_TESTS = 20_000  # of one condition with the macros in it
DEEPEST = 100  # brackets, and macros in macros
BLANKS = " \t\n\r\f\v"


def _invalid(node: Node, message: str) -> SourceError:
    return node.error(message, "LOAD_ERR_VALIDATE")


@dataclass
class _ListText:
    name: str
    node: Node
    items: list[str]
    index: int
    visibility: int


@dataclass
class _MacroText:
    name: str
    node: Node
    pieces: list[Piece]
    index: int
    visibility: int


@dataclass
class RuleText:
    name: str
    node: Node
    source: str
    values: dict[str, Any]
    pieces: list[Piece]
    output: Node
    exceptions: list[definitions.Exemption] = field(default_factory=list)


@dataclass
class Collected:
    """`macros` and `conditions` (by rule) are parsed; names in them are resolved when they are checked."""

    rules: list[RuleText]
    macros: dict[str, tuple[Condition, Text]]
    conditions: dict[str, tuple[Condition, Text]]
    lists: dict[str, list[str]]
    unused: list[tuple[str, str, Node]]


class Collector:
    def __init__(self) -> None:
        self.lists: dict[str, _ListText] = {}
        self.macros: dict[str, _MacroText] = {}
        self.rules: dict[str, RuleText] = {}
        self.engine = (0, 0, 0)
        self.oldest = ENGINE  # what the oldest file asks for
        self.plugins: list[list[tuple[str, str]]] = []
        self.at = 0

    def add(self, item: definitions.Item) -> None:
        if isinstance(item, definitions.ListItem):
            self._add_list(item)
        elif isinstance(item, definitions.MacroItem):
            self._add_macro(item)
        elif isinstance(item, definitions.RuleItem):
            self._add_rule(item)
        elif isinstance(item, definitions.EngineItem):
            self._add_engine(item)
        else:
            self._add_plugin(item)

    def _next(self) -> int:
        self.at += 1
        return self.at

    def _add_engine(self, item: definitions.EngineItem) -> None:
        if item.version[0] != ENGINE[0] or item.version > ENGINE:
            raise _invalid(item.node, f"Rules require engine version {'.'.join(map(str, item.version))}, but engine "
                                      f"version is {'.'.join(map(str, ENGINE))}")
        self.engine = max(self.engine, item.version)
        self.oldest = min(self.oldest, item.version)

    def _add_plugin(self, item: definitions.PluginItem) -> None:
        names = set()
        for name, version in item.alternatives:
            if definitions.semver(version) is None:
                raise _invalid(item.node, f"Invalid required version '{version}' for plugin '{name}'")
            if name in names:
                raise _invalid(item.node, f"Defined multiple alternative version requirements for plugin '{name}'")
            names.add(name)
        self.plugins.append(item.alternatives)

    def _add_list(self, item: definitions.ListItem) -> None:
        before, at = self.lists.get(item.name), self._next()
        if item.append:
            if before is None:
                raise _invalid(item.node, "List uses 'append' or 'override.items: append' but no list by that name "
                                          "already exists")
            before.items += item.items
            before.visibility = at
        else:
            index = before.index if before else at
            self.lists[item.name] = _ListText(item.name, item.node, list(item.items), index, at)

    def _add_macro(self, item: definitions.MacroItem) -> None:
        before, at = self.macros.get(item.name), self._next()
        piece = Piece(item.condition.value, item.condition, True)
        if item.append:
            if before is None:
                raise _invalid(item.node, "Macro uses 'append' or 'override.condition: append' but no macro by that "
                                          "name already exists")
            before.pieces += [Piece(" ", item.condition, False), piece]
            before.visibility = at
        else:
            self.macros[item.name] = _MacroText(item.name, item.node, [piece], before.index if before else at, at)

    def _add_rule(self, item: definitions.RuleItem) -> None:
        before = self.rules.get(item.name)
        if item.how == "define":
            self._define(item, before)
            return
        if before is None:
            raise _invalid(item.node, {
                "append": "Rule uses 'append' or 'override.<key>: append' but no rule by that name already exists",
                "replace": "An 'override.<key>: replace' to a rule was requested but no rule by that name already "
                           "exists",
                "enable": "Rule has 'enabled' key but no rule by that name already exists"}[item.how])
        if item.source is not None and item.source != before.source:
            raise _invalid(item.node, "Rule has been re-defined with a different source")
        if item.how == "append":
            self._append(item, before)
        else:
            before.values.update(item.values)
            if item.condition is not None:
                before.pieces = [Piece(item.condition.value, item.condition, True)]
            if item.output is not None:
                before.output = item.output
            if "exceptions" in item.values:
                before.exceptions = item.values["exceptions"]
                for exemption in before.exceptions:
                    self._validate(exemption, before.source)

    def _define(self, item: definitions.RuleItem, before: RuleText | None) -> None:
        source = item.values.get("source", "syscall")
        if before is not None and before.source != source:
            raise _invalid(item.node, "Rule has been re-defined with a different source")
        assert item.condition is not None
        assert item.output is not None
        rule = RuleText(item.name, item.node, source, {**item.values, "output": item.values["output"].strip(BLANKS)},
                     [Piece(item.condition.value, item.condition, True)], item.output,
                     item.values.get("exceptions", []))
        for exemption in rule.exceptions:
            self._validate(exemption, source)
        self.rules[item.name] = rule  # keeps the place of the first definition

    def _append(self, item: definitions.RuleItem, before: RuleText) -> None:
        if not item.values:
            raise _invalid(item.node, "Appended rule must have exceptions or condition property")
        if item.condition is not None:
            before.pieces += [Piece(" ", item.condition, False), Piece(item.condition.value, item.condition, True)]
        for key in ("output", "desc"):
            if key in item.values:
                before.values[key] = f"{before.values.get(key, '')} {item.values[key]}"
        if "tags" in item.values:
            before.values["tags"] = [*before.values.get("tags", []), *item.values["tags"]]
        for exemption in item.values.get("exceptions", []):
            same = next((earlier for earlier in before.exceptions if earlier.name == exemption.name), None)
            if same is None:
                if exemption.fields is None:
                    raise _invalid(exemption.node, "Rule exception must have fields property with a list of fields")
                if not exemption.values:
                    raise _invalid(exemption.node, "Rule exception must have values property with a list of values")
                self._validate(exemption, before.source)
                before.exceptions = [*before.exceptions, exemption]
                continue
            if exemption.fields is not None:
                raise _invalid(exemption.node, "Can not append exception fields to existing exception, only values")
            if exemption.comps is not None:
                raise _invalid(exemption.node, "Can not append exception comps to existing exception, only values")
            same.values = same.values + exemption.values

    def _validate(self, exception: definitions.Exemption, source: str) -> None:
        node = exception.node
        if exception.fields is None:
            raise _invalid(node, "Rule exception item must have fields property with a list of fields")
        if isinstance(exception.fields, list):
            if exception.comps is None:
                exception.comps = ["="] * len(exception.fields)
            if not isinstance(exception.comps, list) or len(exception.fields) != len(exception.comps):
                raise _invalid(node, "Fields and comps lists must have equal length")
            for comparison in exception.comps:
                if not isinstance(comparison, str) or not _supported(comparison):
                    raise _invalid(node, f"'{comparison}' is not a supported comparison operator")
            names = exception.fields
        else:
            exception.comps = "in" if exception.comps is None else exception.comps
            if isinstance(exception.comps, list):
                raise _invalid(node, "Fields and comps must both be strings")
            words = exception.comps.split()
            if exception.comps not in LISTED and not (_supported(exception.comps) and words[-1] in MODIFIERS):
                raise _invalid(node, "When fields is a single value, comps must be one of (in, pmatch, intersects)")
            names = [exception.fields]
        if source in fields.SOURCES:
            for name in names:
                if not isinstance(name, str) or not _defined(name, source):
                    raise _invalid(node, f"'{name}' is not a supported filter field")

    # --- when all files are read ------------------------------------------------------------------------------------

    def finish(self) -> Collected:
        lists = self._expanded()
        used: set[str] = {name for listed in self.lists.values() for name in listed.items if name in self.lists}
        texts = lists.items()

        def parsed(pieces: list[Piece]) -> tuple[Condition, Text]:
            text = Text(pieces)
            text.substitute(texts, used.add)
            try:
                return parse(text.source), text
            except SourceError as wrong:
                raise text.error(wrong.reason, wrong.offset, wrong.kind) from None

        macros = {name: parsed(macro.pieces) for name, macro in self.macros.items()}
        resolver = _Resolver(self.macros, macros)
        for name in self.macros:
            resolver.macro(name)
        conditions = {}
        rules = [rule for rule in self.rules.values() if rule.source in fields.SOURCES]
        for rule in rules:
            conditions[rule.name] = condition, text = parsed(with_exceptions(rule.pieces, rule.exceptions))
            resolver.rule(condition, text)
        unused = [("LOAD_UNUSED_MACRO", "Macro not referred to by any other rule/macro", macro.node)
                  for name, macro in self.macros.items() if name not in resolver.used]
        unused += [("LOAD_UNUSED_LIST", "List not referred to by any other rule/macro", listed.node)
                   for name, listed in self.lists.items() if name not in used]
        return Collected(rules, macros, conditions, lists, unused)

    def _expanded(self) -> dict[str, list[str]]:
        """Lists with the items of the lists that they name, if these were defined before."""
        done: dict[str, list[str]] = {}
        doing: set[str] = set()

        def expand(listed: _ListText) -> list[str]:
            if listed.name in done:
                return done[listed.name]
            if listed.name in doing or len(doing) > DEEPEST:
                raise _invalid(listed.node, f"reference loop in list '{listed.name}'")
            doing.add(listed.name)
            items: list[str] = []
            for item in listed.items:
                nested = self.lists.get(item)
                items += expand(nested) if nested is not None and nested.index < listed.visibility else [item]
                if len(items) > MOST_ITEMS:
                    raise _invalid(listed.node, f"list '{listed.name}' has more than {MOST_ITEMS} items")
            doing.discard(listed.name)
            done[listed.name] = items
            return items

        return {name: expand(listed) for name, listed in self.lists.items()}


class _Resolver:
    """Do macros exist, do they end, and are conditions of a size that one can evaluate?"""

    def __init__(self, defined: dict[str, _MacroText], parsed: dict[str, tuple[Condition, Text]]) -> None:
        self.defined, self.parsed = defined, parsed
        self.used: set[str] = set()
        self.sizes: dict[str, tuple[int, int]] = {}  # tests and depth
        self.path: list[str] = []

    def macro(self, name: str) -> tuple[int, int]:
        if name not in self.sizes:
            self.path.append(name)
            condition, text = self.parsed[name]
            self.sizes[name] = self._size(condition, text, self.defined[name].visibility, 0)
            self.path.pop()
        return self.sizes[name]

    def rule(self, condition: Condition, text: Text) -> None:
        self._size(condition, text, None, 0)

    def _size(self, condition: Condition, text: Text, visibility: int | None, depth: int) -> tuple[int, int]:
        if isinstance(condition, Macro):
            size = self._referred(condition, text, visibility)
        elif isinstance(condition, Not):
            tests, below = self._size(condition.part, text, visibility, depth + 1)
            size = tests, below + 1
        elif isinstance(condition, (And, Or)):
            sizes = [self._size(part, text, visibility, depth + 1) for part in condition.parts]
            size = sum(tests for tests, _ in sizes), 1 + max(below for _, below in sizes)
        else:
            return 1, 1
        if size[0] > MOST_TESTS:
            raise text.error(f"condition with its macros has more than {MOST_TESTS} checks", 0, "LOAD_ERR_VALIDATE")
        if size[1] > DEEPEST:
            raise text.error(f"exceeded max depth limit of {DEEPEST}", 0, "LOAD_ERR_VALIDATE")
        return size

    def _referred(self, macro: Macro, text: Text, visibility: int | None) -> tuple[int, int]:
        defined = self.defined.get(macro.name)
        if macro.name in self.path:
            raise text.error(f"reference loop in macro '{macro.name}'", macro.start, "LOAD_ERR_VALIDATE")
        if defined is None or (visibility is not None and defined.index >= visibility):
            raise text.error(f"Undefined macro '{macro.name}' used in filter.", macro.start, "LOAD_ERR_VALIDATE")
        if len(self.path) > DEEPEST:
            raise text.error(f"exceeded max depth limit of {DEEPEST}", macro.start, "LOAD_ERR_VALIDATE")
        self.used.add(macro.name)
        tests, below = self.macro(macro.name)
        return tests, below + 1


def _supported(comparison: str) -> bool:
    words = comparison.split()
    if len(words) == 2:
        return words[1] in MODIFIERS and words[0] in OPERATORS and words[0] not in (*UNARY, *NUMERIC, *LISTED)
    return len(words) == 1 and words[0] in OPERATORS


def _defined(name: str, source: str) -> bool:
    """Is it a field, or a transformer around one? What a transformer takes is checked with the condition."""
    stem, bracket, rest = name.partition("[")
    if "(" in name:
        return True
    return fields.lookup(source, stem, rest.removesuffix("]") if bracket else None) is not None


def ordered(values: Iterable[str]) -> tuple[str, ...]:
    """Tags, as Falco's sets of texts have them."""
    return tuple(sorted(set(values)))
