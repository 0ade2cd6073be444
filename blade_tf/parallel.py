"""Independent jobs in processes of their own, with a progress bar."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
import tqdm

__all__ = ["run"]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)


def _begin_worker() -> None:
    # Each worker would take a GPU's whole memory, and the solvers are fast enough without.
    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    # Ctrl-C reaches the parent as well, which then stops its workers; one that is killed cannot.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def run(
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    *,
    workers: int | None = None,
    description: str = "",
    unit: str = "job",
    isolate: bool = False,
) -> Iterator[Any]:
    """Yields function(*job) for each job as they end, in any order; the first error stops the rest and is raised.

    Args:
      function: of a module, so that a fresh process can import it; each process computes with one thread.
        A single job, or a single worker, needs no other process unless `isolate`.
      jobs: the argument lists.
      workers: number of processes; by default one for each processor.
      description: stands before the progress bar.
      unit: what a job is.
      isolate: never compute in this process, whose number of threads is its own.

    Raises:
      ChildProcessError: if a process dies.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers: expected at least 1, got {workers}")
    if not jobs:
        return
    count = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    if count == 1 and not isolate:
        for job in tqdm.tqdm(jobs, desc=description, unit=unit):
            yield function(*job)
        return
    # Forked from a process that has imported TensorFlow and done nothing else, workers start at once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["blade_tf"])
    others = set(multiprocessing.active_children())
    with (
        tqdm.tqdm(total=len(jobs), desc=description, unit=unit) as progress,
        concurrent.futures.ProcessPoolExecutor(count, context, _begin_worker) as pool,
    ):
        try:
            futures = [pool.submit(function, *job) for job in jobs]
            for future in concurrent.futures.as_completed(futures):
                result = future.result()
                progress.update()
                yield result
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            if isinstance(error, concurrent.futures.process.BrokenProcessPool):
                reason = "a worker process died, perhaps for lack of memory; fewer workers need less"
                raise ChildProcessError(f"{description}: {reason}") from error
            raise
