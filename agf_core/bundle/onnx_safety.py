"""Check that an ONNX network is self-contained and does nothing but compute.

ONNX can load numbers from other files, contain endless loops, and use foreign operators. A genre
network needs none of that. ONNX files are protocol buffers; the few messages that can contain such
things are parsed here, so that tagging needs no ONNX package.
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
PLAIN_DOMAINS = (b"", b"ai.onnx")

# Fields with messages to check, and fields that are refused, by message and field number.
NESTED = {
    ("model", 7): "graph",
    ("graph", 1): "node",
    ("graph", 5): "tensor",
    ("node", 5): "attribute",
    ("attribute", 5): "tensor",
    ("attribute", 10): "tensor",
}
REFUSED = {
    ("model", 20): "is trained while it runs",
    ("model", 25): "defines functions",
    ("graph", 15): "contains sparse numbers",
    ("attribute", 6): "contains a branch or a loop",
    ("attribute", 11): "contains a branch or a loop",
    ("attribute", 22): "contains sparse numbers",
    ("attribute", 23): "contains sparse numbers",
    ("tensor", 13): "loads numbers from another file",
}
NODE_DOMAIN = ("node", 7)
TENSOR_LOCATION = ("tensor", 14)  # 0 is here


def check(network: bytes) -> None:
    """Check that a network is self-contained.

    Raises
    ------
    ValueError
        When it is not, or is not ONNX; the message is to follow "the network".
    """
    graphs = 0
    pending = [("model", memoryview(network))]
    while pending:
        kind, message = pending.pop()
        for number, value in _fields(message):
            field = kind, number
            if field in REFUSED:
                raise ValueError(REFUSED[field])
            if field == TENSOR_LOCATION and value != 0:
                raise ValueError(REFUSED["tensor", 13])
            if not isinstance(value, memoryview):
                continue
            if field == NODE_DOMAIN and value not in PLAIN_DOMAINS:
                raise ValueError(f"uses operators of {bytes(value[:40])!r}")
            if field in NESTED:
                pending.append((NESTED[field], value))
                graphs += kind == "model"
    if graphs != 1:
        raise ValueError("is not ONNX")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a protocol buffer message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == BYTES:
            size, at = _varint(message, at)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise ValueError("is not ONNX")
        if at + size > len(message):
            raise ValueError("is cut off")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it."""
    value = 0
    for shift in range(0, 64, 7):
        if at == len(message):
            raise ValueError("is cut off")
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("is not ONNX")
