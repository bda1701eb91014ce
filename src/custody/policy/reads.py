"""What rules read of a request: what two requests must have in common for the same verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Union

import msgspec
from msgspec import UNSET, Raw, UnsetType

from custody.policy.podfields import IMAGE_FIELDS, TEMPLATES
from policylang.conditions.reads import Part, UnboundedError

__all__ = ["Part", "Projection", "Reads"]

_DEEPEST = 40
_HOLDERS = sorted({pointer.rpartition("/")[0] for pointer in TEMPLATES.values()})


class Reads:
    """What some rules read together, beside a request's kind, operation, namespace and the answers to their questions.

    `object` stands for the object as it is and as it was.
    """

    def __init__(self) -> None:
        self.object = Part()
        self.name = False
        self.user = False
        self.wordy: set[tuple[str, str, str]] = set()
        """(kind, policy, rule) of rules that read more where they have something against an object: for their words."""

    def templates(self) -> Iterator[Part]:
        """The pod templates that an object may be or have, each a part with `metadata` and `spec`."""
        for pointer in _HOLDERS:
            yield self.object.at(*pointer.split("/")[1:])

    def images(self) -> None:
        """The names of images, and of what holds them."""
        for template in self.templates():
            for pointer in IMAGE_FIELDS:
                _, kind, _, *steps = pointer.split("/")
                template.at("spec", kind, "[]", "name").whole = True
                template.at("spec", kind, "[]", *steps).whole = True


class _Chosen:
    """The members of a map whose keys begin with one of the prefixes, and all keys where it is `keyed`."""

    prefixes: tuple[str, ...] = ()
    keyed = False

    def __init__(self, given: dict[str, Any]) -> None:
        self.keys = [*given] if self.keyed else []
        self.members = {key: member for key, member in given.items() if key.startswith(self.prefixes)}


_ENCODER = msgspec.json.Encoder(enc_hook=lambda chosen: [chosen.keys, chosen.members])


class Projection:
    """The part of an object's JSON that is read. Equal projections have equal parts, by `Part`'s terms."""

    def __init__(self, part: Part) -> None:
        """Raises UnboundedError where it is the whole object."""
        if part.whole or part.sized or part.keyed or part.prefixes or part.element is not None:
            raise UnboundedError
        self._decoder = msgspec.json.Decoder(_struct(part, 0) | None, dec_hook=_chosen)

    def __call__(self, document: Raw) -> bytes | None:
        """None where the object is of another shape than what reads it expects."""
        try:
            return _ENCODER.encode(self._decoder.decode(document))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None


def _type(part: Part, depth: int) -> Any:
    """A type that decodes what is read of a value, and refuses a value of a shape that the marks do not cover."""
    if part.whole or depth > _DEEPEST:
        return Raw
    if part.element is not None:
        if part.fields or part.prefixes or part.keyed:
            return Raw
        element: Any = _type(part.element, depth + 1)
        return Union[list[element], None]  # noqa: UP007 - types that are made here
    if part.prefixes or part.keyed:  # and with its keys it is known whether it has any
        if part.sized and not part.keyed:
            return Raw
        chosen = type("Chosen", (_Chosen,), {"prefixes": (*sorted(part.prefixes | part.fields.keys()),),
                                             "keyed": part.keyed})
        return Union[chosen, None]  # noqa: UP007
    if part.sized:
        return Raw
    return Union[_struct(part, depth), None] if part.fields or part.bare else Raw  # noqa: UP007


def _struct(part: Part, depth: int) -> Any:
    names = {f"f{at}": name for at, name in enumerate(part.fields)}
    if any(not name.isprintable() or '"' in name or "\\" in name for name in part.fields):
        return Raw
    return msgspec.defstruct("Read", [
        (attribute, Union[_type(part.fields[name], depth + 1), UnsetType], UNSET)  # noqa: UP007
        for attribute, name in names.items()], rename=names)


def _chosen(kind: type[_Chosen], value: Any) -> _Chosen:
    if not isinstance(value, dict):
        raise msgspec.ValidationError("expected a map")
    return kind(value)
