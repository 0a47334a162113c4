"""All localisers in one table. Enters: a source, for networks a trained one. Leaves: positions of its peaks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..core.errors import ModelError
from ..core.localize_params import LocalizerName
from ..core.spikes import Positions, Source
from .fit import FittedLocalizer
from .geometry import find_neighbourhoods
from .library import localise_by_library
from .monopole import localise_monopoles
from .predict import locate_by_reference, locate_by_source_net

MONOPOLE_CONTACTS = 10


@dataclass(frozen=True)
class Localizer:
    """One way to tell where spikes come from.

    Attributes
    ----------
    axes : what it estimates; is_trained : whether it needs a fitted network; locate : source, network -> positions
    text : one line for people
    """

    axes: str
    is_trained: bool
    locate: Callable[[Source, FittedLocalizer | None], Positions]
    text: str


def localise(name: LocalizerName, source: Source, fitted: FittedLocalizer | None = None) -> Positions:
    """Localise the peaks of a source.

    Raises
    ------
    ModelError
        The localiser is a network and none, or one of another kind, was given.
    """
    localizer = LOCALIZERS[name]
    if localizer.is_trained and (fitted is None or fitted.config["kind"] != name):
        found = "none" if fitted is None else f"a {fitted.config['kind']}"
        raise ModelError(f"localizer {name}: a trained network of its kind is needed, found {found}; fit one first")
    return localizer.locate(source, fitted)


def _peak_channel(source: Source, fitted: FittedLocalizer | None) -> Positions:
    places = source.contacts_um[source.peaks.channels]
    return Positions(np.column_stack([places, np.full(len(places), np.nan)]).astype(np.float32))


def _monopole(source: Source, fitted: FittedLocalizer | None) -> Positions:
    around = find_neighbourhoods(source.contacts_um, MONOPOLE_CONTACTS)
    xyz = np.empty((len(source.peaks), 3), dtype=np.float32)
    alpha = np.empty(len(source.peaks), dtype=np.float32)
    for rows, snippets in source.read(around, source.peaks):
        found = localise_monopoles(snippets, source.peaks.channels[rows], around, source.n_before, source.peaks.fs_hz)
        xyz[rows], alpha[rows] = found.xyz_um, found.alpha_uv_um
    return Positions(xyz, alpha)


def _trained(locate: Callable[[Source, FittedLocalizer], Positions]) -> Callable[..., Positions]:
    """A network's way, once ``localise`` has checked that there is one."""

    def located(source: Source, fitted: FittedLocalizer | None) -> Positions:
        if fitted is None:
            raise ModelError("localizer: a trained network is needed; fit one first")
        return locate(source, fitted)

    return located


LOCALIZERS: dict[str, Localizer] = {
    "peak_channel": Localizer("xy", False, _peak_channel, "the contact of the deepest trough"),
    "center_of_mass": Localizer(
        "xy", False, lambda source, _: localise_by_library(source, "center_of_mass"), "mean contact by size (library)"
    ),
    "grid_convolution": Localizer(
        "xy", False, lambda source, _: localise_by_library(source, "grid_convolution"), "templates on a grid (library)"
    ),
    "monopole_library": Localizer(
        "xyz", False, lambda source, _: localise_by_library(source, "monopolar_triangulation"), "one fit each (library)"
    ),
    "monopole": Localizer("xyz", False, _monopole, "all spikes at once, amplitude in closed form"),
    "cnn": Localizer("xyz", True, _trained(locate_by_reference), "the reference CNN, 401,955 parameters"),
    "transformer": Localizer(
        "xyz", True, _trained(locate_by_reference), "the reference Transformer, 579,971 parameters"
    ),
    "production": Localizer(
        "xyz", True, _trained(locate_by_source_net), "geometry as input, trained on simulated truth"
    ),
}
"""Name -> localiser, from the simplest to the best."""
