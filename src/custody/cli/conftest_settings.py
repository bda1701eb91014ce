"""Settings of conftest that are no options: a file (conftest.toml, or another) and CONFTEST_… of the environment.

An option that is given wins over the environment, and that over the file, as there (internal/commands, viper). A
setting of the file that conftest's own commands do not have is refused, where conftest passes over it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from custody.errors import MalformedError, UnsupportedError, UsageError
from custody.kit import stricttoml
from policylang.errors import Shape

FILE = "conftest.toml"
_PREFIX = "CONFTEST_"
_LARGEST = 1 << 20
_LISTS = {"policy": "policies", "data": "data", "namespace": "namespaces", "update": "update",
          "proto-file-dirs": "proto_file_dirs"}
_FLAGS = {"all-namespaces": "all_namespaces", "combine": "combine", "fail-on-warn": "fail_on_warn",
          "no-fail": "no_fail", "quiet": "quiet", "strict": "strict", "show-builtin-errors": "strict_builtins",
          "no-color": "no_color", "suppress-exceptions": "suppress_exceptions", "trace": "trace",
          "junit-hide-message": "hide_message", "github-hide-passed": "hide_passed", "var-values": "var_values"}
_TEXTS = {"output": "output", "parser": "parser", "ignore": "ignore", "rego-version": "rego_version",
          "capabilities": "capabilities", "stdin-filename": "stdin_filename", "report": "report"}
_NAMES = {**_LISTS, **_FLAGS, **_TEXTS}
"""By conftest's name, that of the parameter."""
_CHOICES = {"rego-version": ("v0", "v1")}
_BOOLEANS = {**dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
             **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False)}
"""Go's strconv.ParseBool."""


def settled(options: Mapping[str, Any], given: Collection[str], file: str | None, environment: Mapping[str, str],
            outputs: Collection[str]) -> dict[str, Any]:
    """The options with what settings say of those that were not `given`; others than the command has do nothing.

    Raises UsageError where `file` is not there, MalformedError, UnsupportedError.
    """
    known = dict(options)
    for where, settings in ((file or FILE, _read(file)), ("environment", _environment(environment))):
        for name, value in settings.items():
            if name not in _NAMES:
                raise UnsupportedError(f"{where}: {name}", "no setting of conftest's that custody knows",
                                       hint=", ".join(sorted(_NAMES)))
            parameter = _NAMES[name]
            place = where if where != "environment" else _PREFIX + name.upper().replace("-", "_")
            if parameter in options and parameter not in given:
                known[parameter] = _value(name, value, place, outputs)
    return known


def _read(file: str | None) -> dict[str, Any]:
    path = Path(file or FILE)
    if file is None and not path.exists():
        return {}
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise MalformedError(str(path), got=f"more than {_LARGEST} bytes", expected="settings of conftest")
        return {name.lower(): value for name, value in stricttoml.loads(data).items()}
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise MalformedError(str(path), got=str(error)[:200], expected="TOML") from None


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Those that are named as settings are; an empty one is none."""
    return {name: text for name in _NAMES
            if (text := environment.get(_PREFIX + name.upper().replace("-", "_"), ""))}


def _value(name: str, value: Any, where: str, outputs: Collection[str]) -> Any:
    place = where if where.startswith(_PREFIX) else f"{where}: {name}"
    if name in _FLAGS:
        truth = value if isinstance(value, bool) else _BOOLEANS.get(value) if isinstance(value, str) else (
            bool(value) if isinstance(value, int) else None)
        if truth is None:
            raise MalformedError(place, got=value if isinstance(value, str) else Shape(value), expected="true or false")
        return truth
    if name in _LISTS:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise MalformedError(place, got=Shape(value), expected="a text, or a list of texts")
        return tuple(texts)
    if not isinstance(value, str):
        raise MalformedError(place, got=Shape(value), expected="a text")
    choices = outputs if name == "output" else _CHOICES.get(name, ())
    if choices and value.lower() not in choices:
        raise MalformedError(place, got=value, expected=" or ".join(choices))
    return value.lower() if choices else value
