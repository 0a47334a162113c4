"""Public datasets by name. Enters: a name. Leaves: its files with addresses and checksums, and what `add` must be told.

Sizes and checksums were measured on the files; addresses are pinned to the commit that held them, the branch follows
as a second try. A file without an address was found at none of them with this content: a mirror must be named.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from ..core.errors import ConfigError, suggest

RAW = "https://raw.githubusercontent.com"
PACKAGE = f"{RAW}/braingeneers/HIPPIE"
RELEASE = f"{RAW}/JesusGF1/hippie_benchmarking_release"
PUBLISHED = "262886c598fec671dd8d0c9518f7f4be9df9af79"
TUTORIALS = "c8c6e542a4172dd6f31b0d610d65da546a82ce45"
TOY = "e9d535b7e0f0aaaf0cc7b11865001b6fb33e0bdf"
RELEASED = "9d3d6ab72fa7b4b8ca0ef6db283c37bbb9a24639"

HIPPIE = "Gonzalez-Ferrer et al. 2025, bioRxiv 2025.03.14.642461"
C4 = "Beau et al. 2025 (C4 database)"


@dataclass(frozen=True)
class RemoteFile:
    """One file of a dataset: its path below the dataset, SHA-256, bytes, and where it is, best address first."""

    path: str
    sha256: str
    size: int
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class CatalogDataset:
    """One public dataset.

    Attributes
    ----------
    files : what `fetch` transfers
    technology, species, representation, label_column : options of `spikeprint add`; None = its default
    label_map : label in the files -> cell type used here, "" = unknown; others stay as they are
    n_units : rows of every file
    note : what a user must know, "" = nothing
    """

    name: str
    title: str
    files: tuple[RemoteFile, ...]
    licence: str
    citation: str
    technology: str
    species: str
    representation: str
    n_units: int
    label_column: str | None = None
    label_map: dict[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def get_dataset(name: str) -> CatalogDataset:
    """Return a row of the catalog.

    Raises
    ------
    ConfigError
        No dataset has this name; the nearest is named.
    """
    if name not in CATALOG:
        raise ConfigError(f"catalog: no dataset '{name}'{suggest(name, CATALOG)}; known: {', '.join(CATALOG)}")
    return CATALOG[name]


def list_urls(dataset: CatalogDataset, file: RemoteFile, base: str | None = None) -> tuple[str, ...]:
    """Return where a file is: its addresses, or ``base/<dataset>/<path>`` of a mirror and nothing else.

    Raises
    ------
    ConfigError
        No public address is known and no mirror is named.
    """
    if base:
        return (f"{base.rstrip('/')}/{quote(dataset.name)}/{quote(file.path)}",)
    if not file.urls:
        raise ConfigError(
            f"catalog: {dataset.name}/{file.path} has no public address ({dataset.note}); "
            f"name a mirror that has {dataset.name}/{file.path}: --url https://..."
        )
    return file.urls


def _at(repository: str, commit: str, folder: str, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """File name -> its address at ``commit``, and on the branch."""
    return {name: tuple(f"{repository}/{at}/{folder}/{name}" for at in (commit, "main")) for name in names}


_MATRICES = ("waveforms.csv", "isi_dist.csv", "labels.csv")
_ALL = (*_MATRICES, "acg.csv")
_LAKUNINA = _at(PACKAGE, PUBLISHED, "datasets_hippie/a1data_remove_undef", _MATRICES)
_CELLEXPLORER = _at(PACKAGE, PUBLISHED, "datasets_hippie/cellexplorer_cell_type", _ALL)
_AREA = _at(PACKAGE, PUBLISHED, "datasets_hippie/cellexplorer_area", _MATRICES)  # the same units, other labels
_LISBERGER = {
    **_at(PACKAGE, TUTORIALS, "datasets_hippie/lisberger_labeled_cell_type", _ALL),
    **_at(PACKAGE, TOY, "datasets_hippie/lisberger_labeled_cell_type", ["waveforms.csv"]),
    **_at(RELEASE, RELEASED, "datasets/lisberger_labeled_cell_type", ["metadata.csv"]),
}

_ROWS = (
    CatalogDataset(
        name="lakunina_mouse_a1",
        title="mouse auditory cortex, optogenetically tagged: EXC, PV, SOM",
        files=(
            RemoteFile(
                "waveforms.csv",
                "64005d0cc986ff791884695871ff80e089b787e465ab11d403645a715cbbf60d",
                206_686,
                _LAKUNINA["waveforms.csv"],
            ),
            RemoteFile(
                "isi_dist.csv",
                "8552b5cdb03b3bd5bc1505a6583e208901966fd588af22ced1fd46f566afabf3",
                216_287,
                _LAKUNINA["isi_dist.csv"],
            ),
            RemoteFile(
                "labels.csv",
                "d15ee163f40ca3e6b8af1d2398af4e978eb39922520a7206c92708a6f2c52b51",
                1_025,
                _LAKUNINA["labels.csv"],
            ),
        ),
        licence="BSD-3-Clause",
        citation=f"Lakunina et al. 2020; files: {HIPPIE}",
        technology="silicon_probe",
        species="mouse",
        representation="legacy",
        n_units=285,
        note="51 ISI bins, each row summing to 1; no autocorrelograms",
    ),
    CatalogDataset(
        name="cellexplorer_mouse",
        title="mouse visual cortex and CA1, optogenetically tagged and reference cells",
        files=(
            RemoteFile(
                "waveforms.csv",
                "e2da28f8a716d4bb28d8ae900232660b33cac83e33d3b451ff2c389788817824",
                358_856,
                (*_CELLEXPLORER["waveforms.csv"], *_AREA["waveforms.csv"]),
            ),
            RemoteFile(
                "isi_dist.csv",
                "3a24ba5266b6c1c00998c20eb40d4364f6f09e1ad11194f389b210e65987cfb7",
                786_017,
                _CELLEXPLORER["isi_dist.csv"],
            ),
            RemoteFile(
                "acg.csv",
                "edbe2ef955fd06aba3f03ceef9fe4c6adf7e8a52671ef3c1e658944d6a4fa02e",
                1_426_694,
                _CELLEXPLORER["acg.csv"],
            ),
            RemoteFile(
                "labels.csv",
                "44ccfb5de9feed8463994e59166ac95fdaa88298d8eb58b341a8f0c8499c8aa3",
                1_654,
                _CELLEXPLORER["labels.csv"],
            ),
        ),
        licence="BSD-3-Clause",
        citation=f"Petersen et al. 2021, Neuron; Siegle et al. 2021; Senzai et al. 2019; files: {HIPPIE}",
        technology="neuropixels",
        species="mouse",
        representation="cellexplorer",
        n_units=430,
        label_map={"SST": "SOM", "Axo_": "", "Juxt": "", "VGAT": ""},
        note="ISI in 100 logarithmic bins of 1 ms to 10 s, ACG in 0.5 ms bins over +-50 ms, in Hz",
    ),
    CatalogDataset(
        name="lisberger_macaque",
        title="macaque floccular complex, expert labels: GoC, MFB, MLI, PkC_cs, PkC_ss",
        files=(
            RemoteFile(
                "waveforms.csv",
                "1e8c87af4f6bcd8d7788d22c02ae0f7000acc15b874b85957df3679cd63c6b6c",
                1_923_069,
                _LISBERGER["waveforms.csv"],
            ),
            RemoteFile(
                "isi_dist.csv",
                "7dcc5a5402af9bbc0293a8ce3bdbc1d3b6759437d999ed44121e25917cb40608",
                409_927,
                _LISBERGER["isi_dist.csv"],
            ),
            RemoteFile(
                "acg.csv",
                "44e7f87b36a0d7d614a34fd26f4cb49acd3510d3470bd1b1f7a73dd5e195ceee",
                1_493_659,
                _LISBERGER["acg.csv"],
            ),
            RemoteFile(
                "labels.csv",
                "ab77b1c3a2212e76067caa9872feac654b38473807e83d823cfed920d89f35bc",
                12_048,
                _LISBERGER["labels.csv"],
            ),
            RemoteFile(
                "metadata.csv",
                "53925a1c7a862490fa1fde02429a451094a2a4737a03b3293b2d09075041081f",
                32_836,
                _LISBERGER["metadata.csv"],
            ),
        ),
        licence="BSD-3-Clause",
        citation=f"{C4}; files: {HIPPIE}",
        technology="metal_electrode",
        species="macaque",
        representation="counts_1ms",
        n_units=1152,
        label_map={
            **{f"b'{name}'": name for name in ("GoC", "MFB", "MLI", "PkC_cs", "PkC_ss")},
            "b'unlabeled'": "",
        },
        note="labels are printed byte strings; 668 of 1152 units have one",
    ),
    CatalogDataset(
        name="hausser_mouse",
        title="mouse cerebellar cortex, optogenetically tagged: GoC, MFB, MLI, PkC_cs, PkC_ss",
        files=(
            RemoteFile("waveforms.csv", "9bd614c8ad23ad2f421ce26e5ce3174e11eba2efa7eaf71fc98bc1013d978101", 192_102),
            RemoteFile("isi_dist.csv", "d566c01fdef43f6ef6b62e735216ea121985930ddd1cd007af2ceaa23a59630e", 397_437),
            RemoteFile("acg.csv", "92990c9d88f4cd71a6d5b37048fe358b52774f6917ef795d8fb0465bd438a8b4", 407_202),
            RemoteFile("labels.csv", "650b93b66531c39b4cd915b9f5d76075d94f9d3ee7c38c0f1976ed69202c9d3c", 602),
        ),
        licence="BSD-3-Clause",
        citation=f"{C4}; files: {HIPPIE}",
        technology="neuropixels",
        species="mouse",
        representation="legacy",
        n_units=104,
        note="class counts are those of hausser_cell_type in JesusGF1/hippie_benchmarking_release less GrC",
    ),
    CatalogDataset(
        name="neonatal_slice_mouse",
        title="neonatal mouse brain slices; labels are regions, not cell types",
        files=(
            RemoteFile("waveforms.csv", "91b6467775768c1c984a755f6a80be03d1a65ea021b965a6a50f1590193af0ad", 2_106_073),
            RemoteFile("isi_dist.csv", "4fdd076293430760c19a96de05128c65f91770a9cef054f73dcab4cbb16d0d48", 2_674_917),
            RemoteFile("labels.csv", "6b50fef0b6907c5b12639cbca3c04f24728a0fc84e69dd9a0b7de7ee206001fb", 46_101),
        ),
        licence="BSD-3-Clause",
        citation=HIPPIE,
        technology="mea",
        species="mouse",
        representation="legacy",
        n_units=2220,
        label_column="area_slice",
        label_map={"Unknown": ""},
        note="mouse_slice_area in braingeneers/HIPPIE has other files",
    ),
)

CATALOG: dict[str, CatalogDataset] = {row.name: row for row in _ROWS}
"""Name -> public dataset."""
