"""One image has one name, whatever its spelling; names that no node would pull are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import MalformedError
from custody.formats.reference import Reference, parse, spellings

SHA384 = "sha384:" + "b" * 96
SHA512 = "sha512:" + "c" * 128


@pytest.mark.parametrize(("text", "canonical"), [
    # As distribution/reference 0.6.0 answers (ParseNormalizedNamed, TagNameOnly).
    ("nginx", "docker.io/library/nginx:latest"),
    ("nginx:1", "docker.io/library/nginx:1"),
    ("docker.io/nginx:1", "docker.io/library/nginx:1"),
    ("acme/x:1", "docker.io/acme/x:1"),
    ("index.docker.io/acme/x", "docker.io/acme/x:latest"),
    ("localhost/x", "localhost/x:latest"),
    ("localhost:5000/x", "localhost:5000/x:latest"),
    ("a_b/c", "docker.io/a_b/c:latest"),
    ("a__b/c--d", "docker.io/a__b/c--d:latest"),
    ("host:5000", "docker.io/library/host:5000"),
    ("[::1]:5000/x", "[::1]:5000/x:latest"),
    (f"evil.example/x@{SHA384}", f"evil.example/x@{SHA384}"),
    (f"evil.example/x:1@{SHA512}", f"evil.example/x:1@{SHA512}"),
    # Beyond it: what is the same server has the same name.
    ("GHCR.IO/myorg/app:1", "ghcr.io/myorg/app:1"),
    ("ghcr.io:443/myorg/app:1", "ghcr.io/myorg/app:1"),
    ("ghcr.io:0443/myorg/app:1", "ghcr.io/myorg/app:1"),
    ("ghcr.io:80/myorg/app:1", "ghcr.io:80/myorg/app:1"),
    ("registry-1.docker.io/acme/x:1", "docker.io/acme/x:1"),
    ("registry.hub.docker.com/library/nginx:1", "docker.io/library/nginx:1"),
    ("Registry-1.Docker.IO:443/nginx", "docker.io/library/nginx:latest"),
    ("DOCKER.IO/acme/x:1", "docker.io/acme/x:1"),
    ("[0:0:0:0:0:0:0:1]:05000/x", "[::1]:5000/x:latest"),
    # A host of one label keeps its port: foo/bar is on Docker Hub.
    ("Foo/bar", "foo:443/bar:latest"),
    ("foo:443/bar", "foo:443/bar:latest"),
])
def test_spelling_skips_verification(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical
    assert parse(canonical) == parse(text)


@pytest.mark.parametrize(("text", "reason"), [
    ("x.io:99999/a:1", "a port from 1 to 65535"),
    ("x.io:0/a:1", "a port from 1 to 65535"),
    ("x.io:" + "9" * 5000 + "/a:1", "a port from 1 to 65535"),
    ("a..b.example/x", "a registry's host name"),
    ("a.b./x", "a registry's host name"),
    ("-a.io/x", "a registry's host name"),
    ("a-.io/x", "a registry's host name"),
    ("a_b.c/x", "a registry's host name"),
    ("x" * 64 + ".io/x", "a registry's host name"),
    (".".join(["x" * 60] * 5) + "/x", "a registry's host name"),
    ("[::::]/x:1", "an IPv6 address in the brackets"),
    ("[fe80::1%eth0]/x", "a registry's host name"),
    ("::1/x", "a registry's host name"),
    ("ghcr.io/" + "x" * 256, "an image such as"),
    ("ghcr.io/myorg/Junk:1", "an image such as"),
    ("ghcr.io/app:1\n", "a tag of letters"),
    ("ghcr.io/app\n", "an image such as"),
    ("ghcr.io/app@sha256:" + "a" * 63, "a digest after the @: sha256"),
    ("ghcr.io/app@sha256:" + "A" * 64, "a digest after the @: sha256"),
    ("ghcr.io/app@md5:" + "a" * 32, "a digest after the @: sha256"),
    ("f" * 64, "not 64 hexadecimal digits alone"),
    ("", "an image such as"),
])
def test_names_that_no_node_would_pull(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match="expected .*" + reason):
        parse(text)


def test_spellings_of_docker_hub() -> None:
    names = spellings(parse("nginx:1"))
    assert {"nginx:1", "library/nginx:1", "docker.io/nginx:1", "docker.io/library/nginx:1", "index.docker.io/nginx:1",
            "registry-1.docker.io:443/library/nginx:1"} <= names
    assert spellings(parse(f"ghcr.io/a/b:1@{SHA384}")) == {
        f"ghcr.io{port}/a/b{end}" for port in ("", ":443") for end in (":1", f"@{SHA384}", f":1@{SHA384}")}
    assert {"ghcr.io/a/b", "ghcr.io/a/b:latest"} <= spellings(parse("ghcr.io/a/b"))
    assert spellings(parse("ghcr.io:5000/a/b:1")) == {"ghcr.io:5000/a/b:1"}


def test_a_path_that_reads_as_a_host_is_not_spelled_alone() -> None:
    assert "x.y/z:1" not in spellings(parse("docker.io/x.y/z:1"))
    assert "localhost/z:1" not in spellings(parse("docker.io/localhost/z:1"))


_HOSTS = st.one_of(
    st.sampled_from(["", "docker.io/", "INDEX.docker.io/", "registry-1.docker.io:443/", "ghcr.io/", "GHCR.io:443/",
                     "localhost/", "localhost:5000/", "Foo/", "foo:443/", "[::1]/", "[0::1]:443/", "x.io:80/"]),
    st.from_regex(r"[a-zA-Z0-9]{1,3}(\.[a-zA-Z0-9]{1,3}){0,2}(:[0-9]{1,5})?/", fullmatch=True))
_PATHS = st.from_regex(r"(library/)?[a-z0-9]{1,3}([._-][a-z0-9]{1,2})?(/[a-z]{1,2})?", fullmatch=True)
_ENDS = st.sampled_from(["", ":1", ":latest", f"@{SHA384}", f":1@{SHA512}", "@sha256:" + "a" * 64])


@given(_HOSTS, _PATHS, _ENDS)
def test_every_spelling_is_the_same_image(host: str, path: str, end: str) -> None:
    try:
        ref = parse(host + path + end)
    except MalformedError:
        return
    assert parse(str(ref)) == ref
    assert str(ref) in spellings(ref)
    for spelling in spellings(ref):
        other = parse(spelling)
        assert other.name == ref.name
        assert {other.tag, other.digest} <= {ref.tag, ref.digest, None}


def test_reference_without_tag_is_spelled_as_its_name() -> None:
    assert "ghcr.io/a" in spellings(Reference("ghcr.io", "a"))
