"""The images that a pod names, each under the one name that a node pulls it by."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from custody.errors import MalformedError
from custody.formats import reference
from custody.policy.podfields import IMAGE_FIELDS
from policylang.errors import Shape

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


@lru_cache(4096)
def image(written: str, pointer: str = "", holder: str = "", kind: str = "containers") -> Image:
    """Raises MalformedError for what is no image name."""
    ref = reference.parse(written, pointer or "image")
    name = f"{ref.name}@{ref.digest}" if ref.digest else f"{ref.name}:{ref.tag}"
    return Image(written, pointer, holder, kind, ref, name, reference.spellings(ref) | {written})


def images_of(document: Any, template: str = "/spec") -> tuple[list[Image], list[MalformedError]]:
    """Of initContainers, containers, ephemeralContainers and image volumes, in this order; and why some are not there.

    `template` is the JSON Pointer of the PodSpec. What is not of a pod's shape may hide an image.
    """
    images: list[Image] = []
    unreadable: list[MalformedError] = []
    try:
        where, spec = "", _part(document, dict, "object")
        for step in template.split("/")[1:]:
            where += f"/{step}"
            inner = spec.get(step)
            spec = {} if inner is None else _part(inner, dict, where)
    except MalformedError as error:
        return images, [error]
    for kind, path in _FIELDS:
        try:
            holders = [] if spec.get(kind) is None else _part(spec[kind], list, f"{template}/{kind}")
        except MalformedError as error:
            unreadable.append(error)
            continue
        for at, holder in enumerate(holders):
            try:
                pointer = f"{template}/{kind}/{at}"
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


def _part(value: Any, shape: type[T], where: str) -> T:
    """Raises MalformedError for what the API server would not have read as part of a pod."""
    if not isinstance(value, shape):
        raise MalformedError(where, got=value if isinstance(value, (str, int, float)) else Shape(value),
                             expected=_SHAPES[shape])
    return value
