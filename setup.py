"""Packaging. The command line lives in ``cli/`` and is installed as ``pyro_mfcvae.cli``."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "pyro_mfcvae/__init__.py").read_text())[1]
CITATION = (ROOT / "CITATION.cff").read_text()
REPOSITORY = "".join(re.findall(r'^repository-code: *"?([^"\s]+?)/?"?$', CITATION, re.M))
"""Its address; empty until it has one."""


def described(readme: str, repository: str) -> str:
    """The README for the page of a package index, which has no files beside it.

    Links and pictures lead to the repository. Without one links become plain text, and the picture
    goes.
    """
    if repository:
        readme = re.sub(r'(?<=src=")(?!https?:)', f"{repository}/raw/v{VERSION}/", readme)
        return re.sub(r"(?<=\]\()(?!https?:|#)", f"{repository}/blob/v{VERSION}/", readme)
    readme = re.sub(r"<img [^>]*>\n\n\*[^*]*\*\n\n", "", readme)
    return re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", readme)


EXTRAS = {
    "distributed": ["lightning-fabric>=2.5"],
    "docs": [
        "furo>=2024.8.6",
        "latex2mathml>=3.77",
        "myst-parser>=4",
        "pytest>=8",
        "sphinx>=8",
        "sphinx-click>=6",
        "sphinx-gallery>=0.18",
    ],
    "explore": ["starlette>=0.40", "uvicorn>=0.30"],
    "hub": ["huggingface_hub>=0.26"],
    "lpips": ["lpips>=0.1.4"],
    "onnx": ["onnx>=1.17", "onnxruntime>=1.20", "onnxscript>=0.5", "torch>=2.9"],
    "sweep": ["ray[tune]>=2.9"],
    "tables": ["pandas>=2.2", "pyarrow>=15"],
    # The full mlflow holds pandas below 3; its own database, the default, needs the latter two.
    "track": [
        "tensorboard>=2.15",
        "mlflow-skinny>=2.16",
        "alembic>=1.13",
        "sqlalchemy>=2",
        "wandb>=0.19.10",
    ],
}
"""What features beyond the core need. What pip installs as ``all`` is made of these."""

TESTED = ("distributed", "explore", "hub", "lpips", "onnx", "tables", "track")
"""Extras of which tests need all packages; those of other extras are skipped without them."""

setup(
    name="pyro_mfcvae",
    version=VERSION,
    description="Multi-facet clustering variational auto-encoders, written as Pyro programs",
    long_description=described((ROOT / "README.md").read_text(), REPOSITORY),
    long_description_content_type="text/markdown",
    project_urls={"Source": REPOSITORY} if REPOSITORY else {},
    author="The pyro_mfcvae authors",
    license_expression="MIT",
    license_files=["LICENSE"],
    keywords=[
        "clustering",
        "deep clustering",
        "disentanglement",
        "mixture of Gaussians",
        "Pyro",
        "variational auto-encoder",
        "variational inference",
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Visualization",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=[*find_packages(include=["pyro_mfcvae", "pyro_mfcvae.*"]), "pyro_mfcvae.cli"],
    package_dir={"pyro_mfcvae": "pyro_mfcvae", "pyro_mfcvae.cli": "cli"},
    package_data={
        "pyro_mfcvae": ["py.typed"],
        "pyro_mfcvae.explore": ["templates/*"],
        "pyro_mfcvae.pretrained": ["*/*.json*", "*/checkpoints/*/*"],
        "pyro_mfcvae.report": ["templates/*"],
        "pyro_mfcvae.studies.sweep": ["example.yaml"],
    },
    install_requires=[
        "click>=8.2",
        "filelock>=3.20.1",
        "h5py>=3.10",
        "jinja2>=3.1",
        "matplotlib>=3.8",
        "narwhals>=2",
        "numpy>=1.26",
        "pillow>=10",
        "platformdirs>=4",
        "pydantic>=2.7",
        "pyro-ppl>=1.9.1",
        "pyyaml>=6",
        "rich>=13",
        "safetensors>=0.4.3",
        "scikit-learn>=1.6",
        "scipy>=1.11",
        "torch>=2.6",
        "torchvision>=0.21",
        "tqdm>=4.62",
        "typing_extensions>=4.10",
    ],
    extras_require={
        **EXTRAS,
        "all": sorted({package for packages in EXTRAS.values() for package in packages}),
        "test": [
            *(package for extra in TESTED for package in EXTRAS[extra]),
            "axe-core-python>=0.1",
            "hypothesis>=6.100",
            "import-linter>=2.17",
            "mypy>=1.15",
            "polars>=1.0",
            "pytest>=8",
            "pytest-cov>=7",
            "pytest-xdist>=3.5",
            "ruff>=0.6",
        ],
    },
    entry_points={"console_scripts": ["mfcvae = pyro_mfcvae.cli:main"]},
)
