"""Files that are read to a limit, whatever stands in their place."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from custody.cli.run import run
from custody.errors import CustodyError, MalformedError, UsageError
from custody.kit import regular


def test_no_more_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    for read in (regular.read, regular.limited):
        assert read(path, 5) == b"12345"
        with pytest.raises(MalformedError, match=r"--flag .*file: got 'more than 4 bytes', expected at most 4"):
            read(path, 4, "--flag")
        for absent in (tmp_path / "absent", tmp_path, Path("a\0b")):
            with pytest.raises(UsageError, match="--flag "):
                read(absent, 4, "--flag")


def test_what_has_no_end(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="/dev/zero: got 'more than 9 bytes'"):
        regular.limited(Path("/dev/zero"), 9)
    with pytest.raises(UsageError, match="/dev/zero: is no regular file"):
        regular.read(Path("/dev/zero"), 9)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"from a shell",))
    writer.start()
    assert regular.limited(pipe, 99) == b"from a shell"
    writer.join()
    with pytest.raises(CustodyError, match="is no regular file"):
        regular.read(pipe, 99)


@pytest.mark.parametrize("command", [
    ("initialize", "--mirror", "http://127.0.0.1:9", "--root", "/dev/zero"),
    ("verify-blob", "--key", "/dev/zero", "--bundle", "file", "file"),
    ("verify-blob", "--key", "file", "--bundle", "/dev/zero", "file"),
    ("verify-blob-attestation", "--key", "file", "--bundle", "file", "--policy", "zero.rego", "file"),
    ("source", "check", ".", "--allowed-signers", "/dev/zero")])
def test_commands_do_not_read_without_end(command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "zero.rego").symlink_to("/dev/zero")
    assert run(list(command)) == 2
    assert "this is a fault of custody" not in capsys.readouterr().err
