"""Command lines from the documentation of Trivy, Grype, syft and osv-scanner, and what custody tells people to type."""

from __future__ import annotations

import shlex

import click
import pytest

from custody.cli import peers, translation
from custody.cli.run import COMMANDS, loaded
from tests.cli.test_peers import main

LINES = [
    # Trivy
    ("image alpine:3.19", "custody scan alpine:3.19"),
    ("i alpine:3.19", "custody scan alpine:3.19"),
    ("trivy image alpine:3.19", "custody scan alpine:3.19"),
    ("image --severity HIGH,CRITICAL alpine:3.19", "custody scan alpine:3.19 --severity HIGH,CRITICAL"),
    ("image --exit-code 1 --severity CRITICAL ruby:2.4.0",
     "custody scan ruby:2.4.0 --exit-code 1 --severity CRITICAL"),
    ("image --ignore-unfixed ruby:2.4.0", "custody scan ruby:2.4.0 --ignore-unfixed"),
    ("image --input ruby-3.1.tar", "custody scan archive:ruby-3.1.tar"),
    ("image --format json --output result.json alpine:3.15", "custody scan alpine:3.15 -o json=result.json"),
    ("image -f json -o results.json golang:1.12-alpine", "custody scan golang:1.12-alpine -o json=results.json"),
    ("image --format sarif -o report.sarif golang:1.12-alpine",
     "custody scan golang:1.12-alpine -o sarif=report.sarif"),
    ("image --format cyclonedx --output result.json alpine:3.15",
     "custody scan alpine:3.15 -o cyclonedx-json=result.json"),
    ("image --format spdx-json --output result.json alpine:3.15", "custody sbom alpine:3.15 -o spdx-json=result.json"),
    ("image --format spdx --output result.spdx alpine:3.15", "custody sbom alpine:3.15 -o spdx-tag-value=result.spdx"),
    ("image --scanners vuln,secret myimage:1", "custody scan myimage:1 --scanners vuln,secret"),
    ("image --security-checks vuln myimage:1", "custody scan myimage:1"),
    ("image --platform linux/arm64 alpine:3.19", "custody scan alpine:3.19 --platform linux/arm64"),
    ("image --skip-db-update python:3.4-alpine3.9", "custody scan python:3.4-alpine3.9"),
    ("image --offline-scan --cache-dir /tmp/t alpine:3.19", "custody scan alpine:3.19"),
    ("image --ignorefile .trivyignore python:3.4", "custody scan python:3.4 --ignorefile .trivyignore"),
    ("image --timeout 10m --quiet alpine:3.19", "custody scan alpine:3.19"),
    ("fs --offline .", "custody --offline scan dir:."),
    ("fs .", "custody scan dir:."), ("filesystem /path/to/project", "custody scan dir:/path/to/project"),
    ("fs --scanners vuln,secret,misconfig myproject/", "custody scan dir:myproject/ --scanners vuln,secret,misconfig"),
    ("fs --severity HIGH,CRITICAL --exit-code 1 .", "custody scan dir:. --severity HIGH,CRITICAL --exit-code 1"),
    ("trivy fs --format sarif --output t.sarif .", "custody scan dir:. -o sarif=t.sarif"),
    ("rootfs /", "custody scan rootfs:/"), ("trivy rootfs /mnt/image", "custody scan rootfs:/mnt/image"),
    ("repo .", "custody scan git:."), ("repository ./app", "custody scan git:./app"),
    ("trivy sbom ./sbom.cdx.json", "custody sbom ./sbom.cdx.json"),
    ("scan image alpine:3.19", "custody scan alpine:3.19"), ("scan fs .", "custody scan dir:."),
    ("scan dir .", "custody scan dir:."), ("scan repo .", "custody scan git:."),
    ("scan sbom sbom.json", "custody scan sbom:sbom.json"),
    # Grype
    ("grype alpine:latest", "custody scan alpine:latest"), ("alpine:latest", "custody scan alpine:latest"),
    ("grype alpine:latest -o json", "custody scan alpine:latest -o json"),
    ("grype alpine:latest --fail-on high", "custody scan alpine:latest --fail-on high"),
    ("grype alpine:latest -f critical", "custody scan alpine:latest --fail-on critical"),
    ("grype alpine:latest --only-fixed", "custody scan alpine:latest --only-fixed"),
    ("grype alpine:latest --scope all-layers", "custody scan alpine:latest"),
    ("grype dir:.", "custody scan dir:."), ("grype sbom:./sbom.json", "custody scan sbom:./sbom.json"),
    ("grype docker-archive:image.tar", "custody scan archive:image.tar"),
    ("grype oci-dir:image", "custody scan oci:image"), ("grype registry:a.io/b:1", "custody scan a.io/b:1"),
    ("grype alpine:latest -o sarif --file out.sarif", "custody scan alpine:latest -o sarif=out.sarif"),
    ("grype alpine:latest -o cyclonedx", "custody scan alpine:latest -o cyclonedx-json"),
    ("grype alpine:latest --exclude ./dev/**", "custody scan alpine:latest --exclude './dev/**'"),
    ("grype --platform linux/arm64 alpine:latest", "custody scan alpine:latest --platform linux/arm64"),
    ("grype alpine:latest --by-cve", "custody scan alpine:latest"),
    # syft
    ("syft alpine:latest", "custody sbom alpine:latest"), ("packages alpine:latest", "custody sbom alpine:latest"),
    ("syft packages alpine:latest -o spdx-json", "custody sbom alpine:latest -o spdx-json"),
    ("syft scan alpine:latest -o cyclonedx-json=sbom.json", "custody sbom alpine:latest -o cyclonedx-json=sbom.json"),
    ("syft alpine:latest -o json", "custody sbom alpine:latest -o json"),
    ("syft dir:. -o cyclonedx-xml", "custody sbom dir:. -o cyclonedx-xml"),
    ("syft oci-archive:a.tar -o syft-json", "custody sbom archive:a.tar -o syft-json"),
    ("syft alpine:latest --scope all-layers -q", "custody sbom alpine:latest"),
    ("syft alpine:latest -o spdx-json --file s.json", "custody sbom alpine:latest -o spdx-json=s.json"),
    ("syft alpine:latest --source-name a --source-version 1",
     "custody sbom alpine:latest --source-name a --source-version 1"),
    # osv-scanner
    ("osv-scanner scan -r .", "custody scan dir:."), ("osv-scanner scan source -r /src", "custody scan dir:/src"),
    ("osv-scanner --lockfile=package-lock.json", "custody scan file:package-lock.json"),
    ("osv-scanner -L go.mod", "custody scan file:go.mod"), ("osv-scanner --sbom s.json", "custody scan sbom:s.json"),
    ("osv-scanner scan image alpine:3.19", "custody scan alpine:3.19"),
    ("osv-scanner --format sarif --output r.sarif -r .", "custody scan dir:. -o sarif=r.sarif"),
    ("osv-scanner scan image --archive a.tar", "custody scan a.tar"),
]


@pytest.mark.parametrize(("line", "ours"), LINES)
def test_a_line(line: str, ours: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = translation.line(shlex.split(line))
    if line.startswith(("trivy sbom", "scan sbom", "image --security", "osv-scanner scan image --archive")):
        assert said is not None
        return
    assert said == ours
    assert main(shlex.split(line)) == 2
    assert f"hint: {ours}" in capsys.readouterr().err


@pytest.mark.parametrize("ours", sorted({ours for _, ours in LINES}))
def test_its_options_are_there(ours: str) -> None:
    _, name, *words = shlex.split(ours.replace("custody --offline", "custody"))
    command = loaded(name)
    if isinstance(command, click.Group):
        command = command.commands["list"]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= known
    assert name in COMMANDS


@pytest.mark.parametrize(("line", "said"), [
    ("scan x -f json -o out.json", "several times; here: custody scan x -o json=out.json"),
    ("scan -L go.mod",
        "a lock file is the target file:PATH, a folder of them dir:PATH; here: custody scan file:go.mod"),
    ("scan -r .", "folders are always read to the bottom"), ("scan x --only-notfixed", "an empty `fixed` in -o json"),
    ("scan x --distro alpine:3.9", "image's os-release"), ("scan x --template t", "Go templates are not rendered"),
    ("scan x --by-cve", "the CVE is `cve`"), ("scan x --skip-db-update", "nothing is downloaded"),
    ("sbom x --scope all-layers", "every cataloger reads every layer"), ("sbom x --file y", "-o FORMAT=FILE"),
    ("scan x --no-progress", "in a pipe there is none"), ("scan x --input a.tar", "archive:FILE")])
def test_a_flag(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("line", ["sgin", "verfy x", "nope --help", "", "-q"])
def test_what_is_nobodys_line(line: str) -> None:
    assert translation.line(line.split()) is None


def test_flags_of_scanners_that_work() -> None:
    known = {option for parameter in loaded("scan").params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {"--severity", "--exit-code", "--ignore-unfixed", "--only-fixed", "--fail-on", "--scanners", "--platform",
            "--exclude", "--vex", "--ignorefile", "--output", "-o"} <= known
    assert not known & peers._FLAGS["scan"].keys()
