"""What builds fetch and run beside packages: images of Dockerfiles, scripts from addresses, workflows, binary files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from custody.formats.workflow import injections, is_workflow, runs
from custody.source.manifests import Files, Said

_DOCKERFILE = re.compile(r"(?:.*/)?(?:(?:Docker|Container)file(?:\.[\w.-]+)?|"
                         r"[\w.-]+\.(?:[Dd]ocker|[Cc]ontainer)file)\Z")
_FROM = re.compile(r"\s*FROM\s+(?:--platform=\S+\s+)?(\S+)(?:\s+AS\s+(\S+))?\s*\Z", re.IGNORECASE)
_ADD = re.compile(r"\s*ADD\s+(?!.*--checksum=)(?:--\S+\s+)*(https?://\S+)", re.IGNORECASE)
_PIPED = re.compile(r"\b(?:curl|wget)\b[^|;&\n]*\|\s*(?:sudo\s+)?(?:\S*/)?(?:ba|z|da|k)?sh\b|"
                    r"\b(?:ba|z|da)?sh\s+(?:-c\s+[\"']?\$\(|<\()\s*(?:curl|wget)\b")
_TEXTUAL = re.compile(r".*\.(?:png|jpe?g|gif|ico|webp|svg|pdf|woff2?|ttf|otf|eot|mp[34]|zip|gz|xz|bz2|zst|whl|jar)\Z",
                      re.IGNORECASE)
_HEAD, _LARGEST = 8192, 4 << 20
_BUILDS = re.compile(r"(?:.*/)?(?:[^/]+\.m4|configure|Makefile\.in)\Z")


def judge(files: Files, ids: Mapping[str, str], base_ids: Mapping[str, str] | None) -> Iterator[Said]:
    """`ids` of the files' contents; with those of a base revision also what appeared since."""
    for path, read in files.items():
        if _DOCKERFILE.match(path):
            yield from _dockerfile(path, read()[:_LARGEST].decode("utf-8", "replace"))
        elif is_workflow(path):
            content = read()
            for line, reason in injections(content):
                yield "workflow-injection", path, line, "error", reason
            for line, program in runs(content):
                if match := _PIPED.search(program):
                    yield "unpinned-script", path, line, "warning", f"{match[0]!r}: expected a file with a digest"
            if base_ids is not None and path not in base_ids:
                yield ("workflow-new", path, 0, "warning",
                       "a workflow that the base revision does not have: it runs with the repository's tokens")
        if base_ids is not None and base_ids.get(path) != ids.get(path):
            if _BUILDS.match(path):
                yield ("binary-appeared", path, 0, "warning",
                       "a generated build file changed: whoever reviews must compare it with what its tool makes")
            elif not _TEXTUAL.match(path) and b"\0" in read()[:_HEAD]:
                yield "binary-appeared", path, 0, "warning", "a binary file that nobody can review appeared or changed"


def _dockerfile(path: str, text: str) -> Iterator[Said]:
    stages: set[str] = set()
    for line, said in enumerate(text.splitlines(), 1):
        if match := _FROM.match(said):
            image = match[1]
            if image.lower() not in (*stages, "scratch") and "@sha256:" not in image:
                yield "base-image", path, line, "warning", f"{image}: got a tag, which can be moved, expected @sha256:…"
            stages.add((match[2] or "").lower())
        elif match := _ADD.match(said):
            yield "unpinned-script", path, line, "warning", f"ADD {match[1]}: expected --checksum=sha256:…"
        if match := _PIPED.search(said):
            yield "unpinned-script", path, line, "warning", f"{match[0]!r}: expected a file with a digest"
