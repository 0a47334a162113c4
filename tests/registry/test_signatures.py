import re

import numpy as np
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

from spikeprint.registry.serving import SIGNATURE
from spikeprint.registry.signatures import find_incompatible


def signature(inputs=("waveform 50", "acg 201"), params=("dataset",), outputs=("label",)):
    """Named tensors with their length, parameters and answers."""
    specs = [TensorSpec(np.dtype("float64"), (-1, int(n)), name) for name, n in map(str.split, inputs)]
    return ModelSignature(
        Schema(specs),
        Schema([ColSpec("string", name) for name in outputs]),
        ParamSchema([ParamSpec(name, "string", "") for name in params]),
    )


def columns(**required):
    return ModelSignature(Schema([ColSpec("double", name, required=is_needed) for name, is_needed in required.items()]))


CHANGES = {
    "nothing": (signature(), signature(), []),
    "an input went": (signature(), signature(("waveform 50",)), ["input 'acg' is gone"]),
    "an input came": (signature(("waveform 50",)), signature(), ["input 'acg' is now needed"]),
    "another length": (signature(("acg 201",)), signature(("acg 101",)), ["input 'acg' was .*201.*, is .*101"]),
    "a parameter went": (signature(), signature(params=("other",)), ["parameter 'dataset' is gone"]),
    "a parameter came": (signature(), signature(params=("dataset", "species")), []),
    "an answer went": (signature(outputs=("label", "novelty")), signature(), ["answer 'novelty' is gone"]),
    "an answer came": (signature(), signature(outputs=("label", "novelty")), []),
    "an input that may be absent came": (columns(a=True), columns(a=True, b=False), []),
    "an input may be absent now": (columns(a=True), columns(a=False), []),
    "an input is needed now": (columns(a=False), columns(a=True), ["input 'a' may no longer be left out"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_breaks_a_client_is_named(change):
    old, new, reasons = CHANGES[change]
    found = find_incompatible(old, new)
    assert len(found) == len(reasons)
    for problem, reason in zip(found, reasons, strict=True):
        assert re.match(reason, problem)


def test_our_own_signature_stands_in_for_itself():
    assert find_incompatible(SIGNATURE, SIGNATURE) == []
