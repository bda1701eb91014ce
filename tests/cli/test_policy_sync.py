"""`custody policy sync test` beside `gator sync test`: exit codes, and what is said to be missing."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from tests.conftest import peer
from tests.policy.gatekeeper.test_inventory import config, syncset
from tests.policy.gatekeeper.world import template

KINDS = [("", "v1", "Pod"), ("", "v1", "Service"), ("apps", "v1", "Deployment"), ("x.io", "v1", "Route")]


def requiring(name: str, text: str) -> dict[str, Any]:
    asking = template('package x\nviolation[{"msg": "x"}] { data.inventory.cluster }', kind=name)
    asking["metadata"]["annotations"] = {"metadata.gatekeeper.sh/requires-sync-data": text}
    return asking


def requirement(*alternatives: tuple[str, str, str]) -> str:
    entries = ", ".join(f'{{"groups": ["{group}"], "versions": ["{version}"], "kinds": ["{kind}"]}}'
                        for group, version, kind in alternatives)
    return f"[{entries}]"


def manifest(*kinds: tuple[str, str, str]) -> dict[str, Any]:
    groups: dict[str, dict[str, list[str]]] = {}
    for group, version, kind in kinds:
        groups.setdefault(group, {}).setdefault(version, []).append(kind)
    return {"apiVersion": "gvkmanifest.gatekeeper.sh/v1alpha1", "kind": "GVKManifest", "metadata": {"name": "m"},
            "spec": {"groups": groups}}


def written(folder: Path, *documents: dict[str, Any]) -> Path:
    path = folder / "documents.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return path


def missing(text: str) -> list[str]:
    """Lines that name requirements, with their alternatives in order: gator's are in none."""
    return sorted(" OR ".join(sorted(line[2:].split(" OR "))) for line in text.splitlines() if line.startswith("- "))


def test_beside_gator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gator, draw = peer("gator"), random.Random(5)
    codes = set()
    for _ in range(40):
        documents = [requiring(f"K{at}", "[" + ", ".join(
            requirement(*draw.sample(KINDS, draw.randrange(1, 3))) for _ in range(draw.randrange(1, 3))) + "]")
            for at in range(draw.randrange(1, 4))]
        documents.append(syncset(*draw.sample(KINDS, draw.randrange(4))))
        if draw.random() < 0.5:
            documents.append(config(sync={"syncOnly": [
                {"group": group, "version": version, "kind": kind}
                for group, version, kind in draw.sample(KINDS, 2)]}))
        if draw.random() < 0.6:
            documents.append(manifest(*draw.sample(KINDS, 3)))
        if draw.random() < 0.1:
            documents.append(requiring("K9", "[[{broken"))
        path = written(tmp_path, *documents)
        flags = ["--force-omit-gvk-manifest"] if draw.random() < 0.6 else []
        theirs = subprocess.run([gator, "sync", "test", "-n", str(path), *flags], capture_output=True, text=True,
                                check=False)
        ours = run(["policy", "sync", "test", "--filename", str(path), *flags])
        said = capsys.readouterr()
        assert (ours, missing(said.err)) == (theirs.returncode, missing(theirs.stderr)), theirs.stderr
        assert said.out == ""
        codes.add(ours)
    assert codes == {0, 1}


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asking = requiring("K1", f"[{requirement(*KINDS[:2])}]")
    assert run(["policy", "sync", "test", "-n", str(written(tmp_path, asking))]) == 1
    assert "GVKManifest: got none, expected one" in capsys.readouterr().err
    assert run(["policy", "sync", "test", "-f", "-n", str(written(tmp_path, asking))]) == 1
    assert "k1:\n- /v1:Pod OR /v1:Service\n" in capsys.readouterr().err
    kept = written(tmp_path, asking, syncset(KINDS[1]))
    assert run(["policy", "sync", "test", "-f", "-n", str(kept)]) == 0
    # What is named and not served is not kept.
    unserved = written(tmp_path, asking, syncset(KINDS[1]), manifest(KINDS[0]))
    assert run(["policy", "sync", "test", "-n", str(unserved)]) == 1
    assert run(["policy", "sync", "test", "-i", "x", "-n", str(kept)]) == 2
    assert "--image" in capsys.readouterr().err


def test_annotations_that_cannot_be_read_are_not_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = requiring("K1", "[]")
    odd["metadata"]["annotations"] = [1]
    assert run(["policy", "sync", "test", "-f", "-n", str(written(tmp_path, odd))]) == 2
    assert "documents.yaml: metadata.annotations: got a list, expected a mapping" in capsys.readouterr().err


def test_two_templates_of_one_name_are_both_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = requiring("K1", f"[{requirement(KINDS[0])}]"), requiring("K1", "[]")
    assert run(["policy", "sync", "test", "-f", "-n", str(written(tmp_path, first, second))]) == 1
    assert "k1:\n- /v1:Pod\n" in capsys.readouterr().err
    first = requiring("K1", "{")
    assert run(["policy", "sync", "test", "-f", "-n", str(written(tmp_path, first, second))]) == 1
    assert "encountered errors parsing the following templates: \nk1:\n" in capsys.readouterr().err
