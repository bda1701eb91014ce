"""Types what the guides and README show, word by word, in a copy of this repository, and compares what comes out.

usage: python -m tests.guides [NAME…]      all in their order, or some: source build contents … README tutorial

A ```console block is typed into one shell: lines that begin with `$ `, with those that they go on in. What stands below
a command is what it must print. `…` is anything; digests, commit ids, times and numbers that no two runs share are
patterns, and what stood in the place of a digest is put into later commands that name the documented one.

In the documents, before a block:
    <!-- typed: no: WHY -->             it is passed over, and that is said
    <!-- typed first: COMMANDS -->      what the reader has that we do not: typed, and must succeed
    <!-- typed in a cluster -->         `kubectl` means a real API server, which is booted for the first such block
A command whose program is not installed is passed over by name, and so is the rest of its document.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests import apiserver
from tests.apiserver import PEERS

ROOT = Path(__file__).parent.parent
ORDER = {"source": "docs/guides/source.md", "build": "docs/guides/build.md", "contents": "docs/guides/contents.md",
         "advisories": "docs/guides/advisories.md", "vex": "docs/guides/vex.md", "scan": "docs/guides/scan.md",
         "sbom": "docs/guides/sbom.md", "affected": "docs/guides/affected.md",
         "sign": "docs/guides/sign.md", "notation": "docs/guides/notation.md", "carry": "docs/guides/carry.md",
         "registry": "docs/guides/registry.md", "runtime": "docs/guides/runtime.md",
         "runtime-watch": "docs/guides/runtime-watch.md", "runtime-rules": "docs/guides/runtime-rules.md",
         "runtime-drift": "docs/guides/runtime-drift.md", "runtime-sensors": "docs/guides/runtime-sensors.md",
         "network": "docs/guides/network.md",
         "admission": "docs/guides/admission.md", "languages": "docs/guides/languages.md",
         "operate": "docs/guides/operate.md", "policy-cli": "docs/guides/policy-cli.md",
         "migrate": "docs/guides/migrate.md", "lint": "docs/guides/lint.md", "kyverno": "docs/guides/kyverno.md",
         "kyverno-mutate": "docs/guides/kyverno-mutate.md", "cel-policies": "docs/guides/cel-policies.md",
         "cel-mutation": "docs/guides/cel-mutation.md", "image-policies": "docs/guides/image-policies.md",
         "gatekeeper": "docs/guides/gatekeeper.md", "evidence": "docs/guides/evidence.md",
         "cluster": "docs/guides/cluster.md", "reports": "docs/guides/reports.md", "install": "docs/guides/install.md",
         "README": "README.md", "tutorial": "docs/tutorial.md"}
_ALONE = ("README", "tutorial")
"""Each begins in an empty folder of its own; the guides go on in one."""
_BLOCK = re.compile(r"(?:<!-- typed(?P<mark>(?:(?!-->).)*)-->\s*)?^(?P<indent> *)```console\n(?P<body>.*?)^ *```",
                    re.MULTILINE | re.DOTALL)
_PATTERNS = (
    (r"sha256:[0-9a-f]{6,64}…?", "digest"), (r"sha256-[0-9a-f]{6,64}…?|\b[0-9a-f]{8}…", r"[0-9a-z-]{8,71}"),
    (r"\b[0-9a-f]{40}\b|\b[0-9a-f]{12}\b", r"[0-9a-f]{12,40}"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"),
    (r"\d[\d,]* (?:bytes|files|blobs read|days old|entries|new or newer|hashes)|(?:log )?index \d+|first \d+|of \d+ in",
     r"[\w ,]*\d[\w ,]*"),
    ("…", r".*?"), (r"\s+", r"\s+"))
"""What is in a document → what may stand there: a digest, parts of names, times, numbers."""
_OTHERS = ("crane", "oras", "skopeo", "cosign", "notation", "kubectl", "htpasswd", "ssh-keygen", "git", "curl",
           "openssl", "dd")
_TIMEOUT = 300.0


class Step(NamedTuple):
    command: str
    expected: str


class Block(NamedTuple):
    line: int
    steps: list[Step]
    passed_over: str
    first: str
    cluster: bool


def blocks(text: str) -> Iterator[Block]:
    for match in _BLOCK.finditer(text):
        mark = (match["mark"] or "").strip()
        skip = mark.removeprefix(": no:").strip() if mark.startswith(": no:") else ""
        first = mark.removeprefix("first:").strip() if mark.startswith("first:") else ""
        indent = len(match["indent"])
        yield Block(text.count("\n", 0, match.start("body")), list(steps(
            [line[indent:] for line in match["body"].splitlines()])), skip, first, mark == "in a cluster")


def steps(lines: list[str]) -> Iterator[Step]:
    command: list[str] = []
    expected: list[str] = []
    for line in lines:
        if line.startswith("$ "):
            if command:
                yield Step("\n".join(command), "\n".join(expected))
            command, expected = [line[2:]], []
        elif command and not expected and _goes_on("\n".join(command)):
            command.append(line)
        else:
            expected.append(line)
    if command:
        yield Step("\n".join(command), "\n".join(expected))


def _goes_on(command: str) -> bool:
    """A line that ends with a backslash, an open quotation or bracket, a here-document without its end."""
    done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, check=False)
    return command.rstrip().endswith("\\") or done.returncode != 0 or b"here-document" in done.stderr


class Shell:
    """One bash, in one folder, whose output comes whole and in its order."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(["bash", "--norc"], cwd=folder, env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.number = 0

    def type(self, command: str) -> tuple[int, str]:
        self.number += 1
        end = f"typed-{self.number}-"
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\nprintf '\\n%s%s\\n' {end} $?\n".encode())
        self.process.stdin.flush()
        seen, limit = b"", time.monotonic() + _TIMEOUT
        while not (match := re.search(rf"\n{end}(\d+)\n".encode(), seen)):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, limit - time.monotonic()))
            chunk = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not chunk:
                raise TimeoutError(f"{command}: no end within {_TIMEOUT:g} s\n{seen.decode(errors='replace')}")
            seen += chunk
        return int(match[1]), seen[:match.start()].decode(errors="replace")

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.communicate(timeout=30)


class Reader:
    """Somebody who follows the guides in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[str, str] = {}
        self.wrong: list[str] = []
        self.passed_over: list[str] = []
        self.typed = 0
        self.clusters = ExitStack()
        self.in_cluster = False
        programs = folder / "bin"
        programs.mkdir()
        for name in ("crane", "oras", "skopeo", "cosign", "notation", "opa", "kubectl", "htpasswd"):
            peer = PEERS / {"cosign": "cosign-v3"}.get(name, name)
            if peer.is_file() and os.access(peer, os.X_OK):
                (programs / name).symlink_to(peer)
        (programs / "custody").write_text(f'#!/bin/sh\nexec {sys.executable} -m custody.cli.main "$@"\n')
        (programs / "custody").chmod(0o755)
        (folder / "work").mkdir()
        (folder / "home").mkdir()
        clone(folder / "custody")
        shutil.copytree(folder / "custody" / "examples", folder / "work" / "examples")
        environment = {"PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8",
                       "HOME": str(folder / "home"), "TERM": "dumb",
                       "PYTHONPATH": os.pathsep.join(filter(None, [str(folder / "custody" / "src"),
                                                                   os.environ.get("PYTHONPATH")])),
                       "GIT_CONFIG_NOSYSTEM": "1",
                       **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}}
        self.path = environment["PATH"]
        self.shell = Shell(folder / "work", environment)

    def read(self, document: str) -> None:
        for block in blocks((ROOT / document).read_text()):
            where = f"{document}:{block.line}"
            if block.passed_over:
                self.passed_over.append(f"{where}: {block.passed_over}")
                continue
            if block.cluster and (missing := self._cluster()):
                self.passed_over.append(f"{where}: {missing}, from here on")
                return
            if missing := self._missing(block.first):
                self.passed_over.append(f"{where}: {missing} is not installed, from here on")
                return
            if block.first:
                code, said = self.shell.type(block.first)
                if code:
                    self.wrong.append(f"{where}: typed first: exit code {code}\n{said}")
                    continue
            for step in block.steps:
                if missing := self._missing(step.command):
                    self.passed_over.append(f"{where}: {missing} is not installed, from `{step.command[:60]}` on")
                    return  # what comes later rests on it
                self._type(step, where)

    def _cluster(self) -> str:
        """Boots an API server, unless one runs; why there is none."""
        if self.in_cluster:
            return ""
        folder = self.folder / "apiserver"
        folder.mkdir(exist_ok=True)  # a second document asks again where there was none
        try:
            kubeconfig = self.clusters.enter_context(apiserver.running(folder))
        except apiserver.AbsentError as absent:
            return str(absent)
        self.shell.type(f"export KUBECONFIG={kubeconfig}")
        self.in_cluster = True
        return ""

    def _missing(self, command: str) -> str:
        for part in re.split(r"[|;&]+|\$\(", command):
            words = [word for word in part.split() if not re.fullmatch(r"\w+=\S*", word)]
            if words and words[0] in _OTHERS and shutil.which(words[0], path=self.path) is None:
                return words[0]
        return ""

    def _type(self, step: Step, where: str) -> None:
        command = self._translated(step.command)
        self.typed += 1
        if re.match(r"custody (up|serve)\b", command) and "&" not in command:
            self.shell.type(f"{command} >services.log 2>&1 &")
            said = self._services()
        else:
            if re.match(r"custody up.*&", command):
                self.shell.type(command)
                self._services("custody.log")
                return
            _, said = self.shell.type(command)
        if "Traceback (most recent call last)" in said:
            self.wrong.append(f"{where}: $ {command}\n{said}")
        elif step.expected.strip() and not self._compare(step.expected, said):
            self.wrong.append(f"{where}: $ {command}\n--- the document\n{step.expected}\n--- typed\n{said}")

    def _services(self, log: str = "services.log") -> str:
        file, limit = self.folder / "work" / log, time.monotonic() + 60
        while time.monotonic() < limit:
            said = file.read_text() if file.exists() else ""
            if "ctrl-c stops" in said or "error:" in said:
                return said
            time.sleep(0.1)
        return "no service began"

    def _translated(self, command: str) -> str:
        command = command.replace("…/custody/", f"{self.folder}/custody/")
        return re.sub(r"sha256:([0-9a-f]{6,64})…?", lambda match: self.known.get(match[1][:8], match[0]), command)

    def _compare(self, expected: str, said: str) -> bool:
        pattern, names = expression(expected.replace("…/custody/", f"{self.folder}/custody/"))
        match = re.fullmatch(pattern, said.strip(), re.DOTALL)
        if match is None:
            return False
        for group, prefix in names.items():
            self.known.setdefault(prefix[:8], f"sha256:{match[group]}" if len(match[group]) == 64 else "")
            if len(match[group]) == 64:
                self.known[prefix[:8]] = f"sha256:{match[group]}"
        return True

    def close(self) -> None:
        try:
            self.shell.close()
        finally:
            self.clusters.close()


def expression(expected: str) -> tuple[str, dict[str, str]]:
    """A regular expression for what is documented, and its groups that are digests, with the documented ones."""
    result, names = "", {}
    rest = expected.strip()
    token = re.compile("|".join(f"(?P<p{at}>{pattern})" for at, (pattern, _) in enumerate(_PATTERNS)))
    at = 0
    for match in token.finditer(rest):
        result += re.escape(rest[at:match.start()])
        kind = _PATTERNS[int(str(match.lastgroup)[1:])][1]
        if kind == "digest":
            group = f"d{len(names)}"
            names[group] = match[0].removeprefix("sha256:").rstrip("…")
            result += rf"sha256:(?P<{group}>[0-9a-f]+)…?"
        else:
            result += kind
        at = match.end()
    result += re.escape(rest[at:])
    return result.replace(r"\s+.*?", ".*?").replace(r".*?\s+", ".*?"), names


def clone(target: Path) -> None:
    """The files that git knows or would add, as they are now."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, check=False)
    if listed.returncode:  # this is such a copy itself
        shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        return
    for name in listed.stdout.split(b"\0"):
        path = os.fsdecode(name)
        if path and (ROOT / path).is_file():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, target / path)


def main(names: list[str]) -> int:
    chosen = [name for name in ORDER if not names or name in names]
    wrong, passed_over, typed = [], [], 0
    for group in ([name for name in chosen if name not in _ALONE], *([name] for name in chosen if name in _ALONE)):
        with tempfile.TemporaryDirectory(prefix="guides-") as folder:
            reader = Reader(Path(folder))
            try:
                for name in group:
                    reader.read(ORDER[name])
            finally:
                reader.close()
        wrong, passed_over, typed = wrong + reader.wrong, passed_over + reader.passed_over, typed + reader.typed
    for line in passed_over:
        print(f"passed over: {line}")
    for text in wrong:
        print(f"WRONG {text[:3000]}\n")
    print(f"{typed} commands typed, {len(wrong)} wrong, {len(passed_over)} passed over")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
