"""Dependencies are package URLs, whatever words a cataloger has for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from custody.sbom import dependencies
from custody.sbom.catalogers import Fact

PLACED = [
    (Fact(type="composer", name="monolog/monolog", version="2", requires=("php", "psr/log", "pkg:composer/a/b@1")),
     "vendor/composer/installed.json", "pkg:composer/monolog/monolog@2"),
    (Fact(type="composer", name="psr/log", version="1"), "vendor/composer/installed.json", "pkg:composer/psr/log@1")]


def test_cataloger_edges() -> None:
    """Names are looked up in the file that says them, and what is not in it is left out."""
    assert dependencies.resolve(PLACED) == {
        "pkg:composer/monolog/monolog@2": {"pkg:composer/psr/log@1", "pkg:composer/a/b@1"}}


def test_a_resolver_that_gives_bare_names_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(items: Sequence[dependencies.Placed]) -> Iterator[tuple[str, str]]:
        for fact, _, purl in items:
            for wanted in fact.requires:
                yield purl, wanted

    monkeypatch.setitem(dependencies.RESOLVERS, "file", bare)
    with pytest.raises(TypeError, match="dependencies of composer: got 'php' for pkg:composer/monolog/monolog@2"):
        dependencies.resolve(PLACED)
