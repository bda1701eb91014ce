"""Which artifacts are in archives of Java, and what told so."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest

from custody.cli.run import run
from custody.formats.bom import Catalog, Package
from custody.sbom.catalog import catalog
from custody.sbom.catalogers.coordinates import file_name, of_place
from tests.contents.images import Member, go_program, image, layout, tar
from tests.contents.jars import jar, library, project, properties
from tests.contents.test_scan import CRITICAL, record

_CORE = library("org.apache.logging.log4j", "log4j-core", "2.14.1")


def found(folder: Path, *members: Member) -> Catalog:
    return catalog(image(folder / "i", members))


def purls(bom: Catalog) -> set[str]:
    return {package.purl for package in bom.packages}


def only(bom: Catalog) -> Package:
    [package] = bom.packages
    return package


def kinds(bom: Catalog) -> dict[str, int]:
    return {unknown.kind: unknown.count for unknown in bom.unknowns}


def test_an_archive_of_maven(tmp_path: Path) -> None:
    content = jar(
        {**properties("com.acme", "shop", "1.2"),
         **project("com.acme", "shop", "1.2", "<organization><name>Acme</name></organization><licenses><license><name>"
                   "Apache-2.0</name></license></licenses>")}, manifest={"Bundle-License": "MIT", "Bundle-Vendor": "B"})
    package = only(found(tmp_path, ("app/shop-1.2.jar", content)))
    assert (package.purl, package.name, package.ecosystem, package.source) == (
        "pkg:maven/com.acme/shop@1.2", "com.acme/shop", "Maven", "com.acme:shop")
    assert (package.licenses, package.supplier) == (("Apache-2.0",), "Acme")
    assert dict(package.hashes) == {kind: hashlib.new(kind, content).hexdigest() for kind in ("sha1", "sha512")}
    [place] = package.locations
    assert (place.path, place.within, place.evidence) == ("app/shop-1.2.jar", "", "pom.properties")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("outer", "folder"), [
    ("app.jar", "BOOT-INF/lib/"), ("app.war", "WEB-INF/lib/"), ("app.ear", ""), ("app.kar", "repository/a/")])
def test_archives_in_archives(tmp_path: Path, outer: str, folder: str, packed: bool) -> None:
    inner = {f"{folder}log4j-core-2.14.1.jar": _CORE, f"{folder}text-1.9.jar": library("org.x", "text", "1.9")}
    bom = found(tmp_path, (f"srv/{outer}", jar({**inner, **properties("com.acme", "app", "3")}, packed=packed)))
    assert purls(bom) == {"pkg:maven/com.acme/app@3", "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1",
                          "pkg:maven/org.x/text@1.9"}
    packages = {package.name: package for package in bom.packages}
    assert packages["com.acme/app"].requires == (
        "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1", "pkg:maven/org.x/text@1.9")
    core = packages["org.apache.logging.log4j/log4j-core"]
    assert [(place.path, place.within) for place in core.locations] == [
        (f"srv/{outer}", f"{folder}log4j-core-2.14.1.jar")]
    assert core.hashes == (("sha1", hashlib.sha1(_CORE).hexdigest()), ("sha512", hashlib.sha512(_CORE).hexdigest()))
    assert kinds(bom) == {}


def test_four_deep(tmp_path: Path) -> None:
    inner = jar({**properties("g", "a", "1"), "lib/log4j-core-2.14.1.jar": _CORE})
    war = jar({"WEB-INF/lib/a-1.jar": inner}, classes="")
    bom = found(tmp_path, ("shop.ear", jar({"shop.war": war}, classes="")))
    core = next(package for package in bom.packages if package.name.endswith("log4j-core"))
    assert core.locations[0].within == "shop.war!WEB-INF/lib/a-1.jar!lib/log4j-core-2.14.1.jar"


def test_a_shaded_archive(tmp_path: Path) -> None:
    content = jar({**properties("com.acme", "all", "1"), **properties("com.google.code.gson", "gson", "2.8.5"),
                   **project("org.only", "project", "7")})
    bom = found(tmp_path, ("all-1.jar", content))
    assert purls(bom) == {"pkg:maven/com.acme/all@1", "pkg:maven/com.google.code.gson/gson@2.8.5",
                          "pkg:maven/org.only/project@7"}
    packages = {package.name: package for package in bom.packages}
    assert packages["com.google.code.gson/gson"].locations[0].within == (
        "META-INF/maven/com.google.code.gson/gson/pom.properties")
    assert packages["com.google.code.gson/gson"].hashes == ()
    assert set(packages["com.acme/all"].requires) == purls(bom) - {"pkg:maven/com.acme/all@1"}


def test_a_shaded_library_in_an_archive_that_is_something_else(tmp_path: Path) -> None:
    bom = found(tmp_path, ("tool-4.2.jar", jar(properties("com.google.code.gson", "gson", "2.8.5"))))
    assert purls(bom) == {"pkg:maven/com.google.code.gson/gson@2.8.5", "pkg:generic/tool@4.2"}
    assert kinds(bom) == {"Java archive without coordinates": 1}


def test_what_only_a_project_file_says_with_its_parent_and_its_properties(tmp_path: Path) -> None:
    text = ("<project><parent><groupId>org.up</groupId><artifactId>up</artifactId><version>9</version></parent>"
            "<artifactId>${short}</artifactId><version>${base}-${project.parent.version}</version>"
            "<properties><short>low</short><base>1</base></properties></project>")
    bom = found(tmp_path, ("low.jar", jar({"META-INF/maven/org.up/low/pom.xml": text})))
    assert purls(bom) == {"pkg:maven/org.up/low@1-9"}
    assert only(bom).locations[0].evidence == "pom.xml"


def test_a_version_that_its_project_file_leaves_open_is_not_made_up(tmp_path: Path) -> None:
    bom = found(tmp_path, ("low.jar", jar(project("org.up", "low", "${revision}"))))
    assert (purls(bom), kinds(bom)) == ({"pkg:generic/low"}, {"Java archive without coordinates": 1})


def test_a_project_file_beside_the_classes(tmp_path: Path) -> None:
    [content] = project("kr.co", "ds", "1.0-SNAPSHOT").values()
    assert purls(found(tmp_path, ("kr-ds-1.0.jar", jar({"pom.xml": content})))) == {"pkg:maven/kr.co/ds@1.0-SNAPSHOT"}


def test_a_manifest_of_something_that_was_put_in(tmp_path: Path) -> None:
    manifest = {"Implementation-Title": "Apache Log4j SLF4J Binding", "Implementation-Version": "2.17.1",
                "Implementation-Vendor-Id": "org.apache.logging.log4j"}
    assert purls(found(tmp_path, ("bash-java-utils.jar", jar({}, manifest=manifest)))) == {
        "pkg:generic/bash-java-utils@2.17.1"}


@pytest.mark.parametrize(("name", "manifest", "classes", "purl", "evidence"), [
    ("maven-core-3.8.7.jar", {"Bundle-SymbolicName": "org.apache.maven.core"}, "org/apache/maven/",
     "org.apache.maven/maven-core@3.8.7", "Bundle-SymbolicName"),
    ("commons-imaging2-1.0.jar", {"Bundle-SymbolicName": "org.apache.commons.commons-imaging2;singleton:=true"}, "a/",
     "org.apache.commons/commons-imaging2@1.0", "Bundle-SymbolicName"),
    ("shop-api.jar", {"Implementation-Vendor-Id": "com.acme.shop", "Implementation-Version": "4.0",
                      "Implementation-Title": "The API of the Shop"}, "com/acme/",
     "com.acme.shop/shop-api@4.0", "Implementation-Vendor-Id"),
    ("spring-core-5.3.20.jar", {"Implementation-Title": "spring-core"}, "org/springframework/core/",
     "org.springframework/spring-core@5.3.20", "file name and classes"),
    ("git.hpi", {"Group-Id": "org.jenkins-ci.plugins", "Short-Name": "git", "Plugin-Version": "4.11.3"}, "",
     "org.jenkins-ci.plugins/git@4.11.3", "manifest of a Jenkins plugin"),
    ("m2/repository/org/foo/bar/bar-baz/1.0/bar-baz-1.0.jar", {}, "x/", "org.foo.bar/bar-baz@1.0",
     "place in a repository")])
def test_archives_without_project_files(tmp_path: Path, name: str, manifest: dict[str, str], classes: str, purl: str,
                                        evidence: str) -> None:
    package = only(found(tmp_path, (f"opt/{name}", jar({}, manifest=manifest, classes=classes))))
    assert (package.purl, package.locations[0].evidence) == (f"pkg:maven/{purl}", evidence)


@pytest.mark.parametrize(("name", "manifest", "classes"), [
    ("spring-core-5.3.20.jar", {}, "com/acme/"),  # the name of a well-known artifact, and none of its classes
    ("guava-30.jar", {"Bundle-SymbolicName": "com.google.guava"}, "x/"),  # the group, or the group and the artifact
    ("core-1.jar", {"Implementation-Vendor-Id": "org.apache"}, "x/"),  # a vendor that is no group
    ("core-1.jar", {"Implementation-Vendor": "Acme", "Automatic-Module-Name": "com.acme.core"}, "x/")])
def test_no_group_is_guessed(tmp_path: Path, name: str, manifest: dict[str, str], classes: str) -> None:
    """The name and the version of the file are listed, and the archive is counted: no advisory can speak of it."""
    bom = found(tmp_path, (name, jar({}, manifest=manifest, classes=classes)))
    assert (only(bom).type, only(bom).ecosystem) == ("generic", None)
    assert kinds(bom) == {"Java archive without coordinates": 1}


def test_an_application_without_coordinates_is_no_gap(tmp_path: Path) -> None:
    """What it is made of is known; nobody publishes advisories for what somebody made at home."""
    bom = found(tmp_path, ("shop.war", jar({"WEB-INF/lib/log4j-core-2.14.1.jar": _CORE}, classes="WEB-INF/classes/a/")))
    assert purls(bom) == {"pkg:generic/shop", "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"}
    assert kinds(bom) == {}
    assert next(package for package in bom.packages if package.type == "generic").requires == (
        "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1",)


@pytest.mark.parametrize(("name", "expected"), [
    ("log4j-1.2-api-2.19.0.jar", ("log4j-1.2-api", "2.19.0", "")),
    ("spark-core_2.12-3.5.1.jar", ("spark-core_2.12", "3.5.1", "")),
    ("json4s-core_2.12-3.7.0-M11.jar", ("json4s-core_2.12", "3.7.0-M11", "")),
    ("guava-32.1.3-jre.jar", ("guava", "32.1.3-jre", "")), ("my-http2-server-5.jar", ("my-http2-server", "5", "")),
    ("netty-transport-native-epoll-4.1.96.Final-linux-x86_64.jar",
     ("netty-transport-native-epoll", "4.1.96.Final", "linux-x86_64")),
    ("bcprov-jdk15on-1.70.jar", ("bcprov-jdk15on", "1.70", "")), ("kafka_2.13-3.6.0.jar", ("kafka_2.13", "3.6.0", "")),
    ("org.eclipse.core.runtime_3.7.0.v2011.jar", ("org.eclipse.core.runtime", "3.7.0.v2011", "")),
    ("app.jar", ("app", "", "")), ("json4s-core_2.12.jar", ("json4s-core_2.12", "", "")),
    ("a-1.0-SNAPSHOT-sources.jar", ("a", "1.0-SNAPSHOT", "sources")),
    ("netty-transport-native-epoll.jar", ("netty-transport-native-epoll", "", "")),
    ("a-2.0-all.jar", ("a", "2.0", "all")), ("netty-all.jar", ("netty-all", "", "")),
    ("-1.jar", ("-1", "", "")), (".jar", (".jar", "", ""))])
def test_names_of_files(name: str, expected: tuple[str, str, str]) -> None:
    told = file_name(f"some/folder-1.0/{name}")
    assert (told.name, told.version, told.classifier) == expected


@pytest.mark.parametrize(("path", "expected"), [
    ("root/.m2/repository/io/netty/netty-common/4.1.1.Final/netty-common-4.1.1.Final.jar",
     ("io.netty", "netty-common", "4.1.1.Final")),
    ("root/.gradle/caches/modules-2/files-2.1/io.netty/netty-common/4.1/0123456789abcdef0123456789abcdef01234567/x.jar",
     ("io.netty", "netty-common", "4.1")),
    ("root/.ivy2/cache/org.x/y/bundles/y-1.0.jar", ("org.x", "y", "1.0")),
    ("karaf/system/org/x/y/1/y-1-features.jar", ("org.x", "y", "1")),
    ("srv/app/libs/y/1/y-1.jar", None), ("repository/y/1/y-1.jar", None), ("repository/g/y/1/z-1.jar", None)])
def test_places(path: str, expected: tuple[str, str, str] | None) -> None:
    told = of_place(path)
    assert (told and (told.group, told.name, told.version)) == expected


def test_needs_are_those_that_run(tmp_path: Path) -> None:
    def needs(*rows: tuple[str, str]) -> str:
        return "<dependencies>" + "".join(
            f"<dependency><groupId>g</groupId><artifactId>{name}</artifactId><scope>{scope}</scope></dependency>"
            for name, scope in rows) + "</dependencies>"

    def made(name: str, *rows: tuple[str, str]) -> bytes:
        return jar({**properties("g", name, "1"), **project("g", name, "1", needs(*rows))})

    bom = found(tmp_path, ("lib/a-1.jar", made(
        "a", ("b", "compile"), ("c", "test"), ("d", "runtime"), ("e", "compile"))),
                ("lib/b-1.jar", made("b")), ("lib/c-1.jar", made("c")), ("other/d-1.jar", made("d")),
                ("x/b-2.jar", library("g", "b", "2")))
    packages = {package.purl: package.requires for package in bom.packages}
    assert packages["pkg:maven/g/a@1"] == ("pkg:maven/g/b@1", "pkg:maven/g/d@1")


def test_a_program_in_front_of_an_archive(tmp_path: Path) -> None:
    content = b"#!/bin/sh\nexec java -jar $0\n" + jar(
        {"BOOT-INF/lib/log4j-core-2.14.1.jar": _CORE, **properties("com.acme", "app", "3")}, packed=False)
    assert len(found(tmp_path, ("app.jar", content)).packages) == 2


def test_zip_files_that_are_not_java_say_nothing(tmp_path: Path) -> None:
    bom = found(tmp_path, ("data.zip", jar({"a.txt": b"x"}, classes="")), ("broken.zip", b"PK\3\4 and so on" * 9),
                ("winrar.rar", b"Rar!\x1a\x07"), ("odd.zip", b"no archive"))
    assert (bom.packages, bom.unknowns) == ((), ())
    bom = found(tmp_path / "j", ("dist.zip", jar({"lib/log4j-core-2.14.1.jar": _CORE}, manifest={}, classes="")))
    assert purls(bom) == {"pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"}


def test_programs_that_are_called_like_an_ending(tmp_path: Path) -> None:
    bom = found(tmp_path, *((f"usr/bin/{name}", go_program("mod\ta\tv1\n")) for name in ("jar", "zip", "rar", "far")))
    assert {place.path for package in bom.packages for place in package.locations} == {
        "usr/bin/jar", "usr/bin/zip", "usr/bin/rar", "usr/bin/far"}
    assert bom.unknowns == ()


def test_licences_and_makers_of_a_manifest(tmp_path: Path) -> None:
    manifest = {"Bundle-License": '"https://x/a,b";description="A, B", MIT', "Bundle-Vendor": "%vendor",
                "Implementation-Vendor": "Acme"}
    package = only(found(tmp_path, ("a-1.jar", jar(properties("g", "a", "1"), manifest=manifest))))
    assert (package.licenses, package.supplier) == (("https://x/a,b", "MIT"), "Acme")


def test_lines_of_a_manifest_go_on(tmp_path: Path) -> None:
    text = b"Manifest-Version: 1.0\rGroup-Id: org.jenk\r ins\nShort-\n Name: g\r\nPlugin-Version: 1\n\nShort-Name: no\n"
    bom = found(tmp_path, ("g.jpi", jar({"META-INF/MANIFEST.MF": text.replace(b"Short-\n Name", b"Short-Name")})))
    assert purls(bom) == {"pkg:maven/org.jenkins/g@1"}


def test_classifiers_are_other_archives(tmp_path: Path) -> None:
    bom = found(tmp_path, *((f"netty-x-4.1-{system}.jar", library("io.netty", "netty-x", "4.1"))
                            for system in ("linux-x86_64", "osx-aarch_64")))
    assert purls(bom) == {f"pkg:maven/io.netty/netty-x@4.1?classifier={system}"
                          for system in ("linux-x86_64", "osx-aarch_64")}


def test_what_new_relic_weaves_is_not_there(tmp_path: Path) -> None:
    bom = found(tmp_path, ("log4j-2.11-1.0.jar", jar({}, manifest={"Weave-Classes": "a"})))
    assert (bom.packages, bom.unknowns) == ((), ())


def test_latin_names_and_members_twice(tmp_path: Path) -> None:
    out = io.BytesIO(jar({"caf\u00e9.jar": _CORE, **properties("g", "a", "1")}))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(out, "a") as archive:
        archive.writestr("META-INF/maven/g/a/pom.properties", "groupId=g\nartifactId=b\nversion=2\n")
    content = out.getvalue().replace("caf\u00e9".encode(), b"caf\xe9\xff")
    bom = found(tmp_path, ("a-1.jar", content))
    assert {"pkg:maven/g/a@1", "pkg:maven/g/b@2"} < purls(bom)


def test_links_in_a_repository_say_what_an_archive_is(tmp_path: Path) -> None:
    """As Debian has them; one of them calls the version by Debian's name for any."""
    repository = "usr/share/maven-repo/org/springframework/spring-core"
    links: list[Member] = [(f"{repository}/{version}/spring-core-{version}.jar", ("symlink", "/usr/share/java/s3.jar"))
                           for version in ("debian", "4.x", "4.3.30.RELEASE")]
    bom = found(tmp_path, ("usr/share/java/s3.jar", jar({}, manifest={})), *links)
    package = only(bom)
    assert package.purl == "pkg:maven/org.springframework/spring-core@4.3.30.RELEASE"
    assert [(place.path, place.evidence) for place in package.locations] == [
        ("usr/share/java/s3.jar", "link in a repository")]
    assert kinds(bom) == {}


def test_no_link_says_what_an_archive_with_project_files_is(tmp_path: Path) -> None:
    bom = found(tmp_path, ("usr/a-1.jar", library("org.a", "a", "1")),
                ("m2/repository/org/b/b/2/b-2.jar", ("symlink", "/usr/a-1.jar")))
    assert purls(bom) == {"pkg:maven/org.a/a@1"}


def test_a_vulnerable_library_three_deep_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    inner = jar({"BOOT-INF/lib/log4j-core-2.14.1.jar": _CORE})
    layout(Path("image"), [tar([("srv/app.ear", jar({"app.war": jar({"WEB-INF/lib/boot.jar": inner})}))])])
    Path("records").mkdir()
    Path("records/a.json").write_text(json.dumps(record(
        "GHSA-jfh8-c2jp-5v3q", [{"introduced": "2.13.0"}, {"fixed": "2.15.0"}], ecosystem="Maven",
        package="org.apache.logging.log4j:log4j-core", severity=[CRITICAL])))
    assert run(["db", "import", "records"]) == 0
    capsys.readouterr()
    assert run(["scan", "oci:image", "-o", "json"]) == 0
    [finding] = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["id"], finding["purl"]) == (
        "GHSA-jfh8-c2jp-5v3q", "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1")
