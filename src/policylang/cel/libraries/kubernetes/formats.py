"""kubernetes.format: `format.dns1123Label().validate(text)` gives an optional list of what is wrong with it.

Texts and rules from apimachinery pkg/util/validation and kube-openapi's strfmt.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any, ClassVar

from policylang.cel.cost.units import CONSTANT
from policylang.cel.libraries.kubernetes.prices import VALIDATE
from policylang.cel.library import Function, Library, Overload, function
from policylang.cel.types import STRING, Type, list_of, message, optional_of
from policylang.cel.values.errors import CelError
from policylang.cel.values.values import NONE, Optional
from policylang.go.urls import UrlError, parse_request

FORMAT = message("kubernetes.NamedFormat")

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_QUALIFIED})?"
_PARTS = "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})")
_TIME = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:.[0-9]+)?(?:z|[+-][0-9]{2}:[0-9]{2})")


class Format:
    """`pattern_size` is what Kubernetes counts for running it."""

    __slots__ = ("name", "pattern_size", "validate")
    cel_type: ClassVar[Type] = FORMAT

    def __init__(self, name: str, pattern_size: int, validate: Callable[[str], list[str]]) -> None:
        self.name, self.pattern_size, self.validate = name, pattern_size, validate

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Format):
            raise CelError("no such overload")
        return self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"format({self.name})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (next(word for word, known in FORMATS.items() if known is self),)


def _mismatch(message: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


def _length(most: int) -> str:
    return f"must be no more than {most} characters"


def label(text: str) -> list[str]:
    wrong = [_length(63)] if len(text.encode()) > 63 else []
    if not re.fullmatch(_LABEL, text):
        wrong.append("must not contain dots" if re.fullmatch(_SUBDOMAIN, text) else _mismatch(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
            "end with an alphanumeric character", _LABEL, "my-name", "123-abc"))
    return wrong


def subdomain(text: str) -> list[str]:
    wrong = [_length(253)] if len(text.encode()) > 253 else []
    if not re.fullmatch(_SUBDOMAIN, text):
        wrong.append(_mismatch(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            "start and end with an alphanumeric character", _SUBDOMAIN, "example.com"))
    return wrong


def _label_1035(text: str) -> list[str]:
    wrong = [_length(63)] if len(text.encode()) > 63 else []
    if not re.fullmatch(_LABEL_1035, text):
        wrong.append(_mismatch(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
            "character, and end with an alphanumeric character", _LABEL_1035, "my-name", "abc-123"))
    return wrong


def _qualified_name(text: str) -> list[str]:
    parts = text.split("/")
    said = _mismatch(f"must consist of {_PARTS}", _QUALIFIED, "MyName", "my.name", "123-abc")
    if len(parts) > 2:
        return [f"a qualified name {said} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    wrong: list[str] = []
    if len(parts) == 2:
        wrong += [f"prefix part {fault}" for fault in subdomain(parts[0])] if parts[0] else [
            "prefix part must be non-empty"]
    name = parts[-1]
    if not name:
        wrong.append("name part must be non-empty")
    elif len(name.encode()) > 63:
        wrong.append(f"name part {_length(63)}")
    if not re.fullmatch(_QUALIFIED, name):
        wrong.append(f"name part {said}")
    return wrong


def _label_value(text: str) -> list[str]:
    wrong = [_length(63)] if len(text.encode()) > 63 else []
    if not re.fullmatch(_VALUE, text):
        wrong.append(_mismatch(f"a valid label must be an empty string or consist of {_PARTS}", _VALUE,
                               "MyValue", "my_value", "12345"))
    return wrong


def _prefix(of: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """A name to which something will be added may end in a dash. Go puts one letter for the last two."""
    return lambda text: of(f"{text[:-2]}a" if len(text) > 1 and text.endswith("-") else text)


def _uri(text: str) -> list[str]:
    try:
        parse_request(text)
    except UrlError as wrong:
        return [wrong.message]
    return []


def _says(message: str, good: Callable[[str], bool]) -> Callable[[str], list[str]]:
    return lambda text: [] if good(text) else [message]


def _is_date(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
        return False
    try:
        date(int(text[:4]) or 4, int(text[5:7]), int(text[8:]))  # Go has a year 0, which is a leap year
    except ValueError:
        return False
    return True


def _is_date_time(text: str) -> bool:
    day, *rest = text.lower().split("t")  # Go looks at no more than two parts
    match = _TIME.fullmatch(rest[0]) if rest else None
    return match is not None and _is_date(day) and match[1] <= "23" and match[2] <= "59" and match[3] <= "59"


FORMATS: dict[str, Format] = {
    "dns1123Label": Format("DNS1123Label", 30, label),
    "dns1123Subdomain": Format("DNS1123Subdomain", 60, subdomain),
    "dns1035Label": Format("DNS1035Label", 30, _label_1035),
    "qualifiedName": Format("QualifiedName", 60, _qualified_name),
    "dns1123LabelPrefix": Format("DNS1123LabelPrefix", 30, _prefix(label)),
    "dns1123SubdomainPrefix": Format("DNS1123SubdomainPrefix", 60, _prefix(subdomain)),
    "dns1035LabelPrefix": Format("DNS1035LabelPrefix", 30, _prefix(_label_1035)),
    "labelValue": Format("LabelValue", 40, _label_value),
    "uri": Format("URI", 1103, _uri),
    "uuid": Format("uuid", 70, _says("does not match the UUID format", lambda text: bool(_UUID.fullmatch(text)))),
    "byte": Format("byte", 84, _says("invalid base64", lambda text: bool(_BASE64.fullmatch(text)))),
    "date": Format("date", 71, _says("invalid date", _is_date)),
    "datetime": Format("datetime", 71, _says("invalid datetime", _is_date_time)),
}


def _named(name: str) -> Format:
    return FORMATS[name]


def _validate(of: Format, text: str) -> Optional:
    wrong = of.validate(text)
    return Optional(wrong) if wrong else NONE


def _constant(name: str, value: Format) -> Function:
    return function(f"format.{name}", Overload(f"format.{name}", (), FORMAT, lambda: value, CONSTANT))


LIBRARY = Library("kubernetes.format", types=(FORMAT,), functions=(
    function("validate", Overload("format-validate", (FORMAT, STRING), optional_of(list_of(STRING)), _validate,
                                  VALIDATE,
                                  member=True)),
    function("format.named", Overload("format-named", (STRING,), optional_of(FORMAT),
                                      lambda name: Optional(FORMATS[name]) if name in FORMATS else NONE, CONSTANT)),
    *(_constant(name, value) for name, value in FORMATS.items()),
))
