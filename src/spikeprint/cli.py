"""``spikeprint <verb>``: one table of verbs, each in ``commands/<verb>.py``, imported when asked for."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from . import __version__
from .core.errors import SpikeprintError, suggest

VERBS: dict[str, str] = {
    "run": "rebuild what is stale (dvc repro), then sync the runs to MLflow and register the model",
    "fetch": "download a public dataset of the catalog",
    "add": "add units or a recording, from any layout, to the project",
    "remove": "take a dataset out of the project",
    "validate": "check a dataset folder and say what is wrong, where",
    "benchmark": "score the model and classical baselines on a labelled folder by the published protocol",
    "localize": "tell where the spikes of a recording come from, and how the tissue moved",
    "classify": "predict the cell type of every unit at a path",
    "embed": "write the embedding of every unit at a path",
    "generate": "impute missing modalities, swap an origin, interpolate or sample with the trained model",
    "population": "embed, decode and score a recorded population: fit, transform, decode, score",
    "export": "write the predictions back into a phy folder, an NWB file or a table",
    "hybrid": "put neurons of known spike times into a recording, take them out, score sorters by them",
    "sync": "rebuild the MLflow runs from dvc.lock",
    "register": "make the trained model a version in the registry; staging if it passes the gate",
    "promote": "move a registered version to staging or production, or back, if it passes the gates",
    "lineage": "say where a model comes from, or which models saw a raw file",
    "reproduce": "train a registered version again from its commit and data, and compare",
    "serve": "serve the production model over HTTP",
    "team": "share one MLflow server and one data store among several people",
    "doctor": "show versions, device, data, remotes and what is stale",
}
"""Verb -> one line of help, in the order in which a user meets them."""

USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return its exit code: 0 done, 1 the data's or model's fault, 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    code = 0
    try:
        code = _main(words)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        sys.stdout = None  # type: ignore[assignment]  # nothing is left to be flushed at exit
    return code


def _main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else USAGE
    if words[0] in ("-V", "--version"):
        print(f"spikeprint {__version__}")
        return 0
    verb, *rest = words
    if verb not in VERBS:
        print(f"error: no verb '{verb}'{suggest(verb, VERBS)}; `spikeprint --help` lists them", file=sys.stderr)
        return USAGE
    return _run(verb, rest)


def _run(verb: str, words: list[str]) -> int:
    command = importlib.import_module(f".commands.{verb}", __package__)
    parser = argparse.ArgumentParser(prog=f"spikeprint {verb}", description=command.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--debug", action="store_true", help="show the trace of an error")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress: only results and errors")
    command.add_arguments(parser)
    arguments = parser.parse_args(words)
    _setup(arguments.quiet)
    try:
        return command.run(arguments)
    except SpikeprintError as error:
        from .core.runtime import redact

        if arguments.debug:
            import traceback

            print(redact(traceback.format_exc()), end="", file=sys.stderr)
        print(f"error: {redact(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            "interrupted; `spikeprint run` and `spikeprint hybrid ... --resume` go on where they stopped",
            file=sys.stderr,
        )
        return 130


def _setup(quiet: bool) -> None:
    import os

    from .core.runtime import setup_logging

    if quiet:
        os.environ["SPIKEPRINT_QUIET"] = "1"  # stages started from here stay quiet too
    setup_logging()


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [
        "usage: spikeprint <verb> [options]",
        "",
        "From extracellular recordings to versioned, validated, registered models of neuron identity.",
        "",
        *(f"  {verb:<{width}}  {text}" for verb, text in VERBS.items()),
        "",
        "`spikeprint <verb> --help` explains a verb. Exit codes: 0 done, 1 data or model at fault, 2 wrong usage.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
