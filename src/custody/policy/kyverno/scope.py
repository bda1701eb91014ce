"""One request as rules see it: the variables of expressions, and the images that it brings into a pod."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, TypeVar

from custody.errors import MalformedError
from custody.evidence.model import EvidenceSet
from custody.formats import reference
from custody.policy.model import Context, Request
from custody.policy.podfields import IMAGE_FIELDS
from policylang.variables import Roots, Unavailable

_REQUEST = ("object", "oldObject", "operation", "userInfo", "namespace", "name", "kind", "dryRun", "subResource")
ROOTS = Roots(("request", "serviceAccountName", "serviceAccountNamespace", "images"), _REQUEST)
"""Variables of rules."""
PREDICATE_ROOTS = Roots(None, _REQUEST)
"""Variables of conditions on attestations, where the predicate's own fields come beside those of rules."""
_FIELDS = [(kind, tuple(path)) for _, kind, _, *path in (field.split("/") for field in IMAGE_FIELDS)]


_SHAPES: dict[type, str] = {dict: "a map", list: "a list", str: "the name of an image"}
T = TypeVar("T")


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


def _part(value: Any, shape: type[T], where: str) -> T:
    """Raises MalformedError for what the API server would not have read as part of a pod."""
    if not isinstance(value, shape):
        raise MalformedError(where, got=value if isinstance(value, (str, int, float)) else type(value).__name__,
                             expected=_SHAPES[shape])
    return value


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
        """Of whatever calls itself a Pod, as Kyverno does; what is not of a pod's shape may hide an image."""
        images: list[Image] = []
        unreadable: list[MalformedError] = []
        if self.request.kind.kind != "Pod" or self.request.operation not in ("CREATE", "UPDATE"):
            return images, unreadable  # a deletion brings nothing into a pod
        try:
            spec = _part(self.request.object, dict, "object").get("spec")
            spec = {} if spec is None else _part(spec, dict, "/spec")
        except MalformedError as error:
            return images, [error]
        for kind, path in _FIELDS:
            try:
                holders = [] if spec.get(kind) is None else _part(spec[kind], list, f"/spec/{kind}")
            except MalformedError as error:
                unreadable.append(error)
                continue
            for at, holder in enumerate(holders):
                try:
                    pointer = f"/spec/{kind}/{at}"
                    written: Any = holder
                    for step in path:
                        written = None if written is None else _part(written, dict, pointer).get(step)
                        pointer += f"/{step}"
                    if written is None or written == "":
                        continue  # a volume of another kind; a container that a controller will give its image
                    images.append(image(_part(written, str, pointer), pointer, str(holder.get("name", "")), kind))
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
        # Empty texts and lists are left out, as Go leaves them out of the AdmissionRequest that Kyverno reads.
        user = {"username": request.user.username, "uid": request.user.uid, "groups": list(request.user.groups),
                "extra": request.user.extra}
        optional = {"namespace": request.namespace, "name": request.name, "subResource": request.subresource}
        fields = {
            "object": self.object, "oldObject": request.old_object, "operation": request.operation,
            "dryRun": request.dry_run, **{key: value for key, value in optional.items() if value},
            "kind": {"group": request.kind.group, "version": request.kind.version, "kind": request.kind.kind},
            "userInfo": {key: value for key, value in user.items() if value}}
        return {"request": fields, "images": self._images_by_holder(), "serviceAccountName": account[1],
                "serviceAccountNamespace": account[0]}

    def _images_by_holder(self) -> dict[str, dict[str, dict[str, str]]] | Unavailable:
        if self.unreadable:
            return Unavailable(f"the images of {self.resource}: {self.unreadable[0].message}")
        images: dict[str, dict[str, dict[str, str]]] = {}
        for one in self.images:
            if one.holder in images.setdefault(one.kind, {}):  # the later one would stand for both
                return Unavailable(f"the images of {self.resource}: /spec/{one.kind}: got the name {one.holder!r} "
                                   "twice, expected each name once")
            images[one.kind][one.holder] = one.variables()
        return images
