"""The messages, services and calls of the v1 API, made from ``api.json``: numbers, oneofs and enums are the original's.

``api.json`` has a file as protobuf has one: a field is ``[repeated] type name = number [in oneof] [deprecated]``, a call
``[request, response, "VERB path [body]", ...]``. Begin with ``table.py``; ``descriptors.py`` makes the classes.
"""

from modeldb_v1.schema.descriptors import POOL, Fields, enum_type, enum_values, message_class
from modeldb_v1.schema.table import CALLS, SERVICES, Binding, CallDeclaration, call_named

__all__ = [
    "CALLS",
    "POOL",
    "SERVICES",
    "Binding",
    "CallDeclaration",
    "Fields",
    "call_named",
    "enum_type",
    "enum_values",
    "message_class",
]
