"""Random layers beside a real file system: every file that unpacking leaves is in the index, with its bytes.

    python -m tests.fuzz.overlays 20000

Layers have files, folders, symbolic and hard links, whiteouts and opaque folders. They are unpacked over each other
into a folder, with Python's own calls; then every name there is looked up. Where no layer goes through a symbolic link
of another, and so runtimes agree, the index has nothing else either.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from random import Random

from custody.errors import MalformedError
from custody.registry.image import open_layout
from custody.runtime.executables import Executables, Verdict
from custody.runtime.indexing import index
from custody.runtime.layerfiles import list_files
from tests.contents.images import PLAIN, Member, layout, tar
from tests.runtime.test_clean_images import within

NAMES = ("a", "b", "bin", "lib", "x")


class ImpossibleError(Exception):
    """No runtime unpacks this."""


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def path_of(dice: Random) -> str:
    return "/".join(dice.choice(NAMES) for _ in range(dice.choice((1, 1, 2, 2, 3))))


def layers_of(dice: Random) -> list[list[Member]]:
    layers = []
    for _ in range(dice.randrange(1, 4)):
        members: list[Member] = []
        for _ in range(dice.randrange(1, 7)):
            path = path_of(dice)
            kind = dice.random()
            if kind < 0.5:
                members.append((path, f"{dice.randrange(5)}".encode()))
            elif kind < 0.6:
                members.append((path, None))
            elif kind < 0.75:
                target = path_of(dice) if dice.random() < 0.7 else dice.choice(("..", "/", "../..", "/bin"))
                rooted = dice.choice(("", "/")) if target[0] not in "./" else ""
                members.append((path, ("symlink", rooted + target)))
            elif kind < 0.83:
                members.append((path, ("link", path_of(dice))))
            else:
                folder, slash, base = path.rpartition("/")
                members.append((f"{folder}{slash}.wh.{base}" if dice.random() < 0.7 else f"{path}/.wh..wh..opq", b""))
        layers.append(members)
    return layers


def unpack(layers: list[list[Member]], root: Path) -> bool:
    """Whether no entry went through a symbolic link. Raises ImpossibleError."""
    plain = True
    for members in layers:
        mine: set[str] = set()
        for path, _ in members:
            folder, _, base = path.rpartition("/")
            if base == ".wh..wh..opq":
                plain &= _through(root, folder)
                place = root / folder
                if place.is_dir() and _through(root, folder) and not place.is_symlink():
                    for inner in place.iterdir():
                        _remove(inner)
            elif base.startswith(".wh."):
                plain &= _through(root, folder)
                if _through(root, folder):
                    _remove(root / folder / base[4:])
        for path, content in members:
            base = path.rpartition("/")[2]
            if base.startswith(".wh."):
                continue
            folder = path.rpartition("/")[0]
            plain &= _through(root, folder)
            real = within(root, folder)
            if real is None:
                raise ImpossibleError
            place = root / real / base
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise ImpossibleError from None
            if content is None and place.is_dir() and not place.is_symlink():
                continue
            if os.path.lexists(place):
                if place.is_dir() and not place.is_symlink() and mine & {
                        str(inner) for inner in place.rglob("*")}:
                    raise ImpossibleError  # a layer that takes its own folder away
                if place.is_symlink():
                    plain = False  # what went through it before is nobody's agreement
                _remove(place)
            if content is None:
                place.mkdir()
            elif isinstance(content, bytes):
                place.write_bytes(content)
                place.chmod(0o755)
            elif content[0] == "symlink":
                os.symlink(content[1], place)
            else:
                target = within(root, content[1].rpartition("/")[0])
                source = root / (target or "") / content[1].rpartition("/")[2]
                if target is None or not (source.is_file() or source.is_symlink()):
                    raise ImpossibleError
                plain &= _through(root, content[1].rpartition("/")[0])
                os.link(source, place, follow_symlinks=False)
            mine.add(str(place))
    return plain


def _through(root: Path, folder: str) -> bool:
    """Whether no part of the way is a symbolic link."""
    way = root
    for part in folder.split("/") if folder else ():
        way = way / part
        if way.is_symlink():
            return False
    return True


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    elif os.path.lexists(place):
        place.unlink()


def indexed(layers: list[list[Member]], folder: Path) -> Executables:
    image = open_layout(layout(folder, [tar(members) for members in layers], PLAIN))
    return index([list_files(image, layer, diff) for layer, diff in
                  zip(image.manifest.layers, image.config.diff_ids, strict=True)], digest="d", name="n", platform="p",
                 blobs=[layer.digest for layer in image.manifest.layers])


def compare(seed: int, folder: Path) -> str | None:
    """What was wrong; empty where all was right, and None where no runtime unpacks it."""
    layers = layers_of(Random(seed))
    root = folder / "root"
    root.mkdir()
    try:
        plain = unpack(layers, root)
        files = indexed(layers, folder / "image")
    except (ImpossibleError, MalformedError):
        return None
    there = {}
    for above, _, names in os.walk(root):
        for name in names:
            place = Path(above) / name
            if not place.is_symlink():
                there[str(place.relative_to(root))] = sha(place.read_bytes())
    for path, digest in there.items():
        judged = files.judge(f"/{path}", digest)
        if judged.verdict is not Verdict.KNOWN:
            return f"seed {seed}: {path} is {judged.verdict}, and is there: {layers}"
    if plain and (more := {entry.path for entry in files.entries()} - set(there)):
        return f"seed {seed}: {sorted(more)} are in the index, and not there: {layers}"
    return ""


def run(seeds: range) -> tuple[int, list[str]]:
    """How many were compared, and what was wrong."""
    compared, wrong = 0, []
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="custody-overlay-") as folder:
            said = compare(seed, Path(folder))
        compared += said is not None
        if said:
            wrong.append(said)
    return compared, wrong


if __name__ == "__main__":
    number, failures = run(range(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
    print(f"{number} images compared with what unpacking them leaves, {len(failures)} wrong")
    print("\n".join(failures[:10]))
    sys.exit(bool(failures))
