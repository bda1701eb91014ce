"""What each lock file, manifest and installed package of a language says."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.sbom import catalogers, dependencies
from custody.sbom.catalog import catalog
from custody.sbom.catalogers import Fact
from tests.contents.images import METADATA, image
from tests.contents.lockfiles import SAMPLES

_INSTALLED = {"Ruby gem", "Composer", "PEAR package", "R package", "CPAN distribution",
              "perllocal", "direct_url.json", "conda package", "Erlang application",
              "hex metadata", "Lua rock", "opam package", "Conan package", "vcpkg ports"}

_OPEN = "?Python requirement without an exact version"
SAID: dict[str, list[str]] = {
    "npm lock": ["web@1.0.0", "a@1.0.1 MIT", "b@1.5.0 optional", "b@2.0.0", "b@2.0.0", "d@1.0.0 dev", "own@0.1.0"],
    "yarn lock": ["@s/a@1.1.0", "b@1.0.0", "b@2.0.0"],
    "pnpm lock": ["@s/a@1.1.0", "b@2.0.0", "d@1.0.0 dev"],
    "bun lock": ["a@1.0.1", "b@1.5.0", "b@2.0.0 dev", "d@1.0.0 dev"],
    "deno lock": ["a@1.0.0", "b@2.0.0", "@std/x@1.0.0", "@std/y@1.2.0"],
    "Python lock": ["flask-login@0.6.2", "flask@2.0.1", "pytest@8.0.0 dev"],
    "requirements": ["flask@2.0.1", "django@3.2.10", f"{_OPEN} pypi/requests pypi/six"],
    "setup.cfg": ["flask@2.0.1", f"{_OPEN} pypi/six"], "setup.py": ["flask@2.0.1"],
    "pyproject.toml": ["flask@2.0.1", "pytest@8.0.0 dev", f"{_OPEN} pypi/six"],
    "go.mod": ["?Go module replaced by a local folder", "example.org/app@", "github.com/a/b@v1.2.3",
               "github.com/fork/d@v0.2.0", "github.com/e/f@"],
    "Go vendor": ["github.com/a/b@v1.2.3", "github.com/fork/d@v0.2.0"],
    "Cargo lock": ["app@0.1.0", "serde@1.0.1", "rand@0.7.0", "rand@0.8.5"],
    "Bundler lock": ["y@0.1.0", "nokogiri@1.15.0 platform=x86_64-linux", "racc@1.7.1"],
    "gem specification": ["app@1.2.3"], "Ruby gem": ["rake@13.0.6 MIT"],
    "Composer": ["monolog/monolog@2.9.1 MIT", "psr/log@1.1.0RC2 dev"],
    "Composer lock": ["monolog/monolog@2.9.1", "psr/log@1.1.0", "phpunit/phpunit@9.0.0 dev"],
    "PEAR package": ["Archive_Tar@1.4.14 BSD"],
    "CPAN distribution": ["JBERGER/Mojo-JWT@0.9"], "perllocal": ["Try-Tiny@0.31"], "direct_url.json": ["vcs_url@"],
    "R package": ["MASS@7.3-58.2 GPL-2 | GPL-3"], "renv lock": ["R6@2.5.1", "rlang@1.1.0"],
    "conda package": ["numpy@1.26.4 BSD-3-Clause build=py312_0 channel=https://conda.anaconda.org/conda-forge "
                      "subdir=linux-64"],
    "conda environment": ["numpy@1.26.4 build=py312_0", "scipy@1.11.0", "flask@2.0.1",
                          f"{_OPEN} conda/pandas conda/pip"],
    "Erlang application": ["ssl@10.9.1"], "hex metadata": ["jason@1.4.1 Apache-2.0"],
    "rebar lock": ["cowboy@2.9.0", "?Erlang dependency from a repository"],
    "mix lock": ["decimal@2.1.1", "jason@1.4.1", "?Elixir dependency from a repository"],
    "Lua rock": ["lua-cjson@2.1.0-1 MIT"], "rockspec": ["app@1.0-1"],
    "opam package": ["dune@3.10.0 MIT"], "opam lock": ["dune@3.10.0", "alcotest@1.7.0 dev"],
    "Stack lock": ["aeson@2.0.3.0"], "Cabal freeze": ["aeson@2.0.3.0", "bytestring-builder@0.10"],
    "Julia manifest": ["JSON@0.21.4 uuid=682c06a0-de6a-54ab-a142-c8b1cf79cde6",
                       "Parsers@2.5.10 uuid=69de0a69-1ddd-5017-9359-2bf0b02dc9f0"],
    "Conan package": ["zlib@1.2.13"],
    "Conan lock": ["zlib@1.2.13", "own@1.0 user=me channel=stable", "cmake@3.25.0 build"],
    "conanfile": ["zlib@1.2.13", "cmake@3.25.0 build"],
    "vcpkg ports": ["fmt@9.1.0#1 triplet=x64-linux"],
    "vcpkg manifest": ["?vcpkg dependency without a version", "fmt@9.1.0"],
    "Swift lock": ["github.com/apple/swift-nio@2.42.0", "github.com/x/y@abc"],
    "CocoaPods lock": ["Alamofire@5.6.4", "Firebase@10.0.0"],
    "pub lock": ["http@0.13.5", "lints@2.0.0 dev hosted_url=https://pub.example.org"],
    "Terraform lock": ["registry.terraform.io/hashicorp/aws@4.67.0"],
    "GitHub workflow": ["actions/checkout@v4 build", "tj-actions/changed-files@v45.0.7 build",
                        "github/codeql-action@v3 build"],
}
NEEDS: dict[str, set[str]] = {
    "npm lock": {"web a", "web b", "web d", "a b@1.5.0", "d a", "own a"}, "yarn lock": {"@s/a b"},
    "pnpm lock": {"@s/a b"}, "bun lock": {"a b@1.5.0"}, "deno lock": {"a b", "@std/x @std/y"},
    "Python lock": {"flask-login flask"},
    "go.mod": {"example.org/app github.com/a/b", "example.org/app github.com/fork/d",
               "example.org/app github.com/e/f"},
    "Cargo lock": {"app serde", "app rand@0.8.5"}, "Bundler lock": {"nokogiri racc"},
    "Composer": {"monolog/monolog psr/log"}, "Composer lock": {"monolog/monolog psr/log"},
    "renv lock": {"R6 rlang"}, "Julia manifest": {"JSON Parsers"}, "CocoaPods lock": {"Firebase Alamofire"},
    "mix lock": {"jason decimal"}}


def said(fact: Fact) -> str:
    if fact.type == "UNKNOWN":
        return " ".join((f"?{fact.name}", *fact.requires))
    return " ".join(filter(None, (f"{fact.name}@{fact.version}", fact.scope, *fact.licenses,
                                  *(f"{key}={value}" for key, value in fact.qualifiers))))


def facts_of(name: str) -> tuple[Fact, ...]:
    path, text = SAMPLES[name]
    return catalogers.read(name, path, text.encode())


@pytest.mark.parametrize("name", SAMPLES)
def test_each_kind_of_file(name: str) -> None:
    path, _ = SAMPLES[name]
    assert catalogers.choose(path, declared=True) == name
    assert catalogers.choose(path) == (name if name in _INSTALLED else None)
    facts = facts_of(name)
    assert [said(fact) for fact in facts] == SAID[name]
    assert {fact.declared for fact in facts if fact.type.islower()} <= {name not in _INSTALLED}


@pytest.mark.parametrize("name", NEEDS)
def test_edges(name: str) -> None:
    path, _ = SAMPLES[name]
    placed = [(fact, path, f"pkg:{fact.name}@{fact.version}") for fact in facts_of(name) if fact.type != "UNKNOWN"]
    edges = {(purl, needed) for purl, all_needed in dependencies.resolve(placed).items() for needed in all_needed}
    expected = [pair.split(" ") for pair in NEEDS[name]]
    assert len(edges) == len(expected)
    for package, needed in expected:
        assert any(purl.startswith(f"pkg:{package}@") and f"{target}@".startswith(f"pkg:{needed}@")
                   for purl, target in edges), (package, needed)


def test_hashes() -> None:
    hashed = {name: [fact.hashes[0] for fact in facts_of(name) if fact.hashes] for name in SAMPLES}
    assert {name: len(found) for name, found in hashed.items() if found} == {
        "npm lock": 1, "yarn lock": 1, "pnpm lock": 3, "bun lock": 4, "deno lock": 4, "Python lock": 1,
        "requirements": 1, "Cargo lock": 1, "Bundler lock": 1, "Composer": 1, "renv lock": 1, "conda package": 1,
        "rebar lock": 1, "CocoaPods lock": 1, "pub lock": 1}
    assert hashed["npm lock"] == [("sha512", "0" * 128)]
    assert hashed["Python lock"] == [("sha256", "a" * 64)]  # of the wheel for any machine


@pytest.mark.parametrize(("name", "path", "text", "expected"), [
    ("npm lock", "package-lock.json", '{"name": "w", "version": "1", "lockfileVersion": 1, "dependencies": {'
     '"a": {"version": "1.0.0", "requires": {"b": "1"}, "dependencies": {"b": {"version": "1.1.0"}}},'
     '"b": {"version": "2.0.0", "dev": true}, "c": {"version": "npm:d@3.0.0"}, "e": {"version": "git+https://x#1"}}}',
     ["w@1", "a@1.0.0", "b@2.0.0 dev", "d@3.0.0", "e@", "b@1.1.0"]),
    ("yarn lock", "yarn.lock", '__metadata:\n  version: 8\n\n"a@npm:^1, a@npm:^1.1":\n  version: 1.1.0\n'
     '  resolution: "a@npm:1.1.0"\n  dependencies:\n    b: "npm:^2"\n  checksum: 10/x\n\n"al@npm:b@^2, b@npm:^2":\n'
     '  version: 2.0.0\n  resolution: "b@npm:2.0.0"\n\n"w@workspace:.":\n  version: 0.0.0-use.local\n'
     '  resolution: "w@workspace:."\n', ["a@1.1.0", "b@2.0.0"]),
    ("pnpm lock", "pnpm-lock.yaml", "lockfileVersion: 5.4\ndependencies:\n  a: 1.0.0_b@2.0.0\npackages:\n"
     "  /a/1.0.0_b@2.0.0:\n    dependencies:\n      b: 2.0.0\n    dev: false\n  /@s/c/3.0.0:\n    dev: true\n"
     "  /b/2.0.0:\n    dev: false\n", ["a@1.0.0", "@s/c@3.0.0 dev", "b@2.0.0"]),
    ("pnpm lock", "pnpm-lock.yaml", "lockfileVersion: '6.0'\npackages:\n  /a@1.0.0(b@2.0.0):\n    dev: false\n"
     "  '@github.com/x/y/abc':\n    name: y\n    version: 4.0.0\n", ["a@1.0.0", "y@4.0.0"]),
    ("Python lock", "uv.lock", '[[package]]\nname = "w"\nversion = "1"\nsource = { virtual = "." }\ndependencies = ['
     '{ name = "a" }]\n[package.dev-dependencies]\ndev = [{ name = "p" }]\n[[package]]\nname = "a"\nversion = "2"\n'
     '[[package]]\nname = "p"\nversion = "3"\n', ["w@1", "a@2", "p@3 dev"]),
    ("Python lock", "pdm.lock", '[[package]]\nname = "a"\nversion = "1"\ngroups = ["default"]\n'
     'dependencies = ["b>=1"]\n'
     '[[package]]\nname = "b"\nversion = "2"\ngroups = ["dev"]\n', ["a@1", "b@2 dev"]),
    ("Python lock", "pylock.ci.toml", '[[packages]]\nname = "a"\nversion = "1"\n[[packages]]\nname = "b"\n'
     'vcs = {type = "git", url = "x"}\n[[packages]]\nname = "c"\n',
     ["a@1", "b@", "?Python package without a version in a lock file"]),
    ("Python lock", "Pipfile.lock", '{"default": {"A_b": {"version": "==1.0"}}, "develop": {"p": {"version": "==2"},'
     '"q": {"version": "*"}}}', ["a-b@1.0", "p@2 dev", "?Python package without a version in a lock file"]),
    ("Python lock", "poetry.lock", '[[package]]\nname = "a"\nversion = "1"\ncategory = "dev"\n', ["a@1 dev"]),
    ("Composer", "vendor/composer/installed.json", '[{"name": "a/b", "version": "dev-main"}, {"name": "b"}]',
     ["a/b@dev-main", "?Composer package without a name and a version"]),
    ("Ruby gem", "x/specifications/y.gemspec", "Gem::Specification.new do |s|\n  s.name = %q{y}\n"
     "  s.version = Gem::Version.new(\"1.2\")\n  s.platform = 'java'\nend\n", ["y@1.2 platform=java"]),
    ("gem specification", "a.gemspec", "Gem::Specification.new { |s| s.name = 'a'\n s.version = A::VERSION }", []),
    ("Julia manifest", "Manifest.toml", '[[JSON]]\nuuid = "682c"\nversion = "0.21.4"\n', ["JSON@0.21.4 uuid=682c"]),
    ("Conan lock", "conan.lock", '{"graph_lock": {"nodes": {"0": {"requires": ["1"]}, "1": {"ref": "zlib/1.2.13"}}}}',
     ["zlib@1.2.13"]),
    ("Swift lock", "Package.resolved", '{"object": {"pins": [{"package": "x", "repositoryURL": '
     '"https://github.com/a/x", "state": {"version": "1.0.0"}}]}, "version": 1}', ["github.com/a/x@1.0.0"]),
    ("PEAR package", "php/.registry/.channel.pecl.php.net/x.reg", 's:4:"name";s:5:"redis";s:7:"channel";'
     's:12:"pecl.php.net";s:7:"version";a:1:{s:7:"release";s:5:"5.3.7";}', ["redis@5.3.7"]),
    ("deno lock", "deno.lock", '{"version": "3", "packages": {"npm": {"a@1.0.0": {"dependencies": {"b": "b@2.0.0"}},'
     '"b@2.0.0": {}}}, "remote": {"https://deno.land/x": "1"}}', ["a@1.0.0", "b@2.0.0", "?Deno modules by address"]),
])
def test_older_and_stranger_forms(name: str, path: str, text: str, expected: list[str]) -> None:
    assert catalogers.choose(path, declared=True) == name
    assert [said(fact) for fact in catalogers.read(name, path, text.encode())] == expected


@pytest.mark.parametrize(("name", "text"), [
    ("npm lock", "{}"), ("npm lock", "[]"), ("npm lock", '{"packages": []'), ("yarn lock", "what is this"),
    ("pnpm lock", "a: &b c\n"), ("pnpm lock", "packages: {}\n"), ("pnpm lock", "lockfileVersion: 1\n  x: 1\n"),
    ("bun lock", '{"packages": {}}'), ("bun lock", '{"lockfileVersion": 1, "packages": {"a": []}}'),
    ("Python lock", "x = 1"), ("Python lock", "a = " + "[" * 5000), ("Cargo lock", "[[package]"),
    ("go.mod", "go 1.2\n"),
    ("Bundler lock", "nothing"), ("Bundler lock", "GEM\n  specs:\n    ??\n"), ("Composer", '{"a": 1}'),
    ("Composer lock", "{}"), ("R package", "Package: x\n"), ("conda package", '{"name": "x"}'),
    ("Erlang application", "x"), ("mix lock", "x"), ("rebar lock", "x"), ("Terraform lock", "x = 1\n"),
    ("pub lock", "x: 1\n"), ("CocoaPods lock", "PODS: x\n"), ("Swift lock", '{"pins": {}}'), ("renv lock", "{}"),
    ("deno lock", "{}"), ("PEAR package", "x"), ("Conan lock", "{}"), ("Cabal freeze", "x"), ("setup.cfg", "[a"),
    ("GitHub workflow", "a: [b"), ("opam package", "x"), ("Julia manifest", "[["),
    ("deno lock", '{"version": "1", "npm": {"a": {}}}')])
def test_what_cannot_be_read_is_counted(name: str, text: str) -> None:
    path = SAMPLES[name][0].replace(".3.10.0", "") if name == "opam package" else SAMPLES[name][0]
    assert [said(fact) for fact in catalogers.read(name, path, text.encode())] == [f"?unreadable {name} file"]


_JSON = sorted(name for name, (_, text) in SAMPLES.items() if text.lstrip()[:1] == "{" and name not in (
    "bun lock", "rebar lock", "Erlang application", "hex metadata"))
_VALUES = st.sampled_from([None, True, 0, 1.5, "", "a", "a@1", [], {}, [[]], [{}], {"": ""}, {"a": []}, ["a", None]])


@pytest.mark.parametrize("name", SAMPLES)
@given(data=st.data())
def test_any_change_of_the_text_is_read_or_counted(name: str, data: st.DataObject) -> None:
    path, text = SAMPLES[name]
    content = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(len(content), start + 40)))
        content[start:end] = data.draw(st.one_of(st.binary(max_size=8), st.sampled_from(
            [b"\n", b"{", b"]", b'"', b"'", b":", b"  ", b"\\", b"\xff", b"- ", b"@", b"=="])))
    assert isinstance(catalogers.read(name, path, bytes(content)), tuple)


@pytest.mark.parametrize("name", _JSON)
@given(data=st.data())
def test_any_change_of_the_shape_is_read_or_counted(name: str, data: st.DataObject) -> None:
    path, text = SAMPLES[name]

    def changed(value: Any) -> Any:
        if data.draw(st.integers(0, 9)) == 0:
            return data.draw(_VALUES)
        if isinstance(value, dict):
            return {key: changed(inner) for key, inner in value.items()}
        return [changed(inner) for inner in value] if isinstance(value, list) else value

    assert isinstance(catalogers.read(name, path, json.dumps(changed(json.loads(text))).encode()), tuple)


def _egg(folder: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}/PKG-INFO", METADATA)
    return out.getvalue()


def test_eggs_and_where_packages_are_from(tmp_path: Path) -> None:
    vcs = b'{"url": "https://u:p@example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}'
    other = METADATA.replace(b"Flask_Login", b"other")
    found = catalog(image(tmp_path, [
        ("s/a-1-py3.egg", _egg("EGG-INFO")), ("s/b-1-py3.egg", _egg("OTHER")), ("s/c-1-py3.egg", b"PK"),
        ("s/x.dist-info/METADATA", METADATA.replace(b"Flask_Login", b"x")), ("s/x.dist-info/direct_url.json", vcs),
        ("s/y.dist-info/METADATA", other),
        ("s/y.dist-info/direct_url.json", b'{"url": "file:///home/me/y", "dir_info": {"editable": true}}')]))
    assert [package.purl for package in found.packages] == [
        "pkg:pypi/flask-login@0.6.2", "pkg:pypi/other@0.6.2",
        "pkg:pypi/x@0.6.2?vcs_url=git%2Bhttps:%2F%2Fexample.org%2Fx.git%40abc"]
    assert {unknown.kind: unknown.count for unknown in found.unknowns} == {
        "Python egg without metadata": 1, "unreadable Python egg file": 1}
