"""A step that takes too much: it is stopped, the limit is named, nothing of it runs on and nothing of it stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid

import pytest

from custody.build.definition import parse_definition
from custody.build.limits import MAXIMA, MINIMA, Limits, show_size
from custody.errors import CustodyError, DeniedError, MalformedError, UnsupportedError
from tests.build.escaping import processes
from tests.build.test_build import DEFINITION, folder, isolations, run
from tests.source.repositories import GitFolder

__all__ = ["folder"]
KINDS = ["bubblewrap", "namespaces", "none"]

HOG = """
import os, time
hoard = []
for _ in range(12):
    if os.fork() == 0:
        hoard.append(os.urandom(1 << 20) * 24)
        time.sleep(60)
time.sleep(60)
"""
ONE_HOG = "hoard = [b'x' * (1 << 20) * n for n in range(1, 100)]"
HIDDEN_HOG = """
import os, time
files = [os.memfd_create(str(number)) for number in range(12)]  # which the filter of an isolated step refuses
for file in files:
    for _ in range(24):
        os.write(file, os.urandom(1 << 20))
time.sleep(60)
"""
REMOVED = """
import os, time
files = []
os.chdir(os.environ["CUSTODY_OUTPUT"])
for number in range(6):
    files.append(os.open("x", os.O_RDWR | os.O_CREAT))
    os.unlink("x")
    os.write(files[-1], os.urandom(1 << 19))
time.sleep(60)
"""
BOMB = """
import os, time
for _ in range(200):
    try:
        if os.fork() == 0:
            time.sleep(60)
    except OSError:
        pass
time.sleep(60)
"""
FILES = """
import os, time
os.mkdir(os.environ["CUSTODY_OUTPUT"] + "/1")
os.chdir(os.environ["CUSTODY_OUTPUT"] + "/1")
for number in range(60):
    open(str(number), "w").close()
time.sleep(SLEEP)
"""
DEEP = """
import os, time
os.chdir(os.environ["CUSTODY_OUTPUT"])
for _ in range(1500):
    os.mkdir("d")
    os.chdir("d")
time.sleep(SLEEP)
"""
FULL = """
import os, time
os.mkdir(os.environ["CUSTODY_OUTPUT"] + "/1")
os.chdir(os.environ["CUSTODY_OUTPUT"] + "/1")
for number in range(6):
    open(str(number), "wb").write(os.urandom(1 << 19))
time.sleep(SLEEP)
"""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("setting", "script", "words"), [
    ('memory = "128 MiB"', HOG, "took more than 128 MiB of memory"),
    ('memory = "128 MiB"', HIDDEN_HOG, "took more than 128 MiB of memory"),
    ("processes = 20", BOMB, "had more than 20 processes and threads"),
    ("files = 50", FILES.replace("SLEEP", "60"), "left more than 50 files and folders"),
    ('output_size = "1 MiB"', FULL.replace("SLEEP", "60"), "left more than 1 MiB of files"),
    ('output_size = "1 MiB"', REMOVED, "held more than 1 MiB of removed files open"),
    ("depth = 20", DEEP.replace("SLEEP", "60"), "left folders more than 20 deep"),
    ('log_size = "64 KiB"', "import os\nwhile True: os.write(1, b'x' * 4096)", "wrote more than 64 KiB of output and"),
    ("timeout = 1", "import time; time.sleep(60)", "took longer than 1 s"),
], ids=["memory", "memory files", "processes", "files", "output", "removed files", "depth", "log", "time"])
def test_what_is_exceeded_is_named(folder: GitFolder, kind: str, setting: str, script: str, words: str) -> None:
    if kind != "none" and (kind not in isolations() or script == HIDDEN_HOG):
        pytest.skip(f"{kind} does not work here, or makes no memory files")
    marker = f"{uuid.uuid4().hex}.py"
    definition = f'[build]\ncommand = ["python3", "{marker}"]\n{setting}\n'
    with pytest.raises(CustodyError, match=f"build step: {words}") as raised:
        run(folder, definition=definition, isolation=kind, **{marker: script})
    assert raised.value.hint == f"raise build.{setting.split()[0]} in custody-build.toml"
    assert processes(marker) == []
    assert [name for name in os.listdir(folder.keys) if name.startswith(("custody-build-", "image"))] == []


@pytest.mark.parametrize(("setting", "script", "words"), [
    ("files = 50", FILES.replace("SLEEP", "0"), "more than 50 files and folders"),
    ('output_size = "1 MiB"', FULL.replace("SLEEP", "0"), "more than 1 MiB"),
    ("depth = 20", DEEP.replace("SLEEP", "0"), "folders more than 20 deep"),
])
def test_what_is_exceeded_in_the_end(folder: GitFolder, setting: str, script: str, words: str) -> None:
    with pytest.raises(CustodyError, match=f"{words}|left "):
        run(folder, script, definition=DEFINITION + setting)
    assert [name for name in os.listdir(folder.keys) if name.startswith(("custody-build-", "image"))] == []


@pytest.mark.parametrize(("setting", "script", "words"), [
    ('memory = "128 MiB"', ONE_HOG, r"build\.memory \(128 MiB\)"),
    ('file_size = "1 MiB"', "open('/tmp/x', 'wb').write(bytes(2 << 20))", r"build\.file_size \(1 MiB\)"),
    ('file_size = "1 MiB"', "open('/tmp/x', 'wb').truncate(1 << 40)", r"build\.file_size \(1 MiB\)"),
    ('tmp_size = "1 MiB"', "open('/tmp/x', 'wb').write(bytes(2 << 20))", r"build\.tmp_size \(1 MiB\)"),
    ('tmp_size = "1 MiB"', "open('/dev/shm/x', 'wb').write(bytes(2 << 20))", r"build\.tmp_size \(1 MiB\)"),
], ids=["memory of one process", "file", "sparse file", "/tmp", "/dev/shm"])
def test_what_the_kernel_refused_is_suspected(folder: GitFolder, setting: str, script: str, words: str) -> None:
    if not isolations():
        pytest.skip("no isolation works here")
    with pytest.raises(DeniedError, match="exit code 1") as raised:
        run(folder, script, definition=DEFINITION + setting, isolation=isolations()[0])
    assert raised.value.hint is not None
    assert re.search(words, raised.value.hint)


@pytest.mark.parametrize(("line", "words"), [
    ('memory = "2 GB"', 'build.memory: got \'2 GB\', expected bytes, or a size'),
    ('memory = "1 MiB"', "build.memory: got '1 MiB', expected 64 MiB to 256 GiB"),
    ("memory = 1.5", r"build\.memory"),
    ("processes = 0", "build.processes: got 0, expected 8 to 32768"),
    ('processes = "many"', r"build\.processes"),
    ("files = 500001", "build.files: got 500001, expected 1 to 500000"),
    ("depth = 257", "build.depth: got 257, expected 1 to 256"),
    ('output_size = "17 GiB"', "build.output_size: got '17 GiB', expected 1 MiB to 16 GiB"),
    ("timeout = 86401", "build.timeout: got 86401, expected 1 to 86400 seconds"),
    ("cpus = 2", "unknown field `cpus`"),
    ("memory = 99999999999999999999", r"build\.memory|TOML|memory"),
])
def test_limits_that_are_refused(line: str, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        parse_definition(f"{DEFINITION}{line}\n".encode())


def test_a_limit_that_none_cannot_keep_is_refused(folder: GitFolder) -> None:
    with pytest.raises(UnsupportedError, match=r"build\.tmp_size: without isolation /tmp is the host's"):
        run(folder, definition=DEFINITION + 'tmp_size = "1 MiB"')


def test_every_limit_has_bounds_and_a_default_between_them() -> None:
    for key, value in Limits().to_json().items():
        assert MINIMA.to_json()[key] <= value <= MAXIMA.to_json()[key]
    assert (show_size(2 << 30), show_size(1536 << 20), show_size(1000)) == ("2 GiB", "1536 MiB", "1000 bytes")
    definition = parse_definition((DEFINITION + 'memory = "1 GiB"\nfile_size = 1048576\n').encode())
    assert (definition.build.limits.memory, definition.build.limits.file_size) == (1 << 30, 1 << 20)


def _hear() -> None:
    """Who starts the tests in the background of a script has them ignore SIGINT, and so all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("kind", KINDS)
def test_interrupted(folder: GitFolder, kind: str, number: signal.Signals) -> None:
    if kind != "none" and kind not in isolations():
        pytest.skip(f"{kind} does not work here")
    marker = f"{uuid.uuid4().hex}.py"
    folder.commit("ann", "sleep", files={
        marker: "import time; time.sleep(600)", "custody-build.toml": f'[build]\ncommand = ["python3", "{marker}"]\n'})
    custody = subprocess.Popen([sys.executable, "-m", "custody.cli.main", "build", str(folder.path), "--repository",
                                "https://x/y", "-o", "oci:image", "--isolation", kind], cwd=folder.keys,
                               stderr=subprocess.PIPE, text=True, preexec_fn=_hear)
    deadline = time.monotonic() + 60
    while not processes(marker) and time.monotonic() < deadline and custody.poll() is None:
        time.sleep(0.05)
    assert processes(marker)
    custody.send_signal(number)
    errors = custody.communicate(timeout=60)[1]
    assert custody.returncode not in (0, None)
    assert "Traceback" not in errors
    assert processes(marker) == []
    assert [name for name in os.listdir(folder.keys) if name.startswith(("custody-build-", "image"))] == []


def test_a_killed_builder_takes_its_step_along(folder: GitFolder) -> None:
    if not isolations():
        pytest.skip("no isolation works here")
    for kind in isolations():
        marker = f"{uuid.uuid4().hex}.py"
        folder.commit("ann", kind, files={
            marker: "import time; time.sleep(600)",
            "custody-build.toml": f'[build]\ncommand = ["python3", "{marker}"]\n'})
        custody = subprocess.Popen([sys.executable, "-m", "custody.cli.main", "build", str(folder.path), "--repository",
                                    "https://x/y", "-o", f"oci:{kind}", "--isolation", kind], cwd=folder.keys,
                                   stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not processes(marker) and time.monotonic() < deadline:
            time.sleep(0.05)
        custody.kill()
        custody.wait()
        while processes(marker) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert processes(marker) == []


def test_real_programs_go_on_working(folder: GitFolder) -> None:
    """A compiler, make, tar, git, threads, processes and shared memory, under the filter and within the limits."""
    if not isolations():
        pytest.skip("no isolation works here")
    script = """
import concurrent.futures, multiprocessing, os, pathlib, shutil, socket, subprocess, tempfile
out = pathlib.Path(os.environ["CUSTODY_OUTPUT"]) / "1"
out.mkdir()
os.chdir(tempfile.mkdtemp())
def square(number):
    return number * number
with multiprocessing.Pool(3) as pool:
    assert pool.map(square, range(9))[-1] == 64
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    assert list(pool.map(square, range(9)))[-1] == 64
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
    client.sendall(b"x")
if shutil.which("gcc") and shutil.which("make"):
    pathlib.Path("m.c").write_text('#include <pthread.h>\\nint main(void) { return 0; }\\n')
    pathlib.Path("Makefile").write_text("m: m.c\\n\\tgcc -O2 -pthread -o m m.c\\n")
    subprocess.run(["make", "-s", "-j4"], check=True)
    subprocess.run(["./m"], check=True)
if shutil.which("git"):
    subprocess.run(["git", "init", "-q", "."], check=True)
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@x", "commit", "-q", "--allow-empty", "-m", "x"],
                   check=True)
subprocess.run(["tar", "cf", "a.tar", "."], check=False)
subprocess.run(["tar", "xf", "a.tar", "-C", tempfile.mkdtemp()], check=True)
(out / "done").write_text(str(shutil.which("gcc")))
"""
    for kind in isolations():
        assert run(folder, script, isolation=kind, name=kind).descriptor.digest
