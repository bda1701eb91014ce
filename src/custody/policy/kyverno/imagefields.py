"""Where an object names images: as pods and what makes pods do, or as a rule's `imageExtractors` say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.formats.jsonpatch import escaped
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.images import Image, image
from policylang.errors import LanguageError, Shape
from policylang.jmespath import Env, Program, QueryError
from policylang.jmespath import compile as compile_query

Named = tuple[list[Image], list[MalformedError]]
"""Images, and why some names are none."""
_MOST = 4096  # images of one object


class _Extractor(NamedTuple):
    steps: tuple[str, ...]
    value: str
    key: str
    name: str
    query: Program | None


class ImageFields:
    """Of one rule: `imageExtractors`, by kind."""

    def __init__(self, extractors: Mapping[str, list[_Extractor]]) -> None:
        self._extractors = extractors

    @property
    def queries(self) -> bool:
        """Whether a name may be a part of what the object says, which a digest cannot be written into."""
        return any(extractor.query is not None for listed in self._extractors.values() for extractor in listed)

    def of(self, given: Given) -> Named:
        """Of an object that is created or updated; nothing of one that is deleted."""
        request = given.request
        if request.operation == "DELETE" or request.object is None:
            return [], []
        kind = request.kind.kind
        if kind not in self._extractors:
            return given.images, given.unreadable
        known: Named | None = given.memo.get((ImageFields, self, kind))
        if known is None:
            known = given.memo[ImageFields, self, kind] = self._extracted(request.object, kind, Env(given.context.now))
        return known

    def _extracted(self, document: dict[str, Any], kind: str, env: Env) -> Named:
        images: list[Image] = []
        unreadable: list[MalformedError] = []
        for extractor in self._extractors[kind]:
            try:
                for named in _walk(document, extractor.steps, "", extractor, env):
                    images.append(named)
                    if len(images) > _MOST:
                        raise MalformedError(extractor.name, got=f"more than {_MOST} images", expected="fewer")
            except MalformedError as error:
                unreadable.append(error)
        return images, unreadable


def compile_extractors(fields: Fields) -> ImageFields:
    """Of a rule. Raises MalformedError, UnsupportedError."""
    written, where = fields.take("imageExtractors", dict) or {}, fields.path("imageExtractors")
    return ImageFields({kind: [_extractor(entry) for entry in Fields(written, where).each(kind)] for kind in written})


def _extractor(fields: Fields) -> _Extractor:
    path, value = fields.need("path", str), fields.take("value", str) or ""
    name, key, query = (fields.take(part, str) or "" for part in ("name", "key", "jmesPath"))
    steps = [step.strip(" ") for step in path.split("/") if step.strip(" ")]
    if not steps:
        raise MalformedError(fields.path("path"), got=path, expected="/spec/steps/*/image")
    if not value:
        value = steps.pop()
    fields.done()
    return _Extractor(tuple(steps), value, key, name or "custom",
                      _query(query, fields.path("jmesPath")) if query else None)


def _query(text: str, where: str) -> Program:
    try:
        return compile_query(text)
    except LanguageError as error:
        raise MalformedError(where, got=text, expected=f"a JMESPath expression ({error.message})") from None


def _walk(part: Any, steps: tuple[str, ...], pointer: str, extractor: _Extractor, env: Env) -> Iterator[Image]:
    if part is None:
        return
    if steps and steps[0] == "*" and isinstance(part, (list, dict)):
        entries = enumerate(part) if isinstance(part, list) else part.items()
        for at, entry in entries:
            if isinstance(entry, dict):
                yield from _walk(entry, steps[1:], f"{pointer}/{escaped(str(at))}", extractor, env)
            elif isinstance(entry, list):  # in a list, a list inside is gone into by the same step
                inner = steps if isinstance(part, list) else steps[1:]
                yield from _walk(entry, inner, f"{pointer}/{escaped(str(at))}", extractor, env)
        return
    if not isinstance(part, dict):
        raise MalformedError(pointer or "/", got=Shape(part), expected="a map (invalid image config)")
    if steps:
        yield from _walk(part.get(steps[0]), steps[1:], f"{pointer}/{escaped(steps[0])}", extractor, env)
        return
    where = f"{pointer}/{escaped(extractor.value)}"
    holder: Any = where
    if extractor.key:
        holder = part.get(extractor.key)
        if not isinstance(holder, str):
            raise MalformedError(f"{pointer}/{extractor.key}", got=Shape(holder), expected="text (invalid key)")
    written = part.get(extractor.value)
    if not isinstance(written, str) or not written.strip():
        return
    if extractor.query is not None:
        try:
            name = extractor.query(written, env)
        except QueryError as error:
            raise MalformedError(where, got=written, expected=f"what jmesPath can read ({error.message})") from None
        if not isinstance(name, str):
            raise MalformedError(where, got=Shape(name), expected="text, of jmesPath")
        written = name
    yield image(written, where, holder, extractor.name)
