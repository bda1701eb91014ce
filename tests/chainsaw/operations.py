"""What a step does: each operation with its timeout, tried again until it holds, as chainsaw does."""

from __future__ import annotations

import copy
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chainsaw.api import Api, Object, RefusedError
from tests.chainsaw.assertion import Bindings, ExpressionError, differences, template
from tests.chainsaw.document import UnsupportedStepError, documents, seconds

TIMEOUTS = {"apply": 10.0, "assert": 8.0, "cleanup": 20.0, "delete": 20.0, "error": 8.0, "exec": 30.0}
"""Seconds. Kyverno waits 90 s for an assertion, on clusters with kubelets; a failing one should not cost that here."""
_PAUSE = 0.2


class FailedError(Exception):
    """An operation that did not hold."""


class Operations:
    """Of one test. `made` are the objects that it created, in order."""

    def __init__(self, api: Api, folder: Path, namespace: str, kubeconfig: Path, path: str,
                 timeouts: dict[str, float]) -> None:
        self._api, self._folder, self._namespace = api, folder, namespace
        self._environ = {**os.environ, "KUBECONFIG": str(kubeconfig), "NAMESPACE": namespace, "PATH": path}
        self._timeouts = TIMEOUTS | timeouts
        self.made: list[Object] = []

    def run(self, operation: dict[str, Any], bindings: dict[str, Any]) -> None:
        """Raises FailedError, UnsupportedStepError. Outputs become bindings."""
        names = [name for name in operation if name not in ("description", "continueOnError", "bindings", "outputs")]
        if len(names) != 1:
            raise UnsupportedStepError(f"an operation of {sorted(operation)}")
        method: Callable[[dict[str, Any], Bindings], None] | None = getattr(self, f"_{names[0]}", None)
        if method is None:
            raise UnsupportedStepError(f"operation {names[0]}")
        given = operation[names[0]] or {}
        inside = dict(bindings)
        for binding in [*(operation.get("bindings") or []), *(given.get("bindings") or [])]:
            inside[str(template(binding["name"], inside))] = template(binding["value"], inside)
        try:
            method(given, inside)
        except (FailedError, ExpressionError) as error:
            if not operation.get("continueOnError"):
                raise FailedError(f"{names[0]} {given.get('file') or ''}: {error}") from None

    def _timeout(self, given: dict[str, Any], name: str) -> float:
        return seconds(given["timeout"]) if given.get("timeout") else self._timeouts[name]

    def _documents(self, given: dict[str, Any], bindings: Bindings, *, templated: bool = True) -> list[Object]:
        if given.get("resource"):
            read = [copy.deepcopy(given["resource"])]
        else:
            pattern = str(template(given["file"], bindings))
            files = sorted(self._folder.glob(pattern)) if any(sign in pattern for sign in "*?[") else (
                [self._folder / pattern])
            if not files or not all(file.is_file() for file in files):
                raise UnsupportedStepError(f"no file {pattern}")
            read = [document for file in files for document in documents(file)]
        if templated and given.get("template", True):
            read = [template(document, bindings) for document in read]
        unlisted = [item for document in read
                    for item in (document["items"] if document.get("kind") == "List" else [document])]
        for document in unlisted:
            self._place(document, bindings)
        return unlisted

    def _place(self, document: Object, bindings: Bindings) -> None:
        """Into the test's namespace, where it names none and its kind has some."""
        metadata = document.setdefault("metadata", {})
        for field in ("name", "namespace"):
            if field in metadata:
                metadata[field] = template(metadata[field], bindings)
        if metadata.get("namespace"):
            return
        try:
            namespaced = self._api.resource(str(document.get("apiVersion")), str(document.get("kind"))).namespaced
        except RefusedError:
            return
        if namespaced:
            metadata["namespace"] = self._namespace

    # ── Objects ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _apply(self, given: dict[str, Any], bindings: Bindings) -> None:
        def put(document: Object) -> Object:
            try:
                there = self._api.get(document)
            except RefusedError as error:
                if error.status != 404:
                    raise
                return self._created(document)
            if there["metadata"].get("deletionTimestamp") and document["kind"] == "Namespace":  # of an earlier test
                raise RefusedError(409, "an earlier one is being deleted")
            return self._api.merge(document)
        self._each(given, bindings, put)

    def _create(self, given: dict[str, Any], bindings: Bindings) -> None:
        self._each(given, bindings, self._created)

    def _update(self, given: dict[str, Any], bindings: Bindings) -> None:
        def put(document: Object) -> Object:
            version = self._api.get(document)["metadata"]["resourceVersion"]
            return self._api.replace({**document, "metadata": document["metadata"] | {"resourceVersion": version}})
        self._each(given, bindings, put)

    def _patch(self, given: dict[str, Any], bindings: Bindings) -> None:
        self._each(given, bindings, self._api.merge)

    def _created(self, document: Object) -> Object:
        made = self._api.create(document)
        self.made.append({"apiVersion": document["apiVersion"], "kind": document["kind"],
                          "metadata": {key: made["metadata"][key] for key in ("name", "namespace")
                                       if made["metadata"].get(key)}})
        return made

    def _each(self, given: dict[str, Any], bindings: Bindings, put: Callable[[Object], Object]) -> None:
        for document in self._documents(given, bindings):
            def attempt(document: Object = document) -> str:
                self._place(document, bindings)  # a kind may be served only now
                try:
                    actual, error = put(document), None
                except RefusedError as refused:
                    actual, error = document, str(refused)
                expected = [each for each in given.get("expect") or []
                            if "match" not in each or not any(differences(each["match"], document, bindings))]
                if not expected:
                    return error or ""
                inside = {**bindings, "error": error}
                return "; ".join(line for each in expected
                                 for line in differences(each["check"], actual, inside)) and (
                    f"{error or 'admitted'}: " + "; ".join(
                        line for each in expected for line in differences(each["check"], actual, inside)))
            self._until(attempt, self._timeout(given, "apply"))

    def _delete(self, given: dict[str, Any], bindings: Bindings) -> None:
        if given.get("ref"):
            ref = template(given["ref"], bindings)
            document = {"apiVersion": ref["apiVersion"], "kind": ref["kind"], "metadata": {
                key: ref[key] for key in ("name", "namespace", "labels") if ref.get(key)}}
            self._place(document, bindings)
            chosen = [document]
        else:
            chosen = self._documents(given, bindings)
        for document in chosen:
            for candidate in self._api.candidates(document):
                named = {"apiVersion": document["apiVersion"], "kind": document["kind"],
                         "metadata": candidate["metadata"]}
                error: str | None = None
                try:
                    self._api.delete(named)
                except RefusedError as refused:
                    error = str(refused) if refused.status != 404 else None
                if given.get("expect"):
                    lines = [line for each in given["expect"]
                             for line in differences(each["check"], named, {**bindings, "error": error})]
                    if lines:
                        raise FailedError("; ".join(lines))
                elif error:
                    raise FailedError(error)
                if error is None:
                    self._until(lambda named=named: "it is still there" if self._api.candidates(named) else "",
                                self._timeout(given, "delete"))

    def _assert(self, given: dict[str, Any], bindings: Bindings) -> None:
        for tree in self._documents(given, bindings, templated=False):
            self._until(lambda tree=tree: self._unlike(tree, bindings), self._timeout(given, "assert"))

    def _unlike(self, tree: Object, bindings: Bindings) -> str:
        """Why no object is like this; empty where one is."""
        try:
            candidates = self._api.candidates(tree)
        except RefusedError as error:
            return str(error)
        reasons = []
        for candidate in candidates:
            lines = list(differences(tree, candidate, bindings))
            if not lines:
                return ""
            reasons.append(lines)
        named = f"{tree['kind']} {tree['metadata'].get('namespace', '')}/{tree['metadata'].get('name', '*')}"
        closest = min(reasons, key=len, default=["there is none"])
        return f"{named}: {'; '.join(closest[:5])}"

    def _error(self, given: dict[str, Any], bindings: Bindings) -> None:
        for tree in self._documents(given, bindings, templated=False):
            self._until(lambda tree=tree: "" if self._unlike(tree, bindings) else "there is such an object",
                        self._timeout(given, "error"))

    def _wait(self, given: dict[str, Any], bindings: Bindings) -> None:
        wanted = given.get("for") or {}
        document = template({"apiVersion": given["apiVersion"], "kind": given["kind"], "metadata": {
            key: given[key] for key in ("name", "namespace") if given.get(key)}}, bindings)
        self._place(document, bindings)

        def attempt() -> str:
            candidates = self._api.candidates(document)
            if "deletion" in wanted:
                return "it is still there" if candidates else ""
            if "condition" in wanted:
                name, value = wanted["condition"]["name"], str(wanted["condition"].get("value") or "true")
                held = [candidate for candidate in candidates
                        for condition in (candidate.get("status") or {}).get("conditions") or []
                        if condition["type"].lower() == name.lower() and condition["status"].lower() == value.lower()]
                return "" if candidates and len(held) == len(candidates) else f"condition {name} is not {value}"
            raise UnsupportedStepError(f"wait for {sorted(wanted)}")
        self._until(attempt, self._timeout(given, "assert"))

    def _until(self, attempt: Callable[[], str], timeout: float) -> None:
        end = time.monotonic() + timeout
        while reason := attempt():
            if time.monotonic() > end:
                raise FailedError(reason)
            time.sleep(_PAUSE)

    # ── Programs ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _script(self, given: dict[str, Any], bindings: Bindings) -> None:
        self._program(["bash", "-c", str(given["content"])], given, bindings)

    def _command(self, given: dict[str, Any], bindings: Bindings) -> None:
        arguments = [str(template(argument, bindings)) for argument in given.get("args") or []]
        self._program([str(given["entrypoint"]), *arguments], given, bindings)

    def _program(self, words: list[str], given: dict[str, Any], bindings: Bindings) -> None:
        environ = dict(self._environ)
        for variable in given.get("env") or []:
            environ[variable["name"]] = str(template(variable["value"], bindings))
        try:
            done = subprocess.run(words, cwd=self._folder, env=environ, capture_output=True, text=True, check=False,
                                  stdin=subprocess.DEVNULL, timeout=self._timeout(given, "exec"))
            error = None if done.returncode == 0 else f"exit status {done.returncode}"
            stdout, stderr = done.stdout, done.stderr
        except (subprocess.TimeoutExpired, OSError) as failed:
            error, stdout, stderr = str(failed), "", ""
        if "check" not in given:
            if error:
                raise FailedError(f"{error}: {(stderr or stdout).strip()[-600:]}")
            return
        lines = list(differences(given["check"], None, {**bindings, "error": error, "stdout": stdout,
                                                        "stderr": stderr}))
        if lines:
            raise FailedError(f"{'; '.join(lines)}: {(stderr or stdout).strip()[-400:]}")

    def _sleep(self, given: dict[str, Any], bindings: Bindings) -> None:
        time.sleep(seconds(given["duration"]))
