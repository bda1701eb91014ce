"""`patchesJson6902`, with the leniency that Kyverno asks of evanphx/json-patch.

`add` makes the maps and lists on its way, `remove` of what is not there is no error, and an index may be negative.
"""

from __future__ import annotations

import contextlib
import re
from itertools import pairwise
from typing import Any

from custody.errors import MalformedError
from custody.formats import yaml
from custody.formats.jsonpatch import MAX_OPERATIONS, equal
from custody.policy.kyverno.mutate.nodes import PatchError, copied
from policylang.errors import Shape

_MISSING = "missing value"
_INDEX = "invalid index referenced"
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_MOST = 100_000
"""Elements that an index may pad a list to."""
Operation = dict[str, Any]


def read(written: str) -> list[Operation]:
    """The operations of a text of YAML or JSON. Raises PatchError."""
    try:
        documents = yaml.documents(written.encode(), "patchesJson6902")
    except MalformedError as error:
        raise PatchError(f"failed to convert patchesJSON6902 to JSON: yaml: {error.message}") from None
    operations = documents[0] if len(documents) == 1 else documents
    if not isinstance(operations, list):
        raise PatchError(f"failed to decode patches: got {Shape(operations)}, expected a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise PatchError(f"failed to decode patches: got {len(operations)} operations, expected at most "
                         f"{MAX_OPERATIONS}")
    for operation in operations:
        _check(operation)
    return operations


def _check(operation: Any) -> None:
    reason = None
    if not isinstance(operation, dict):
        reason = "not a map"
    elif operation.get("op") not in ("add", "replace", "move", "copy", "remove", "test"):
        reason = "unsupported operation"
    elif operation["op"] in ("add", "replace") and "value" not in operation:
        reason = f"failed to decode 'value': operation missing value field: {_MISSING}"
    elif operation["op"] in ("move", "copy") and not isinstance(operation.get("from"), str):
        reason = f"failed to decode 'from': operation, missing from field: {_MISSING}"
    elif not isinstance(operation.get("path"), str):
        reason = f"failed to decode 'path': operation missing path field: {_MISSING}"
    if reason is not None:
        raise PatchError(f"failed to decode patches: invalid operation {operation}: {reason}")


def apply(operations: list[Operation], resource: dict[str, Any]) -> Any:
    """A resource with the operations, or no resource at all; it is not changed. Raises PatchError."""
    document = _Document(copied(resource))
    for operation in operations:
        document.apply(operation)
    return document.root


class _AbsentError(PatchError):
    """A map does not have a key."""


class _Document:
    def __init__(self, root: Any) -> None:
        self.root = root
        self._copied = 0

    def apply(self, operation: Operation) -> None:
        name, path = operation["op"], operation["path"]
        value = copied(operation.get("value"))
        if name == "add":
            self._add(path, value)
        elif name == "remove":
            holder, key = self._find(path)
            if holder is not None:
                _remove(holder, key, f"error in remove for path: '{path}': ")
        elif name == "replace":
            self._replace(path, value)
        elif name == "test":
            self._test(path, value)
        else:
            self._transfer(name, operation["from"], path)

    def _find(self, path: str) -> tuple[Any, str]:
        """What holds the place that a path leads to, and its key there; None where nothing does."""
        steps = path.split("/")
        if len(steps) < 2:
            return (self.root if path == "" else None), ""
        part = self.root
        for step in steps[1:-1]:
            try:
                part = _get(part, _decoded(step))
            except PatchError:
                return None, ""
            if not isinstance(part, (dict, list)):
                return None, ""
        return part, _decoded(steps[-1])

    def _add(self, path: str, value: Any) -> None:
        if path == "":
            self.root = value
            return
        self._ensure(path)
        holder, key = self._find(path)
        if holder is None:
            raise PatchError(f'add operation does not apply: doc is missing path: "{path}": {_MISSING}')
        _put(holder, key, value, f"error in add for path: '{path}': ")

    def _ensure(self, path: str) -> None:
        """Makes what is not there on the way."""
        steps = path.split("/")[1:]
        part = self.root
        for step, following in pairwise(steps):
            try:
                target = _get(part, _decoded(step))
            except PatchError:
                target = None
            if target is not None:
                if not isinstance(target, (dict, list)):
                    raise PatchError("invalid state detected")
                part = target
                continue
            if isinstance(part, list) and _INTEGER.fullmatch(step):
                self._pad(part, int(step))
            made: Any = {}
            if following == "-" or _INTEGER.fullmatch(following):
                made = []
                at = int(following) if following != "-" else 0
                if at < -1:
                    raise PatchError(f"Unable to ensure path for negative index other than -1: {at}: {_INDEX}")
                self._pad(made, at)
            with contextlib.suppress(PatchError):  # it is missed when the value is put there
                _put(part, step, made, "")
            part = made

    @staticmethod
    def _pad(elements: list[Any], size: int) -> None:
        if size > _MOST:
            raise PatchError(f"Unable to access invalid index: {size}: {_INDEX}")
        elements += [None] * (size - len(elements))

    def _replace(self, path: str, value: Any) -> None:
        if path == "":
            if not isinstance(value, (dict, list)):
                raise PatchError("replace operation value must be object or array: %!w(<nil>)")
            self.root = value
            return
        holder, key = self._find(path)
        if holder is None:
            raise PatchError(f"replace operation does not apply: doc is missing path: {path}: {_MISSING}")
        try:
            _get(holder, key)
        except PatchError:
            raise PatchError(f"replace operation does not apply: doc is missing key: {path}: {_MISSING}") from None
        if isinstance(holder, dict):
            holder[key] = value
        else:
            at = _index(key, "error in remove for path: ")
            holder[at] = value

    def _test(self, path: str, value: Any) -> None:
        failed = PatchError(f"testing value {path} failed: test failed")
        if path == "":
            if not equal(self.root, value):
                raise failed
            return
        holder, key = self._find(path)
        if holder is None:
            raise PatchError(f"test operation does not apply: is missing path: {path}: {_MISSING}")
        try:
            present = _get(holder, key)
        except _AbsentError:
            present = None
        except PatchError as error:
            raise PatchError(f"error in test for path: '{path}': {error.message}") from None
        if not equal(present, value):
            raise failed

    def _transfer(self, name: str, source: str, path: str) -> None:
        if name == "move" and source == "":
            raise PatchError("unable to move entire document to another path: invalid state detected")
        holder, key = self._find(source)
        if holder is None:
            shown = source if name == "move" else f'"{source}"'
            raise PatchError(f"{name} operation does not apply: doc is missing from path: {shown}: {_MISSING}")
        try:
            value = _get(holder, key)
        except PatchError as error:
            failed = f"error in move for path: '{key}'" if name == "move" else f"error in copy for from: '{source}'"
            raise PatchError(f"{failed}: {error.message}") from None
        if name == "move":
            _remove(holder, key, f"error in move for path: '{key}': ")
        else:
            self._copied += _size(value)
            if self._copied > _MOST:
                raise PatchError(f"copies of more than {_MOST} values")
            value = copied(value)
        holder, key = self._find(path)
        if holder is None:
            raise PatchError(f"{name} operation does not apply: doc is missing destination path: {path}: {_MISSING}")
        _put(holder, key, value, f"error in move for path: '{path}': " if name == "move" else
             "error while adding value during copy: ")


def _get(part: Any, key: str) -> Any:
    if key == "":
        return part
    if isinstance(part, dict):
        if key not in part:
            raise _AbsentError(f"unable to get nonexistent key: {key}: {_MISSING}")
        return part[key]
    at = _index(key, "")
    if at >= len(part) or at < -len(part):
        raise PatchError(f"Unable to access invalid index: {at}: {_INDEX}")
    return part[at]


def _put(part: Any, key: str, value: Any, head: str) -> None:
    if isinstance(part, dict):
        part[key] = value
    elif key == "-":
        part.append(value)
    else:
        at = _index(key, f"{head}value was not a proper array index: '{key}': ")
        if at > len(part) or at < -len(part) - 1:
            raise PatchError(f"{head}Unable to access invalid index: {at}: {_INDEX}")
        part.insert(at if at >= 0 else at + len(part) + 1, value)


def _remove(part: Any, key: str, head: str) -> None:
    if isinstance(part, dict):
        part.pop(key, None)
        return
    at = _index(key, head)
    if -len(part) <= at < len(part):
        del part[at]


def _index(key: str, head: str) -> int:
    if not _INTEGER.fullmatch(key):
        raise PatchError(f'{head}strconv.Atoi: parsing "{key}": invalid syntax')
    return int(key)


def _decoded(step: str) -> str:
    return re.sub("~[01]", lambda code: "/" if code[0] == "~1" else "~", step)


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    return 1 + sum(map(_size, value)) if isinstance(value, list) else 1
