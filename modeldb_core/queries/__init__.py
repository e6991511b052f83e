"""Queries: the filter language, its tree, and what stores share to answer alike.

A store parses with :func:`parse_filter` and :func:`effective_order`, answers in its own way, and is held against
:func:`matches` and :func:`compare`, which say in plain Python what the answers must be.
"""

from __future__ import annotations

from modeldb_core.model.schema import ColumnType
from modeldb_core.queries.ast import (
    COLUMN,
    TAGS,
    Aggregate,
    And,
    Compare,
    Exists,
    Expression,
    Field,
    In,
    IsNull,
    Not,
    Operator,
    Or,
    Order,
    Scalar,
)
from modeldb_core.queries.cursors import (
    DEFAULT_ORDER,
    OrderValue,
    compare,
    decode_cursor,
    effective_order,
    encode_cursor,
    order_value,
)
from modeldb_core.queries.evaluate import MISSING, fold, is_like, matches
from modeldb_core.queries.fields import (
    AGGREGATES,
    COLUMNS,
    CONTAINER_NAMES,
    WITHIN_FIELDS,
    column_type,
    sections_of,
)
from modeldb_core.queries.leaves import (
    MAX_LEAVES,
    MAX_TEXT,
    Leaf,
    ValueType,
    changed,
    exact_digits,
    is_searchable,
    leaf_of,
    leaf_value,
    leaf_values,
    leaves,
    nearest_float,
    searchable,
)
from modeldb_core.queries.linked import MAX_DEPTH, MAX_NAMED, Linked, reached
from modeldb_core.queries.literals import condition, portions, quote
from modeldb_core.queries.parse import field_name, parse_field, parse_filter, parse_order, parse_time, write_filter
from modeldb_core.queries.projection import Projection, parse_fields
from modeldb_core.queries.query import MAX_CONTAINERS, MAX_LIMIT, MAX_OFFSET, Query

__all__ = [
    "AGGREGATES",
    "COLUMN",
    "COLUMNS",
    "DEFAULT_ORDER",
    "CONTAINER_NAMES",
    "MAX_CONTAINERS",
    "MAX_DEPTH",
    "MAX_NAMED",
    "MAX_LEAVES",
    "MAX_LIMIT",
    "MAX_OFFSET",
    "MAX_TEXT",
    "MISSING",
    "TAGS",
    "WITHIN_FIELDS",
    "Aggregate",
    "And",
    "ColumnType",
    "Compare",
    "Exists",
    "Expression",
    "Field",
    "In",
    "IsNull",
    "Leaf",
    "Linked",
    "Not",
    "Operator",
    "Or",
    "Order",
    "OrderValue",
    "Projection",
    "Query",
    "Scalar",
    "ValueType",
    "changed",
    "column_type",
    "compare",
    "condition",
    "decode_cursor",
    "effective_order",
    "encode_cursor",
    "exact_digits",
    "field_name",
    "fold",
    "is_like",
    "is_searchable",
    "leaf_of",
    "leaf_value",
    "leaf_values",
    "leaves",
    "matches",
    "nearest_float",
    "order_value",
    "parse_field",
    "parse_fields",
    "parse_filter",
    "parse_order",
    "parse_time",
    "portions",
    "quote",
    "reached",
    "searchable",
    "sections_of",
    "write_filter",
]
