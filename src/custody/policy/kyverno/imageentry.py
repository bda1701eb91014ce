"""An entry of `verifyImages` whose texts may have variables: compiled for each value that they take."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kyverno.images import VerifyImages
from custody.policy.kyverno.variables import PREDICATE_ROOTS, variables
from policylang.variables import Value, compile_value, has_variables

_KEPT = 64
"""Values of which what was compiled is kept."""


class ImageEntry:
    """`draft` is the entry as it is written, for all that variables do not change."""

    def __init__(self, written: Any, where: str, *, every: bool = False, entries: Sequence[str] = ()) -> None:
        """`entries` are the names of the rule's context. Raises MalformedError, UnsupportedError."""
        self._where = where
        self._every = every
        self._entries = entries
        roots = PREDICATE_ROOTS.extended((), entries) if entries else PREDICATE_ROOTS
        self._filled: Value | None = None
        self._kept: OrderedDict[str, VerifyImages] = OrderedDict()
        rest = _without_conditions(written)
        templated = has_variables(rest)
        self.draft = VerifyImages(Fields(written, where), every=every, entries=entries, draft=templated)
        if templated:
            self._written = written
            self._filled = compile_value(rest, where, roots)

    def filled(self, given: Given) -> VerifyImages:
        """The entry for a request. Raises what its variables ask for, and MalformedError for values that do not fit."""
        if self._filled is None:
            return self.draft
        entry: VerifyImages | None = given.memo.get(self)
        if entry is None:
            document = self._filled(variables(given), given.context.now)
            entry = given.memo[self] = self._compiled(document)
        return entry

    def _compiled(self, document: Any) -> VerifyImages:
        key = json.dumps(document, sort_keys=True)
        entry = self._kept.get(key)
        if entry is None:
            if has_variables(document):
                raise MalformedError(self._where, got="a value that is an expression again", expected="a text")
            entry = VerifyImages(Fields(_with_conditions(document, self._written), self._where), every=self._every,
                                 entries=self._entries, filled=True)
            if len(self._kept) >= _KEPT:
                self._kept.popitem(last=False)
            self._kept[key] = entry
        self._kept.move_to_end(key)
        return entry


def _without_conditions(written: Any) -> Any:
    """What variables are filled into before an image is looked at: conditions speak of what it shows."""
    if not isinstance(written, dict):
        return written
    attestations = written.get("attestations")
    rest = {name: value for name, value in written.items() if name != "validate"}
    if isinstance(attestations, list):
        rest["attestations"] = [
            {name: value for name, value in attestation.items() if name != "conditions"}
            if isinstance(attestation, dict) else attestation for attestation in attestations]
    return rest


def _with_conditions(document: Any, written: Any) -> Any:
    whole = {**document, **({"validate": written["validate"]} if "validate" in written else {})}
    if isinstance(whole.get("attestations"), list):
        whole["attestations"] = [
            {**filled, "conditions": own["conditions"]} if isinstance(own, dict) and "conditions" in own else filled
            for filled, own in zip(whole["attestations"], written["attestations"], strict=True)]
    return whole
