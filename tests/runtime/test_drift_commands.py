"""`custody runtime drift`, `executables`, `attest` and `vex` as they are typed, over a real registry and files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.sqlite.drift import SqliteDrift
from custody.adapters.sqlite.inventory import SqliteInventory
from custody.errors import StorageError
from custody.ports.inventory import Sighting
from custody.runtime.executables import Verdict
from custody.runtime.witness import Witness
from custody.services.witnessing import Witnessing
from tests.cli.commands import custody
from tests.contents import images
from tests.runtime.test_executables import EVIL, SHELL, TOOL, sha
from tests.runtime.test_runtime_drift import A, B, pod
from tests.serving import registry_on

FILES: list[images.Member] = [
    ("bin/sh", SHELL), ("bin/server", b"server"), ("usr/bin/ed", TOOL), ("var/lib/dpkg/info/ed.list", b"/usr/bin/ed\n"),
    ("var/lib/dpkg/status", b"Package: ed\nStatus: install ok installed\nVersion: 1.19-1\nArchitecture: amd64\n"
                            b"Maintainer: M <m@example.org>\n"),
    ("etc/os-release", images.OS_RELEASE)]
ED = "pkg:deb/debian/ed@1.19-1"


class Place:
    """A folder with a signed image in a registry."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder, self.image = folder, f"{host}/shop:1"
        data = images.tar(FILES, programs=("bin/sh", "usr/bin/ed"))
        layout = images.layout(folder / "image", [data])
        self.digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
        self.named = f"{host}/shop@{self.digest}"
        self.do("copy", "oci:image", self.image)
        self.do("generate-key-pair", COSIGN_PASSWORD="")

    def __call__(self, *arguments: str, **environment: str) -> Any:
        return custody(*arguments, cwd=self.folder, **{"COSIGN_PASSWORD": "", **environment})

    def do(self, *arguments: str, code: int = 0, **environment: str) -> str:
        done = self(*arguments, **environment)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return str(done.stdout)

    def watch(self, *events: dict[str, Any], code: int = 0) -> list[dict[str, Any]]:
        lines = "".join(json.dumps({"evt.type": "execve", "evt.rawtime": 1_796_000_000_000_000_000 + number,
                                    "container.id": "0123456789ab", "container.image": self.image,
                                    "container.image.digest": self.digest, **event}) + "\n"
                        for number, event in enumerate(events))
        (self.folder / "events.jsonl").write_text(lines)
        told = self.do("runtime", "watch", "--drift", "--input", "fields:events.jsonl", "--once", "--again", code=code)
        return [json.loads(line) for line in told.splitlines()]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with registry_on(tmp_path / "registry") as (host, _):
        yield Place(tmp_path, host)


def ran(path: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {"proc.exepath": path, "custody.exe.sha256": sha(data), **more}


def test_what_is_executed_in_an_image_that_is_read_from_its_registry(place: Place) -> None:
    place.do("sign", "--key", "cosign.key", "--tlog-upload=false", place.image)
    alerts = place.watch(ran("/bin/sh", SHELL), ran("/bin/sh", EVIL), ran("/tmp/x", SHELL), ran("/tmp/y", EVIL),
                         ran("/usr/bin/apt", TOOL, **{"proc.args": "install nmap"}))
    assert [(alert["rule"], alert["output_fields"].get("custody.drift")) for alert in sorted(
        alerts, key=lambda alert: str(alert["output_fields"].get("evt.time")))] == [
            ("Executable is not the one of its image", "modified"),
            ("Executable of the image under another name", "copied"), ("Executable not in its image", "unknown"),
            ("Packages changed in a container", "packages"), ("Executable of the image under another name", "copied")]
    told = next(alert["output_fields"] for alert in alerts if alert["output_fields"].get("custody.drift") == "modified")
    assert told["custody.image.path"] == "/bin/sh"
    assert told["custody.admission"] == "no record"
    assert place.digest in place.do("runtime", "executables")


def test_an_image_that_no_registry_has_is_not_judged(place: Place) -> None:
    alert, = place.watch({**ran("/tmp/x", EVIL), "container.image.digest": "sha256:" + "0" * 64})
    assert alert["rule"] == "Executables are not judged"
    assert "the image could not be read" in alert["output"]


def test_executables_of_an_image(place: Place) -> None:
    rows = [json.loads(line) for line in place.do("runtime", "executables", place.image, "-o", "json").splitlines()]
    assert [(row["path"], row["sha256"], row["package"]) for row in rows] == [
        ("/bin/sh", sha(SHELL), None), ("/usr/bin/ed", sha(TOOL), f"{ED}?arch=amd64&distro=debian-12")]
    assert place("runtime", "executables", place.image, "--path", "/bin/none").returncode == 4
    place.do("runtime", "executables", "--forget", place.digest)
    place.do("runtime", "executables", "--forget", place.digest, code=4)


@pytest.mark.parametrize(("document", "code", "words"), [
    ({"spdxVersion": "SPDX-2.3", "files": [{"fileName": "./bin/sh", "checksums": [
        {"algorithm": "SHA256", "checksumValue": sha(SHELL)}]}]}, 0, "1 executables as it states them"),
    ({"bomFormat": "CycloneDX", "components": [{"type": "library", "components": [
        {"type": "file", "name": "/bin/sh", "hashes": [{"alg": "SHA-256", "content": sha(EVIL)}]}]}]}, 3,
     "1 file with another digest than the SBOM states, such as bin/sh"),
    ({"artifacts": [], "files": [{"location": {"path": "/usr/bin/ed"}, "digests": [
        {"algorithm": "sha256", "value": sha(TOOL)}]}]}, 0, "1 executables as it states them"),
    ({"spdxVersion": "SPDX-2.3", "files": [{"fileName": "./bin/sh", "checksums": [
        {"algorithm": "SHA1", "checksumValue": "0" * 40}]}]}, 4, "states no SHA-256 of any file"),
    ({"x": 1}, 2, "and this is none"), ([], 2, "expected a JSON object")])
def test_an_sbom_is_compared(place: Place, document: Any, code: int, words: str) -> None:
    (place.folder / "sbom.json").write_text(json.dumps(document))
    done = place("runtime", "executables", place.image, "--sbom", "sbom.json")
    assert words in done.stderr
    assert done.returncode in (code, 1)


def test_a_signed_sbom_is_compared_by_whom_it_is_signed(place: Place) -> None:
    (place.folder / "sbom.json").write_text(json.dumps({"spdxVersion": "SPDX-2.3", "files": [
        {"fileName": "./bin/sh", "checksums": [{"algorithm": "SHA256", "checksumValue": sha(SHELL)}]}]}))
    place.do("attest", "--key", "cosign.key", "--tlog-upload=false", "--type", "spdxjson", "--predicate", "sbom.json",
             place.image)
    trusted = ("--sbom", "attested", "--key", "cosign.pub", "--insecure-ignore-tlog")
    done = place("runtime", "executables", place.image, *trusted)
    assert (done.returncode, "1 executables as it states them" in done.stderr) == (0, True)
    place.do("generate-key-pair", "--output-key-prefix", "other")
    assert place("runtime", "executables", place.image, "--sbom", "attested", "--key", "other.pub",
                 "--insecure-ignore-tlog").returncode in (3, 4)
    told, = (alert["output_fields"] for alert in place.watch(ran("/bin/sh", EVIL)))
    assert told["custody.sbom.signer"].startswith("key sha256:")
    assert told["custody.sbom.stated"] == "same"


# --- records of admission

def _pods(place: Path, *pods: dict[str, Any]) -> None:
    (place / "pods.json").write_text(json.dumps({"kind": "List", "items": list(pods)}))


def test_drift_says_what_is_not_judged_and_what_drifted(tmp_path: Path) -> None:
    _pods(tmp_path, pod(A), pod(B, name="web-5d-zzz"))
    done = custody("runtime", "drift", "--pods", "pods.json", cwd=tmp_path)
    assert (done.returncode, "no record of admission is kept here" in done.stderr) == (4, True)
    SqliteInventory(tmp_path / ".custody/inventory.db").see(
        [Sighting(A, "admission", "shop/Pod/(generated)", datetime.now(UTC))])
    done = custody("runtime", "drift", "--pods", "pods.json", "-o", "json", cwd=tmp_path)
    states = {row["digest"]: row["state"] for row in json.loads(done.stdout)["containers"]}
    assert (done.returncode, states) == (3, {A: "matched", B: "no record"})
    _pods(tmp_path, pod(A))
    done = custody("runtime", "drift", "--pods", "pods.json", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "1 container of 1 pod: 1 matched\n")


@pytest.mark.parametrize(("arguments", "words"), [
    (("--pods", "none.json"), "--pods none.json: No such file"), (("--restart", "--pods", "pods.json"), "no policies"),
    (("--pods", "pods.json", "--policy", "x"), "are of --restart"),
    (("--pods", "pods.json", "--restart", "--tags"), "--restart: is about pods"), ((), "no cluster")])
def test_drift_refuses(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    _pods(tmp_path, pod(A))
    done = custody("runtime", "drift", *arguments, cwd=tmp_path)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def _policy(key: str) -> str:
    return json.dumps({
        "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "signed"},
        "spec": {"validationFailureAction": "Enforce", "webhookTimeoutSeconds": 30, "rules": [{
            "name": "images", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "verifyImages": [{
                "imageReferences": ["*"], "mutateDigest": True, "attestors": [{"entries": [{"keys": {
                    "publicKeys": key, "rekor": {"ignoreTlog": True}, "ctlog": {"ignoreSCT": True}}}]}]}]}]}})


def test_restart_tells_which_workloads_would_be_denied_by_todays_keys(place: Place) -> None:
    place.do("sign", "--key", "cosign.key", "--tlog-upload=false", place.image)
    running = pod(place.digest, place.image)
    _pods(place.folder, running, pod(place.digest, place.image, name="web-5d-yyy"),
          pod(place.digest, place.image, name="etcd", annotations={"kubernetes.io/config.mirror": "x"}, owned=False))
    (place.folder / "policy.yaml").write_text(_policy((place.folder / "cosign.pub").read_text()))
    arguments = ("runtime", "drift", "--restart", "--pods", "pods.json", "--policy", "policy.yaml", "--all", "-o",
                 "json")
    done = place(*arguments)
    rows = {row["workload"]: row for row in json.loads(done.stdout)["workloads"]}
    assert done.returncode == 4, done.stderr  # the static pod
    assert (rows["Deployment/web"]["outcome"], len(rows["Deployment/web"]["pods"])) == ("allowed", 2), rows
    assert rows["Pod/etcd"]["reason"] == "a static pod: no webhook is asked about it"

    place.do("generate-key-pair", "--output-key-prefix", "new")
    (place.folder / "policy.yaml").write_text(_policy((place.folder / "new.pub").read_text()))
    done = place(*arguments)
    rows = {row["workload"]: row for row in json.loads(done.stdout)["workloads"]}
    assert (done.returncode, rows["Deployment/web"]["outcome"], rows["Deployment/web"]["rule"]) == (
        3, "denied", "signed/images"), rows


# --- what was seen, attested

def _witnessed(place: Place, covers: tuple[str, ...], days: float = 8, program: str = "bin/server",
               ago: float = 0) -> datetime:
    now = datetime.now(UTC) - timedelta(days=ago)
    began = now - timedelta(days=days)
    witness = Witness(began - timedelta(minutes=1), covers)
    witness.executed(place.digest, "c0ffee" * 2, int(began.timestamp() * 1e9), Verdict.KNOWN, program)
    store = SqliteDrift(place.folder / ".custody/drift.db")
    Witnessing(witness, store, lambda: now, "n1").flush()
    store.close()
    running = pod(place.digest, place.image)
    running["spec"]["nodeName"] = "n1"
    running["status"]["containerStatuses"][0] |= {
        "containerID": "containerd://" + "c0ffee" * 10 + "abcd",
        "state": {"running": {"startedAt": began.strftime("%Y-%m-%dT%H:%M:%SZ")}}}
    _pods(place.folder, running)
    return now


TRUSTED = ("--key", "cosign.pub", "--insecure-ignore-tlog")
SIGNING = ("--key", "cosign.key", "--tlog-upload=false", "--cluster", "c1")


def test_from_a_signed_runtime_attestation_follows_vex(place: Place) -> None:
    _witnessed(place, ("execve",))
    place.do("runtime", "executables", place.image)
    attested = place("runtime", "attest", place.image, "--pods", "pods.json", *SIGNING)
    assert attested.returncode == 0, attested.stderr
    assert "gap:" not in attested.stderr
    assert "runtime-trace" in place.do("verify-attestation", place.image, "--type", "runtimetrace", *TRUSTED, "-o",
                                       "text")
    document = json.loads(place.do("runtime", "vex", place.image, "--vulnerability", "CVE-2026-1", "--package", ED,
                                   *TRUSTED))
    statement, = document["statements"]
    assert (statement["status"], statement["justification"]) == (
        "not_affected", "vulnerable_code_not_in_execute_path")
    assert statement["products"][0]["subcomponents"][0]["@id"] == ED

    refused = place("runtime", "vex", place.image, "--vulnerability", "CVE-2026-1", "--package", ED, *TRUSTED,
                    "--min-days", "9")
    assert (refused.returncode, "it was seen for 8.0 days, expected 9.0 days" in refused.stderr) == (4, True)
    place.do("generate-key-pair", "--output-key-prefix", "other")
    stranger = place("runtime", "vex", place.image, "--vulnerability", "CVE-2026-1", "--package", ED, "--key",
                     "other.pub", "--insecure-ignore-tlog")
    assert stranger.returncode in (3, 4), stranger.stderr
    assert stranger.stdout == ""


def _vex(place: Place) -> Any:
    return place("runtime", "vex", place.image, "--vulnerability", "CVE-2026-1", "--package", ED, *TRUSTED)


def test_another_clusters_attestation_that_the_package_ran_is_not_passed_over(place: Place) -> None:
    place.do("runtime", "executables", place.image)
    _witnessed(place, ("execve",), program="usr/bin/ed", ago=1)
    place.do("runtime", "attest", place.image, "--pods", "pods.json", *SIGNING)
    (place.folder / ".custody/drift.db").unlink()
    place.do("runtime", "executables", place.image)
    _witnessed(place, ("execve",))
    place.do("runtime", "attest", place.image, "--pods", "pods.json", *SIGNING[:-1], "c2")
    refused = _vex(place)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "/usr/bin/ed was executed, as " in refused.stderr
    assert " attested of c1, " in refused.stderr


def test_an_attestation_of_long_ago_says_nothing_of_today(place: Place) -> None:
    place.do("runtime", "executables", place.image)
    _witnessed(place, ("execve",), ago=40)
    running = json.loads((place.folder / "pods.json").read_text())
    running["items"] = []
    (place.folder / "pods.json").write_text(json.dumps(running))
    place.do("runtime", "attest", place.image, "--pods", "pods.json", *SIGNING)
    refused = _vex(place)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "expected within the last 30.0 days" in refused.stderr


def test_the_index_and_its_image_are_attested_together(place: Place) -> None:
    _witnessed(place, ("execve",))
    config = json.loads((place.folder / f"image/blobs/sha256/{place.digest[7:]}").read_text())["config"]["digest"]
    place.do("runtime", "executables", place.image)
    witness = Witness(datetime.now(UTC) - timedelta(days=8), ("execve",))
    witness.executed(config, "b" * 12, None, Verdict.KNOWN, "usr/bin/ed")
    with closing(SqliteDrift(place.folder / ".custody/drift.db")) as store:
        Witnessing(witness, store, lambda: datetime.now(UTC), "n2").flush()
    predicate = json.loads(place.do("runtime", "attest", place.named, "--predicate-only", "--cluster", "c1", "--pods",
                                    "pods.json"))
    assert [entry["path"] for entry in predicate["monitorLog"]["process"]] == ["/bin/server", "/usr/bin/ed"]


def test_from_one_with_gaps_follows_nothing(place: Place) -> None:
    _witnessed(place, ())
    place.do("runtime", "executables", place.image)
    done = place("runtime", "attest", place.image, "--pods", "pods.json", *SIGNING)
    assert "gap: no input of some node tells what is executed" in done.stderr
    refused = place("runtime", "vex", place.image, "--vulnerability", "CVE-2026-1", "--package", ED, *TRUSTED)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "not all of the run was seen" in refused.stderr


def test_a_watch_of_recorded_events_covers_nothing(place: Place) -> None:
    place.watch(ran("/bin/sh", SHELL))
    predicate = json.loads(place.do("runtime", "attest", place.named, "--predicate-only", "--cluster", "c1"))
    assert predicate["custody"]["executions"] == 1
    assert json.loads(place.do("runtime", "attest", "--all", "--predicate-only", "--cluster", "c1")) == predicate
    assert "no input of some node tells what is executed" in predicate["custody"]["gaps"]


def test_what_nodes_saw_is_carried_in_files(place: Place) -> None:
    place.do("runtime", "attest", "--export", "n1.json", code=4)
    _witnessed(place, ("execve",))
    place.do("runtime", "attest", "--export", "n1.json")
    (place.folder / ".custody/drift.db").unlink()
    place.do("runtime", "executables", place.image)
    predicate = json.loads(place.do("runtime", "attest", place.named, "--predicate-only", "--cluster", "c1",
                                    "--witness", "n1.json", "--pods", "pods.json"))
    assert (predicate["custody"]["nodes"], predicate["custody"]["gaps"]) == (["n1"], [])
    broken = (place.folder / "n1.json").read_text().replace("0", "1", 1)
    (place.folder / "n1.json").write_text(broken)
    assert place("runtime", "attest", place.named, "--predicate-only", "--cluster", "c1", "--witness",
                 "n1.json").returncode != 0


# --- what is kept

@pytest.mark.parametrize("name", ["inventory.db", "decisions.db"])
def test_records_that_cannot_be_read_are_no_absence_of_records(tmp_path: Path, name: str) -> None:
    _pods(tmp_path, pod(A))
    for make in (lambda file: file.mkdir(), lambda file: file.write_bytes(b"no database" * 999)):
        file = tmp_path / ".custody" / name
        make_room(file)
        make(file)
        done = custody("runtime", "drift", "--pods", "pods.json", cwd=tmp_path)
        assert done.returncode in (1, 2), done.stderr
        assert done.stdout == ""
        assert f"{name}: " in done.stderr
        assert "internal error" not in done.stderr


def make_room(file: Path) -> None:
    shutil.rmtree(file.parent, ignore_errors=True)
    file.parent.mkdir()


def test_a_store_that_a_disk_changed_while_it_was_open_says_so(tmp_path: Path) -> None:
    with closing(SqliteDrift(tmp_path / "drift.db")) as store:
        store.keep_witness("n1", b"x")
        for file in (tmp_path / "drift.db", tmp_path / "drift.db-wal"):
            file.write_bytes(os.urandom(file.stat().st_size))
        with pytest.raises(StorageError, match=r"failed|malformed|not a database|disk"):
            store.witnesses()


# --- baselines

def test_baselines_are_shown_exported_and_imported(place: Place) -> None:
    place.do("runtime", "drift", "baseline", "show", code=4)
    reached = {"evt.type": "connect", "fd.sip": "1.2.3.4", "fd.sport": 443, "fd.l4proto": "tcp"}
    assert place.watch(reached) == []
    assert place.do("runtime", "drift", "baseline", "show", place.digest) == "  tcp 1.2.3.4:443\n"
    place.do("runtime", "drift", "baseline", "export", "-o", "baselines.json")
    place.do("runtime", "drift", "baseline", "import", "baselines.json", "--declare")
    alert, = place.watch(reached, {**reached, "fd.sip": "9.9.9.9"})
    assert alert["output_fields"]["custody.egress.destination"] == "tcp 9.9.9.9:443"
    place.do("runtime", "drift", "baseline", "forget", place.digest)
    place.do("runtime", "drift", "baseline", "forget", place.digest, code=4)
    (place.folder / "baselines.json").write_text('{"baselines": [{"digest": "x"}]}')
    refused = place("runtime", "drift", "baseline", "import", "baselines.json")
    assert "baselines.json.baselines[0].digest" in refused.stderr
    assert refused.returncode != 0


@pytest.mark.parametrize(("flag", "document", "said"), [
    ("--pods", {"bomFormat": "CycloneDX", "components": []}, "got no kind, and no items, expected Pods"),
    ("--pods", {"kind": "Deployment", "items": []}, "got kind Deployment, expected Pods"),
    ("--pods", {"kind": "List", "items": [{"kind": "Service"}]}, "items[0]: got kind Service, expected Pods"),
    ("--pods", {"kind": "PodList"}, "got kind PodList, expected Pods"),
    ("--runtime", {"bomFormat": "CycloneDX"}, "containers: got null, expected `crictl ps -o json`")])
def test_a_document_without_pods_does_not_say_that_none_runs(tmp_path: Path, flag: str, document: dict[str, Any],
                                                             said: str) -> None:
    (tmp_path / "given.json").write_text(json.dumps(document))
    (tmp_path / "pods.json").write_text('{"kind": "PodList", "items": []}')
    done = custody("runtime", "drift", flag, "given.json", *(["--pods", "pods.json"] if flag == "--runtime" else []),
                   cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_cluster_in_which_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "pods.json").write_text('{"kind": "PodList", "items": []}')
    done = custody("runtime", "drift", "--pods", "pods.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "0 containers of 0 pods: none runs\n")
