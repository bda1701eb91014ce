"""Entries of a `context` that are looked up: configMap, apiCall, imageRegistry, globalReference."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kyverno.contextvalues import Filled, Path, search
from custody.policy.kyverno.simulated import LeftOutError
from custody.policy.lookup import LookupFailedError
from custody.ports.lookup import ApiCall, GlobalEntry, HttpCall, ImageData, Question
from custody.ports.lookup import ConfigMap as ConfigMapQuestion
from policylang.errors import Shape
from policylang.go.verbs import sprintf
from policylang.jmespath import QueryError
from policylang.variables import NotMadeError, Roots

_METHODS = ("GET", "POST")
_NAMESPACED = re.compile(r"/(?:api/[^/]+|apis/[^/]+/[^/]+)/namespaces/([^/?#]+)(?:/.*)?", re.DOTALL)
_CREDENTIALS = "custody asks registries with the credentials of its settings"


def _answer(given: Given, question: Question, head: str, absent: str) -> Any:
    """Raises NotMadeError where there is no such thing, or it could not be had; UnansweredError."""
    try:
        value = given.answers.value(question)
    except LookupFailedError as error:
        if given.answers.disabled(question):
            raise LeftOutError(head + error.message) from None
        raise NotMadeError(head + error.message) from None
    if value is None:
        raise NotMadeError(head + absent)
    return value


class ConfigMap:
    """A ConfigMap's `data` and `metadata`."""

    replaces = False

    def __init__(self, fields: Fields, name: str, roots: Roots, namespace: str = "") -> None:
        self._head = f"failed to retrieve config map for context entry {name}: "
        self._entry = name
        self._own = namespace
        self._name = self._part(fields, "name", fields.need("name", str), roots)
        self._namespace = self._part(fields, "namespace", fields.take("namespace", str) or "", roots)
        fields.done()

    def _part(self, fields: Fields, part: str, written: str, roots: Roots) -> Filled:
        return Filled(written, fields.path(part), roots, f"{self._head}failed to substitute variables in context "
                      f"{self._entry} configMap.{part} {written}")

    def value(self, data: dict[str, Any], given: Given) -> Any:
        name, namespace = self._name(data, given), self._namespace(data, given)
        for part, text in (("name", name), ("namespace", namespace)):
            if not isinstance(text, str):
                raise NotMadeError(f"{self._head}failed to substitute variables in context {self._entry} "
                                   f"configMap.{part}: expected string, got {Shape(text)}")
        namespace = namespace or self._own or "default"
        if self._own and namespace != self._own:
            raise NotMadeError(f'{self._head}context entry {self._entry}: configMap namespace "{namespace}" is '
                               f'different from policy namespace "{self._own}"')
        head = f"{self._head}failed to get configmap {namespace}/{name} : "
        found = _answer(given, ConfigMapQuestion(namespace, name), head, f'configmaps "{name}" not found')
        return {"data": found.get("data"), "metadata": found.get("metadata") or {}}


class Call:
    """A call of the API server (`urlPath`) or of a service."""

    replaces = False

    def __init__(self, fields: Fields, name: str, roots: Roots, namespace: str = "") -> None:
        self._name = name
        self._own = namespace
        self._method = fields.take("method", str) or "GET"
        if self._method not in _METHODS:
            raise MalformedError(fields.path("method"), got=self._method, expected=" or ".join(_METHODS))
        path = fields.take("urlPath", str) or ""
        service = fields.inner("service")
        if bool(path) == (service is not None):
            raise MalformedError(fields.where, got="both or none of them", expected="one of urlPath, service")
        written: dict[str, Any] = {"urlPath": path}
        if service is not None:
            headers = []
            for header in service.each("headers"):
                headers.append([header.need("key", str), header.take("value", str) or ""])
                header.done()
            written["service"] = {"url": service.need("url", str), "headers": headers,
                                  "caBundle": service.take("caBundle", str) or ""}
            service.done()
        entries = []
        for pair in fields.each("data"):
            entries.append([pair.need("key", str), pair.any("value")])
            pair.done()
        if entries and self._method != "POST":
            raise MalformedError(fields.path("data"), got=self._method, expected="POST, which data is sent with")
        written["data"] = entries
        self._call = Filled(written, fields.where, roots, "failed to fetch data for APICall: failed to substitute "
                            f"variables in context entry {name} {path}")
        self._path = path
        text = fields.take("jmesPath", str)
        self._jmespath = Path(text, fields.path("jmesPath"), roots, name) if text else None
        self._default = fields.any("default")
        fields.done()

    def value(self, data: dict[str, Any], given: Given) -> Any:
        call = self._call(data, given)
        if self._own:
            self._stay(call["urlPath"])
        try:
            answer = self._cluster(call, given) if call["urlPath"] else self._service(call, given)
        except LeftOutError:
            raise
        except NotMadeError as error:
            if self._default is not None:
                return self._default
            raise NotMadeError(f"failed to fetch data for APICall: {error.message}") from None
        if self._jmespath is None:
            return answer
        text = self._jmespath.filled(data, given)
        try:
            return search(text, answer, given)
        except QueryError as error:
            raise NotMadeError(f"failed to store data for APICall: failed to apply JMESPath {text} for context entry "
                               f"{self._name}: {error.message}") from None

    def _stay(self, path: str) -> None:
        """A policy of a namespace asks about that alone. Raises NotMadeError."""
        # Without the query: the API server reads no namespace there.
        written = path.partition("?")[0]
        clean = posixpath.normpath(unquote(written))
        inside = _NAMESPACED.fullmatch(clean)
        if inside is None:
            raise NotMadeError(f"failed to fetch data for APICall: path {clean} does not contain a namespace segment, "
                               "which is required for namespaced policies")
        sent = _NAMESPACED.fullmatch(written)  # a part that is two once it is decoded is one to the API server
        if inside[1] != self._own or sent is None or unquote(sent[1]) != self._own:
            raise NotMadeError(f"failed to fetch data for APICall: path {clean} refers to namespace {inside[1]}, which "
                               f"is different from the policy namespace {self._own}")

    def _body(self, call: dict[str, Any]) -> str:
        return json.dumps(dict(call["data"]), separators=(",", ":")) if self._method == "POST" else ""

    def _cluster(self, call: dict[str, Any], given: Given) -> Any:
        path = call["urlPath"]
        return _answer(given, ApiCall(path, self._method, self._body(call)),
                       f"failed to {self._method} resource with raw url: {path}: ",
                       "the server could not find the requested resource")

    def _service(self, call: dict[str, Any], given: Given) -> Any:
        service = call["service"]
        headers = tuple((key, value) for key, value in service["headers"])
        if not all(isinstance(text, str) for text in (service["url"], service["caBundle"], *sum(headers, ()))):
            raise NotMadeError(f"failed to build HTTP request for APICall {self._name}: a variable is no text")
        question = HttpCall(self._method, service["url"], headers, self._body(call), service["caBundle"])
        answer = _answer(given, question, f"failed to execute HTTP request for APICall {self._name}: ",
                         "there is no such server")
        status, body = int(answer.get("status", 0)), str(answer.get("body") or "")
        if not 200 <= status < 300:
            raise NotMadeError(f"HTTP {status}: {body}")
        try:
            return json.loads(body)
        except ValueError as error:
            raise NotMadeError(f"failed to add resource data to context entry {self._name}: {error}") from None


class Registry:
    """A registry's manifest and config of an image."""

    replaces = False

    def __init__(self, fields: Fields, name: str, roots: Roots, namespace: str = "") -> None:  # noqa: ARG002
        self._name = name
        written = fields.need("reference", str)
        # Kyverno writes it so.
        self._reference = Filled(written, fields.path("reference"), roots,
                                 f"ailed to substitute variables in context entry {name} {written}")
        text = fields.take("jmesPath", str)
        self._jmespath = Path(text, fields.path("jmesPath"), roots, name) if text else None
        credentials = fields.inner("imageRegistryCredentials")
        if credentials is not None:
            credentials.only("allowInsecureRegistry", False, hint=_CREDENTIALS)
            credentials.done(hint=_CREDENTIALS)
        fields.done()

    def value(self, data: dict[str, Any], given: Given) -> Any:
        reference = self._reference(data, given)
        if not isinstance(reference, str):
            raise NotMadeError(sprintf("invalid image reference %s, image reference must be a string", [reference]))
        text = self._jmespath.filled(data, given) if self._jmespath is not None else ""
        about = _answer(given, ImageData(reference), f"failed to fetch image descriptor: {reference}, error: ",
                        "there is no such image")
        if not text:
            return about
        try:
            return search(text, about, given)
        except QueryError as error:
            raise NotMadeError(f"failed to apply JMESPath ({self._jmespath.written if self._jmespath else text}) "
                               f"results to context entry {self._name}, error: {error.message}") from None


class Global:
    """An entry of the global context, or one of its projections."""

    replaces = False

    def __init__(self, fields: Fields, name: str, roots: Roots, namespace: str = "") -> None:
        self._name = name
        self._own = namespace
        self._head = f"failed to marshal APICall data for context entry {name}: "
        self._entry = Filled({"name": fields.need("name", str), "jmesPath": fields.take("jmesPath", str) or ""},
                             fields.where, roots, f"{self._head}failed to substitute variables")
        fields.done()

    def value(self, data: dict[str, Any], given: Given) -> Any:
        if self._own:
            raise NotMadeError(f"context entry {self._name}: globalReference is not allowed in namespaced policies")
        entry = self._entry(data, given)
        name, text = str(entry["name"]).split("."), str(entry["jmesPath"])
        value = _answer(given, GlobalEntry(name[0], name[1] if len(name) > 1 else ""), self._head,
                        f"failed to fetch entry key={name[0]}")
        if not text:
            return value
        try:
            return search(text, value, given)
        except QueryError as error:
            raise NotMadeError(f"{self._head}failed to apply JMESPath {text} for context entry {self._name}: "
                               f"{error.message}") from None


LOOKUPS: dict[str, Callable[..., Any]] = {"configMap": ConfigMap, "apiCall": Call, "imageRegistry": Registry,
                                          "globalReference": Global}
"""By the field of an entry; each takes (fields, the entry's name, roots, the namespace of the policy)."""
