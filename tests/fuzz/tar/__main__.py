"""`python -m tests.fuzz.tar HEADERS [SEED]`: archives as custody reads them and as Go's archive/tar does.

They agree where the same entries come, with the same bytes, or both refuse at the same entry; what custody alone
refuses has one of the few reasons below. Prints each archive on which they differ, as base 64.
"""

from __future__ import annotations

import base64
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path
from typing import IO

from custody.errors import MalformedError
from custody.formats.tar.source import Source
from custody.formats.tar.walk import walk
from custody.sbom.limits import Limits
from tests.fuzz.tar.generate import Generator

_READABLE = 1 << 20
OURS = ("a name that leaves the image's tree", "NUL in a name", "a type that runtimes unpack",
        "no names or sizes for all", "a name of ")
"""What is refused though Go reads it: `custody.formats.tar.walk.walk` says why."""


def build(folder: Path) -> Path:
    program = folder / "list"
    subprocess.run(["go", "build", "-o", program, Path(__file__).with_name("list.go")], check=True)
    return program


def custody(data: bytes) -> tuple[list[str], str]:
    """The entries as `list.go` writes them, and the error that ended them."""
    lines: list[str] = []
    try:
        for entry in walk(Source([data], "archive"), Limits()):
            total = 0
            if entry.size <= _READABLE:
                for piece in entry.pieces():
                    total = zlib.crc32(piece, total)
            lines.append(f"{entry.type:02x} {entry.name.hex()} {entry.link.hex()} {entry.size} {total:08x}")
    except MalformedError as error:
        return lines, str(error)
    return lines, ""


def go(data: bytes, stdin: IO[bytes], stdout: IO[bytes]) -> tuple[list[str], str]:
    stdin.write(struct.pack(">I", len(data)) + data)
    stdin.flush()
    lines: list[str] = []
    while line := stdout.readline().decode().rstrip("\n"):
        lines.append(line)
    return lines[:-1], lines[-1].removeprefix("end")


def difference(ours: tuple[list[str], str], theirs: tuple[list[str], str]) -> str:
    """The reason that only custody has, `""` where both say the same, `differ` else."""
    if any(reason in ours[1] for reason in OURS) and ours[0] == theirs[0][:len(ours[0])]:
        return next(reason for reason in OURS if reason in ours[1])
    return "" if ours[0] == theirs[0] and bool(ours[1]) == bool(theirs[1]) else "differ"


def main() -> int:
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    if shutil.which("go") is None:
        print("tests.fuzz.tar: go is not installed")
        return 0
    generator = Generator(seed)
    reasons: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([build(Path(folder))], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        while generator.headers < count:
            data = generator.archive()
            ours, theirs = custody(data), go(data, process.stdin, process.stdout)
            reason = difference(ours, theirs)
            reasons["both refuse" if not reason and ours[1] else reason or "the same entries"] += 1
            if reason == "differ":
                print(base64.b64encode(zlib.compress(data)).decode(), f"custody {ours}", f"go      {theirs}", sep="\n")
        process.stdin.close()
        process.wait()
    print(f"{generator.headers} headers in {reasons.total()} archives, seed {seed}")
    for reason, number in reasons.most_common():
        print(f"  {number:>8} {reason}")
    return 1 if reasons["differ"] else 0


if __name__ == "__main__":
    sys.exit(main())
