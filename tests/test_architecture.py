"""The import arrows hold, and `import silverjax` stays light."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import architecture

ROOT = Path(__file__).parents[1]


def test_project_keeps_its_rules() -> None:
    found = architecture.violations(ROOT)
    assert not found, "\n".join(found)


def test_every_package_is_there() -> None:
    for package in architecture.ARROWS:
        assert list((ROOT / package).rglob("*.py")), package


@pytest.mark.parametrize(
    ("name", "source", "complaint"),
    [
        ("pallas_kernels/a.py", "import silverjax", "pallas_kernels may not import silverjax"),
        ("pallas_kernels/a.py", "import flax", "pallas_kernels may import .*, not flax"),
        ("silverjax/a.py", "from training import x", "silverjax may not import training"),
        ("silverjax/a.py", "def f():\n import serving.app", "silverjax may not import serving"),
        ("silverjax/a.py", "from ..serving import app", "silverjax may not import serving"),
        ("silverjax/a.py", "import optax", "optax belongs to experiments and training"),
        ("silverjax/a.py", "from pallas_kernels.op import reference", "behind the op's api"),
        ("silverjax/a.py", "from pallas_kernels.op.reference import f", "behind the op's api"),
        ("training/a.py", "import serving", "training may not import serving"),
        ("training/a.py", "import starlette.routing", "starlette belongs to serving"),
        ("serving/a.py", "from training.loop import x", "serving may not import training"),
        ("serving/a.py", "from optax import adam", "optax belongs to"),
        ("serving/a.py", "if TYPE_CHECKING:\n from experiments import x", "may not import exp"),
        ("silverjax/a.py", "import pickle", "pickle belongs to no package"),
        ("experiments/a.py", "np.load(f, allow_pickle=True)", "allow_pickle must be False"),
        ("experiments/a.py", "pandas.read_pickle(f)", "reads a pickle"),
        ("serving/a.py", "x = 1\n" * 301, "longer than 300 lines"),
    ],
)
def test_checker_finds(tmp_path: Path, name: str, source: str, complaint: str) -> None:
    op = tmp_path / "pallas_kernels" / "op"
    op.mkdir(parents=True)
    (op / "reference.py").write_text("")
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    found = architecture.violations(tmp_path)
    assert len(found) == 1
    assert re.search(complaint, found[0])


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("silverjax/a.py", "from pallas_kernels.op import api, op, Plan"),
        ("silverjax/a.py", "from pallas_kernels.op.api import op"),
        ("silverjax/a.py", "import pallas_kernels.dispatch"),
        ("silverjax/a.py", "from silverjax.schema import Schema\nfrom . import b"),
        ("silverjax/cli.py", "import training, serving, experiments, optax"),
        ("training/a.py", "import optax, silverjax.snapshot"),
        ("serving/a.py", "import starlette, silverjax.snapshot\nnp.load(f, allow_pickle=False)"),
        ("experiments/a.py", "import training, serving, optax, grpc.aio"),
        ("pallas_kernels/a.py", "import functools, jax, numpy\nx = 1\n" + "y = 2\n" * 400),
    ],
)
def test_checker_lets_through(tmp_path: Path, name: str, source: str) -> None:
    op = tmp_path / "pallas_kernels" / "op"
    op.mkdir(parents=True)
    (op / "api.py").write_text("")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(source)
    assert architecture.violations(tmp_path) == []


@pytest.mark.parametrize("package", ["silverjax", "pallas_kernels", "training", "serving"])
def test_import_is_light_and_touches_no_device(package: str) -> None:
    """No time is asserted, since machines differ; what would take it must not be imported."""
    script = f"""
import sys
import {package}
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized(), "a device was touched"
heavy = {{"grain", "matplotlib", "optax", "orbax", "scipy.optimize", "tensorboardX",
         "tensorstore", "torch", "tyro", "implicit", "starlette"}}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, check=True)


def test_public_names_exist() -> None:
    import silverjax

    missing = [name for name in silverjax.__all__ if not hasattr(silverjax, name)]
    assert not missing
