"""Quantities with units, semantic versions, UUIDs."""

from __future__ import annotations

import re
from fractions import Fraction

from policylang.budget import too_large
from policylang.rego.builtins.operands import string
from policylang.rego.declare import BuiltinError, Context, builtin
from policylang.rego.values import UNDEFINED, Undefined, Value
from policylang.rego.values.numbers import MOST_DIGITS, Number, Numeral, binary, multiply, of_integer, read, truncated

_DECIMAL = {"": 0, "k": 3, "m": 6, "g": 9, "t": 12, "p": 15, "e": 18}
_BINARY = {"ki": 10, "mi": 20, "gi": 30, "ti": 40, "pi": 50, "ei": 60}
_MILLI = Fraction(0.001)  # as a float64
_AMOUNT = re.compile(r"(?:[0-9.+-]|[eE](?=[0-9+-])[+-]?)*", re.ASCII)
_LONG_POWER = re.compile(r"[eE][+-]?[0-9]{7}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}", re.ASCII)
_VERSION = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?", re.ASCII)


def _parts(value: str, name: str, subject: str) -> tuple[str, str]:
    """(number, unit); quotes are dropped as OPA does."""
    shown = value.replace('"', "")
    if " " in shown:
        raise BuiltinError(f"{name}: spaces not allowed in resource strings")
    match = _AMOUNT.match(shown)
    amount = match[0] if match else ""
    if _LONG_POWER.search(amount):
        raise BuiltinError(f"{name}: exponent too large")
    if not amount:
        raise BuiltinError(f"{name}: no {subject} provided")
    return amount, shown[len(amount):]


def _amount(shown: str, name: str, subject: str) -> Fraction:
    match = _NUMBER.fullmatch(shown)
    if match is None:
        raise BuiltinError(f"{name}: could not parse {subject} to a number")
    if len(shown) > MOST_DIGITS or abs(int(match[1] or "0")) > MOST_DIGITS:
        raise too_large(max(len(shown), abs(int(match[1] or "0"))), MOST_DIGITS)
    return Fraction(shown)


@builtin("units.parse", "string", result="number")
def parse(value: Value) -> Number:
    """`10K`, `5Mi`, `200m`: `m` is milli, `M` mega. What is not whole has ten digits after the point."""
    number, unit = _parts(string(value, 1), "units.parse", "amount")
    unit = unit[:1] + unit[1:].lower()
    lower = "m" if unit == "M" else unit[:1].lower() + unit[1:]
    if unit == "m":
        factor = _MILLI
    elif lower in _BINARY:
        factor = Fraction(1 << _BINARY[lower])
    elif lower in _DECIMAL:
        factor = Fraction(10 ** _DECIMAL[lower])
    else:
        raise BuiltinError(f"units.parse: unit {unit} not recognized")
    amount = _amount(number, "units.parse", "amount") * factor
    if amount.denominator == 1:
        return int(amount)
    digits = f"{int(abs(amount) * 10**10 + Fraction(1, 2)):011d}"
    return read(f"{'-' if amount < 0 else ''}{digits[:-10]}.{digits[-10:]}")


@builtin("units.parse_bytes", "string", result="number")
def parse_bytes(value: Value) -> int:
    number, unit = _parts(string(value, 1).lower(), "units.parse_bytes", "byte amount")
    short = unit.removesuffix("b") if len(unit) > 1 else unit
    if short in _BINARY:
        factor = 1 << _BINARY[short]
    elif short in _DECIMAL:
        factor = 10 ** _DECIMAL[short]
    else:
        raise BuiltinError(f"units.parse_bytes: byte unit {unit} not recognized")
    _amount(number, "units.parse_bytes", "byte amount")
    return truncated(multiply(binary(Numeral(number)), of_integer(factor), 64))


# --- semantic versions

Rank = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]


def _version(value: str) -> Rank | None:
    match = _VERSION.fullmatch(value)
    if match is None:
        return None
    if any(len(part) > 19 for part in match.groups()[:3]):
        return None
    numbers = [int(part) for part in match.groups()[:3]]
    if max(numbers) >= 1 << 63:
        return None
    before = tuple((not part.isdigit(), min(int(part[:20]), (1 << 63) - 1) if part.isdigit() else 0,
                    "" if part.isdigit() else part) for part in (match[4] or "").split(".") if part)
    return numbers[0], numbers[1], numbers[2], not before, before


@builtin("semver.compare", "string", "string", result="number")
def compare_versions(left: Value, right: Value) -> int:
    """-1, 0 or 1."""
    texts = string(left, 1), string(right, 2)
    ranks: list[Rank] = []
    for position, shown in enumerate(texts, 1):
        version = _version(shown.removeprefix("v"))
        if version is None:
            raise BuiltinError(f'operand {position}: string "{shown}" is not a valid SemVer')
        ranks.append(version)
    return (ranks[0] > ranks[1]) - (ranks[0] < ranks[1])


@builtin("semver.is_valid", "any", result="boolean")
def is_version(value: Value) -> bool:
    return type(value) is str and _version(value.removeprefix("v")) is not None


# --- UUIDs

@builtin("uuid.rfc4122", "string", result="string", context=True, nondeterministic=True)
def random_uuid(context: Context, name: Value) -> str:
    """A random UUID, version 4; the same for the same name throughout an evaluation."""
    shown = string(name, 1)
    drawn = context.cache.get(("uuid", shown))
    if drawn is None:
        data = bytearray(context.ask("uuid.rfc4122", "a source of randomness").random(16))
        data[6] = data[6] & 0x0F | 0x40
        data[8] = data[8] & 0x3F | 0x80
        digits = data.hex()
        drawn = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
        context.cache["uuid", shown] = drawn
    return str(drawn)


_BEFORE_UNIX = 0x01B21DD213814000  # hundreds of nanoseconds from 1582-10-15 to 1970-01-01


@builtin("uuid.parse", "string", result="object[string: any]")
def parse_uuid(value: Value) -> dict[str, Value] | Undefined:
    """Version and variant; for versions 1 and 2 what is in them."""
    shown = string(value, 1)
    size = len(shown.encode("utf-8", "surrogateescape"))
    lower = shown.lower()
    if size == 45:
        lower = lower.removeprefix("urn:uuid:")
    elif size == 38:  # whatever is around it
        lower = lower[1:37]
    if re.fullmatch("[0-9a-f]{32}", lower):
        lower = f"{lower[:8]}-{lower[8:12]}-{lower[12:16]}-{lower[16:20]}-{lower[20:]}"
    if not _UUID.fullmatch(lower):
        return UNDEFINED
    data = bytes.fromhex(lower.replace("-", ""))
    version = data[6] >> 4
    top = data[8]
    variant = ("Reserved" if top & 0x80 == 0 else "RFC4122" if top & 0xC0 == 0x80
               else "Microsoft" if top & 0xE0 == 0xC0 else "Future")
    made: dict[str, Value] = {"version": version, "variant": variant}
    if version in (1, 2):
        node = data[10:]
        low = int.from_bytes(data[:4], "big")
        high = int.from_bytes(data[6:8], "big") & 0x0FFF
        ticks = low | int.from_bytes(data[4:6], "big") << 32 | high << 48
        made |= {"nodeid": "-".join(f"{byte:02x}" for byte in node),
                 "macvariables": f"{'local' if node[0] & 2 else 'global'}:{'multicast' if node[0] & 1 else 'unicast'}",
                 "time": ((ticks - _BEFORE_UNIX) * 100 + (1 << 63)) % (1 << 64) - (1 << 63),  # an int64
                 "clocksequence": int.from_bytes(data[8:10], "big") & 0x3FFF}
        if version == 2:
            made |= {"id": low, "domain": {0: "Person", 1: "Group", 2: "Org"}.get(data[9], f"Domain{data[9]}")}
    return made
