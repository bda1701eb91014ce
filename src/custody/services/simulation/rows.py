"""What a test expects beside what was said: one row a result and resource, counted as the Kyverno CLI counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custody.errors import CustodyError
from custody.formats.jsonpatch import equal
from custody.policy.kinds import Kinds
from custody.services.simulation.differences import legend, shown
from custody.services.simulation.documents import kind_of, name_of, namespace_of, read, resources
from custody.services.simulation.testfile import Expected, TestFile
from custody.services.simulation.trial import Response, Said, Type, outcome

EXCLUDED = "Excluded"
NOT_FOUND = "Not found"
_MANAGED = "app.kubernetes.io/managed-by"
_GENERATE = "generate.kyverno.io/"
_RULELESS = frozenset({
    f"{prefix}{kind}Policy" for kind in ("Validating", "Mutating", "ImageValidating", "Generating", "Deleting")
    for prefix in ("", "Namespaced")} | {"ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"})
"""Kinds of policies whose rules have no names."""
Key = tuple[str, ...]
"""apiVersion, kind, namespace, name; a payload that is no resource has its name alone."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    policy: str
    rule: str
    resource: str
    passed: bool
    reason: str
    message: str
    skipped: bool = False
    """Whether it passed since nothing was judged."""


class Responses:
    """All that was said in one test: by resource, by operation, and of what else was changed."""

    def __init__(self) -> None:
        self.triggers: dict[Key, list[Response]] = {}
        self.by_operation: dict[str, dict[Key, list[Response]]] = {}
        self.targets: dict[Key, list[Response]] = {}
        self.invalid: dict[str, str] = {}
        """Reasons, by the names of policies that are wrong."""


def key_of(resource: dict[str, Any]) -> Key:
    return str(resource.get("apiVersion", "")), kind_of(resource).kind, namespace_of(resource), name_of(resource)


def rows(test: TestFile, expected: Sequence[Expected], responses: Responses, kinds: Kinds) -> Iterator[Row]:
    """In the order of the results, and of the resources that each names."""
    files = _Files(test, kinds)
    for result in expected:
        triggers = responses.by_operation.get(result.operation, {}) if result.operation else responses.triggers
        for key in _meant(result, responses.targets, triggers):
            yield from _of_resource(result, key, triggers, responses, files)


def _meant(result: Expected, targets: Mapping[Key, Any], triggers: Mapping[Key, Any]) -> list[Key]:
    places = (targets, triggers)
    keys: list[Key] = []
    if result.resources is not None:
        for text in result.resources:
            parts = text.split("/")
            for place in places:
                keys += [key for key in place if (text == key[-1] and (len(parts) == 1 or len(key) == 1))
                         or (len(parts) == 2 and len(key) > 1 and (key[-2], key[-1]) == (parts[0], parts[1]))]
        for spec in result.specs:
            version = f"{spec.group}/{spec.version}" if spec.group else spec.version
            keys += [key for place in places for key in place
                     if len(key) > 1 and (key[0], key[2], key[3]) == (version, spec.namespace, spec.name)]
    return keys or [key for place in places for key in place]


def _of_resource(expected: Expected, key: Key, triggers: Mapping[Key, Sequence[Response]], responses: Responses,
                 files: _Files) -> Iterator[Row]:
    name = "/".join(key)
    made: list[Row] = []
    missing = False
    policy = expected.policy.rpartition("/")[2]
    for response in triggers.get(key, ()):
        if response.tried.name != policy:
            continue
        for said in _asked(expected, response):
            if said.type is Type.GENERATION:
                objects = said.generated
                if not objects:
                    made.append(_judged(expected, said, name, *_outcome(expected, response, said)))
                made += [_judged(expected, said, name_of(made_of), *files.compared(expected, response, said, made_of))
                         for made_of in objects]
                continue
            actual = response.patched if said.type is Type.MUTATION else response.resource
            passed, message, reason = files.compared(expected, response, said, actual)
            if not expected.fail_on_missing and "not found in manifest" in message:
                missing = True
                continue
            made.append(_judged(expected, said, name, passed, message, reason))
        if not made and not missing:
            made.append(Row(policy=expected.policy, rule=expected.rule, resource=name, passed=True, reason=EXCLUDED,
                            message=EXCLUDED, skipped=True))
    for response in responses.targets.get(key, ()):
        for said in response.rules:
            target = next((target for target in said.targets if key_of(target) == key), None)
            if target is not None:
                made.append(_judged(expected, said, name, *files.compared(expected, response, said, target)))
                break
    if made or missing:
        yield from made
        return
    if policy in responses.invalid:
        yield Row(policy=expected.policy, rule=expected.rule, resource=name, passed=True, reason="Invalid Policy",
                  message=responses.invalid[policy], skipped=True)
    else:
        yield Row(policy=expected.policy, rule=expected.rule, resource=name, passed=False, reason=NOT_FOUND,
                  message=NOT_FOUND)


def _asked(expected: Expected, response: Response) -> list[Said]:
    if not expected.rule or response.tried.kind in _RULELESS:
        return response.rules
    names = (expected.rule, f"autogen-{expected.rule}", f"autogen-cronjob-{expected.rule}")
    return [said for said in response.rules if said.result.rule in names]


def _judged(expected: Expected, said: Said, resource: str, passed: bool, message: str, reason: str) -> Row:
    return Row(policy=expected.policy, rule=said.result.rule, resource=resource, passed=passed, reason=reason,
               message=message, skipped=passed and expected.result == "skip")


def _outcome(expected: Expected, response: Response, said: Said) -> tuple[bool, str, str]:
    """(right, message, reason)"""
    got = outcome(said.result, response.tried)
    message = told(said, got)
    return (True, message, "Ok") if got == expected.result else (False, message, f"Want {expected.result}, got {got}")


def told(said: Said, got: str) -> str:
    """The message of a result; a policy's properties may say another one."""
    properties = said.result.properties
    if not properties:
        return said.result.message
    return properties.get("message") or properties.get(f"{got}Message") or said.result.message


class _Files:
    """The resources that a test expects, read once."""

    def __init__(self, test: TestFile, kinds: Kinds) -> None:
        self._test = test
        self._kinds = kinds
        self._read: dict[Path, list[dict[str, Any]]] = {}

    def compared(self, expected: Expected, response: Response, said: Said,
                 actual: dict[str, Any]) -> tuple[bool, str, str]:
        """(right, message, reason) of what became of an object, and of the result."""
        if expected.patched:
            try:
                difference = self._difference(actual, expected.patched, "PatchedResources")
            except CustodyError as error:
                return False, error.message, "Resource error"
            if difference:
                return False, _differs("the patched resource", difference), "Resource diff"
        if expected.generated and not expected.generated_several:
            try:
                difference = self._difference(actual, expected.generated, "GeneratedResource")
            except CustodyError as error:
                return False, error.message, "Resource error"
            if difference:
                return False, _differs("the generated resource", difference), "Resource diff"
        elif expected.generated_several:
            last, failed = "", ""
            for file in expected.generated_several:
                try:
                    difference = self._difference(actual, file, "GeneratedResources")
                except CustodyError as error:
                    failed = error.message
                    continue
                if not difference:
                    break
                last = difference
            else:
                if not last and failed:
                    return False, failed, "Resource error"
                return False, ("Generated resource didn't match any of the expected generated resources in the test "
                               f"result\n({legend()})\n\n{last}"), "Resource diff"
        return _outcome(expected, response, said)

    def _difference(self, actual: dict[str, Any], name: str, field: str) -> str:
        """Empty where the file has the object as it is. Raises CustodyError where it has no such object."""
        file = self._test.beside(name)
        if file not in self._read:
            self._read[file] = [*resources(read(file), str(file), self._kinds)]
        meant = next((document for document in self._read[file] if key_of(document) == key_of(actual)), None)
        if meant is None:
            raise CustodyError(f"error: failed to load {field} resource (resource with name {name_of(actual)} not "
                               "found in manifest)")
        left, right = _tidy(_managed(actual)), _tidy(_managed(meant))
        return "" if equal(left, right) else shown(right, left)


def _differs(name: str, difference: str) -> str:
    return f"Patched resource didn't match {name} in the test result\n({legend()})\n\n{difference}"


def _managed(document: dict[str, Any]) -> dict[str, Any]:
    """With the labels of what is generated as they are in no matter which cluster."""
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        return document
    labels = metadata.get("labels")
    kept = {name: value for name, value in labels.items() if not name.startswith(_GENERATE)} if isinstance(
        labels, dict) else {}
    return {**document, "metadata": {**metadata, "labels": {_MANAGED: "kyverno", **kept}}}


def _tidy(value: Any) -> Any:
    """Without what is empty: None, and maps and lists of nothing."""
    if isinstance(value, dict):
        kept = {name: tidied for name, inner in value.items() if (tidied := _tidy(inner)) is not None}
        return kept or None
    if isinstance(value, list):
        return [tidied for inner in value if (tidied := _tidy(inner)) is not None] or None
    return value
