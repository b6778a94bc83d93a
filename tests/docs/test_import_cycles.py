"""The import graph of the package, with the imports inside functions."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import lrtrack

ROOT = Path(lrtrack.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


class Imports(ast.NodeVisitor):
    """Collects the modules of the package that a file imports when it runs, now or later."""

    def __init__(self) -> None:
        self.modules: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        """Skip imports that only a type checker sees."""
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        """Add `import lrtrack.x`."""
        self.modules |= {alias.name for alias in node.names} & MODULES.keys()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Add the module `x` of `from lrtrack import x`, or else the module itself."""
        for alias in node.names:
            names = (f"{node.module}.{alias.name}", str(node.module))
            self.modules.update([name for name in names if name in MODULES][:1])


def imports_of(path: Path) -> set[str]:
    """The modules of the package that a file imports."""
    imports = Imports()
    imports.visit(ast.parse(path.read_text(encoding="utf-8")))
    return imports.modules


def test_no_import_cycle():
    """No module imports itself through others, whether at the top of a file or in a function."""
    graph = {module: imports_of(path) - {module} for module, path in MODULES.items()}

    assert len(graph) > 100
    assert graph["lrtrack.trackers.mlflow"] >= {"lrtrack.trackers.mlflow.reading"}
    assert list(graphlib.TopologicalSorter(graph).static_order())
