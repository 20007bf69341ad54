"""Settings of the site: ``sphinx-build -W docs build/site``. Nothing is fetched, then or later."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "docs" / "_ext"), str(ROOT)]
os.environ.setdefault("COLUMNS", "100")  # the width of what the examples print

import pyro_mfcvae  # noqa: E402

project = "pyro_mfcvae"
author = copyright = "The pyro_mfcvae authors"
version = release = pyro_mfcvae.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_gallery.gen_gallery",
    "docstrings",
    "mathml",
    "registries",
    "repository",
]
exclude_patterns = ["_ext"]
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!pyro_mfcvae\.).*"),  # of other packages nothing is known offline
    (r"py:obj", r".*\.(T|P|Result)"),  # type variables
]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "html_image"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
add_module_names = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/(?!penguins)\w+\.py$",  # which takes a minute
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "within_subsection_order": "ExampleTitleSortKey",
}

templates_path = ["_templates"]
highlight_language = "none"
smartquotes = False  # two dashes are an option
autosummary_ignore_module_all = False

html_theme = "furo"
html_title = "pyro_mfcvae"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
