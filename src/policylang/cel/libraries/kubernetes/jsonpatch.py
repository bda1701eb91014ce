"""kubernetes.jsonpatch: what MutatingAdmissionPolicy adds, `jsonpatch.escapeKey` and the types of its literals."""

from __future__ import annotations

from collections.abc import Mapping

from policylang.cel.libraries.kubernetes.prices import KEEP_ARGUMENT
from policylang.cel.library import Library, Overload, function
from policylang.cel.types import DYN, STRING, Type

PATCH_FIELDS: Mapping[str, Type] = {"op": STRING, "path": STRING, "from": STRING, "value": DYN}


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


LIBRARY = Library("kubernetes.jsonpatch", functions=(
    function("jsonpatch.escapeKey", Overload("string_jsonpatch_escapeKey_string", (STRING,), STRING, _escape,
                                             KEEP_ARGUMENT)),
))
