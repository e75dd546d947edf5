"""Definitions of the OpenAPI document: those that stand inside a schema move to where ``$ref`` finds them.

``#/$defs/…`` of a schema on its own means the schema; inside a document it means the document, which has none.
"""

from __future__ import annotations

from typing import Any

INSIDE, PLACE = "#/$defs/", "#/components/schemas/"


def hoist(document: dict[str, Any]) -> None:
    """Move each ``$defs`` into the components. Raises ValueError where two of one name differ."""
    schemas = document["components"]["schemas"]
    for part in (document["paths"], list(schemas.values())):
        _visit(part, schemas)


def _visit(node: Any, schemas: dict[str, Any]) -> None:
    if isinstance(node, list):
        for item in node:
            _visit(item, schemas)
    if not isinstance(node, dict):
        return
    for name, schema in node.pop("$defs", {}).items():
        _visit(schema, schemas)
        if schemas.setdefault(name, schema) != schema:
            raise ValueError(f"two schemas are called {name}")
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.startswith(INSIDE):
        node["$ref"] = PLACE + reference.removeprefix(INSIDE)
    for value in node.values():
        _visit(value, schemas)
