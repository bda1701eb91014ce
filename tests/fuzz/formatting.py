"""`python -m tests.fuzz.formatting FOLDER…`: modules in YAML and Rego files, formatted by custody and by the real OPA.

What custody prints must be OPA's, must not change when it is formatted again, or must have been refused.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from policylang.rego.syntax.format import formatted
from policylang.source import Source, SourceError
from tests.fuzz.documents import peer


def modules(folder: Path) -> Iterator[tuple[str, str, int]]:
    """(name, text, version) of the modules in a folder: those of OPA's cases, of Gatekeeper's templates, and files."""
    for path in sorted(folder.rglob("*")):
        version = 0 if "/v0/" in str(path) or "template" in path.name else 1
        if path.suffix == ".rego":
            yield str(path), path.read_text(), version
        elif path.suffix in (".yaml", ".yml"):
            try:
                documents = list(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))
            except (yaml.YAMLError, UnicodeDecodeError):
                continue
            for number, text in enumerate(text for document in documents for text in _texts(document)):
                yield f"{path}#{number}", text, version


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.lstrip().startswith(("package ", "#")) and "package " in value:
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def main() -> int:
    same = refused = wrong = 0
    with peer() as opa:
        if opa is None:
            print("skipped: go, or OPA's module in Go's cache, is not here", file=sys.stderr)
            return 0
        for name, text, version in (each for folder in sys.argv[1:] for each in modules(Path(folder))):
            theirs = opa.formatted(text, version)
            try:
                ours = formatted(Source(text, name), version)
                again = formatted(Source(ours, name), version)
            except SourceError as found:
                if theirs is not None:
                    refused += 1
                    print(f"=== {name}: refused: {found.message}")
                continue
            if ours == again and ours == (theirs or ours):
                same += 1
                continue
            wrong += 1
            what = "grows" if ours != again else "differs from opa fmt"
            print(f"=== {name}: {what}")
            other = again if ours != again else theirs or ""
            print("".join(difflib.unified_diff(ours.splitlines(True), other.splitlines(True), "custody", "other")))
    print(f"{same} are the same, {refused} refused, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
