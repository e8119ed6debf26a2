"""The latent explorer of one cell: a page, and what the run's report shows of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from genpipe.data.dataset import open_dataset
from genpipe.reporting.explorer.lattice import decode_planes
from genpipe.reporting.explorer.page import empty_page, explorer_page
from genpipe.tracking import Tracker
from genpipe.training.saved import SavedModel


def explore(data: Path, model: Path, folder: Path, page: Path, tracker: Tracker) -> None:
    """Write the cell's latent explorer.

    Args:
        data: the data-set folder, whose classes are named.
        model: the model folder.
        folder: the evaluation folder, with the test images' codes; gets ``explorer.json``, which
            the report reads, and ``explorer.html``. A diverged cell gets no ``explorer.json``.
        page: file that gets the same page.
        tracker: what the page is logged to.

    Raises:
        InputError: a folder is not whole.
    """
    saved = SavedModel(model)
    if saved.complete:
        codes = labels = None
        if saved.cell.family.encoder:
            codes, labels = (
                np.load(folder / f"latent_{name}.npy", allow_pickle=False)
                for name in ("codes", "labels")
            )
        class_names = open_dataset(data, check=False).class_names
        cell = decode_planes(saved, class_names, codes, labels)
        text = json.dumps(cell, allow_nan=False)
        (folder / "explorer.json").write_text(text + "\n", encoding="utf-8")
        html = explorer_page(cell)
        tracker.page("latent/explorer", html)
    else:
        html = empty_page(
            saved.cell.title, f"Training diverged: {saved.metadata.get('reason', '')}"
        )
    (folder / "explorer.html").write_text(html, encoding="utf-8")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(html, encoding="utf-8")
