"""One test from its first step to its cleanup, in a namespace of its own and a copy of its folder."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.chainsaw.api import Api, Object, RefusedError
from tests.chainsaw.assertion import ExpressionError, template
from tests.chainsaw.document import Test, UnsupportedStepError
from tests.chainsaw.operations import FailedError, Operations


def run(test: Test, api: Api, kubeconfig: Path, path: str) -> str | None:
    """Why a test failed; None where it did not. `path` is where its scripts look for programs."""
    with tempfile.TemporaryDirectory(prefix="chainsaw-") as parent:
        whole = test.folder.parent if test.folder.name.startswith(".") else test.folder
        shutil.copytree(whole, Path(parent) / "test")  # scripts write beside their files
        folder = Path(parent) / "test" / test.folder.relative_to(whole)
        namespace = test.namespace or f"chainsaw-{secrets.token_hex(4)}"
        own: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        operations = Operations(api, folder, namespace, kubeconfig, path, test.timeouts)
        try:
            try:
                operations.made.append(own)
                api.create(own)
            except RefusedError as error:
                if error.status != 409:
                    return f"namespace {namespace}: {error}"
                operations.made.remove(own)
            return _steps(test, operations, {"test": {"metadata": {"name": test.name}}, "namespace": namespace})
        finally:
            remove(api, reversed(operations.made))


def _steps(test: Test, operations: Operations, bindings: dict[str, Any]) -> str | None:
    reason: str | None = None
    for binding in test.bindings:
        bindings[str(binding["name"])] = template(binding["value"], bindings)
    last: list[tuple[str, list[dict[str, Any]], dict[str, Any]]] = []
    for step in test.steps:
        inside = dict(bindings)
        try:
            for binding in step.bindings:
                inside[str(binding["name"])] = template(binding["value"], inside)
            last.append((step.name, step.parts["cleanup"], inside))
            for operation in step.parts["try"]:
                operations.run(operation, inside)
        except (FailedError, UnsupportedStepError, RefusedError, ExpressionError) as error:
            reason = f"{step.name}: {error}"
            _quietly(operations, step.parts["catch"], inside)
        _quietly(operations, step.parts["finally"], inside)
        if reason:
            break
    for _, cleanup, inside in reversed(last):
        _quietly(operations, cleanup, inside)
    return reason


def _quietly(operations: Operations, listed: Iterable[dict[str, Any]], bindings: dict[str, Any]) -> None:
    """What comes after a test's verdict does not change it."""
    for operation in listed:
        try:
            operations.run(operation, bindings)
        except (FailedError, UnsupportedStepError, RefusedError):
            continue


def remove(api: Api, objects: Iterable[Object], timeout: float = 20.0) -> None:
    """All of them, and wait until they are gone."""
    waiting = []
    for document in objects:
        try:
            api.delete(document)
        except RefusedError as error:
            if error.status == 404:
                continue
        if document["kind"] != "Namespace":  # which takes seconds; whoever makes the same one again waits for it
            waiting.append(document)
    end = time.monotonic() + timeout
    for document in waiting:
        while time.monotonic() < end:
            try:
                if not api.candidates(document):
                    break
            except RefusedError:
                break
            time.sleep(0.1)
