"""No flag is accepted and not obeyed; passwords come from where a script has them; local paths are not a network's."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from custody.admission.certs import ServingCertificate
from custody.cli.contents import columns
from custody.cli.run import run
from tests.cli.commands import custody
from tests.conftest import peer
from tests.contents.images import layout, tar

IMAGE = "127.0.0.1:1/shop@sha256:" + "0" * 64


@pytest.fixture(name="folder", autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COSIGN_PASSWORD", "pw")
    return tmp_path


def test_tlog_upload_true_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate-key-pair"]) == 0
    for command in (["sign"], ["attest", "--predicate", "p.json"]):
        Path("p.json").write_text("{}")
        assert run([*command, "--tlog-upload=true", "--key", "cosign.key", IMAGE]) == 2
        assert "--tlog-upload=true: no signing config names a log" in capsys.readouterr().err
    Path("config.json").write_text('{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}')
    assert run(["sign", "--tlog-upload=true", "--signing-config", "config.json", "--key", "cosign.key", IMAGE]) == 2
    assert "no signing config names a log" in capsys.readouterr().err
    # Without the flag there is no log to ask for: it goes on, to a registry that is not there.
    assert run(["sign", "--key", "cosign.key", IMAGE]) == 6


@pytest.mark.parametrize(("arguments", "reason"), [
    (["sign", "--key", "cosign.key", "--identity-token", "a.b.c", IMAGE], "--key and --identity-token: give one"),
    (["sign", "--key", "cosign.key", "--upload=false", IMAGE], "--upload=false: the signature would be kept nowhere"),
    (["build", ".", "--repository", "x:", "-o", "oci:x", "--tlog-upload=false"], "--tlog-upload: is about signing"),
    (["build", ".", "--repository", "x:", "-o", "oci:x", "--signing-config", "c"], "--signing-config: is about"),
    (["build", ".", "--repository", "x:", "-o", "oci:x", "--trusted-root", "c"], "--trusted-root: is about signing"),
    (["trust", "token", "--email", "a@b.example", "--subject", "https://x"], "--subject: is a workload's"),
    (["serve", "--roles", "log", "--policy", "p.yaml"], "--policy: is for the admission role, and --roles names log"),
    (["serve", "--roles", "log", "--kubeconfig", "k"], "--kubeconfig: is for the admission role, and --roles names"),
    (["serve", "--roles", "log", "--webhook-name", "a"], "--webhook-name: is for the admission role"),
    (["sign", "--yes=perhaps", IMAGE], "--yes=perhaps: expected true or false"),
])
def test_flags_that_could_not_be_obeyed_are_refused(arguments: list[str], reason: str,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    layout(Path("image"), [tar([("a", b"")])])
    assert run(arguments) == 2
    assert reason in capsys.readouterr().err


def test_a_platform_that_is_the_images_own(capsys: pytest.CaptureFixture[str]) -> None:
    layout(Path("image"), [tar([("a", b"")])])
    for platform in ("linux", "linux/amd64", "linux/amd64/v2"):  # the image names no variant
        assert run(["sbom", "oci:image", "--platform", platform]) == 0, capsys.readouterr().err
    capsys.readouterr()
    for command, platform in ((["sbom"], "linux/arm64"), (["scan", "--allow-empty-db"], "windows")):
        assert run([*command, "oci:image", "--platform", platform]) == 4
        said = capsys.readouterr()
        assert f"is an image of linux/amd64 by its own configuration, asked for {platform}" in said.err
        assert said.out == ""


def test_the_last_of_two_flags_counts(capsys: pytest.CaptureFixture[str]) -> None:
    run(["generate-key-pair"])
    for flags, warned in ((["--insecure-ignore-tlog"], True), (["--insecure-ignore-tlog=false"], False),
                          (["--insecure-ignore-tlog", "--insecure-ignore-tlog=false"], False),
                          (["--insecure-ignore-tlog=false", "--insecure-ignore-tlog=true"], True)):
        capsys.readouterr()
        run(["verify", "--key", "cosign.pub", *flags, IMAGE])
        assert ("the transparency log was not checked" in capsys.readouterr().err) == warned, flags


def typed(given: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """A command without a terminal and without COSIGN_PASSWORD."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CUSTODY_", "COSIGN_"))}
    return subprocess.run([sys.executable, "-m", "custody.cli.main", *arguments], input=given, capture_output=True,
                          timeout=120, check=False, env=environment)


def test_keygen_no_tty() -> None:
    nobody = typed(b"", "generate-key-pair")
    assert nobody.returncode == 2
    assert nobody.stderr.decode() == (
        "error: Password for the private key: standard input is no terminal and has nothing more to read\n\n"
        "hint: set COSIGN_PASSWORD (to nothing for a key without a password), or pipe the password\n")
    assert not Path("cosign.key").exists()
    made = typed(b"pw", "generate-key-pair")
    assert (made.returncode, made.stderr) == (0, b"")
    wrong = typed(b"", "sign", "--key", "cosign.key", IMAGE)
    assert wrong.returncode == 2
    assert b"COSIGN_PASSWORD" in wrong.stderr
    wrong = typed(b"other", "sign", "--key", "cosign.key", IMAGE)
    assert (wrong.returncode, b"wrong password" in wrong.stderr) == (2, True), wrong.stderr
    assert typed(b"pw", "sign", "--key", "cosign.key", IMAGE).returncode == 6  # the key opens; no registry is there
    assert custody("sign", "--key", "cosign.key", IMAGE, cwd=Path.cwd(), COSIGN_PASSWORD="pw").returncode == 6


@pytest.mark.peer
def test_a_piped_password_is_the_one_that_cosign_reads() -> None:
    """cosign takes all of standard input, the line end too."""
    cosign = peer("cosign-v3")
    made = typed(b"pw\n", "generate-key-pair")
    assert made.returncode == 0
    assert b"warning: the piped password ends with a line end" in made.stderr
    environment = {"PATH": os.environ["PATH"], "HOME": str(Path.cwd())}
    for given, accepted in ((b"pw\n", True), (b"pw", False)):
        done = subprocess.run([cosign, "public-key", "--key", "cosign.key"], input=given, capture_output=True,
                              timeout=60, check=False, env=environment)
        assert (done.returncode == 0) == accepted, done.stderr
    subprocess.run([cosign, "generate-key-pair", "--output-key-prefix", "theirs"], input=b"pw\n", capture_output=True,
                   timeout=60, check=True, env=environment)
    assert typed(b"pw\n", "sign", "--key", "theirs.key", IMAGE).returncode == 6


@pytest.mark.parametrize("arguments", [
    ["sbom", "oci:nosuch"], ["sbom", "archive:nosuch.tar"], ["scan", "oci:nosuch", "--allow-empty-db"],
    ["scan", "sbom:nosuch", "--allow-empty-db"], ["demo", "--image", "oci:nosuch"], ["sbom", "oci:hollow"]])
def test_oci_missing_exit_6(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("hollow").mkdir()
    Path("hollow/oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    assert run(arguments) == 2
    assert "No such file or directory" in capsys.readouterr().err


def test_a_layout_without_one_of_its_blobs(capsys: pytest.CaptureFixture[str]) -> None:
    layout(Path("image"), [tar([("a", b"x")])])
    manifest = json.loads(Path("image/index.json").read_text())["manifests"][0]["digest"]
    layer = json.loads(Path("image/blobs/sha256", manifest[7:]).read_text())["layers"][0]["digest"]
    Path("image/blobs/sha256", layer[7:]).unlink()
    assert run(["sbom", "oci:image"]) == 2
    assert layer[7:] in capsys.readouterr().err


def test_a_branch_that_this_machine_does_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["git", "init", "-q", "repo"], check=True)
    Path("allowed").write_text("")
    assert run(["source", "check", "repo", "--branch", "nope", "--allowed-signers", "allowed"]) == 2
    assert "no branch, tag or commit 'nope'" in capsys.readouterr().err
    assert run(["build", "repo", "--commit", "nope", "--repository", "https://x.example", "-o", "oci:x"]) == 2


@pytest.mark.parametrize(("arguments", "reason"), [
    (["check", ""], "check: got '' after check"),
    (["check", "nginx", "--policy", ""], "check: got '' after --policy"),
    (["check", "nginx", "--policy="], "check: got '' for --policy"),
    (["db", "import", ""], "db: got '' after import"),
    (["verify", "--key", "", IMAGE], "verify: got '' after --key"),
    (["verify", "--key", "cosign.pub", "--trusted-root=", IMAGE], "verify: got '' for --trusted-root"),
    (["source", "check", ".", "--allowed-signers", "a", "--since", ""], "source: got '' after --since"),
])
def test_an_empty_value_is_not_the_working_directory(arguments: list[str], reason: str,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert said.err == f"error: {reason}, expected a value\n\nhint: is a variable of the shell not set?\n"
    assert said.out == ""


def test_an_empty_expression_speaks_for_itself(capsys: pytest.CaptureFixture[str]) -> None:
    run(["cel", "eval", ""])
    run(["policy", "jp", "query", ""])
    assert "expected a value" not in capsys.readouterr().err


@pytest.mark.parametrize(("command", "words"), [
    (["sign", "-y", "--key", "cosign.key"], "oci:image: signatures are written into registries"),
    (["attest", "--key", "cosign.key", "--predicate", "p.json"], "oci:image: signatures are written into registries"),
    (["verify", "--key", "cosign.pub", "--insecure-ignore-tlog"], "oci:image: image is no folder"),
    (["tree"], "oci:image: image is no folder"), (["copy"], "oci:image: image is no folder"),
    (["clean", "-f"], "oci:image: signatures are written into registries"),
    (["download", "signature"], "oci:image: image is no folder")])
def test_a_layout_is_no_image_named_oci(command: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate-key-pair"]) == 0
    Path("p.json").write_text("{}")
    assert run([*command, "oci:image", *(["x.example/y:1"] if command == ["copy"] else [])]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("target", "reason", "hint"), [
    ("image", "got 'image', a folder with an OCI layout, expected oci:image for the image in it, or dir:image", ""),
    ("./image", "got './image', a folder with an OCI layout, expected oci:./image for", ""),
    ("p.tar", "got 'p.tar', an archive, expected archive:p.tar for the image in it, or file:p.tar", ""),
    ("./gone", "./gone: no such file or folder", ""),
    ("gone/", "gone/: no such folder", ""),
    ("gone.json", "gone.json: no such file", "named with its registry"),
    ("gone/sbom.xml", "gone/sbom.xml: no such file", "named with its registry"),
    ("https://example.com/a/b", "expected an image, a file or a folder", "git:DIR"),
    ("oci:", "target: got 'oci:', expected oci:DIR or archive:FILE.tar", ""),
    ("sbom:", "target: got 'sbom:', expected sbom:FILE", ""),
])
def test_a_folder_is_told_from_an_images_name(target: str, reason: str, hint: str,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    layout(Path("image"), [tar([("a", b"")])])
    Path("p.tar").write_bytes(b"")
    assert run(["scan", "--allow-empty-db", target]) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert hint in said


def test_a_platform_is_os_and_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    layout(Path("image"), [tar([("a", b"")])])
    assert run(["sbom", "oci:image", "--platform", "Linux,amd64"]) == 2
    assert "--platform: got 'Linux,amd64', expected OS/ARCH[/VARIANT]" in capsys.readouterr().err


def test_standard_output_comes_before_what_is_said_of_it(tmp_path: Path) -> None:
    layout(Path("image"), [tar([("a", b"")])])
    both = subprocess.run([sys.executable, "-m", "custody.cli.main", "scan", "oci:image", "--allow-empty-db"],
                          cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
    assert both.startswith("nothing was scanned\nimage@sha256:")


def test_no_pod_meets_no_level(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty.yaml").write_text("---\n# nothing\n")
    assert run(["policy", "podsecurity", "empty.yaml"]) == 2
    assert "empty.yaml: got 'no resource', expected at least one resource" in capsys.readouterr().err


@pytest.mark.parametrize("namespace", ["A", "a b", "-a", "a" * 64])
def test_a_namespace_that_could_not_be(namespace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "nginx", "--policy", "p.yaml", "--namespace", namespace]) == 2
    assert f"--namespace: got '{namespace}', expected lower-case letters" in capsys.readouterr().err


def test_what_the_api_server_is_told_is_public_and_right(capsys: pytest.CaptureFixture[str]) -> None:
    certificate = ServingCertificate(Path("admission"), ["127.0.0.1"])
    certificate.ensure(datetime.now(UTC))
    Path("text").write_text("x")
    url, good = "https://10.0.0.5:5443", ["--ca-bundle", "admission/ca.crt"]

    def refused(*arguments: str) -> str:
        assert run(["admission", "config", *arguments]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        return said.err

    key = refused("--url", url, "--ca-bundle", "admission/ca.key")
    assert "admission/ca.key: got 'a private key', expected certificates, which may be published" in key
    assert "hint: ca.crt, not ca.key" in key
    assert "text: got '1 bytes without a certificate" in refused("--url", url, "--ca-bundle", "text")
    for wrong in ("?x=1", "#x", "/a b"):
        assert f"url: got '{url}{wrong}', expected https://host[:port][/path]" in refused("--url", url + wrong, *good)
    assert "url: got 'https://u@h', expected https://host" in refused("--url", "https://u@h", *good)
    assert "exclude: got 'Kube_System', expected the name" in refused("--url", url, *good, "--exclude", "Kube_System")
    assert run(["admission", "config", "--url", f"{url}/a", *good]) == 0
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [hook["clientConfig"]["url"] for found in documents for hook in found["webhooks"]] == [
        f"{url}/a/mutate", f"{url}/a/validate"]
    assert base64.b64decode(documents[0]["webhooks"][0]["clientConfig"]["caBundle"]) == certificate.ca_bundle


def test_a_word_that_may_be_a_misspelt_folder(capsys: pytest.CaptureFixture[str]) -> None:
    policy = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{"name": "r", "match": {"any": [{"resources": {
            "kinds": ["Pod"]}}]}, "validate": {"pattern": {"spec": {"containers": [{"image": "ghcr.io/*"}]}}}}]}}
    Path("policy.yaml").write_text(yaml.safe_dump(policy))
    assert run(["check", "manifest", "--policy", "policy.yaml"]) == 3
    said = capsys.readouterr()
    assert said.err.startswith("warning: manifest: no such file or folder; judged as the image ")
    assert said.out.startswith("manifest: denied")
    assert run(["check", "nginx:1", "--policy", "policy.yaml"]) == 3
    assert "warning" not in capsys.readouterr().err


def test_no_registry_has_nothing_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["scrub"], ["history", "shop:1.0"]):
        assert run(["registry", *command]) == 4
        said = capsys.readouterr()
        assert ".custody/registry: no registry is here (no file named index.db)" in said.err
        assert said.out == ""
    assert not (tmp_path / ".custody").exists()  # nor is one made


def test_a_token_of_a_new_key_is_said_to_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trust", "token", "--email", "ann"]) == 2
    assert "--email: got 'ann', expected an address such as ann@myorg.example" in capsys.readouterr().err
    assert not Path(".custody").exists()
    for warned in (True, False):
        assert run(["trust", "token", "--email", "ann@myorg.example"]) == 0
        assert ("no services have run in this data directory" in capsys.readouterr().err) == warned


HOSTILE = "x\x1b[31m\nPod/default/y: allowed\u202e"
SHOWN = r"x\x1b[31m\nPod/default/y: allowed\u202e"


def test_names_of_others_write_no_lines_and_move_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": HOSTILE}, "spec": {"containers": [
        {"name": HOSTILE, "image": HOSTILE}]}}
    policy = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{"name": "r", "match": {"any": [{"resources": {
            "kinds": ["Pod"]}}]}, "validate": {"message": "{{ request.object.metadata.name }}", "deny": {}}}]}}
    Path("pod.yaml").write_text(json.dumps(pod))
    Path("policy.yaml").write_text(json.dumps(policy))
    assert run(["check", "pod.yaml", "--policy", "policy.yaml"]) == 3
    first, _, *message = capsys.readouterr().out.splitlines()
    assert first.startswith(f"Pod/default/{SHOWN}: denied")
    assert message == [r"      x\x1b[31m", r"      Pod/default/y: allowed\u202e"]  # a message may have lines, within
    assert run(["policy", "podsecurity", "pod.yaml"]) == 3
    assert capsys.readouterr().out.splitlines()[0].startswith(f"pod {SHOWN}: violates")
    assert run(["check", "pod.yaml", "--policy", "no\x1b[2Jthing.yaml"]) == 2
    assert capsys.readouterr().err == "error: no\\x1b[2Jthing.yaml: No such file or directory\n"
    assert columns([("a\x1b", "b"), ("c", HOSTILE)]) == f"a\\x1b  b\nc      {SHOWN}\n"


def test_import_key_pair(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for form, stem in ((PrivateFormat.PKCS8, "PKCS8"), (PrivateFormat.TraditionalOpenSSL, "SEC1")):
        name = f"{stem}.pem"
        Path(name).write_bytes(key.private_bytes(Encoding.PEM, form, NoEncryption()))
        done = typed(b"pw", "import-key-pair", "--key", name, "--output-key-prefix", stem)
        assert (done.returncode, done.stderr) == (0, b"")
        assert Path(f"{stem}.pub").read_bytes() == public
        assert Path(f"{stem}.key").stat().st_mode & 0o777 == 0o600
        assert typed(b"pw", "sign", "--key", f"{stem}.key", IMAGE).returncode == 6  # opens; no registry is there
    monkeypatch.setenv("COSIGN_PASSWORD", "x")
    for arguments, reason in ((("--key", "PKCS8.key"), "is encrypted, expected a private key without a password"),
                              (("--key", "PKCS8.pub"), "PKCS8.pub: is a public key, expected a PEM private key"),
                              (("--key", "nowhere"), "No such file or directory"),
                              (("--key", "PKCS8.pem", "--output-key-prefix", "PKCS8"), "PKCS8.key: exists"),
                              (("--key", "PKCS8.pem", "--output-key-prefix", "no/x"), "no/x.key: No such file")):
        assert run(["import-key-pair", *arguments]) == 2
        assert reason in capsys.readouterr().err
