"""Runs a build step where it can reach nothing but its inputs: no network, no secrets, no other process.

`bubblewrap` and `namespaces` give the step its own user, mount, process, network, IPC and host-name namespaces, a
root made of the host's /usr read-only, and an empty environment. It is shared-kernel isolation: an exploit of the
kernel leaves it. `none` runs the step as it is and is another builder, for whom a policy must ask by name.

The step finds CUSTODY_SOURCE, CUSTODY_INPUTS (both read-only) and CUSTODY_OUTPUT, and SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from custody.errors import CustodyError, UnsupportedError, UsageError

KINDS = ("bubblewrap", "namespaces", "none")
_MAX_LOG = 4 * 1024 * 1024
_MAX_FILE = 8 * 1024**3
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = ("etc/ld.so.cache", "etc/alternatives")

# Builds a root from read-only binds, leaves the host's root behind, drops every capability, and runs the step.
_NAMESPACES = """
set -eu
root=$1 source=$2 inputs=$3 output=$4 prefix=$5; shift 5
bind() { mount --rbind "$1" "$root$2"; mount -o remount,bind,nosuid,nodev"$3" "$root$2"; }
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs "$root"
mkdir "$root/proc" "$root/dev" "$root/tmp" "$root/src" "$root/inputs" "$root/out" "$root/usr" "$root/etc" "$root/old"
bind /usr /usr ,ro
for name in bin sbin lib lib32 lib64 libx32; do
  if [ -L "/$name" ]; then cp -P "/$name" "$root/$name"
  elif [ -d "/$name" ]; then mkdir "$root/$name"; bind "/$name" "/$name" ,ro; fi
done
if [ -d /etc/alternatives ]; then mkdir "$root/etc/alternatives"; bind /etc/alternatives /etc/alternatives ,ro; fi
if [ -f /etc/ld.so.cache ]; then cp /etc/ld.so.cache "$root/etc/ld.so.cache"; fi
case "$prefix" in /usr|/usr/*) ;; *) mkdir -p "$root$prefix"; bind "$prefix" "$prefix" ,ro ;; esac
bind "$source" /src ,ro
bind "$inputs" /inputs ,ro
bind "$output" /out ""
for name in null zero full random urandom; do : > "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
cd "$root"
PATH="/usr/sbin:/sbin:$PATH" pivot_root . old
umount -l /old
rmdir /old
mount -o remount,bind,ro /
cd /src
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


@dataclass(frozen=True, slots=True)
class StepResult:
    exit_code: int
    log: bytes
    """Output and errors of the step, the last 4 MiB."""


def choose_isolation(wanted: str | None = None) -> str:
    """The isolation to use: the strongest that works here, or the one asked for. Raises UnsupportedError."""
    if wanted is not None and wanted not in KINDS:
        raise UsageError(f"--isolation: got {wanted!r}, expected one of {', '.join(KINDS)}")
    if wanted == "none":
        return wanted
    reasons = []
    for kind, works in (("bubblewrap", _bubblewrap_works), ("namespaces", _namespaces_work)):
        if wanted in (None, kind):
            reason = works()
            if reason is None:
                return kind
            reasons.append(f"{kind}: {reason}")
    raise UnsupportedError("build isolation", "; ".join(reasons),
                           hint="apt install bubblewrap; or --isolation none, which is another builder.id")


def tool_version(kind: str) -> dict[str, str]:
    """Name and version of the isolating program, for provenance."""
    program = {"bubblewrap": "bwrap", "namespaces": "unshare"}.get(kind)
    if program is None:
        return {}
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return {program: (done.stdout.split() or ["unknown"])[-1]}


def run_step(command: list[str], *, kind: str, source: Path, inputs: Path, output: Path, scratch: Path, epoch: int,
             timeout: int) -> StepResult:
    """Run `command` and wait. Raises CustodyError when it takes longer than `timeout` seconds."""
    prefix = Path(sys.base_prefix).resolve()
    places = (source, inputs, output) if kind == "none" else (Path("/src"), Path("/inputs"), Path("/out"))
    environment = {
        "PATH": f"{prefix}/bin:/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC",  # noqa: S108
        "SOURCE_DATE_EPOCH": str(epoch), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0",
        "CUSTODY_SOURCE": str(places[0]), "CUSTODY_INPUTS": str(places[1]), "CUSTODY_OUTPUT": str(places[2])}
    if kind == "bubblewrap":
        whole = [*_bubblewrap(prefix, source, inputs, output), *command]
    elif kind == "namespaces":
        whole = [*_UNSHARE, "sh", "-c", _NAMESPACES, "sh", str(scratch), str(source), str(inputs), str(output),
                 str(prefix), *command]
    else:
        whole = command
    log = scratch.with_name(scratch.name + ".log")
    try:
        with log.open("wb") as stream:
            done = subprocess.run(whole, env=environment, cwd=source, stdin=subprocess.DEVNULL, stdout=stream,
                                  stderr=subprocess.STDOUT, timeout=timeout, check=False, start_new_session=True,
                                  close_fds=True, preexec_fn=_limits)
    except subprocess.TimeoutExpired:
        raise CustodyError(f"build step: took longer than {timeout} s",
                           hint="raise build.timeout in custody-build.toml") from None
    except OSError as error:
        raise CustodyError(f"build step: {command[0]}: {error.strerror}") from None
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _MAX_LOG))
        return StepResult(done.returncode, stream.read())


_UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork",
            "--kill-child"]


def _bubblewrap(prefix: Path, source: Path, inputs: Path, output: Path) -> list[str]:
    result = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname",
              "build", "--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            result += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            result += ["--ro-bind", str(path), str(path)]
    for name in _ETC:
        result += ["--ro-bind-try", f"/{name}", f"/{name}"]
    if not str(prefix).startswith("/usr"):
        result += ["--ro-bind", str(prefix), str(prefix)]
    result += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--ro-bind", str(source), "/src",  # noqa: S108
               "--ro-bind", str(inputs), "/inputs", "--bind", str(output), "/out", "--chdir", "/src"]
    return result


def _limits() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE, _MAX_FILE))


def _bubblewrap_works() -> str | None:
    return _try("bwrap", ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"])


def _namespaces_work() -> str | None:
    for program in ("setpriv", "pivot_root"):
        if shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
            return f"{program} is not installed"
    return _try("unshare", [*_UNSHARE, "true"])


def _try(program: str, command: list[str]) -> str | None:
    if shutil.which(program) is None:
        return f"{program} is not installed"
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it fails here"])[-1]


