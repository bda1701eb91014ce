"""Java runtimes by their `release` files: names and CPE as syft has them, which grype's database is asked by."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from custody.sbom.catalog import catalog
from custody.sbom.catalogers import read
from tests.conftest import peer
from tests.contents.images import image

_TEMURIN = """IMPLEMENTOR="Eclipse Adoptium"
IMPLEMENTOR_VERSION="Temurin-21.0.4+7"
JAVA_RUNTIME_VERSION="21.0.4+7-LTS"
JAVA_VERSION="21.0.4"
MODULES="java.base java.compiler jdk.compiler"
SOURCE_REPO="https://github.com/adoptium/jdk21u.git"
IMAGE_TYPE="JDK"
"""
_CASES = {
    "temurin": (_TEMURIN, "pkg:generic/oracle/openjdk@21.0.4%2B7-LTS?"
                "repository_url=https:%2F%2Fgithub.com%2Fadoptium%2Fjdk21u.git", ["oracle:openjdk:21.0.4:*"]),
    "old": ('JAVA_VERSION="1.8.0_302"\nFULL_VERSION="1.8.0_302-b08"\nIMPLEMENTOR="Eclipse Foundation"\n',
            "pkg:generic/oracle/openjdk@1.8.0_302-b08", ["oracle:openjdk:1.8.0:update302"]),
    "older": ('JAVA_VERSION="1.8.0_05"\nFULL_VERSION="8.0.5+5"\n', "pkg:generic/oracle/openjdk@1.8.0_05",
              ["oracle:openjdk:1.8.0:update5"]),
    "zulu": ('JAVA_VERSION="17.0.9"\nIMPLEMENTOR="Azul Systems, Inc."\nJAVA_RUNTIME_VERSION="17.0.9+8-LTS"\n',
             "pkg:generic/azul/zulu@17.0.9%2B8-LTS", ["azul:zulu:17.0.9:*", "oracle:openjdk:17.0.9:*"]),
    "oracle": ('JAVA_VERSION="22.0.2"\nIMPLEMENTOR="Oracle Corporation"\nJAVA_RUNTIME_VERSION="22.0.2+9-70"\n',
               "pkg:generic/oracle/jdk@22.0.2%2B9-70",
               ["oracle:java_se:22.0.2:*", "oracle:jre:22.0.2:*", "oracle:jdk:22.0.2:*"]),
    "jre": ('JAVA_VERSION="22.0.2"\nIMPLEMENTOR="Oracle Corporation"\nIMAGE_TYPE="JRE"\n',
            "pkg:generic/oracle/jre@22.0.2", ["oracle:java_se:22.0.2:*", "oracle:jre:22.0.2:*"]),
    "early": ('JAVA_VERSION="9-ea"\n', "pkg:generic/oracle/openjdk@9-ea", ["oracle:openjdk:9-ea:*"])}


@pytest.mark.parametrize("case", _CASES)
def test_a_runtime(case: str, tmp_path: Path) -> None:
    text, purl, cpes = _CASES[case]
    [package] = catalog(image(tmp_path, [("opt/java/release", text.encode())])).packages
    assert (package.purl, package.type, package.ecosystem) == (purl, "generic", None)
    assert sorted(package.cpes) == sorted(f"cpe:2.3:a:{cpe}:*:*:*:*:*:*" for cpe in cpes)


def test_other_files_of_the_name_say_nothing() -> None:
    for content in (b"", b"Ubuntu 22.04", b"\xff\xfe", b"JAVA_VERSION", b'JAVA_VERSION=""\n', b"x" * 600_000):
        assert read("Java runtime", "etc/release", content) == ()


@pytest.mark.peer
@pytest.mark.parametrize("case", _CASES)
def test_syft_says_the_same(case: str, tmp_path: Path) -> None:
    text, purl, cpes = _CASES[case]
    (tmp_path / "java").mkdir()
    (tmp_path / "java/release").write_text(text)
    said = subprocess.run(
        [peer("syft"), "-q", f"dir:{tmp_path}", "--override-default-catalogers", "java-jvm-cataloger", "-o", "json"],
        check=True, capture_output=True, env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"})
    [artifact] = json.loads(said.stdout)["artifacts"]
    # What JDK and JRE have in their names syft tells by bin/javac, which no layer alone can tell.
    assert artifact["purl"].partition("?")[0] == purl.partition("?")[0]
    assert {row["cpe"] for row in artifact["cpes"]} == {f"cpe:2.3:a:{cpe}:*:*:*:*:*:*" for cpe in cpes}
