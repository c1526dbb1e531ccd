"""No line of the package unpickles, evaluates or imports what a file says; a scan of its syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import vaelab

SOURCE = Path(vaelab.__file__).parent
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "joblib",
    "cloudpickle",
    "dill",
    "marshal",
    "shelve",
    "yaml",
    "runpy",
    "code",
}
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "os.system", "os.popen"}
# readers that unpickle, in whatever module they are found: torch.load, jit.load, pd.read_pickle, joblib.load
READERS = {"load", "loads", "read_pickle", "load_module", "exec_module", "spec_from_file_location", "unpickle"}
SAFE = {"json.loads", "json.load", "tomllib.load", "tomllib.loads", "safetensors.torch.load", "files.load", "load"}
# the names that are imported by name, all of them written in the package itself: the public names, loaded when used
IMPORTS_BY_NAME = {
    ("__init__.py", "import_module(f'.{name}', __name__)"),
    ("__init__.py", "import_module(f'.{_HOME[name]}', __name__)"),
}


def nodes() -> Iterator[tuple[str, ast.AST]]:
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            yield str(file.relative_to(SOURCE)), node


def offences(name: str, node: ast.AST) -> Iterator[str]:
    """Yield what a node does that no module of this package may do."""
    if isinstance(node, ast.Import):
        yield from (f"{name} imports {a.name}" for a in node.names if a.name.partition(".")[0] in MODULES)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        if (node.module or "").partition(".")[0] in MODULES:
            yield f"{name} imports from {node.module}"
        yield from (f"{name} imports {a.name}" for a in node.names if a.name in READERS | {"system", "popen"})
    elif isinstance(node, ast.Call):
        call = ast.unparse(node.func)
        last = call.rpartition(".")[2]
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if call in CALLS:
            yield f"{name} calls {call}"
        elif call in ("np.load", "numpy.load"):
            if given.get("allow_pickle") != "False":
                yield f"{name} calls {ast.unparse(node)} without allow_pickle=False"
        elif given.get("allow_pickle", "False") != "False":
            yield f"{name} calls {ast.unparse(node)}, which may pickle"
        elif last in READERS and call not in SAFE:
            yield f"{name} calls {call}"
        elif last in ("import_module", "import_from_string", "locate", "resolve_name"):
            if (name, ast.unparse(node)) not in IMPORTS_BY_NAME:
                yield f"{name} imports by a name: {ast.unparse(node)}"
        elif any(keyword.arg == "shell" for keyword in node.keywords):
            yield f"{name} runs a shell"


def test_nothing_runs_what_a_file_says() -> None:
    assert not [offence for name, node in nodes() for offence in offences(name, node)]


def test_every_import_by_name_is_still_there() -> None:
    calls = {(name, ast.unparse(node)) for name, node in nodes() if isinstance(node, ast.Call)}
    assert calls >= IMPORTS_BY_NAME, "take what is gone from the list"


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import yaml",
        "from joblib import load",
        "from os import system",
        "eval(text)",
        "exec(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "torch.jit.load(path)",
        "joblib.load(path)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.savez(path, allow_pickle=True, x=x)",
        "pd.read_pickle(path)",
        "yaml.load(text)",
        "import_module(tree['part'])",
        "importlib.import_module(name)",
        "__import__(name)",
        "os.system(command)",
        "subprocess.run(command, shell=True)",
    ],
)
def test_the_scan_sees(line: str) -> None:
    assert [offence for node in ast.walk(ast.parse(line)) for offence in offences("x.py", node)]


def test_the_classes_of_a_file_come_from_the_registry_alone() -> None:
    """`Decoder` calls a class only where it was looked up in the registry, or handed in by the user."""
    tree = ast.parse((SOURCE / "files" / "build.py").read_text())
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    lookups = [ast.unparse(node) for node in assigned if ast.unparse(node.targets[0]) == "cls"]
    assert lookups == ["cls = self.registry.get(name) if kind == 'part' else self._handed(name, path)"]
    calls = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [call for call in calls if call.startswith("getattr(")]
    assert named == ["getattr(func, '__name__', '')"], "no attribute is looked up by a name from a file"
