"""Holds the house to its own rules: those that no linter knows."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateway.dialects
from gateway.app import plugins
from gateway.values import Denial, Reason

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "gateway").rglob("*.py"))
TREES = {path: ast.parse(path.read_bytes()) for path in SOURCES}

PICTURE = ROOT / "gateway" / "admin" / "picture.py"

FOLDERS = {"gateway", "config", "tests", "deploy", "helm"}
"""All top-level folders there may be; `.ci` is hidden."""

WITHOUT_MIRROR = {
    "gateway/__main__.py": "one line, run as a process in tests/functional",
    "gateway/admin/promises.py": "promises only; tests/admin/doubles.py keeps them",
    "gateway/wire/heads.py": "data only; tests/wire/test_message.py reads heads into it",
    "gateway/wire/states.py": "data only; tests/wire/test_several_targets.py reads it",
    "gateway/ports.py": "promises only; tests/contracts holds every keeper to them",
    "gateway/workers/__main__.py": "a command line, run as a process in tests/functional",
    "gateway/verifiers/__init__.py": "one type, tried by the tests of each verifier",
}
"""Files that have no test file of their own, and why."""

LINES = 460
"""Beyond so many a file is more than one idea."""

LONG = {
    "gateway/ports.py": "promises only, each read by itself; most of it is docstrings",
    "gateway/wire/downstream.py": "one state machine: the turns, answers and endings of a client",
}
"""Files that are longer, and why."""


def named(path: Path) -> str:
    """Give a file's name as people write it."""
    return path.relative_to(ROOT).as_posix()


def mirror(path: Path) -> Path:
    """Give the test file that belongs to a source file."""
    inside = path.relative_to(ROOT / "gateway")
    if inside.parts[0] == "values":
        # One vocabulary, whose members promise the same.
        return ROOT / "tests" / "test_values.py"
    return ROOT / "tests" / inside.with_name(f"test_{inside.name}")


def is_only_a_docstring(path: Path) -> bool:
    """Tell whether there is nothing in a file to be tested."""
    return len(TREES[path].body) == 1


def calls(tree: ast.AST) -> Iterator[str]:
    """Give what is called in a file, by its last name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr


def imports(tree: ast.AST) -> Iterator[str]:
    """Give the modules that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_every_file_says_what_it_is_for(path):
    """The first thing a reader sees."""
    assert ast.get_docstring(TREES[path])


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_every_file_has_its_mirror(path):
    """`gateway/x/y.py` is tested by `tests/x/test_y.py`, or there is a reason."""
    exempt = named(path) in WITHOUT_MIRROR or is_only_a_docstring(path)

    # A reason that is none any more is struck off the list.
    assert exempt != mirror(path).exists()


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_no_file_is_longer_than_one_idea(path):
    """STYLE §4: small files, or a reason, which is struck off once it is none."""
    lines = len(path.read_text().splitlines())

    assert (named(path) in LONG) == (lines > LINES)


def test_exceptions_are_about_files_that_exist():
    """The lists do not outlive what they excuse."""
    assert set(WITHOUT_MIRROR) | set(LONG) <= set(map(named, SOURCES))


def test_only_the_policy_makes_a_permit():
    """Nothing else can let a request through."""
    makers = [named(path) for path in SOURCES if "Permit" in calls(TREES[path])]

    assert ["gateway/rules/policy.py"] == makers


def test_only_dialects_word_a_denial():
    """A refusal's status and body come from a dialect's table, or a preflight's."""
    makers = [named(path) for path in SOURCES if "Answer" in calls(TREES[path])]

    assert [
        "gateway/dialects/rfc6750.py",
        "gateway/rules/cors.py",
        "gateway/rules/logout_tokens.py",
        "gateway/rules/options.py",
        "gateway/rules/resources.py",
    ] == makers


def test_only_observe_logs():
    """The rest returns or raises (STYLE §4, rule 23)."""
    loggers = {
        path.relative_to(ROOT).parts[1]
        for path in SOURCES
        if "logging" in imports(TREES[path]) or "getLogger" in calls(TREES[path])
    }

    assert {"observe"} == loggers


def test_only_tasks_makes_tasks():
    """The loop keeps weak references: a task nobody holds may vanish."""
    makers = [named(path) for path in SOURCES if "create_task" in calls(TREES[path])]

    assert ["gateway/tasks.py"] == makers


def test_only_the_app_asks_the_system_for_the_time():
    """Everybody else takes `now`, or a clock."""
    askers = [
        named(path)
        for path in SOURCES
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) == ("time", "time")
    ]

    assert ["gateway/app.py"] == askers


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_no_assertion_decides_what_a_client_hears(path):
    """`python -O` takes assertions out; the one there is tells mypy a fact."""
    asserted = sum(isinstance(node, ast.Assert) for node in ast.walk(TREES[path]))

    assert asserted == (1 if named(path) == "gateway/fronts/visit.py" else 0)


DIALECTS = plugins(gateway.dialects)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_reason_has_its_words_in_every_dialect(dialect, reason):
    """A refusal without words would be a 500."""
    answer = DIALECTS[dialect].answer(Denial(reason=reason))
    headers = {name.lower(): value for name, value in answer.headers}

    assert 400 <= answer.status <= 599
    assert answer.body
    assert b"no-store" == headers[b"cache-control"]
    assert (b"retry-after" in headers) == (answer.status in (429, 503))


def test_an_outage_is_never_told_as_a_refused_token():
    """Mobile clients throw good tokens away on a 401."""
    told = {
        DIALECTS[dialect].answer(Denial(reason=Reason.PROVIDER_UNAVAILABLE)).status
        for dialect in DIALECTS
    }

    assert {503} == told


def ignored_folders() -> set[str]:
    """Give the folders that the repository does not keep."""
    lines = (ROOT / ".gitignore").read_text().splitlines()
    return {line.removesuffix("/") for line in lines if line.endswith("/")}


def test_no_folder_stands_beside_the_agreed_ones():
    """The layout is the user's."""
    ignored = ignored_folders()
    found = {
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and path.name not in ignored and path.suffix != ".egg-info"
    }

    assert found <= FOLDERS | {".git", ".ci"}


# ---------------------------------------------------------------------- compiled


def compiled() -> set[Path]:
    """Give the files that a compiled wheel has as C."""
    for node in ast.parse((ROOT / "hatch_build.py").read_bytes()).body:
        if isinstance(node, ast.Assign) and "COMPILED" == ast.unparse(node.targets[0]):
            return {ROOT / "gateway" / name for name in ast.literal_eval(node.value)}
    raise AssertionError("hatch_build.py has no COMPILED")


def classes(path: Path) -> Iterator[ast.ClassDef]:
    """Give the classes of a file."""
    yield from (
        node for node in ast.walk(TREES[path]) if isinstance(node, ast.ClassDef)
    )


def test_no_class_that_is_not_compiled_has_a_compiled_base():
    """The compiled wheel would not start: `TypeError`, with its first use."""
    native = {each.name for path in compiled() for each in classes(path)}

    assert not [
        f"{named(path)}: {each.name}"
        for path in {*SOURCES} - compiled()
        for each in classes(path)
        if native & {ast.unparse(base).rpartition(".")[2] for base in each.bases}
    ]


def test_what_passes_between_processes_is_not_compiled():
    """Mypyc leaves `tuple[X, ...]` no X: what is read back would be dicts."""
    native = {each.name for path in compiled() for each in classes(path)}
    told = {
        node.id
        for path in (*ROOT.glob("gateway/workers/*.py"), PICTURE)
        for each in classes(path)
        for member in each.body
        if isinstance(member, ast.AnnAssign)
        for node in ast.walk(member.annotation)
        if isinstance(node, ast.Name)
    }

    assert told
    assert not native & told
