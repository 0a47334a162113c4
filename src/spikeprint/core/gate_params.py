"""What a promotion asks for. Enters: the section ``gates`` of ``params.yaml``. Leaves: its limits, checked.

``null`` switches a gate off. What each one looks at: ``registry/gates.py``.
"""

from typing import Annotated, Literal

from pydantic import Field

from .fields import Count, Fraction, Section, Whole

Milliseconds = Annotated[float, Field(gt=0, le=60_000)]


class GateParams(Section):
    """What a version must show to get an alias; `null` switches a gate off."""

    floor: Fraction = Field(description="least mean balanced accuracy over datasets")
    margin_over_control: Fraction = Field(description="least lead of that mean over the shuffled-label control")
    max_control_over_chance: Fraction | None = Field(
        description="largest lead of the shuffled-label control over chance in any dataset; more means a leak"
    )
    max_missed_expectations: Count | None = Field(
        description="expectations of the validation report that may not hold, over all datasets"
    )
    max_calibration_error: Fraction | None = Field(description="largest expected calibration error of any dataset")
    min_coverage: Fraction | None = Field(
        description="least share of held-out units of any dataset whose prediction set holds their type"
    )
    max_called_novel: Fraction | None = Field(
        description="largest share of held-out units of any dataset, all of known types, that are called novel"
    )
    incumbent: Literal["better", "no_worse"] | None = Field(
        description="against the version in service, unit by unit on the same folds: no_worse = no dataset may lose "
        "more than incumbent_margin, better = and the mean over datasets must gain; by the lower end of the interval"
    )
    incumbent_margin: Fraction = Field(
        description="loss of balanced accuracy that the lower end of a dataset's 95 % interval may show"
    )
    n_resamples: Annotated[Whole, Field(ge=200, le=1_000_000)] = Field(description="resamples of the paired bootstrap")
    max_latency_1_ms: Milliseconds | None = Field(description="longest median time for one unit, in process, ms")
    max_latency_256_ms: Milliseconds | None = Field(description="longest median time for 256 units, in process, ms")
    max_bundle_mb: Annotated[float, Field(gt=0, le=10_000)] | None = Field(
        description="largest size of the served bundle, MB"
    )
    compatible: bool = Field(
        description="whether whatever the version in service accepts and answers, cell types included, must stay"
    )
    lineage: bool = Field(description="whether commit, raw data, parameters and environment must be known")
    clean_commit: bool = Field(description="whether production needs code and parameters as committed")
