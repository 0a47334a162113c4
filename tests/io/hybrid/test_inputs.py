"""Every layout of traces and sortings comes in through the same door; hybrids of it come back exactly."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.io import savemat

from hybrid_data import RATE_HZ, Toy, make_positions, make_toy
from nwb_files import new_file, save, write_nwb
from spikeprint.cli import main
from spikeprint.core.errors import ConfigError, DataError
from spikeprint.core.hybrid_params import HybridParams, LayoutParams
from spikeprint.hybrid.events import measure_noise
from spikeprint.hybrid.make import make_plan
from spikeprint.io.hybrid.fingerprint import hash_file
from spikeprint.io.hybrid.motion import read_motion
from spikeprint.io.hybrid.outputs import name_hybrid
from spikeprint.io.hybrid.sortings import from_frame, read_trains
from spikeprint.io.hybrid.source import open_source
from spikeprint.io.traces.recordings import RecordingParams, open_recording

N = 24


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("inputs") / "recording", seconds=3.0)


def traces_of(toy: Toy) -> np.ndarray:
    return np.fromfile(toy.folder / "traces0.bin", "<i2").reshape(-1, N)


def write_openephys(toy: Toy, folder: Path) -> dict:
    """An Open Ephys binary session with a probe file beside it."""
    inner = folder / "Record Node 101" / "experiment1" / "recording1"
    stream = inner / "continuous" / "Probe-A"
    stream.mkdir(parents=True)
    traces = traces_of(toy)
    traces.tofile(stream / "continuous.dat")
    np.save(stream / "sample_numbers.npy", np.arange(len(traces)))
    np.save(stream / "timestamps.npy", np.arange(len(traces)) / RATE_HZ)
    channels = [
        {
            "channel_name": f"CH{k + 1}",
            "description": "",
            "identifier": "",
            "history": "",
            "bit_volts": 0.5,
            "units": "uV",
        }
        for k in range(N)
    ]
    about = {
        "folder_name": "Probe-A/", "sample_rate": RATE_HZ, "source_processor_name": "Probe", "source_processor_id": 1,
        "stream_name": "Probe-A", "recorded_processor": "Record Node", "recorded_processor_id": 101,
        "num_channels": N, "channels": channels,
    }  # fmt: skip
    text = json.dumps({"GUI version": "0.6.0", "continuous": [about], "events": [], "spikes": []})
    (inner / "structure.oebin").write_text(text)
    shutil.copy2(toy.folder / "probe.json", folder / "probe.json")
    return {}


def write_traces_nwb(toy: Toy, folder: Path) -> dict:
    """An NWB file with a raw ElectricalSeries."""
    from pynwb.ecephys import ElectricalSeries

    folder.mkdir()
    file = new_file()
    group = file.create_electrode_group("probe0", "a probe", "CA1", device=file.create_device("device"))
    for x, y in make_positions(N):
        file.add_electrode(group=group, location="CA1", rel_x=float(x), rel_y=float(y))
    region = file.create_electrode_table_region(list(range(N)), "all")
    series = ElectricalSeries("raw", traces_of(toy), electrodes=region, rate=RATE_HZ, conversion=0.5e-6)
    file.add_acquisition(series)
    save(file, folder / "traces.nwb")
    return {}


def write_saved(toy: Toy, folder: Path) -> dict:
    """A folder of SpikeInterface."""
    open_recording(toy.folder, RecordingParams(format="binary")).save(folder=folder, verbose=False, n_jobs=1)
    return {}


def write_flat(toy: Toy, folder: Path) -> dict:
    """A bare file, told by options, with a probe of lists."""
    folder.mkdir()
    shutil.copy2(toy.folder / "traces0.bin", folder / "raw.dat")
    probe = {
        "channel_map": list(range(N)), "connected": [1] * N, "channel_positions": toy.positions_um.tolist(),
    }  # fmt: skip
    return {"layout": {"n_channels": N, "sampling_frequency_hz": RATE_HZ, "gain_uv": 0.5, "probe": probe}}


LAYOUTS: dict[str, Callable[[Toy, Path], dict]] = {
    "openephys": write_openephys,
    "nwb": write_traces_nwb,
    "saved": write_saved,
    "flat": write_flat,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_goes_through_the_verb_and_back(layout: str, toy: Toy, tmp_path: Path) -> None:
    options = LAYOUTS[layout](toy, tmp_path / "source")
    before = {path: hash_file(path) for path in (tmp_path / "source").rglob("*") if path.is_file()}
    options |= {"n_units": 1, "units": ["3"], "channels": {"radius_um": 45.0}, "times": {"mode": "renewal"}}
    (tmp_path / "o.yaml").write_text(yaml.safe_dump(options))
    target = tmp_path / "target"
    words = ["plan", target, "--config", tmp_path / "o.yaml", "--source", tmp_path / "source", "--sorting", toy.sorting]
    for step in (words, ["apply", target]):
        assert main(["hybrid", *map(str, step)]) == 0
    (hybrid,) = target.glob("*.GT*")
    added = np.fromfile(hybrid, "<i2").reshape(-1, N).astype(int) - traces_of(toy)
    assert np.abs(added).max() > 100
    opened = open_recording(target, RecordingParams(format="binary"))
    np.testing.assert_array_equal(opened.get_channel_locations(), toy.positions_um)
    assert opened.get_channel_gains()[0] == pytest.approx(0.5)
    assert main(["hybrid", "remove", str(target)]) == 0
    np.testing.assert_array_equal(np.fromfile(hybrid, "<i2").reshape(-1, N), traces_of(toy))
    assert {path: hash_file(path) for path in before} == before


def test_spikeglx_keeps_sync_gains_and_rate(tmp_path: Path, root: Path) -> None:
    meta = root.parent / "shared" / "recordings" / "spikeglx_meta" / "sample3B_g0_t0.imec1.ap.meta"
    if not meta.is_file():
        pytest.skip("real data (../shared/recordings) is not on this machine")
    run = tmp_path / "run"
    run.mkdir()
    rng = np.random.default_rng(0)
    traces = rng.normal(0, 8, (15_000, 385)).astype("<i2")
    times = np.arange(200, 14_800, 150)
    for at in times:
        traces[at - 10 : at + 20, 60:70] -= np.int16(60)
    traces[:, 384] = 64
    traces.tofile(run / "real_g0_t0.imec1.ap.bin")
    lines = meta.read_text().splitlines()
    size = traces.nbytes
    lines = [f"fileSizeBytes={size}" if line.startswith("fileSizeBytes=") else line for line in lines]
    (run / "real_g0_t0.imec1.ap.meta").write_text("\n".join(lines) + "\n")
    np.savez(tmp_path / "units.npz", a=times)
    target = tmp_path / "target"
    words = ["--source", run, "--sorting", tmp_path / "units.npz", "--set=units=[a]", "--set=times.mode=renewal"]
    assert main(["hybrid", "plan", str(target), *map(str, words), "--set=channels.radius_um=60"]) == 0
    assert main(["hybrid", "apply", str(target)]) == 0
    plan = json.loads((target / "plan.json").read_text())
    assert plan["source"]["sampling_frequency_hz"] == pytest.approx(30000, abs=1)
    assert plan["source"]["sampling_frequency_hz"] % 1 != 0
    assert plan["source"]["n_channels"] == 385
    hybrid = np.fromfile(target / "real.GT_g0_t0.imec1.ap.bin", "<i2").reshape(-1, 385)
    np.testing.assert_array_equal(hybrid[:, 384], traces[:, 384])
    assert (hybrid != traces).any()
    text = (target / "real.GT_g0_t0.imec1.ap.meta").read_text()
    assert "userNotes=hybrid spikes added by spikeprint" in text
    opened = open_recording(target, RecordingParams(format="spikeglx"))
    assert opened.get_num_channels() == 384
    original = open_recording(run, RecordingParams(format="spikeglx"))
    np.testing.assert_array_equal(opened.get_channel_gains(), original.get_channel_gains())
    np.testing.assert_array_equal(opened.get_traces(), hybrid[:, :384])
    assert main(["hybrid", "remove", str(target)]) == 0
    np.testing.assert_array_equal(np.fromfile(target / "real.GT_g0_t0.imec1.ap.bin", "<i2"), traces.ravel())


def write_phy(toy: Toy, folder: Path) -> Path:
    folder.mkdir()
    times = np.concatenate(list(toy.trains.values()))
    owner = np.concatenate([np.full(len(train), int(unit)) for unit, train in toy.trains.items()])
    order = np.argsort(times)
    np.save(folder / "spike_times.npy", times[order][:, None].astype(np.uint64))
    np.save(folder / "spike_clusters.npy", owner[order].astype(np.int32))
    (folder / "params.py").write_text(f"dat_path = 'absent.dat'\nsample_rate = {RATE_HZ}\n")
    return folder


def spikes_of(toy: Toy) -> tuple[np.ndarray, np.ndarray]:
    times = np.concatenate(list(toy.trains.values())) + 1
    owner = np.concatenate([np.full(len(train), int(unit)) for unit, train in toy.trains.items()])
    order = np.argsort(times)
    return times[order], owner[order]


def write_rez(toy: Toy, path: Path) -> Path:
    times, owner = spikes_of(toy)
    table = np.column_stack([times, owner + 50, times * 0, times * 0, owner]).astype(float)
    savemat(path, {"rez": {"st3": table, "ops": {"fs": RATE_HZ}}})
    return path


def write_rez_73(toy: Toy, path: Path) -> Path:
    import h5py

    times, owner = spikes_of(toy)
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_group("rez").create_dataset("st3", data=np.stack([times, owner]).astype(float))
    return path


def write_jrclust_old(toy: Toy, path: Path) -> Path:
    times, owner = spikes_of(toy)
    savemat(path, {"viTime_spk": times, "S_clu": {"viClu": np.append(owner[:-1], -3)}, "P": {"sRateHz": RATE_HZ}})
    return path


def write_jrclust_new(toy: Toy, path: Path) -> Path:
    times, owner = spikes_of(toy)
    savemat(path, {"spikeTimes": times[:, None], "spikeClusters": owner[:, None]})
    return path


def write_units_nwb(toy: Toy, path: Path) -> Path:
    return write_nwb(path, [{"id": int(unit), "spike_times": t / RATE_HZ} for unit, t in toy.trains.items()])


SORTINGS = {
    "phy": (write_phy, "phy", 0),
    "rez": (write_rez, "rez.mat", 0),
    "rez v7.3": (write_rez_73, "rez.mat", 0),
    "jrclust 3": (write_jrclust_old, "x_jrc.mat", 1),
    "jrclust 4": (write_jrclust_new, "x_res.mat", 0),
    "nwb": (write_units_nwb, "units.nwb", 0),
}


@pytest.mark.parametrize("kind", SORTINGS)
def test_sortings_give_the_same_trains(kind: str, toy: Toy, tmp_path: Path) -> None:
    write, name, n_lost = SORTINGS[kind]
    path = write(toy, tmp_path / name)
    source, expected, _ = toy.open()
    found = read_trains(path, source)
    assert found.unit_ids.tolist() == ["1", "2", "3"]
    lost = 0
    for unit in range(3):
        ours = set(expected.sample[expected.of_unit(unit)].tolist())
        theirs = set(found.sample[found.of_unit(unit)].tolist())
        assert theirs <= ours
        lost += len(ours - theirs)
    assert lost == n_lost


def test_damaged_results_of_matlab(toy: Toy, tmp_path: Path) -> None:
    source, _, _ = toy.open()
    savemat(tmp_path / "rez.mat", {"rez": {"st3": np.zeros((3, 1)), "ops": {"fs": RATE_HZ}}})
    with pytest.raises(DataError, match=r"rez\.mat: no rez\.st3 of spikes x 2 or more columns, but float64 \(3, 1\)"):
        read_trains(tmp_path / "rez.mat", source)
    savemat(tmp_path / "a_jrc.mat", {"viTime_spk": np.arange(3)})
    with pytest.raises(DataError, match=r"a_jrc\.mat: holds viTime_spk; .* viClu or spikeClusters are needed"):
        read_trains(tmp_path / "a_jrc.mat", source)
    savemat(tmp_path / "b_res.mat", {"spikeTimes": np.arange(3), "spikeClusters": np.arange(4)})
    with pytest.raises(DataError, match="3 spike times, 4 clusters"):
        read_trains(tmp_path / "b_res.mat", source)


def test_times_from_one_and_files_with_gaps(tmp_path: Path) -> None:
    toy = make_toy(tmp_path / "recording", seconds=3.0, n_files=3)
    source, trains, _ = toy.open()
    assert source.starts == (0, 20_000, 40_000)
    moved = {
        unit: train + np.searchsorted([20_000, 40_000], train, "right") * 5000 + 1 for unit, train in toy.trains.items()
    }
    np.savez(tmp_path / "gaps.npz", sampling_frequency_hz=RATE_HZ, **moved)
    params = HybridParams(layout=LayoutParams(starts=[0, 25_000, 50_000]))
    gaps = open_source(toy.folder, params)
    found = read_trains(tmp_path / "gaps.npz", gaps, one_based=True)
    np.testing.assert_array_equal(found.sample, trains.sample)
    np.testing.assert_array_equal(found.segment, trains.segment)
    plan = make_plan(
        gaps,
        found,
        params.model_copy(update={"units": ["3"], "channels": params.channels.model_copy(update={"radius_um": 45.0})}),
    )
    assert set(plan.spikes["segment"]) == {0, 1, 2}
    with pytest.raises(DataError, match=r"spikes lie outside the traces of .*layout\.starts"):
        read_trains(tmp_path / "gaps.npz", source)
    for starts, message in (([0, 1], "2 values for 3 files"), ([0, 10, 50_000], "before traces0.bin ends")):
        with pytest.raises(ConfigError, match=message):
            open_source(toy.folder, HybridParams(layout=LayoutParams(starts=starts)))


def test_bare_files_need_their_options(toy: Toy, tmp_path: Path) -> None:
    write_flat(toy, tmp_path / "flat")
    with pytest.raises(ConfigError, match=r"a flat binary; set layout\.n_channels and layout\.sampling_frequency_hz"):
        open_source(tmp_path / "flat" / "raw.dat", HybridParams())
    layout = {"n_channels": N, "sampling_frequency_hz": RATE_HZ}
    with pytest.raises(DataError, match=r"no probe file; add probe\.json"):
        open_source(tmp_path / "flat", HybridParams(layout=LayoutParams(**layout)))
    with pytest.raises(DataError, match="probe neuropixels3a: 385 channels, the traces have 24"):
        open_source(tmp_path / "flat", HybridParams(layout=LayoutParams(**layout, probe="neuropixels3a")))
    with pytest.raises(ConfigError, match="'neuropixel3a' is no file; did you mean 'neuropixels3a'"):
        open_source(tmp_path / "flat", HybridParams(layout=LayoutParams(**layout, probe="neuropixel3a")))
    with pytest.raises(ConfigError, match="unknown key 'conected'; did you mean 'connected'"):
        open_source(tmp_path / "flat", HybridParams(layout=LayoutParams(**layout, probe={"conected": []})))
    pattern = str(tmp_path / "flat" / "r*.dat")
    probe = {"channel_map": list(range(N)), "channel_positions": toy.positions_um.tolist()}
    source = open_source(pattern, HybridParams(layout=LayoutParams(**layout, probe=probe)))
    assert measure_noise(source)[:4] == pytest.approx([10] * 4, rel=0.25)
    with pytest.raises(DataError, match="no file fits"):
        open_source(str(tmp_path / "flat" / "*.xyz"), HybridParams())


def test_motion_files(tmp_path: Path) -> None:
    moved = {"displacement_um": np.zeros((3, 2)), "times_s": np.arange(3.0), "depths_um": np.array([0.0, 100.0])}
    moved["displacement_um"][2] = [10, 20]
    np.savez(tmp_path / "m.npz", **moved)
    motion = read_motion(tmp_path / "m.npz")
    assert motion.at(np.array([0.0, 2.0, 9.0]), np.full(3, 50.0)).tolist() == [0.0, 15.0, 15.0]
    folder = tmp_path / "si"
    folder.mkdir()
    for name, key in (
        ("displacement_seg0", "displacement_um"),
        ("temporal_bins_s_seg0", "times_s"),
        ("spatial_bins_um", "depths_um"),
    ):
        np.save(folder / f"{name}.npy", moved[key])
    np.testing.assert_array_equal(read_motion(folder).displacement_um, motion.displacement_um)
    np.savez(tmp_path / "bad.npz", **moved | {"times_s": np.zeros(3)})
    with pytest.raises(DataError, match="times and depths must rise"):
        read_motion(tmp_path / "bad.npz")
    np.savez(tmp_path / "less.npz", times_s=np.zeros(3))
    with pytest.raises(DataError, match=r"less\.npz: no motion"):
        read_motion(tmp_path / "less.npz")


def test_names_of_hybrid_files() -> None:
    assert name_hybrid("a.imec0.ap.bin", True) == "a.GT.imec0.ap.bin"
    assert name_hybrid("a_g0_tcat.imec12.lf.bin", True) == "a.GT_g0_tcat.imec12.lf.bin"
    assert name_hybrid("a_g0_t0.nidq.bin", True) == "a.GT_g0_t0.nidq.bin"


def test_a_table_of_spikes_is_a_sorting(toy: Toy) -> None:
    source, trains, _ = toy.open()
    rows = [(unit, sample) for unit, train in toy.trains.items() for sample in train]
    frame = pd.DataFrame(rows, columns=["unit", "sample"]).sample(frac=1, random_state=0)
    found = from_frame(frame, source)
    assert found.unit_ids.tolist() == trains.unit_ids.tolist()
    for name in ("segment", "sample", "offsets"):
        np.testing.assert_array_equal(getattr(found, name), getattr(trains, name))
    with pytest.raises(DataError, match="sorting: no 'sample'; found: unit"):
        from_frame(frame[["unit"]], source)
    with pytest.raises(DataError, match="column sample is float64; whole numbers are needed"):
        from_frame(frame.astype({"sample": float}), source)


@pytest.mark.parametrize("given", ["list", "glob"])
def test_several_files_follow_each_other_by_the_numbers_in_their_names(given: str, toy: Toy, tmp_path: Path) -> None:
    traces = traces_of(toy)
    cuts = [0, 1000, 4000, len(traces)]
    names = ["run_t2.bin", "run_t9.bin", "run_t10.bin"]  # a plain sort would begin with t10
    for name, start, stop in zip(names, cuts, cuts[1:], strict=False):
        traces[start:stop].tofile(tmp_path / name)
    layout = LayoutParams(**write_flat(toy, tmp_path / "one")["layout"])
    words = str(tmp_path / "run_t*.bin") if given == "glob" else [str(tmp_path / name) for name in names]
    source = open_source(words, HybridParams(layout=layout))
    assert source.names() == names
    assert list(source.counts) == np.diff(cuts).tolist()
    np.testing.assert_array_equal(source.read(1, 5, 50), traces[1005:1050])
