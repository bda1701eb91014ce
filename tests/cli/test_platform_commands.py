"""`custody trust`, `sign`, `attest`, `check`, `replay`, `tree`, `registry` against `custody up`."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import custody
from tests.cli.test_source_and_build import DEFINITION, SCRIPT
from tests.demo.worlds import small_image
from tests.server.test_platform import free_port, start, stop
from tests.source.repositories import GitFolder

POLICY = """
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{name: signed}}
spec:
  validationFailureAction: Enforce
  rules:
    - name: by-ann
      match: {{any: [{{resources: {{kinds: [Pod]}}}}]}}
      verifyImages:
        - imageReferences: ["ghcr.io/team/*"]
          attestors:
            - entries:
                - keyless:
                    issuer: {url}/oidc
                    subject: ann@example.com
                    rekor: {{url: "{url}"}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder with custody.toml in which the services run."""
    port, webhook = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "custody.toml").write_text(
        f'policies = ["policy.yaml"]\nkeep_evidence = 0\n[mirrors]\n"ghcr.io/team" = "127.0.0.1:{port}/team"\n')
    (tmp_path / "policy.yaml").write_text(POLICY.format(url=url))
    process = start(tmp_path, "up", "--port", str(port), "--webhook-port", str(webhook))
    try:
        yield tmp_path, url
    finally:
        stop(process, signal.SIGTERM)


def push(folder: Path, url: str) -> str:
    """An image at ghcr.io/team/app:1, through the registry's own port."""
    import asyncio

    from custody.adapters.http.stdlib import StdlibHttp
    from custody.formats.reference import parse
    from custody.registry.client import RegistryClient
    from custody.registry.image import open_layout
    from custody.services.targets import push as push_image

    layout = small_image(folder / "image")
    image = open_layout(layout)
    with image.open_blob(image.descriptor) as stream:
        data = stream.read()

    async def main() -> str:
        async with RegistryClient(StdlibHttp()) as client:
            ref = parse(f"{url.removeprefix('http://')}/team/app:1")
            return (await push_image(image, ref, client, "1", data)).digest

    return asyncio.run(main())


def test_from_token_to_verdict(place: tuple[Path, str]) -> None:
    folder, url = place
    digest = push(folder, url)
    image = f"ghcr.io/team/app@{digest}"
    done = custody("check", "ghcr.io/team/app:1", cwd=folder)
    assert done.returncode == 3
    assert "✗ signed/by-ann  ghcr.io/team/app:1" in done.stdout
    assert "no signatures found (missing)" in done.stdout
    assert f"try: custody sign ghcr.io/team/app@{digest}" in done.stdout

    token = custody("trust", "token", "--url", url, "--email", "ann@example.com", cwd=folder).stdout
    (folder / "token").write_text(token)
    done = custody("sign", "-y", "--identity-token", "token", image, cwd=folder)
    assert done.returncode == 0, done.stderr
    done = custody("check", "ghcr.io/team/app:1", "--record", "records", "-o", "json", cwd=folder)
    assert done.returncode == 0, done.stdout
    answer = json.loads(done.stdout)[0]
    assert answer["allowed"]
    assert answer["patch"][0]["value"] == f"ghcr.io/team/app:1@{digest}"
    assert answer["evidence"]["ghcr.io/team/app:1"]["verified"][0]["signer"] == f"ann@example.com ({url}/oidc)"
    record = next((folder / "records").iterdir())
    assert answer["inputs_digest"].replace(":", "-") in record.name
    replayed = custody("replay", str(record), cwd=folder)
    assert replayed.returncode == 0
    assert answer["inputs_digest"] in replayed.stdout
    (folder / "other.yaml").write_text(POLICY.format(url=url).replace("ann@example.com", "bob@example.com"))
    replayed = custody("replay", str(record), "--policy", "other.yaml", cwd=folder)
    assert replayed.returncode == 3
    assert "subject mismatch: expected bob@example.com, received ann@example.com" in replayed.stdout

    done = custody("verify", "--certificate-identity", "ann@example.com", "--certificate-oidc-issuer", f"{url}/oidc",
                   image, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "ann@example.com" in custody("tree", image, cwd=folder).stdout
    assert custody("log", "verify", cwd=folder).returncode == 0


def test_check_reads_pods_and_standard_input(place: tuple[Path, str]) -> None:
    folder, _ = place
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
           "spec": {"containers": [{"name": "a", "image": "docker.io/library/nginx:1"}]}}
    (folder / "pod.yaml").write_text(json.dumps(pod) + "\n---\n" + json.dumps({**pod, "metadata": {"name": "two"}}))
    done = custody("check", "pod.yaml", cwd=folder)
    assert done.returncode == 4, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines() if ": not judged" in line] == [
        "Pod/default/web", "Pod/default/two"]
    done = custody("check", "-", "--namespace", "prod", "--allow-unjudged", cwd=folder, given=json.dumps(pod))
    assert (done.returncode, done.stdout.split("  ")[0]) == (0, "Pod/prod/web: not judged")


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (("check", "oci:image"), 2, "oci:image: image is no folder"),
    (("check", "archive:image.tar"), 2, "evidence is kept in registries and OCI layouts"),
    (("check", "nginx", "--policy", "no-such.yaml"), 2, "no-such.yaml"),
    (("check", "Not/A/Name"), 2, "got 'Not/A/Name'"),
    (("trust", "token"), 2, "give one of --email and --workload"),
    (("trust", "token", "--workload", "builder", "--subject", "https://evil.example/x"), 2, "a URI below"),
    (("registry", "history", "none:1"), 4, "no registry is here"),
    (("serve", "--roles", "rekor"), 2, "got 'rekor'"),
    (("serve", "--roles", "admission", "--kubeconfig", "none"), 2, "none: No such file or directory"),
    (("up", "--kubeconfig", "none"), 2, "none: No such file or directory"),
    (("demo", "--nonsense"), 2, "No such option"),
    (("--offline", "demo"), 6, "--offline"),
])
def test_refusals(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY.format(url="http://127.0.0.1:1"))
    (tmp_path / "custody.toml").write_text('policies = ["policy.yaml"]\n')
    done = custody(*arguments, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert words in done.stderr


def test_trust_export_and_workload_tokens(tmp_path: Path) -> None:
    done = custody("trust", "export", "out", cwd=tmp_path)
    assert done.stdout.split() == ["out/trusted_root.json", "out/signing_config.json"]
    root = json.loads((tmp_path / "out" / "trusted_root.json").read_text())
    assert root["mediaType"] == "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
    token = custody("trust", "token", "--workload", "scanner", cwd=tmp_path).stdout
    assert token.count(".") == 2
    assert (tmp_path / ".custody" / "trust" / "oidc.key").stat().st_mode & 0o077 == 0


def test_scrub_and_history(place: tuple[Path, str]) -> None:
    folder, url = place
    digest = push(folder, url)
    done = custody("registry", "history", "team/app:1", cwd=folder)
    assert digest in done.stdout
    done = custody("registry", "history", "team/app:2", cwd=folder)
    assert (done.returncode, done.stderr) == (4, "error: team/app:2: this registry never had such a tag\n")
    assert custody("registry", "scrub", cwd=folder).returncode == 0
    victim = folder / ".custody" / "registry" / "blobs" / "sha256" / digest.removeprefix("sha256:")
    victim.write_bytes(victim.read_bytes() + b" ")
    done = custody("registry", "scrub", cwd=folder)
    assert done.returncode == 4
    assert digest in done.stderr
    done = custody("registry", "scrub", cwd=folder)  # in quarantine, so the image lacks it until it is pushed again
    assert done.returncode == 4
    assert f"no file of: {digest}" in done.stderr
    shutil.rmtree(folder / "image")
    assert push(folder, url) == digest
    assert custody("registry", "scrub", cwd=folder).returncode == 0


def test_a_broken_database_is_named(tmp_path: Path) -> None:
    (tmp_path / ".custody").mkdir()
    (tmp_path / ".custody" / "advisories.db").write_bytes(b"not a database at all, but long enough to be read" * 50)
    done = custody("db", "status", cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1, "error: .custody/advisories.db: file is not a database")


def test_build_and_push_signs_as_the_builder_that_it_was(place: tuple[Path, str]) -> None:
    folder, url = place
    repository = GitFolder(folder / "git")
    repository.commit("ann", "first", files={"custody-build.toml": DEFINITION, "build.py": SCRIPT})
    for subject, code, words in (("bubblewrap", 3, "signed by https://builder.custody.internal/bubblewrap/v1, built by "
                                                   "https://builder.custody.internal/none/v1"),
                                 ("none", 0, "provenance attested by https://builder.custody.internal/none/v1")):
        token = custody("trust", "token", "--url", url, "--workload", "builder", "--subject",
                        f"https://builder.custody.internal/{subject}/v1", cwd=folder).stdout
        (folder / "token").write_text(token)
        done = custody("build", str(repository.path), "--repository", "https://git.example/shop", "--isolation", "none",
                       "-o", f"oci:image-{subject}", "--push", "ghcr.io/team/shop:1", "--identity-token", "token", "-y",
                       cwd=folder)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
    done = custody("verify-attestation", "--type", "slsaprovenance1", "--certificate-identity",
                   "https://builder.custody.internal/none/v1", "--certificate-oidc-issuer",
                   "https://builder.custody.internal", "ghcr.io/team/shop:1", cwd=folder)
    assert done.returncode == 0, done.stderr


def test_settings_errors(tmp_path: Path) -> None:
    for text, words in (("nonsense = 1\n", "nonsense"), ("[urls]\nrekor = 'x'\n", "urls"), ("= 1", "TOML"),
                        ("[[issuers]]\njwks = 'x'\n", "url")):
        (tmp_path / "custody.toml").write_text(text)
        done = custody("db", "status", cwd=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr
