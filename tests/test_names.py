"""`accelerate launch lemma_train/sft.py` puts lemma_train/ first on sys.path: a name there hides any module alike."""

import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import lemma_train

FOLDER = Path(lemma_train.__file__).parent


def test_no_module_bears_the_name_of_the_standard_library_or_of_an_installed_package():
    own = {path.stem for path in FOLDER.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    own -= {"__init__", "__pycache__"}
    assert "template" in own and "training" in own
    taken = set(sys.stdlib_module_names) | (set(packages_distributions()) - {"lemma_train"})
    assert not own & taken
