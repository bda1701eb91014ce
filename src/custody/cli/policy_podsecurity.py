"""`custody policy podsecurity`: whether pods meet a level of the Pod Security Standards, in files or in a cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from custody.cli import asker, policy_podsecurity_cluster, policy_podsecurity_files
from custody.errors import MalformedError, UnsupportedError, UsageError
from custody.policy.engines import standing
from custody.policy.load import read
from custody.policy.podsecurity import configuration, standard
from custody.policy.podsecurity.configuration import Configuration, Demand

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_FILES_ONLY = ("sarif", "junit")


@click.command("podsecurity")
@click.argument("files", nargs=-1, metavar="FILE|DIR|-…", type=click.Path(exists=True, allow_dash=True, path_type=Path))
@click.option("--level", type=click.Choice(standard.LEVELS), help="Level of the Pod Security Standards. Default: what "
              "labels of Namespaces among the files demand, else restricted. With --cluster: exit 3 where a namespace "
              "does not meet it.")
@click.option("--version", default="latest", show_default=True, help="v1.<minor> of the standard; in a cluster latest "
              "is the API server's.")
@click.option("--namespace-labels", metavar="KEY=VALUE,…",
              help="Labels of the namespaces that are not among the files.")
@click.option("--config", "config", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="The API server's PodSecurityConfiguration: defaults and exemptions.")
@click.option("--cluster", is_flag=True, help="Which level the namespaces of a cluster meet today, and what stops the "
              "next one.")
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Of the cluster; default: custody.toml's, or that of the pod this runs in.")
@click.option("--namespace", "namespaces", multiple=True, metavar="NAME", help="Of files: where pods go that name "
              "none, else default. With --cluster: only this one; repeatable.")
@click.option("--label", is_flag=True, help="With --cluster: print the kubectl commands that label namespaces with "
              "what they meet, and nothing else.")
@click.option("-o", "--output", type=click.Choice(["table", "json", *_FILES_ONLY]), default="table", show_default=True,
              help="What stdout gets.")
def command(files: tuple[Path, ...], level: str | None, version: str, namespace_labels: str | None,
            config: Path | None, cluster: bool, kubeconfig: Path | None, namespaces: tuple[str, ...], label: bool,
            output: str) -> int:
    """Whether pods meet a Pod Security level, in the API server's words.

    Files are any manifests: pods, and whatever of Kubernetes' own makes pods of a template; of the rest it is said that
    it has no pod. Where a Namespace among them has labels pod-security.kubernetes.io/*, its pods are judged by enforce,
    audit and warn; --level asks for one level of all. Exit 3 where pods would be denied, 4 where nothing was judged, or
    a custom resource holds pods that nobody judged.

    --cluster reads the pods, and what makes them, of all namespaces: which level each meets, and who stops the next.
    Nothing is written. Exit 4 where a namespace could not be read.
    """
    standard.parse_version(version, "--version")
    for namespace in namespaces:
        if not _NAMESPACE.fullmatch(namespace):
            raise MalformedError("--namespace", got=namespace, expected="lower-case letters, digits and '-', at most "
                                 "63")
    demanded = configuration.DEFAULT if config is None else _configured(config)
    if cluster:
        if files or namespace_labels is not None:
            raise UsageError(f"--cluster: got it beside {'files' if files else '--namespace-labels'}, expected it "
                             "alone: the cluster says which pods and labels there are")
        if output in _FILES_ONLY:
            raise UnsupportedError(f"-o {output}", "a cluster's namespaces are no findings in files",
                                   hint="-o json, or files: kubectl get pods -A -o yaml | … -")
        if label and output != "table":
            raise UsageError(f"--label: got -o {output} beside it, expected one of the two")
        return policy_podsecurity_cluster.run(demanded, level, version, kubeconfig, namespaces, label=label,
                                              output=output)
    for flag, given in (("--kubeconfig", kubeconfig), ("--label", label)):
        if given:
            raise UsageError(f"{flag}: got it without --cluster, expected both")
    if not files:
        raise UsageError("policy podsecurity: got nothing to judge, expected files or --cluster", hint="- reads "
                         "standard input")
    if len(namespaces) > 1:
        raise UsageError("--namespace: got several, expected one: pods that name none go to one namespace")
    if level is not None and (config is not None or namespace_labels is not None):
        raise UsageError(f"--level: got {'--config' if config is not None else '--namespace-labels'} beside it, "
                         "expected one of the two: each says what is demanded")
    labels = None if namespace_labels is None else _demanding(asker.labels_of(namespace_labels))
    return policy_podsecurity_files.run(files, policy_podsecurity_files.Terms(
        None if level is None else Demand(level, version), Demand("restricted", version), labels,
        demanded if config is not None else None, namespaces[0] if namespaces else "default"), output)


def _demanding(labels: dict[str, str]) -> dict[str, str]:
    """Raises MalformedError for a label that is meant to demand something, and would not: all pods would meet
    `privileged`."""
    modes = [f"{mode}{end}" for mode in configuration.MODES for end in ("", "-version")]
    misspelt = configuration.misspelt(labels)
    for key in labels:
        name = key.removeprefix(configuration.PREFIX)
        if (name == key) == (name in modes) or key in misspelt:
            raise MalformedError("--namespace-labels", got=key, expected=", ".join(
                f"{configuration.PREFIX}{mode}" for mode in configuration.MODES) + " or one of these with -version")
    return labels


def _configured(file: Path) -> Configuration:
    """Also of an AdmissionConfiguration that names a file beside it, as the API server reads it."""
    document = _document(file)
    if (beside := configuration.path_of(document)) is not None:
        file = file.parent / beside
        document = _document(file)
    with standing(str(file)):
        return configuration.read(document)


def _document(file: Path) -> dict[str, Any]:
    documents = read(file)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise MalformedError(str(file), got=f"{len(documents)} documents", expected="one PodSecurityConfiguration")
    return documents[0]
