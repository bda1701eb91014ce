"""The API server as tests ask it: any object by its apiVersion and kind, and errors with the API server's words."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from tests.admission.load import ApiServer

Object = dict[str, Any]
_MERGE = "application/merge-patch+json"


class RefusedError(Exception):
    """What the API server answered instead: `status` and the message, as client-go prints it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Resource:
    """Of discovery: how objects of a kind are asked for."""

    def __init__(self, api_version: str, plural: str, namespaced: bool) -> None:
        self.root = f"/{'apis' if '/' in api_version else 'api'}/{api_version}"
        self.plural, self.namespaced = plural, namespaced

    def path(self, namespace: str, name: str = "") -> str:
        """All namespaces where none is given."""
        within = f"/namespaces/{quote(namespace)}" if self.namespaced and namespace else ""
        return f"{self.root}{within}/{self.plural}" + (f"/{quote(name)}" if name else "")


class Api:
    """One kubeconfig's view; a connection for each thread."""

    def __init__(self, kubeconfig: Path) -> None:
        self._server = ApiServer(kubeconfig)
        self._local = threading.local()
        self._resources: dict[tuple[str, str], Resource] = {}

    def ask(self, method: str, path: str, body: Any = None, *, content: str = "application/json") -> Any:
        """The decoded answer. Raises RefusedError."""
        sent = None if body is None else json.dumps(body)
        for attempt in (1, 2):
            connection = getattr(self._local, "connection", None) or self._server.connect()
            self._local.connection = connection
            try:
                connection.request(method, path, sent, {"Content-Type": content, "Accept": "application/json"})
                response = connection.getresponse()
                text = response.read()
                break
            except (OSError, http.client.HTTPException, ssl.SSLError) as error:
                connection.close()
                self._local.connection = None
                if attempt == 2:
                    raise RefusedError(0, repr(error)) from None
        try:
            answer = json.loads(text)
        except ValueError:
            answer = {"message": text.decode(errors="replace").strip()}
        if response.status >= 300:
            raise RefusedError(response.status, str(answer.get("message", "")))
        return answer

    def resource(self, api_version: str, kind: str) -> Resource:
        """Raises RefusedError where the API server serves no such kind."""
        known = self._resources.get((api_version, kind))
        if known is None:
            root = f"/{'apis' if '/' in api_version else 'api'}/{api_version}"
            for served in self.ask("GET", root).get("resources", []):
                if served["kind"] == kind and "/" not in served["name"]:
                    known = Resource(api_version, served["name"], served["namespaced"])
                    self._resources[api_version, kind] = known
                    break
            else:
                raise RefusedError(404, f'no matches for kind "{kind}" in version "{api_version}"')
        return known

    def _of(self, document: Object) -> tuple[Resource, str, str]:
        metadata = document.get("metadata") or {}
        return (self.resource(str(document.get("apiVersion")), str(document.get("kind"))),
                str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))

    def get(self, document: Object) -> Object:
        resource, namespace, name = self._of(document)
        answer: Object = self.ask("GET", resource.path(namespace, name))
        return answer

    def candidates(self, document: Object) -> list[Object]:
        """The object that is named; without a name all of its kind, with its labels. Empty where there is none."""
        resource, namespace, name = self._of(document)
        labels = (document.get("metadata") or {}).get("labels")
        typed = {"apiVersion": document["apiVersion"], "kind": document["kind"]}
        try:
            if name:
                return [self.ask("GET", resource.path(namespace, name))]
            path = resource.path(namespace)
            if isinstance(labels, dict) and all(isinstance(value, str) and "(" not in value
                                                for value in labels.values()):
                path += "?" + urlencode({"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())})
            return [typed | item for item in self.ask("GET", path).get("items") or []]
        except RefusedError as error:
            if error.status == 404:
                return []
            raise

    def create(self, document: Object) -> Object:
        resource, namespace, _ = self._of(document)
        answer: Object = self.ask("POST", resource.path(namespace), document)
        return answer

    def merge(self, document: Object, subresource: str = "") -> Object:
        """A merge patch of an object that is there."""
        resource, namespace, name = self._of(document)
        path = resource.path(namespace, name) + (f"/{subresource}" if subresource else "")
        answer: Object = self.ask("PATCH", path, document, content=_MERGE)
        return answer

    def replace(self, document: Object, subresource: str = "") -> Object:
        resource, namespace, name = self._of(document)
        path = resource.path(namespace, name) + (f"/{subresource}" if subresource else "")
        answer: Object = self.ask("PUT", path, document)
        return answer

    def delete(self, document: Object, propagation: str = "Background") -> None:
        resource, namespace, name = self._of(document)
        self.ask("DELETE", resource.path(namespace, name), {"propagationPolicy": propagation})
