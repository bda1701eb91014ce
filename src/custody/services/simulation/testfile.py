"""The format of `kyverno-test.yaml`: cli.kyverno.io/v1alpha1 Test, as the Kyverno CLI 1.19 reads it.

Names of fields are matched whatever their case, as Go's JSON does. A field that nobody reads is refused by its path.
"""

from __future__ import annotations

import json
import os.path
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from custody.errors import CustodyError, MalformedError
from custody.policy.fields import Fields
from custody.policy.load import regular
from custody.services.simulation.documents import parsed
from custody.services.simulation.values import OPERATIONS, Values, read_spec
from policylang.errors import Shape

FILE = "kyverno-test.yaml"
MAX_SIZE = 4 * 1024 * 1024
_FLAGS = ("isValidatingAdmissionPolicy", "isMutatingAdmissionPolicy", "isValidatingPolicy", "isDeletingPolicy",
          "isImageValidatingPolicy", "isGeneratingPolicy", "isMutatingPolicy")
_TEXTS = ("name", "jsonPayload", "variables", "userinfo", "context")
_LISTS = ("policies", "resources", "jsonPayloads", "httpPayloads", "envoyPayloads", "targetResources", "paramResources",
          "exceptions", "clusterResources")
_TOP = ("apiVersion", "kind", "metadata", *_TEXTS, *_LISTS, "results", "values", "apiCallResponses",
        "globalContextEntries")
_RESULT = ("policy", "rule", *_FLAGS, "result", "kind", "operation", "patchedResources", "generatedResource",
           "cloneSourceResource", "failOnMissingResources", "resources", "resourceSpecs", "generatedResources")


class Spec(NamedTuple):
    """A resource that a result names in parts."""

    group: str
    version: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Expected:
    """One entry of `results`."""

    policy: str
    rule: str
    result: str
    kind: str
    operation: str
    resources: tuple[str, ...] | None
    """None where none are named; then all are meant."""
    specs: tuple[Spec, ...]
    patched: str
    generated: str
    generated_several: tuple[str, ...]
    clone_source: str
    fail_on_missing: bool
    deleting: bool


class Mock(NamedTuple):
    """A response to a call of an API."""

    method: str
    """Empty for any."""
    url: str
    """Or a path of the API server."""
    status: int
    body: Any


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A GlobalContextEntry, as it is said."""

    name: str
    data: Any
    """What it holds; None where `resources` or `files` say it."""
    resources: tuple[dict[str, Any], ...] | None
    files: tuple[str, ...]
    path: str
    """JMESPath of what is taken of it."""
    projections: tuple[tuple[str, str], ...]


@dataclass(kw_only=True)
class TestFile:
    """One document."""

    __test__ = False  # pytest looks for classes of this name

    path: Path
    name: str
    lists: dict[str, list[str]]
    variables: str
    who: str
    context: str
    values: Values | None
    mocks: list[Mock]
    entries: list[Entry]
    results: list[Expected] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.path.parent

    def files(self, name: str) -> list[Path]:
        """Of a list of the test, beside its file. Raises UsageError."""
        return [self.beside(text) for text in self.lists[name]]

    def beside(self, text: str) -> Path:
        return regular(Path(os.path.normpath(self.folder / text)))


class Broken(NamedTuple):
    """A file that cannot be read as tests."""

    path: Path
    error: CustodyError


def find(folder: Path, name: str = FILE) -> Iterator[Path]:
    """All files of this name below a folder, in the order in which Go reads folders. Raises UsageError."""
    for entry in sorted(os.listdir(folder)):
        path = folder / entry
        if path.is_dir() and not path.is_symlink():
            yield from find(path, name)
        elif entry == name:
            yield regular(path)


def read(path: Path) -> list[TestFile | Broken]:
    """The tests of one file."""
    tests: list[TestFile | Broken] = []
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_SIZE + 1)
        tests.extend(_test(document, path) for document in parsed(data, str(path)))
    except CustodyError as error:
        return [*tests, Broken(path, error)]
    except OSError as error:
        return [Broken(path, MalformedError(str(path), got=error.strerror, expected="a file of tests"))]
    return tests


def _test(document: Any, path: Path) -> TestFile:
    fields = Fields(_cased(document, _TOP, str(path)), str(path))
    fields.take("metadata", dict)
    version, kind, name = fields.take("apiVersion", str), fields.take("kind", str), fields.take("name", str)
    if not version or not kind or name:
        raise MalformedError(str(path), got="a test without apiVersion or kind, or with a name of its own",
                             expected="cli.kyverno.io/v1alpha1 Test",
                             hint="the old form is from before Kyverno 1.15; no Kyverno CLI reads it now")
    metadata = document.get("metadata")
    texts = {key: fields.take(key, str) or "" for key in _TEXTS if key != "name"}
    lists = {key: [*fields.texts(key)] for key in _LISTS}
    for key in ("policies", "resources"):
        lists[key] = [*dict.fromkeys(lists[key])]
    if texts["jsonPayload"] and not lists["jsonPayloads"]:
        lists["jsonPayloads"] = [texts["jsonPayload"]]
    lists["jsonPayloads"] = [*dict.fromkeys(os.path.normpath(text) for text in lists["jsonPayloads"] if text.strip())]
    inline = fields.inner("values")
    values = read_spec(inline) if inline is not None else None
    if inline is not None:
        inline.done()
    test = TestFile(
        path=path, name=str(metadata.get("name", "")) if isinstance(metadata, dict) else "", lists=lists,
        variables=texts["variables"], who=texts["userinfo"], context=texts["context"], values=values,
        mocks=[*_mocks(fields.each("apiCallResponses"))], entries=[*_entries(fields.each("globalContextEntries"))])
    results = fields.take("results", list) or []
    for at, result in enumerate(results):
        test.results.append(_expected(result, f"{path}: results[{at}]"))
    fields.done()
    return test


def _cased(document: Any, names: Iterable[str], where: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise MalformedError(where, got=Shape(document), expected="a map")
    known = {name.lower(): name for name in names}
    cased: dict[str, Any] = {}
    for name, value in document.items():
        cased[known.get(name.lower()) or name] = value
    return cased


def _expected(document: Any, where: str) -> Expected:
    fields = Fields(_cased(document, _RESULT, where), where)
    flags = {flag for flag in _FLAGS if fields.take(flag, bool)}
    operation = fields.take("operation", str) or ""
    policy = fields.take("policy", str) or ""
    if operation not in ("", *OPERATIONS):
        raise MalformedError(fields.path("operation"), got=operation, expected=f"one of {', '.join(OPERATIONS)}")
    if operation and "isDeletingPolicy" in flags:
        raise MalformedError(fields.path("operation"), got=operation,
                             expected="none: a policy that deletes is asked by no request")
    named = fields.peek("resources")
    specs = []
    for part in fields.each("resourceSpecs"):
        part.take("subresource", str)
        specs.append(Spec(*(part.take(name, str) or "" for name in ("group", "version", "kind", "namespace", "name"))))
        part.done()
    expected = Expected(
        policy=policy, rule=fields.take("rule", str) or "", result=fields.take("result", str) or "",
        kind=fields.take("kind", str) or "", operation=operation,
        resources=tuple(fields.texts("resources")) if named is not None else None, specs=tuple(specs),
        patched=fields.take("patchedResources", str) or "", generated=fields.take("generatedResource", str) or "",
        generated_several=tuple(fields.texts("generatedResources")),
        clone_source=fields.take("cloneSourceResource", str) or "",
        fail_on_missing=bool(fields.take("failOnMissingResources", bool)), deleting="isDeletingPolicy" in flags)
    fields.done()
    return expected


def _mocks(entries: Iterable[Fields]) -> Iterator[Mock]:
    seen = set()
    for entry in entries:
        url, path = (entry.take("url", str) or "").strip(), (entry.take("urlPath", str) or "").strip()
        method = (entry.take("method", str) or "").strip().upper()
        if bool(url) == bool(path):
            raise MalformedError(entry.where, got="both of them" if url else "neither", expected="url or urlPath")
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise MalformedError(entry.path("url"), got=url, expected="an absolute http or https URL")
        if path and not path.startswith("/"):
            raise MalformedError(entry.path("urlPath"), got=path, expected="an absolute path")
        if method not in ("", "GET", "POST"):
            raise MalformedError(entry.path("method"), got=method, expected="GET or POST")
        response = entry.inner("response")
        if response is None:
            raise MalformedError(entry.path("response"), got="nothing", expected="a body")
        body = response.need("body", dict)
        status = response.take("statusCode", int) or 200
        if not 100 <= status <= 599:
            raise MalformedError(response.path("statusCode"), got=status, expected="100 to 599")
        response.done()
        entry.done()
        if (method, url or path) in seen:
            raise MalformedError(entry.where, got=f"{method} {url or path} twice".strip(), expected="each call once")
        seen.add((method, url or path))
        yield Mock(method, url or path, status, body)


def _entries(entries: Iterable[Fields]) -> Iterator[Entry]:
    seen = set()
    for entry in entries:
        name = entry.need("name", str).strip()
        if name in seen:
            raise MalformedError(entry.path("name"), got=f"{name} twice", expected="each entry once")
        seen.add(name)
        data = entry.take("data", dict)
        resources = entry.take("resources", list)
        has_files = entry.peek("resourceFiles") is not None
        files = entry.texts("resourceFiles")
        if sum((data is not None, resources is not None, has_files)) != 1:
            raise MalformedError(entry.where, got="none or several of them",
                                 expected="one of data, resources, resourceFiles")
        for at, resource in enumerate(resources or ()):
            if not isinstance(resource, dict):
                raise MalformedError(f"{entry.path('resources')}[{at}]", got=json.dumps(resource)[:40],
                                     expected="a resource")
        for file in files:
            if not file.strip() or os.path.isabs(file) or os.path.normpath(file).split("/")[0] == "..":
                raise MalformedError(entry.path("resourceFiles"), got=file, expected="a file in the test's folder")
        projections = []
        for projection in entry.each("projections"):
            projections.append((projection.need("name", str), projection.need("path", str)))
            projection.done()
        made = Entry(name=name, data=data, resources=None if resources is None else tuple(resources),
                     files=tuple(files), path=entry.take("fieldPath", str) or "", projections=tuple(projections))
        entry.done()
        yield made
