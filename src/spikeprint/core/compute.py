"""Run independent tasks. Enters: a function and its items. Leaves: the results in order, in this or more processes."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from .errors import ConfigError

Item = TypeVar("Item")
Result = TypeVar("Result")


def count_workers() -> int:
    """Return how many processes to use: ``SPIKEPRINT_WORKERS``, else one for each core this process may use.

    Raises
    ------
    ConfigError
        ``SPIKEPRINT_WORKERS`` is not a whole number above 0.
    """
    asked = os.environ.get("SPIKEPRINT_WORKERS")
    if asked is None:
        # only Linux tells which cores a container or a scheduler has given to this process
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not asked.isdecimal() or int(asked) < 1:
        raise ConfigError(f"SPIKEPRINT_WORKERS = '{asked}': a whole number above 0 is needed")
    return int(asked)


def map_tasks(
    function: Callable[[Item], Result], items: Iterable[Item], n_workers: int, preload: str
) -> Iterator[Result]:
    """Yield ``function(item)`` in the order of the items.

    Parameters
    ----------
    function : importable by name; it and the items travel to other processes
    n_workers : 1 = in this process
    preload : module whose import is paid once and shared by all workers

    Notes
    -----
    Workers come from a fork server, which never forks a process that has started threads, and run one thread each, so
    a result does not depend on the number of cores.
    """
    tasks = list(items)
    if n_workers <= 1 or len(tasks) <= 1:
        yield from map(function, tasks)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    with ProcessPoolExecutor(min(n_workers, len(tasks)), mp_context=context) as pool:
        yield from pool.map(function, tasks)
