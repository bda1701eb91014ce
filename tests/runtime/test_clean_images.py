"""No false alarm: every executable of clean images is known, by every name under which it can be executed.

The images are made of the packages of this machine, in layers with whiteouts, hard and symbolic links; OCI layouts in
the folder that CUSTODY_IMAGES names are looked at too. What is in an image is found out by unpacking its layers with
Python's tarfile, one over the other, and walking the folder.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import os
import random
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.registry.image import Image, open_layout
from custody.runtime.executables import Executables, Verdict
from custody.runtime.indexing import index
from custody.runtime.layerfiles import list_files
from tests.contents.images import PLAIN, layout

IMAGES = 50
_LARGEST = 6 << 20


def indexed(image: Image) -> Executables:
    return index([list_files(image, layer, diff) for layer, diff in
                  zip(image.manifest.layers, image.config.diff_ids, strict=True)], digest=image.descriptor.digest,
                 name="image", platform="linux/amd64", blobs=[layer.digest for layer in image.manifest.layers])


def unpacked(image: Image, root: Path) -> None:
    """As who unpacks layers over what is there."""
    for layer in image.manifest.layers:
        with image.open_blob(layer) as blob:
            data = blob.read()
        if layer.media_type.endswith("gzip"):
            data = gzip.decompress(data)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            if hasattr(tarfile, "tar_filter"):  # since 3.11.4
                archive.extraction_filter = staticmethod(tarfile.tar_filter)
            for member in archive:
                base = os.path.basename(member.name)
                if base.startswith(".wh."):
                    gone = root / os.path.dirname(member.name) / base[4:]
                    if gone.is_dir() and not gone.is_symlink():
                        shutil.rmtree(gone)
                    else:
                        gone.unlink()
                elif not member.isdev():
                    place = root / member.name
                    if place.is_symlink() or place.is_file():
                        place.unlink()
                    archive.extract(member, root, set_attrs=False)
                    if member.isfile():
                        place.chmod(member.mode | 0o400)


def within(root: Path, path: str) -> str | None:
    """Where a path leads if `root` is the root; None for nowhere."""
    parts, done = path.split("/")[::-1], list[str]()
    for _ in range(400):
        if not parts:
            return "/".join(done)
        part = parts.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del done[-1:]
            continue
        here = os.path.join(root, *done, part)
        if os.path.islink(here):
            target = os.readlink(here)
            done = [] if target.startswith("/") else done
            parts += target.split("/")[::-1]
        else:
            done.append(part)
    return None


def executables(root: Path) -> Iterator[tuple[str, str]]:
    """(name, SHA-256) of all that may be executed, by its own name and by each link to it."""
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = os.path.relpath(os.path.join(folder, name), root)
            real = within(root, path)
            if real is None:
                continue
            try:
                status = os.lstat(os.path.join(root, real))
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and status.st_mode & 0o111:
                with open(os.path.join(root, real), "rb") as file:
                    yield path, hashlib.file_digest(file, "sha256").hexdigest()


def packages() -> dict[str, list[str]]:
    """The files of small packages that are installed here, by name."""
    lists = sorted(Path("/var/lib/dpkg/info").glob("*.list"))
    if not lists:
        pytest.skip("dpkg is not installed: there are no packages to make images of")
    kept: dict[str, list[str]] = {}
    for listed in random.Random(7).sample(lists, len(lists)):
        name, paths = listed.stem, listed.read_text().split("\n")
        files = [path for path in paths if path.startswith("/") and path != "/." and os.path.lexists(path)]
        size = sum(os.lstat(path).st_size for path in files if os.path.isfile(path) and not os.path.islink(path))
        if size <= _LARGEST and any(os.access(path, os.X_OK) and os.path.isfile(path) for path in files):
            kept[name] = files
        if len(kept) == 3 * IMAGES:
            break
    return kept


def layer(paths: list[str], more: dict[str, tuple[str, str] | bytes] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in paths:
            if os.access(path, os.R_OK) or os.path.islink(path):
                archive.add(path, path.lstrip("/"), recursive=False)
        for name, content in (more or {}).items():
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if isinstance(content, tuple):
                info.type = tarfile.LNKTYPE if content[0] == "link" else tarfile.SYMTYPE
                info.linkname = content[1]
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def merged_usr() -> list[str]:
    return [path for path in ("/bin", "/sbin", "/lib", "/lib64", "/usr", "/usr/bin", "/usr/sbin", "/usr/lib")
            if os.path.lexists(path)]


def made(folder: Path) -> Iterator[Image]:
    known = packages()
    names = sorted(known)
    shuffled = random.Random(20)
    for number in range(IMAGES):
        first, second, third = (known[name] for name in shuffled.sample(names, 3))
        programs = [path for path in first if os.path.isfile(path) and not os.path.islink(path)
                    and os.access(path, os.X_OK)]
        inside = within(Path("/"), programs[0]) if programs else None
        more: dict[str, tuple[str, str] | bytes] = {"opt/run.sh": b"#!/bin/sh\n"}
        if inside is not None:
            more["opt/alike"] = ("link", inside)
            more["opt/also"] = ("symlink", f"../../{inside}")
            more["usr/local/bin/also"] = ("symlink", "/opt/also")
        top = layer(third, {"opt/.wh.run.sh": b"", "opt/other.sh": f"#!/bin/sh\necho {number}\n".encode()})
        base = layer([*merged_usr(), *first, *([f"/{inside}"] if inside else [])], more)
        yield open_layout(layout(folder / str(number), [base, layer(second), top], PLAIN))
        shutil.rmtree(folder / str(number))


def stored() -> Iterator[Image]:
    place = os.environ.get("CUSTODY_IMAGES")
    for path in sorted(Path(place).glob("*.oci")) if place else ():
        yield open_layout(path)


def check(image: Image, root: Path) -> tuple[int, list[str]]:
    root.mkdir()
    unpacked(image, root)
    files = indexed(image)
    wrong = []
    count = 0
    for path, sha256 in executables(root):
        count += 1
        judged = files.judge(f"/{path}", sha256)
        if judged.verdict is not Verdict.KNOWN:
            wrong.append(f"{path}: {judged.verdict}: {judged.reason}")
    shutil.rmtree(root)
    return count, wrong


def test_every_executable_of_clean_images_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = total = 0
    wrong: list[str] = []
    for image in itertools.chain(stored(), made(tmp_path)):
        count, alarms = check(image, tmp_path / "root")
        images, total, wrong = images + 1, total + count, wrong + alarms
    with capsys.disabled():
        print(f"[{images} clean images, {total} names of executables, {len(wrong)} false alarms]", end=" ")
    assert wrong == []
    assert images >= IMAGES
    assert total > 10 * images


def test_it_would_see_one_byte(tmp_path: Path) -> None:
    """The same, of an image in which one executable is not what the layers say."""
    image = next(iter(made(tmp_path)))
    root = tmp_path / "root"
    root.mkdir()
    unpacked(image, root)
    (root / "opt/other.sh").write_bytes(b"#!/bin/sh\necho evil\n")
    files = indexed(image)
    judged = {path: files.judge(f"/{path}", sha256).verdict for path, sha256 in executables(root)}
    assert {path for path, verdict in judged.items() if verdict is not Verdict.KNOWN} == {"opt/other.sh"}
    assert judged["opt/other.sh"] is Verdict.MODIFIED
