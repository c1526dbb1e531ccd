"""The sections of a report in their order, as a page that stands alone or as part of a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from .. import __version__
from . import charts, images, latent, making, tables, words
from .markup import Html, element, joined, paragraph, picture
from .measure import Measured, Seen, measure

if TYPE_CHECKING:
    from ..run import Run

# nothing is fetched and nothing runs, whatever stands in the data
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Section:
    """A titled part of a report."""

    name: str
    title: str
    body: Html


def page(run: Run, source: Any = None) -> str:
    """Return the report of a run as one HTML document: no network, no script; the same run gives the same bytes.

    The rows are those of `source`, else the run's test, validation or training part, at most 1,000 drawn at random.
    """
    m = measure(run, source)
    shown = sections(m)
    links = (element("a", section.title, href=f"#{section.name}") for section in shown)
    title = f"{run.schema.name}: {run.meta.get('recipe', 'model')}"
    body = element(
        "main",
        element("h1", title),
        element("p", words.lead(m), class_="lead"),
        element("nav", *links, aria_label="Sections"),
        *(element("section", element("h2", s.title, id=s.name), s.body, aria_labelledby=s.name) for s in shown),
        element("p", f"Made by vaelab {__version__}.", class_="soft"),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        style(),
        element("style", Html("body{margin:0}")),
    )
    return "<!DOCTYPE html>\n" + element("html", head, element("body", body, class_="vaelab"), lang="en") + "\n"


def fragment(run: Run) -> str:
    """Return the same content for a notebook: figures and findings open, the other sections folded; no ids."""
    m = measure(run)
    first, second, *rest = sections(m)
    folded = (element("details", element("summary", section.title), section.body) for section in rest)
    title = f"{run.schema.name}: {run.meta.get('recipe', 'model')}"
    body = (element("h1", title), paragraph(words.lead(m)), first.body, second.body, *folded)
    return element("div", style(), *body, class_="vaelab part")


def style() -> Html:
    """Return the style sheet as an element."""
    return element("style", Html(resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")))


def sections(m: Measured) -> list[Section]:
    """Return what there is to say, in its order; sections without anything to show are left out."""
    seen, kind = m.seen, images if m.run.schema.layout == "image" else tables
    made = [
        ("figures", "Figures", words.no_rows(m) if seen is None else words.figures(seen)),
        ("findings", "Findings", words.findings(m)),
        ("model", "Model", making.model(m)),
        ("training", "Training", _training(m)),
        ("bound", "The bound and its parts", None if seen is None else _bound(seen)),
        ("rows", "Inputs, reconstructions, new rows", kind.samples(m)),
        ("unusual", "Unusual rows", None if seen is None else _unusual(m, seen)),
        ("latents", "Latent space", latent.latents(m)),
        ("meaning", "What the numbers mean", words.meaning(m)),
        ("papers", "Papers", words.papers(m)),
    ]
    return [Section(name, title, body) for name, title, body in made if body]


def _training(m: Measured) -> Html | None:
    history = m.run.history
    if history is None or not history.records:
        return None
    records, best = history.records, history.best
    judged = [r for r in records if r.get("bound") is not None]
    last = f"; best validation {best['bound']:,.2f} at epoch {best['epoch']}" if best and best.get("bound") else ""
    alt = f"Line chart of the training objective against {records[-1]['epoch']} epochs{last}"
    first = charts.training(records, best if judged else None, m.bounded)
    caption = f"Training objective and validation {'bound' if m.bounded else 'log p(x | z)'}."
    out = [picture(first, alt, caption, kind="svg+xml", class_="chart")]
    if judged and m.bounded:
        alt = "Two line charts of distortion and rate on the validation rows against epochs"
        second = charts.rate_distortion(judged)
        caption = "The two parts of the validation bound: it is minus their sum."
        out.append(picture(second, alt, caption, kind="svg+xml", class_="chart"))
    return joined((paragraph(making.training(m)), element("div", *out, class_="side")))


def _bound(seen: Seen) -> Html:
    judged = seen.judged
    split = None
    if judged.elbo is not None and judged.kl is not None and judged.log_evidence is not None:
        alt = (
            f"Reconstruction {judged.reconstruction}, minus KL {judged.kl}, is the ELBO {judged.elbo}; "
            f"log evidence {judged.log_evidence}"
        )
        caption = "Blue: the KL, between the ELBO and the reconstruction. Purple: what weighted draws win back."
        split = picture(charts.bound_split(judged), alt, caption, kind="svg+xml", class_="chart")
    return element("div", split, latent.kl_per_dimension(seen), class_="side")


def _unusual(m: Measured, seen: Seen) -> Html:
    kind = images if m.run.schema.layout == "image" else tables
    bound = "log p(x), by its importance-weighted bound" if m.bounded else "log p(x | z) at their codes"
    said = (
        f"Rows ordered by {bound}, with the same {seen.score_draws} draws for every row. One that the model finds "
        "improbable may be a fault in the data, a rare kind, or something that the model has not learned."
    )
    return joined((paragraph(said), kind.extremes(m, seen)))
