"""Which package may import what: the arrows of ARCHITECTURE.md, read off the syntax trees.

pallas_kernels <- silverjax <- training, serving <- experiments
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ARROWS = {
    "pallas_kernels": set[str](),
    "silverjax": {"pallas_kernels"},
    "training": {"pallas_kernels", "silverjax"},
    "serving": {"pallas_kernels", "silverjax"},
    "experiments": {"pallas_kernels", "silverjax", "training", "serving"},
}
MAY_IMPORT_EVERYTHING = {"silverjax/cli.py"}

# Libraries that belong to some packages only.
HTTP = ("aiohttp", "grpc", "h11", "httptools", "httpx", "requests", "starlette", "uvicorn")
PICKLES = ("cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve")
HOMES: dict[str, set[str]] = {
    "optax": {"training", "experiments"},
    **{name: {"serving"} for name in HTTP},
    # One study runs the stages as separate services, to compare with.
    "grpc": {"serving", "experiments"},
    # Loading a pickle runs code; nothing here reads or writes one.
    **{name: set() for name in PICKLES},
}
# The kernels are useful to people who want none of the rest.
KERNELS_MAY_IMPORT = {
    "pallas_kernels",
    "jax",
    "jaxlib",
    "jaxtyping",
    "numpy",
    "jax_triton",
    "triton",
}

LONGEST_FILE = 300


def violations(root: Path) -> list[str]:
    """Every breach of the rules below `root`, as "file:line: what"."""
    found = []
    for package in ARROWS:
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            source = path.read_text()
            tree = ast.parse(source, name)
            if name not in MAY_IMPORT_EVERYTHING:
                for line, module in imports(tree, name, root):
                    if complaint := breach(package, module):
                        found.append(f"{name}:{line}: {complaint}")
            found += [f"{name}:{line}: {what}" for line, what in pickles(tree)]
            length = len(source.splitlines())
            if package != "pallas_kernels" and length > LONGEST_FILE:
                found.append(f"{name}:{length}: longer than {LONGEST_FILE} lines; split it")
    return found


def imports(tree: ast.AST, name: str, root: Path) -> Iterator[tuple[int, str]]:
    """Modules that a file imports, at any depth of nesting, also only for type checkers."""
    here = Path(name).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:  # `from package import module` imports the module
                path = root.joinpath(*module.split("."), alias.name)
                is_module = path.is_dir() or path.with_suffix(".py").exists()
                yield node.lineno, f"{module}.{alias.name}" if is_module else module


def breach(package: str, module: str) -> str | None:
    """Why `package` may not import `module`, if it may not."""
    top, *below = module.split(".")
    if top in ARROWS and top != package and top not in ARROWS[package]:
        return f"{package} may not import {top}"
    if package not in HOMES.get(top, {package}):
        return f"{top} belongs to {' and '.join(sorted(HOMES[top])) or 'no package'}"
    open_to_all = ("api", "arg_specs") if package == "experiments" else ("api",)
    if top == "pallas_kernels" != package and len(below) > 1 and below[1] not in open_to_all:
        return f"{module} is behind the op's api; import pallas_kernels.{below[0]} or its api"
    if package == "pallas_kernels" and top not in KERNELS_MAY_IMPORT | sys.stdlib_module_names:
        return f"pallas_kernels may import {', '.join(sorted(KERNELS_MAY_IMPORT))}, not {top}"
    return None


def pickles(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Calls that read pickles without an import of the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "allow_pickle" and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                ):
                    yield node.lineno, "allow_pickle must be False"
            if isinstance(node.func, ast.Attribute) and node.func.attr == "read_pickle":
                yield node.lineno, "reads a pickle"
