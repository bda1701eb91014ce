"""Keys and certificates: made once, kept private, refused when they do not belong together."""

from __future__ import annotations

import json
import shutil
import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from custody.errors import MalformedError, UsageError
from custody.trust.keyfiles import KEYS
from custody.trust.material import Endpoints, Material, load_or_create
from custody.trust.roots import parse_signing_config, parse_trusted_root
from tests.trust.stack import NOW, SettableClock, build

CLOCK = SettableClock()


def test_made_once_and_private(tmp_path: Path) -> None:
    first = load_or_create(tmp_path / "trust", CLOCK)
    again = load_or_create(tmp_path / "trust", CLOCK)
    assert first.ca_chain == again.ca_chain
    assert first.log_key.public_key() == again.log_key.public_key()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "trust").iterdir()}
    assert {mode for name, mode in modes.items() if name.endswith(".key")} == {0o600}
    assert sorted(tmp_path.iterdir()) == [tmp_path / "trust"]


def test_two_processes_that_start_together_have_the_same_keys(tmp_path: Path) -> None:
    made: list[Material] = []

    def start() -> None:
        made.append(load_or_create(tmp_path / "trust", CLOCK))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({material.ca_chain for material in made}) == 1
    assert len(made) == 4


def test_files_that_are_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "trust"
    load_or_create(folder, CLOCK)
    load_or_create(tmp_path / "other", CLOCK)
    edwards = (folder / "log.key").read_bytes()
    curve = ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def refused(name: str, data: bytes | None, reason: str, error: type[Exception] = MalformedError) -> None:
        path = folder / name
        kept = path.read_bytes()
        path.unlink()
        if data is not None:
            path.touch(0o600)
            path.write_bytes(data)
        with pytest.raises(error, match=reason):
            load_or_create(folder, CLOCK)
        path.unlink(missing_ok=True)
        path.touch(0o600)
        path.write_bytes(kept)

    refused("intermediate.key", None, "intermediate.key: got 'No such file or directory'")
    refused("intermediate.crt", b"broken", "expected a certificate in PEM")
    refused("tsa.key", b"broken", "expected a private key in PEM")
    refused("oidc.key", edwards, "expected an ECDSA P-256 key")
    refused("ctlog.key", curve, "expected an ECDSA P-256 key")
    refused("log.key", curve, "expected an Ed25519 key")
    refused("tsa.key", (tmp_path / "other" / "tsa.key").read_bytes(), r"tsa\.crt: got .another key's certificate")
    refused("intermediate.crt", (tmp_path / "other" / "intermediate.crt").read_bytes(), r"intermediate\.crt: got")
    (folder / "log.key").chmod(0o640)
    with pytest.raises(UsageError, match=r"others may read it \(mode 640\), expected 600"):
        load_or_create(folder, CLOCK)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_in_which_others_may_replace_keys_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "trust"
    load_or_create(folder, CLOCK)
    folder.chmod(mode)
    with pytest.raises(UsageError, match=rf"trust: others may replace the keys in it \(mode {mode:o}\), expected 700"):
        load_or_create(folder, CLOCK)
    for allowed in (0o1777, 0o755, 0o700):  # sticky, as a mounted Secret is
        folder.chmod(allowed)
        load_or_create(folder, CLOCK)


def test_lost_keys_are_not_made_anew_while_the_trust_root_names_them(tmp_path: Path) -> None:
    folder = tmp_path / "trust"
    material = load_or_create(folder, CLOCK)
    (folder / "trusted_root.json").write_bytes(material.trusted_root(Endpoints.at("http://x")).to_json())
    for role in ("log", "tsa", "ca"):
        for name in KEYS[role]:
            (folder / f"{name}.key").unlink()
        with pytest.raises(MalformedError, match=rf"{KEYS[role][0]}\.key: got 'no such file', expected the key"):
            load_or_create(folder, CLOCK, [role])
    shutil.rmtree(folder)
    assert load_or_create(folder, CLOCK, ["log"]).log_key.public_key() != material.log_key.public_key()


def test_a_role_has_its_own_keys_and_no_others(tmp_path: Path) -> None:
    for role, names in KEYS.items():
        load_or_create(tmp_path / role, CLOCK, [role])
        assert sorted(path.name for path in (tmp_path / role).glob("*.key")) == sorted(f"{name}.key" for name in names)
        for other in set(KEYS) - {role}:  # it starts where others' keys are beyond its reach
            load_or_create(tmp_path / "all", CLOCK, [other])
        for name in {name for other in set(KEYS) - {role} for name in KEYS[other]}:
            (tmp_path / "all" / f"{name}.key").write_bytes(b"not for you")
        load_or_create(tmp_path / "all", CLOCK, [role])
        shutil.rmtree(tmp_path / "all")


def test_a_start_that_was_cut_off_is_finished_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "trust"
    whole = load_or_create(folder, CLOCK, ["ca"])
    ready = folder / ".ca"
    ready.mkdir()
    for name in ("root.key", "root.crt", "intermediate.key"):  # renamed, not yet put in place
        (folder / name).rename(ready / name)
    assert load_or_create(folder, CLOCK, ["ca"]).ca_chain == whole.ca_chain
    assert not ready.exists()
    assert not list(folder.glob(".ca*"))


def test_a_folder_of_an_older_version_goes_on(tmp_path: Path) -> None:
    """All keys of one start, and no log.crt: the log's key counts since the root's beginning."""
    folder = tmp_path / "trust"
    old = load_or_create(folder, CLOCK)
    (folder / "log.crt").unlink()
    root = load_or_create(folder, SettableClock(NOW + timedelta(days=9))).trusted_root(Endpoints.at("http://x"))
    assert root == old.trusted_root(Endpoints.at("http://x"))


def test_the_exported_files_are_read_back(tmp_path: Path) -> None:
    material = load_or_create(tmp_path / "trust", CLOCK)
    endpoints = Endpoints("http://127.0.0.1:1/oidc", "http://127.0.0.1:1", "https://rekor.sigstore.dev",
                          "http://127.0.0.1:1/ct", "http://127.0.0.1:1/api/v1/timestamp")
    root = material.trusted_root(endpoints)
    assert parse_trusted_root(root.to_json()) == root
    assert root.tlogs[0].base_url == "https://rekor.sigstore.dev"
    assert material.log_signer(endpoints).name == "rekor.sigstore.dev"
    assert root.tlogs[0].valid.start == NOW.replace(microsecond=0)
    config = material.signing_config(endpoints)
    assert parse_signing_config(config.to_json()) == config
    assert [service["majorApiVersion"] for service in json.loads(config.to_json())["rekorTlogUrls"]] == [2]


def test_paths_of_the_roles_do_not_collide(tmp_path: Path) -> None:
    stack = build(tmp_path)
    taken = [(method, route.path) for route in stack.routes for method in route.methods or ()]
    assert len(taken) == len(set(taken))
    stack.close()
