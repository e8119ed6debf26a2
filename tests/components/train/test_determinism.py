"""The same seed gives the same bits, whatever runs beside (other seeds: ``test_train.py``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from genpipe.data.dataset import Dataset
from genpipe.families.registry import all_families
from genpipe.training.saved import SavedModel

PROGRAM = """
import json, sys
from pathlib import Path
from genpipe.cells import Cell
from genpipe.families.registry import all_families, find_family
from genpipe.tracking import Tracker
from components.train.train import train
data, folder = map(Path, sys.argv[1:])
digests = {}
for family in all_families():
    budget = {"steps": 12} if family == "dcgan" else {"epochs": 2}
    settings = (spec := find_family(family)).settings(latent_size=100, **budget)
    metadata = train(Cell(spec, settings.latent_size), settings, data, folder / family, Tracker())
    digests[family] = metadata["weights_digest"]
(folder / "digests.json").write_text(json.dumps(digests))
"""

pytestmark = [pytest.mark.runs, pytest.mark.timeout(900)]


def test_trainings_have_the_same_bits_alone_and_side_by_side(
    digits: Dataset, tmp_path: Path
) -> None:
    """All three families at the widths that they have in a run."""

    def start(name: str) -> subprocess.Popen[bytes]:
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", PROGRAM, str(digits.folder), str(tmp_path / name)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    assert start("alone").wait() == 0
    assert [process.wait() for process in [start(name) for name in ("a", "b", "c")]] == [0] * 3

    alone, *others = (
        json.loads((tmp_path / name / "digests.json").read_text())
        for name in ("alone", "a", "b", "c")
    )
    assert set(alone) == set(all_families())
    assert others == [alone] * 3


def test_a_dcgan_has_the_same_bits_on_any_number_of_cores_and_beside_another(
    mnist: Dataset, tmp_path: Path
) -> None:
    """Two processes at once, the second with more threads than there are cores."""
    train = (
        "import sys; from pathlib import Path; from genpipe.tracking import Tracker\n"
        "from components.train.step import give_each_operation_a_thread as divide; divide()\n"
        "from components.train.train import train\n"
        "from genpipe.cells import Cell\n"
        "from genpipe.families.dcgan.spec import FAMILY, DCGANSettings\n"
        "train(Cell(FAMILY, 100), DCGANSettings(latent_size=100, steps=5),"
        " Path(sys.argv[1]), Path(sys.argv[2]), Tracker())"
    )
    folders, processes = [tmp_path / "one", tmp_path / "many"], []
    for folder, cores in zip(folders, (1, 7), strict=True):
        machine = f"import os; os.cpu_count = lambda: {cores}\n"
        command = [sys.executable, "-c", machine + train, mnist.folder, folder]
        processes.append(subprocess.Popen(command))

    assert [process.wait() for process in processes] == [0, 0]
    one, many = (SavedModel(folder).metadata["weights_digest"] for folder in folders)
    assert one == many
