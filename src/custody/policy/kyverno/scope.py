"""One request as rules see it: the variables of expressions, and the images of a pod."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.evidence.model import EvidenceSet
from custody.formats import reference
from custody.languages.variables import Roots
from custody.policy.model import Context, Request

_REQUEST = ("object", "oldObject", "operation", "userInfo", "namespace", "name", "kind", "dryRun", "subResource")
ROOTS = Roots(("request", "serviceAccountName", "serviceAccountNamespace", "images"), _REQUEST)
"""Variables of rules."""
PREDICATE_ROOTS = Roots(None, _REQUEST)
"""Variables of conditions on attestations, where the predicate's own fields come beside those of rules."""
CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


class Image(NamedTuple):
    """One container's image as Kyverno takes it apart: `docker.io` by default, and no `library/` is added."""

    written: str
    pointer: str
    container: str
    kind: str
    registry: str
    path: str
    tag: str
    digest: str
    name: str
    """What imageReferences are compared with: `registry/path:tag`, or `registry/path@digest` once it is pinned."""

    def variables(self) -> dict[str, str]:
        return {"registry": self.registry, "path": self.path, "name": self.path.rpartition("/")[2], "tag": self.tag,
                "digest": self.digest, "reference": self.name, "jsonPointer": self.pointer,
                "referenceWithTag": f"{self.registry}/{self.path}:{self.tag}"}


@lru_cache(4096)
def image(written: str, pointer: str = "", container: str = "", kind: str = "containers") -> Image:
    """Raises MalformedError for what is no image name."""
    reference.parse(written, pointer or "image")
    head, slash, _ = written.partition("/")
    default = not slash or (not set(".:") & set(head) and head != "localhost" and head == head.lower())
    rest, _, digest = (f"docker.io/{written}" if default else written).partition("@")
    registry, _, path = rest.partition("/")
    path, colon, tag = path.partition(":")
    tag = tag if colon else "" if digest else "latest"
    name = f"{registry}/{path}" + (f"@{digest}" if digest else f":{tag}")
    return Image(written, pointer, container, kind, registry, path, tag, digest, name)


class Input:
    """What a rule is evaluated on. `namespace` and the like are those of the request, also where an object lies."""

    def __init__(self, request: Request, context: Context, evidence: Mapping[str, EvidenceSet]) -> None:
        self.request = request
        self.context = context
        self.evidence = evidence

    @property
    def object(self) -> dict[str, Any] | None:
        """The object that is judged: the one that is being deleted for DELETE."""
        return self.request.old_object if self.request.operation == "DELETE" else self.request.object

    @cached_property
    def resource(self) -> str:
        return f"{self.request.kind.kind}/{self.request.namespace}/{self.request.name}"

    @cached_property
    def images(self) -> list[Image]:
        """In the order initContainers, containers, ephemeralContainers. Raises MalformedError."""
        spec = (self.object or {}).get("spec")
        if self.request.kind.kind != "Pod" or not isinstance(spec, dict):
            return []
        found = []
        for kind in CONTAINERS:
            containers = spec.get(kind)
            for at, container in enumerate(containers if isinstance(containers, list) else []):
                written = container.get("image") if isinstance(container, dict) else None
                if isinstance(written, str) and written.strip():
                    found.append(image(written, f"/spec/{kind}/{at}/image", str(container.get("name", "")), kind))
        return found

    @cached_property
    def variables(self) -> dict[str, Any]:
        request = self.request
        parts = request.user.username.split(":")
        account = parts[2:4] if parts[:2] == ["system", "serviceaccount"] and len(parts) == 4 else ["", ""]
        by_kind: dict[str, dict[str, dict[str, str]]] = {}
        try:
            for one in self.images:
                by_kind.setdefault(one.kind, {})[one.container] = one.variables()
        except MalformedError:
            by_kind = {}
        # Empty texts and lists are left out, as Go leaves them out of the AdmissionRequest that Kyverno reads.
        user = {"username": request.user.username, "uid": request.user.uid, "groups": list(request.user.groups),
                "extra": request.user.extra}
        optional = {"namespace": request.namespace, "name": request.name, "subResource": request.subresource}
        fields = {
            "object": self.object, "oldObject": request.old_object, "operation": request.operation,
            "dryRun": request.dry_run, **{key: value for key, value in optional.items() if value},
            "kind": {"group": request.kind.group, "version": request.kind.version, "kind": request.kind.kind},
            "userInfo": {key: value for key, value in user.items() if value}}
        return {"request": fields, "images": by_kind, "serviceAccountName": account[1],
                "serviceAccountNamespace": account[0]}
