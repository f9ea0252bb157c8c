"""Whether an ONNX network is nothing but its own bytes, and does nothing but compute.

ONNX can name other files to take its numbers from, hold loops that never end, and call for
operators from elsewhere. A genre network needs none of that. ONNX files are protocol buffers; the
few messages in which such things can stand are walked here, so that tagging needs no parser of
them.
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
PLAIN_DOMAINS = (b"", b"ai.onnx")

# Where messages hold messages that must be looked into, by field number; and what must not be.
NESTED = {
    ("model", 7): "graph",
    ("graph", 1): "node",
    ("graph", 5): "tensor",
    ("node", 5): "attribute",
    ("attribute", 5): "tensor",
    ("attribute", 10): "tensor",
}
REFUSED = {
    ("model", 20): "is to be trained while it runs",
    ("model", 25): "brings functions of its own",
    ("graph", 15): "holds sparse numbers",
    ("attribute", 6): "holds a branch or a loop",
    ("attribute", 11): "holds a branch or a loop",
    ("attribute", 22): "holds sparse numbers",
    ("attribute", 23): "holds sparse numbers",
    ("tensor", 13): "takes numbers from another file",
}
NODE_DOMAIN = ("node", 7)
TENSOR_LOCATION = ("tensor", 14)  # 0 is here


def check(network: bytes) -> None:
    """See that a network is whole in itself.

    Raises
    ------
    ValueError
        When it is not, or is no ONNX network; the message follows "the network".
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
                raise ValueError(f"calls for operators of {bytes(value[:40])!r}")
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
    """Return the number that begins there, and where it ends."""
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
