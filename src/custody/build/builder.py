"""The builder's control plane: commit id in, reproducible image and provenance out.

The step runs in a sandbox and sees neither this process nor its keys. Every field of the provenance is written or
checked here; the step decides only the bytes of the image, that is, the subject (SLSA Build L3, "Unforgeable").
"""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import stat
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from custody import __version__
from custody.build import sandbox
from custody.build.definition import NAME, Definition, parse_definition
from custody.build.image import write_image
from custody.build.inputs import Fetch, Input, copy_input, fetch_inputs
from custody.build.limits import GIB, Limits, show_size
from custody.build.output import read_output
from custody.build.workfolder import walk, work_folder
from custody.errors import DeniedError, MalformedError, NotFoundError, UnsupportedError, VerificationError
from custody.formats import oci
from custody.formats.gitobject import File
from custody.formats.lockfile import parse_requirements
from custody.formats.slsa import Provenance, Resource
from custody.kit import digest as digests
from custody.kit.clock import Clock
from custody.kit.visible import visible
from custody.ports.repository import Repository

BUILD_TYPE = "https://builder.custody.internal/buildtypes/toml/v1"
_MAX_SOURCE = 4 * GIB
_MAX_PATH, _MAX_NAME = 2048, 255
BUILDER_IDS = {kind: f"https://builder.custody.internal/{kind}/v1" for kind in sandbox.KINDS}
"""One builder.id for each isolation: a policy that trusts one does not trust another."""


@dataclass(frozen=True, slots=True)
class Built:
    descriptor: oci.Descriptor
    manifest: bytes
    layout: Path
    provenance: Provenance
    inputs: tuple[Input, ...]
    log: bytes


def build(repository: Repository, commit_id: str, *, repository_uri: str, layout: Path, cache: Path, fetch: Fetch,
          clock: Clock, isolation: str | None = None, tag: str = "latest",
          progress: Callable[[str], None] = lambda _: None) -> Built:
    """Build one commit into a new OCI layout at `layout`. Raises CustodyError; the layout appears only when whole."""
    layout = layout.absolute()
    if layout.exists():
        raise MalformedError(str(layout), got="something that is there already", expected="a new folder")
    kind = sandbox.choose_isolation(isolation)
    started = clock()
    # 1. The source, from git objects whose ids are hashed again; never from the working tree.
    commit = repository.commit(commit_id)
    files = repository.files(commit)
    definition = _definition(repository, files)
    if kind == "none" and definition.build.tmp_size is not None:
        raise UnsupportedError(f"{NAME}: build.tmp_size", "without isolation /tmp is the host's, and has no limit",
                               hint="leave it out, or build isolated")
    # 2. The inputs, by hash.
    progress(f"{len(files)} files of {commit.id[:12]}")
    inputs = _inputs(repository, files, definition, cache, fetch)
    progress(f"{len(inputs)} inputs verified against {visible(definition.build.lock or 'no lock')}")
    layout.parent.mkdir(parents=True, exist_ok=True)
    limits = definition.build.limits
    with work_folder(layout.parent) as work:
        places = sandbox.Places.create(work)
        _write_source(repository, files, places.source, commit.time)
        for wheel in inputs:
            copy_input(wheel, places.inputs)
        _normalise(places.inputs, commit.time)
        # 3. The step, isolated. When it is done, nothing of it runs any more.
        step = sandbox.run_step(definition.build.command, kind=kind, places=places, epoch=commit.time, limits=limits)
        if step.exit_code != 0:
            raise _failure(step, limits)
        progress(f"step done, {'not isolated' if kind == 'none' else f'isolated with {kind}'}")
        # 4. What was read is still what the commit says: a step that changes its source is caught (SUNSPOT did that).
        _check_source(files, places.source)
        # 5. The image.
        descriptor, manifest = write_image(read_output(places.output, limits), definition.image, commit.time,
                                           work / "image", tag)
        try:
            os.replace(work / "image", layout)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            raise MalformedError(str(layout), got="something that came there meanwhile",
                                 expected="a new folder") from None
    # 6. The provenance, all of whose fields are this process's own knowledge.
    provenance = Provenance(
        builder_id=BUILDER_IDS[kind], build_type=BUILD_TYPE,
        external_parameters={"repository": repository_uri, "commit": commit.id, "definition": NAME},
        internal_parameters={"isolation": kind, "sourceDateEpoch": commit.time, "network": kind == "none",
                             "limits": limits.to_json(), **sandbox.describe(kind)},
        resolved_dependencies=(
            Resource(f"git+{repository_uri}", {"gitCommit": commit.id, "gitTree": commit.tree}),
            *(Resource(wheel.entry.purl, {"sha256": wheel.sha256}, wheel.path.name) for wheel in inputs)),
        builder_version={"custody": __version__, **sandbox.tool_version(kind)},
        invocation_id=f"urn:uuid:{uuid.uuid4()}", started_on=started, finished_on=clock(),
        byproducts=(Resource(name="build log", digest={"sha256": digests.sha256(step.log)[7:]}),))
    return Built(descriptor, manifest, layout, provenance, tuple(inputs), step.log)


def _definition(repository: Repository, files: list[File]) -> Definition:
    for file in files:
        if file.path == NAME and file.mode != 0o120000:
            return parse_definition(repository.blob(file.id))
    raise NotFoundError(f"{repository.place}: the commit has no {NAME}",
                        hint="it says how to build; see the build guide")


def _inputs(repository: Repository, files: list[File], definition: Definition, cache: Path,
            fetch: Fetch) -> list[Input]:
    path = definition.build.lock
    if path is None:
        return []
    file = next((file for file in files if file.path == path), None)
    if file is None:
        raise NotFoundError(f"{NAME}: build.lock: the commit has no {visible(path)}")
    lock = parse_requirements(repository.blob(file.id), path)
    if lock.problems:
        first = lock.problems[0]
        raise DeniedError(f"{visible(path)}:{first.line}: {visible(first.reason)}")
    return fetch_inputs(lock.entries, cache, fetch)


def _failure(step: sandbox.StepResult, limits: Limits) -> DeniedError:
    """The step's last lines, each marked as its own: none can pass for a line of custody's or of a CI system's."""
    last = quote_log(step.log.decode("utf-8", "replace").strip().splitlines()[-5:])
    text = step.log[-65536:]
    suspected = [f"build.{key} ({shown})" for key, shown, signs in (
        ("memory", show_size(limits.memory), (b"MemoryError", b"annot allocate memory", b"bad_alloc", b"ut of memory")),
        ("file_size", show_size(limits.file_size), (b"File too large", b"File size limit exceeded")),
        ("processes", str(limits.processes), (b"Resource temporarily unavailable", b"can't start new thread")),
        ("tmp_size", show_size(limits.tmp_size), (b"No space left on device",)))
        if any(sign in text for sign in signs) or (key == "file_size" and step.exit_code == 128 + signal.SIGXFSZ)]
    hint = f"it seems to have met a limit of custody-build.toml: {', '.join(suspected)}" if suspected else None
    return DeniedError("\n".join([f"build step: exit code {step.exit_code}", *last]), hint=hint)


def quote_log(lines: list[str]) -> list[str]:
    """Lines of a step for people. GitHub's and Azure's runners obey `::…` at a line's start, and `##[` in it."""
    return ["  | " + visible(line[:2000], keep="\t").replace("##", "#\\x23") for line in lines]


def _write_source(repository: Repository, files: list[File], target: Path, epoch: int) -> None:
    """With the modes and times that the commit gives, whatever the umask and the clock."""
    size = 0
    for file in files:
        _check_path(file)
        path = target / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        data = repository.blob(file.id)
        size += len(data)
        if size > _MAX_SOURCE:  # one object may stand in a tree a million times
            raise MalformedError(f"commit: {visible(file.path)}",
                                 got=f"the file after which there are more than {show_size(_MAX_SOURCE)}",
                                 expected="no more in a source")
        if file.mode == 0o120000 and (not data or b"\0" in data or len(data) > _MAX_PATH):
            raise MalformedError(f"commit: {visible(file.path)}", got=f"a symbolic link to {visible(repr(data[:40]))}",
                                 expected=f"where it leads, in at most {_MAX_PATH} bytes without NUL")
        if file.mode == 0o120000:
            os.symlink(data.decode("utf-8", "surrogateescape"), path)
        else:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW), "wb") as stream:
                os.fchmod(stream.fileno(), 0o755 if file.mode & 0o111 else 0o644)
                stream.write(data)
    _normalise(target, epoch)


def _check_path(file: File) -> None:
    """Raises MalformedError for a path that git holds and this system does not: NAME_MAX, and PATH_MAX with room for
    the build's own folder."""
    longest = max(len(os.fsencode(name)) for name in file.path.split("/"))
    if longest > _MAX_NAME or len(os.fsencode(file.path)) > _MAX_PATH:
        raise MalformedError(f"commit: {visible(file.path[:200])}…",
                             got=f"a path of {len(os.fsencode(file.path))} bytes with a name of {longest}",
                             expected=f"at most {_MAX_PATH}, and {_MAX_NAME} for a name")


def _normalise(folder: Path, epoch: int) -> None:
    for name, status in walk(folder):
        if stat.S_ISDIR(status.st_mode):
            os.chmod(folder / name, 0o755)  # noqa: S103 - in a folder that only the builder and the step may enter
        os.utime(folder / name, (epoch, epoch), follow_symlinks=False)
    os.utime(folder, (epoch, epoch))


def _check_source(files: list[File], source: Path) -> None:
    expected = {file.path: file for file in files}
    for name, status in walk(source):
        if not stat.S_ISDIR(status.st_mode):
            file = expected.pop(name, None)
            if file is None or _object_id(source / name, status) != file.id:
                raise VerificationError(f"build step: {visible(name)} was {'changed' if file else 'added'} in the "
                                        "source while it was built")
    if expected:
        raise VerificationError(f"build step: {min(expected)} was removed from the source while it was built")


def _object_id(path: Path, status: os.stat_result) -> str:
    """Of a file or a symbolic link; of what else a step may have put there, an id that no file has."""
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
        return ""
    data = os.fsencode(os.readlink(path)) if stat.S_ISLNK(status.st_mode) else path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()

