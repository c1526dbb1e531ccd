"""The layout of the package: data flows down this list, and a layer imports only from layers above it."""

from __future__ import annotations

import ast
from pathlib import Path

import vaelab

SOURCE = Path(vaelab.__file__).parent
LAYERS = (
    "errors",
    "memory",
    "shapes",
    "part",
    "noise",
    "durable",
    "lock",
    "signals",
    "conditional",
    "data",
    "networks",
    "distributions",
    "likelihoods",
    "posteriors",
    "priors",
    "refinements",
    "missingness",
    "models",
    "objectives",
    "files",
    "training",
    "evaluation",
    "use",
    "parts",
    "bibliography",
    "recipes",
    "options",
    "splits",
    "choices",
    "folder",
    "keeper",
    "pictures",
    "report",
    "run",
    "start",
    "plan",
    "planning",
    "fitting",
    "opening",
    "verbs",
    "estimator",
    "comparison_picture",
    "comparison",
    "experiments",
    "reproductions",
    "web",
    "study",
    "cli",
    "__main__",
)


def imported(file: Path) -> set[str]:
    """Return the layers that a file imports when it runs (imports for type checkers alone are left out)."""
    package = ["vaelab", *file.relative_to(SOURCE).parts[:-1]]
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = [*base, *(node.module or "").split(".")] if node.module else base
            names = [target] if len(target) > 1 and node.module else [[*target, alias.name] for alias in node.names]
            found.update(name[1] for name in names if len(name) > 1)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(file.read_text()))
    return found


def test_every_layer_imports_only_from_layers_above_it() -> None:
    wrong = []
    for file in sorted(SOURCE.rglob("*.py")):
        layer = file.relative_to(SOURCE).parts[0].removesuffix(".py")
        if layer == "__init__":
            continue
        assert layer in LAYERS, f"{layer} is in no layer: add it where data flow to it"
        for other in imported(file) - {layer, "__version__"}:
            if LAYERS.index(other) > LAYERS.index(layer):
                wrong.append(f"{file.relative_to(SOURCE)} imports {other}, which lies below it")
    assert not wrong, "\n".join(wrong)


def test_no_file_is_long() -> None:
    long = {str(f.relative_to(SOURCE)): n for f in SOURCE.rglob("*.py") if (n := len(f.read_text().splitlines())) > 400}
    assert not long


def test_public_names_are_sorted_and_exist() -> None:
    assert vaelab.__all__ == sorted(vaelab.__all__)
    for name in vaelab.__all__:
        assert getattr(vaelab, name) is not None
    for space in ("data", "distributions", "likelihoods", "models", "networks", "objectives", "posteriors", "priors"):
        module = __import__(f"vaelab.{space}", fromlist=["x"])
        assert sorted(module.__all__) == sorted(set(module.__all__)), space
        for name in module.__all__:
            assert getattr(module, name).__doc__, f"{space}.{name} says nothing of itself"


def test_the_concept_page_names_files_that_exist() -> None:
    root = Path(__file__).parents[1]
    text = (root / "docs" / "concepts.md").read_text()
    named = {w.strip("`") for w in text.split() if w.startswith("`src/") and w.rstrip(",.;)").endswith("`")}
    assert len(named) > 15
    missing = [name for name in (w.rstrip(",.;)`") for w in named) if not (root / name).exists()]
    assert not missing
