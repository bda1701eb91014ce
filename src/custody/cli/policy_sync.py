"""`custody policy sync test`: whether what templates read of the inventory is kept, as `gator sync test`."""

from __future__ import annotations

from typing import Any

import click

from custody.cli.policy_constraints import read
from custody.errors import CustodyError, UnsupportedError
from custody.policy.fields import Fields
from custody.policy.gatekeeper.config import Config, SyncSet, kept
from custody.policy.gatekeeper.syncdata import requirements, said, unmet
from custody.policy.model import Kind
from custody.services.simulation.documents import name_of

_FAILED = 1


@click.group("sync")
def command() -> None:
    """What is kept of a cluster for referential templates."""


@command.command("test")
@click.option("-n", "--filename", "filenames", multiple=True, metavar="FILE|DIR",
              help="Templates, SyncSets, a Config and a GVKManifest; else standard input.")
@click.option("-f", "--force-omit-gvk-manifest", "omit", is_flag=True,
              help="Take all kinds for served, and not those alone of a GVKManifest.")
@click.option("-i", "--image", multiple=True, hidden=True, help="Refused by name.")
@click.option("-d", "--tempdir", hidden=True, help="Refused by name.")
def test(filenames: tuple[str, ...], omit: bool, image: tuple[str, ...], tempdir: str | None) -> int:
    """Check that SyncSets and Config name what templates require (metadata.gatekeeper.sh/requires-sync-data).

    Exits with 1 where they do not, as gator does, and stderr says what is missing.
    """
    if image or tempdir:
        raise UnsupportedError("--image" if image else "--tempdir", "documents are not fetched from a registry",
                               hint="oras pull, then --filename DIR")
    located = read(filenames)
    documents = [document for _, document in located]
    manifests = [document for document in documents if document.get("kind") == "GVKManifest"]
    if len(manifests) != 1 and not omit:
        got = len(manifests) or "none"
        click.echo(f"error: GVKManifest: got {got}, expected one: what kinds the cluster serves", err=True)
        click.echo("hint: --force-omit-gvk-manifest takes all for served", err=True)
        return _FAILED
    there = {*kept(_syncing(documents))}
    if not omit:
        there &= _served(manifests[0])
    missing: list[tuple[str, list[str]]] = []
    broken: list[tuple[str, str]] = []
    for where, document in located:
        if document.get("kind") != "ConstraintTemplate":
            continue
        name = name_of(document) or where
        try:
            missing.append((name, [said(requirement) for requirement in unmet(requirements(document), there)]))
        except CustodyError as error:
            broken.append((name, error.message))
    if broken:  # what the others lack is said once all can be read
        click.echo("encountered errors parsing the following templates: ", err=True)
        for name, line in broken:
            click.echo(f"{name}:\n{line}", err=True)
        return _FAILED
    lacking = [(name, lines) for name, lines in missing if lines]
    if not lacking:
        return 0
    click.echo("the following requirements were not met: ", err=True)
    for name, lines in lacking:
        click.echo("\n".join([f"{name}:", *(f"- {line}" for line in lines)]), err=True)
    return _FAILED


def _syncing(documents: list[dict[str, Any]]) -> list[Config | SyncSet]:
    groups = [(str(document.get("apiVersion")).partition("/")[0], Fields(document, "")) for document in documents]
    return [*(Config(fields) for group, fields in groups if group == "config.gatekeeper.sh"),
            *(SyncSet(fields) for group, fields in groups if group == "syncset.gatekeeper.sh")]


def _served(manifest: dict[str, Any]) -> set[Kind]:
    """gvkmanifest.gatekeeper.sh/v1alpha1: kinds by version by group. Raises MalformedError."""
    spec = Fields(Fields(manifest, "").need("spec", dict), "spec")
    groups = spec.inner("groups") or Fields({}, "spec.groups")
    spec.done()
    served = set()
    for group in groups.present:
        versions = groups.inner(group) or Fields({}, groups.path(group))
        for version in versions.present:
            served |= {Kind(kind, version, group) for kind in versions.texts(version)}
    return served
