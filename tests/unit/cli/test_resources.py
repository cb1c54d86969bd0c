"""apply, get, describe and delete on a state directory that nothing runs on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from refusals import Refusal, refusals
from shell import ACME, Shell
from tenantry_core.version import VERSION

OTHER = ACME.replace("acme", "other")


def test_apply_tells_created_configured_and_unchanged(tenantry: Shell) -> None:
    changed = ACME + "  minReplicas: 2\n"
    said = [tenantry("apply", "-f", "-", stdin=text).out for text in (ACME, ACME, changed, changed)]
    name = "tenantmodel.tenantry.dev/acme"
    assert said == [f"{name} created\n", f"{name} unchanged\n", f"{name} configured\n", f"{name} unchanged\n"]


def test_an_object_has_what_the_api_server_gives_it(tenantry: Shell) -> None:
    tenantry("apply", "-f", "-", stdin=ACME)
    first = json.loads(tenantry("get", "tm", "acme", "-o", "json").out)
    assert first["metadata"]["generation"] == 1
    assert first["metadata"]["creationTimestamp"].endswith("Z")
    assert first["spec"]["poolRef"] == {"name": "default"}

    tenantry("apply", "-f", "-", stdin=ACME.replace("{name: acme}", "{name: acme, labels: {a: b}}"))
    labelled = json.loads(tenantry("get", "tm", "acme", "-o", "json").out)
    assert labelled["metadata"]["labels"] == {"a": "b"}
    assert labelled["metadata"]["generation"] == 1
    assert labelled["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]

    tenantry("apply", "-f", "-", stdin=ACME + "  minReplicas: 2\n")
    changed = json.loads(tenantry("get", "tm", "acme", "-o", "json").out)
    assert changed["metadata"]["generation"] == 2
    assert "labels" not in changed["metadata"]
    assert changed["metadata"]["uid"] == first["metadata"]["uid"]

    tenantry("delete", "tm", "acme")
    tenantry("apply", "-f", "-", stdin=ACME)
    again = json.loads(tenantry("get", "tm", "acme", "-o", "json").out)
    assert again["metadata"]["uid"] != first["metadata"]["uid"]


def test_what_get_prints_can_be_applied_again(tenantry: Shell) -> None:
    tenantry("apply", "-f", "-", stdin=ACME)
    printed = tenantry("get", "tm/acme", "-o", "yaml").out
    assert tenantry("apply", "-f", "-", stdin=printed).out == "tenantmodel.tenantry.dev/acme unchanged\n"


APPLICABLE = [r for r in refusals() if r.manifests[-1]["kind"] != "PlacementSlice"]
"""Nobody applies slices to a state directory."""


@pytest.mark.parametrize("refusal", APPLICABLE, ids=lambda refusal: refusal.name)
def test_a_bad_manifest_is_refused_with_its_sentence(tenantry: Shell, refusal: Refusal) -> None:
    for manifest in refusal.manifests[:-1]:
        assert tenantry("apply", "-f", "-", stdin=yaml.safe_dump(manifest)).code == 0
    answer = tenantry("apply", "-f", "-", stdin=yaml.safe_dump(refusal.manifests[-1]))
    assert answer.code == 1
    assert refusal.sentence in answer.err
    assert "Traceback" not in answer.err


def test_each_bad_document_is_reported_and_the_others_are_applied(tenantry: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    bad = ACME.replace("s3://models/acme.onnx", "models/acme.onnx")
    (folder / "a.yaml").write_text(f"{bad}---\n{OTHER}")
    (folder / "b.yml").write_text("kind: [")
    (folder / "c.json").write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}))
    (folder / "d.txt").write_text("not a manifest")
    answer = tenantry("apply", "-f", folder)
    assert answer.code == 1
    assert answer.out == "tenantmodel.tenantry.dev/other created\n"
    assert 'The TenantModel "acme" is invalid: spec.artifact.uri:' in answer.err
    assert "error parsing" in answer.err
    assert 'no matches for kind "Pod" in version "v1"' in answer.err


def test_a_list_is_applied_item_by_item(tenantry: Shell) -> None:
    items = [yaml.safe_load(ACME), yaml.safe_load(OTHER)]
    answer = tenantry("apply", "-f", "-", stdin=yaml.safe_dump({"kind": "List", "items": items}))
    assert answer.out.splitlines() == [
        "tenantmodel.tenantry.dev/acme created",
        "tenantmodel.tenantry.dev/other created",
    ]


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (["apply", "-f", "missing.yaml"], "", 'the path "missing.yaml" does not exist'),
        (["apply", "-f", "-"], "", "no objects passed to apply"),
        (["apply", "-f", "-"], "- 1\n- 2\n", "is no manifest"),
        (
            ["apply", "-f", "-"],
            "kind: TenantModel",
            "has no apiVersion: write apiVersion: tenantry.dev/v1alpha1",
        ),
        (["apply", "-f", "-"], "apiVersion: tenantry.dev/v1alpha1", "has no kind: write one of"),
        (["get"], "", "say which kind"),
        (["get", "pods"], "", 'there is no resource type "pods"'),
        (["get", "tm/acme", "other"], "", "is not KIND/NAME"),
        (["get", "tm", "nobody"], "", '(NotFound): tenantmodels.tenantry.dev "nobody" not found'),
        (["get", "tm", "No_Name"], "", '(NotFound): tenantmodels.tenantry.dev "No_Name" not found'),
        (["get", "tm", "acme", "-n", "../.."], "", "(NotFound)"),
        (["describe", "tm", "nobody"], "", "(NotFound)"),
        (["delete", "tm", "nobody"], "", "(NotFound)"),
        (["delete", "tm"], "", "say which tenantmodels to delete"),
        (["predict", "acme", "-f", "-"], "[]", "start `tenantry up --state"),
        (["explain", "acme"], "", "start `tenantry up --state"),
        (["predict", "acme", "-f", "rows.csv"], "", 'the path "rows.csv" does not exist'),
        (["logs", "router"], "", "there is no log of router"),
        (["version"], "", "start `tenantry up --state"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    tenantry: Shell, arguments: list[str], stdin: str, sentence: str
) -> None:
    answer = tenantry(*arguments, stdin=stdin)
    assert answer.code == 1
    assert sentence in answer.err


def test_namespaces_hold_objects_of_the_same_name(tenantry: Shell) -> None:
    for namespace in ("shop", "default"):
        tenantry("apply", "-n", namespace, "-f", "-", stdin=ACME)
    rows = tenantry("get", "tm", "-A").out.splitlines()
    assert rows[0].split()[:3] == ["NAMESPACE", "NAME", "TENANT"]
    assert [row.split()[:2] for row in rows[1:]] == [["default", "acme"], ["shop", "acme"]]
    tenantry("delete", "tm", "acme", "-n", "shop")
    assert tenantry("get", "tm", "-n", "shop").err.endswith("No resources found in shop namespace.\n")
    assert tenantry("get", "tm").out.splitlines()[1].startswith("acme")


def test_a_namespace_never_becomes_another_path(tenantry: Shell) -> None:
    tenantry("apply", "-f", "-", stdin=ACME)
    assert tenantry("get", "tm", "-n", "../tenantmodels/default").out == ""
    answer = tenantry("apply", "-n", "../elsewhere", "-f", "-", stdin=ACME)
    assert (answer.code, answer.out) == (1, "")
    assert "cannot be a name" in answer.err


def test_a_manifest_of_another_namespace_than_asked_for_is_refused(tenantry: Shell) -> None:
    placed = ACME.replace("{name: acme}", "{name: acme, namespace: shop}")
    answer = tenantry("apply", "-n", "other", "-f", "-", stdin=placed)
    assert (answer.code, answer.out) == (1, "")
    assert 'namespace from the provided object "shop" does not match the namespace "other"' in answer.err
    assert tenantry("apply", "-f", "-", stdin=placed).code == 0
    assert "acme" in tenantry("get", "tm", "-n", "shop").out


def test_get_prints_names_and_several_kinds(tenantry: Shell) -> None:
    pool = {"apiVersion": "tenantry.dev/v1alpha1", "kind": "PredictorPool", "spec": {"replicas": 3}}
    tenantry(
        "apply", "-f", "-", stdin=f"{ACME}---\n{yaml.safe_dump(pool | {'metadata': {'name': 'default'}})}"
    )
    assert tenantry("get", "tm,pp", "-o", "name").out.splitlines() == [
        "tenantmodel.tenantry.dev/acme",
        "predictorpool.tenantry.dev/default",
    ]
    table = tenantry("get", "tm/acme", "predictorpools/default").out
    assert "tenantmodel.tenantry.dev/acme" in table
    assert "predictorpool.tenantry.dev/default   3" in table
    assert json.loads(tenantry("get", "pp", "-o", "json").out)["items"][0]["spec"]["replicas"] == 3


def test_wide_shows_what_the_definition_gives_less_priority(tenantry: Shell) -> None:
    tenantry("apply", "-f", "-", stdin=ACME)
    narrow, wide = (tenantry("get", "tm", *option).out for option in ((), ("-o", "wide")))
    assert narrow.split("\n")[0].split() == [
        "NAME", "TENANT", "READY", "VERSION", "REPLICAS", "SIZE", "REASON", "AGE",
    ]  # fmt: skip
    assert wide.split("\n")[0].split()[-3:] == ["URL", "URI", "MESSAGE"]
    assert "s3://models/acme.onnx" in wide
    assert "s3://models/acme.onnx" not in narrow


def test_delete_takes_files_all_and_what_is_not_there(tenantry: Shell, tmp_path: Path) -> None:
    manifest = tmp_path / "both.yaml"
    manifest.write_text(f"{ACME}---\n{OTHER}")
    tenantry("apply", "-f", manifest)
    assert tenantry("delete", "-f", manifest).out.splitlines() == [
        'tenantmodel.tenantry.dev "acme" deleted',
        'tenantmodel.tenantry.dev "other" deleted',
    ]
    assert tenantry("delete", "-f", manifest).code == 1
    assert tenantry("delete", "-f", manifest, "--ignore-not-found").code == 0
    tenantry("apply", "-f", manifest)
    assert tenantry("delete", "tm", "--all").code == 0
    assert tenantry("get", "tm", "-o", "name").out == ""


def test_describe_tells_everything_as_kubectl_lays_it_out(tenantry: Shell) -> None:
    tenantry("apply", "-f", "-", stdin=ACME.replace("{name: acme}", "{name: acme, labels: {team: a}}"))
    text = tenantry("describe", "tm", "acme").out
    assert text.startswith("Name:         acme\nNamespace:    default\nLabels:       team=a\n")
    assert "Spec:\n  Artifact:\n    Uri:  s3://models/acme.onnx\n" in text
    assert text.endswith("Events:       <none>\n")


def test_the_target_is_named_on_stderr_alone(tenantry: Shell, state: Path) -> None:
    answer = tenantry("get", "tm")
    assert answer.err.startswith(f"target: {state} (not up)\n")
    assert answer.out == ""


def test_without_any_target_the_ways_to_name_one_are_told(
    tenantry: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TENANTRY_STATE")
    answer = tenantry("get", "tm")
    assert answer.code == 1
    assert "start `tenantry up`, or name a state directory with --state, or set KUBECONFIG" in answer.err


def test_a_damaged_file_is_named(tenantry: Shell, state: Path) -> None:
    tenantry("apply", "-f", "-", stdin=ACME)
    file = state / "resources" / "tenantmodels" / "default" / "acme.json"
    file.write_text("{")
    answer = tenantry("get", "tm", "acme")
    assert answer.code == 1
    assert f"{file} cannot be read" in answer.err


def test_each_command_has_help_with_examples(tenantry: Shell) -> None:
    listing = tenantry("--help").out
    for command in ("up", "apply", "get", "describe", "delete", "predict", "explain", "logs", "version"):
        assert f"\n  {command} " in listing
        text = tenantry(command, "--help").out
        assert f"Examples:\n    tenantry {command}" in text or f"| tenantry {command}" in text
        assert "--state" in text


def test_version_of_the_command_needs_no_target(tenantry: Shell) -> None:
    answer = tenantry("version", "--client")
    assert (answer.code, answer.out) == (0, f"Client Version: {VERSION}\n")
