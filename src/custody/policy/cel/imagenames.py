"""Which images an ImageValidatingPolicy speaks of: where an object names them, and which of those are meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custody.errors import MalformedError
from custody.policy.cel.constraints import resource_asked
from custody.policy.cel.environment import Expressions
from custody.policy.cel.imageglob import image_glob
from custody.policy.fields import Fields
from custody.policy.images import image as named
from custody.policy.model import Request, Resource
from policylang.cel.compile.program import Program
from policylang.cel.kyverno import env
from policylang.cel.syntax.issues import CompileError
from policylang.cel.types import BOOL, DYN, STRING, list_of
from policylang.cel.values.errors import CelError
from policylang.errors import Shape

_HOLDERS = ("containers", "initContainers", "ephemeralContainers")
_PLACES = {Resource("pods"): ("spec",), Resource("cronjobs", "v1", "batch"): (
    "spec", "jobTemplate", "spec", "template", "spec"), Resource("jobs", "v1", "batch"): ("spec", "template", "spec"),
    **{Resource(name, "v1", "apps"): ("spec", "template", "spec")
       for name in ("deployments", "statefulsets", "daemonsets", "replicasets")}}
_LISTS = (list_of(STRING), list_of(DYN), DYN)
_KNOWN = 4096


class References:
    """`matchImageReferences`; without any, every image is meant."""

    def __init__(self, fields: Fields) -> None:
        """Raises MalformedError."""
        self._globs = []
        self._programs: list[Program] = []
        environment = None
        for entry in fields.each("matchImageReferences"):
            glob, expression = entry.take("glob", str) or "", entry.take("expression", str) or ""
            entry.done()
            if glob:
                self._globs.append(image_glob(glob, entry.path("glob")))
            elif expression:
                environment = environment or env("image")
                try:
                    checked = environment.check(expression)
                    if checked.result != BOOL:
                        raise MalformedError(entry.path("expression"), got=f"{expression!r}, which is {checked.result}",
                                             expected="an expression of type bool")
                    self._programs.append(environment.compile(checked))
                except CompileError as error:
                    raise MalformedError(entry.path("expression"), got=expression,
                                         expected=f"an expression of CEL: {error.brief}") from None
            else:
                raise MalformedError(entry.where, got="neither", expected="glob or expression")
        self._known: dict[str, bool] = {}

    def means(self, image: str) -> bool:
        """Under any of its spellings: what guards must not be spelled around. Raises CelError."""
        if not (self._globs or self._programs):
            return True
        known = self._known.get(image)
        if known is None:
            try:
                names = named(image).spellings
            except MalformedError:  # it may be any image
                names = frozenset({image})
            known = any(glob(name) for glob in self._globs for name in names) or any(
                program({"ref": name}) is True for program in self._programs for name in sorted(names))
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[image] = known
        return known


class ImagePlaces:
    """`images`: expressions by name, beside what pods and their controllers have."""

    def __init__(self, fields: Fields, expressions: Expressions) -> None:
        """Raises MalformedError."""
        self._programs: dict[str, Program] = {}
        for entry in fields.each("images"):
            name, text = entry.need("name", str), entry.need("expression", str)
            entry.done()
            self._programs[name] = expressions.program(text, entry.path("expression"), *_LISTS)

    def of(self, request: Request, values: dict[str, Any], *, json: bool) -> dict[str, list[str]]:
        """Images by category. Raises CelError for what cannot be read."""
        images: dict[str, list[str]] = {}
        place = None if json else _PLACES.get(resource_asked(request))
        if place is not None:
            images |= _standard(request.object or request.old_object or {}, place)
        for name, program in self._programs.items():
            listed = program(values)
            if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
                raise CelError(f"images.{name}: got {Shape(listed)}, expected a list of texts")
            images[name] = listed
        return images


def _standard(document: Mapping[str, Any], place: tuple[str, ...]) -> dict[str, list[str]]:
    spec: Any = document
    for step in place:
        spec = spec.get(step) if isinstance(spec, dict) else None
    if not isinstance(spec, dict):
        raise CelError(f"no such key: {place[-1]}")
    images: dict[str, list[str]] = {}
    for holder in _HOLDERS:
        listed = spec.get(holder)
        if listed is not None and not isinstance(listed, list):
            raise CelError(f"{holder}: got {Shape(listed)}, expected a list")
        images[holder] = []
        for container in listed or ():
            image = container.get("image") if isinstance(container, dict) else None
            if not isinstance(image, str):
                raise CelError("no such key: image")
            images[holder].append(image)
    return images
