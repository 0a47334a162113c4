"""A throw-away project and the real tools run inside it."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml
from filelock import FileLock


class Project:
    """A throw-away clone of this project with small parameters, and the real tools run inside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}
        self.environment = environment | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "DVC_NO_ANALYTICS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@example.org",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@example.org",
        }

    def run(self, *words: str | Path, ok: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; fail with its output unless ``ok`` is False."""
        done = subprocess.run(
            [str(w) for w in words],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
        )
        assert not ok or done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def repro(self, *words: str) -> set[str]:
        """Run ``dvc repro`` and return the names of the stages whose command ran."""
        return set(re.findall(r"Running stage '([^']+)'", self.run("dvc", "repro", *words).stdout))

    def edit_params(self, change: Callable[[dict], None]) -> None:
        """Load params.yaml, change it in place, write it back."""
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text())
        change(values)
        path.write_text(yaml.safe_dump(values, sort_keys=False))

    def commit(self, message: str) -> None:
        """Commit everything that git does not ignore."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", message)

    def copy(self, folder: Path) -> "Project":
        """Return an independent copy: git, DVC's cache, outputs and all."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)


def make_once(folder: Path, make: Callable[[Path], None]) -> Project:
    """Let the first process that asks make a project; the others, of the same run of the tests, wait and share it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = folder.parent / "made"
    with FileLock(folder.parent / "lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return Project(folder)


def shrink(values: dict) -> None:
    """Make the default pipeline a matter of seconds: few units, few epochs, two folds, two ablation rows."""
    for session in values["simulate"]["sessions"].values():
        session.update(n_units_per_type=12, n_unlabelled=4, n_low_quality=2, duration_s=200)
    # Sorting takes a minute, most of it compilation: one test sorts, all others do without.
    for name in values["recordings"]:
        del values["datasets"][name]
    values["recordings"], values["simulate"]["recordings"], values["hybrid"], values["localized"] = {}, {}, {}, {}
    values["model"].update(n_members=4, epochs=6, patience=6, n_hidden=16, n_latent=4, validation_frac=0.25)
    values["presets"] = {
        "baseline": values["presets"]["baseline"]
        | {"n_hidden": 16, "pretrain_epochs": 3, "finetune_epochs": 1, "epochs": 3}
    }
    values["evaluate"].update(n_folds=2, control_folds=1)
    values["ablations"] = {name: values["ablations"][name] for name in ("production", "baseline")}
    values["gates"].update(floor=0.2, margin_over_control=0.0, max_control_over_chance=1.0, min_coverage=0.0)
    values["gates"].update(max_calibration_error=1.0, max_called_novel=1.0, max_missed_expectations=99)
    values["gates"].update(clean_commit=False)  # a linked .venv is no part of the commit
    population = values["population"]
    population["simulate"] = {
        "toy_track": {"kind": "track", "n_units": 12, "duration_s": 60},
        "toy_images": {"kind": "images", "n_units": 12, "n_images": 3, "n_repeats": 10},
    }
    population["embed"].update(model_architecture="offset5-model", max_iterations=20, batch_size=64)
    population["modes"] = {"position": population["modes"]["position"]}
    population["decode"].update(models=["poisson_nb"], shots=[1, 0], repeats=1)


def free_ports(n: int) -> int:
    """Return the first of ``n`` consecutive ports that nobody listens on."""
    for first in range(20000 + os.getpid() % 10000, 60000, n):
        try:
            for port in range(first, first + n):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first
    raise RuntimeError("no free ports")
