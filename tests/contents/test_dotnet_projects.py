"""What .NET projects ask for, and programs in a single file; Python packages that are run from their sources."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.sbom.catalog import Folder, catalog, catalog_folder
from custody.sbom.catalogers import dotnetbundles, read
from tests.contents.images import image
from tests.contents.test_dotnet import DEPS

OPEN = "NuGet reference whose version its file does not say"


def facts(name: str, path: str, content: bytes) -> list[tuple[str, str, str]]:
    return [(fact.name, fact.version, fact.scope) for fact in read(name, path, content)]


def test_packages_config() -> None:
    assert facts("packages.config", "app/packages.config", b"""\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>
<packages>
  <package id="Newtonsoft.Json" version="13.0.1" targetFramework="net48" />
  <package id="StyleCop.Analyzers" version="1.1.118" developmentDependency="true" />
  <package id="Open" version="[1.0,2.0)" /><package id="bad name" version="1.0" /><package version="1.0" />
</packages>""") == [("Newtonsoft.Json", "13.0.1", ""), ("StyleCop.Analyzers", "1.1.118", "build"),
                    *[(OPEN, "", "")] * 3]


def test_central_versions() -> None:
    assert facts("Directory.Packages.props", "Directory.Packages.props", b"""<Project>
  <PropertyGroup><ManagePackageVersionsCentrally>true</ManagePackageVersionsCentrally><Log>2.12.0</Log></PropertyGroup>
  <ItemGroup><PackageVersion Include="Serilog" Version="$(Log)" /><PackageVersion Include="Dapper">
    <Version>2.0.123</Version></PackageVersion><PackageVersion Include="Any" Version="$(Elsewhere)" /></ItemGroup>
  <ItemGroup><GlobalPackageReference Include="Nerdbank.GitVersioning" Version="3.5.119" /></ItemGroup>
</Project>""") == [("Serilog", "2.12.0", ""), ("Dapper", "2.0.123", ""), (OPEN, "", ""),
                   ("Nerdbank.GitVersioning", "3.5.119", "build")]


def test_a_project() -> None:
    assert facts(".NET project", "src/App/App.csproj", b"""<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup><Base>7</Base><Logging>$(base).0.0</Logging></PropertyGroup>
  <PropertyGroup Condition="'$(Configuration)' == 'Debug'"><Logging>9.9.9</Logging></PropertyGroup>
  <ItemGroup Condition="'$(OS)' == 'Windows_NT'">
    <PackageReference Include="Microsoft.Extensions.Logging" Version="$(Logging)" />
    <PackageReference Include="Serilog"><Version>[2.12.0]</Version></PackageReference>
    <PackageReference Include="Central" /><PackageReference Include="Pinned" VersionOverride="1.2.3-rc.1+build" />
    <PackageReference Include="Floating" Version="1.*" /><PackageReference Update="xunit" Version="2.4.2" />
    <PackageReference Include="Analyzer" Version="1.0.0" PrivateAssets="all" />
    <ProjectReference Include="../Lib/Lib.csproj" /></ItemGroup>
</Project>""") == [("Microsoft.Extensions.Logging", "7.0.0", ""), ("Serilog", "2.12.0", ""), (OPEN, "", ""),
                   ("Pinned", "1.2.3-rc.1", ""), (OPEN, "", ""), ("xunit", "2.4.2", ""), ("Analyzer", "1.0.0", "build")]
    old = b"""<Project ToolsVersion="15.0" xmlns="http://schemas.microsoft.com/developer/msbuild/2003"><ItemGroup>
<PackageReference Include="NUnit"><Version>3.13.3</Version></PackageReference></ItemGroup></Project>"""
    assert facts(".NET project", "App.vbproj", old) == [("NUnit", "3.13.3", "")]


@pytest.mark.parametrize("content", [
    b"", b"<Project", b"<packages/>", b'<!DOCTYPE p [<!ENTITY a "aa">]><Project/>', b"<a>" * 1000,
    b"<Project><PropertyGroup><A>$(B)$(B)$(B)</A><B>$(A)$(A)$(A)</B></PropertyGroup><ItemGroup>"
    b'<PackageReference Include="X" Version="$(A)"/></ItemGroup></Project>'])
def test_projects_that_are_none(content: bytes) -> None:
    (fact,) = read(".NET project", "x.csproj", content)
    assert fact.name in (OPEN, "unreadable .NET project file")


def test_projects_are_asked_for_in_folders_and_not_there_in_images(tmp_path: Path) -> None:
    project = b'<Project><ItemGroup><PackageReference Include="Dapper" Version="2.0.123"/></ItemGroup></Project>'
    assert [p.purl for p in catalog(image(tmp_path / "i", [("src/App.csproj", project)])).packages] == []
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "App.CSPROJ").write_bytes(project)
    (package,) = catalog_folder(Folder(path=tmp_path / "d", declared=True), "dir")[0].packages
    assert (package.purl, package.declared, package.ecosystem) == ("pkg:nuget/Dapper@2.0.123", True, "NuGet")


MARK = bytes.fromhex("8b1202b96a612038727b930214d7a03213f5b9e6efae3318ee3b2dce24b36aae")
"""dotnet/runtime, apphost: bundle_marker.cpp."""


def bundle(deps: bytes, *, major: int = 6, mark: bytes = MARK, start: int | None = None, count: int | None = None,
           header: int | None = None, identifier: bytes = b"abcdefgh0123") -> bytes:
    """A host, and behind it a deps.json and a bundle's header, laid out as the SDK does."""
    length = 4096
    head = bytearray(b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHI", 3, 62, 1) + bytes(16) +
                     struct.pack("<Q", length - 64) + bytes(4) + struct.pack("<HHHHHH", 64, 56, 0, 64, 1, 0))
    host = bytearray(bytes(head) + bytes(length - len(head)))
    place = length + len(deps)
    host[1000:1040] = struct.pack("<Q", place if header is None else header) + mark
    fixed = struct.pack("<IIi", major, 0, 1) + bytes([len(identifier)]) + identifier
    more = struct.pack("<qqqqQ", length if start is None else start, len(deps) if count is None else count, 0, 0, 0)
    return bytes(host) + deps + fixed + (more if major > 1 else b"") + bytes(64)


def test_a_program_in_a_single_file(tmp_path: Path) -> None:
    result = catalog(image(tmp_path / "i", [("app/shop", bundle(json.dumps(DEPS).encode()))]))
    packages = {package.purl: package for package in result.packages}
    assert "pkg:nuget/Newtonsoft.Json@13.0.3" in packages
    assert "pkg:nuget/Analyzer@1.0.0" not in packages  # it is not in the program
    package = packages["pkg:nuget/Newtonsoft.Json@13.0.3"]
    assert [(place.path, place.evidence) for place in package.locations] == [("app/shop", "deps.json of the bundle")]
    assert package.requires == ()
    assert packages["pkg:nuget/Meta@2.0.0"].requires == ("pkg:nuget/Newtonsoft.Json@13.0.3",)


@pytest.mark.parametrize(("content", "names"), [
    (bundle(b"{}", mark=bytes(32)), []), (bundle(b"{}", header=0), []),
    (bundle(b"{}", major=1), [".NET bundle without deps.json"]),
    (bundle(b"{}", count=0), [".NET bundle without deps.json"]),
    (bundle(b"{}", header=1 << 40), ["unreadable program file"]),
    (bundle(b"{}", start=-1), ["unreadable program file"]),
    (bundle(b"{}", count=1 << 40), ["unreadable program file"]), (bundle(b"{"), ["unreadable program file"]),
    (bundle(b"{}")[:-100], ["unreadable program file"])])
def test_bundles_that_lie(content: bytes, names: list[str]) -> None:
    assert [fact.name for fact in read("program", "app/shop", io.BytesIO(content)) if fact.type == "?"
            or "bundle" in fact.name or "unreadable" in fact.name] == names


@given(st.integers(0, 4300), st.binary(max_size=40))
def test_any_bytes_in_a_bundle(place: int, more: bytes) -> None:
    content = bytearray(bundle(json.dumps(DEPS).encode()))
    content[place:place + len(more)] = more
    read("program", "app/shop", io.BytesIO(bytes(content)))


def test_a_program_that_ends_with_its_sections_is_not_looked_through() -> None:
    spent: list[int] = []
    content = bundle(b"{}")[:4096]
    assert list(dotnetbundles.read("a", io.BytesIO(content), spent.append)) == []
    assert spent == []


def test_a_package_that_is_run_from_its_sources(tmp_path: Path) -> None:
    """Its metadata is where its sources are; where those are not there, nobody knows it."""
    metadata = b"Metadata-Version: 2.1\nName: my-app\nVersion: 1.2\n"
    members = [("usr/lib/python3/site-packages/my-app.egg-link", b"/srv/my-app\n."),
               ("srv/my-app/my_app.egg-info/PKG-INFO", metadata),
               ("usr/lib/python3/site-packages/gone.egg-link", b"/srv/gone\n.")]
    result = catalog(image(tmp_path / "i", members))
    assert [package.purl for package in result.packages] == ["pkg:pypi/my-app@1.2"]
    assert [(row.kind, row.examples) for row in result.unknowns] == [
        ("Python package in development", ("usr/lib/python3/site-packages/gone.egg-link",))]

