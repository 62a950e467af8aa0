"""The tools that train the guide are no package: put them where they can be imported."""

import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
sys.path.insert(0, str(TOOLS))


@pytest.fixture(scope="session")
def knowledge():
    from guide_knowledge import load_knowledge

    return load_knowledge()


@pytest.fixture(scope="session")
def guide_folder():
    from lfm2chat.runtime.models import guide_folder

    return guide_folder()
