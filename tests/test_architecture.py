"""The rules of docs/architecture.md, one test each. A failure names the place, the rule and the way out."""

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from spikeprint.core.config import Params

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
PACKAGE = SRC / "spikeprint"
RULES = "see docs/architecture.md"

LAYERS = {
    "core": 0, "training": 1, "io": 1, "synth": 2, "hybrid": 2, "localize": 2, "features": 2, "validate": 2,
    "evaluate": 2, "cvae": 3, "population": 3, "registry": 4, "report": 4, "localizer": 4, "team": 4, "stages": 5,
    "estimator": 5, "commands": 5, "cli": 6, "__main__": 7,
}  # fmt: skip
NARROW = {
    "localize": ("core", "training"),
    "cvae": (
        "core",
        "training",
        "features.transforms",
        "features.descriptors",
        "evaluate.heads",
        "evaluate.readout",
        "evaluate.calibration",
        "evaluate.decision",
        "evaluate.novelty",
    ),
    "team": ("core",),
    "registry": (
        "core",
        "cvae",
        "features.transforms",
        "validate.schemas",
        "evaluate.heads",
        "evaluate.paired",
        "io.download",
    ),
}
"""Rooms that may use only these of the layers below."""

ROOMS = {
    "mlflow": ("registry",),
    "pandera": ("validate",),
    "cebra": ("population",),
    "great_expectations": ("validate.suites",),
    "numba": ("features", "synth", "hybrid", "localize.kernels"),
    "spikeinterface": ("io", "localize.library", "localize.motion"),
    "probeinterface": ("io",),
    "pynwb": ("io",),
    "h5py": ("io",),
    "lightning": ("training", "cvae", "population", "localize.module"),
    "pytorch_lightning": ("training", "cvae", "population", "localize.module"),
    "torch": ("training", "cvae", "localize", "population", "registry", "stages", "commands", "io.population"),
    "matplotlib": ("report", "population.plots", "stages.population_report"),
    "plotly": ("report",),
    "nanio": ("team",),
    "umap": ("evaluate",),
}
"""Heavy library -> the rooms that may import it."""

DISKLESS = ("synth", "hybrid", "localize", "features", "validate", "evaluate", "cvae", "population")
WRITES_OWN_FILES = ("validate.suites", "population.saving")
"""Great Expectations writes pages itself; a saved estimator is one file, whoever calls ``save``."""
DISK_CALLS = {"open", "read_csv", "to_csv", "read_text", "write_text", "read_bytes", "write_bytes", "savez", "savetxt"}
SERVED, SERVED_LIBRARIES = "cvae.predictor", {"numpy", "torch"}
RESTRICTED_UNPICKLER = ("io.readers.unpickle", "io.population.pickles")
"""Read the object arrays of ACQM files with one that admits arrays and plain containers; its tests attack it."""
LAZY = ("torch", "mlflow", "pandas", "lightning", "pytorch_lightning", "pandera", "great_expectations")
MAX_FILE, MAX_BODY, MAX_ARGUMENTS = 320, 60, 8
MAY_PRINT = ("cli", "commands")


# What there is -------------------------------------------------------------------------------------------------------


def _name(path: Path) -> str:
    """Dotted name below ``spikeprint``: ``io.datasets``, ``io`` for its __init__, ``""`` for the root's."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
NAMED = [name for name in MODULES if name]


@cache
def parse(name: str) -> ast.Module:
    """The syntax tree of one module."""
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def is_in(name: str, places: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the places or lies in one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


@cache
def outside_imports(name: str) -> frozenset[str]:
    """First names of all absolute imports, wherever in the module they stand."""
    found = set()
    for node in ast.walk(parse(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
    return frozenset(found)


@cache
def inside_imports(name: str) -> frozenset[str]:
    """Modules of the package that a module imports relatively, lazy imports included."""
    is_package = MODULES[name].name == "__init__.py"
    here = name.split(".") if name else []
    found = set()
    for node in ast.walk(parse(name)):
        if not (isinstance(node, ast.ImportFrom) and node.level):
            continue
        up = node.level - 1 if is_package else node.level
        base = here[: len(here) - up] + (node.module.split(".") if node.module else [])
        for alias in node.names:
            full = ".".join([*base, alias.name])
            found.add(full if full in MODULES else ".".join(base))
    return frozenset(found)


def room(name: str) -> str:
    """First part of a dotted name: the package or top-level module it belongs to."""
    return name.split(".")[0]


def does_something(name: str) -> bool:
    """Whether a module holds more than a docstring, constants such as ``__version__`` and what it gives when asked."""
    body = [node for node in parse(name).body if getattr(node, "name", "") != "__getattr__"]
    return any(not isinstance(getattr(node, "value", None), ast.Constant) for node in body)


def closure(name: str) -> set[str]:
    """All modules that importing one brings in; an ``__init__`` on the way counts if it does something."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        here = todo.pop()
        if here in seen:
            continue
        seen.add(here)
        parents = ["", *(here.rsplit(".", k)[0] for k in range(1, here.count(".") + 1))]
        todo += [*inside_imports(here), *(parent for parent in parents if does_something(parent))]
    return seen


def functions(name: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function and method, nested ones too, with where it stands."""
    for node in ast.walk(parse(name)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{MODULES[name].relative_to(ROOT)}:{node.lineno} {node.name}", node


def public(name: str) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Public classes and functions of a module, and the public methods of its public classes."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    todo = [(name, node) for node in parse(name).body]
    while todo:
        path, node = todo.pop()
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield f"{path}.{node.name} (line {node.lineno})", node
            if isinstance(node, ast.ClassDef):
                todo += [(f"{path}.{node.name}", inner) for inner in node.body]


def where(name: str, node: ast.AST) -> str:
    """File and line of a node."""
    return f"{MODULES[name].relative_to(ROOT)}:{node.lineno}"


def none_of(found: list[str], rule: str) -> None:
    """Fail with every place that breaks a rule."""
    assert not found, f"{rule}; {RULES}\n  " + "\n  ".join(found)


each_module = pytest.mark.parametrize("name", NAMED)


# Layers --------------------------------------------------------------------------------------------------------------


@each_module
def test_module_has_a_layer(name: str) -> None:
    assert room(name) in LAYERS, f"{name}: a new room needs a layer in docs/architecture.md and in LAYERS here"


@each_module
def test_imports_inside_the_package_are_relative(name: str) -> None:
    assert "spikeprint" not in outside_imports(name), (
        f"{name}: write `from ..core import x`, not `from spikeprint.core import x`; bundles copy modules under "
        "another package name"
    )


@each_module
def test_imports_point_to_lower_layers(name: str) -> None:
    mine = LAYERS[room(name)]
    others = [other for other in inside_imports(name) if other and room(other) != room(name)]
    none_of([f"{name} -> {other}" for other in others if LAYERS[room(other)] >= mine], "import only from lower layers")


@each_module
def test_narrow_rooms_use_only_what_is_agreed(name: str) -> None:
    allowed = NARROW.get(room(name))
    others = [other for other in inside_imports(name) if other and room(other) != room(name)]
    found = [other for other in others if allowed is not None and not is_in(other, allowed)]
    none_of([f"{name} -> {other}" for other in found], f"{room(name)} may use only {allowed}")


def test_there_are_no_import_cycles() -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"import cycle: {' -> '.join((*path[path.index(name) :], name))}"
        if name not in done:
            for other in inside_imports(name):
                visit(other, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("library", ROOMS)
def test_heavy_library_stays_in_its_room(library: str) -> None:
    users = [name for name in MODULES if library in outside_imports(name) and not is_in(name, ROOMS[library])]
    none_of(users, f"{library} may be imported in {ROOMS[library]} only")


@pytest.mark.parametrize("name", [name for name in NAMED if room(name) in DISKLESS and name not in WRITES_OWN_FILES])
def test_domain_packages_never_touch_the_disk(name: str) -> None:
    found = ["imports core.files"] if "core.files" in inside_imports(name) else []
    for node in ast.walk(parse(name)):
        if isinstance(node, ast.Call) and _called(node).split(".")[-1] in DISK_CALLS:
            found.append(f"{where(name, node)} {_called(node)}")
    none_of(found, "io, core.files, registry, stages and commands read and write; domain code takes and returns values")


@pytest.mark.parametrize("name", sorted(closure(SERVED)))
def test_served_code_needs_few_libraries(name: str) -> None:
    extra = outside_imports(name) - sys.stdlib_module_names - SERVED_LIBRARIES
    none_of(sorted(extra), f"{name} is copied into every model bundle; it may need {SERVED_LIBRARIES} and no more")


# Form ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_module_says_what_enters_and_leaves(name: str) -> None:
    text = MODULES[name].read_text(encoding="utf-8")
    assert not text.strip() or ast.get_docstring(parse(name)), f"{name}: the module needs a docstring"


@pytest.mark.parametrize("name", MODULES)
def test_file_is_short(name: str) -> None:
    n_lines = len(MODULES[name].read_text(encoding="utf-8").splitlines())
    assert n_lines <= MAX_FILE, f"{name}: {n_lines} lines, {MAX_FILE} allowed; split it by purpose"


@pytest.mark.parametrize("name", MODULES)
def test_function_bodies_are_short(name: str) -> None:
    found = []
    for place, node in functions(name):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        n_lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
        found += [f"{place}: {n_lines} lines"] if n_lines > MAX_BODY else []
    none_of(found, f"a function body has at most {MAX_BODY} lines")


@pytest.mark.parametrize("name", MODULES)
def test_functions_take_few_arguments(name: str) -> None:
    found = []
    for place, node in functions(name):
        names = [argument.arg for argument in _arguments(node) if argument.arg not in ("self", "cls")]
        found += [f"{place}: {len(names)} arguments"] if len(names) > MAX_ARGUMENTS else []
    none_of(found, f"at most {MAX_ARGUMENTS} arguments; pass the section of the parameters instead")


@pytest.mark.parametrize("name", MODULES)
def test_public_names_have_docstrings(name: str) -> None:
    none_of([place for place, node in public(name) if not ast.get_docstring(node)], "public names need a docstring")


@pytest.mark.parametrize("name", MODULES)
def test_public_functions_have_type_hints(name: str) -> None:
    found = []
    for place, node in public(name):
        if isinstance(node, ast.ClassDef):
            continue
        bare = [a.arg for a in _arguments(node) if a.annotation is None and a.arg not in ("self", "cls")]
        bare += ["return"] if node.returns is None else []
        found += [f"{place}: {', '.join(bare)}"] if bare else []
    none_of(found, "public functions say the types of what they take and return")


# Habits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in MODULES if not is_in(name, MAY_PRINT)])
def test_only_commands_print(name: str) -> None:
    found = [where(name, node) for node in _calls(name) if _called(node) == "print"]
    none_of(found, "print belongs to cli.py and commands/; elsewhere use the module's logger")


@pytest.mark.parametrize("name", MODULES)
def test_excepts_name_what_they_catch(name: str) -> None:
    found = []
    for node in ast.walk(parse(name)):
        if isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {ast.unparse(kind) if kind else "" for kind in kinds}
            found += [where(name, node)] if names & {"", "Exception", "BaseException"} else []
    none_of(found, "catch the errors you expect by name; others must surface")


@pytest.mark.parametrize("name", MODULES)
def test_raised_errors_are_typed(name: str) -> None:
    raised = [node for node in ast.walk(parse(name)) if isinstance(node, ast.Raise) and node.exc]
    kinds = {node: node.exc.func if isinstance(node.exc, ast.Call) else node.exc for node in raised}
    found = [where(name, node) for node, kind in kinds.items() if ast.unparse(kind) in ("Exception", "BaseException")]
    none_of(found, "raise a SpikeprintError subclass whose message says what was found and what is needed")


@pytest.mark.parametrize("name", MODULES)
def test_source_has_no_assert(name: str) -> None:
    found = [where(name, node) for node in ast.walk(parse(name)) if isinstance(node, ast.Assert)]
    none_of(found, "assert disappears under -O and tells a user nothing; raise a SpikeprintError")


@pytest.mark.parametrize("name", MODULES)
def test_nothing_unpickles(name: str) -> None:
    foreign = {"pickle", "cloudpickle", "joblib", "dill"} - ({"pickle"} if name in RESTRICTED_UNPICKLER else set())
    found = sorted(foreign & outside_imports(name))
    for node in _calls(name):
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if keywords.get("allow_pickle") == "True":
            found.append(f"{where(name, node)} allow_pickle=True")
        if _called(node) == "torch.load" and keywords.get("weights_only") != "True":
            found.append(f"{where(name, node)} torch.load without weights_only=True")
    none_of(found, "pickles run code when opened; store arrays and JSON")


# Configuration -------------------------------------------------------------------------------------------------------


@cache
def parameters() -> dict[str, Any]:
    """The content of params.yaml."""
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


@cache
def pipeline() -> dict[str, Any]:
    """The stages as dvc.yaml writes them."""
    return yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def look_up(key: str) -> Any:
    """The value of a dotted key of params.yaml.

    Raises
    ------
    KeyError
        There is no such key.
    """
    value: Any = parameters()
    for part in key.split("."):
        if not isinstance(value, dict):
            raise KeyError(key)
        value = value[part]
    return value


def expand(stage: dict[str, Any]) -> list[dict[str, Any]]:
    """A stage as it runs: a template once for each of its keys."""
    if "foreach" not in stage:
        return [stage]
    rows = look_up(stage["foreach"].strip("${} "))
    text = json.dumps(stage["do"])
    return [json.loads(text.replace("${key}", key)) for key in rows]


STAGES = sorted(pipeline())
each_stage = pytest.mark.parametrize("stage", STAGES)


def test_params_yaml_is_valid_with_every_ablation() -> None:
    Params.load(ROOT / "params.yaml")


@pytest.mark.parametrize("stage", [stage for stage in STAGES if "foreach" in pipeline()[stage]])
def test_foreach_names_a_section_of_rows(stage: str) -> None:
    key = pipeline()[stage]["foreach"].strip("${} ")
    assert isinstance(look_up(key), dict), (
        f"dvc.yaml: {stage}.foreach: '{key}' must be a section of rows in params.yaml"
    )


@each_stage
def test_params_of_a_stage_exist(stage: str) -> None:
    found = []
    for run in expand(pipeline()[stage]):
        for key in run.get("params", []):
            try:
                look_up(key)
            except KeyError:
                found.append(f"dvc.yaml: {stage}: params: {key}")
    none_of(found, "every key under params: must exist in params.yaml, or DVC never notices a change of it")


@each_stage
def test_deps_of_a_stage_cover_what_it_imports(stage: str) -> None:
    run = expand(pipeline()[stage])[0]
    match = re.search(r"-m spikeprint\.(stages\.\w+)", run["cmd"])
    assert match, f"dvc.yaml: {stage}: cmd must be `python -m spikeprint.stages.<name>`"
    paths = sorted(MODULES[name].relative_to(ROOT).as_posix() for name in closure(match[1]))
    deps = run["deps"]
    missing = [path for path in paths if not any(path == dep or path.startswith(f"{dep}/") for dep in deps)]
    none_of(missing, f"DVC does not follow imports: list these under deps: of stage {stage} in dvc.yaml")


@each_stage
def test_code_deps_of_a_stage_exist_and_are_used(stage: str) -> None:
    run = expand(pipeline()[stage])[0]
    match = re.search(r"-m spikeprint\.(stages\.\w+)", run["cmd"])
    assert match, f"dvc.yaml: {stage}: cmd must be `python -m spikeprint.stages.<name>`"
    used = {MODULES[name].relative_to(ROOT).as_posix() for name in closure(match[1])}
    code = [dep for dep in run["deps"] if dep.startswith("src/")]
    idle = [dep for dep in code if not any(path == dep or path.startswith(f"{dep}/") for path in used)]
    none_of(idle, f"stage {stage} does not import these; take them out of its deps: or an edit reruns it for nothing")


def test_dvcignore_hides_python_caches() -> None:
    lines = (ROOT / ".dvcignore").read_text(encoding="utf-8").splitlines()
    assert "__pycache__/" in lines, ".dvcignore needs a line `__pycache__/`, or finished stages look modified"


# Command line --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    ["import spikeprint", "from spikeprint.cli import main; main(['--help'])"],
    ids=["import", "help"],
)
def test_start_is_light(code: str) -> None:
    ask = f"import sys\n{code}\nprint('LOADED', *sorted({set(LAZY)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.splitlines()[-1].split()[1:]
    none_of(loaded, f"`{code}` must not load these; import them inside the function that needs them")


def _verbs() -> dict[str, str]:
    return importlib.import_module("spikeprint.cli").VERBS


@pytest.mark.parametrize("verb", _verbs())
def test_verb_has_a_module(verb: str) -> None:
    name = f"commands.{verb}"
    assert name in MODULES, f"cli.VERBS lists '{verb}': src/spikeprint/commands/{verb}.py is needed"
    defined = {node.name for node in parse(name).body if isinstance(node, ast.FunctionDef)}
    assert {"add_arguments", "run"} <= defined, f"commands/{verb}.py needs add_arguments(parser) and run(args)"


def test_every_command_is_listed() -> None:
    modules = {name.split(".")[1] for name in MODULES if name.startswith("commands.")}
    hidden = sorted(name for name in modules - set(_verbs()) if not name.startswith("_"))
    none_of(hidden, "a module in commands/ is a verb: list it in cli.VERBS, or begin its name with _")


# Files ---------------------------------------------------------------------------------------------------------------


def test_no_file_names_a_path_of_one_machine() -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, cwd=ROOT, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: which files are tracked is not known")
    pattern = re.compile(r"(?<![\w.~/-])/(?:" + "|".join(["work", "root", "home"]) + r")/")
    found = []
    for name in listed.decode().split("\0"):
        path = ROOT / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" in content[:8192]:
            continue  # not text
        lines = content.decode("utf-8", errors="ignore").splitlines()
        found += [f"{name}:{i}: {line.strip()[:80]}" for i, line in enumerate(lines, 1) if pattern.search(line)]
    none_of(found, "tracked files must hold on every machine: use a path relative to the project's root")


# Helpers -------------------------------------------------------------------------------------------------------------


def _calls(name: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(parse(name)) if isinstance(node, ast.Call))


def _called(node: ast.Call) -> str:
    """Dotted name of what is called, ``""`` for anything else."""
    return ast.unparse(node.func) if isinstance(node.func, (ast.Name, ast.Attribute)) else ""


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    given = node.args
    rest = [argument for argument in (given.vararg, given.kwarg) if argument]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *rest]
