"""The rules that keep the code what it is. A list of exceptions gives each one's reason, and may only shrink."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import otel_llm_bridge
from otel_llm_bridge.settings import TABLE

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "otel_llm_bridge"
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py"))
TESTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py") if "semconv_data" not in path.parts)


@cache
def tree(file: str) -> ast.Module:
    """The syntax tree of a file of the repository."""
    return ast.parse((ROOT / file).read_text("utf-8"), file)


def imports(file: str) -> Iterator[tuple[str, bool]]:
    """``(absolute name of what is imported, whether that happens when the module is)``; not what is for types only."""
    package = Path(file).with_suffix("").parts[:-1]

    def walk(node: ast.AST, now: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, now) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = ".".join(package[: len(package) - child.level + 1]) if child.level else ""
                module = ".".join(filter(None, (base, child.module)))
                yield from ((f"{module}.{alias.name}", now) for alias in child.names)
            else:
                yield from walk(child, now and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    yield from walk(tree(file), True)


OURS = "otel_llm_bridge"
#: Who (by the beginning of the path) -> (who is not meant, what may not be imported, also inside functions, but for, why).
IMPORTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], bool, dict[str, str]]] = {
    f"{OURS}/ the core knows no LiteLLM": (
        (f"{OURS}/litellm/",), ("litellm.",), True, {},
    ),
    f"{OURS}/ the LiteLLM part comes lazily": ((f"{OURS}/litellm/",), (f"{OURS}.litellm.",), False, {}),
    f"{OURS}/ and only through one door": (
        (f"{OURS}/litellm/",), (f"{OURS}.litellm.",), True,
        {
            f"{OURS}/wiring.py": "the door",
            f"{OURS}/proxy.py": "the Proxy wants an object of a class of LiteLLM's",
            f"{OURS}/doctor/probe.py": "runs inside the examined program, and looks whether the table's functions are wrapped",
        },
    ),
    f"{OURS}/ nothing depends on the viewer": (
        (f"{OURS}/viewer/", f"{OURS}/commands/", f"{OURS}/doctor/"), (f"{OURS}.viewer.", f"{OURS}.commands.", f"{OURS}.doctor."), True, {},
    ),
    f"{OURS}/semconv/ is data": ((), (f"{OURS}.", "opentelemetry."), True, {}),
    f"{OURS}/ no tests, no benchmarks": ((), ("tests.", "benchmarks."), True, {}),
    f"{OURS}/export/ knows no calls": ((), (f"{OURS}.litellm.", f"{OURS}.callbacks.", f"{OURS}.invocation."), True, {}),
}  # fmt: skip


@pytest.mark.parametrize("rule", IMPORTS)
def test_imports(rule: str) -> None:
    """Each part imports only what it may, and every exception is still needed."""
    others, forbidden, inside, exceptions = IMPORTS[rule]
    start = rule.split(" ")[0]
    own = start.replace("/", ".")
    found = {
        (file, name)
        for file in MODULES
        if file.startswith(start) and not file.startswith(others or ("\0",))
        for name, now in imports(file)
        if (now or inside) and f"{name}.".startswith(forbidden) and not (own != f"{OURS}." and name.startswith(own))
    }
    assert {file: name for file, name in found if file not in exceptions} == {}
    assert exceptions.keys() - {file for file, _ in found} == set(), "no longer needed"


SIZE = 300


def test_sizes() -> None:
    """No module is longer than 300 lines."""
    lengths = {file: len((ROOT / file).read_text("utf-8").splitlines()) for file in MODULES}
    assert {file: length for file, length in lengths.items() if length > SIZE} == {}


def functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions directly in a module or class."""
    for child in getattr(node, "body", ()):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield child


#: Pairs that say the same, sync and async, and why that is right.
TWINS = {(f"{OURS}/drivers.py", "adrive"): "the one place where sync and async part ways"}


def _without_async(function: ast.AST) -> str:
    text = ast.unparse(ast.Module(function.body, []))  # type: ignore[attr-defined]
    return re.sub(r"\basync |\bawait |\ba(?=(?:enter|exit|iter|next)\b)|\ba_?(?=[a-z]+\()|Async", "", text)


@pytest.mark.parametrize("file", MODULES)
def test_no_twins(file: str) -> None:
    """No function is written down twice, once sync and once async, beyond a statement or two that delegate."""
    twins = []
    for scope in (node for node in ast.walk(tree(file)) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))):
        named = {function.name: function for function in functions(scope)}
        for name, function in named.items():
            other = next((named[sync] for sync in (name[1:], name.replace("async_", ""), name.replace("_a", "_", 1)) if sync != name and sync in named), None)
            size = sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1
            if isinstance(function, ast.AsyncFunctionDef) and other is not None and size > 4 and (file, name) not in TWINS:
                if _without_async(function) == _without_async(other):
                    twins.append(name)
    assert twins == []


@pytest.mark.parametrize("file", [file for file in MODULES if not file.startswith(f"{OURS}/semconv/")])
def test_names_are_in_the_tables(file: str) -> None:
    """No attribute name of the GenAI conventions stands outside ``semconv``, and no variable of ours outside the settings."""
    texts = {node.value for node in ast.walk(tree(file)) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    attributes = {text for text in texts if re.fullmatch(r"(gen_ai|openinference\.span)\.[a-z_]+[a-z_.]*", text)}
    assert attributes == set()
    allowed = {
        f"{OURS}/settings.py": set(texts),
        f"{OURS}/doctor/environment.py": {"OTEL_LLM_BRIDGE_"},
        f"{OURS}/commands/otel_env.py": {"OTEL_LLM_BRIDGE_DISABLED"},  # for the program that is started
        f"{OURS}/export/report.py": {"OTEL_LLM_BRIDGE_REPORT_URL"},  # from `run` to the program that it starts; no option
    }
    assert {text for text in texts if re.fullmatch(r"OTEL_LLM_BRIDGE_[A-Z_]*", text)} - allowed.get(file, set()) == set()


def public(module: Any) -> Iterator[tuple[str, Any]]:
    """The public functions and classes that ``module`` defines, and the public methods of those classes."""
    for name, found in vars(module).items():
        if name.startswith("_") or getattr(found, "__module__", None) != module.__name__:
            continue
        if (inspect.isfunction(found) or inspect.isclass(found)) and found.__name__ == name:  # not what a factory has made
            yield name, found
        if inspect.isclass(found):
            for method, function in vars(found).items():
                if not method.startswith("_") and (inspect.isfunction(function) or isinstance(function, property)):
                    yield f"{name}.{method}", getattr(found, method)


#: Run when they are imported, or need what is not installed for the tests.
NOT_IMPORTED = {f"{OURS}/commands/zero_code/sitecustomize.py"}


@pytest.mark.parametrize("file", [file for file in MODULES if file not in NOT_IMPORTED])
def test_docstrings(file: str) -> None:
    """Modules, public functions, classes and methods say what they do; a method may leave that to the one it overrides."""
    if (ROOT / file).stat().st_size == 0:
        return
    module = importlib.import_module(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    assert module.__doc__
    assert [name for name, found in public(module) if not inspect.getdoc(found)] == []


def test_public_api() -> None:
    """What ``__all__`` lists is there, has a docstring, and is on the manual's page of the API."""
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    for name in otel_llm_bridge.__all__:
        found = getattr(otel_llm_bridge, name)
        assert inspect.getdoc(found), name
        assert f"`{name}" in page, name
    assert sorted(otel_llm_bridge.__all__) == otel_llm_bridge.__all__
    assert (PACKAGE / "py.typed").exists()


def _named(node: ast.stmt) -> list[str]:
    """What a statement of a module defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


def test_every_name_is_used() -> None:
    """No function, class or constant of a module is there for nobody: each is named once more, in the code or in the manual."""
    text = "\n".join(
        path.read_text("utf-8")
        for folder, pattern in ((PACKAGE, "*.py"), (ROOT / "docs", "*.md"), (ROOT / "docs", "*.py"), (ROOT / "benchmarks", "*.py"), (ROOT / "deploy", "*"), (ROOT, "*.toml"))
        for path in folder.rglob(pattern)
        if path.is_file() and path.suffix in (".py", ".md", ".toml", ".yaml") and not {".venv", "_build"} & set(path.parts) and not any(part.startswith(".venv") for part in path.parts)
    )  # fmt: skip
    words: dict[str, int] = {}
    for word in re.findall(r"\w+", text):
        words[word] = words.get(word, 0) + 1
    defined = {(file, name) for file in MODULES for node in tree(file).body for name in _named(node) if not name.startswith(("__", "pytest_"))}
    used_by_tests = {
        (f"{OURS}/litellm/wrap_points.py", "ROUTER_EXCLUDED"),  # each name with its reason: the drift test reads it
    }
    assert {(file, name) for file, name in defined if words[name] < 2} == used_by_tests


#: Tests that sleep on purpose: what is tested is how something slow is waited for.
SLEEPS = {
    "tests/callbacks/test_dispatch.py": "slow callbacks",
    "tests/callbacks/test_loops.py": "slow callbacks at the end of loops",
    "tests/callbacks/test_points.py": "slow callbacks",
    "tests/callbacks/test_properties.py": "callbacks that never end, and a shuffled order",
    "tests/callbacks/test_rescue.py": "slow callbacks of LiteLLM's",
    "tests/spine/test_callbacks_told.py": "a slow callback",
    "tests/spine/test_context.py": "fifty calls in a shuffled order",
}


@pytest.mark.parametrize("file", TESTS)
def test_tests(file: str) -> None:
    """Every test has a docstring, and none sleeps in order to wait."""
    nodes = list(ast.walk(tree(file)))
    tests = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")]
    assert [test.name for test in tests if not ast.get_docstring(test)] == []
    sleeps = [
        node.lineno
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".sleep") and ast.unparse(node.args[0] if node.args else node) != "0"
    ]
    assert not sleeps or file in SLEEPS, sleeps


def test_settings_are_documented() -> None:
    """Every option has a row on the page of the settings, and every variable of ours that a page names exists."""
    pages = {path.name: path.read_text("utf-8") for path in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]}
    for row in TABLE:
        assert f"| `{row.name}` | `{row.variable}` |" in pages["settings.md"]
    known = {row.variable for row in TABLE} | {"OTEL_LLM_BRIDGE_STACK", "OTEL_LLM_BRIDGE_ENVIRONMENTS"}  # the last two are of the tests
    named = {(name, variable) for name, text in pages.items() for variable in re.findall(r"OTEL_LLM_BRIDGE_\w*\w", text)}
    assert {(name, variable) for name, variable in named if variable not in known} == set()


#: Written in pieces, so that this file does not name them.
FORBIDDEN = re.compile("|".join((
    r"(?<![\w.])/" + r"(?:home|Users)/\w+", r"(?<![\w./}])/" + r"(?:root|work)/\w", "py" + r"pi\.(?:org|io)", "pythonhosted" + r"\.org",
    "proxy" + r"\.golang\.org", "artifact" + "ory", "BEGIN [A-Z ]*PRIVATE" + " KEY-----\n",
)))  # fmt: skip


def test_no_traces_of_a_machine() -> None:
    """No committed file names somebody's folders, a package index or a key."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, timeout=30, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = {}
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        if path.suffix == ".png" or "/semconv_data/model/" in name or not path.is_file():  # the model is the conventions' text
            continue
        hits = {match[0] for match in FORBIDDEN.finditer(path.read_text("utf-8", errors="replace"))}
        if hits:
            found[name] = hits
    assert found == {}
