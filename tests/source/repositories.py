"""Real git repositories for tests, made by git itself and signed by ssh-keygen."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


class GitFolder:
    """A repository whose commits `name@example.com` signs with a key of their own."""

    def __init__(self, path: Path) -> None:
        for program in ("git", "ssh-keygen"):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed")
        self.path = path / "repo"
        self.keys = path / "keys"
        self.path.mkdir(parents=True)
        self.keys.mkdir()
        self("init", "-q", "-b", "main")

    def __call__(self, *arguments: str, **environment: str) -> str:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.keys), "GIT_CONFIG_NOSYSTEM": "1", **environment}
        done = subprocess.run(["git", "-C", str(self.path), *arguments], env=env, capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def key(self, name: str, kind: str = "ed25519", *more: str) -> Path:
        path = self.keys / f"{name}-{kind}"
        if not path.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", kind, *more, "-N", "", "-C", name, "-f", str(path)], check=True)
        return path

    def commit(self, name: str, message: str = "change", *, sign: Path | None = None, unsigned: bool = False,
               date: str = "2026-11-01T12:00:00Z", files: dict[str, str] | None = None) -> str:
        for file, text in (files or {message.replace(" ", "-"): message}).items():
            (self.path / file).parent.mkdir(parents=True, exist_ok=True)
            (self.path / file).write_text(text)
        self("add", "-A")
        options = ["--no-gpg-sign"] if unsigned else [f"-S{sign or self.key(name)}"]
        self("-c", "gpg.format=ssh", "-c", f"user.name={name}", "-c", f"user.email={name}@example.com", "commit", "-q",
             "--allow-empty", "-m", message, *options, GIT_AUTHOR_DATE=date, GIT_COMMITTER_DATE=date)
        return self("rev-parse", "HEAD")

    def allowed(self, name: str, options: str = "", key: Path | None = None) -> str:
        public = (key or self.key(name)).with_name((key or self.key(name)).name + ".pub").read_text().split()
        return f"{name}@example.com {options + ' ' if options else ''}{public[0]} {public[1]}\n"
