"""The loads that decisions want, kept so that each plan finds those to start now without looking at all."""

from __future__ import annotations

from collections.abc import Mapping

from tenantry_core.wire import SlotReport
from tenantry_operator.planning.case import is_per_user
from tenantry_operator.planning.deciding import Decision
from tenantry_operator.planning.first import First
from tenantry_operator.planning.fleet import Fleet
from tenantry_operator.planning.loads import RESOLVE, VERIFY, WARM
from tenantry_operator.planning.requests import Requests
from tenantry_operator.planning.waiting import SortedKeys, Waiting


class Demand:
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._decisions: dict[str, Decision | First] = {}
        self._asking = SortedKeys()
        """Models with loads wanted on certain instances."""
        self._waiting = {RESOLVE: Waiting(), VERIFY: Waiting()}
        """Models that want one slot or another to look at a version, by urgency."""
        self._pinned: set[str] = set()

    def put(self, key: str, decision: Decision) -> None:
        case = decision.case
        self._decisions[key] = decision
        (self._asking.put if case.loads.wanted else self._asking.drop)(key)
        wanted = {one.urgency for one in case.loads.anywhere}
        for urgency, waiting in self._waiting.items():
            if urgency in wanted:
                waiting.put(key, case.desired)
            else:
                waiting.drop(key)
        (self._pinned.add if case.model.spec.residency == "Pinned" else self._pinned.discard)(key)

    def put_first(self, firsts: Mapping[str, First]) -> None:
        """Models that were never decided about, and want nothing but that one slot looks at them."""
        self._decisions |= firsts
        for key, first in firsts.items():
            self._waiting[VERIFY].put(key, first.desired)

    def drop(self, key: str) -> None:
        self._decisions.pop(key, None)
        self._asking.drop(key)
        for waiting in self._waiting.values():
            waiting.drop(key)
        self._pinned.discard(key)

    def ask_certain(self, reports: Mapping[str, SlotReport], requests: Requests) -> None:
        """Asks for what certain instances shall load."""
        for key in self._asking.in_order():
            loads = self._decisions[key].case.loads
            for check, urgency in loads.wanted.items():
                requests.ask(check, loads.known, urgency)
        self._match_residency(reports, requests)

    def ask_anywhere(self, heats: Mapping[str, float], requests: Requests) -> None:
        """Asks for what any one slot may look at: unserved models, then the hottest, while there is room."""
        if any(self._waiting.values()):
            requests.wait_for_answers()
        for urgency, waiting in self._waiting.items():
            for slot, keys in waiting.queues():
                instances = self._fleet.ready_instances(slot)
                order = sorted(keys, key=lambda key: -heats.get(key, 0.0)) if heats else keys
                for key in order:
                    case = self._decisions[key].case
                    if not requests.has_room(case.pool, instances):
                        break
                    for wanted in case.loads.anywhere:
                        if wanted.urgency == urgency:
                            requests.ask_one(case, wanted)

    def _match_residency(self, reports: Mapping[str, SlotReport], requests: Requests) -> None:
        """What must stay in memory is loaded wherever a slot does not keep it; what need not, is let go."""
        kept = {
            (slot, warm.model, warm.sha256)
            for slot, report in reports.items()
            for warm in report.models
            if warm.pinned
        }
        for key in sorted(self._pinned | {model for _, model, _ in kept if model in self._decisions}):
            decision = self._decisions[key]
            case, version = decision.case, decision.outcome.version
            if version is None or is_per_user(version.reference):
                continue
            for slot in version.slots:
                is_kept = (slot, key, version.reference.sha256) in kept
                if slot in reports and is_kept != (key in self._pinned):
                    for check in case.checks_on([slot], version.reference):
                        requests.ask(check, case.loads.known, WARM)
