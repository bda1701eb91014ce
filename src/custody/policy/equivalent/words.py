"""What policies speak of, whatever language they are in: names of fields, and values with those beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from custody.policy.migrate.samples import Vocabulary
from custody.policy.migrate.vocabulary import example_of

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED = re.compile(r"'((?:[^'\\\n]|\\.)*)'|\"((?:[^\"\\\n]|\\.)*)\"|`([^`]*)`")
_NUMBER = re.compile(r"(?<![A-Za-z0-9_.])-?[0-9]+(?:\.[0-9]+)?(?![A-Za-z0-9_])")
_QUANTITY = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)(m|[kMGTPE]i?|h|s|)\Z")
_NO_IMAGE = re.compile(r"[\s'\"(){}]")
_CODE = re.compile(r"[\s(){}=]")
_LABEL = re.compile(r"(?:[a-z0-9.-]{1,100}/)?[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_LONGEST, _MOST, _LABELS = 200, 600, 100
_OF_NAMESPACES, _HOMES = ("namespaces", "excludedNamespaces", "namespace"), 50
_ASIDE = ("message", "messageExpression", "description", "title")
_USUAL = ("x", "", "default", "kube-system")


class Words:
    """`names`: of fields, in any text or key. `texts` and `numbers`: values that may make a difference."""

    def __init__(self, documents: Iterable[Any]) -> None:
        self.names: set[str] = set()
        self._texts: dict[str, None] = {}
        self._whole: dict[str, None] = {}
        self._numbers: dict[int, None] = {}
        self.labels: dict[str, list[str]] = {}
        """Keys of labels and annotations, and values that are written beside them."""
        self._homes: dict[str, None] = {}
        for document in documents:
            self._read(document, "")
        for text in _USUAL:
            self._texts.setdefault(text)
        for number in (0, 1, 1000):
            self._numbers.setdefault(number)
        self.texts, self.numbers = [*self._texts], [*self._numbers]
        self.values = [text for text in self._whole if text in self._texts] or self.texts
        """Texts that are written as values, without those beside them: a policy that passes few is met by them."""
        self.images = [text for text in self.texts if text and not _NO_IMAGE.search(text)]

    @property
    def homes(self) -> list[str]:
        """Namespaces, where policies say which they are about: of a pattern, one that it matches."""
        return [*self._homes]

    def _read(self, value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                text = str(key)
                self.names.update(_NAME.findall(text))
                if "/" in text or "." in text or name in ("labels", "matchLabels", "annotations", "selector"):
                    self.labels.setdefault(_filled(text), []).extend(
                        [_filled(inner)] if isinstance(inner, str) and len(inner) < _LONGEST else [])
                    self._text(text)
                if text == "key" and isinstance(inner, str) and _LABEL.fullmatch(inner):
                    values = value.get("values")
                    self.labels.setdefault(inner, []).extend(
                        [label for label in values if isinstance(label, str)] if isinstance(values, list) else [])
                if text in _OF_NAMESPACES:
                    self._home(inner)
                if text == "parameters":  # of a constraint, which may name what its template asks for
                    for leaf in _texts(inner):
                        if len(self.labels) < _LABELS and _LABEL.fullmatch(leaf):
                            self.labels.setdefault(leaf, [])
                if text not in _ASIDE:
                    self._read(inner, text)
        elif isinstance(value, list):
            for inner in value:
                self._read(inner, name)
        elif isinstance(value, bool):
            return
        elif isinstance(value, int):
            self._number(value)
        elif isinstance(value, float):
            self._number(int(value))
        elif isinstance(value, str):
            self.names.update(_NAME.findall(value))
            if len(value) <= _LONGEST:
                self._text(value)
                if not _CODE.search(value):
                    self._whole.setdefault(value)
            self._expressions(value)

    def _home(self, value: Any) -> None:
        for pattern in value if isinstance(value, list) else [value]:
            home = pattern.replace("*", "a").replace("?", "a") if isinstance(pattern, str) else ""
            if len(self._homes) < _HOMES and 0 < len(home) <= 63 and (
                    home.replace("-", "a").isalnum() and home.islower()):
                self._homes.setdefault(home)

    def _expressions(self, text: str) -> None:
        for match in _QUOTED.finditer(text):
            quoted = next(part for part in match.groups() if part is not None)
            self._text(quoted)
            self._whole.setdefault(quoted)
            if quoted and len(self.labels) < _LABELS and _LABEL.fullmatch(quoted):
                self.labels.setdefault(quoted, [])
        for number in _NUMBER.findall(text):
            self._number(int(float(number)))

    def _text(self, text: str) -> None:
        if len(self._texts) > _MOST or len(text) > _LONGEST:
            return
        made = [text, *re.split(r"\s*[|&]\s*", text)] if re.search(r"[|&]", text) else [text]
        for part in made:
            bare = part.strip().lstrip("!<>= ")
            for filled in (_filled(bare), bare.replace("*", "").replace("?", "q"), f"{bare}z", f"z{bare}", bare):
                if "\n" not in filled:
                    self._texts.setdefault(filled)
            if (match := _QUANTITY.match(bare)) is not None:
                number = int(float(match[1]))
                self._number(number)
                for beside in (number - 1, number, number + 1):
                    if match[2]:
                        self._texts.setdefault(f"{beside}{match[2]}")
        if re.search(r"[\\\[^$+(]|\.\*", text) and (example := example_of(text)) is not None:
            self._texts.setdefault(example)

    def _number(self, number: int) -> None:
        if len(self._numbers) < _MOST:
            for beside in (number - 1, number, number + 1):
                self._numbers.setdefault(beside)


def _filled(text: str) -> str:
    return text.replace("*", "z").replace("?", "q")


def paths(documents: Iterable[Any]) -> dict[str, Any]:
    """Fields that texts in CEL and Rego, and rules of Kyverno, name of objects."""
    vocabulary = Vocabulary()
    for document in documents:
        spec = document.get("spec") if isinstance(document, dict) else None
        for rule in (spec.get("rules") or []) if isinstance(spec, dict) else []:
            if isinstance(rule, Mapping):
                vocabulary.policy(rule)
        for text in _texts(document):
            if "object" in text.lower():
                vocabulary.cel(text.replace("variables.anyObject", "object").replace(
                    "input.review.object", "object").replace("input.review.oldObject", "object").replace("[_]", "[0]"))
    return {name: below for name, below in vocabulary.tree.items() if name not in ("apiVersion", "kind")}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value
