import multiprocessing
import time

import pytest

from spikeprint.core.errors import RegistryError
from spikeprint.registry.mutex import exclusive
from spikeprint.registry.tracking import connect


def _count(project, path, n):
    client = connect(project)
    for _ in range(n):
        with exclusive(client, "m", "somebody"):
            before = int(path.read_text())
            time.sleep(0.02)
            path.write_text(str(before + 1))


def test_processes_take_turns(project, tmp_path):
    path = tmp_path / "count"
    path.write_text("0")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(project, path, 3)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert path.read_text() == "6"


def test_nothing_is_left_behind(project):
    client = connect(project)
    with pytest.raises(ValueError, match="inside"), exclusive(client, "m", "somebody"):
        assert [model.name for model in client.search_registered_models()] == ["m.lock"]
        raise ValueError("inside")
    assert client.search_registered_models() == []


def test_a_lock_that_is_held_names_its_holder(project):
    client = connect(project)
    with exclusive(client, "m", "ana"):
        reason = r"m\.lock: held by ana, process \d+ on .* for more than 0 s"
        with pytest.raises(RegistryError, match=reason), exclusive(client, "m", "bo", wait_s=0.2):
            pass
        with exclusive(client, "other", "bo", wait_s=0.2):
            pass


def test_a_lock_left_by_a_killed_process_is_taken_over(project, caplog):
    client = connect(project)
    client.create_registered_model("m.lock", description="ana, process 1 on x")
    with exclusive(client, "m", "bo", stale_s=0.3):
        pass
    assert "left by ana, process 1 on x" in caplog.text
    assert client.search_registered_models() == []


def test_a_lock_taken_over_is_not_removed_by_its_first_holder(project):
    client = connect(project)
    with exclusive(client, "m", "ana"):
        client.delete_registered_model("m.lock")
        client.create_registered_model("m.lock", description="bo, process 2 on y")
    assert [model.name for model in client.search_registered_models()] == ["m.lock"]
