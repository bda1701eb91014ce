"""What projects of Java ask for: Maven, Gradle, sbt and Ivy."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.sbom.catalogers import Fact, choose, read
from tests.conftest import peer

_POM = """<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <parent><groupId>org.up</groupId><artifactId>up</artifactId><version>3</version></parent>
  <artifactId>shop</artifactId>
  <properties><text.version>1.9</text.version><more>${text.version}</more></properties>
  <licenses><license><name>MIT</name></license></licenses>
  <dependencyManagement><dependencies>
    <dependency><groupId>org.m</groupId><artifactId>managed</artifactId><version>7</version></dependency>
  </dependencies></dependencyManagement>
  <dependencies>
    <dependency><groupId>org.t</groupId><artifactId>text</artifactId><version>${more}</version></dependency>
    <dependency><groupId>org.m</groupId><artifactId>managed</artifactId></dependency>
    <dependency><groupId>org.up</groupId><artifactId>parents</artifactId></dependency>
    <dependency><groupId>r</groupId><artifactId>range</artifactId><version>[1,2)</version></dependency>
    <dependency><groupId>junit</groupId><artifactId>junit</artifactId><version>4.13</version><scope>test</scope>
    </dependency>
    <dependency><groupId>${project.groupId}</groupId><artifactId>own</artifactId><version>${project.version}</version>
      <optional>true</optional></dependency>
  </dependencies>
</project>
"""
_GRADLE = """# This is a Gradle generated file for dependency locking.
com.google.guava:guava:32.1.3-jre=compileClasspath,runtimeClasspath
junit:junit:4.13=testCompileClasspath,testRuntimeClasspath
org.projectlombok:lombok:1.18=annotationProcessor,compileClasspath
empty=other
"""


def facts(path: str, content: str | bytes) -> tuple[Fact, ...]:
    name = choose(path, declared=True)
    assert name is not None
    assert choose(path) is None  # nothing of this is looked for in images
    return read(name, path, content.encode() if isinstance(content, str) else content)


def told(path: str, content: str) -> set[tuple[str, str, str]]:
    return {(fact.name, fact.version, fact.scope) for fact in facts(path, content) if fact.type == "maven"}


def test_maven() -> None:
    assert told("app/pom.xml", _POM) == {
        ("org.up/shop", "3", ""), ("org.t/text", "1.9", ""), ("org.m/managed", "7", ""),
        ("org.up/parents", "", ""), ("r/range", "", ""), ("junit/junit", "4.13", "test"),
        ("org.up/own", "3", "optional")}
    everything = facts("app/pom.xml", _POM)
    assert [fact.name for fact in everything if fact.type == "UNKNOWN"] == [
        "Maven dependency whose version its file does not say"] * 2
    [shop] = [fact for fact in everything if fact.name == "org.up/shop"]
    assert (shop.licenses, shop.declared) == (("MIT",), True)
    assert shop.requires == ("org.t/text@1.9", "org.m/managed@7", "org.up/parents", "r/range",
                             "org.up/own@3")


@pytest.mark.parametrize(("text", "why"), [
    ('<!DOCTYPE p [<!ENTITY a "b">]><project><artifactId>&a;</artifactId></project>', "entities"),
    ("<project>" + "<a>" * 300 + "</a>" * 300 + "</project>", "elements"), ("<html/>", "project"), ("", "XML"),
    ("<project><artifactId>a</artifactId>", "XML")])
def test_projects_that_are_none(text: str, why: str) -> None:
    assert facts("pom.xml", text) == (Fact(type="UNKNOWN", name="unreadable Maven project file"),), why


def test_variables_that_name_each_other_end() -> None:
    pairs = "".join(f"<v{place}>${{v{(place + 1) % 9}}}${{v{(place + 1) % 9}}}</v{place}>" for place in range(9))
    assert told("pom.xml", f"<project><groupId>g</groupId><artifactId>a</artifactId><version>${{v0}}</version>"
                f"<properties>{pairs}</properties></project>") == {("g/a", "", "")}


def test_gradle() -> None:
    assert told("app/gradle.lockfile", _GRADLE) == {
        ("com.google.guava/guava", "32.1.3-jre", ""), ("junit/junit", "4.13", "test"),
        ("org.projectlombok/lombok", "1.18", "build")}
    assert told("app/buildscript-gradle.lockfile", "a.b:c:1=classpath\n") == {("a.b/c", "1", "build")}
    assert told("gradle/dependency-locks/runtimeClasspath.lockfile", "a.b:c:1\n") == {("a.b/c", "1", "")}
    assert [fact.name for fact in facts("gradle.lockfile", "a:b\n")] == ["Gradle lock without group, name and version"]


def test_sbt() -> None:
    lock = {"lockVersion": 1, "dependencies": [
        {"org": "org.typelevel", "name": "cats-core_2.13", "version": "2.9.0",
         "configurations": ["compile", "runtime"]},
        {"org": "org.scalatest", "name": "scalatest_2.13", "version": "3.2", "configurations": ["test"]}, {"org": 1}]}
    assert told("app/build.sbt.lock", json.dumps(lock)) == {
        ("org.typelevel/cats-core_2.13", "2.9.0", ""), ("org.scalatest/scalatest_2.13", "3.2", "test")}


def test_ivy() -> None:
    assert told("ivy.xml", '<ivy-module version="2.0"><info organisation="o" module="m"/><dependencies>'
                '<dependency org="commons-lang" name="commons-lang" rev="2.0"/><dependency name="own" rev="1.+"/>'
                '<dependency org="junit" name="junit" rev="4.13" conf="test->default"/></dependencies>'
                "</ivy-module>") == {
        ("commons-lang/commons-lang", "2.0", ""), ("o/own", "", ""), ("junit/junit", "4.13", "test")}


@pytest.mark.parametrize("path", ["pom.xml", "gradle.lockfile", "build.sbt.lock", "ivy.xml"])
@given(data=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_hostile_files_never_raise(path: str, data: bytes) -> None:
    facts(path, data)


@pytest.mark.peer
@pytest.mark.parametrize(("name", "content", "cataloger"), [
    ("pom.xml", _POM, "java-pom-cataloger"), ("gradle.lockfile", _GRADLE, "java-gradle-lockfile-cataloger")])
def test_syft_lists_the_same(name: str, content: str, cataloger: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    said = subprocess.run([peer("syft"), "-q", f"dir:{tmp_path}", "--override-default-catalogers", cataloger,
                           "-o", "json"],
                          check=True, capture_output=True, env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"})
    theirs = {(row["purl"].partition("@")[0].removeprefix("pkg:maven/"), row["version"])
              for row in json.loads(said.stdout)["artifacts"]}
    mine = {(name, version) for name, version, _ in told(name, content)}
    # A group and a version that are the project's own, and its parent's, syft leaves open.
    assert {row for row in mine if row[1]} - theirs <= {("org.up/own", "3")}
    assert {name for name, _ in theirs} - {"own/own"} == {name for name, _ in mine} - {"org.up/own"}


def test_a_project_whose_name_cannot_be_told_is_counted() -> None:
    text = "<project><groupId>g</groupId><artifactId>${nobody.says}</artifactId><version>1</version></project>"
    assert [fact.name for fact in facts("pom.xml", text)] == ["Maven project whose name its file does not say"]
