"""Functions of JMESPath, Kyverno's too, that CEL has in other words."""

from __future__ import annotations

from collections.abc import Callable

from custody.policy.migrate.expressions import every
from custody.policy.migrate.said import Said

Write = Callable[..., Said | None]
"""None for arguments of which it cannot be said."""


def _text_of(of: Said) -> Said:
    if of.type == "text":
        return of
    if of.type in ("int", "bool"):
        return Said(f"string({of.text})", "text")
    return Said(f"cel.bind(value, dyn({of.text}), type(value) == string ? value : json.marshal(value))", "text")


def _number_of(of: Said) -> Said:
    return of if of.type in ("int", "number") else Said(f"double({of.text})", "number")


def _split(text: Said, separator: Said) -> Said:
    return Said(f"{text.unit}.split({separator.text})", "list", elements="text")


def _join(separator: Said, texts: Said) -> Said:
    return Said(f"{texts.unit}.join({separator.text})", "text")


def _values(of: Said) -> Said:
    return Said(f"cel.bind(members, {of.text}, members.map(member, members[member]))", "list")


def _label_match(wanted: Said, labels: Said) -> Said:
    name = "label"
    inside = every((f"{name} in {labels.unit}", f"{labels.unit}[{name}] == {wanted.unit}[{name}]"))
    return Said(f"(size({labels.text}) >= 0 ? {wanted.unit}.all({name}, {inside}) : false)", "bool")  # null is an error


def _since(layout: Said, start: Said, end: Said) -> Said | None:
    if layout.text != "''":
        return None
    until = "time.now()" if end.text == "''" else f"timestamp({end.text})"
    return Said(f"({until} - timestamp({start.text}))", "duration")


def _replaced(text: Said, old: Said, new: Said) -> Said:
    return Said(f"{text.unit}.replace({old.text}, {new.text})", "text")


FUNCTIONS: dict[str, tuple[int, Write]] = {
    "to_string": (1, _text_of),
    "to_number": (1, _number_of),
    "split": (2, _split),
    "join": (2, _join),
    "values": (1, _values),
    "label_match": (2, _label_match),
    "parse_json": (1, lambda of: Said(f"json.unmarshal({of.text})")),
    "base64_decode": (1, lambda of: Said(f"string(base64.decode({of.text}))", "text")),
    "time_now_utc": (0, lambda: Said("time.now()", "timestamp")),
    "time_to_cron": (1, lambda of: Said(f"time.toCron({of.text})", "text") if of.type == "timestamp" else None),
    "time_since": (3, _since),
    "replace_all": (3, _replaced),
}
"""By the function's name: how many arguments, and what says it."""
