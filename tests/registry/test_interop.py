"""Real clients against custody's registry: the digests they see must be the same."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import peer
from tests.serving import registry_on

pytestmark = pytest.mark.peer


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with registry_on(tmp_path / "registry") as (place, _):
        yield place


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    (tmp_path / "hello").write_text("hello")
    with tarfile.open(tmp_path / "layer.tar", "w") as tar:
        tar.add(tmp_path / "hello", "hello")
    return tmp_path / "layer.tar"


def test_crane(host: str, layer: Path, tmp_path: Path) -> None:
    crane = peer("crane")
    run(crane, "append", "--oci-empty-base", "-f", str(layer), "-t", f"{host}/app:1")
    digest = run(crane, "digest", f"{host}/app:1")
    run(crane, "copy", f"{host}/app:1", f"{host}/other/app:2")
    assert run(crane, "digest", f"{host}/other/app:2") == digest
    assert run(crane, "ls", f"{host}/app") == "1"
    assert run(crane, "catalog", host).split() == ["app", "other/app"]
    run(crane, "pull", "--format=oci", f"{host}/app:1", str(tmp_path / "pulled"))
    assert json.loads((tmp_path / "pulled" / "index.json").read_text())["manifests"][0]["digest"] == digest
    run(crane, "validate", "--remote", f"{host}/app:1")
    run(crane, "delete", f"{host}/app@{digest}")
    assert subprocess.run([crane, "digest", f"{host}/app:1"], capture_output=True, check=False).returncode != 0


def test_oras_referrers_and_recursive_copy(host: str, layer: Path, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    oras = peer("oras")
    monkeypatch.chdir(layer.parent)
    run(oras, "push", "--plain-http", f"{host}/art:1", "--artifact-type", "a/b", "layer.tar:x/y")
    run(oras, "attach", "--plain-http", f"{host}/art:1", "--artifact-type", "sbom/x", "hello")
    found = json.loads(run(oras, "discover", "--plain-http", "--format", "json", f"{host}/art:1"))
    assert [entry["artifactType"] for entry in found["referrers"]] == ["sbom/x"]
    run(oras, "copy", "-r", "--from-plain-http", "--to-plain-http", f"{host}/art:1", f"{host}/copy:1")
    copied = json.loads(run(oras, "discover", "--plain-http", "--format", "json", f"{host}/copy:1"))
    assert copied["referrers"][0]["digest"] == found["referrers"][0]["digest"]
    run(oras, "pull", "--plain-http", "-o", str(tmp_path / "out"), f"{host}/copy:1")
    assert (tmp_path / "out" / "layer.tar").read_bytes() == layer.read_bytes()
    assert run(oras, "repo", "tags", "--plain-http", f"{host}/copy") == "1"


def test_skopeo(host: str, layer: Path, tmp_path: Path) -> None:
    skopeo, crane = peer("skopeo"), peer("crane")
    run(crane, "append", "--oci-empty-base", "-f", str(layer), "-t", f"{host}/app:1")
    plain = ["--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"]
    run(skopeo, *plain, f"docker://{host}/app:1", f"docker://{host}/skopeo:1")
    run(skopeo, *plain, f"docker://{host}/app:1", f"oci:{tmp_path / 'layout'}:x")
    run(skopeo, *plain, f"oci:{tmp_path / 'layout'}:x", f"docker://{host}/back:1")
    digests = {run(crane, "digest", f"{host}/{name}:1") for name in ("app", "skopeo", "back")}
    assert len(digests) == 1
    assert json.loads(run(skopeo, "inspect", "--tls-verify=false", f"docker://{host}/app:1"))["Digest"] in digests
    assert json.loads(run(skopeo, "list-tags", "--tls-verify=false", f"docker://{host}/app"))["Tags"] == ["1"]


@pytest.mark.parametrize("sparse", [False, True])
def test_oci_conformance(tmp_path: Path, sparse: bool) -> None:
    """distribution-spec/conformance: nothing fails, nothing is skipped."""
    program = peer("conformance")
    with registry_on(tmp_path / "registry", sparse_indexes=sparse) as (host, _):
        environment = {"OCI_REGISTRY": host, "OCI_TLS": "disabled", "OCI_REPO1": "conformance/one",
                       "OCI_REPO2": "conformance/two", "OCI_VERSION": "dev", "OCI_RESULTS_DIR": str(tmp_path),
                       **({"OCI_DATA_SPARSE": "true"} if sparse else {})}
        done = subprocess.run([program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
                              check=False)
    counts = dict(re.findall(r"^  (Disabled|Skip|Pass|FAIL|Error|Total)\.+: +(\d+)$", done.stdout, re.MULTILINE))
    assert (done.returncode, counts["FAIL"], counts["Error"], counts["Skip"]) == (0, "0", "0", "0"), done.stdout
    assert int(counts["Pass"]) > 800
