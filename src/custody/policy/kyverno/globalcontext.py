"""GlobalContextEntry (kyverno.io v2, v2beta1, v2alpha1): data that is kept for all policies, and its projections.

What is compiled says what must be watched, or called and how often; who carries that out hands the data in, and answers
`GlobalEntry` questions with `answer`.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.policy.fields import Fields
from custody.policy.worlds import path_of
from custody.ports.lookup import Absent, Answer, Answered, ApiCall, Failed, HttpCall
from policylang.go.durations import parse
from policylang.jmespath import Env, Program, QueryError
from policylang.jmespath import compile as compile_jmespath
from policylang.source import SourceError

KIND = "GlobalContextEntry"
VERSIONS = ("kyverno.io/v2", "kyverno.io/v2beta1", "kyverno.io/v2alpha1")
_METHODS = ("GET", "POST")
_REFRESH = 600.0
_NANOSECOND = 1e9


class Watched(NamedTuple):
    """Objects of the cluster, all of them or those in a namespace. The entry's data is the list of them."""

    group: str
    version: str
    resource: str
    namespace: str = ""

    @property
    def path(self) -> str:
        """Where the API server lists them."""
        return path_of(f"{self.group}/{self.version}" if self.group else self.version, self.resource, self.namespace)


class Called(NamedTuple):
    """A call whose answer is the entry's data."""

    question: ApiCall | HttpCall
    every: float
    """Seconds until it is called again."""
    retries: int


class GlobalContext(NamedTuple):
    """One entry. `source` says what its data is."""

    name: str
    source: Watched | Called
    projections: dict[str, Program]

    def answer(self, data: Any, projection: str, now: datetime) -> Answer:
        """The answer to a question about the entry (`projection` empty) or one of its projections."""
        if not projection:
            return Answered(data)
        program = self.projections.get(projection)
        if program is None:
            return Absent()
        try:
            return Answered(program(data, Env(now)))
        except QueryError as error:
            return Failed(f"projection {projection}: {error.message}")


def compile_entry(document: Any) -> GlobalContext:
    """Raises MalformedError, UnsupportedError."""
    top = Fields(document, "")
    kind, version = top.need("kind", str), top.need("apiVersion", str)
    if kind != KIND or version not in VERSIONS:
        raise UnsupportedError("kind", f"{version} {kind} is not evaluated by custody yet",
                               hint=f"{', '.join(VERSIONS)} {KIND} are")
    name = Fields(top.need("metadata", dict), "metadata").need("name", str)
    spec = Fields(top.need("spec", dict), "spec")
    top.any("status")
    top.done()
    watched, called = spec.inner("kubernetesResource"), spec.inner("apiCall")
    if (watched is None) == (called is None):
        raise MalformedError("spec", got="both or none of them", expected="one of kubernetesResource, apiCall")
    source = _watched(watched) if watched is not None else _called(called or Fields({}, "spec.apiCall"))
    projections: dict[str, Program] = {}
    for fields in spec.each("projections"):
        own, text = fields.need("name", str), fields.need("jmesPath", str)
        fields.done()
        if own == name or own in projections:
            raise MalformedError(fields.path("name"), got=own, expected="a name that nothing else of the entry has")
        try:
            projections[own] = compile_jmespath(text)
        except SourceError as error:
            raise MalformedError(fields.path("jmesPath"), got=text, expected=f"a JMESPath expression ({error.reason})"
                                 ) from None
    spec.done()
    return GlobalContext(name, source, projections)


def _watched(fields: Fields) -> Watched:
    group, version = fields.take("group", str) or "", fields.need("version", str)
    watched = Watched(group, version, fields.need("resource", str), fields.take("namespace", str) or "")
    fields.done()
    if not group and version != "v1":
        raise MalformedError(fields.path("group"), got="nothing", expected=f"a group, for version {version}")
    return watched


def _called(fields: Fields) -> Called:
    text = fields.take("refreshInterval", str)
    every = _REFRESH if text is None else _seconds(text, fields.path("refreshInterval"))
    retries = fields.take("retryLimit", int)
    path, service = fields.take("urlPath", str) or "", fields.inner("service")
    method = fields.take("method", str) or "GET"
    if method not in _METHODS:
        raise MalformedError(fields.path("method"), got=method, expected=" or ".join(_METHODS))
    entries = {}
    for pair in fields.each("data"):
        entries[pair.need("key", str)] = pair.any("value")
        pair.done()
    if entries and method != "POST":
        raise MalformedError(fields.path("method"), got=method, expected="POST, which data is sent with")
    fields.done()
    if bool(path) == (service is not None):
        raise MalformedError(fields.where, got="both or none of them", expected="one of urlPath, service")
    body = _body(entries) if method == "POST" else ""
    if service is None:
        return Called(ApiCall(path, method, body), every, retries or 3)
    headers = []
    for header in service.each("headers"):
        headers.append((header.need("key", str), header.take("value", str) or ""))
        header.done()
    url, bundle = service.need("url", str), service.take("caBundle", str) or ""
    service.done()
    return Called(HttpCall(method, url, tuple(headers), body, bundle), every, retries or 3)


def _body(entries: dict[str, Any]) -> str:
    return json.dumps(entries, separators=(",", ":"))


def _seconds(text: str, where: str) -> float:
    nanoseconds = parse(text)
    if nanoseconds is None or nanoseconds <= 0:
        raise MalformedError(where, got=text, expected="a duration: 10m, 1h30m")
    return nanoseconds / _NANOSECOND
