"""A movie shows the spikes of its second, and is an mp4 where ffmpeg is."""

from pathlib import Path

import numpy as np
import pytest

from spikeprint.core.errors import DataError
from spikeprint.report import movie
from spikeprint.report.localization import Cloud
from spikeprint.report.movie import Film, can_write_movies

CONTACTS = np.array([[0.0, 0.0], [32, 0], [0, 20], [32, 20]])


@pytest.fixture
def cloud() -> Cloud:
    rng = np.random.default_rng(0)
    return Cloud(np.sort(rng.uniform(0, 4, 80)), rng.uniform(0, 30, (80, 3)), rng.normal(3, 0.3, 80))


def test_a_film_shows_the_spikes_of_its_second(cloud: Cloud) -> None:
    film = Film(cloud, CONTACTS, {"motion": np.arange(4.0), "entropy": np.ones(4)})
    film.show(2)
    mine = (cloud.times_s >= 2) & (cloud.times_s < 3)
    for axis, columns in zip(film.figure.axes[:3], ([1, 0], [2, 0], [1, 2]), strict=True):
        np.testing.assert_allclose(axis.collections[-1].get_offsets(), cloud.xyz_um[mine][:, columns])
        assert len(axis.collections[0].get_offsets()) == len(CONTACTS)
    assert [list(axis.lines[1].get_xdata()) for axis in film.figure.axes[3:]] == [[2, 2], [2, 2]]


def test_traces_must_agree(cloud: Cloud) -> None:
    with pytest.raises(DataError, match=r"traces of \[3, 4\] seconds"):
        Film(cloud, CONTACTS, {"motion": np.ones(4), "entropy": np.ones(3)})


def test_a_long_recording_is_shown_in_few_frames(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not can_write_movies():
        pytest.skip("no ffmpeg on this machine: apt-get install ffmpeg")
    monkeypatch.setattr(movie, "MAX_FRAMES", 3)
    film = Film(cloud, CONTACTS, {"entropy": np.ones(9)})
    assert film.write(tmp_path / "movie.mp4") == [0, 4, 8]
    assert (tmp_path / "movie.mp4").read_bytes()[4:8] == b"ftyp"
