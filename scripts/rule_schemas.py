"""What rules of a CustomResourceDefinition (CEL, of `x-kubernetes-validations`) say, as JSON schema."""

from __future__ import annotations

import re
from typing import Any

Schema = dict[str, Any]

_MATCHES = re.compile(r"self\.matches\('([^']*)'\)")
_ENDS_WITH = re.compile(r"self\.endsWith\('([^']*)'\)")
_DIFFERS = re.compile(r"self != '([^']*)'")

_WHOLE: dict[str, Schema] = {
    "(self.operator == 'In' || self.operator == 'NotIn') == (has(self.values) && self.values.size() > 0)": {
        "if": {"properties": {"operator": {"enum": ["In", "NotIn"]}}},
        "then": {"required": ["values"], "properties": {"values": {"minItems": 1}}},
        "else": {"properties": {"values": {"maxItems": 0}}},
    }
}
"""Rules that are more than a condition on one string."""


class Untranslated(Exception):
    """No schema is known for a rule; the message names it."""


def rule_schema(rule: str) -> Schema:
    """Raises Untranslated: a rule left out would let values pass of which no pool can be made."""
    if rule in _WHOLE:
        return _WHOLE[rule]
    for operator, keyword in ((" || ", "anyOf"), (" && ", "allOf")):
        if operator in rule:
            return {keyword: [rule_schema(part) for part in rule.split(operator)]}
    if rule.startswith("!"):
        return {"not": rule_schema(rule[1:])}
    if match := _MATCHES.fullmatch(rule):
        return {"pattern": _unescaped(match[1])}
    if match := _ENDS_WITH.fullmatch(rule):
        return {"pattern": re.escape(_unescaped(match[1])) + "$"}
    if match := _DIFFERS.fullmatch(rule):
        return {"not": {"const": _unescaped(match[1])}}
    raise Untranslated(f"say in scripts/rule_schemas.py what this is as JSON schema: {rule}")


def _unescaped(text: str) -> str:
    return text.replace("\\\\", "\\")
