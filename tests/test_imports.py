"""Who may import what: one table, bottom up, read against the code's syntax trees."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent

# A module may import the modules above it, so that there are no circles, and of other packages
# those in its row. Imports within functions count; those for type checkers alone do not.
TABLE: dict[str, set[str]] = {
    "redaction": set(),
    "experiment": set(),
    "disk": set(),
    "seeds": {"numpy"},
    "metrics": {"numpy"},
    "pruning": {"numpy"},
    "intervals": {"numpy"},
    "prefetch": {"llvmlite", "numba"},
    "sampling": {"numba", "numpy"},
    "sgd": {"numba", "numpy"},
    "scoring": {"numba", "numpy"},
    # data
    "interactions": {"numpy", "pandas"},
    "columns": {"numpy", "pandas", "pyarrow"},
    "delimited": {"pyarrow"},
    "ratings": {"numpy", "pandas", "pyarrow"},
    "movielens": {"platformdirs", "pooch"},
    "datasets": set(),
    "splitting": {"numpy"},
    "recency": {"numba", "numpy"},
    "spectral": {"numpy", "scipy"},
    "ready_made": {"numpy", "pyarrow"},
    "facts": {"numpy"},
    "baselines": {"implicit", "numpy", "scipy", "threadpoolctl"},
    "estimate": {"psutil"},
    # a trial: neither Optuna nor MLflow
    "evaluation": {"numpy"},
    "messages": {"numpy"},
    "gmf": {"numpy", "torch"},
    "training": {"numpy", "torch"},
    "trial": {"safetensors"},
    "workers": {"filelock", "torch", "tqdm"},
    "mirror": set(),
    # MLflow
    "description": set(),
    "views": set(),
    "recommender": {"mlflow", "numpy", "pandas", "safetensors"},
    "store": {"mlflow", "sqlalchemy"},
    "tracking": {"mlflow"},
    "models": {"mlflow", "numpy"},
    "registry": {"mlflow"},
    "versions": {"mlflow"},
    "comparison": {"mlflow", "numpy"},
    "listing": {"numba", "numpy", "pyarrow"},
    "tables": set(),
    # Optuna
    "proposals": {"optuna"},
    "journal": {"filelock", "optuna"},
    "study": {"optuna"},
    # the command
    "experiment_file": set(),
    "preparation": {"numpy"},
    "progress": {"optuna", "tqdm"},
    "terminal": {"optuna"},
    "contest": {"numpy", "optuna"},
    "winner": {"numpy", "safetensors"},
    "figures": {"optuna", "plotly"},
    "report": {"optuna", "plotly"},
    "publication": {"numpy", "optuna"},
    "conclusion": {"optuna"},
    "repetition": {"mlflow", "torch"},
    "command": {"optuna"},
    "__main__": set(),
    "__init__": set(),
}
ORDER = list(TABLE)
HEAVY = {"torch", "mlflow", "optuna", "pandas", "numba", "scipy", "pyarrow", "numpy"}


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def walk(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not is_for_type_checkers(child):
            yield from walk(child)


def imported_by(module: str) -> set[str]:
    """Returns the dotted names that a module of `ncf` imports, in functions as well."""
    names: set[str] = set()
    for node in walk(ast.parse((PROJECT / "ncf" / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports from a relative name"
            if node.module == "ncf":
                names |= {f"ncf.{alias.name}" for alias in node.names}
            elif node.module not in (None, "__future__"):
                names.add(str(node.module))
    return names


def modules_imported_by(module: str) -> set[str]:
    return {name.split(".")[1] for name in imported_by(module) if name.startswith("ncf.")}


def packages_imported_by(module: str) -> set[str]:
    tops = {name.split(".")[0] for name in imported_by(module)}
    return tops - sys.stdlib_module_names - {"ncf"}


def closure(*modules: str) -> set[str]:
    """Returns the modules that are imported in the end."""
    found: set[str] = set()
    waiting = [*modules]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += modules_imported_by(module)
    return found


def test_the_table_has_every_module() -> None:
    assert sorted(TABLE) == sorted(path.stem for path in (PROJECT / "ncf").glob("*.py"))


@pytest.mark.parametrize("module", ORDER)
def test_imports_point_up_the_table(module: str) -> None:
    above = ORDER[: ORDER.index(module)]
    assert modules_imported_by(module) <= set(above)


@pytest.mark.parametrize("module", ORDER)
def test_other_packages_are_those_of_the_table(module: str) -> None:
    assert packages_imported_by(module) <= TABLE[module]


@pytest.mark.parametrize("module", [name for name in ORDER if "mlflow" in TABLE[name]])
def test_the_store_sets_the_environment_before_mlflow_loads(module: str) -> None:
    for node in ast.parse((PROJECT / "ncf" / f"{module}.py").read_text(encoding="utf-8")).body:
        first = ast.unparse(node) if isinstance(node, ast.Import | ast.ImportFrom) else ""
        if "mlflow" in first:
            assert module == "store", f"{first}: import ncf.store above it"
            break
        if "ncf.store" in first:
            break


def test_nothing_in_the_package_imports_its_users() -> None:
    imported = set().union(*map(packages_imported_by, ORDER))
    assert not imported & {"experiments", "search", "tests"}


def test_a_trial_reaches_neither_optuna_nor_mlflow() -> None:
    reached = closure("workers", "trial")
    assert "training" in reached  # by way of a function of `workers`
    packages = set().union(*map(packages_imported_by, reached))
    assert "torch" in packages
    assert not packages & {"optuna", "mlflow", "pooch", "pyarrow"}


def test_the_reader_of_imports_sees_them() -> None:
    assert "torch" in packages_imported_by("workers")  # in a function
    assert "optuna" not in packages_imported_by("experiment")  # for type checkers
    assert {"journal", "messages"} <= modules_imported_by("study")  # `from ncf import journal`


def loaded_by(*arguments: str) -> set[str]:
    """Returns the modules that a run of Python loads."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip() for line in lines}


@pytest.mark.parametrize(
    "arguments",
    [("-c", "import ncf"), ("search.py", "--help"), ("-m", "ncf", "--help")],
    ids=" ".join,
)
def test_what_must_be_quick_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(*arguments)
    assert len(loaded) > 10
    assert not loaded & HEAVY


def test_a_trial_loads_no_symbolic_algebra() -> None:
    """Parts of torch do, which takes each worker two thirds of a second."""
    loaded = loaded_by("-c", "import ncf.trial, ncf.gmf; ncf.gmf.GMF(2, 3, 4)")
    assert {"torch", "ncf.gmf"} <= loaded
    assert "sympy" not in loaded


def test_a_server_of_a_model_loads_no_torch() -> None:
    loaded = loaded_by("-c", "import ncf.recommender")
    assert "ncf.recommender" in loaded
    assert not loaded & {"torch", "mlflow", "optuna", "numba"}


def test_the_coordinator_begins_without_mlflow_and_never_needs_torch() -> None:
    """Each takes seconds: in those of MLflow the workers start, and they have torch."""
    later = "import ncf.conclusion, ncf.report, optuna.importance"
    code = f"import sys, ncf.command; 'mlflow' in sys.modules and 1 / 0; {later}"
    loaded = loaded_by("-c", code)
    assert {"ncf.command", "ncf.winner", "mlflow", "sklearn"} <= loaded
    assert "torch" not in loaded


def test_messages_are_cheap() -> None:
    loaded = loaded_by("-c", "import ncf.messages, ncf.workers")
    assert "ncf.workers" in loaded
    assert not loaded & (HEAVY - {"numpy"})
