"""A cluster as a target, through its API server with whatever rights the kubeconfig gives."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from kubernetes import config
from kubernetes.client import ApiClient

from tenantry.client.answers import Answer
from tenantry.errors import CommandError, ServerError
from tenantry.http_calls import call_url
from tenantry.target import Applied, EventLine, Manifest
from tenantry_core.resources import API_VERSION, SLOT_LABEL
from tenantry_operator.definitions import Definition, UnknownKind, definition_of

FIELD_MANAGER = "tenantry"
_TIMEOUT = urllib3.Timeout(connect=5.0, read=60.0)
_FOLLOW_TIMEOUT = urllib3.Timeout(connect=5.0, read=None)
_PART_LABELS = "app.kubernetes.io/name=tenantry,app.kubernetes.io/component="
_PAGE = 500


class ClusterTarget:
    def __init__(self, context: str | None, url: str | None = None) -> None:
        """Reads the kubeconfig, and calls nobody yet. Raises CommandError for one that cannot be used."""
        files = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        try:
            self._client: ApiClient = config.new_client_from_config(files, context)
            contexts, active = config.list_kube_config_contexts(files)
        except (config.ConfigException, OSError) as error:
            raise CommandError(f"the kubeconfig cannot be used: {error}") from error
        chosen = next((c for c in contexts if c["name"] == context), active)
        self.models_prefix: str | None = None
        self._context = chosen["name"]
        self.namespace = chosen["context"].get("namespace") or "default"
        self._url = url

    @property
    def title(self) -> str:
        return f"cluster {self._client.configuration.host} (context {self._context})"

    def apply(self, manifest: Manifest, namespace: str) -> Applied:
        try:
            kind = definition_of(manifest)
        except UnknownKind as error:
            raise CommandError(str(error)) from error
        metadata = manifest.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if not name:
            raise CommandError(f"resource name may not be empty: give the {kind.kind} a metadata.name")
        path = _path(kind, namespace, str(name))
        old = self._read_or_none(path)
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": "true"}
        new = self._json("PATCH", path, query, manifest, {"Content-Type": "application/apply-patch+yaml"})
        if old is None:
            return Applied("created", new)
        same = old["metadata"]["resourceVersion"] == new["metadata"]["resourceVersion"]
        return Applied("unchanged" if same else "configured", new)

    def get(self, kind: Definition, name: str, namespace: str) -> Manifest:
        return self._json("GET", _path(kind, namespace, name))

    def items(self, kind: Definition, namespace: str | None) -> list[Manifest]:
        found: list[Manifest] = []
        query = {"limit": str(_PAGE)}
        while True:
            page = self._json("GET", _path(kind, namespace), query)
            # Items of a list leave out what the list itself says.
            found += [{"apiVersion": API_VERSION, "kind": kind.kind, **item} for item in page["items"]]
            following = page["metadata"].get("continue")
            if not following:
                return found
            query["continue"] = following

    def delete(self, kind: Definition, name: str, namespace: str) -> None:
        self._json("DELETE", _path(kind, namespace, name))

    def events(self, content: Manifest) -> list[EventLine]:
        metadata = content["metadata"]
        # Events about an object without a namespace are kept in `default`.
        path = f"/api/v1/namespaces/{metadata.get('namespace') or 'default'}/events"
        found = self._json("GET", path, {"fieldSelector": f"involvedObject.uid={metadata.get('uid', '')}"})
        return sorted((_event_line(item) for item in found["items"]), key=lambda event: event.last)

    def call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self._url is not None:
            return call_url(self._url.rstrip("/") + path, method, headers, body)
        response = self._send(method, self._router_proxy() + path, headers, body)
        if response.status >= 400 and _is_status(response.data):
            raise _server_error(response.status, response.data)  # it never reached the router
        fields = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, fields, response.data)

    def roles(self) -> list[str]:
        parts = [role for role in ("operator", "router") if self._pods(role)]
        pods = self._json("GET", "/api/v1/pods", {"labelSelector": SLOT_LABEL})["items"]
        return parts + sorted({pod["metadata"]["labels"][SLOT_LABEL] for pod in pods})

    def log(self, role: str, *, tail: int | None, follow: bool) -> Iterator[str]:
        pods = self._pods(role)
        if not pods:
            raise CommandError(f"no pod of {role} is there: there are {', '.join(self.roles()) or 'none'}")
        query = {"follow": "true"} if follow else {}
        if tail is not None:
            query["tailLines"] = str(tail)
        # Of several replicas one can be followed; without that all are read, one after another.
        for pod in pods[:1] if follow else pods:
            metadata = pod["metadata"]
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/log"
            yield from self._stream_lines(path, query)

    def version(self) -> str:
        answer = self.call("GET", "/v2", {}, None)
        if answer.status >= 400:
            raise _server_error(answer.status, answer.body)
        return f"{json.loads(answer.body).get('version', 'unknown')} ({self._url or self._router_proxy()})"

    def _pods(self, role: str) -> list[Manifest]:
        selector = _PART_LABELS + role if role in ("operator", "router") else f"{SLOT_LABEL}={role}"
        items: list[Manifest] = self._json("GET", "/api/v1/pods", {"labelSelector": selector})["items"]
        return items

    def _router_proxy(self) -> str:
        """The path by which the API server passes requests on to the router's Service."""
        query = {"labelSelector": f"{_PART_LABELS}router"}
        services = self._json("GET", "/api/v1/services", query)["items"]
        if not services:
            raise CommandError(
                "there is no Service of a Tenantry router in this cluster: say where the router is with --url"
            )
        metadata = services[0]["metadata"]
        return f"/api/v1/namespaces/{metadata['namespace']}/services/{metadata['name']}:http/proxy"

    def _read_or_none(self, path: str) -> Manifest | None:
        try:
            return self._json("GET", path)
        except ServerError as error:
            if error.reason == "NotFound":
                return None
            raise

    def _stream_lines(self, path: str, query: Mapping[str, str]) -> Iterator[str]:
        response = self._send("GET", f"{path}?{urlencode(query)}", {}, None, stream=True)
        if response.status >= 400:
            raise _server_error(response.status, response.data)
        rest = b""
        for chunk in response.stream(2**16):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
        if rest:
            yield rest.decode(errors="replace")

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Manifest:
        target = f"{path}?{urlencode(query)}" if query else path
        content = None if body is None else json.dumps(body).encode()
        response = self._send(method, target, {"Accept": "application/json", **(headers or {})}, content)
        if response.status >= 400:
            raise _server_error(response.status, response.data)
        decoded: Manifest = json.loads(response.data)
        return decoded

    def _send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """One request as the kubeconfig's user, answered with whatever status."""
        fields = dict(headers)
        self._client.update_params_for_auth(fields, [], ["BearerToken"], target, method, body)
        host = self._client.configuration.host
        try:
            response: urllib3.BaseHTTPResponse = self._client.rest_client.pool_manager.request(
                method,
                host + target,
                body=body,
                headers=fields,
                timeout=_FOLLOW_TIMEOUT if stream else _TIMEOUT,
                preload_content=not stream,
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise CommandError(f"the API server {host} cannot be reached: {error}") from error
        return response


def _path(kind: Definition, namespace: str | None, name: str = "") -> str:
    parts = ["/apis", API_VERSION]
    if kind.namespaced and namespace is not None:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(kind.plural)
    if name:
        parts.append(quote(name, safe=""))
    return "/".join(parts)


def _event_line(item: Manifest) -> EventLine:
    """An Event of either API: old ones count themselves, new ones are a series."""
    series: dict[str, Any] = item.get("series") or {}
    created = item["metadata"].get("creationTimestamp") or ""
    first = item.get("firstTimestamp") or item.get("eventTime") or created
    last = series.get("lastObservedTime") or item.get("lastTimestamp") or first
    count = series.get("count") or item.get("count") or 1
    return EventLine(
        item.get("type", ""), item.get("reason", ""), item.get("message", ""), first, last, count
    )


def _is_status(body: bytes) -> bool:
    """Whether the API server itself refused, rather than what it passes requests on to."""
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("kind") == "Status"


def _server_error(status: int, body: bytes) -> ServerError:
    """The API server's Status object in kubectl's words."""
    if not _is_status(body):
        return ServerError(str(status), body.decode(errors="replace").strip() or f"HTTP {status}")
    answer = json.loads(body)
    reason = answer.get("reason") or str(status)
    details = answer.get("details") or {}
    causes = [f"{c.get('field', '')}: {c.get('message', '')}" for c in details.get("causes") or ()]
    if reason == "Invalid" and causes:
        listed = causes[0] if len(causes) == 1 else "".join(f"\n* {cause}" for cause in causes)
        return ServerError(reason, f'The {details.get("kind")} "{details.get("name")}" is invalid: {listed}')
    return ServerError(reason, answer.get("message") or reason)
