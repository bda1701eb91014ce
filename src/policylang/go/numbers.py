"""Numbers and quoted strings as Go's strconv writes and reads them."""

from __future__ import annotations

import re
import struct

_FLOAT = re.compile(r"[+-]?(?:inf(?:inity)?|nan|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)",
                    re.IGNORECASE | re.ASCII)
_HEX_FLOAT = re.compile(r"[+-]?0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)p[+-]?[0-9]+", re.IGNORECASE | re.ASCII)
_DIGITS = {2: re.compile("[01]+"), 8: re.compile("[0-7]+"), 10: re.compile("[0-9]+"), 16: re.compile("[0-9a-fA-F]+")}
_PREFIXES = {"0x": 16, "0b": 2, "0o": 8}


class NumError(ValueError):
    """A text that is no such number; the message is what follows `strconv.ParseX: ` in Go."""


def format_float(value: float, verb: str = "g", precision: int = -1, bits: int = 64) -> str:
    """strconv.FormatFloat: `verb` is one of eEfFgGbxX, `precision` -1 the fewest digits that read back as `value`."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if verb in "xX":
        return _hexadecimal(value, precision, verb)
    if verb == "b":
        return _binary(value, bits)
    lower = verb.lower()
    shown = format(value, f".{precision}{lower}") if precision >= 0 else _shortest(value, lower, bits)
    return shown.upper() if verb in "EG" else shown


def digits(value: float, bits: int = 64) -> tuple[str, int]:
    """The fewest digits of a finite `value` and where the point is: 0.25 is ("25", 0), 100 is ("1", 3)."""
    value = abs(value)
    if value == 0:
        return "0", 1
    shown = repr(value)
    if bits == 32:
        shown = next((text for text in (f"{value:.{count}e}" for count in range(9))
                      if struct.pack("f", float(text)) == struct.pack("f", value)), shown)
    mantissa, _, power = shown.partition("e")
    whole, _, rest = mantissa.partition(".")
    point = len(whole) + int(power or 0)
    figures = whole + rest
    stripped = figures.lstrip("0")
    point -= len(figures) - len(stripped)
    return stripped.rstrip("0") or "0", point


def _shortest(value: float, verb: str, bits: int) -> str:
    figures, point = digits(value, bits)
    sign = "-" if value < 0 or (value == 0 and str(value)[0] == "-") else ""
    if verb == "g":
        verb = "e" if value and not -4 <= point - 1 < 6 else "f"
    if verb == "f":
        if point <= 0:
            return f"{sign}0.{'0' * -point}{figures}"
        whole, rest = figures[:point].ljust(point, "0"), figures[point:]
        return sign + whole + ("." + rest if rest else "")
    power = point - 1 if value else 0
    rest = "." + figures[1:] if len(figures) > 1 else ""
    return f"{sign}{figures[0]}{rest}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _hexadecimal(value: float, precision: int, verb: str) -> str:
    sign, _, shown = value.hex().rpartition("0x")
    mantissa, _, power = shown.partition("p")
    exponent = int(power)
    lead, _, rest = mantissa.partition(".")
    if lead == "0" and rest.strip("0"):  # Python leaves subnormal numbers unnormalised
        whole = int(rest, 16)
        shift = 4 * len(rest) - whole.bit_length() + 1
        lead, rest, exponent = "1", f"{(whole << shift) & ((1 << 4 * len(rest)) - 1):0{len(rest)}x}", exponent - shift
    rest = rest.rstrip("0")
    if precision >= 0:
        if len(rest) > precision:
            whole, cut = int(lead + rest, 16), 4 * (len(rest) - precision)
            half, low = 1 << (cut - 1), whole & ((1 << cut) - 1)
            whole >>= cut
            whole += low > half or (low == half and whole & 1)
            if whole >> (4 * precision) > 1:
                whole, exponent = whole >> 1, exponent + 1
            shown = f"{whole:0{precision + 1}x}"
            lead, rest = shown[0], shown[1:]
        rest = rest.ljust(precision, "0")
    made = f"{sign}0x{lead}{'.' + rest if rest else ''}p{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    return made if verb == "x" else made.upper()


def _binary(value: float, bits: int) -> str:
    width = 52 if bits == 64 else 23
    least = -1074 if bits == 64 else -149
    if value == 0:
        return f"{'-' if str(value)[0] == '-' else ''}0p{least:+d}"
    top, bottom = abs(value).as_integer_ratio()
    power = top.bit_length() - bottom.bit_length()
    power -= top < bottom << power if power >= 0 else top << -power < bottom
    exponent = max(power - width, least)
    mantissa = top // (bottom << exponent) if exponent >= 0 else (top << -exponent) // bottom
    return f"{'-' if value < 0 else ''}{mantissa}p{exponent:+d}"


def parse_float(text: str) -> float:
    """strconv.ParseFloat(text, 64). NumError: `parsing "x": invalid syntax` or `… value out of range`."""
    if _FLOAT.fullmatch(text):
        value = float(text)
    elif _HEX_FLOAT.fullmatch(text):
        try:
            value = float.fromhex(text)
        except OverflowError:
            value = float("inf")
    else:
        raise NumError(f"parsing {quote(text)}: invalid syntax")
    if value in (float("inf"), float("-inf")) and "n" not in text.lower():
        raise NumError(f"parsing {quote(text)}: value out of range")
    return value


def parse_int(text: str, base: int = 10, bits: int = 64, signed: bool = True) -> int:
    """strconv.ParseInt, or ParseUint: base 0 reads prefixes 0x 0o 0b 0 and underscores, `bits` 0 has no range."""
    digits_, sign = text, 1
    if signed and text[:1] in ("+", "-"):
        sign, digits_ = (-1 if text[0] == "-" else 1), text[1:]
    if base == 0:
        base, digits_ = _based(digits_)
    shown = _DIGITS.get(base)
    if shown is None or not shown.fullmatch(digits_):
        raise NumError(f"parsing {quote(text)}: invalid syntax")
    if len(digits_) > 4_000:
        raise NumError(f"parsing {quote(text[:40])}: value out of range")
    value = sign * int(digits_, base)
    if bits and not (-(1 << (bits - 1)) <= value < 1 << (bits - 1) if signed else value < 1 << bits):
        raise NumError(f"parsing {quote(text)}: value out of range")
    return value


def _based(text: str) -> tuple[int, str]:
    base = _PREFIXES.get(text[:2].lower())
    rest = text[2:] if base else text
    if base is None:
        base = 8 if len(text) > 1 and text[0] == "0" else 10
    plain = re.fullmatch(r"(_?[0-9a-fA-F]+)+" if text is not rest or base == 8 else r"[0-9]+(_[0-9]+)*", rest)
    return base, rest.replace("_", "") if plain else rest


_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\"}


def quote(text: str, ascii_only: bool = False, mark: str = '"') -> str:
    """strconv.Quote, QuoteToASCII; with `mark` an apostrophe QuoteRune."""
    if text.isascii() and text.isprintable() and mark not in text and "\\" not in text:
        return f"{mark}{text}{mark}"
    return mark + "".join(_escaped(sign, ascii_only, mark) for sign in text) + mark


def _escaped(sign: str, ascii_only: bool, mark: str) -> str:
    if sign == mark:
        return "\\" + mark
    if sign in _ESCAPES:
        return _ESCAPES[sign]
    if sign.isprintable() and (sign.isascii() or not ascii_only):
        return sign
    code = ord(sign)
    if code < 0x80:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8, as surrogateescape keeps it
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
