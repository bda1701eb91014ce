"""`--predicate` and `--type`: what a statement will say, as cosign makes it of a file."""

from __future__ import annotations

from typing import Any

from custody.cli.trust_files import read_input
from custody.errors import MalformedError, UsageError
from custody.formats import predicates
from custody.kit import strictjson
from custody.kit.clock import system_clock


def predicate_of(kind: str, path: str) -> tuple[str, Any]:
    """The predicate type's URI, and the predicate. Raises UsageError, UnsupportedError and MalformedError."""
    predicate_type = predicates.predicate_type(kind)
    text = read_input(path, "--predicate")
    if kind == "custom":  # cosign wraps what it is given, which may be anything
        return predicate_type, {"Data": text.decode("utf-8", "replace"),
                                "Timestamp": f"{system_clock():%Y-%m-%dT%H:%M:%SZ}"}
    if kind == "spdx" and not text.lstrip().startswith(b"{"):  # tag-value: cosign's predicate is the text
        try:
            return predicate_type, text.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedError(f"--predicate {path}", got=text[:32], expected="SPDX in UTF-8") from None
    value = strictjson.loads(text, f"--predicate {path}")
    if not isinstance(value, dict):
        raise UsageError(f"--predicate {path}: is not a JSON object")
    predicates.check_shape(predicate_type, value, f"--predicate {path}")
    return predicate_type, value
