"""What an alert says: `output` templates and the JSON object (libsinsp eventformatter.cpp, falco formats.cpp)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from policylang.falco.syntax.lexer import Cursor
from policylang.falco.syntax.parser import TRANSFORMERS, operand
from policylang.falco.syntax.tree import Field, Operand
from policylang.falco.values import fields
from policylang.source import Source, SourceError

MISSING = "<NA>"
LONGEST = 1 << 16  # characters of one output
_NAME = re.compile(r"[a-zA-Z]+[a-zA-Z0-9_]*(?:\.[a-zA-Z]+[a-zA-Z0-9_]*)+")
_CALL = re.compile(rf"(?:{'|'.join(TRANSFORMERS)})\(")
_WIDTH = re.compile(r"[0-9]{1,4}")
_TIMES = ("evt.time", "evt.time.s", "evt.time.iso8601", "evt.datetime", "evt.datetime.s", "evt.rawtime.s",
          "evt.rawtime.ns")
_SECOND = 1_000_000_000
_LAST = 253_402_300_799  # 9999-12-31T23:59:59Z
PRIORITIES = ("Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug")


class Event(Protocol):
    """A mapping of fields by name, or anything that answers as one: None where the event has no such field."""

    def get(self, name: str, /) -> Any: ...


Reader = Callable[[Callable[[str], Any]], Any]


@dataclass(frozen=True, slots=True)
class Token:
    """`name` as it stands after the `%`, how it is read from an event, and the width it is brought to."""

    name: str
    read: Reader
    width: int = 0


@dataclass(frozen=True, slots=True)
class Template:
    parts: tuple[str | Token, ...]

    def text(self, event: Event) -> str:
        get = event.get
        return "".join(part if isinstance(part, str) else _padded(shown(part.read(get)), part.width)
                       for part in self.parts)

    def fields(self, event: Event) -> dict[str, Any]:
        """`output_fields`: times are nanoseconds."""
        get = event.get
        return {part.name: get("evt.rawtime") if part.name in _TIMES else part.read(get)
                for part in self.parts if isinstance(part, Token)}


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule that was true of an event. `output` is without time and priority, which `line()` puts before it."""

    rule: str
    priority: str
    source: str
    output: str
    output_fields: dict[str, Any]
    tags: tuple[str, ...] = ()
    time: int | None = None  # nanoseconds since 1970
    hostname: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        clock = MISSING if self.time is None else moment(self.time, "evt.time")
        return f"{clock}: {self.priority} {self.output}"

    def json(self) -> dict[str, Any]:
        """Falco's json_output."""
        return {"hostname": self.hostname, "output": self.line(),
                "output_fields": {"evt.time": self.time, **self.output_fields}, "priority": self.priority,
                "rule": self.rule, "source": self.source, "tags": list(self.tags),
                "time": None if self.time is None else moment(self.time, "iso")}


def template(text: str, source: str, fail: Callable[[str, int], SourceError],
             reader: Callable[[Operand, Source], Reader]) -> Template:
    """`%field`, `%field[argument]`, `%transformer(field)`, `%20field`; `%%` is a percent sign.

    `fail(message, offset)` makes the error; `reader` reads an operand from an event, SourceError where it cannot.
    """
    if not text:
        raise fail("empty formatting token", 0)
    if len(text) > LONGEST:
        raise fail(f"output of {len(text)} characters, at most {LONGEST}", 0)
    program = Source(text)
    parts: list[str | Token] = []
    at = 0
    text_start = 1 if text[0] == "*" else 0
    at = text_start
    while (percent := text.find("%", at)) >= 0:
        if percent + 1 == len(text):
            raise fail("invalid formatting syntax: formatting cannot end with a %", percent)
        parts.append(text[at:percent])
        at = percent + 1
        if text[at] == "%":
            parts.append("%")
            at += 1
            continue
        width = 0
        if (digits := _WIDTH.match(text, at)) is not None:
            width, at = int(digits[0]), digits.end()
            if at == len(text):
                raise fail("invalid formatting syntax: formatting cannot end with a number", percent)
        operand, end = _operand(program, source, at, fail)
        try:
            read = _time_reader(operand) or reader(operand, program)
        except SourceError as wrong:
            raise fail(wrong.reason, at) from None
        parts.append(Token(text[at:end], read, width))
        at = end
    parts.append(text[at:])
    return Template(tuple(part for part in parts if part != ""))


def _operand(program: Source, source: str, at: int, fail: Callable[[str, int], SourceError]) -> tuple[Operand, int]:
    text = program.text
    if _CALL.match(text, at):
        cursor = Cursor(program, at)
        try:
            parsed = operand(cursor)
        except SourceError as wrong:
            raise fail(wrong.reason, wrong.offset) from None
        assert parsed is not None
        return parsed, cursor.at
    match = _NAME.match(text, at)
    name = match[0] if match else ""
    while name:  # the longest name that is a field
        end = at + len(name)
        if text[end:end + 1] == "[" and (close := text.find("]", end)) > 0:
            argument = text[end + 1:close].strip("\"'")
            if fields.lookup(source, name, argument) is not None:
                return Field(name, argument, at, close + 1), close + 1
        if fields.lookup(source, name, None) is not None:
            return Field(name, None, at, end), end
        name = name[:-1].rstrip(".")
    raise fail(f"invalid formatting token {text[at:]}", at)


def _time_reader(operand: Operand) -> Reader | None:
    """Times are made of evt.rawtime, where an event has no text for them."""
    if not isinstance(operand, Field) or operand.name not in _TIMES:
        return None
    name = operand.name

    def read(get: Callable[[str], Any]) -> Any:
        value = get(name)
        if value is None and type(raw := get("evt.rawtime")) is int:
            return moment(raw, name)
        return value

    return read


def moment(nanoseconds: int, form: str) -> Any:
    """In UTC, whatever the machine's zone. A number that is no time of this calendar stays what it is."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    if not 0 <= seconds <= _LAST:
        return str(nanoseconds)
    if form == "evt.rawtime.s":
        return seconds
    if form == "evt.rawtime.ns":
        return rest
    at = datetime.fromtimestamp(seconds, UTC)
    if form == "evt.time":
        return f"{at:%H:%M:%S}.{rest:09d}"
    if form == "evt.time.s":
        return f"{at:%H:%M:%S}"
    if form == "evt.datetime.s":
        return f"{at:%Y-%m-%d %H:%M:%S}"
    if form == "evt.datetime":
        return f"{at:%Y-%m-%d %H:%M:%S}.{rest:09d}"
    return f"{at:%Y-%m-%dT%H:%M:%S}.{rest:09d}{'Z' if form == 'iso' else '+0000'}"


def shown(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"({','.join(map(shown, value))})" if value else MISSING
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def _padded(text: str, width: int) -> str:
    return text[:width].ljust(width) if width else text


def names(templates: Iterable[Template]) -> set[str]:
    return {part.name for template in templates for part in template.parts if isinstance(part, Token)}
