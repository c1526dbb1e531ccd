"""The command `vaelab`: parses, runs one command, and turns errors into one line and an exit code.

Results go to stdout, everything else to stderr. Nothing here imports torch: a command's module does, when it runs.
"""

from __future__ import annotations

import codecs
import io
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError
from cyclopts.config import Dict

from .. import __version__
from ..errors import VaelabError, one_line
from ..options import read_toml

if TYPE_CHECKING:
    import polars as pl

EXAMPLES = """Examples:

  vaelab demo                         the first minute, on bundled digits
  vaelab train table.csv              a table, an array file, a folder of images
  vaelab evaluate runs/table-1        bound, evidence, what the latents carry
  vaelab generate runs/table-1 -n 64 -o new.csv
"""

COMMANDS = {
    "demo": "The first minute: train on bundled digits, judge, draw.",
    "train": "Data in, run folder out.",
    "evaluate": "Bound, evidence and what the latents carry, with standard errors.",
    "doctor": "What ails a run: findings in plain words, each with the figure that shows it and its remedy.",
    "measure": "Generated rows against held-out rows: precision, recall, distances, a classifier.",
    "compare": "Runs side by side on the same rows, with errors of the differences.",
    "generate": "New rows: z from the prior, then x from p(x | z).",
    "encode": "Where rows lie in the latent space.",
    "decode": "What lies at places of the latent space.",
    "reconstruct": "What the model makes of rows.",
    "impute": "Gaps of rows filled from what was observed of them.",
    "interpolate": "What lies between rows.",
    "score": "How probable each row is.",
    "refit": "Another prior, fitted to the codes of the rows, for a trained model.",
    "explore": "The latent space in the browser: point at a place, see its decode.",
    "export": "The decoder in one file: the explorer as a page (.html), or for other programs (.onnx).",
    "report": "One page that shows a run: figures, curves, rows, latents.",
    "info": "What a model file holds.",
    "recipes": "Published models by name.",
    "experiment": "What a card of the deck says, measured: claims that hold or do not, with a control.",
    "reproduce": "Published figures and tables, ours beside theirs, in curves that are kept and gone on with.",
    "learn": "The study deck: nineteen cards, their experiments on a key, the next date by spaced repetition.",
}


ASCII = {"±": "+-", "−": "-", "–": "-", "…": "...", "→": "->", "·": "*", "β": "beta", "μ": "mu", "σ": "sigma",
         "ε": "eps", "λ": "lambda", "π": "pi", "Σ": "sum", "∇": "grad", "∫": "integral", "‖": "||", "≈": "~=", "ᵀ": "'",
         "²": "^2", "½": "1/2", "√": "sqrt"}  # fmt: skip


def build_app() -> App:
    """Return the parser of all commands; each command's module is imported when it is asked for."""
    app = App(
        name="vaelab",
        help="Train, judge and use variational autoencoders on your own data.",
        help_epilogue=EXAMPLES,
        help_format="plaintext",
        version=__version__,
    )
    for name, what in COMMANDS.items():
        app.command(f"vaelab.cli.{name}:{name}", name=name, help=what)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    debug, as_json = "--debug" in arguments, "--json" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    _plain_where_asked()
    app = build_app()
    try:
        if (path := _configuration(arguments)) is not None:
            app.config = (Dict(read_toml(path)[1], source=str(path), use_commands_as_keys=False),)
        result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except CycloptsError as error:
        if debug:
            raise
        return _fail(" ".join(str(error).split()), 2, as_json) if os.environ.get("RANK", "0") == "0" else 2
    except VaelabError as error:
        if debug:
            raise
        return error.exit_code if error.silent else _fail(str(error), error.exit_code, as_json)
    except KeyboardInterrupt:
        return _fail("interrupted.", 130, as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if debug:
            raise
        return _fail(f"{error.filename or 'the system'}: {error.strerror or error}.", 5, as_json)
    except Exception as error:
        if debug:
            raise
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return _fail(f"internal: {what}. This is a bug: run again with --debug and report what it prints.", 1, as_json)


def _configuration(arguments: list[str]) -> Path | None:
    """Return the file whose options stand where none are given: that of --config, or of the run to --resume."""
    for option, file in {"--config": "", "--resume": "config.toml"}.items():
        for i, argument in enumerate(arguments):
            name, given, value = argument.partition("=")
            if name == option and (given or i + 1 < len(arguments)):
                path = Path(value if given else arguments[i + 1]) / file
                return path if path.exists() or option == "--config" else None  # train says what is missing
    return None


def _fail(message: str, code: int, as_json: bool) -> int:
    """Say one line on stderr (with --json an object on stdout as well) and return the code."""
    line = one_line(message)
    print(f"error: {line}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": line, "exit": code}))
    return code


def _plain_where_asked() -> None:
    """A dumb terminal gets no colours and no moving lines; one that is not UTF-8 gets its nearest letters."""
    if os.environ.get("TERM") == "dumb":
        os.environ["NO_COLOR"] = "1"
    codecs.register_error("nearest", _nearest)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="nearest")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its cache folder


def _nearest(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(ASCII.get(c, "?") for c in error.object[error.start : error.end]), error.end


def print_csv(frame: pl.DataFrame, *, excel_safe: bool = False) -> None:
    """Print a table to stdout in UTF-8 whatever the terminal is: it is data."""
    from ..data.excel import harmless_frame

    frame = harmless_frame(frame) if excel_safe else frame
    sys.stdout.flush()
    sys.stdout.buffer.write(frame.write_csv().encode())
