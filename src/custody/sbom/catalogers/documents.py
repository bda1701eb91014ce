"""What lock files and manifests are written in: JSON, TOML, and the indented text that their programs write as YAML."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

from custody.kit import strictjson, stricttoml

_HEAVIEST = 256 << 20
"""Bytes that JSON takes once it is parsed."""
_DEEPEST = 40
_LINES = 2_000_000
_SINGLE, _DOUBLE = r"'((?:[^']|'')*)'", r'"((?:[^"\\]|\\.)*)"'
_KEY = re.compile(rf"(?:{_SINGLE}|{_DOUBLE}|((?![-?] )[^\s#&*!|>%@`{{}}\[\],'\"](?:[^:#]|:(?!\s|\Z)|(?<!\s)#)*))"
                  r"\s{0,4}:(?:\s+(.*))?\Z", re.DOTALL)
_LONG_KEY = re.compile(rf"\?\s+(?:{_SINGLE}|{_DOUBLE}|(\S.*))\Z", re.DOTALL)
_SCALAR = re.compile(rf"(?:{_SINGLE}|{_DOUBLE})\s*(?:\s#.*)?\Z", re.DOTALL)
_FLOW = re.compile(rf"\s*(?:([\[\]{{}},])|{_SINGLE}|{_DOUBLE}|"
                   r"([^\s\[\]{},'\"#](?:[^\[\]{},:#]|:(?=\S)|(?<=\S)#)*))\s*(:(?=[\s\"'\[{]|\Z))?", re.DOTALL)
_SPACE = re.compile(r"\s*")
_BLOCK = re.compile(r"[|>][-+0-9]*\Z")
Table = dict[str, Any]


def json_object(path: str, content: bytes) -> Table:
    """Raises ValueError, MalformedError."""
    if strictjson.weight(content) > _HEAVIEST:
        raise ValueError("JSON with too many values")
    document = strictjson.loads(content.removeprefix(b"\xef\xbb\xbf"), path)
    if not isinstance(document, dict):
        raise ValueError("JSON that is no object")
    return document


def toml_table(content: bytes) -> Table:
    """Raises ValueError."""
    return stricttoml.loads(content)


def table(value: Any) -> Table:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def rows(value: Any) -> list[Table]:
    """The objects of a list."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def words(value: Any) -> list[str]:
    """The texts of a list, or the text that it is."""
    if isinstance(value, str):
        return [value] if value else []
    return [word for word in value if isinstance(word, str) and word] if isinstance(value, list) else []


def word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def integrity(text: str) -> tuple[tuple[str, str], ...]:
    """Subresource Integrity (W3C), `sha512-…` in Base64, as hashes in hexadecimal; what is none is left out."""
    hashes = []
    for part in text.split():
        algorithm, dash, value = part.partition("-")
        if dash and algorithm in ("sha1", "sha256", "sha384", "sha512"):
            try:
                hashes.append((algorithm, base64.b64decode(value.partition("?")[0], validate=True).hex()))
            except binascii.Error:
                continue
    return tuple(hashes)


def hexadecimal(algorithm: str, value: Any) -> tuple[tuple[str, str], ...]:
    """One hash, where it is one."""
    length = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}[algorithm]
    text = word(value).lower()
    return ((algorithm, text),) if re.fullmatch(rf"[0-9a-f]{{{length}}}", text) else ()


def indented(content: bytes) -> Table:
    """Maps, lists and texts by indentation, of the YAML that programs write into lock files: every scalar is text.

    Raises ValueError for anchors, tags, several documents, and what else no such program writes.
    """
    text = content.decode().removeprefix("\ufeff")
    if text.count("\n") > _LINES:
        raise ValueError(f"more than {_LINES} lines")
    lines: list[tuple[int, str]] = []
    for line in text.split("\n"):
        bare = line.strip()
        if line[:3] == "---" and not lines and len(bare) == 3:
            continue
        lines.append((len(line) - len(line.lstrip(" ")), line.rstrip()) if bare and bare[0] != "#" else (-1, ""))
    return _Indented(lines).document()


class _Indented:
    """Walks the lines, of which those without anything on them have the indentation -1."""

    def __init__(self, lines: list[tuple[int, str]]) -> None:
        self._lines, self._place = lines, 0

    def document(self) -> Table:
        self._skip()
        if self._place == len(self._lines):
            return {}
        value = self._value(self._lines[self._place][0], 0)
        self._skip()
        if self._place < len(self._lines) or not isinstance(value, dict):
            raise ValueError(f"line {self._place + 1} does not fit")
        return value

    def _skip(self) -> None:
        while self._place < len(self._lines) and self._lines[self._place][0] < 0:
            self._place += 1

    def _value(self, indent: int, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("nested too deep")
        is_list = self._lines[self._place][1][indent:indent + 2] in ("- ", "-")
        return self._list(indent, depth) if is_list else self._map(indent, depth)

    def _list(self, indent: int, depth: int) -> list[Any]:
        values: list[Any] = []
        while self._at(indent) and self._lines[self._place][1][indent:indent + 2] in ("- ", "-"):
            line = self._lines[self._place][1]
            rest = line[indent + 1:].lstrip(" ")
            inner = len(line) - len(rest)
            if not rest:
                self._place += 1
                values.append(self._below(indent, depth))
            elif rest[0] != "{" and _KEY.match(rest) and not _SCALAR.match(rest):
                self._lines[self._place] = (inner, " " * inner + rest)
                values.append(self._map(inner, depth + 1))
            else:
                self._place += 1
                values.append(self._scalar(rest, indent))
        return values

    def _map(self, indent: int, depth: int) -> Table:
        values: Table = {}
        while self._at(indent):
            line = self._lines[self._place][1][indent:]
            if line[:2] == "- ":
                break
            if match := _LONG_KEY.match(line):
                self._place += 1
                self._skip()
                if not self._at(indent) or self._lines[self._place][1][indent:indent + 1] != ":":
                    raise ValueError(f"line {self._place + 1}: a key without a value")
                key, rest = _text(match), self._lines[self._place][1][indent + 1:].strip()
            elif match := _KEY.match(line):
                key, rest = _text(match), match[4] or ""
            else:
                raise ValueError(f"line {self._place + 1} is no key")
            self._place += 1
            if key in values:
                raise ValueError(f"key {key!r} twice")
            values[key] = self._scalar(rest, indent) if rest and rest[0] != "#" else self._below(indent, depth, True)
        return values

    def _at(self, indent: int) -> bool:
        self._skip()
        if self._place == len(self._lines):
            return False
        here = self._lines[self._place][0]
        if here > indent:
            raise ValueError(f"line {self._place + 1} is indented further than what is above it")
        return here == indent

    def _below(self, indent: int, depth: int, keyed: bool = False) -> Any:
        """The value on the lines below; a list may be as far in as its key."""
        self._skip()
        if self._place == len(self._lines):
            return ""
        here, line = self._lines[self._place]
        if here > indent or (keyed and here == indent and line[indent:indent + 2] in ("- ", "-")):
            return self._value(here, depth + 1)
        return ""

    def _scalar(self, rest: str, indent: int) -> Any:
        if match := _SCALAR.match(rest):
            return _text(match)
        if rest[0] in "{[":
            return _flow(rest)
        if rest[0] in "&*!'\"%@`":
            raise ValueError(f"line {self._place}: {rest[:20]!r}")
        if _BLOCK.match(rest):
            block = []
            while self._place < len(self._lines) and (self._lines[self._place][0] > indent
                                                      or self._lines[self._place][0] < 0):
                block.append(self._lines[self._place][1].strip())
                self._place += 1
            return "\n".join(block).strip()
        return re.sub(r"\s+#.*", "", rest)


def _text(match: re.Match[str]) -> str:
    """What a quoted or plain scalar says."""
    single, double, *plain = match.groups()
    if single is not None:
        return str(single).replace("''", "'")
    return _unescaped(double) if double is not None else str(plain[0]).strip()


def _unescaped(text: str) -> str:
    return str(json.loads(f'"{text}"')) if "\\" in text else text


def _flow(text: str) -> Any:
    """`{a: b, c: [d]}` on one line. Raises ValueError."""
    root: list[Any] = []
    stack: list[Any] = [root]
    keys: list[str | None] = [None]
    place = 0
    while (place := _SPACE.match(text, place).end()) < len(text) and text[place] != "#":  # type: ignore[union-attr]
        match = _FLOW.match(text, place)
        if match is None or match.end() == place or len(stack) > _DEEPEST or (root and len(stack) == 1):
            raise ValueError(f"{text[:40]!r}")
        place = match.end()
        sign, colon = match[1], match[5]
        if sign in ("}", "]"):
            _put(stack, keys, "")
            if len(stack) == 1:
                raise ValueError(f"{text[:40]!r}")
            stack.pop()
            keys.pop()
        elif sign == ",":
            _put(stack, keys, "")
        elif sign:
            value: Any = {} if sign == "{" else []
            _put(stack, keys, value)
            stack.append(value)
            keys.append(None)
        else:
            said = match[2].replace("''", "'") if match[2] is not None else _unescaped(
                match[3]) if match[3] is not None else match[4].strip()
            if colon and isinstance(stack[-1], dict):
                keys[-1] = said
            else:
                _put(stack, keys, said)
    if len(stack) != 1 or len(root) != 1:
        raise ValueError(f"{text[:40]!r}")
    return root[0]


def _put(stack: list[Any], keys: list[str | None], value: Any) -> None:
    if isinstance(stack[-1], list):
        if value != "":
            stack[-1].append(value)
    elif keys[-1] is not None:
        if keys[-1] in stack[-1]:
            raise ValueError(f"key {keys[-1]!r} twice")
        stack[-1][keys[-1]] = value
        keys[-1] = None
    elif value != "":
        raise ValueError("a value without a key")
