"""kyverno.image: `image("ghcr.io/org/app:v1").registry()` (go-containerregistry pkg/name, Docker Hub by default)."""

from __future__ import annotations

import re
from typing import ClassVar, NamedTuple

from policylang.cel.cost.units import CONSTANT
from policylang.cel.library import Function, Library, Overload, function
from policylang.cel.types import BOOL, STRING, Type, opaque
from policylang.cel.values.errors import CelError, without_error
from policylang.go.urls import UrlError, parse

IMAGE = opaque("kyverno.image")
HUB = "index.docker.io"
_TAG = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_REPOSITORY = re.compile(r"[a-z0-9_./-]{2,255}")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}")


class _Parts(NamedTuple):
    registry: str
    repository: str
    tag: str
    digest: str
    written: str


class Image(_Parts):
    """`tag` and `digest`: one of them is empty."""

    __slots__ = ()
    cel_type: ClassVar[Type] = IMAGE

    @property
    def identifier(self) -> str:
        return self.tag or self.digest

    def __str__(self) -> str:
        return self.written


def parse_image(text: str) -> Image:
    """CelError where it is no reference."""
    image = None if text.startswith(("http://", "https://")) else _tagged(text) or _pinned(text)
    if image is None:
        raise CelError(f"could not parse reference: {text}")
    return image


def _tagged(text: str) -> Image | None:
    base, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        base, tag = text, "latest"
    where = _repository(base) if _TAG.fullmatch(tag) else None
    return Image(*where, tag, "", text) if where else None


def _pinned(text: str) -> Image | None:
    base, at, digest = text.partition("@")
    if not at or not _DIGEST.fullmatch(digest):
        return None
    tagged = _tagged(base)
    where = (tagged.registry, tagged.repository) if tagged else _repository(base)
    return Image(*where, "", digest, text) if where else None


def _repository(text: str) -> tuple[str, str] | None:
    """Registry and repository."""
    registry, slash, rest = text.partition("/")
    if not slash or not ("." in registry or ":" in registry):
        registry, rest = "", text
    if not _REPOSITORY.fullmatch(rest):
        return None
    if registry:
        try:
            if parse(f"//{registry}").host != registry:
                return None
        except UrlError:
            return None
    registry = HUB if registry in ("", "docker.io") else registry
    return registry, f"library/{rest}" if registry == HUB and "/" not in rest else rest


def _part(name: str) -> Function:
    return function(name, Overload(f"image_{name}", (IMAGE,), STRING, lambda of: getattr(of, name), CONSTANT,
                                   member=True))


LIBRARY = Library("kyverno.image", types=(IMAGE,), functions=(
    function("image", Overload("string_to_image_deprecated", (STRING,), IMAGE, parse_image, CONSTANT)),
    function("parseImageReference", Overload("string_to_image", (STRING,), IMAGE, parse_image, CONSTANT)),
    function("isImage", Overload("is_image_string", (STRING,), BOOL, without_error(parse_image), CONSTANT)),
    function("containsDigest", Overload("image_contains_digest", (IMAGE,), BOOL, lambda of: bool(of.digest), CONSTANT,
                                        member=True)),
    *map(_part, ("registry", "repository", "identifier", "tag", "digest")),
))
