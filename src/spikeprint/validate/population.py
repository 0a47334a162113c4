"""Rules of a population folder and of result tables. Enters: tables. Leaves: the tables, or a ``SchemaError``.

Schemas are strict and coerce nothing.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pandera.pandas as pa

from ..core.errors import SchemaError

FRACTION = pa.Check.in_range(0, 1)
NOT_NEGATIVE = pa.Check.ge(0)

SEGMENTS = pa.DataFrameSchema(
    {
        "segment_id": pa.Column(int, unique=True),
        "start_row": pa.Column(int, NOT_NEGATIVE),
        "stop_row": pa.Column(int, NOT_NEGATIVE),
        "t_start": pa.Column(float),
        "t_stop": pa.Column(float),
    },
    checks=[
        pa.Check(lambda t: t["start_row"] < t["stop_row"], error="start_row before stop_row"),
        pa.Check(lambda t: t["t_start"] < t["t_stop"], error="t_start before t_stop"),
        pa.Check(
            lambda t: t["start_row"] >= t["stop_row"].shift(fill_value=0), error="segments sorted, without overlap"
        ),
    ],
    strict=False,  # columns of the stimulus follow
)
UNITS = pa.DataFrameSchema(
    {
        "unit_id": pa.Column(str, unique=True),
        "presence_ratio": pa.Column(float, FRACTION, required=False, nullable=True),
        "amplitude_cutoff": pa.Column(float, NOT_NEGATIVE, required=False, nullable=True),
        "isi_violations": pa.Column(float, NOT_NEGATIVE, required=False, nullable=True),
    },
    strict=False,
)
RESULTS = pa.DataFrameSchema(
    {
        "session_id": pa.Column(str),
        "model": pa.Column(str),
        "k": pa.Column(int, NOT_NEGATIVE, description="training presentations of each class; 0 = all"),
        "seed": pa.Column(int),
        "split": pa.Column(str),
        "n_units": pa.Column(int, pa.Check.ge(1)),
        "n_bins": pa.Column(int, pa.Check.ge(1)),
        "n_classes": pa.Column(int, pa.Check.ge(2)),
        **{
            name: pa.Column(float, FRACTION) for name in ("top1", "top1_low", "top1_high", "top5", "balanced", "chance")
        },
        "mean_rank": pa.Column(float, pa.Check.ge(1)),
        "n_train": pa.Column(int, pa.Check.ge(1)),
        "n_test": pa.Column(int, pa.Check.ge(1)),
        "fit_seconds": pa.Column(float, NOT_NEGATIVE),
    },
    unique=["session_id", "model", "k", "seed"],
    strict=True,
)

FORECASTS = pa.DataFrameSchema(
    {
        "session_id": pa.Column(str),
        "model": pa.Column(str),
        "history": pa.Column(int, pa.Check.ge(1), description="bins that are looked at"),
        "seed": pa.Column(int),
        "n_units": pa.Column(int, pa.Check.ge(1)),
        "bits_per_spike": pa.Column(float, description="above the mean rate in training"),
        "share_better": pa.Column(float, FRACTION, description="units that are foretold better than by their mean"),
        "n_train": pa.Column(int, pa.Check.ge(1)),
        "n_test": pa.Column(int, pa.Check.ge(1)),
        "fit_seconds": pa.Column(float, NOT_NEGATIVE),
    },
    unique=["session_id", "model", "history", "seed"],
    strict=True,
)
RETRIEVALS = pa.DataFrameSchema(
    {
        "session_id": pa.Column(str),
        "model": pa.Column(str),
        "seed": pa.Column(int),
        "split": pa.Column(str),
        "unseen": pa.Column(int, NOT_NEGATIVE, description="classes kept out of training; 0 = none"),
        "n_units": pa.Column(int, pa.Check.ge(1)),
        "n_bins": pa.Column(int, pa.Check.ge(1)),
        "n_classes": pa.Column(int, pa.Check.ge(2), description="among which the true one is looked for"),
        "n_features": pa.Column(int, pa.Check.ge(1)),
        "r2": pa.Column(float, pa.Check.le(1), description="of the features, mean; 0 = their mean in training"),
        **{name: pa.Column(float, FRACTION) for name in ("top1", "top1_low", "top1_high", "top5", "chance")},
        "mean_rank": pa.Column(float, pa.Check.ge(1)),
        "n_train": pa.Column(int, pa.Check.ge(1)),
        "n_test": pa.Column(int, pa.Check.ge(1)),
        "fit_seconds": pa.Column(float, NOT_NEGATIVE),
    },
    unique=["session_id", "model", "unseen", "seed"],
    strict=True,
)


def check_table(table: pd.DataFrame, schema: pa.DataFrameSchema, where: str) -> pd.DataFrame:
    """Return the table if it keeps every rule.

    Raises
    ------
    SchemaError
        Broken rules, a line for each kind with the first place.
    """
    try:
        return schema.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
        lines = []
        for (column, check), group in cases.groupby(["column", "check"], dropna=False, sort=False):
            first = group.iloc[0]
            row = "" if pd.isna(first["index"]) else f"row {int(first['index']) + 1}: "
            lines.append(f"{where}: {column}: {row}found {first['failure_case']}, needed {check} ({len(group)} found)")
        raise SchemaError("\n".join(lines)) from None


def check_population(
    segments: pd.DataFrame, units: pd.DataFrame, labels: Mapping[str, np.ndarray], valid: np.ndarray, bin_width: float
) -> None:
    """Check the tables of one population, and that they fit each other.

    Raises
    ------
    SchemaError
        A broken rule.
    """
    check_table(segments, SEGMENTS, "segments.csv")
    check_table(units, UNITS, "units.csv")
    rows = segments["stop_row"] - segments["start_row"]
    off = ((segments["t_stop"] - segments["t_start"]) / bin_width - rows).abs() >= 1
    if off.any():
        at = int(np.argmax(off.to_numpy()))
        raise SchemaError(
            f"segments.csv: row {at + 1}: {rows.iloc[at]} bins of {bin_width:g} s do not fill "
            f"{segments['t_start'].iloc[at]:g} to {segments['t_stop'].iloc[at]:g} s"
        )
    for name, values in labels.items():
        if values.dtype.kind == "f":
            bad = np.isnan(values.reshape(len(values), -1)).any(axis=1) & valid
            if bad.any():
                raise SchemaError(
                    f"labels.csv: '{name}': row {int(np.argmax(bad)) + 1} is empty ({int(bad.sum())} are); labels may "
                    "be missing only where valid is False"
                )
