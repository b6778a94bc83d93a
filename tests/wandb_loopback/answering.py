"""Answering a GraphQL selection set from plain dicts, lists and functions."""

from __future__ import annotations

from typing import Any

import graphql
from graphql.language import ast


class Refused(Exception):
    """What the server does not do, with the HTTP status that it says so by."""

    def __init__(self, message: str, status: int = 200, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Answer:
    """One GraphQL request, worked out against the root dicts for queries and mutations."""

    def __init__(self, text: str, variables: dict[str, Any], name: str | None = None) -> None:
        document = graphql.parse(text)
        operations = [d for d in document.definitions if isinstance(d, ast.OperationDefinitionNode)]
        self.fragments = {
            d.name.value: d
            for d in document.definitions
            if isinstance(d, ast.FragmentDefinitionNode)
        }
        named = [o for o in operations if o.name and o.name.value == name]
        self.operation = (named or operations)[0]
        self.variables = {**self._defaults(), **variables}

    @property
    def name(self) -> str:
        """The operation's name, or that of its first field."""
        if self.operation.name:
            return self.operation.name.value
        return self.first_field

    @property
    def first_field(self) -> str:
        """The name of the first field that is asked for."""
        first = self.operation.selection_set.selections[0]
        return first.name.value if isinstance(first, ast.FieldNode) else "fragment"

    def of(self, query: dict[str, Any], mutation: dict[str, Any]) -> dict[str, Any]:
        """The answer's data; unknown fields are null."""
        is_mutation = self.operation.operation is ast.OperationType.MUTATION
        data: dict[str, Any] = self._selected(
            mutation if is_mutation else query, self.operation.selection_set
        )
        return data

    def _defaults(self) -> dict[str, Any]:
        found = {}
        for definition in self.operation.variable_definitions:
            if definition.default_value is not None:
                found[definition.variable.name.value] = self._value(definition.default_value)
        return found

    def _value(self, node: ast.ValueNode) -> Any:
        if isinstance(node, ast.VariableNode):
            return self.variables.get(node.name.value)
        if isinstance(node, ast.ListValueNode):
            return [self._value(item) for item in node.values]
        if isinstance(node, ast.ObjectValueNode):
            return {item.name.value: self._value(item.value) for item in node.fields}
        if isinstance(node, ast.NullValueNode):
            return None
        if isinstance(node, ast.IntValueNode):
            return int(node.value)
        if isinstance(node, ast.FloatValueNode):
            return float(node.value)
        return node.value  # type: ignore[attr-defined]

    def _selected(self, source: Any, chosen: ast.SelectionSetNode | None) -> Any:
        if chosen is None or source is None:
            return source
        if isinstance(source, (list, tuple)):
            return [self._selected(item, chosen) for item in source]
        data: dict[str, Any] = {}
        for selection in chosen.selections:
            if isinstance(selection, ast.FieldNode):
                alias = selection.alias or selection.name
                data[alias.value] = self._field(source, selection)
            elif isinstance(selection, ast.FragmentSpreadNode):
                fragment = self.fragments[selection.name.value]
                data.update(self._selected(source, fragment.selection_set))
            elif isinstance(selection, ast.InlineFragmentNode):
                data.update(self._selected(source, selection.selection_set))
        return data

    def _field(self, source: dict[str, Any], field: ast.FieldNode) -> Any:
        found = source.get(field.name.value)
        if callable(found):
            arguments = {a.name.value: self._value(a.value) for a in field.arguments}
            found = found(**arguments)
        return self._selected(found, field.selection_set)
