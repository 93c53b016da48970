"""The documentation site: `make docs`, into build/site.

The pages are the Markdown files as they lie in the repository (this folder and the top), so that
their relative links are the same here and on any host that shows them. `_toc.yml` has the
navigation; `api.md` takes the Python API from its docstrings.
"""

from importlib.metadata import version as version_of

project = "Sterna"
copyright = "the authors of Sterna, Apache-2.0"
version = release = version_of("sterna")

extensions = [
    "myst_parser",  # Markdown; it checks every link and anchor
    "sphinx_external_toc",  # the navigation in a file of its own, README as the first page
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # docstrings as NumPy's are
]
external_toc_path = "docs/_toc.yml"
include_patterns = ["*.md", "docs/*.md"]
exclude_patterns = [".*", "build"]

myst_heading_anchors = 4  # ids of headings, as on GitHub
myst_enable_extensions = ["colon_fence"]

default_role = "code"  # in docstrings one backtick is code
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True

html_theme = "furo"  # its fonts and scripts come with it: a page fetches nothing from elsewhere
html_title = f"Sterna {version}"
html_copy_source = html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
