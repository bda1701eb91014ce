"""The text files in Java archives: manifests and properties ("JAR File Specification"; java.util.Properties)."""

from __future__ import annotations

import re

_LINES = re.compile(rb"\r\n|\n|\r")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_PAIR = re.compile(r"((?:\\.|[^\\=:\s])+)\s*[=:\s]?\s*(.*)", re.DOTALL)
_NAMED = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def manifest(content: bytes) -> dict[str, str]:
    """The main section of a MANIFEST.MF by its keys in small letters; of a key that is there twice, the last counts.

    A line that begins with a space goes on with the line before; bytes are joined before they are text.
    """
    pairs: list[tuple[bytes, list[bytes]]] = []
    for line in _LINES.split(content.removeprefix(b"\xef\xbb\xbf")):
        if line[:1] == b" ":
            if pairs:
                pairs[-1][1].append(line[1:])
        elif line:
            key, colon, value = line.partition(b":")
            if colon:
                pairs.append((key, [value]))
        elif pairs:
            break  # what follows is of single files
    return {key.decode("utf-8", "replace").strip().lower(): b"".join(parts).decode("utf-8", "replace").strip()
            for key, parts in pairs}


def properties(content: bytes) -> dict[str, str]:
    """The pairs of a properties file, escapes resolved; lines that go on are joined."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    pairs: dict[str, str] = {}
    rest = ""
    for line in re.split(r"\r\n|\n|\r", text):
        line = rest + line.lstrip()
        rest = ""
        if line[:1] in ("#", "!") or not line:
            continue
        if (len(line) - len(line.rstrip("\\"))) % 2:
            rest = line[:-1]
            continue
        if match := _PAIR.match(line):
            pairs[_unescaped(match[1])] = _unescaped(match[2]).strip()
    return pairs


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else _NAMED.get(match[2], match[2]), text)
