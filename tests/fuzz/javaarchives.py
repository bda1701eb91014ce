"""`python -m tests.fuzz.javaarchives COUNT [SEED]`: generated archives of Java, read by custody and by syft, and the
same with bytes changed, read by custody.

Prints each difference to syft that no rule of the Java section of docs/compatibility-packages.md explains, each error
that is none of a hostile file, and what takes longer than a second.
"""

from __future__ import annotations

import io
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from custody.sbom.catalogers import read
from tests.apiserver import AbsentError, program
from tests.contents.jars import jar, project, properties
from tests.contents.test_java_peers import ours, rule, syfts

_WORDS = ("core", "api", "log4j", "spring", "netty", "commons", "shop", "util", "web", "client", "x2", "jdk15on")
_GROUPS = ("org.example", "com.acme.shop", "io.netty", "commons-io", "org.apache.commons", "net.sf.a-b")
_VERSIONS = ("1", "1.0", "2.14.1", "4.1.96.Final", "32.1.3-jre", "1.0-SNAPSHOT", "3.7.0-M11", "1.2.3-rc1",
             "r09", "20040616")
_SECOND = 1.0


class Generator:
    """Archives that are the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def archive(self, depth: int = 0) -> tuple[str, bytes]:
        """A name without a folder, and an archive."""
        dice = self._dice
        group, name, version = self._coordinates()
        members: dict[str, bytes | str] = {}
        if dice.random() < 0.6:
            members |= properties(group, name, version)
        if dice.random() < 0.4:
            members |= project(group, name, dice.choice((version, "${revision}")))
        for _ in range(dice.choice((0, 0, 0, 1, 3))):
            other = self._coordinates()
            members |= properties(*other) if dice.random() < 0.7 else project(*other)
        for _ in range(dice.choice((0, 0, 2, 4)) if depth < 3 else 0):
            base, content = self.archive(depth + 1)
            members[dice.choice(("lib/", "WEB-INF/lib/", "BOOT-INF/lib/", "")) + base] = content
        manifest = self._manifest(group, name, version) if dice.random() < 0.8 else None
        base = dice.choice((f"{name}-{version}", f"{name}-{version}", name, f"{group}.{name}-{version}",
                            dice.choice(_WORDS)))
        return f"{base}.{dice.choice(('jar', 'jar', 'war', 'ear'))}", jar(
            members, manifest=manifest, packed=dice.random() < 0.7, classes=dice.choice(("org/example/", "a/b/c/", "")))

    def changed(self, content: bytes) -> bytes:
        """With some bytes that are others, and an end that may be missing."""
        dice, whole = self._dice, bytearray(content)
        for _ in range(dice.randrange(1, 9)):
            place = dice.randrange(len(whole)) if dice.random() < 0.5 else max(0, len(whole) - dice.randrange(1, 200))
            whole[place] = dice.randrange(256)
        return bytes(whole[:dice.randrange(len(whole))] if dice.random() < 0.2 else whole)

    def _coordinates(self) -> tuple[str, str, str]:
        dice = self._dice
        name = "-".join(dice.sample(_WORDS, dice.randrange(1, 4)))
        return dice.choice(_GROUPS), name, dice.choice(_VERSIONS)

    def _manifest(self, group: str, name: str, version: str) -> dict[str, str]:
        pairs = {"Bundle-SymbolicName": f"{group}.{name}", "Implementation-Title": name, "Bundle-Version": "9.9.9",
                 "Implementation-Version": version, "Implementation-Vendor-Id": group, "Implementation-Vendor": "Acme",
                 "Automatic-Module-Name": group, "Specification-Version": "0.1", "Main-Class": f"{group}.Main"}
        return {key: value for key, value in pairs.items() if self._dice.random() < 0.3}


def against_syft(count: int, seed: int) -> Iterator[str]:
    generator = Generator(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        for place in range(count):
            base, content = generator.archive()
            archive = root / f"{place}" / base
            archive.parent.mkdir(parents=True)
            archive.write_bytes(content)
        mine, theirs = ours(root), syfts(root)
        for side, left, right in (("custody", mine, theirs), ("peer", theirs, mine)):
            for package in sorted(left.packages - right.packages):
                if rule(package, left, right, "syft", side) is None:
                    yield f"only {side}: {package} in {sorted(left.archives[package])[:3]}"


def changed(count: int, seed: int) -> Iterator[str]:
    generator = Generator(seed)
    for place in range(count):
        base, content = generator.archive()
        content = generator.changed(content)
        before = time.monotonic()
        try:
            read("Java archive", base, io.BytesIO(content))
        except Exception as error:
            yield f"archive {place}: {type(error).__name__}: {error}"
        if (took := time.monotonic() - before) > _SECOND:
            yield f"archive {place}: {took:.1f} s"


def main(argv: list[str]) -> int:
    count, seed = int(argv[0]), int(argv[1]) if len(argv) > 1 else random.SystemRandom().randrange(10**9)
    found = 0
    runs = [changed(count, seed)]
    try:
        program("syft")
    except AbsentError as absent:
        print(f"{absent}: its archives are not compared")
    else:
        runs.append(against_syft(count, seed))
    for differences in runs:
        for difference in differences:
            found += 1
            print(difference)
    print(f"{count} archives, seed {seed}: {found} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
