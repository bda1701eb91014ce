"""Names that a command is told to write to: what is refused before the work, and what a write leaves."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from custody.errors import UsageError
from custody.kit import destination

ROOT_MAY_ALL = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


@pytest.mark.parametrize(("name", "reason"), [
    (".", "Is a directory"), ("..", "Is a directory"), ("folder", "Is a directory"), ("folder/", "Is a directory"),
    ("new/", "Is a directory"), ("/", "Is a directory"), ("nowhere/file", "No such file or directory"),
    ("file/below", "Not a directory"), ("link-to-folder", "Is a directory"), ("loop", "Too many levels"),
    ("dangling/x", "No such file"), ("n" * 300, "File name too long"), ("", "got ''"),
])
def test_what_cannot_be_written_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str,
                                               reason: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").write_text("as it was")
    Path("link-to-folder").symlink_to("folder")
    Path("loop").symlink_to("loop")
    Path("dangling").symlink_to("nowhere")
    before = sorted(os.listdir())
    with pytest.raises(UsageError, match=f"-o json.*{reason}"):
        destination.check(name, "-o json")
    assert sorted(os.listdir()) == before


def test_a_nul_in_a_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="-o json: got a name with a NUL in it"):
        destination.check(f"{tmp_path}/a\0b", "-o json")


def test_a_socket(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        with pytest.raises(UsageError, match="is a socket, expected a file's name"):
            destination.check(tmp_path / "s", "-o json")


def test_a_new_name_and_an_old_file(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("older and longer")
    old.chmod(0o640)
    for path in (old, tmp_path / "new"):
        destination.write(path, b"new", "-o json")
        assert path.read_bytes() == b"new"
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["new", "old"]


def test_a_symlink_stays_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("old")
    for name, target in (("there", "folder/file"), ("not-yet", "folder/new")):
        (tmp_path / name).symlink_to(target)
        destination.write(tmp_path / name, b"new", "-o json")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / target).read_bytes() == b"new"


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    destination.write(tmp_path / "pipe", b"through", "-o json")
    reader.join(30)
    assert read == [b"through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_device_stays_one() -> None:
    destination.write(Path("/dev/null"), b"nothing", "-o json")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_by_its_name(tmp_path: Path, name: str) -> None:
    """Of a process whose output goes to a file: what was written before stays, and the file is the same one."""
    script = ("import sys; from pathlib import Path; from custody.kit import destination; "
              "print('before', flush=True); destination.write(Path(sys.argv[1]), b'between\\n', '-o'); print('after')")
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", script, name], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\nbetween\nafter\n"


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("as it was")
    def half() -> None:
        with destination.opened(path, "-o") as stream:
            stream.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert path.read_text() == "as it was"
    assert os.listdir(tmp_path) == ["file"]


@ROOT_MAY_ALL
def test_read_only(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "mine").write_text("old")
    (folder / "kept").write_text("old")
    (folder / "kept").chmod(0o444)
    with pytest.raises(UsageError, match="kept: Permission denied"):
        destination.check(folder / "kept", "-o")
    folder.chmod(0o555)
    try:
        with pytest.raises(UsageError, match="new: Permission denied"):
            destination.check(folder / "new", "-o")
        destination.write(folder / "mine", b"new", "-o")  # in place: the folder takes no draft
        assert (folder / "mine").read_bytes() == b"new"
        with pytest.raises(UsageError, match="x: Permission denied"):
            destination.check_folder(folder / "x", "--record")
    finally:
        folder.chmod(0o755)


def test_a_folder_to_make(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, reason in (("file", "Not a directory"), ("file/x", "Not a directory")):
        with pytest.raises(UsageError, match=f"--record .*{reason}"):
            destination.make_folder(tmp_path / name, "--record")
    destination.make_folder(tmp_path / "a" / "b", "--record")
    assert (tmp_path / "a" / "b").is_dir()


def test_drafts_of_one_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the next one has the same number, and must not wait for somebody to clear up."""
    files = [(tmp_path / name, name.encode()) for name in ("a", "b")]
    written: list[Path] = []

    def killed(draft: Path, target: Path) -> None:
        written.append(draft)
        raise SystemExit(137)

    monkeypatch.setattr(Path, "replace", killed)
    monkeypatch.setattr(Path, "unlink", lambda *_: None)
    with pytest.raises(SystemExit):
        destination.write_together(files, "--flag")
    monkeypatch.undo()
    assert written[0].exists()
    destination.write_together(files, "--flag")
    assert [path.read_bytes() for path, _ in files] == [b"a", b"b"]


def test_a_file_whose_writer_was_killed(tmp_path: Path) -> None:
    """The draft that it left is in nobody's way."""
    path = tmp_path / "a"
    with destination.opened(path, "--flag") as stream:
        draft, = tmp_path.iterdir()
        stream.write(b"first")
        os.link(draft, tmp_path / "left")
    (tmp_path / "left").rename(draft)
    destination.write(path, b"second", "--flag")
    assert path.read_bytes() == b"second"
    assert draft.read_bytes() == b"first"
