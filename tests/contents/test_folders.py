"""Folders and single files: what an image would say of the same files, and nothing from outside."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.cli.run import run
from custody.errors import MalformedError, UsageError
from custody.formats.bom import Catalog
from custody.sbom.catalog import catalog, catalog_file, catalog_folder
from custody.sbom.descent import Descent
from custody.sbom.folder import Folder, glob
from custody.sbom.limits import Limits
from custody.services.contents import Local
from custody.services.exposing import expose_local
from tests.contents.images import METADATA, OS_RELEASE, STATUS, Member, go_program, image

_NODE = b'{"name":"n","version":"1"}'
_GO = go_program("mod\texample.org/a\tv1.0.0\th1:\n")


def unpacked(root: Path, *members: Member) -> Path:
    root.mkdir()
    for path, content in members:
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, tuple):
            place.symlink_to(content[1])
        elif content is not None:
            place.write_bytes(content)
    return root


def catalogued(root: Path, *, rooted: bool = False, exclude: tuple[str, ...] = (),
               limits: Limits | None = None) -> Catalog:
    folder = Folder(path=root, declared=not rooted, rooted=rooted, exclude=exclude)
    return catalog_folder(folder, "rootfs" if rooted else "directory", limits=limits)[0]


def names(said: Catalog) -> set[str]:
    return {package.name for package in said.packages}


def kinds(said: Catalog) -> dict[str, int]:
    return {unknown.kind: unknown.count for unknown in said.unknowns}


def test_an_unpacked_image_is_as_the_image(tmp_path: Path) -> None:
    """Symbolic links that lead to databases from the image's root on, and not from this machine's, among it."""
    members: list[Member] = [
        ("usr/lib/os-release", OS_RELEASE), ("etc/os-release", ("symlink", "/usr/lib/os-release")),
        ("srv/dpkg/status", STATUS), ("var/lib/dpkg", ("symlink", "/srv/dpkg")),
        ("s/f.dist-info/METADATA", METADATA), ("w/node_modules/n/package.json", _NODE), ("usr/bin/g", _GO),
        ("app/x.gguf", b"GGUF")]
    packed = catalog(image(tmp_path / "i", members))
    said = catalogued(unpacked(tmp_path / "root", *members), rooted=True)
    assert names(said) == names(packed) > {"libc6", "n"}
    assert {package.purl for package in said.packages} == {package.purl for package in packed.packages}
    assert {place.path for package in said.packages for place in package.locations} == {
        place.path for package in packed.packages for place in package.locations}
    assert said.unknowns == packed.unknowns
    assert said.distribution == packed.distribution
    assert said.layers == ()


def test_no_link_leads_out(tmp_path: Path) -> None:
    outside = unpacked(tmp_path / "outside", ("p/package.json", _NODE), ("s.dist-info/METADATA", METADATA))
    root = unpacked(
        tmp_path / "root", ("in/package.json", b'{"name":"in","version":"1"}'), ("again", ("symlink", "in")),
        ("here", ("symlink", ".")), ("up", ("symlink", "../outside")), ("node", ("symlink", str(outside / "p"))),
        ("package.json", ("symlink", str(outside / "p/package.json"))), ("word", ("symlink", "/etc/passwd")),
        ("nowhere", ("symlink", "/nowhere/at/all")), ("self", ("symlink", "self")))
    said = catalogued(root)
    assert names(said) == {"in"}
    assert kinds(said) == {"symbolic link out of the folder": 3}  # not those that promise nothing


def test_what_is_no_file_and_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    root = unpacked(tmp_path / "root", ("a/package.json", _NODE))
    os.mkfifo(root / "a.gguf")
    os.mkfifo(root / "plain")
    (root / "b").mkdir()
    os.mkfifo(root / "b/package.json")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(root / "composer.lock"))
        said = catalogued(root)
    assert names(said) == {"n"}
    assert kinds(said)["device, pipe or socket"] >= 2
    if os.geteuid():
        (root / "a/package.json").chmod(0)
        assert kinds(catalogued(root))["file or folder that cannot be read"] == 1


def test_a_file_that_is_cut_short_while_it_is_read_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = unpacked(tmp_path / "root", ("a/package.json", _NODE))
    monkeypatch.setattr("custody.sbom.folder.os.pread", lambda *_: b"")
    assert kinds(catalogued(root)) == {"file or folder that cannot be read": 1}


def test_names_that_no_image_has(tmp_path: Path) -> None:
    root = unpacked(tmp_path / "root", (".wh.package.json", _NODE), ("a/.wh./package.json", _NODE),
                    ("n/package.json", _NODE))
    (root / os.fsdecode(b"\xff.dist-info")).mkdir()
    (root / os.fsdecode(b"\xff.dist-info/METADATA")).write_bytes(METADATA)
    said = catalogued(root)
    assert names(said) == {"n", "Flask_Login"}
    assert kinds(said) == {"name that no image can have": 2}
    assert [place.path for package in said.packages for place in package.locations if "dist" in place.path] == [
        "\\xff.dist-info/METADATA"]


def test_the_digest_is_of_the_files_that_say_something(tmp_path: Path) -> None:
    one = catalogued(unpacked(tmp_path / "a", ("n/package.json", _NODE), ("README", b"x"), ("bin/g", _GO)))
    two = catalogued(unpacked(tmp_path / "b", ("bin/g", _GO), ("n/package.json", _NODE), ("other", b"y")))
    assert one.digest == two.digest
    for number, member in enumerate([("m/package.json", _NODE), ("n/package.json", _NODE + b" "), ("x.gguf", b"")]):
        changed = {"n/package.json": _NODE, "bin/g": _GO, member[0]: member[1]}
        assert catalogued(unpacked(tmp_path / f"c{number}", *changed.items())).digest != one.digest


@pytest.mark.parametrize(("pattern", "paths"), [
    ("./a", {"a"}), ("*/a", {"b/a"}), ("**/a", {"a", "b/a", "b/c/a"}), ("**/*.txt", {"x.txt", "b/x.txt"}),
    ("./b/**", {"b", "b/a", "b/c/a", "b/x.txt"}), ("./[ab]", {"a", "b"}),
    ("**/{a,x}*", {"a", "x.txt", "b/a", "b/c/a", "b/x.txt"}),
    ("./?", {"a", "b"}), ("./[!a]", {"b"}), ("./(a", set())])
def test_globs(pattern: str, paths: set[str]) -> None:
    match = glob(pattern).match
    assert {path for path in ("a", "b", "b/a", "b/c/a", "x.txt", "b/x.txt") if match(path)} == paths


@given(st.one_of(st.text(max_size=40), st.text("*?[]!{},./ab\\^-", max_size=20).map("./".__add__)))
def test_any_glob_is_one_or_is_refused(pattern: str) -> None:
    if pattern.startswith(("./", "*/", "**/")):
        with contextlib.suppress(UsageError):  # [b-a]
            glob(pattern).match("a/b")
    else:
        with pytest.raises(UsageError, match="expected a glob"):
            glob(pattern)


def test_what_is_excluded_is_neither_read_nor_walked(tmp_path: Path) -> None:
    root = unpacked(tmp_path / "root", ("a/package.json", _NODE), ("v/x/package.json", b'{"name":"v","version":"1"}'),
                    ("v/y/f.dist-info/METADATA", METADATA))
    assert names(catalogued(root, exclude=("./v",))) == {"n"}
    assert names(catalogued(root, exclude=("**/x", "**/a/*.json"))) == {"Flask_Login"}


def test_one_file_is_no_pipe_and_no_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("pipe", "got a device, pipe or socket"), ("", "got a folder")):
        with pytest.raises(UsageError, match=reason):
            catalog_file(tmp_path / name)


def test_a_lock_file_that_is_not_read_is_counted(tmp_path: Path) -> None:
    root = unpacked(tmp_path / "root", ("bun.lockb", b"#!/usr/bin/env bun\nbun-lockfile-format-v0\n"))
    assert [(kind.kind, kind.count) for kind in catalogued(root).unknowns] == [("Bun's binary lock file", 1)]
    assert catalogued(root, rooted=True).unknowns == ()


_PYTHON, _NPM = "Python requirement without an exact version", "npm dependency without an exact version"
_LOCKED = (b'{"lockfileVersion":3,"packages":{"node_modules/@a/b":{"version":"1.0.0"},'
           b'"node_modules/c":{"version":"2.0.0"}}}')


@pytest.mark.parametrize(("members", "said"), [
    ([("requirements.txt", b"flask==2.0.1\nurllib3\nrequests[socks]>=2 ; python_version>'3'\n# six\n-r more.txt\n"
       b"--hash=sha256:00\n-e git+https://example.org/a#egg=a\nb @ https://example.org/b.whl\n./c\n")], {_PYTHON: 4}),
    ([("requirements.txt", b"Zope.Interface\n"), ("uv.lock", b'[[package]]\nname="zope-interface"\nversion="7.0"\n')],
     {}),
    ([("pyproject.toml", b'[project]\nname="x"\ndependencies=["flask>=2","six==1.16.0"]\n[tool.poetry.dependencies]\n'
       b'python="^3.9"\nhere={path="../here"}\ndjango="^4"\n')], {_PYTHON: 2}),
    ([("environment.yml", b"dependencies:\n  - numpy=1.26\n  - pip\n  - pip:\n    - flask\n")], {_PYTHON: 3}),
    ([("package.json", b'{"name":"w","version":"1","dependencies":{"@a/b":"^1","c":"*"}}')], {_NPM: 2}),
    ([("package.json", b'{"dependencies":{"@a/b":"^1","x":"npm:c@2","y":"file:../y","z":"workspace:*"}}'),
      ("package-lock.json", _LOCKED)], {}),
    ([("package.json", b'{"dependencies":{"n":"*"}}'), ("node_modules/n/package.json",
                                                        b'{"name":"n","version":"1","dependencies":{"m":"1"}}')], {}),
    ([("Cargo.toml", b""), ("a/Gemfile", b""), ("a/b/build.gradle.kts", b"")],
     {f"{name} project without a lock file": 1 for name in ("Cargo", "Bundler", "Gradle")}),
    ([("Cargo.lock", b'[[package]]\nname="x"\nversion="1.0.0"\n'), ("a/Cargo.toml", b""),
      ("node_modules/m/android/build.gradle", b""), ("vendor/p/q/composer.json", b"{}")], {}),
])
def test_what_a_manifest_leaves_open_is_counted_unless_something_lists_it(
        tmp_path: Path, members: list[Member], said: dict[str, int]) -> None:
    unpacked(tmp_path / "f", *members)
    assert kinds(catalogued(tmp_path / "f")) == said
    assert not kinds(catalogued(tmp_path / "f", rooted=True))


def test_a_folder_beyond_the_limits_is_refused(tmp_path: Path) -> None:
    root = unpacked(tmp_path / "root", *((f"f{number}", b"") for number in range(11)))
    with pytest.raises(MalformedError, match="more than 10 files and folders"):
        catalogued(root, limits=Limits(entries=10))


def test_one_file_is_known_by_its_whole_path(tmp_path: Path) -> None:
    root = unpacked(tmp_path / "root", ("s/f.dist-info/METADATA", METADATA), ("g", _GO), ("METADATA", METADATA))
    said = catalog_file(root / "s/f.dist-info/METADATA")
    assert [(package.name, [place.path for place in package.locations]) for package in said.packages] == [
        ("Flask_Login", ["METADATA"])]
    assert names(catalog_file(root / "g")) == {"example.org/a", "stdlib"}
    assert names(catalog_file(root / "METADATA")) == set()
    assert said.kind == "file"


def test_commands_take_folders_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(unpacked(tmp_path / "root", ("app/n/package.json", _NODE),
                               ("app/v/package.json", b'{"name":"v","version":"1"}')))
    for target in ("app", "./app/", "dir:app", "rootfs:app", str(tmp_path / "root/app")):
        assert run(["sbom", target, "-o", "purls"]) == 0
        out, err = capsys.readouterr()
        assert out == "pkg:npm/n@1\npkg:npm/v@1\n"
        assert f" {target.rpartition(':')[2].rstrip('/').removeprefix('./')}: 2 packages\n" in err
    assert run(["sbom", "app", "-o", "purls", "--exclude", "./v"]) == 0
    out, err = capsys.readouterr()
    assert out == "pkg:npm/n@1\n"
    assert "left out by --exclude: 1 files and folders\n" in err
    for target in ("app/n/package.json", "file:app/n/package.json"):
        assert run(["scan", target, "--allow-empty-db"]) == 0
        assert "file app/n/package.json: 1 package" in capsys.readouterr().err


@pytest.mark.parametrize(("remote", "origin"), [
    ("https://user:secret@example.org/app.git", "git+https://example.org/app.git@"),
    ("git@example.org:team/app.git", "git+ssh://git@example.org/team/app.git@"), ("/srv/app", "git+@"),
    (None, "git+@")])
def test_a_checkout_says_where_it_is_from(tmp_path: Path, remote: str | None, origin: str) -> None:
    from custody.wiring.local import git_repository

    root = unpacked(tmp_path / "root", ("package.json", _NODE))
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert git_repository(root).origin() == ""
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    if remote:
        subprocess.run([*git, "remote", "add", "origin", remote], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert git_repository(root).origin() == origin + commit
    (root / ".git/package.json").write_bytes(b'{"name":"in-git","version":"1"}')
    folder = Folder(path=root, declared=True, without_git=True)
    assert names(catalog_folder(folder, "directory")[0]) == {"n"}


@pytest.mark.parametrize("swapped", ["y", "y/z"])
def test_a_folder_that_a_link_takes_the_place_of_while_it_is_walked(tmp_path: Path, swapped: str) -> None:
    """Who may write to the folder while it is read must not choose what else of this machine is read."""
    secret = unpacked(tmp_path / "outside", ("z/node_modules/secret/package.json", _NODE))
    root = unpacked(tmp_path / "r", ("a", b""), ("y/b", b""), ("y/z/node_modules/n/package.json", _NODE))
    seen = []

    def swap(count: int) -> None:
        place = root / swapped
        seen.append(count)
        if len(seen) == len(swapped.split("/")):  # after it was listed, before it is walked
            place.rename(tmp_path / "moved")
            place.symlink_to(secret if swapped == "y" else secret / "z")

    found, _ = catalog_folder(Folder(path=root, declared=True), "directory", progress=swap)
    assert names(found) == set()
    assert kinds(found)["file or folder that cannot be read"] == 1
    assert "secret" not in str(found)


def test_a_folder_deeper_than_descriptors_are_kept_open(tmp_path: Path) -> None:
    """A comb: a spine of folders, and from each a tooth that is visited on the way back."""
    spine = "d/" * 200
    root = unpacked(tmp_path / "r", *((f"{spine[:2 * depth]}t{depth}/node_modules/n{depth}/package.json",
                                       b'{"name":"n%d","version":"1"}' % depth) for depth in range(200)))
    opened = len(os.listdir("/proc/self/fd"))
    assert names(catalogued(root)) == {f"n{depth}" for depth in range(200)}
    assert len(os.listdir("/proc/self/fd")) == opened
    descent = Descent(os.fsencode(root))
    for depth in (199, 3, 150, 149, 70, 0, 180):
        assert set(os.listdir(descent.at(spine[:2 * depth].encode().rstrip(b"/")))) <= {"d", f"t{depth}"}
        assert len(os.listdir("/proc/self/fd")) <= opened + 70
    descent.close()
    assert len(os.listdir("/proc/self/fd")) == opened


def test_secrets_are_not_read_behind_a_link_that_took_a_folders_place(tmp_path: Path) -> None:
    token = b"url=postgres://app:k8Zq2mW9xE@db.internal/app\n"
    outside = unpacked(tmp_path / "outside", ("z/settings.env", token))
    root = unpacked(tmp_path / "r", ("y/z/settings.env", token), ("b.env", token))

    @contextlib.contextmanager
    def progress(_text: str, _total: int | None) -> Iterator[Callable[[int], None]]:
        yield lambda _count: (root / "y").is_symlink() or swap()

    def swap() -> None:
        (root / "y").rename(tmp_path / "moved")
        (root / "y").symlink_to(outside)

    _, exposed = expose_local(Local("directory", root), progress, ("secret",))
    assert [exposure.path for exposure in exposed.exposures] == ["b.env"]
    assert exposed.unread == ["y: Not a directory"]
