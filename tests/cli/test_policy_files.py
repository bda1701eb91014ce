"""Files of policies that a command makes: a name each, all of them or none, and never through a link."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.policy_files import PolicyFiles
from custody.errors import StorageFullError, UsageError


def policy(kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, **({"namespace": namespace} if namespace else {})}}


def written(folder: Path, *documents: dict[str, Any]) -> list[str]:
    files = PolicyFiles(folder)
    files.add(documents)
    files.write()
    return sorted(path.name for path in folder.iterdir())


def test_a_file_each_named_by_the_policy(tmp_path: Path) -> None:
    assert written(tmp_path / "a" / "b", policy("P", "x"), policy("P", "y", "shop")) == ["shop-y.yaml", "x.yaml"]
    assert yaml.safe_load((tmp_path / "a" / "b" / "x.yaml").read_text()) == policy("P", "x")


def test_of_one_name_the_kind_is_in_it(tmp_path: Path) -> None:
    assert written(tmp_path, policy("Policy", "x"), policy("Binding", "x"), policy("Policy", "y")) == [
        "x.binding.yaml", "x.policy.yaml", "y.yaml"]


def test_of_one_name_the_namespace_is_told_from_it(tmp_path: Path) -> None:
    assert written(tmp_path, policy("P", "b-c", "a"), policy("P", "c", "a-b"), policy("P", "a-b-c")) == [
        "a-b-c.p.yaml", "a-b_c.p.yaml", "a_b-c.p.yaml"]


def test_letters_that_some_file_systems_do_not_tell_apart(tmp_path: Path) -> None:
    assert written(tmp_path, policy("P", "x"), policy("Q", "X")) == ["X.q.yaml", "x.p.yaml"]


@pytest.mark.parametrize(("documents", "words"), [
    ([policy("P", "z"), policy("P", "x"), policy("P", "x")], "got 2 policies whose file is x.p.yaml, expected each once"),
    ([policy("P", "z"), policy("P", "n" * 253)], "got a file's name of 258 bytes")])
def test_names_are_decided_before_anything_is_written(documents: list[dict[str, Any]], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        written(tmp_path / "out", *documents)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_is_not_followed(dangling: bool, tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "out"
    folder.mkdir()
    if not dangling:
        victim.write_text("mine")
    (folder / "x.yaml").symlink_to("../victim")
    with pytest.raises(UsageError, match=r"x\.yaml: is a link, expected a file or nothing"):
        written(folder, policy("P", "a"), policy("P", "x"))
    assert victim.exists() is not dangling
    assert dangling or victim.read_text() == "mine"
    assert [path.name for path in folder.iterdir()] == ["x.yaml"]


def test_a_folder_where_a_file_is_to_be(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").mkdir()
    with pytest.raises(UsageError, match=r"x\.yaml: is no file, expected a file or nothing"):
        written(tmp_path, policy("P", "a"), policy("P", "x"))
    assert [path.name for path in tmp_path.iterdir()] == ["x.yaml"]


def test_what_stands_there_is_replaced_and_stays_where_one_cannot_be_written(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.yaml").write_text("old")
    drafts: list[str] = []
    opened = os.open

    def full(path: Any, *rest: Any) -> int:
        drafts.append(str(path))
        if len(drafts) == 2:
            raise OSError(28, "No space left on device")
        return opened(path, *rest)

    with monkeypatch.context() as patched:
        patched.setattr("custody.kit.destination.os.open", full)
        with pytest.raises(StorageFullError, match="No space left on device"):
            written(tmp_path, policy("P", "x"), policy("P", "y"))
    assert len(drafts) == 2
    assert (tmp_path / "x.yaml").read_text() == "old"
    assert written(tmp_path, policy("P", "x"), policy("P", "y")) == ["x.yaml", "y.yaml"]
    assert yaml.safe_load((tmp_path / "x.yaml").read_text()) == policy("P", "x")


def test_a_folder_that_is_a_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match=r"--output .*out: Not a directory"):
        PolicyFiles(tmp_path / "out")
