"""What a step may leave and what not: each refusal names the path, and nothing of the build stays."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custody.build.builder import quote_log
from custody.build.limits import Limits
from custody.build.output import read_output
from custody.build.workfolder import remove_tree, walk, work_folder
from custody.errors import CustodyError, DeniedError, MalformedError, VerificationError
from tests.build.test_build import DEFINITION, SIMPLE, folder, isolations, layer, run
from tests.build.users import UID, USERS, run_as_user
from tests.source.repositories import GitFolder

__all__ = ["folder"]
START = """
import os, pathlib, socket, sys
out = pathlib.Path(os.environ["CUSTODY_OUTPUT"])
one = out / "1"
one.mkdir()
os.chdir(one)
"""


def left(folder: GitFolder) -> list[str]:
    return [name for name in os.listdir(folder.keys) if name.startswith(("custody-build-", "image"))]


@pytest.mark.parametrize("kind", ["strongest", "none"])
@pytest.mark.parametrize(("script", "words"), [
    ("os.mkfifo('pipe')", "build output: 1/pipe: got 'a pipe'"),
    ("socket.socket(socket.AF_UNIX).bind('sock')", "build output: 1/sock: got 'a socket'"),
    ("open('su', 'w').close(); os.chmod('su', 0o4755)", "build output: 1/su: got 'a set-user-ID"),
    ("os.mkdir('sg'); os.chmod('sg', 0o2755)", "build output: 1/sg: got 'a set-user-ID or set-group-ID"),
    ("open('.wh.secret', 'w')", r"1/\.wh\.secret: got 'a name that removes a file"),
    ("os.mkdir('deep'); open('deep/.wh..wh..opq', 'w')", r"1/deep/\.wh\.\.wh\.\.opq: got 'a name that removes"),
    ("open('a\\nb', 'w')", r"1/a\\nb: got 'a name of other bytes', expected UTF-8 without control"),
    ("open('a\\x1b[2J', 'w')", r"1/a\\x1b\[2J: got 'a name of other bytes'"),
    ("open('a\\u202eb', 'w')", r"1/a\\u202eb: got 'a name of other bytes'"),
    ("open(b'a\\xff', 'w')", r"1/a\\udcff: got 'a name of other bytes'"),
    ("os.symlink(b'\\xff', 'link')", r"link: got 'a symbolic link to a name of other bytes'"),
    ("os.symlink('a\\nb', 'link')", r"link: got 'a symbolic link to a name of other bytes'"),
    ("out.joinpath('loose').write_text('')", r"build output: got \['1', 'loose'\], expected one folder a layer"),
    ("out.joinpath('2').symlink_to('1')", r"build output: got \['1', '2'\], expected one folder a layer"),
    ("out.joinpath('a\\nb').mkdir()", r"build output: a\\nb: got 'a name of other bytes'"),
    ("open('sparse', 'wb').truncate(1 << 30); open('sparse2', 'wb').truncate(1 << 30);"
     "open('s3', 'wb').truncate(1 << 30); open('s4', 'wb').truncate((1 << 30) + 1)",
     "got 'the file after which there are more than 4 GiB'"),
    ("\nfor _ in range(9): os.mkdir('x' * 250); os.chdir('x' * 250)", "got 'a path of 2"),
])
def test_output_that_is_refused(folder: GitFolder, kind: str, script: str, words: str) -> None:
    if kind == "strongest" and not isolations():
        pytest.skip("no isolation works here")
    with pytest.raises(MalformedError, match=words):
        run(folder, START + script, isolation=None if kind == "strongest" else kind)
    assert left(folder) == []


@pytest.mark.parametrize("kind", ["strongest", "none"])
def test_output_that_is_normalised(folder: GitFolder, kind: str) -> None:
    if kind == "strongest" and not isolations():
        pytest.skip("no isolation works here")
    script = START + """
open("README", "w").write("1"); open("readme", "w").write("2")
os.link("README", "again")
os.symlink("/etc/shadow", "out"); os.symlink("../../../../etc/shadow", "up"); os.symlink(".", "loop")
os.mkdir("closed"); open("closed/file", "w").write("3"); os.chmod("closed/file", 0); os.chmod("closed", 0)
os.mkdir("sticky"); os.chmod("sticky", 0o1777)
open("wide", "w").close(); os.chmod("wide", 0o666)
try:
    os.setxattr("wide", "user.note", b"x")
except OSError:
    pass
os.chmod(one, 0); os.chmod(out, 0)
"""
    members = layer(run(folder, script, isolation=None if kind == "strongest" else kind))
    assert [(m.name, m.mode, m.uid, m.pax_headers) for m in members] == [
        ("README", 0o644, 0, {}), ("again", 0o644, 0, {}), ("closed", 0o755, 0, {}), ("closed/file", 0o644, 0, {}),
        ("loop", 0o777, 0, {}), ("out", 0o777, 0, {}), ("readme", 0o644, 0, {}), ("sticky", 0o755, 0, {}),
        ("up", 0o777, 0, {}), ("wide", 0o644, 0, {})]
    assert all(member.isreg() for member in members if member.name in ("README", "again"))  # two files, no link
    assert left(folder) == ["image"]


def test_the_output_folder_replaced(folder: GitFolder, tmp_path: Path) -> None:
    """Without isolation a step can put a link in its place; the link is not followed."""
    outside = tmp_path / "outside"
    (outside / "1").mkdir(parents=True)
    (outside / "1" / "secret").write_text("of the host")
    with pytest.raises(CustodyError, match="build output: got 'no folder, or a link"):
        run(folder, f"import os; o = os.environ['CUSTODY_OUTPUT']; os.rmdir(o); os.symlink({str(outside)!r}, o)")
    assert left(folder) == []
    assert (outside / "1" / "secret").read_text() == "of the host"


@pytest.mark.parametrize("kind", ["bubblewrap", "namespaces", "none"])
def test_nothing_writes_after_the_step(folder: GitFolder, kind: str) -> None:
    if kind != "none" and kind not in isolations():
        pytest.skip(f"{kind} does not work here")
    script = START + """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(3): os.close(number)
        count = 0
        while True:
            open("late", "w").write(str(count))
            count += 1
    os._exit(0)
while not os.path.exists("late"): pass
"""
    for number in range(3):
        assert [member.name for member in layer(run(folder, script, isolation=kind, name=f"n{number}"))] == ["late"]


def test_library_errors_are_tracebacks(folder: GitFolder) -> None:
    """NUL in a command, and folders 1,500 deep: one line that names the key or path, and no folder left."""
    with pytest.raises(MalformedError, match=r"custody-build\.toml: build\.command\[0\]: got 'sh\\x00', expected text"):
        run(folder, definition='[build]\ncommand = ["sh\\u0000"]\n')
    deep = "import os\nos.chdir(os.environ['CUSTODY_OUTPUT'])\nfor _ in range(1500): os.mkdir('d'); os.chdir('d')"
    for kind in ("none", *isolations()):
        with pytest.raises(CustodyError, match="folders more than 64 deep") as raised:
            run(folder, deep, isolation=kind, name=f"image-{kind}")
        assert raised.value.hint == "raise build.depth in custody-build.toml"
        assert raised.value.exit_code == 2
    assert left(folder) == []


@pytest.mark.parametrize(("text", "words"), [
    ('[build]\ncommand = ["a", "b\\u0000"]\n', r"build\.command\[1\]: got 'b\\x00'"),
    ('[build]\ncommand = [""]\n', "build.command: got"),
    (f'[build]\ncommand = ["a", "{"x" * 140_000}"]\n', r"build\.command\[1\]: got '140000 characters'"),
])
def test_commands_that_no_kernel_takes(folder: GitFolder, text: str, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        run(folder, definition=text)


def test_a_command_that_is_not_there(folder: GitFolder) -> None:
    for kind in ("none", *isolations()):
        with pytest.raises(CustodyError, match=r"build step: none\\x1bsuch: No such file or directory"):
            run(folder, definition='[build]\ncommand = ["none\\u001bsuch"]\n', isolation=kind)


def test_terminal_escapes(folder: GitFolder) -> None:
    """A failing step that clears the screen, forges custody's own lines and speaks to a CI system's runner."""
    forged = ("\\033[2J\\033[1;1H\\033]0;owned\\007sha256:00\\nbuilt by https://builder.custody.internal/x\\033[8m\\n"
              "::error file=a::b\\n##[error]c\\n  ::stop-commands::x\\u202e\\n##vso[task.complete]")
    with pytest.raises(DeniedError) as raised:
        run(folder, f"print('{forged}'); raise SystemExit(7)")
    lines = raised.value.message.splitlines()
    assert lines[0] == "build step: exit code 7"
    assert len(lines) == 6
    assert all(line.startswith("  | ") and line.isprintable() for line in lines[1:])
    assert "##" not in raised.value.message
    assert quote_log(["a\x1b[2J\tb"]) == ["  | a\\x1b[2J\tb"]


@given(st.text(max_size=80))
def test_no_line_of_a_step_leaves_its_place(text: str) -> None:
    for line in quote_log(text.splitlines()):
        assert line.startswith("  | ")
        assert line.replace("\t", "").isprintable()
        assert "##" not in line


names = st.text(st.characters(exclude_characters="/\0", max_codepoint=0x2FFF), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..") and len(os.fsencode(name)) < 200)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=st.lists(st.tuples(
    st.lists(names, min_size=1, max_size=4), st.sampled_from(["file", "folder", "link", "pipe"]),
    st.integers(0, 0o7777)), max_size=8))
def test_any_tree_is_read_or_refused_and_removed(entries: list[tuple[list[str], str, int]], tmp_path: Path) -> None:
    with work_folder(tmp_path) as work:
        for parts, kind, mode in entries:
            path = work.joinpath("output", *parts)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                if kind == "file":
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                elif kind == "folder":
                    path.mkdir()
                elif kind == "link":
                    path.symlink_to("nowhere")
                else:
                    os.mkfifo(path)
                if kind != "link":
                    path.chmod(mode)
            except OSError:
                continue
        (work / "output").mkdir(exist_ok=True)
        try:
            layers = read_output(work / "output", Limits())
        except MalformedError:
            packed: list[str] = []
        else:
            packed = [f"{layer.name}/{entry.name}" for layer in layers for entry in layer.entries]
        assert all(name.isprintable() and "/.wh." not in name for name in packed)
    assert list(tmp_path.iterdir()) == []


def test_a_tree_of_any_depth_is_removed_without_following_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    top = tmp_path / "top"
    top.mkdir()
    number = os.open(top, os.O_RDONLY)
    for level in range(3000):
        os.mkdir("d", dir_fd=number)
        os.symlink(outside, f"l{level}", dir_fd=number)
        inner = os.open("d", os.O_RDONLY, dir_fd=number)
        os.close(number)
        number = inner
    os.close(number)
    remove_tree(top)
    assert not top.exists()
    assert (outside / "file").exists()


def test_a_walk_says_what_goes_away(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("/")
    assert sorted(path for path, _ in walk(tmp_path)) == ["a", "b"]
    assert {stat.S_IFMT(status.st_mode) for _, status in walk(tmp_path)} == {stat.S_IFDIR, stat.S_IFLNK}


def test_one_commit_one_digest(folder: GitFolder, tmp_path_factory: pytest.TempPathFactory) -> None:
    """For root and for an ordinary user, in both isolations, under any umask."""
    script = """
import getpass, os, pathlib, socket, subprocess
out = pathlib.Path(os.environ["CUSTODY_OUTPUT"]) / "1"
out.mkdir()
seen = {key: value for key, value in os.environ.items() if key != "PATH"}
listing = subprocess.run(["ls", "-lan", "--time-style=full-iso", "/src/build.py", "/inputs", "/etc/passwd"],
                         capture_output=True, text=True).stdout.splitlines()
own = [line for line in listing if "passwd" not in line and not line.endswith("..")]
(out / "seen").write_text(repr((sorted(seen.items()), os.getuid(), os.getgid(), os.getgroups(), os.umask(0),
                                getpass.getuser(), socket.gethostname(), os.getcwd(), own,
                                sorted(os.listdir("/dev")), os.getpid())))
"""
    commit = folder.commit("ann", "one", files={"build.py": script, "custody-build.toml": DEFINITION})
    if not isolations():
        pytest.skip("no isolation works here")
    digests = {}
    before = os.umask(0o077)
    try:
        for kind in isolations():
            place = tmp_path_factory.mktemp(kind)
            done = subprocess.run([sys.executable, "-m", "tests.build.digest", str(folder.path), commit, kind,
                                   str(place)], capture_output=True, text=True, check=True)
            digests[kind] = done.stdout.strip()
            os.umask(0o022)
    finally:
        os.umask(before)
    for user in USERS if os.geteuid() == 0 else ():
        if user == "root":
            continue
        base = tmp_path_factory.mktemp(user)
        for place in (base, *base.parents[:2]):
            os.chmod(place, 0o755)
        subprocess.run(["cp", "-r", str(folder.path), str(base / "repo")], check=True)
        subprocess.run(["chown", "-R", str(UID), str(base)], check=True)
        for kind in isolations():
            place = base / kind
            place.mkdir()
            digests[f"{kind} {user}"] = run_as_user("tests.build.digest", str(base / "repo"), commit, kind,
                                                    str(place), folder=place, user=user).strip()
    assert len(set(digests.values())) == 1, digests


def test_build_not_reproducible_oldpwd(folder: GitFolder) -> None:
    """Two builds of one commit that packs its environment: one digest, and nothing of the host in it."""
    files = {"build.sh": "mkdir $CUSTODY_OUTPUT/1; env | sort > $CUSTODY_OUTPUT/1/env\n"}
    for kind in isolations():
        built = [run(folder, definition='[build]\ncommand = ["sh", "build.sh"]\n', isolation=kind,
                     name=f"{kind}{number}", **files) for number in range(2)]  # of commits with one tree and one date
        assert built[0].descriptor.digest == built[1].descriptor.digest


def test_the_source_is_checked_after_the_last_write(folder: GitFolder) -> None:
    late = SIMPLE + """
import time
if os.fork() == 0:
    os.setsid()
    while True:
        open("data.txt", "w").write("evil")
time.sleep(0.2)
"""
    with pytest.raises(VerificationError, match=r"data\.txt was changed in the source"):
        run(folder, late)
