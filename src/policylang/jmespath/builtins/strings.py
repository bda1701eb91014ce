"""Kyverno's functions of texts: cases, regular expressions, wildcards, encodings, digests."""

from __future__ import annotations

import hashlib
import posixpath
import re
import struct
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from policylang.go import regex, semver
from policylang.go.jsontext import JSONError, decode
from policylang.go.numbers import format_float
from policylang.go.wildcards import glob, wildcard
from policylang.jmespath.builtins.function import Function, declare, failed
from policylang.jmespath.values import Env, GoInt, QueryError

_BASE64 = re.compile("[A-Za-z0-9+/]")


def text(value: Any) -> str:
    """A number as Kyverno turns it into text: the fewest digits of a float32."""
    if type(value) is str:
        return value
    try:
        rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return "+Inf" if value > 0 else "-Inf"
    return format_float(rounded, "f", -1, 32)


def _compare(left: str, right: str) -> GoInt:
    return GoInt((left > right) - (left < right))


def _fold(value: str) -> str:
    return value.lower() if value.isascii() else "".join(
        folded if len(folded := char.casefold()) == 1 else lower if len(lower := char.lower()) == 1 else char
        for char in value)


def _to_upper(value: str) -> str:
    """strings.ToUpper: a character for a character."""
    return value.upper() if value.isascii() else "".join(
        upper if len(upper := char.upper()) == 1 else char for char in value)


def _to_lower(value: str) -> str:
    return value.lower() if value.isascii() else "".join(
        lower if len(lower := char.lower()) == 1 else lower[0] for char in value)


def _replace(env: Env, value: str, old: str, new: str, count: float) -> str:
    count = int(max(-1, min(1 << 31, count)))
    places = value.count(old)
    env.fit(len(value) + (places if count < 0 else min(places, count)) * len(new))
    return value.replace(old, new, count)


def _replace_all(env: Env, value: str, old: str, new: str) -> str:
    return _replace(env, value, old, new, -1)


def _split(env: Env, value: str, separator: str) -> list[str]:
    env.spend(len(value) >> 4)
    return value.split(separator) if separator else list(value)


def _regex_replace(env: Env, pattern: str, value: Any, new: Any) -> str:
    return _replaced("regex_replace_all", regex.replace_all, env, pattern, text(value), text(new))


def _regex_replace_literal(env: Env, pattern: str, value: Any, new: Any) -> str:
    return _replaced("regex_replace_all_literal", lambda pattern, value, new: regex.substitute(
        pattern, value, lambda _: new), env, pattern, text(value), text(new))


def _replaced(function: str, replace: Callable[[str, str, str], str], env: Env, pattern: str, value: str,
              new: str) -> str:
    if len(value) * len(new) > env.size:
        env.fit(len(value) + (len(value) + 1) * len(new))
    try:
        return replace(pattern, value, new)
    except regex.PatternError as wrong:
        raise failed(function, wrong.message) from None


def _regex_match(pattern: str, value: Any) -> bool:
    try:
        return regex.compiled(pattern).search(text(value)) is not None
    except regex.PatternError as wrong:
        raise QueryError(wrong.message) from None


def _prepared_match(pattern: str) -> Callable[[Any], bool] | None:
    try:
        search = regex.compiled(pattern).search
    except regex.PatternError:
        return None
    return lambda value: search(value if type(value) is str else text(value)) is not None


def _prepared_wildcard(pattern: str) -> Callable[[Any], bool]:
    match = wildcard(pattern)
    return lambda value: match(value if type(value) is str else text(value))


def _prepared_range(versions: str) -> Callable[[str], bool] | None:
    try:
        fits = semver.parse_range(versions)
    except semver.VersionError:
        return None
    return lambda version: _in_range(version, fits)


def _in_range(version: str, fits: semver.Range) -> bool:
    try:
        return fits(semver.parse(version))
    except semver.VersionError:
        return fits(semver.parse("0.0.0"))


def _pattern_match(pattern: str, value: Any) -> bool:
    return glob(pattern, text(value))


def _to_boolean(value: str) -> bool:
    truth = {"true": True, "false": False}.get(_to_lower(value))
    if truth is None:
        raise failed("to_boolean", f"lowercase argument must be 'true' or 'false' (provided: '{value}')")
    return truth


def _base64_decode(value: str) -> str:
    plain = value.replace("\r", "").replace("\n", "")
    try:
        data = b64decode(plain, validate=True)
    except ValueError:
        raise QueryError(f"illegal base64 data at input byte {_illegal(value)}") from None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return re.sub("[\udc80-\udcff]", "\ufffd", data.decode(errors="surrogateescape"))


def _base64_encode(env: Env, value: str) -> str:
    env.fit(len(value) * 4 // 3)
    return b64encode(value.encode()).decode()


def _illegal(value: str) -> int:
    """Where Go's decoder stops: the first byte that cannot be there."""
    quad = padding = 0
    data = value.encode()
    for at, byte in enumerate(data):
        char = chr(byte)
        if char in "\r\n":
            continue
        if padding:
            if char == "=" and quad == 2 and padding == 1:
                padding = 2
                continue
            return at
        if char == "=":
            if quad < 2:
                return at
            padding = 1
            continue
        if not _BASE64.match(char):
            return at
        quad = (quad + 1) % 4
    return len(data) - quad if quad and not padding else len(data)


def _truncate(value: str, length: float) -> str:
    return value[:int(min(length, len(value)))] if 1 <= length < 2.0**63 else ""


def _semver_compare(version: str, versions: str) -> bool:
    try:
        fits = semver.parse_range(versions)
    except semver.VersionError as wrong:
        raise QueryError(wrong.message) from None
    return _in_range(version, fits)


def _canonical_path(value: str) -> str:
    cleaned = posixpath.normpath(value) if value else ""
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _parse_json(env: Env, value: str) -> Any:
    env.spend(len(value) >> 6)
    try:
        return decode(value)
    except JSONError as wrong:
        raise QueryError(str(wrong)) from None


def _parse_yaml(env: Env, value: str) -> Any:
    from policylang.go.yamltext import YAMLError, decode_yaml, weight
    env.spend(weight(value))
    try:
        return decode_yaml(value)
    except YAMLError as wrong:
        raise QueryError(str(wrong)) from None


def _digest(name: str) -> Any:
    return lambda value: hashlib.new(name, value.encode(), usedforsecurity=False).hexdigest()


FUNCTIONS: tuple[Function, ...] = (
    declare("compare", "string, string", "number", _compare, "-1, 0 or 1 by the order of two texts"),
    declare("equal_fold", "string, string", "bool", lambda left, right: _fold(left) == _fold(right),
            "whether two texts are equal but for the case of letters"),
    declare("replace", "string, string, string, number", "string", _replace,
            "replaces the first n places of a text in another", env=True),
    declare("replace_all", "string, string, string", "string", _replace_all,
            "replaces every place of a text in another", env=True),
    declare("to_upper", "string", "string", _to_upper, "in capital letters"),
    declare("to_lower", "string", "string", _to_lower, "in small letters"),
    declare("trim", "string, string", "string", lambda value, cut: value.strip(cut) if cut else value,
            "without the characters of the second text at both ends"),
    declare("trim_prefix", "string, string", "string", str.removeprefix, "without the second text in front"),
    declare("split", "string, string", "array[string]", _split, "the parts between the places of the second text",
            env=True),
    declare("regex_replace_all", "string, string|number, string|number", "string", _regex_replace,
            "replaces what a regular expression matches; $1 and ${name} are its groups", env=True),
    declare("regex_replace_all_literal", "string, string|number, string|number", "string", _regex_replace_literal,
            "replaces what a regular expression matches by a text as it is", env=True),
    declare("regex_match", "string, string|number", "bool", _regex_match,
            "whether a regular expression matches somewhere", prepare=_prepared_match),
    declare("pattern_match", "string, string|number", "bool", _pattern_match,
            "whether a pattern of * and ? matches the whole text", prepare=_prepared_wildcard),
    declare("to_boolean", "string", "bool", _to_boolean, "true or false of their names in any case"),
    declare("base64_decode", "string", "string", _base64_decode, "decodes base64"),
    declare("base64_encode", "string", "string", _base64_encode, "encodes base64", env=True),
    declare("path_canonicalize", "string", "string", _canonical_path, "a path without //, . and .."),
    declare("truncate", "string, number", "string", _truncate, "the first n characters"),
    declare("semver_compare", "string, string", "bool", _semver_compare, "whether a version is in a range",
            fixed=1, prepare=_prepared_range),
    declare("parse_json", "string", "any", _parse_json, "decodes JSON", env=True),
    declare("parse_yaml", "string", "any", _parse_yaml, "decodes YAML that could be JSON", env=True),
    declare("sha256", "string", "string", _digest("sha256"), "the SHA-256 digest in hexadecimal"),
    declare("sha1", "string", "string", _digest("sha1"), "the SHA-1 digest in hexadecimal"),
    declare("md5", "string", "string", _digest("md5"), "the MD5 digest in hexadecimal"),
)
