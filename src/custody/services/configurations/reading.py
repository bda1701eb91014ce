"""Configuration files as plain data, by the parsers that conftest has for their names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from custody.errors import MalformedError, UnsupportedError, UsageError
from custody.formats import codeowners, dockerfile, dotenv, ignoreentries, ini, jsonc, properties, xmldata
from custody.kit import stricttoml
from policylang.go import jsontext, regex, yamltext

STDIN = "-"
MAX_SIZE = 16 * 1024 * 1024
"""Bytes of a file."""
_WEIGHT = 40_000_000
_SHOWN = 5
_MARKER = re.compile(r"^(?:---|\.\.\.)(?=[ \t\r]|$)", re.MULTILINE)
"""What begins or ends a document of YAML, wherever it stands (YAML 1.2, 9.1.4)."""
REFUSED = {
    "cue": "cue export", "edn": "", "groovy": "", "hcl1": "", "hcl2": "hcl2json", "hocon": "",
    "jsonnet": "jsonnet", "nginx": "", "spdx": "custody sbom convert -o spdx-json", "textproto": "",
    "vcl": ""}
"""Parsers of conftest's that are not here, and what makes JSON of such a file."""
_REFUSED_NAMES = {
    "hcl": "hcl2", "tf": "hcl2", "tfvars": "hcl2", "textproto": "textproto", "textpb": "textproto",
    "pbtxt": "textproto"}


class Parser(NamedTuple):
    name: str
    parse: Callable[[bytes, str, Mapping[str, str]], Any]


def parser_named(name: str, where: str = "parser", file: str = "") -> Parser:
    """`where`: what says the name, or `file`, of which it is the format by its name.

    Raises UnsupportedError for one that conftest has, UsageError for another name.
    """
    if name in REFUSED:
        hint = f"`{REFUSED[name]}` makes JSON of it" if REFUSED[name] else "make JSON or YAML of it"
        raise UnsupportedError(f"{file}: parser {name}" if file else f"parser {name}",
                               "such files are not read by custody", hint=hint)
    if name not in PARSERS:
        place = f"{file}: the format by its name" if file else where
        raise UsageError(f"{place}: got {name!r}, expected one of {', '.join(PARSERS)}")
    return PARSERS[name]


def parser_of(path: str) -> Parser:
    """By the file's name. Raises UnsupportedError, UsageError."""
    return parser_named(_format_of(path), file=path)


def _format_of(path: str) -> str:
    if path == STDIN:
        return "yaml"
    name = os.path.basename(path).lower()
    _, dot, extension = name.rpartition(".")
    extension = extension if dot else ""
    if name == "dockerfile" or name.startswith("dockerfile.") or extension == "dockerfile":
        return "dockerfile"
    if extension in ("yml", "yaml"):
        return "yaml"
    if extension in ("gitignore", "dockerignore"):
        return "ignore"
    if name == ".env" or name.startswith(".env.") or extension == "env":
        return "dotenv"
    if name == "nginx.conf":
        return "nginx"
    if name == "jenkinsfile" or name.startswith("jenkinsfile."):
        return "groovy"
    if name == "codeowners":
        return "codeowners"
    return _REFUSED_NAMES.get(extension, extension)


def files(paths: Iterable[str], ignored: str = "") -> list[str]:
    """Files, and those of folders that have a parser; of those that custody has none for, nothing is left out.

    `ignored`: a regular expression (RE2) of paths. Raises UsageError, UnsupportedError.
    """
    try:
        pattern = regex.compiled(ignored) if ignored else None
    except regex.PatternError as wrong:
        raise UsageError(f"--ignore: {wrong.message}") from None
    chosen: list[str] = []
    for path in paths:
        if path == STDIN:
            chosen.append(path)
        elif not os.path.exists(path):
            raise UsageError(f"{path}: no such file or directory")
        elif os.path.isdir(path):
            chosen += [file for file in _below(path, set()) if not (pattern and pattern.search(file))]
        elif not (pattern and pattern.search(path)):
            chosen.append(path)
    if not chosen:
        raise UsageError("no files found")
    return [*dict.fromkeys(chosen)]


def _below(folder: str, entered: set[str]) -> Iterator[str]:
    if (real := os.path.realpath(folder)) in entered:
        return
    entered.add(real)
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            yield from _below(os.path.realpath(path) if os.path.islink(path) else path, entered)
        elif os.path.isfile(path) and ((named := _format_of(path)) in PARSERS or named in REFUSED):
            yield os.path.realpath(path) if os.path.islink(path) else path


def read(paths: Iterable[str], parser: str, standard_input: bytes, environment: Mapping[str, str],
         passed_over: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """By path, plain data, whose numbers are floats but for TOML's ints: of a file of several documents, a list.

    `parser`: a name, or empty for each file's own. `passed_over` is told of each file of which not all is read.
    Raises UsageError, MalformedError, UnsupportedError.
    """
    configurations: dict[str, Any] = {}
    for path in paths:
        chosen = parser_named(parser, "--parser") if parser else parser_of(path)
        data = standard_input if path == STDIN else _content(path)
        if len(data) > MAX_SIZE:
            raise MalformedError(path, got=f"{len(data)} bytes", expected=f"at most {MAX_SIZE}")
        configurations[path] = chosen.parse(data, path, environment)
        if chosen.name == "yaml" and (lines := _unread(data.decode())):
            passed_over(f"{path}: what stands behind line {', '.join(map(str, lines[:_SHOWN]))} is not read, as in "
                        "conftest: documents are parted by lines of three dashes alone, which end as the others do")
    return configurations


def _content(path: str) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            return stream.read(MAX_SIZE + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


# ── the parsers ─────────────────────────────────────────────────────────────────────────────────────────────────────

def _json(data: bytes, where: str, _: Mapping[str, str]) -> Any:
    try:
        return floated(jsontext.decode(data.removeprefix(b"\xef\xbb\xbf").decode()))
    except (jsontext.JSONError, UnicodeDecodeError) as wrong:
        raise MalformedError(where, got=str(wrong)[:100], expected="JSON") from None


def _jsonc(data: bytes, where: str, environment: Mapping[str, str]) -> Any:
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as wrong:
        raise MalformedError(where, got=str(wrong)[:100], expected="JSON with comments") from None
    return _json(jsonc.plain(text, where).encode(), where, environment)


def _cyclonedx(data: bytes, where: str, environment: Mapping[str, str]) -> Any:
    if not data.lstrip()[:1] == b"{":
        raise UnsupportedError(where, "CycloneDX that is not JSON is not read here",
                               hint="custody sbom convert -o cyclonedx-json")
    return _json(data, where, environment)


def _toml(data: bytes, where: str, _: Mapping[str, str]) -> Any:
    try:
        return _timeless(stricttoml.loads(data), where)
    except ValueError as wrong:
        raise MalformedError(where, got=str(wrong)[:100], expected="TOML 1.0") from None


def _timeless(value: Any, where: str) -> Any:
    """With times as texts (RFC 3339): of local ones in UTC, of times alone on the first of January of the year 0."""
    if isinstance(value, dict):
        return {name: _timeless(member, where) for name, member in value.items()}
    if isinstance(value, list):
        return [_timeless(member, where) for member in value]
    if isinstance(value, float) and not isfinite(value):
        raise MalformedError(where, got=str(value), expected="numbers that JSON has")
    if isinstance(value, datetime):
        local = value.replace(tzinfo=None).isoformat()
        day, clock, zone = value.date().isoformat(), value.time(), value.isoformat()[len(local):]
    elif isinstance(value, date):
        day, clock, zone = value.isoformat(), time(), ""
    elif isinstance(value, time):
        day, clock, zone = "0000-01-01", value, ""
    else:
        return value
    fraction = f".{clock.microsecond:06}".rstrip("0") if clock.microsecond else ""
    return f"{day}T{clock:%H:%M:%S}{fraction}{'Z' if zone in ('', '+00:00') else zone}"


def _yaml(data: bytes, where: str, _: Mapping[str, str]) -> Any:
    try:
        parts = _documents(data.decode())
        if sum(map(yamltext.weight, parts)) > _WEIGHT:
            raise MalformedError(where, got="more YAML than is read here", expected="less")
        documents = [floated(yamltext.decode_yaml(part)) for part in parts]
    except (yamltext.YAMLError, UnicodeDecodeError) as wrong:
        raise MalformedError(where, got=str(wrong)[:100], expected="YAML") from None
    return documents[0] if len(documents) == 1 else documents


def _documents(text: str) -> list[str]:
    """Split at lines of three dashes alone; what stands behind such a line that says more is not read, as there."""
    separator = "\r\n---\r\n" if "\r\n" in text else "\n---\n"
    parts = text.split(separator)
    if text.startswith("%"):  # a directive belongs to the document behind it
        return [separator.join(parts[:2]), *parts[2:]]
    return parts


def _unread(text: str) -> list[int]:
    """Lines, counted from 1, at which a document ends that is read, and behind which others stand."""
    ends: list[int] = []
    start = 1
    for part in _documents(text):
        if _MARKER.search(part) and (end := _end(part.split("\n"))):
            ends.append(start + end - 1)
        start += part.count("\n") + 2  # and the line between two
    return ends


def _end(lines: Sequence[str]) -> int:
    """The line, counted from 1, that ends the first document where something stands behind it; 0 else."""
    begun, end = False, 0
    for number, line in enumerate(lines, 1):
        marker = _MARKER.match(line)
        if marker and begun and not end:
            end = number
        content = line[marker.end() if marker else 0:].strip()
        if content.startswith("#") or (content.startswith("%") and not begun):
            content = ""
        if end and content:
            return end
        begun = begun or bool(content) or line.startswith("---")
    return 0


def floated(value: Any) -> Any:
    """With all numbers as floats, as Go's encoding/json has them."""
    if isinstance(value, dict):
        return {name: floated(member) for name, member in value.items()}
    if isinstance(value, list):
        return [floated(member) for member in value]
    return float(value) if type(value) is int else value


PARSERS = {parser.name: parser for parser in (
    Parser("codeowners", lambda data, where, _: codeowners.parse(data, where)),
    Parser("cyclonedx", _cyclonedx),
    Parser("dockerfile", lambda data, where, _: dockerfile.commands(data, where)),
    Parser("dotenv", dotenv.parse),
    Parser("ignore", lambda data, where, _: ignoreentries.parse(data, where)),
    Parser("ini", lambda data, where, _: ini.parse(data, where)),
    Parser("json", _json),
    Parser("jsonc", _jsonc),
    Parser("properties", properties.parse),
    Parser("toml", _toml),
    Parser("xml", lambda data, where, _: xmldata.parse(data, where)),
    Parser("yaml", _yaml))}
