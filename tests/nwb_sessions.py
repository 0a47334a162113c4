"""A stimulus session as NWB, written by pynwb."""

from pathlib import Path

import numpy as np

from spikeprint.synth.populations import make_images


def write_nwb(path: Path, n_images: int, n_repeats: int, n_units: int) -> None:
    """A session as the Allen Institute writes them, by pynwb."""
    from datetime import UTC, datetime

    from pynwb import NWBHDF5IO, NWBFile, TimeSeries
    from pynwb.epoch import TimeIntervals

    session = make_images(n_images, n_repeats, n_units, seed=3)
    nwb = NWBFile("images", "images-1", datetime(2026, 1, 1, tzinfo=UTC))
    device = nwb.create_device("probeA")
    group = nwb.create_electrode_group("probeA", "probe", "VISp", device)
    for channel in (850, 851):
        nwb.add_electrode(id=channel, group=group, location="VISp")
    for column in ("quality", "isi_violations", "peak_channel_id"):
        nwb.add_unit_column(column, column)
    for unit in range(n_units):
        nwb.add_unit(
            spike_times=session.train(unit), quality="good" if unit else "noise", isi_violations=0.1 * unit,
            peak_channel_id=850 + unit % 2,
        )  # fmt: skip
    table = TimeIntervals("natural_scenes_presentations", "images")
    table.add_column("frame", "image")
    table.add_column("stimulus_name", "name")
    assert session.presentations is not None
    for row in session.presentations.itertuples():
        table.add_row(
            start_time=row.start_time, stop_time=row.stop_time, frame=float(row.frame), stimulus_name="scenes"
        )
    nwb.add_time_intervals(table)
    nwb.add_invalid_time_interval(start_time=2.3, stop_time=2.4, tags=["EcephysProbe", "7", "probeA"])
    nwb.add_acquisition(TimeSeries("running_speed", np.linspace(0, 5, 100), "cm/s", rate=20.0, starting_time=0.0))
    with NWBHDF5IO(str(path), "w") as io:
        io.write(nwb)
