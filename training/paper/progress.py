"""How far many jobs have come: one bar over their work, and curves for TensorBoard as they grow."""

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tqdm import tqdm

if TYPE_CHECKING:  # comes with [research] only
    from distributed import Client

TOPIC = "beets-agf training"
SECONDS_BETWEEN_REPORTS = 1.0  # seconds between two reports of a job


class Bar:
    """A progress bar over the work of jobs that report from other processes.

    Parameters
    ----------
    client : Client
    work : mapping of float
        Of each training, by the checkpoint that it writes.
    n_cases : int
    """

    def __init__(self, client: "Client", work: Mapping[str, float], n_cases: int) -> None:
        self.client, self.work = client, work
        self.shares: dict[str, float] = {}
        self.cases = [0, n_cases]
        self.bar = tqdm(total=round(sum(work.values())), desc="training", unit="step", smoothing=0)
        self._show()
        client.subscribe_topic(TOPIC, self._hand_over)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.unsubscribe_topic(TOPIC)
        self.bar.close()

    def _hand_over(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """Take a report out of an event, in which Dask also notes the worker."""
        _, message = event
        self.report(message["key"], message["share"])

    def report(self, key: str, share: float) -> None:
        """Take note of how much of a training is done.

        The first report is of what an earlier run has done; the time left is not estimated from it.
        """
        if key not in self.work:
            return
        if key not in self.shares:
            self.bar.initial += round(share * self.work[key])
        self.shares[key] = max(share, self.shares.get(key, 0.0))
        self._show()

    def ended(self, keys: Iterable[str], n_cases: int) -> None:
        """Take note of a job's end."""
        self.cases[0] += n_cases
        for key in keys:
            if key in self.work:
                self.shares[key] = 1.0
        self._show()

    def _show(self) -> None:
        self.bar.set_postfix_str("{} of {} cases".format(*self.cases), refresh=False)
        self.bar.n = round(sum(self.work[key] * share for key, share in self.shares.items()))
        self.bar.refresh()


class Follower:
    """Watch one training (see `agf_core.train.loop.fit`): report it, and write its curves.

    Parameters
    ----------
    checkpoint : Path
        That it writes. The curves lie in a folder of its name without suffix.
    title : str
        Stands before the names of the curves.
    n_epochs : int
        Of all tasks.
    """

    def __init__(self, checkpoint: Path, title: str, n_epochs: int) -> None:
        self.key, self.title, self.n_epochs = str(checkpoint), title, n_epochs
        self.folder = checkpoint.with_suffix("")
        self.reported = -SECONDS_BETWEEN_REPORTS
        self.written = -1  # entries; not yet looked at

    def __call__(self, done: float, history: Sequence[Mapping[str, Any]]) -> None:
        """Take note of the epochs done."""
        if self.written != len(history):
            self._write(done, history)
        now = time.monotonic()
        if now - self.reported >= SECONDS_BETWEEN_REPORTS or done >= self.n_epochs:
            self.reported = now
            report(self.key, done / self.n_epochs)

    def _write(self, done: float, history: Sequence[Mapping[str, Any]]) -> None:
        """Write the entries that are new; all of them when training begins or goes on."""
        from torch.utils.tensorboard import SummaryWriter

        first, self.written = self.written < 0, len(history)
        if first and done >= self.n_epochs:  # nothing is trained: it is only read again
            return
        if first:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.writer = SummaryWriter(str(self.folder))
        write_curves(self.writer, self.title, history if first else history[-1:])
        self.writer.flush()
        if done >= self.n_epochs:
            self.writer.close()


def write_curves(writer: Any, title: str, history: Sequence[Mapping[str, Any]]) -> None:
    """Write loss and scores of a training for TensorBoard."""
    for entry in history:
        for name in entry.keys() - {"epoch"}:
            writer.add_scalar(f"{title}/{name}", entry[name], entry["epoch"])


def report(key: str, share: float) -> None:
    """Send the command that runs this worker the share of a training that is done."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:  # the command itself is at work
        return
    worker.log_event(TOPIC, {"key": key, "share": share})
