"""The protocol's view of all models: which there are, and which of them are ready."""

from __future__ import annotations

from tenantry_core.problems import Problem
from tenantry_router.identity import Caller
from tenantry_router.model import RoutedModel
from tenantry_router.router import Router


def index(router: Router, who: Caller, *, ready: bool) -> list[dict[str, str]]:
    """The models that the caller may use, only those that are ready if so asked."""
    return [
        _entry(router.names.shown(model, who), model)
        for model in router.names.visible(who)
        if model.targets or not ready
    ]


def check_ready(router: Router, who: Caller, name: str, version: str | None) -> str:
    """The model's name as this caller knows it. Raises Problem: 503 not ready, 404, 403, 409."""
    model = router.names.find(name, who)
    router.destinations.target(model, None, version)
    return router.names.shown(model, who)


def is_ready(router: Router, who: Caller, name: str, version: str | None) -> bool:
    """Raises Problem: 404, 403, 409."""
    try:
        check_ready(router, who, name, version)
    except Problem as problem:
        if problem.status == 503:
            return False
        raise
    return True


def _entry(name: str, model: RoutedModel) -> dict[str, str]:
    """The protocol's states are READY and UNAVAILABLE; `version` is what a request may ask for."""
    if model.targets:
        return {"name": name, "version": model.targets[0].version, "state": "READY", "reason": ""}
    reason = model.entry.unavailable.reason if model.entry.unavailable else ""
    return {"name": name, "version": "", "state": "UNAVAILABLE", "reason": reason}
