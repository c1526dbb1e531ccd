"""The sections of a report that are words and numbers: figures, the model, what it all means."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ..data.words import count
from ..errors import VaelabError
from ..evaluation import Evaluation
from ..options import TrainOptions, read_toml
from ..part import Part
from .markup import Html, element, joined, paragraph, table
from .measure import Measured, Seen

if TYPE_CHECKING:
    from ..run import Run

KINGMA = "Kingma & Welling 2013, Auto-Encoding Variational Bayes (arXiv 1312.6114)"


def lead(m: Measured) -> str:
    """Return the run in one sentence: data and recipe."""
    run, data = m.run, m.run.meta.get("data", {})
    recipe = run.meta.get("recipe")
    what = "A model of its user's own parts" if recipe is None else f"The recipe {recipe}"
    rows = f" on {count(data['train'], 'row')}" if "train" in data else ""
    dims = getattr(getattr(run.model, "prior", None), "latent_dim", None)
    latents = "" if dims is None else f", with {count(int(dims), 'latent dimension')}"
    return f"{what}{latents}, trained{rows} of {run.schema.name}: {run.schema.describe()}."


EXPLAINED = {
    "log evidence": (
        "How probable a row is under the model: log p(x), from below, by importance weighting over {samples:,} draws. "
        "Higher is better; compare models by this."
    ),
    "ELBO": (
        "The bound that training raises, reconstruction - KL. It falls short of the log evidence by {gap:.3f}, the "
        "price of an approximate posterior."
    ),
    "reconstruction": "E[log p(x | z)], z from q(z | x): how well the code of a row gives the row back.",
    "KL": "What the code says about the row, KL(q(z | x) || p(z)), {kl_form}.",
    "bits per dimension": "The ELBO per entry of a row, in bits: what a compressor would need. Lower is better.",
    "active units": "Latent dimensions that respond to the row at all.",
    "mutual information": "How much of the KL tells rows apart; {rows:,} rows show at most {ceiling:.2f}.{capped}",
    "marginal KL": ("The rest of the KL: how far the codes of all rows together are from the prior. {hole}"),
}


def figures(seen: Seen) -> Html:
    """What the model is worth on rows, each figure with what it says."""
    judged = seen.judged

    def shown(value: float | None, form: str) -> str | None:
        return None if value is None else format(value, form)

    values = {
        "log evidence": judged.log_evidence,
        "ELBO": judged.elbo,
        "reconstruction": judged.reconstruction,
        "KL": judged.kl,
        "bits per dimension": shown(judged.bits_per_dimension, ".4f"),
        "active units": f"{judged.active_units} of {seen.codes.shape[1]}",
        "mutual information": shown(judged.mutual_information, ".3f"),
        "marginal KL": shown(judged.marginal_kl, ".3f"),
    }
    capped = (judged.mutual_information or 0.0) > math.log(judged.rows) - 0.5
    facts = {
        "samples": judged.samples,
        "gap": judged.log_evidence.value - judged.elbo.value if judged.log_evidence and judged.elbo else None,
        "kl_form": "in closed form" if judged.kl_form == "closed" else "by the draws",
        "rows": judged.rows,
        "ceiling": math.log(judged.rows),
        "capped": " It is there, so it is at least this." if capped else "",
        "hole": "At most this: see above."
        if capped
        else "Where it is large, draws from the prior land where no row is.",
    }
    rows = [(name, value, EXPLAINED[name].format(**facts)) for name, value in values.items() if value is not None]
    caption = f"Nats per row of {_which(seen)}, with standard errors over rows, in the units of the data"
    listed = table(("figure", "value", "what it says"), rows, caption=caption, class_="figures")
    return listed if judged.reason is None else joined((paragraph(_no_bound(judged)), listed))


def _which(seen: Seen) -> str:
    part = {"given": "the rows given"}.get(seen.split, f"the {seen.split} rows")
    drawn = seen.judged.rows
    return f"{drawn:,} of {seen.total:,} {part}, drawn at random" if drawn < seen.total else f"{part} ({drawn:,})"


def _no_bound(judged: Evaluation) -> Html:
    return joined(
        (
            element("strong", "There is no bound here: "),
            f"{judged.reason}. The plain autoencoder gives codes and reconstructions, but no probability of a row; "
            "the recipe vae does.",
        )
    )


def findings(m: Measured) -> Html:
    """What a user should know of this training."""
    if not m.warnings:
        return paragraph("Nothing was found that is wrong with this run.")
    return joined(element("p", warning, class_="warning") for warning in m.warnings)


def no_rows(m: Measured) -> Html:
    """Say that the rows are not there, and what brings them back."""
    return joined(
        (
            element("p", f"The rows of this run cannot be read: {m.reason}", class_="warning"),
            paragraph("So there are no figures here. With rows at hand: ", element("code", "vaelab report RUN SOURCE")),
        )
    )


def model(m: Measured) -> Html:
    """The parts and networks, the settings, the data, and the command that makes the same run again."""
    run, meta = m.run, m.run.meta
    rows = [
        (joined((name, " ", element("span", role, class_="soft"))), _part(part), f"{_size(part):,}")
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
        table(("part", "what it is", "parameters"), rows, caption="The parts"),
        element("h3", "Data"),
        _data(m),
        element("h3", "Training"),
        paragraph(f"{stopped}{kept}".strip()) if stopped or kept else None,
        paragraph(f"Settings: {settings}.") if settings else None,
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
    return joined((element("code", _constructed(part)), below))


def _constructed(module: nn.Module) -> str:
    name = type(module).__name__
    if not isinstance(module, Part):
        return f"{name}({module.extra_repr()})"
    inner = [_constructed(v) for v in module.arguments().values() if isinstance(v, nn.Module)]
    plain = module.extra_repr()
    # the network of a part of a model has a place of its own
    return f"{name}({', '.join([*inner, plain]) if not hasattr(module, 'network') or not inner else plain})"


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
        elif value is not False:
            shown = Path(value).name if name in ("validation", "labels") and isinstance(value, str) else str(value)
            words += [f"--{name.replace('_', '-')}", shown]
    return shlex.join(words)


def training(m: Measured) -> str:
    """Return what the training curves show, and in which units."""
    history: Any = m.run.history
    shift = m.run.schema.log_det(density=True).item()
    likelihood = getattr(m.run.model, "likelihood", None)
    moved = "" if getattr(likelihood, "discrete", True) or shift == 0 or not m.bounded else (
        f" They are in the model's standardised units; add {shift:,.2f} for those of the data."
    )  # fmt: skip
    kept = (
        " The weights that were kept are those of the best validation bound."
        if m.run.meta.get("best", {}).get("elbo")
        else ""
    )
    return f"{len(history.records)} reports during training, nats per row.{moved}{kept}"


def meaning(m: Measured) -> Html:
    """What the numbers mean, and where they come from."""
    paper = m.run.meta.get("paper")
    source = KINGMA if paper is None or paper.startswith("Kingma & Welling 2013") else f"{KINGMA}; {paper}"
    return joined(
        (
            paragraph(
                "The model says how a row x comes about: a code z is drawn from the prior p(z), then x from p(x | z). "
                "The posterior q(z | x) guesses the code of a given row. For every q,"
            ),
            paragraph(element("code", "log p(x) ≥ ELBO = E_q[log p(x | z)] - KL(q(z | x) || p(z))", class_="command")),
            paragraph(
                "The first term asks that codes give their rows back, the second charges for what a code says beyond "
                "the prior. What the bound misses is KL(q(z | x) || p(z | x)); many draws, weighted by how well they "
                "explain the row, close most of that gap: the log evidence."
            ),
            paragraph(
                "One nat is 1.44 bits. A difference of 1 nat per row makes the rows e = 2.7 times as probable, each. "
                "For real numbers p(x) is a density, so its size depends on the units and may exceed 1: compare models "
                "of the same columns in the same units. For counted values it is a probability."
            ),
            paragraph(
                "Every figure is at beta = 1, whatever the objective was: a mean over rows, ± its standard error."
            ),
            element("p", f"Source: {source}.", class_="soft"),
        )
    )
