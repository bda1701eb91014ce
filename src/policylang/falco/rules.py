"""Rule files to rules: what `falco -V` does, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from policylang.code import Code
from policylang.falco.check.checker import Checker
from policylang.falco.check.collector import BLANKS, LEGACY, Collected, Collector, RuleText, ordered
from policylang.falco.check.condition import Piece, Text
from policylang.falco.check.formula import Formula, event_types
from policylang.falco.compiler import writer
from policylang.falco.output import PRIORITIES, Template, template
from policylang.falco.output import Reader as Read
from policylang.falco.syntax.definitions import Reader, Warned
from policylang.falco.syntax.document import documents
from policylang.falco.syntax.tree import Operand
from policylang.falco.values import fields
from policylang.falco.values.events import EVENTS
from policylang.source import Source, SourceError, read_source

UNKNOWN = ("nonexistent field", "invalid formatting token", "unknown event type", "unknown filter:")
Texts = Mapping[str, str | bytes] | Iterable[str | bytes | tuple[str, str | bytes]] | str | bytes


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it is after all appends and overrides. `priority` 0 is Emergency, 7 Debug."""

    name: str
    description: str
    condition: Formula
    text: str  # the condition with its lists and exceptions
    output: Template
    priority: int
    source: str
    tags: tuple[str, ...] = ()
    enabled: bool = True
    capture: bool = False
    capture_duration: int | None = None
    capture_events: int | None = None
    capture_filesize: int | None = None

    @property
    def level(self) -> str:
        return PRIORITIES[self.priority]


@dataclass(frozen=True)
class Loaded:
    """What rule files say. `macros` and `lists` are names with what they stand for."""

    rules: tuple[Rule, ...]
    macros: dict[str, str]
    lists: dict[str, tuple[str, ...]]
    warnings: tuple[Warned, ...]
    engine: tuple[int, int, int]
    plugins: tuple[tuple[tuple[str, str], ...], ...]


def sources(texts: Texts) -> list[Source]:
    """Files in order: `{name: text}`, pairs, or texts alone."""
    if isinstance(texts, (str, bytes)):
        texts = [texts]
    pairs = texts.items() if isinstance(texts, Mapping) else [
        file if isinstance(file, tuple) else (f"<rules {number}>", file) for number, file in enumerate(texts, 1)]
    return [read_source(text, name, limit=4 << 20) if isinstance(text, bytes) else Source(text, name)
            for name, text in pairs]


def read(files: list[Source]) -> Loaded:
    """SourceError where falco -V would refuse; its `kind` is Falco's error code, its `reason` Falco's words."""
    warnings: list[Warned] = []
    collector, reader = Collector(), Reader(warnings)
    for file in files:
        for document in documents(file):
            for item in reader.items(document):
                collector.add(item)
    collected = collector.finish()
    loader = _Loader(collected, reader, legacy=collector.oldest < LEGACY)
    rules = [rule for rule_text in collected.rules if (rule := loader.rule(rule_text)) is not None]
    for skipped in collector.rules.values():
        if skipped.source not in fields.SOURCES:
            reader.warn("LOAD_UNKNOWN_SOURCE", f"Unknown source {skipped.source}, skipping", skipped.node)
    for code, message, node in collected.unused:
        reader.warn(code, message, node)
    return Loaded(tuple(rules), {name: text.source.text for name, (_, text) in collected.macros.items()},
                  {name: tuple(items) for name, items in collected.lists.items()}, tuple(warnings), collector.engine,
                  tuple(map(tuple, collector.plugins)))


class _Loader:
    def __init__(self, collected: Collected, reader: Reader, *, legacy: bool) -> None:
        self.collected, self.reader = collected, reader
        self.checkers = {source: Checker(source, collected.macros, legacy=legacy, warn=self.warn)
                         for source in fields.SOURCES}

    def warn(self, code: str, message: str, text: Text, offset: int) -> None:
        source, at = text.locate(offset)
        line, column = source.place(at)
        self.reader.warnings.append(Warned(code, message, f"{source.name}:{line}:{column}"))

    def rule(self, rule: RuleText) -> Rule | None:
        values = rule.values
        try:
            output = self.output(rule)
            condition, text = self.collected.conditions[rule.name]
            formula = self.checkers[rule.source].formula(condition, text)
        except SourceError as wrong:
            if values.get("skip-if-unknown-filter") and any(word in wrong.reason for word in UNKNOWN):
                place = f"{wrong.source.name}:{wrong.line}:{wrong.column}"
                self.reader.warnings.append(Warned("LOAD_UNKNOWN_FILTER", wrong.reason, place))
                return None
            raise
        if rule.source == "syscall" and values.get("warn_evttypes", True):
            outside, names = event_types(formula)
            if outside or not names or len(names & EVENTS) > 100:
                self.reader.warn("LOAD_NO_EVTTYPE", "Rule matches too many evt.type values. This has a significant "
                                 "performance penalty.", rule.node)
        return Rule(rule.name, values.get("desc", ""), formula, text.source.text, output, values["priority"],
                    rule.source, ordered(values.get("tags", ())), values.get("enabled", True),
                    values.get("capture", False), values.get("capture_duration"), values.get("capture_events"),
                    values.get("capture_filesize"))

    def output(self, rule: RuleText) -> Template:
        text: str = rule.values["output"]
        if "%container.info" in text:
            self.reader.warn("LOAD_DEPRECATED_ITEM", "%container.info is deprecated and no more useful, and will be "
                             "dropped by Falco 1.0.0.", rule.node)
            text = text.replace("%container.info", "").strip(BLANKS) or " "
        for name in fields.DEPRECATED:
            if f"%{name}" in text:
                self.reader.warn("LOAD_DEPRECATED_ITEM", f"usage of deprecated field '{name}' has been detected in the "
                                 "rule output", rule.node)
        node = rule.output
        linear = node.value.strip(BLANKS) == text

        def fail(message: str, offset: int) -> SourceError:
            at = node.place(node.value.find(text) + offset) if linear else node.start
            return SourceError(message, node.source, at, kind="LOAD_ERR_COMPILE_OUTPUT")

        checker = self.checkers[rule.source]

        def reader(operand: Operand, program: Source) -> Read:
            made = Text([Piece(program.text, node, False)])
            return _reader(checker, operand, made)

        return template(text, rule.source, fail, reader)


def _reader(checker: Checker, operand: Operand, text: Text) -> Read:
    """A function that reads one operand from an event."""
    import ast

    code = Code("falco output")
    value = writer(code).value(checker.operand(operand, text), {})
    code.add("read", ["get"], [ast.Return(value)])
    made: Callable[[Callable[[str], Any]], Any] = code.build()["read"]
    return made
