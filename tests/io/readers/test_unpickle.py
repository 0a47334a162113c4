"""Archives with objects: containers come through, code does not."""

import io
import os
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeprint.core.errors import DataError
from spikeprint.io.readers import unpickle
from spikeprint.io.readers.unpickle import load_npz_restricted


def save(**arrays: Any) -> io.BytesIO:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file


def save_pickle(data: bytes) -> io.BytesIO:
    """An archive whose array ``train`` is any pickle at all."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("train.npy", header.getvalue() + data)
    return file


def test_containers_and_arrays_come_through() -> None:
    big_endian = np.arange(3, dtype=">i4")
    content = {
        1: np.arange(5),
        "two": [np.float32(1.5), ("a", b"b", None, True)],
        np.int64(3): {"u": np.array(["x", "yz"]), "o": np.array([1, "a"], dtype=object), "b": big_endian},
        "set": {1, 2},
        "ordered": OrderedDict(a=1),
        "two-d": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    }
    back = load_npz_restricted(save(train=np.array(content, dtype=object), fs=np.array(30000.0)), "f")
    assert back["fs"] == 30000.0
    train = back["train"]
    assert list(train) == list(content)
    np.testing.assert_array_equal(train[1], np.arange(5))
    np.testing.assert_array_equal(train[3]["b"], [0, 1, 2])
    assert train[3]["u"].tolist() == ["x", "yz"]
    assert train[3]["o"].tolist() == [1, "a"]
    assert train["two"] == content["two"]
    assert train["set"] == {1, 2}
    np.testing.assert_array_equal(train["two-d"], np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("protocol", range(5))
def test_every_protocol_numpy_has_written_is_read(protocol: int) -> None:
    data = pickle.dumps(np.array({"a": np.arange(3), "b": np.float64(2.5), "c": b"\xff"}, dtype=object), protocol)
    back = load_npz_restricted(save_pickle(data), "f")["train"]
    np.testing.assert_array_equal(back["a"], [0, 1, 2])
    assert (back["b"], back["c"]) == (2.5, b"\xff")


def test_only_what_is_asked_for_is_read() -> None:
    file = save(fs=np.array(1.0), evil=np.array(Call(os.system, ("true",)), dtype=object))
    assert load_npz_restricted(file, "f", names=["fs", "absent"]) == {"fs": 1.0}


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, args: tuple) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple:
        return self.function, self.args


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_does_not_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    data = pickle.dumps({"u": Call(os.system, (f"touch {mark}",))}, protocol)
    with pytest.raises(
        DataError, match=r"f: train: the pickle asks for (posix|nt)\.system; .* nothing was run"
    ) as caught:
        load_npz_restricted(save_pickle(data), "f")
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize(
    "wanted",
    [
        "builtins.eval", "builtins.getattr", "builtins.__import__", "numpy.load", "numpy.memmap", "numpy.f2py.os",
        "numpy.core.multiarray.fromfile", "numpy.testing._private.utils.runstring", "subprocess.Popen", "codecs.open",
    ],
)  # fmt: skip
def test_nothing_else_can_be_named(wanted: str) -> None:
    module, name = wanted.rsplit(".", 1)
    with pytest.raises(DataError, match=re.escape(f"asks for {wanted}")):
        load_npz_restricted(save_pickle(f"c{module}\n{name}\n.".encode()), "f")


def test_attributes_of_allowed_names_cannot_be_reached() -> None:
    data = pickle.PROTO + b"\x04" + b"\x8c\x05numpy" + b"\x8c\x0dndarray.tofile" + b"\x93."
    with pytest.raises(DataError, match=r"the pickle asks for|damaged pickle"):
        load_npz_restricted(save_pickle(data), "f")


def test_what_may_be_called_cannot_be_changed_by_a_pickle() -> None:
    before = dict(unpickle.ALLOWED)
    for module, name in before:
        for state in ({"_call": 1}, (None, {"_call": 1, "__call__": 2})):
            data = f"c{module}\n{name}\n".encode() + pickle.dumps(state, 0)[:-1] + b"b."
            with pytest.raises(DataError, match=r"damaged pickle|not the array"):
                load_npz_restricted(save_pickle(data), "f")
    assert dict(unpickle.ALLOWED) == before
    assert load_npz_restricted(save(train=np.array({1: np.arange(2)}, dtype=object)), "f")["train"][1].tolist() == [
        0,
        1,
    ]


@pytest.mark.parametrize(
    "call",
    [
        b"cnumpy\nndarray\n((I1000000000000\nttR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cbuiltins\nset\n(I0\ntS'b'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRS'12345678'\ntR.",
        b"c_codecs\nencode\n(S'x'\nS'zip'\ntR.",
        b"cnumpy\ndtype\n(I3\ntR.",
        b"P1\n.",
        b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nN(S'a'\ntNI-1\nI-1\nI63\ntb.",  # a structured type
        b"cnumpy\ndtype\n(S'V99999'\ntR.",
    ],
)
def test_allowed_functions_take_only_what_numpy_writes(call: bytes) -> None:
    with pytest.raises(DataError, match="train: "):
        load_npz_restricted(save_pickle(call), "f")


@pytest.mark.parametrize("cut", [0, 10, 100, 300])
def test_a_damaged_archive_is_told_in_one_line(cut: int) -> None:
    whole = save(train=np.array({1: np.arange(9)}, dtype=object)).getvalue()
    with pytest.raises(DataError, match=r"f: not a whole .npz file") as caught:
        load_npz_restricted(io.BytesIO(whole[:cut]), "f")
    assert "\n" not in str(caught.value)


def test_flipped_bytes_never_raise_anything_else() -> None:
    content = {k: {"w": np.arange(20.0), "s": "x"} for k in range(3)}
    whole = bytearray(pickle.dumps(np.array(content, dtype=object), 4))
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 3):
            data[at] = rng.integers(256)
        with suppress(DataError):
            load_npz_restricted(save_pickle(bytes(data)), "f")


@pytest.mark.parametrize(
    ("shape", "data"), [("(I9\nt", "S'12345678'"), ("(I-1\nt", "S'12345678'"), ("(I1\nt", "(lI1\na"), ("(t", "S''")]
)
def test_arrays_whose_shape_and_data_disagree(shape: str, data: str) -> None:
    kind = "cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI63\ntb"  # flags that are no float's
    array = "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    with pytest.raises(DataError, match="damaged pickle"):
        load_npz_restricted(save_pickle(f"{array}(I1\n{shape}{kind}I0\n{data}\ntb.".encode()), "f")


def test_a_header_that_promises_another_shape() -> None:
    with pytest.raises(DataError, match=r"not the array of shape \(\)"):
        load_npz_restricted(save_pickle(pickle.dumps({"a": 1})), "f")


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    second = io.BytesIO()
    with zipfile.ZipFile(second, "w") as archive:
        for name in "abc":
            archive.writestr(f"{name}.npy", b"")
    wide = bytearray(second.getvalue())
    at = -1
    while (at := wide.find(b"PK\x01\x02", at + 1)) >= 0:  # central directory: the declared size
        wide[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFF0)
    with pytest.raises(DataError, match=r"12\.0 GB unpacked; at most 8 GB"):
        load_npz_restricted(io.BytesIO(bytes(wide)), "f")
