"""`.gitignore` and `.dockerignore` as lists of entries, a line each, as conftest hands them to policies."""

from __future__ import annotations

from custody.errors import MalformedError


def parse(data: bytes, where: str) -> list[list[dict[str, str]]]:
    """A list of one list, of entries with `Kind` (Path, NegatedPath, Comment, Empty), `Value` and `Original`.

    Raises MalformedError.
    """
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise MalformedError(where, got=str(error)[:100], expected="UTF-8") from None
    return [[_entry(line) for line in lines]]


def _entry(line: str) -> dict[str, str]:
    stripped = line.rstrip(" ")
    if stripped.endswith("\\") and stripped != line:
        stripped += " "
    if not stripped:
        kind, value = "Empty", line
    elif line.startswith("#"):
        kind, value = "Comment", stripped[1:].strip()
    elif line.startswith("!"):
        kind, value = "NegatedPath", _unescaped(stripped[1:])
    else:
        kind, value = "Path", _unescaped(stripped)
    return {"Kind": kind, "Value": value, "Original": line}


def _unescaped(text: str) -> str:
    return "\\".join(part.replace("\\", "") for part in text.split("\\\\"))
