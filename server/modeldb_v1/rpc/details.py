"""What goes with an error of gRPC beside its code and message: ``google.rpc.Status`` with an ``ErrorInfo``, as HTTP has it in ``details``."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from google.protobuf import any_pb2, descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from modeldb_v1.errors import DOMAIN, ERROR_INFO

if TYPE_CHECKING:
    from google.protobuf.message import Message

METADATA = "grpc-status-details-bin"
"""The name in the trailing metadata under which clients of gRPC look for it."""
_TYPES = descriptor_pb2.FieldDescriptorProto


def status_details(code: int, message: str, reason: str) -> bytes:
    """Return the ``google.rpc.Status`` of an error, serialized.

    Args:
        code: of gRPC.
        message: the one of the call.
        reason: the stable code of the error, as docs/api.md lists them.
    """
    status_class, info_class = _classes()
    detail = {"type_url": ERROR_INFO, "value": info_class(reason=reason, domain=DOMAIN).SerializeToString()}
    return bytes(status_class(code=code, message=message, details=[detail]).SerializeToString())


@cache
def _classes() -> tuple[type[Message], type[Message]]:
    """Return the classes of Status and ErrorInfo, whose own package is needed for nothing else."""
    file = descriptor_pb2.FileDescriptorProto(
        name="modeldb/status.proto", package="google.rpc", syntax="proto3", dependency=[any_pb2.DESCRIPTOR.name]
    )
    status, info = file.message_type.add(name="Status"), file.message_type.add(name="ErrorInfo")
    one, many = _TYPES.LABEL_OPTIONAL, _TYPES.LABEL_REPEATED
    status.field.add(name="code", number=1, label=one, type=_TYPES.TYPE_INT32)
    status.field.add(name="message", number=2, label=one, type=_TYPES.TYPE_STRING)
    status.field.add(
        name="details", number=3, label=many, type=_TYPES.TYPE_MESSAGE, type_name=f".{any_pb2.Any.DESCRIPTOR.full_name}"
    )
    info.field.add(name="reason", number=1, label=one, type=_TYPES.TYPE_STRING)
    info.field.add(name="domain", number=2, label=one, type=_TYPES.TYPE_STRING)
    pool = DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    found = (pool.FindMessageTypeByName(f"google.rpc.{name}") for name in ("Status", "ErrorInfo"))
    status_class, info_class = (GetMessageClass(each) for each in found)
    return status_class, info_class
