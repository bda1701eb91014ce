"""Whose business a package is: the distribution's, where its own package installed the file that is there now."""

from __future__ import annotations

from pathlib import Path

import pytest

from custody.sbom.catalog import catalog
from tests.contents.images import OS_RELEASE, Member, image

PLACE = "usr/lib/python3/dist-packages/PyYAML-5.3.1.egg-info/PKG-INFO"
METADATA = b"Metadata-Version: 2.1\nName: PyYAML\nVersion: 5.3.1\n"
LIST = "var/lib/dpkg/info/python3-yaml.list"


def status(**fields: str) -> bytes:
    values = {"Package": "python3-yaml", "Status": "install ok installed", "Version": "5.3.1-5", "Architecture": "all",
              "Maintainer": "A <a@example.org>", **fields}
    return "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in values.items()).encode()


def owner(folder: Path, *layers: list[Member]) -> str:
    packages = [package for package in catalog(image(folder, *layers)).packages if package.type == "pypi"]
    assert [package.name for package in packages] == ["PyYAML"]
    return packages[0].owner.partition("@")[0]


def base(place: str = PLACE, os_release: bytes = OS_RELEASE, **fields: str) -> list[Member]:
    return [("etc/os-release", os_release), ("var/lib/dpkg/status", status(**fields)),
            (LIST, f"/{place}\n".encode()), (place, METADATA)]


def test_left_to_the_distribution(tmp_path: Path) -> None:
    assert owner(tmp_path, base()) == "pkg:deb/debian/python3-yaml"


def test_a_file_that_an_upper_layer_replaced(tmp_path: Path) -> None:
    assert owner(tmp_path, base(), [(PLACE, METADATA)]) == ""


def test_a_package_that_an_upper_layer_upgraded(tmp_path: Path) -> None:
    upgrade: list[Member] = [("var/lib/dpkg/status", status(Version="5.3.1-6")), (LIST, f"/{PLACE}\n".encode()),
                             (PLACE, METADATA)]
    assert owner(tmp_path, base(), upgrade) == "pkg:deb/debian/python3-yaml"


def test_a_list_that_another_layer_wrote_again(tmp_path: Path) -> None:
    touched: list[Member] = [(LIST, f"/{PLACE}\n".encode())]
    assert owner(tmp_path / "1", base(), touched) == "pkg:deb/debian/python3-yaml"
    assert owner(tmp_path / "2", base(), [(PLACE, METADATA)], touched) == ""


UBUNTU = b'ID=ubuntu\nVERSION_ID="22.04"\n'


@pytest.mark.parametrize(("place", "os_release", "fields", "left"), [
    ("opt/vendor/lib/PyYAML-5.3.1.dist-info/METADATA", OS_RELEASE, {}, False),
    ("usr/local/lib/python3.11/dist-packages/PyYAML-5.3.1.dist-info/METADATA", OS_RELEASE, {}, False),
    (PLACE, OS_RELEASE, {"Origin": "Debian"}, True),
    (PLACE, OS_RELEASE, {"Origin": "Artifactory"}, False),
    (PLACE, OS_RELEASE, {"Vendor": "ACME"}, False),
    (PLACE, OS_RELEASE, {"Origin": "not-debian"}, False),
    (PLACE, OS_RELEASE, {"Origin": "Debian of ACME"}, False),
    (PLACE, OS_RELEASE, {"Version": "20.1-1nodesource1"}, False),
    (PLACE, OS_RELEASE, {"Version": "5.3.1-5ubuntu1"}, False),
    (PLACE, UBUNTU, {"Maintainer": "Ubuntu Developers <ubuntu-devel-discuss@lists.ubuntu.com>"}, True),
    (PLACE, UBUNTU, {"Maintainer": "ACME <dev@acme.example>"}, False),
    (PLACE, UBUNTU, {"Maintainer": "ACME <dev@notubuntu.com>"}, False),
])
def test_third_party_deb(tmp_path: Path, place: str, os_release: bytes, fields: dict[str, str], left: bool) -> None:
    assert bool(owner(tmp_path, base(place, os_release, **fields))) is left


def test_distroless(tmp_path: Path) -> None:
    sums = f"{'0' * 32}  {PLACE}\n".encode()
    lower: list[Member] = [("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status.d/yaml", status()),
                           ("var/lib/dpkg/status.d/python3-yaml.md5sums", sums)]
    # The package's own data may be in a layer beside the one of its control files.
    assert owner(tmp_path / "1", lower, [(PLACE, METADATA)]) == "pkg:deb/debian/python3-yaml"
    assert owner(tmp_path / "2", [*lower, (PLACE, METADATA)], [(PLACE, METADATA)]) == ""


def test_distroless_files_may_have_other_names(tmp_path: Path) -> None:
    sums = f"{'0' * 32}  ./{PLACE}\n".encode()
    assert owner(tmp_path, [("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status.d/base", status()),
                            ("var/lib/dpkg/status.d/base.md5sums", sums), (PLACE, METADATA)]) == (
        "pkg:deb/debian/python3-yaml")


def test_apk(tmp_path: Path) -> None:
    place = "usr/lib/python3.12/site-packages/PyYAML-5.3.1.dist-info/METADATA"
    folder, _, file = place.rpartition("/")
    installed = f"P:py3-yaml\nV:5.3.1-r0\nA:x86_64\nF:{folder}\nR:{file}\n\n".encode()
    more = installed + b"P:curl\nV:8-r0\n\n"
    lower: list[Member] = [("etc/os-release", b"ID=alpine\nVERSION_ID=3.20.1\n"), ("lib/apk/db/installed", installed),
                           (place, METADATA)]
    assert owner(tmp_path / "1", lower) == "pkg:apk/alpine/py3-yaml"
    # `apk add curl` writes the database again, and did not put the file there that pip had replaced.
    assert owner(tmp_path / "2", lower, [("lib/apk/db/installed", more)]) == "pkg:apk/alpine/py3-yaml"
    assert owner(tmp_path / "3", lower, [(place, METADATA)], [("lib/apk/db/installed", more)]) == ""
