"""What the `custody rego` commands read: modules and data from files and folders, as `opa` does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from custody.errors import UsageError

if TYPE_CHECKING:
    from policylang.rego import SourceError

V0 = click.option("--v0-compatible", is_flag=True, help="Modules are of Rego v0, as before OPA 1.0.")
_DATA = (".json", ".yaml", ".yml")


class Loaded(NamedTuple):
    """`modules`: file → text; `data`: the base documents, merged."""

    modules: dict[str, str]
    data: dict[str, Any]


def load(paths: tuple[str, ...], *, modules_only: bool = False) -> Loaded:
    """Files and folders; `a.b:path` puts data below `a.b`. In a folder the folders below it are names of data."""
    loaded = Loaded({}, {})
    for name in paths:
        prefix, _, rest = name.rpartition(":")
        names = prefix.split(".") if prefix and not Path(name).exists() else []
        root = Path(rest if names else name)
        if not root.exists():
            raise UsageError(f"{root}: there is no such file or folder")
        if root.is_file():
            _file(root, names, loaded, modules_only)
            continue
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            if path.suffix == ".rego" or path.suffix in _DATA:
                _file(path, [*names, *path.relative_to(root).parts[:-1]], loaded, modules_only)
    return loaded


def _file(path: Path, names: list[str], loaded: Loaded, modules_only: bool) -> None:
    if path.suffix == ".rego":
        loaded.modules[str(path)] = text_of(path)
    elif not modules_only:
        document: Any = read(path)
        for name in reversed(names):
            document = {name: document}
        if not isinstance(document, dict):
            raise UsageError(f"{path}: data must be an object at its root")
        _merge(loaded.data, document, str(path), [])


def _merge(into: dict[str, Any], more: dict[str, Any], path: str, at: list[str]) -> None:
    for name, value in more.items():
        old = into.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value, path, [*at, name])
        elif name in into and old != value:
            raise UsageError(f"{path}: data.{'.'.join([*at, name])} has a value already")
        else:
            into[name] = value


def text_of(path: Path) -> str:
    from policylang.rego.syntax.parser import LONGEST
    from policylang.source import read_source
    return read_source(path.read_bytes(), str(path), limit=LONGEST).text


def read(path: Path | None) -> Any:
    """A JSON or YAML document; of stdin where there is no path."""
    from policylang.rego.builtins.documents import read_json, read_yaml
    from policylang.rego.declare import BuiltinError
    name = str(path) if path is not None else "stdin"
    try:
        text = (path.read_bytes() if path is not None else sys.stdin.buffer.read()).decode()
        return read_json(text) if path is not None and path.suffix == ".json" else _either(text, read_json, read_yaml)
    except UnicodeDecodeError:
        raise UsageError(f"{name}: it is not UTF-8") from None
    except BuiltinError as wrong:
        raise UsageError(f"{name}: {str(wrong).removeprefix('error: ')}") from None


def _either(text: str, read_json: Any, read_yaml: Any) -> Any:
    from policylang.rego.declare import BuiltinError
    try:
        return read_json(text)
    except BuiltinError:
        return read_yaml(text)


def refused(wrong: SourceError, output: str) -> int:
    """Say what is wrong with modules, on stdout where JSON is wanted; exit code 2."""
    faults = [wrong, *wrong.others]
    if output == "json":
        click.echo(json.dumps({"errors": [{"message": fault.reason.removeprefix(f"{fault.kind}: "), "code": fault.kind,
                                           "location": {"file": fault.source.name, "row": fault.line,
                                                        "col": fault.column}} for fault in faults]}, indent=2))
    elif len(faults) == 1:
        click.echo(f"1 error occurred: {wrong.pointed()}", err=True)
    else:
        click.echo("\n".join([f"{len(faults)} errors occurred:", *(fault.pointed() for fault in faults)]), err=True)
    return 2
