"""What a Python file imports, by its syntax."""

import ast
from functools import cache
from pathlib import Path

__all__ = ["imported"]


@cache
def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file, and every name that might be one."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names
