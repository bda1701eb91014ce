"""Instructions as conftest hands a Dockerfile to policies, after BuildKit's own checks of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from custody.errors import MalformedError
from custody.formats.dockerfile.lines import Instruction, instructions
from custody.formats.dockerfile.words import heredoc
from policylang.go import durations, numbers
from policylang.go.spaces import SPACE

_STAGE = re.compile(r"[a-z][a-z0-9_.-]*\Z")
_QUOTED = re.compile(r'"([^"]*+(?:""[^"]*+)*)"(?=,|\Z)')
_TEXT, _TEXTS, _TRUTH = "text", "texts", "truth"
_FLAGS = {
    "add": {"chown": _TEXT, "chmod": _TEXT, "link": _TRUTH, "keep-git-dir": _TRUTH, "checksum": _TEXT, "unpack": _TRUTH,
            "exclude": _TEXTS},
    "copy": {"chown": _TEXT, "from": _TEXT, "chmod": _TEXT, "link": _TRUTH, "exclude": _TEXTS, "parents": _TRUTH},
    "from": {"platform": _TEXT},
    "healthcheck": {"interval": _TEXT, "timeout": _TEXT, "start-period": _TEXT, "start-interval": _TEXT,
                    "retries": _TEXT},
    "run": {"mount": _TEXTS, "network": _TEXT, "security": _TEXT, "device": _TEXTS},
    **{name: {} for name in ("cmd", "entrypoint", "env", "expose", "label", "maintainer", "onbuild", "shell", "user",
                             "volume", "workdir")}}
_UNFLAGGED = ("arg", "stopsignal")
"""Flags before their values are passed over."""
_LEAST = {"env": 1, "label": 1, "add": 2, "copy": 2, "onbuild": 1, "healthcheck": 1, "expose": 1, "volume": 1, "arg": 1,
          "shell": 1}
_EXACTLY_ONE = ("maintainer", "workdir", "user", "stopsignal")
_MILLISECOND = 1_000_000


def commands(data: bytes, where: str) -> list[list[dict[str, Any]]]:
    """A list of one list: for each instruction, after the comments before it, `Cmd`, `SubCmd`, `JSON`, `Flags`, `Value`
    and `Stage` (0 before the first FROM). Raises MalformedError.
    """
    stage = -1
    made: list[dict[str, Any]] = []
    for instruction in instructions(data, where):
        try:
            _check(instruction)
        except ValueError as wrong:
            raise MalformedError(f"{where}: line {instruction.line}", got=str(wrong),
                                 expected="an instruction of a Dockerfile") from None
        stage += instruction.name.lower() == "from"
        made += [_command("comment", None, [comment], stage) for comment in instruction.comments]
        inner = instruction.inner or instruction
        made.append(_command(instruction.name.lower(), instruction.flags, inner.values, stage)
                    | {"SubCmd": inner.name if instruction.inner else "", "JSON": inner.json})
    return [made]


def _command(name: str, flags: list[str] | None, values: list[str], stage: int) -> dict[str, Any]:
    return {"Cmd": name, "SubCmd": "", "JSON": False, "Flags": flags, "Value": values or None, "Stage": max(stage, 0)}


def _check(instruction: Instruction) -> None:
    """Raises ValueError."""
    name, values = instruction.name.lower(), instruction.arguments
    if name not in _FLAGS and name not in _UNFLAGGED:
        raise ValueError(f"unknown instruction {instruction.name}")
    if len(values) < _LEAST.get(name, 0) or (name in _EXACTLY_ONE and len(values) != 1):
        raise ValueError(f"{instruction.name} with {len(values)} arguments")
    if name == "healthcheck" and values[0].upper() == "NONE":
        if len(values) > 1:
            raise ValueError("HEALTHCHECK NONE with arguments")
        return
    given = {} if name in _UNFLAGGED else _flags(name, instruction.flags or ())
    match name:
        case "env" | "label" if not all(values[::3]):
            raise ValueError(f"{instruction.name} with an empty name")
        case "arg" if any(value.startswith("=") for value in values):
            raise ValueError("ARG with an empty name")
        case "add" | "copy" if heredoc(values[-1]) is not None:
            raise ValueError("a here-document as destination")
        case "from":
            _from(values)
        case "onbuild":
            if (trigger := values[0].strip(SPACE).upper()) in ("ONBUILD", "MAINTAINER", "FROM"):
                raise ValueError(f"{trigger} in ONBUILD")
        case "run":
            _run(given)
        case "healthcheck":
            _health(values, given)
        case "volume" if not all(value.strip(SPACE) for value in values):
            raise ValueError("VOLUME with an empty value")
        case "shell" if not instruction.json:
            raise ValueError("SHELL without a JSON array")


def _flags(name: str, written: Sequence[str]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for flag in written:
        if flag == "--":
            break
        key, sign, value = flag.partition("=")
        if not key.startswith("--") or (kind := _FLAGS[name].get(key[2:])) is None:
            raise ValueError(f"{name.upper()} with the flag {key}")
        if key[2:] in given and kind != _TEXTS:
            raise ValueError(f"the flag {key} twice")
        if (not value and sign and kind == _TRUTH) or (not sign and kind != _TRUTH):
            raise ValueError(f"the flag {key} without a value")
        if kind == _TRUTH and value.lower() not in ("", "true", "false"):
            raise ValueError(f"the flag {key} with {value}")
        given.setdefault(key[2:], []).append(value)
    return given


def _from(values: Sequence[str]) -> None:
    if len(values) == 3 and values[1].lower() == "as":
        if not _STAGE.match(values[2].lower()):
            raise ValueError(f"a stage named {values[2]}")
    elif len(values) != 1:
        raise ValueError(f"FROM with {len(values)} arguments")


def _run(given: dict[str, list[str]]) -> None:
    for network in given.get("network", ()):
        if network not in ("default", "none", "host"):
            raise ValueError(f"--network={network}")
    for security in given.get("security", ()):
        if security not in ("insecure", "sandbox"):
            raise ValueError(f"--security={security}")
    for mount in given.get("mount", ()):
        for part in _fields(mount):
            key, _, value = part.partition("=")
            if key.lower() == "from" and "$" in value[:-1]:
                raise ValueError("from of --mount with a variable")
    for device in given.get("device", ()):
        _device(device)


def _device(text: str) -> None:
    name = ""
    for part in _fields(text):
        key, sign, value = part.partition("=")
        match key.lower():
            case "required":
                if sign and value not in ("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false",
                                          "False"):
                    raise ValueError(f"required={value} of --device")
            case "name" if sign:
                if name:
                    raise ValueError("--device with two names")
                name = value
            case _:
                if name:
                    raise ValueError(f"{part} of --device")
                name = part


def _fields(text: str) -> list[str]:
    """Of a line of CSV (RFC 4180), as BuildKit takes it: quotes stand around whole fields alone."""
    fields: list[str] = []
    at = 0
    while at <= len(text):
        if text.startswith('"', at):
            match = _QUOTED.match(text, at)
            if match is None:
                raise ValueError(f"{text[at:]} in a list of fields")
            fields.append(match[1].replace('""', '"'))
            at = match.end() + 1
        else:
            end = text.find(",", at)
            field = text[at:len(text) if end < 0 else end]
            if '"' in field:
                raise ValueError(f"{field} in a list of fields")
            fields.append(field)
            at += len(field) + 1
    return fields


def _health(values: Sequence[str], given: dict[str, list[str]]) -> None:
    if values[0].upper() != "CMD":
        raise ValueError(f"HEALTHCHECK {values[0]}")
    if len(values) == 1:
        raise ValueError("HEALTHCHECK CMD without a command")
    for name in ("interval", "timeout", "start-period", "start-interval"):
        for text in filter(None, given.get(name, ())):
            length = durations.parse(text)
            if length is None or (length and length < _MILLISECOND):
                raise ValueError(f"--{name}={text}")
    for text in filter(None, given.get("retries", ())):
        if numbers.parse_int(text, 10, 32) < 0:
            raise ValueError(f"--retries={text}")
