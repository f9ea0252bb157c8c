"""A worker process whose decoder some files crash."""

from agf_core.inference import worker

DECODER = """
import os, signal, threading, time
from agf_core.audio import container, decode
whole = decode.read_excerpt
def read_excerpt(file, *arguments, **options):
    name = os.path.basename(file.path)
{}
    return whole(file, *arguments, **options)
decode.read_excerpt = read_excerpt
"""


def sabotage(monkeypatch, body: str) -> None:
    """Let the worker run `body`, lines of Python, with the `name` of each file that it decodes."""
    code = DECODER.format("\n".join(f"    {line}" for line in body.strip("\n").splitlines()))
    imports, serve = worker.WORKER_PROGRAM.split("from agf_core.inference.worker")
    program = f"{imports}exec({code!r}); from agf_core.inference.worker{serve}"
    monkeypatch.setattr(worker, "WORKER_PROGRAM", program)
