"""One request as rules see it: the variables of expressions, and the images that it brings into a pod."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.evidence.model import EvidenceSet
from custody.formats import reference
from custody.languages.variables import Roots, Unavailable
from custody.policy.model import Context, Request
from custody.policy.podfields import IMAGE_FIELDS

_REQUEST = ("object", "oldObject", "operation", "userInfo", "namespace", "name", "kind", "dryRun", "subResource")
ROOTS = Roots(("request", "serviceAccountName", "serviceAccountNamespace", "images"), _REQUEST)
"""Variables of rules."""
PREDICATE_ROOTS = Roots(None, _REQUEST)
"""Variables of conditions on attestations, where the predicate's own fields come beside those of rules."""
_FIELDS = [(kind, tuple(path)) for _, kind, _, *path in (field.split("/") for field in IMAGE_FIELDS)]


class Image(NamedTuple):
    """An image under its one name, the one that a node pulls it by, however the pod spells it."""

    written: str
    pointer: str
    holder: str
    """Name of the container or volume."""
    kind: str
    """`containers`, `initContainers`, `ephemeralContainers` or `volumes`."""
    ref: reference.Reference
    name: str
    """`registry/path:tag`, or `registry/path@digest` where it is named by its digest: the tag is not pulled then."""
    spellings: frozenset[str]
    """All names that mean this image: what patterns of rules that guard are compared with."""

    @property
    def digest(self) -> str:
        return self.ref.digest or ""

    def variables(self) -> dict[str, str]:
        """As Kyverno has them, with the canonical name; what the image's name does not have is left out."""
        ref = self.ref
        parts = {"registry": ref.registry, "path": ref.repository, "name": ref.repository.rpartition("/")[2],
                 "tag": ref.tag, "digest": ref.digest, "reference": self.name, "jsonPointer": self.pointer,
                 "referenceWithTag": f"{ref.name}:{ref.tag or ''}"}
        return {name: value for name, value in parts.items() if value is not None}


@lru_cache(4096)
def image(written: str, pointer: str = "", holder: str = "", kind: str = "containers") -> Image:
    """Raises MalformedError for what is no image name."""
    ref = reference.parse(written, pointer or "image")
    name = f"{ref.name}@{ref.digest}" if ref.digest else f"{ref.name}:{ref.tag}"
    return Image(written, pointer, holder, kind, ref, name, reference.spellings(ref) | {written})


class Input:
    """What a rule is evaluated on. `namespace` and the like are those of the request, also where an object lies."""

    def __init__(self, request: Request, context: Context, evidence: Mapping[str, EvidenceSet]) -> None:
        self.request = request
        self.context = context
        self.evidence = evidence
        self.judged: dict[Any, Any] = {}
        """Verdicts on images, so that an image in several containers is judged once."""

    @property
    def object(self) -> dict[str, Any] | None:
        """The object that is judged: the one that is being deleted for DELETE."""
        return self.request.old_object if self.request.operation == "DELETE" else self.request.object

    @cached_property
    def resource(self) -> str:
        return f"{self.request.kind.kind}/{self.request.namespace}/{self.request.name}"

    @cached_property
    def _named(self) -> tuple[list[Image], list[MalformedError]]:
        images: list[Image] = []
        unreadable: list[MalformedError] = []
        spec = (self.request.object or {}).get("spec")  # a deletion brings nothing into a pod
        if self.request.kind.kind == "Pod" and self.request.kind.group == "" and isinstance(spec, dict):
            for kind, path in _FIELDS:
                holders = spec.get(kind)
                for at, holder in enumerate(holders if isinstance(holders, list) else []):
                    written: Any = holder
                    for step in path:
                        written = written.get(step) if isinstance(written, dict) else None
                    if written is None or written == "":
                        continue  # a volume of another kind; a container that a controller will give its image
                    pointer = f"/spec/{kind}/{at}/{'/'.join(path)}"
                    try:
                        if not isinstance(written, str):
                            raise MalformedError(pointer, got=written, expected="the name of an image")
                        images.append(image(written, pointer, str(holder.get("name", "")), kind))
                    except MalformedError as error:
                        unreadable.append(error)
        return images, unreadable

    @property
    def images(self) -> list[Image]:
        """Of initContainers, containers, ephemeralContainers and image volumes, in this order."""
        return self._named[0]

    @property
    def unreadable(self) -> list[MalformedError]:
        """Names of images that cannot be read: whoever asks for all images must be told."""
        return self._named[1]

    @cached_property
    def variables(self) -> dict[str, Any]:
        request = self.request
        parts = request.user.username.split(":")
        account = parts[2:4] if parts[:2] == ["system", "serviceaccount"] and len(parts) == 4 else ["", ""]
        images: Any = {}
        if self.unreadable:
            images = Unavailable(f"the images of {self.resource}: {self.unreadable[0].message}")
        else:
            for one in self.images:
                images.setdefault(one.kind, {})[one.holder] = one.variables()
        # Empty texts and lists are left out, as Go leaves them out of the AdmissionRequest that Kyverno reads.
        user = {"username": request.user.username, "uid": request.user.uid, "groups": list(request.user.groups),
                "extra": request.user.extra}
        optional = {"namespace": request.namespace, "name": request.name, "subResource": request.subresource}
        fields = {
            "object": self.object, "oldObject": request.old_object, "operation": request.operation,
            "dryRun": request.dry_run, **{key: value for key, value in optional.items() if value},
            "kind": {"group": request.kind.group, "version": request.kind.version, "kind": request.kind.kind},
            "userInfo": {key: value for key, value in user.items() if value}}
        return {"request": fields, "images": images, "serviceAccountName": account[1],
                "serviceAccountNamespace": account[0]}
