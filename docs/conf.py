"""The documentation site: `make docs`, into build/site.

The pages are the Markdown files as they lie in the repository (this folder and the top), so that
their relative links are the same here and on any host that shows them. `_toc.yml` has the
navigation; `api.md` takes the Python API from its docstrings.
"""

import re
from importlib.metadata import version as version_of
from typing import Any

import numpy.typing as npt
from sphinx.util.typing import stringify_annotation

project = "Sterna"
copyright = "the authors of Sterna, Apache-2.0"
version = release = version_of("sterna")

extensions = [
    "myst_parser",  # Markdown; it checks every link and anchor
    "sphinx_external_toc",  # the navigation in a file of its own, README as the first page
    "sphinx.ext.autodoc",
    "numpydoc",  # docstrings as NumPy's are
]
external_toc_path = "docs/_toc.yml"
include_patterns = ["*.md", "docs/*.md"]
exclude_patterns = [".*", "build"]

myst_heading_anchors = 4  # ids of headings, as on GitHub
myst_enable_extensions = ["colon_fence"]

default_role = "code"  # in docstrings one backtick is code
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False  # they are there, with their docstrings
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

ARRAY_LIKE = stringify_annotation(npt.ArrayLike, "smart")
NDARRAY = (
    r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], ~numpy\.dtype\[([^]]*(?:\[[^]]*\])?)\]\]"
)

html_theme = "furo"  # its fonts and scripts come with it: a page fetches nothing from elsewhere
html_title = f"Sterna {version}"
html_copy_source = html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}


def setup(app: Any) -> None:
    """NumPy's aliases by their names: what they stand for is long. What a default is made by is no
    expression, and would keep a signature from being read as one."""

    def named(app: Any, what: str, name: str, obj: Any, options: Any, *texts: str | None) -> Any:
        pairs = (ARRAY_LIKE, "ArrayLike"), ("<factory>", "{}")
        found = texts
        for long, short in pairs:
            found = [text and text.replace(long, short) for text in found]
        return tuple(text and re.sub(NDARRAY, r"NDArray[\1]", text) for text in found)

    app.connect("autodoc-process-signature", named)
