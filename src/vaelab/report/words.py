"""The sections of a report that are words and numbers: figures, findings, what it all means."""

from __future__ import annotations

import math

from ..bibliography import references
from ..data.words import count
from ..evaluation import Evaluation
from ..parts import kebab
from .markup import Html, element, joined, paragraph, table
from .measure import Measured, Seen


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


def meaning(m: Measured) -> Html:
    """What the numbers mean, and where they come from."""
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
        )
    )


def papers(m: Measured) -> Html:
    """Where the parts of this model, its training and its figures come from."""
    roles = ("prior", "posterior", "likelihood")
    made = {role: kebab(type(part).__name__) for role in roles if (part := getattr(m.run.model, role, None))}
    listed = references(m.run.meta.get("parts", made), m.run.meta.get("paper"))
    return element("ul", *(element("li", paper) for paper in listed))
