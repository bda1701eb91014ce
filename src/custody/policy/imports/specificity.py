"""Which of Connaisseur's rules is about an image: of those whose pattern fits, the most specific one.

(connaisseur v3 internal/config and internal/policy.) A pattern is a glob that may begin and end anywhere. More parts
between slashes win; then, from the left, a part that has more letters in common with the image's; then a longer part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from custody.errors import MalformedError
from custody.formats.reference import DOCKER_HUB
from custody.policy.images import Image
from policylang.rego.builtins.patterns import glob
from policylang.rego.declare import BuiltinError

_KNOWN = 4096  # images, of which it is remembered which rule is about them


class Pattern(NamedTuple):
    """`text` as the rule has it."""

    text: str
    fits: Callable[[str], bool]

    @classmethod
    def compile(cls, text: str, where: str) -> Pattern:
        """Raises MalformedError for what is no glob."""
        whole = _folded(text)
        whole = whole if whole.startswith("*") else f"*{whole}"
        whole = whole if whole.endswith("*") else f"{whole}*"
        try:
            return cls(text, glob(whole))
        except BuiltinError as error:
            raise MalformedError(where, got=text, expected=f"a glob ({error})") from None

    def _rank(self, name: str) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        parts, named = self.text.split("/"), name.split("/")
        common = tuple(_common(part, named[at] if at < len(named) else "") for at, part in enumerate(parts))
        return len(parts), common, tuple(map(len, parts))


class Specificity:
    """Finds the rule for an image among patterns."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = patterns
        self._known: dict[str, int | None] = {}

    def of(self, image: Image) -> int | None:
        """The position of the most specific pattern, the later one of two that are alike; None where none fits."""
        name = full_name(image)
        if name in self._known:
            return self._known[name]
        best = max((at for at, pattern in enumerate(self._patterns) if pattern.fits(name)),
                   key=lambda at: (self._patterns[at]._rank(name), at), default=None)
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[name] = best
        return best


def full_name(image: Image) -> str:
    """As go-containerregistry names an image, whose Docker Hub is index.docker.io: with its tag and its digest."""
    host = "index.docker.io" if image.ref.registry == DOCKER_HUB else image.ref.registry
    tag = f":{image.ref.tag}" if image.ref.tag else ""
    return f"{host}/{image.ref.repository}{tag}{f'@{image.ref.digest}' if image.ref.digest else ''}"


def _common(part: str, named: str) -> int:
    """How many letters two texts begin with alike."""
    return next((at for at, (left, right) in enumerate(zip(part, named, strict=False)) if left != right),
                min(len(part), len(named)))


def _folded(pattern: str) -> str:
    """With its host in lower case."""
    host, slash, path = pattern.partition("/")
    if slash and ("." in host or ":" in host or host.lower() == "localhost"):
        return f"{host.lower()}/{path}"
    return pattern
