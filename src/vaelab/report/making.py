"""The section on how a run was made: parts and networks, data, settings, the command, the curves in words."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ..data.words import count
from ..errors import VaelabError
from ..options import TrainOptions, read_toml
from ..part import Part
from .markup import Html, element, joined, paragraph, table
from .measure import Measured

if TYPE_CHECKING:
    from ..run import Run


def model(m: Measured) -> Html:
    """The parts and networks, the settings, the data, and the command that makes the same run again."""
    run, meta = m.run, m.run.meta
    rows = [
        (joined((name, " ", element("span", role, class_="soft"))), f"{_size(part):,}", _part(part))
        for name, role in (("prior", "p(z)"), ("posterior", "q(z | x)"), ("likelihood", "p(x | z)"))
        if isinstance(part := getattr(run.model, name, None), nn.Module)
    ]
    parts = meta.get("parts", {})
    why = (
        f"The likelihood is {parts['likelihood']}, because {meta['reason']}." if meta.get("reason") and parts else None
    )
    objective = f" The objective is {parts['objective']}." if parts else ""
    total = f"{_size(run.model):,} parameters.{objective}"
    history, best = run.history, meta.get("best") or {}
    stopped = "" if history is None else f" Training ended: {history.stopped}."
    kept = f" The weights are those of epoch {best['epoch']}." if "epoch" in best else ""
    settings = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in meta.get("settings", {}).items())
    out = [
        paragraph(joined((why, " ")) if why else None, total),
        table(("part", "parameters", "what it is"), rows, caption="The parts", class_="figures"),
        element("h3", "Data"),
        _data(m),
        element("h3", "How it was trained"),
        paragraph(f"{stopped}{kept}".strip()) if stopped or kept else None,
        paragraph(f"Settings: {settings}.") if settings else None,
        paragraph(f"torch {meta['torch']}, {count(meta['threads'], 'thread')}.") if "torch" in meta else None,
    ]
    command = repeat(run)
    if command is not None:
        said = "The run's folder holds every option: vaelab train --config config.toml makes the same run. In short:"
        out += [paragraph(said), element("code", command, class_="command")]
    return joined(out)


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _part(part: nn.Module) -> Html:
    """Return a part as it is constructed, its network below it."""
    network = getattr(part, "network", None)
    below = None if network is None else joined((" of ", element("code", _constructed(network))))
    return joined((element("code", _constructed(part, "network")), below))


def _constructed(module: nn.Module, without: str = "") -> str:
    name = type(module).__name__
    if not isinstance(module, Part):
        return f"{name}({module.extra_repr()})"
    inner = [_constructed(v) for k, v in module.arguments().items() if isinstance(v, nn.Module) and k != without]
    return f"{name}({', '.join(filter(None, [*inner, module.extra_repr()]))})"


def _data(m: Measured) -> Html:
    data, schema = m.run.meta.get("data", {}), m.run.schema
    split = f"{data['train']:,} training rows, {data['validation']:,} for validation." if "train" in data else ""
    test = m.run.splits.get("test")
    split += "" if test is None else f" {len(test):,} official test rows."
    train = m.run.splits.get("train")
    notes = () if train is None else train.notes
    constants = (
        f"Constant, not modelled: {', '.join(name for name, _ in schema.constants)}." if schema.constants else None
    )
    return joined(
        (
            paragraph(f"{schema.name}: {schema.describe()}. {split}".strip()),
            paragraph(constants) if constants else None,
            *(paragraph(note) for note in notes),
        )
    )


def repeat(run: Run) -> str | None:
    """Return the command that makes the run again, its source by file name alone; None without a run folder."""
    if run.folder is None:
        return None
    try:
        source, changed = read_toml(run.folder / "config.toml")
        options = TrainOptions.checked(**changed).changed()
    except VaelabError:
        return None
    words = ["vaelab", "train", Path(source or "SOURCE").name]
    for name, value in options.items():
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif isinstance(value, tuple):
            words += [word for item in value for word in (f"--{name.replace('_', '-')}", item)]
        elif value is not False:
            shown = Path(value).name if name in ("validation", "labels") and isinstance(value, str) else str(value)
            words += [f"--{name.replace('_', '-')}", shown]
    return shlex.join(words)


def training(m: Measured) -> str:
    """Return what the training curves show, and in which units."""
    history: Any = m.run.history
    # of mixed columns the Jacobian differs from row to row
    shift = None if m.run.schema.kinds else m.run.schema.log_det(density=True).item()
    likelihood = getattr(m.run.model, "likelihood", None)
    add = "" if shift is None else f"; add {shift:,.2f} for those of the data"
    same = getattr(likelihood, "discrete", True) or shift == 0 or not m.bounded
    moved = "" if same else f" They are in the model's standardised units{add}."
    judged = (m.run.meta.get("best") or {}).get("elbo") is not None
    best = "bound" if m.bounded else "log p(x | z)"
    kept = f" The weights that were kept are those of the best validation {best}." if judged else ""
    return f"{len(history.records)} reports during training, nats per row.{moved}{kept}"
