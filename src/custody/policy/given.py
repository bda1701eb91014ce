"""One request as rules see it, with all that is known: the images that it brings into a pod, evidence and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from custody.errors import MalformedError
from custody.evidence.model import EvidenceSet
from custody.formats import jsonpatch
from custody.policy.images import Image, image, images_of
from custody.policy.lookup import Answers
from custody.policy.model import Context, Request
from custody.policy.podfields import HOLDERS
from policylang.errors import Shape

if TYPE_CHECKING:
    from custody.policy.exceptions import PolicyException


class Given:
    """What a rule is evaluated on. `namespace` and the like are those of the request, also where an object lies."""

    def __init__(self, request: Request, context: Context, evidence: Mapping[str, EvidenceSet], answers: Answers, *,
                 changes: bool = False) -> None:
        """`evidence` is by the images' canonical names. `changes`: what rules patch will be applied."""
        self.request = request
        self.context = context
        self.evidence = evidence
        self.answers = answers
        self.changes = changes
        self.memo: dict[Any, Any] = {}
        """What engines keep for this request: variables, and verdicts on images that are named several times."""
        self.before: Given | None = None
        """The request as it was before a patch."""
        self.exceptions: Sequence[PolicyException] = ()
        """Those that hold for the rule that is asked and leave to it what is excepted: controls, images, values."""

    def changed(self, patch: Sequence[Mapping[str, Any]]) -> Given:
        """The same request after a patch of its object. Raises MalformedError for a patch that does not fit."""
        patched = jsonpatch.apply(self.request.object, patch)
        if not isinstance(patched, dict):
            raise MalformedError("patch", got=Shape(patched), expected="one that leaves an object")
        request = msgspec.structs.replace(self.request, object=patched)
        after = Given(request, self.context, self.evidence, self.answers, changes=self.changes)
        after.before = self
        return after

    def renames(self, patch: Sequence[Mapping[str, Any]]) -> bool:
        """Whether all that a patch does is to give images, where there are some by now, other names."""
        pointers = {named.pointer for named in self.images}
        return all(operation.get("op") == "replace" and operation.get("path") in pointers
                   and isinstance(operation.get("value"), str) for operation in patch)

    @property
    def object(self) -> dict[str, Any] | None:
        """The object that is judged: the one that is being deleted for DELETE."""
        return self.request.old_object if self.request.operation == "DELETE" else self.request.object

    @cached_property
    def resource(self) -> str:
        return f"{self.request.kind.kind}/{self.request.namespace}/{self.request.name}"

    @cached_property
    def _named(self) -> tuple[list[Image], list[MalformedError]]:
        """Of whatever calls itself a Pod, or a controller of pods, as Kyverno does."""
        pointer = HOLDERS.get(self.request.kind.kind)
        if pointer is None or self.request.operation not in ("CREATE", "UPDATE"):
            return [], []  # a deletion brings nothing into a pod
        return images_of(self.request.object, pointer)

    @property
    def images(self) -> list[Image]:
        return self._named[0]

    @property
    def unreadable(self) -> list[MalformedError]:
        """Names of images that cannot be read: whoever asks for all images must be told."""
        return self._named[1]

    def evidence_of(self, named: Image) -> EvidenceSet | None:
        """What is known of an image; None where nothing was gathered, which is then asked for.

        It is known of a digest in a repository, under whatever name the image was gathered: a patch that pins, moves or
        copies an image does not take it away.
        """
        gathered = self.evidence.get(named.name)
        if gathered is None and named.digest:
            alike = [name for name, about in self.evidence.items()
                     if about.subject == named.digest and image(name).ref.name == named.ref.name]
            gathered = self.evidence[min(alike)] if alike else None  # the same one, in whatever order they came
        if gathered is None:
            self.answers.images[named.name] = None
        return gathered
