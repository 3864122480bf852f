"""Protocol buffers, as much as CRI takes: messages are dictionaries, and a shape says what number a field has.

A shape maps a field's name to its number and its kind: "string", "bytes", "int" (also what is a bool or an enum),
another shape, or a list of one kind where there may be many. What is not in a shape is not read.
"""

from __future__ import annotations

from typing import Any

Shape = dict[str, tuple[int, Any]]
Message = dict[str, Any]

_VARINT, _LONG, _BYTES, _SHORT = 0, 1, 2, 5


def encode(shape: Shape, message: Message) -> bytes:
    """A message as it goes over the wire. Raises KeyError for a field that the shape has not."""
    out = bytearray()
    for name, value in message.items():
        number, kind = shape[name]
        many = isinstance(kind, list)
        for one in value if many else [value]:
            out += _field(number, kind[0] if many else kind, one)
    return bytes(out)


def _field(number: int, kind: str | Shape, value: Any) -> bytes:
    if kind == "int":
        return _varint(number << 3 | _VARINT) + _varint(int(value) & 0xFFFFFFFFFFFFFFFF)
    content = encode(kind, value) if isinstance(kind, dict) else value.encode() if kind == "string" else value
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(shape: Shape, data: bytes) -> Message:
    """A message from the wire: fields that were left out have their zero."""
    message: Message = {name: _zero(kind) for name, (_, kind) in shape.items()}
    names = {number: (name, kind) for name, (number, kind) in shape.items()}
    position = 0
    while position < len(data):
        key, position = _read_varint(data, position)
        value: Any
        if key & 7 == _VARINT:
            value, position = _read_varint(data, position)
        elif key & 7 == _BYTES:
            length, position = _read_varint(data, position)
            value, position = data[position : position + length], position + length
        else:
            size = {_LONG: 8, _SHORT: 4}[key & 7]
            value, position = int.from_bytes(data[position : position + size], "little"), position + size
        if key >> 3 not in names:
            continue
        name, kind = names[key >> 3]
        if isinstance(kind, list):
            message[name].append(_value(kind[0], value))
        else:
            message[name] = _value(kind, value)
    return message


def _value(kind: str | Shape, value: Any) -> Any:
    if isinstance(kind, dict):
        return decode(kind, value)
    if kind == "int":
        return value - (1 << 64) if value >> 63 else value
    return value.decode() if kind == "string" else value


def _zero(kind: Any) -> Any:
    if isinstance(kind, list):
        return []
    return decode(kind, b"") if isinstance(kind, dict) else {"int": 0, "string": "", "bytes": b""}[kind]


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
