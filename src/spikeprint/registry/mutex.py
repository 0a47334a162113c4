"""One at a time, whoever and wherever. Enters: a store that many processes use. Leaves: a block that one runs.

A file lock holds on one machine only, and MLflow has no lock; but of two that create the same registered model every
store lets one succeed: its name is a primary key. So an empty model ``<name>.lock`` exists while somebody is at work.
"""

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient, MlflowException
from mlflow.entities.model_registry import RegisteredModel

from ..core.errors import RegistryError

LOGGER = logging.getLogger(__name__)

SUFFIX = ".lock"
STALE_S = 120.0
"""What is done under the lock takes seconds: one that stays longer than this was left by a process that was killed."""
WAIT_S, POLL_S = 180.0, 0.1
TAKEN, GONE = "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"


@contextmanager
def exclusive(
    client: MlflowClient, name: str, who: str, wait_s: float = WAIT_S, stale_s: float = STALE_S
) -> Iterator[None]:
    """Run a block while no other process, on whatever machine, is in the same block for the model ``name``.

    A lock left by a process that was killed is taken over after ``stale_s`` seconds. Two that take it over at the same
    instant could both enter: what is done inside must look at the end whether it came out as meant.

    Raises
    ------
    RegistryError
        Somebody else holds the lock for longer than ``wait_s`` seconds.
    """
    lock = f"{name}{SUFFIX}"
    token = f"{who}, process {os.getpid()} on {socket.gethostname()}"
    started = time.monotonic()
    seen, since = 0, started
    while not _create(client, lock, token):
        held, now = _find(client, lock), time.monotonic()
        if held and held.creation_timestamp != seen:  # another holder; clocks of two machines are not compared
            seen, since = held.creation_timestamp, now
        by = held.description if held else "somebody"
        if held and now - since > stale_s:
            LOGGER.warning("%s: left by %s, unchanged for %.0f s; taken over", lock, by, stale_s)
            _delete(client, lock)
        elif now - started > wait_s:
            raise RegistryError(f"{lock}: held by {by} for more than {wait_s:.0f} s; try again")
        else:
            time.sleep(POLL_S)
    try:
        yield
    finally:
        mine = _find(client, lock)
        if mine and mine.description == token:
            _delete(client, lock)


def _create(client: MlflowClient, lock: str, token: str) -> bool:
    try:
        client.create_registered_model(lock, description=token)
    except MlflowException as error:
        # to say who holds the name MLflow looks it up, and finds nothing if it was given back in between
        if error.error_code not in (TAKEN, GONE):
            raise
        return False
    return True


def _find(client: MlflowClient, lock: str) -> RegisteredModel | None:
    try:
        return client.get_registered_model(lock)
    except MlflowException as error:
        if error.error_code != GONE:
            raise
        return None


def _delete(client: MlflowClient, lock: str) -> None:
    try:
        client.delete_registered_model(lock)
    except MlflowException as error:
        if error.error_code != GONE:
            raise
