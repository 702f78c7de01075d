"""Who may import what: one table of packages, read against the code's syntax trees."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent

# A package may import those above it and itself, so that there is no circle of packages; beside
# it stands which of the three heavy libraries it may import. Imports within functions count;
# those for type checkers alone do not.
TABLE: dict[str, set[str]] = {
    "data": set(),
    "protocol": set(),
    "serving": {"mlflow"},  # within a function, where a served model answers MLflow
    "models": {"torch"},
    "trials": set(),
    "study": {"optuna"},
    "tracking": {"mlflow"},
    "report": {"optuna"},
    "commands": {"optuna", "mlflow", "torch"},
}
ORDER = list(TABLE)
HEAVY = {"torch", "mlflow", "optuna", "pandas", "numba", "scipy", "pyarrow", "numpy"}


def files_of(package: str) -> list[Path]:
    return sorted((PROJECT / "ncf" / package).rglob("*.py"))


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def walk(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not is_for_type_checkers(child):
            yield from walk(child)


def imported_by(path: Path) -> set[str]:
    """Returns the dotted names that a file imports, in functions as well."""
    names: set[str] = set()
    for node in walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # serving alone, of which registered models have copies
                assert (node.level, path.parent.name) == (1, "serving"), path
                module = f"ncf.serving.{node.module or ''}".rstrip(".")
                names |= {f"{module}.{alias.name}" for alias in node.names}
            elif str(node.module).startswith("ncf"):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif node.module != "__future__":
                names.add(str(node.module))
    return names


def module_of(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_the_table_has_every_package() -> None:
    folders = {path.parent.name for path in (PROJECT / "ncf").glob("*/__init__.py")}
    assert folders == set(TABLE)


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_those_above_it(package: str) -> None:
    allowed = {*ORDER[: ORDER.index(package) + 1], "redaction"}
    for path in files_of(package):
        found = {name.split(".")[1] for name in imported_by(path) if name.startswith("ncf.")}
        assert found <= allowed, path


@pytest.mark.parametrize("package", ORDER)
def test_heavy_libraries_are_imported_where_the_table_says(package: str) -> None:
    for path in files_of(package):
        tops = {name.split(".")[0] for name in imported_by(path)}
        assert tops & {"optuna", "mlflow", "torch"} <= TABLE[package], path


def test_serving_runs_from_a_copy_under_any_name() -> None:
    """A registered model has one; absolute names of this package would not be found there."""
    for path in files_of("serving"):
        for node in walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", [])]
            names += [str(getattr(node, "module", ""))] if not getattr(node, "level", 0) else []
            assert not any(name.split(".")[0] == "ncf" for name in names), path


def test_no_two_files_import_each_other() -> None:
    files = {module_of(path): path for path in (PROJECT / "ncf").rglob("*.py")}
    imports = {
        name: {
            part
            for found in imported_by(path)
            for part in (found, found.rpartition(".")[0])
            if part in files and part != name
        }
        for name, path in files.items()
    }
    done: set[str] = set()
    while ready := {name for name in imports if name not in done and imports[name] <= done}:
        done |= ready
    assert set(imports) - done == set()


def test_nothing_in_the_package_imports_its_users() -> None:
    tops = {name.split(".")[0] for name in set().union(*map(imported_by, files_of("")))}
    assert not tops & {"experiments", "search", "tests"}


def test_the_reader_of_imports_sees_them() -> None:
    assert "torch" in imported_by(PROJECT / "ncf/models/training.py")  # in a function
    experiment = imported_by(PROJECT / "ncf/study/experiment.py")
    assert not {name.split(".")[0] for name in experiment} & {"optuna"}  # for type checkers


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in files_of("")}
    assert {path: n for path, n in lengths.items() if n > 250} == {}


def loaded_by(*arguments: str) -> set[str]:
    """Returns the modules that a run of Python loads."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip() for line in lines}


@pytest.mark.parametrize(
    "arguments", [("search.py", "--help"), ("-m", "ncf", "--help")], ids=" ".join
)
def test_help_is_quick_since_it_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(*arguments)
    assert len(loaded) > 10
    assert not loaded & HEAVY


def test_a_trial_loads_neither_optuna_nor_mlflow_nor_symbolic_algebra() -> None:
    """Parts of torch load sympy, which takes each worker two thirds of a second."""
    loaded = loaded_by(
        "-c",
        "import ncf.trials.local, ncf.trials.trial, ncf.models.gmf.module, ncf.models.minibatches",
    )
    assert {"torch", "ncf.models.gmf.module"} <= loaded
    assert not loaded & {"sympy", "optuna", "mlflow", "pooch", "pyarrow"}


# One process imports these by turns, and tells all that it has loaded after each.
STEPS = (
    "ncf",
    "ncf.serving.packaged",
    "ncf.trials.messages, ncf.trials.local",
    "ncf.commands.facts",
    "ncf.trials.trial, ncf.models.gmf.fit",
    "ncf.commands.search",
    "ncf.commands.study, optuna.importance",
)
PROGRAM = """import json, sys
for step in sys.argv[1:]:
    exec(f"import {step}")
    print(json.dumps([*sys.modules]))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """All that is loaded after each of the steps."""
    command = [sys.executable, "-c", PROGRAM, *STEPS]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return dict(zip(STEPS, map(set, map(json.loads, result.stdout.splitlines())), strict=True))


def test_the_package_loads_nothing_heavy(loaded: dict[str, set[str]]) -> None:
    assert not loaded["ncf"] & HEAVY


def test_messages_are_cheap(loaded: dict[str, set[str]]) -> None:
    after = loaded["ncf.trials.messages, ncf.trials.local"]
    assert "ncf.trials.local" in after
    assert not after & (HEAVY - {"numpy"})


def test_the_facts_of_a_data_set_need_no_compiled_code(loaded: dict[str, set[str]]) -> None:
    """Numba takes half a second, and `data` is to answer within one."""
    assert not loaded["ncf.commands.facts"] & {"numba", "scipy", "optuna", "mlflow", "torch"}


def test_a_worker_begins_without_torch(loaded: dict[str, set[str]]) -> None:
    """The compiled loop from a spectral start needs none, and torch takes a worker seconds."""
    after = loaded["ncf.trials.trial, ncf.models.gmf.fit"]
    assert "numba" in after
    assert "torch" not in after


def test_a_server_of_a_model_loads_little(loaded: dict[str, set[str]]) -> None:
    after = loaded["ncf.serving.packaged"]
    assert not after & (HEAVY - {"numpy"})
    others = {name for name in after if name.startswith("ncf.")}
    assert {name for name in others if not name.startswith("ncf.serving")} == set()


def test_the_coordinator_begins_without_mlflow_and_never_needs_torch(
    loaded: dict[str, set[str]],
) -> None:
    """Each takes seconds: MLflow loads while the workers start."""
    assert "mlflow" not in loaded["ncf.commands.search"]
    whole = loaded[STEPS[-1]]
    assert {"ncf.commands.search", "ncf.study.verdict", "mlflow", "sklearn"} <= whole
    assert "torch" not in whole
