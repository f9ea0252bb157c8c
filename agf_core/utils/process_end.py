"""Why a worker process has ended, and whether the file that it had is to blame."""

import signal

OUTER_SIGNALS = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGXCPU")  # not its own
NO_MEMORY_CODE = 1  # exit code of Python and of OpenBLAS where they cannot go on
FREE_MEMORY = "free some memory, or use fewer threads, and run again"
TOO_LITTLE_MEMORY = "has too little memory"
TOO_SLOW = "the disk or the network is too slow, or stuck; run again later"


def reason_of_end(code: int) -> tuple[str, str]:
    """Return how a process has ended, and what to do where its file need not be the cause.

    Parameters
    ----------
    code : int
        Its exit code; less than zero for a signal.

    Returns
    -------
    reason, remedy : str
        The reason follows "the process"; the remedy is empty where the file is the cause.
    """
    remedy = f"this happens when memory runs out: {FREE_MEMORY}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"dies (exit code {code})", remedy if code == NO_MEMORY_CODE else ""
    if name in OUTER_SIGNALS:
        return f"was killed by signal {-code} ({name})", remedy
    return f"dies ({name})", ""
