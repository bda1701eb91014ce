"""Functions of conftest's that rules may call: configurations parsed where a rule asks for them.

`parse_config_file` and `parse_combined_config_files` take paths from the folder of the file that calls them. A file
that cannot be read, or not parsed, ends everything: a rule that reads none would pass whatever is in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from custody.errors import CustodyError, UnsupportedError
from custody.services.configurations import reading
from policylang.go.numbers import format_float
from policylang.go.printing import json_number
from policylang.rego import to_json
from policylang.rego.declare import Builtin, BuiltinError, Halt
from policylang.rego.values import numbers

_FILES = ("parse_config_file", "parse_combined_config_files")
_CALLED = re.compile(rf"\b({'|'.join(_FILES)})\b")


def functions(modules: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, Builtin]:
    """`modules`: texts by path. Raises UnsupportedError where modules of several folders read files."""
    folders: dict[str, str] = {}
    callers: list[str] = []
    for path, text in modules.items():
        if (called := _CALLED.search(text)) is not None:
            folders.setdefault(os.path.dirname(path), f"{path}: {called[1]}")
            callers.append(path)
    if len(folders) > 1:
        first, second, *_ = folders.values()
        raise UnsupportedError(second, f"its folder is another than that of {first}, and paths are those from one",
                               hint="put what reads files into one folder")
    folder, whose = next(iter(folders), ""), " or ".join(callers)

    def parse_config(parser: Any, text: Any) -> Any:
        try:
            return value(reading.parser_named(parser).parse(text.encode(), parser, environment), format_float)
        except CustodyError as wrong:
            raise BuiltinError(wrong.message) from None

    def parse_config_file(path: Any) -> Any:
        place = os.path.normpath(f"{folder or '.'}/{path}")
        return value(_read([place], environment, f"{whose}: parse_config_file")[place], format_float)

    def parse_combined_config_files(paths: Any) -> Any:
        places = [os.path.normpath(f"{folder or '.'}/{path}") for path in to_json(paths)]
        return combined(_read(places, environment, f"{whose}: parse_combined_config_files"))

    return {made.name: made for made in (
        Builtin("parse_config", parse_config, ("string", "string"), "object[string: any]"),
        Builtin("parse_config_file", parse_config_file, ("string",), "object[string: any]"),
        Builtin("parse_combined_config_files", parse_combined_config_files, ("array[string]",), "object[string: any]"))}


def _read(places: list[str], environment: Mapping[str, str], who: str) -> dict[str, Any]:
    """`who`: whose call it is. Raises Halt."""
    try:
        return reading.read(places, "", b"", environment)
    except CustodyError as wrong:
        raise Halt(BuiltinError(f"{who}: {wrong.message}")) from None


def combined(configurations: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """All of them: `{"path": …, "contents": …}` for each document; None where nothing is in them."""
    return [{"path": path, "contents": value(part, json_number)} for path in sorted(configurations)
            for part in (configurations[path] if isinstance(configurations[path], list)
                         else [configurations[path]])] or None


def value(given: Any, shown: Callable[[float], str]) -> Any:
    """Of Rego. A float becomes the number that OPA makes of the text in which it is shown: a million is `1e+06`."""
    if isinstance(given, dict):
        return {name: value(member, shown) for name, member in given.items()}
    if isinstance(given, list):
        return [value(member, shown) for member in given]
    return numbers.read(shown(given)) if isinstance(given, float) else given
