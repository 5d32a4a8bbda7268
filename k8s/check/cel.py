"""The rules that CRDs carry beside their schemas (x-kubernetes-validations), evaluated as the API server does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cel

from k8s.check.objects import Object, name
from k8s.check.schemas import Crds


@dataclass(frozen=True)
class Rule:
    """One rule of a schema."""

    path: str
    """Of the field it is about; `[]` stands for each element."""
    rule: str
    message: str

    @property
    def of_change(self) -> bool:
        """Whether it compares with what was there before, so that a new object has nothing to fear."""
        return "oldSelf" in self.rule


def rules(schema: dict[str, Any], path: str = "") -> Iterator[Rule]:
    """All rules of a schema."""
    for each in schema.get("x-kubernetes-validations", ()):
        yield Rule(path, each["rule"], each["message"])
    for key, below in schema.get("properties", {}).items():
        yield from rules(below, f"{path}.{key}")
    if isinstance(schema.get("items"), dict):
        yield from rules(schema["items"], f"{path}[]")


def broken(schema: dict[str, Any], new: Any, old: Any = None) -> list[Rule]:
    """The rules that an object breaks, or with `old` a change from that."""
    return [
        rule
        for rule in rules(schema)
        for value, before in _values(rule.path, new, old)
        if not (rule.of_change and before is None) and not cel.evaluate(rule.rule, {"self": value, "oldSelf": before})
    ]


def rule_problems(objects: Sequence[Object], crds: Crds) -> list[str]:
    """What the rules refuse."""
    return [
        f"{name(thing)}: {rule.path.lstrip('.')}: {rule.message}"
        for thing in objects
        if thing["apiVersion"].startswith("ray.io/")
        for rule in broken(crds.schema(thing["kind"]), thing)
    ]


def _values(path: str, new: Any, old: Any) -> Iterator[tuple[Any, Any]]:
    """What an object has at a path, with what it had there before; nothing where it has nothing."""
    found = [(new, old)]
    for part in path.replace("[]", ".[]").split(".")[1:]:
        if part == "[]":
            found = [(each, None) for value, _ in found for each in value]
        else:
            found = [(value[part], (before or {}).get(part)) for value, before in found if part in value]
    yield from found
