"""fmt.Sprintf for what JSON data becomes in Go: nil, bool, int, float64, string, []byte, lists and maps.

Source: the documentation of Go's package fmt. A format is parsed once; one that has only %s, %v and %d, without flags,
is filled in at the speed of Python's own `%`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from policylang.go.numbers import format_float, quote

_BACKQUOTABLE = re.compile("[^\0-\x08\n-\x1f`\x7f\ufeff\udc80-\udcff]*")  # strconv.CanBackquote
_MOST = 1_000_000  # what Go accepts as a width or precision
STAR = -1
_GO = "V"  # the flag of %#v, which writes Go


class _Directive(NamedTuple):
    """One `%…`. A width or precision is a number, None or STAR; an argument's number is None, from 1, or 0 if bad."""

    verb: str
    flags: str
    width: int | None
    precision: int | None
    argument: int | None
    width_index: int | None
    precision_index: int | None
    bad_index: bool


class _Format(NamedTuple):
    parts: tuple[str | _Directive, ...]
    template: str | None  # for Python's %, where only plain %s, %v and %d are in it
    verbs: str


def sprintf(form: str, arguments: Sequence[Any]) -> str:
    """`form` filled in; what is wrong shows in it as in Go: `%!d(string=x)`, `%!s(MISSING)`, `%!(EXTRA int64=1)`."""
    parsed = _parsed(form)
    if parsed.template is not None and len(parsed.verbs) == len(arguments):
        for verb, value in zip(parsed.verbs, arguments, strict=True):
            kind = type(value)
            if verb == "d":
                if kind is not int:
                    break
            elif kind is not str and (verb != "v" or kind is not int):
                break
        else:
            return parsed.template % tuple(arguments)
    return _filled(parsed.parts, arguments)


@lru_cache(1024)
def _parsed(form: str) -> _Format:
    parts: list[str | _Directive] = []
    at = 0
    while at < len(form):
        percent = form.find("%", at)
        if percent < 0:
            parts.append(form[at:])
            break
        if percent > at:
            parts.append(form[at:percent])
        directive, at = _directive(form, percent + 1)
        parts.append(directive)
    plain = all(isinstance(part, str) or (part.verb in ("s", "v", "d", "%") and part[1:] == _PLAIN) for part in parts)
    verbs = "".join(part.verb for part in parts if not isinstance(part, str) and part.verb != "%")
    template = "".join(part.replace("%", "%%") if isinstance(part, str) else "%%" if part.verb == "%" else "%s"
                       for part in parts) if plain else None
    return _Format(tuple(parts), template, verbs)


_PLAIN = ("", None, None, None, None, None, False)


def _directive(form: str, at: int) -> tuple[_Directive, int]:
    start = at
    while at < len(form) and form[at] in "+-# 0":
        at += 1
    flags = form[start:at]
    width: int | None = None
    precision: int | None = None
    width_index = precision_index = None
    bad = False
    index, at, good = _index(form, at)
    bad |= not good
    if form[at:at + 1] == "*":
        width, width_index, index, at = STAR, index, None, at + 1
    else:
        width, at = _number(form, at)
        bad |= index is not None and width is not None
    if form[at:at + 1] == ".":
        at += 1
        bad |= index is not None
        explicit, at, good = _index(form, at)
        index = explicit if explicit is not None else index
        bad |= not good
        if form[at:at + 1] == "*":
            precision, precision_index, index, at = STAR, index, None, at + 1
        else:
            precision, at = _number(form, at)
            precision = precision or 0
    if index is None:
        index, at, good = _index(form, at)
        bad |= not good
    verb = form[at:at + 1]
    return _Directive(verb, flags, width, precision, index, width_index, precision_index, bad), at + 1


def _index(form: str, at: int) -> tuple[int | None, int, bool]:
    """`[3]` before a star or verb: the index, where it ends, whether it is one."""
    if form[at:at + 1] != "[":
        return None, at, True
    close = form.find("]", at)
    if close < 0:
        return 0, at + 1, False
    inside = form[at + 1:close]
    good = inside.isascii() and inside.isdigit() and 0 < int(inside[:9]) <= _MOST
    return (int(inside[:9]) if good else 0), close + 1, good


def _number(form: str, at: int) -> tuple[int | None, int]:
    start = at
    while at < len(form) and form[at] in "0123456789":
        at += 1
    if at == start:
        return None, at
    value = int(form[start:at][:9])
    return (value, at) if value <= _MOST else (None, len(form))


def _filled(parts: tuple[str | _Directive, ...], arguments: Sequence[Any]) -> str:
    out: list[str] = []
    at, reordered, count = 0, False, len(arguments)
    for part in parts:
        if isinstance(part, str):
            out.append(part)
            continue
        verb, flags, width, precision, index, width_index, precision_index, bad = part
        if width is STAR:
            at, reordered, bad = _jump(width_index, at, count, reordered, bad)
            width, at = _star(arguments, at, out, "%!(BADWIDTH)")
            if width is not None and width < 0:
                width, flags = -width, flags.replace("0", "") + "-"
        if precision is STAR:
            at, reordered, bad = _jump(precision_index, at, count, reordered, bad)
            precision, at = _star(arguments, at, out, "%!(BADPREC)")
            if precision is not None and precision < 0:
                out.append("%!(BADPREC)")
                precision = None
        at, reordered, bad = _jump(index, at, count, reordered, bad)
        if not verb:
            out.append("%!(NOVERB)")
        elif verb == "%":
            out.append("%")
        elif bad:
            out.append(f"%!{verb}(BADINDEX)")
        elif at >= count:
            out.append(f"%!{verb}(MISSING)")
        else:
            if verb == "v" and not _big(arguments[at]):
                flags = flags.replace("+", "").replace("#", _GO)  # %+v is about the fields of structs
            out.append(_Printer(flags, width, precision).show(arguments[at], verb))
            at += 1
    if not reordered and at < count:
        plain = _Printer("", None, None)
        extra = ", ".join("<nil>" if value is None else f"{_type(value)}={plain.show(value, 'v')}"
                          for value in arguments[at:])
        out.append(f"%!(EXTRA {extra})")
    return "".join(out)


def _jump(index: int | None, at: int, count: int, reordered: bool, bad: bool) -> tuple[int, bool, bool]:
    """Where `[index]` leads: (the next argument, whether the order was changed, whether an index was bad)."""
    if index is None:
        return at, reordered, bad
    return (index - 1, True, bad) if 0 < index <= count else (at, True, True)


def _star(arguments: Sequence[Any], at: int, out: list[str], wrong: str) -> tuple[int | None, int]:
    value = arguments[at] if at < len(arguments) else None
    if type(value) is int and -_MOST <= value <= _MOST:
        return value, at + 1
    out.append(wrong)
    return None, min(at + 1, len(arguments))


def _big(value: Any) -> bool:
    return type(value) is int and not -(1 << 63) <= value < 1 << 63


def _type(value: Any) -> str:
    kind = type(value)
    if kind is int:
        return "*big.Int" if _big(value) else "int64"
    return {str: "string", bool: "bool", float: "float64", bytes: "[]uint8", list: "[]interface {}",
            dict: "map[string]interface {}"}.get(kind, kind.__name__)


class _Printer:
    """One directive's flags, width and precision."""

    __slots__ = ("flags", "precision", "width")

    def __init__(self, flags: str, width: int | None, precision: int | None) -> None:
        self.flags, self.width, self.precision = flags, width, precision

    def show(self, value: Any, verb: str) -> str:
        kind = type(value)
        if verb == "T":
            return self.pad(self.cut("<nil>" if value is None else _type(value)))
        if value is None:
            return self.pad("<nil>") if verb == "v" else f"%!{verb}(<nil>)"
        if verb == "p":
            return self.wrong(value, verb)
        if kind is str:
            return self.string(value, verb)
        if kind is bool:
            return self.pad("true" if value else "false") if verb in "tv" else self.wrong(value, verb)
        if kind is int:
            return self.integer(value, verb)
        if kind is float:
            return self.floating(value, verb)
        if kind is bytes:
            return self.octets(value, verb)
        return self.collection(value, verb)

    def wrong(self, value: Any, verb: str) -> str:
        if _big(value):
            return f"%!{verb}(big.Int={value})"
        return f"%!{verb}({_type(value)}={self.show(value, 'v')})"

    def pad(self, text: str, zeros: bool = False) -> str:
        if self.width is None or len(text) >= self.width:
            return text
        if "-" in self.flags:
            return text.ljust(self.width)
        if zeros:
            sign = text[:1] if text[:1] in ("+", "-", " ") else ""
            return sign + text[len(sign):].rjust(self.width - len(sign), "0")
        return text.rjust(self.width, "0" if "0" in self.flags else " ")

    def cut(self, text: str) -> str:
        return text if self.precision is None else text[:self.precision]

    def string(self, value: str, verb: str) -> str:
        if verb == "v" and _GO in self.flags:
            return self.pad(quote(self.cut(value)))
        if verb in "sv":
            return self.pad(self.cut(value))
        if verb == "q":
            shown = self.cut(value)
            if "#" in self.flags and "`" not in shown and _BACKQUOTABLE.fullmatch(shown):
                return self.pad(f"`{shown}`")
            return self.pad(quote(shown, "+" in self.flags))
        if verb in "xX":
            return self.hexadecimal(value.encode("utf-8", "surrogateescape"), verb)
        return self.wrong(value, verb)

    def octets(self, value: bytes, verb: str) -> str:
        if verb in "vd":
            return self.pad("[" + " ".join(map(str, value)) + "]")
        if verb in "xX":
            return self.hexadecimal(value, verb)
        return self.string(value.decode("utf-8", "surrogateescape"), verb)

    def hexadecimal(self, data: bytes, verb: str) -> str:
        data = data if self.precision is None else data[:self.precision]
        pairs = [f"{byte:02{verb}}" for byte in data]
        prefix = "0" + verb if "#" in self.flags and pairs else ""
        return self.pad(" ".join(prefix + byte for byte in pairs) if " " in self.flags else prefix + "".join(pairs))

    def integer(self, value: int, verb: str) -> str:
        big = _big(value)
        if verb in "vd" or (big and verb == "s"):
            return self.digits(value, str(abs(value)))
        if verb in "bo":
            return self.digits(value, format(abs(value), verb), {"b": "0b", "o": "0"}[verb])
        if verb == "O":
            return self.digits(value, format(abs(value), "o"), "0", "0o")
        if verb in "xX":
            return self.digits(value, format(abs(value), verb), "0" + verb)
        if verb in "cqU" and not big:
            return self.character(value, verb)
        return self.wrong(value, verb)

    def digits(self, value: int, shown: str, prefix: str = "", always: str = "") -> str:
        flags = self.flags
        if self.precision is not None:
            if self.precision == 0 and value == 0:
                return " " * (self.width or 0)
            shown = shown.rjust(self.precision, "0")
        sign = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
        if "0" in flags and "-" not in flags and self.width is not None and self.precision is None:
            shown = shown.rjust(self.width - len(sign), "0")
        if "#" in flags and not (prefix == "0" and (shown.startswith("0") or (always and _big(value)))):
            shown = prefix + shown
        text = sign + always + shown
        if self.width is None:
            return text
        return text.ljust(self.width) if "-" in flags else text.rjust(self.width)

    def character(self, value: int, verb: str) -> str:
        good = 0 <= value <= 0x10FFFF and not 0xD800 <= value <= 0xDFFF
        sign = chr(value) if good else "\ufffd"
        if verb == "c":
            return self.pad(sign)
        if verb == "q":
            return self.pad(quote(sign, "+" in self.flags, "'"))
        shown = f"U+{value & 0xFFFFFFFFFFFFFFFF:0{max(4, self.precision or 0)}X}"
        shown = f"{shown} '{sign}'" if "#" in self.flags and good and sign.isprintable() else shown
        return _Printer(self.flags.replace("0", ""), self.width, None).pad(shown)

    def floating(self, value: float, verb: str) -> str:
        precision = self.precision
        if verb == "v":
            shown = format_float(value, "g", -1 if precision is None else precision)
        elif verb in "eEfF":
            shown = format_float(value, "f" if verb == "F" else verb, 6 if precision is None else precision)
        elif verb in "gGbxX":
            shown = format_float(value, verb, -1 if precision is None else precision)
        else:
            return self.wrong(value, verb)
        finite = shown[-1:].isdigit()
        shown = shown.removeprefix("+") if not finite else shown
        if "#" in self.flags and finite and verb != "b":
            shown = _with_point(shown, verb, precision)
        if shown[0] != "-":
            shown = ("+" if "+" in self.flags or (shown == "Inf" and "+" in self.flags) else
                     " " if " " in self.flags else "+" if shown == "Inf" else "") + shown
        if not finite:
            width = self.width or 0
            return shown.ljust(width) if "-" in self.flags else shown.rjust(width)
        return self.pad(shown, zeros="0" in self.flags)

    def collection(self, value: Any, verb: str) -> str:
        """A list is `[a b]`, a map `map[k:v]` in the order of its keys; the directive holds for each member."""
        sharp = _GO in self.flags
        if isinstance(value, list):
            if sharp:
                return "[]interface {}{" + ", ".join(self.nested(item, verb) for item in value) + "}"
            return "[" + " ".join(self.nested(item, verb) for item in value) + "]"
        if isinstance(value, dict):
            members = [(self.nested(key, verb), self.nested(member, verb)) for key, member in sorted(value.items())]
            if sharp:
                return "map[string]interface {}{" + ", ".join(f"{key}:{member}" for key, member in members) + "}"
            return "map[" + " ".join(f"{key}:{member}" for key, member in members) + "]"
        return self.string(str(value), verb)

    def nested(self, value: Any, verb: str) -> str:
        if value is None and _GO in self.flags:
            return "interface {}(nil)"
        if value is None and verb != "v":
            return f"%!{verb}(<nil>)"
        return self.show(value, verb)


def _with_point(shown: str, verb: str, precision: int | None) -> str:
    """The `#` flag: a point always, and for %g the trailing zeros of its precision."""
    mantissa, mark, power = shown, "", ""
    for sign in "eEpP":
        if sign in shown and verb not in ("fF" if sign in "eE" else ""):
            mantissa, mark, power = shown.partition(sign)
            break
    if "." not in mantissa:
        mantissa += "."
    if verb in "gGvxX":
        places = 6 if precision is None else precision
        have = len(mantissa.replace(".", "").lstrip("-+").lstrip("0")) or 1
        mantissa += "0" * (places - have)
    return mantissa + mark + power
