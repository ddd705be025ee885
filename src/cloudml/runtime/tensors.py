"""Tensors of the Open Inference Protocol, in JSON or behind it as bytes (its extension for binary data)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from cloudml.runtime.rows import Refused

OUTPUT = "predictions"
MEMBERS = frozenset({"name", "shape", "datatype"})
# how the bytes of a tensor are read and written, little-endian; BYTES are texts, each behind its length of four bytes
FORMATS: Mapping[str, str] = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
    "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
DATATYPES = frozenset({*FORMATS, "BYTES"})


def are_tensors(value: Any) -> bool:
    """Whether ``inputs`` is the protocol's and not MLflow's: a list of objects that each are a tensor."""
    return type(value) is list and value != [] and all(type(item) is dict and _is_tensor(item) for item in value)


def _is_tensor(item: Mapping[str, Any]) -> bool:
    return item.keys() >= MEMBERS and ("data" in item or _size(item) is not None)


def _size(item: Mapping[str, Any]) -> Any:
    """The number of bytes of a binary tensor as the client gives it; None for one in JSON."""
    parameters = item.get("parameters")
    return parameters.get("binary_data_size") if type(parameters) is dict else None


def head_length(given: bytes, body: bytes) -> int:
    """How many bytes of a body are JSON, by the header that says so. Raises Refused."""
    if not given.isdigit() or len(given) > 12 or int(given) > len(body):
        raise Refused(f"inference-header-content-length must be a number, at most the body's {len(body)} bytes")
    return int(given)


def read(tensors: Sequence[dict[str, Any]], behind: bytes) -> tuple[list[Any], list[str] | None]:
    """Rows, and the names of their columns. ``behind`` are the bytes behind the JSON. Raises Refused.

    One tensor of shape [rows, features], or one of shape [rows] or [rows, 1] for each feature.
    """
    found, at = [], 0
    for tensor in tensors:
        size = _size(tensor)
        if size is None:
            found.append(_tensor(tensor, tensor["data"]))
            continue
        if type(size) is not int or not 0 <= size <= len(behind) - at:
            raise Refused(f"tensor {str(tensor['name'])[:40]!r}: binary_data_size is not what the body holds")
        found.append(_tensor(tensor, behind[at : at + size]))
        at += size
    if at != len(behind):
        raise Refused(f"{len(behind) - at} bytes of the body belong to no tensor")
    if len(found) == 1 and len(found[0][1]) == 2:
        _, (count, width), flat = found[0]
        if count and not width:
            raise Refused("the tensor has rows of no features")
        return [flat[start * width : (start + 1) * width] for start in range(count)], None
    return _side_by_side(found)


def _side_by_side(found: Sequence[tuple[str, list[int], list[Any]]]) -> tuple[list[Any], list[str]]:
    columns: dict[str, list[Any]] = {}
    for name, shape, flat in found:
        if len(shape) > 2 or shape[1:] not in ([], [1]):
            raise Refused(
                f"tensor {name[:40]!r} has shape {shape[:8]}; send one of [rows, features], or one for each feature"
            )
        if name in columns:
            raise Refused(f"there are two tensors named {name[:40]!r}")
        columns[name] = flat
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise Refused(f"'inputs': the columns have different lengths, {sorted(lengths)[:5]}")
    return [list(row) for row in zip(*columns.values(), strict=True)], list(columns)


def _tensor(tensor: Mapping[str, Any], data: Any) -> tuple[str, list[int], list[Any]]:
    name, shape, datatype = tensor["name"], tensor["shape"], tensor["datatype"]
    if type(name) is not str:
        raise Refused("a tensor's name must be a string")
    if type(shape) is not list or not shape or not all(type(size) is int and 0 <= size < 1 << 40 for size in shape):
        raise Refused(f"tensor {name[:40]!r}: shape must be a list of sizes")
    if type(datatype) is not str or datatype not in DATATYPES:
        raise Refused(f"tensor {name[:40]!r}: datatype must be one of {', '.join(sorted(DATATYPES))}")
    if isinstance(data, bytes):
        flat = _unpacked(name, datatype, data)
    elif type(data) is list:
        flat = data
        while flat and all(type(item) is list for item in flat):
            flat = [value for item in flat for value in item]
    else:
        raise Refused(f"tensor {name[:40]!r}: data must be a list")
    size = 1
    for extent in shape[:8]:
        size *= extent
    if len(shape) > 8 or size != len(flat):
        raise Refused(f"tensor {name[:40]!r}: shape {shape[:8]} needs {size} values, data has {len(flat)}")
    return name, shape, flat


def _unpacked(name: str, datatype: str, data: bytes) -> list[Any]:
    try:
        if datatype == "BYTES":
            return _texts(data)
        form = FORMATS[datatype]
        return list(struct.unpack(f"<{len(data) // struct.calcsize('<' + form)}{form}", data))
    except (struct.error, UnicodeDecodeError) as error:
        raise Refused(f"tensor {name[:40]!r}: its bytes are not {datatype}: {error}") from None


def _texts(data: bytes) -> list[str]:
    """Raises struct.error or UnicodeDecodeError."""
    found, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        if size > len(data) - at:
            raise struct.error("a text is longer than what is left")
        found.append(data[at : at + size].decode())
        at += size
    return found


def wants_binary(found: Mapping[str, Any]) -> bool:
    """Whether the answer's tensor is asked for as bytes. Raises Refused for an output that there is not."""
    outputs = found.get("outputs") or []
    if type(outputs) is not list or not all(type(output) is dict for output in outputs):
        raise Refused("'outputs' must be a list of objects")
    parameters = [found.get("parameters")]
    for output in outputs:
        if output.get("name") != OUTPUT:
            raise Refused(f"there is no output {str(output.get('name'))[:40]!r}; it is {OUTPUT!r}")
        parameters.append(output.get("parameters"))
    given = [each for each in parameters if type(each) is dict]
    asked = [each.get("binary_data", each.get("binary_data_output")) for each in given]
    return any(each is True for each in asked)


def reply(outputs: list[Any], binary: bool) -> tuple[dict[str, Any], bytes]:
    """The one tensor of an answer, and the bytes behind its JSON."""
    shape, flat = [len(outputs)], outputs
    while flat and all(type(item) is list and len(item) == len(flat[0]) for item in flat) and flat[0]:
        shape.append(len(flat[0]))
        flat = [value for item in flat for value in item]
    datatype = _datatype(flat)
    tensor = {"name": OUTPUT, "shape": shape, "datatype": datatype}
    if not binary or (datatype == "BYTES" and not all(type(value) is str for value in flat)):
        return {**tensor, "data": flat}, b""
    packed = _packed(datatype, flat)
    return {**tensor, "parameters": {"binary_data_size": len(packed)}}, packed


def _packed(datatype: str, flat: list[Any]) -> bytes:
    if datatype == "BYTES":
        texts = [value.encode("utf-8", "replace") for value in flat]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return struct.pack(f"<{len(flat)}{FORMATS[datatype]}", *flat)


def _datatype(flat: list[Any]) -> str:
    kinds = {type(value) for value in flat}
    for kind, datatype in ((bool, "BOOL"), (int, "INT64"), (float, "FP64")):
        if kinds == {kind}:
            return datatype
    return "FP64" if kinds <= {int, float} else "BYTES"
