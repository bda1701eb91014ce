"""What builds and deployments take in: providers of Terraform (.terraform.lock.hcl), actions of GitHub's workflows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, ending, named
from custody.sbom.catalogers.fact import Fact, unknown

_PROVIDER = re.compile(r'^provider[ \t]+"([^"\n]+)"[ \t]*\{', re.MULTILINE)
_VERSION = re.compile(r'^[ \t]*version\s*=\s*"([^"]+)"', re.MULTILINE)
_ACTION = re.compile(r"([\w.-]+/[\w.-]+)((?:/[^@\s]+)?)@(\S+)\Z")
_PIN_COMMENT = re.compile(r"uses:\s*[\"']?([^\s\"'#]+)[\"']?\s*#\s*(?:tag[=:]\s*)?(v?[0-9][\w.-]*)")


def read_providers(_path: str, content: bytes) -> Iterator[Fact]:
    text = content.decode()
    matches = list(_PROVIDER.finditer(text))
    if not matches and re.search(r"^[ \t]*[^#\s]", text, re.MULTILINE):
        raise ValueError("a lock file without providers")
    for match, following in zip(matches, [*matches[1:], None], strict=True):
        version = _VERSION.search(text, match.end(), following.start() if following else len(text))
        if version is None or match[1].count("/") != 2:
            yield unknown("Terraform provider without an address and a version")
            continue
        yield Fact(type="terraform", name=match[1], version=version[1])


def read_workflow(path: str, content: bytes) -> Iterator[Fact]:
    """An action by a commit's id is of the version that the comment behind it says, as Dependabot and Renovate keep it.
    """
    from custody.formats.workflow import parse_workflow  # with a reader of YAML, which images need none of

    workflow = parse_workflow(content, path)
    if workflow.problems and not workflow.uses and "not readable" in workflow.problems[0].reason:
        raise ValueError(workflow.problems[0].reason)
    said: dict[str, str] = dict(_PIN_COMMENT.findall(content.decode("utf-8", "replace")))
    for used in dict.fromkeys(workflow.uses):
        match = _ACTION.match(used)
        if match is None:
            if not used.startswith("docker://"):
                yield unknown("GitHub action that cannot be named")
            continue
        version = said.get(used) or match[3]
        yield Fact(type="github", name=match[1], version=version, scope="build", evidence=f"uses: {used}")


PROVIDERS = Cataloger(name="Terraform lock", version=1, types=("terraform",), read=read_providers, declares=True,
                      paths=(named(".terraform.lock.hcl"),))
WORKFLOWS = Cataloger(name="GitHub workflow", version=1, types=("github",), read=read_workflow, declares=True,
                      largest=256 << 10, effort=100, paths=(
                          ending("yml", "yaml", pattern=r"(?:.*/)?\.github/workflows/[^/]+"),
                          named("action.yml", "action.yaml")))
