"""A run's folders as its steps leave them, made without training, for tests of publishing."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from components.publish.publish import publish
from genpipe.cells import Cell
from genpipe.data.dataset import SPLITS, file_digest, open_dataset, write_dataset
from genpipe.data.drift import Contents
from genpipe.registry.champions import Decision
from genpipe.reporting.decisions import PLACE
from genpipe.tracking import Tracker
from genpipe.tracking.progress import Progress

IMAGES = 300
FEATURES = 8


def make_judge(folder: Path, seed: int = 0) -> Path:
    """A judge whose features are random projections, cut off at 0; its classes are never read."""
    folder.mkdir(parents=True)
    kernel = np.random.default_rng(seed).normal(0, 0.1, (784, FEATURES)).astype(np.float32)
    node, tensor = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            node("Flatten", ["input"], ["flat"]),
            node("MatMul", ["flat", "kernel"], ["product"]),
            node("Relu", ["product"], ["features"]),
            node("Identity", ["features"], ["probabilities"]),
        ],
        "judge",
        [tensor("input", onnx.TensorProto.FLOAT, ["n", 28, 28, 1])],
        [
            tensor(name, onnx.TensorProto.FLOAT, ["n", FEATURES])
            for name in ("probabilities", "features")
        ],
        [onnx.numpy_helper.from_array(kernel, "kernel")],
    )
    opset = [onnx.helper.make_opsetid("", 13)]
    file = folder / "judge.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), file)
    files = {file.name: file_digest(file)}
    write_json(folder / "model.json", {"family": "judge", "status": "complete", "files": files})
    return folder


def images(shift: float, seed: int, count: int = IMAGES) -> np.ndarray:
    """Images of noise, ``shift`` lighter than those of the test split."""
    drawn = np.random.default_rng(seed).normal(100 + shift, 40, (count, 28, 28, 1))
    return np.clip(drawn, 0, 255).astype(np.uint8)


def losses(mean: float, spread: float = 0.0, seed: int = 0) -> np.ndarray:
    """What each test image costs: some cost more to every model; ``spread`` is a model's own."""
    hard = np.random.default_rng(0).gamma(4, 0.25, IMAGES)
    own = np.random.default_rng(seed).normal(0, spread, IMAGES)
    return (mean * (hard / hard.mean() + own - own.mean())).astype(np.float32)


class MadeRun:
    """A run with a cell for each family given, which is the best of its family.

    Args:
        root: where its folders are made.
        name: the run's.
        costs: what its test images cost on average by the family; of a DCGAN the lightness that
            its samples differ by.
        seed: of what its models have of their own; its data set differs by it only if ``data``.
        spread: how much its losses differ from those of other models image by image.
        data: digest of its data set, in place of the true one.
        seeds: with which each cell is trained, the last of them the best.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        costs: Mapping[str, float],
        *,
        seed: int = 1,
        spread: float = 0.0,
        data: str = "",
        seeds: Sequence[int | None] = (None,),
    ) -> None:
        self.root, self.name = root / name, name
        self.said = io.StringIO()
        self.tracker = Tracker(Progress("publish", stream=self.said))
        self.arguments: dict[str, Any] = {"models": [], "evaluations": [], "samples": []}
        (self.root / "data").mkdir(parents=True)
        arrays = {split: (images(0, 7), np.zeros(IMAGES, np.uint8)) for split in SPLITS}
        dataset = write_dataset(
            self.root / "data", arrays, name="mnist", class_names=tuple("0123456789"), facts={}
        )
        make_judge(self.root / "judge")
        rows = []
        for family, cost in costs.items():
            for own in seeds:
                cell = Cell(family, 10, own)
                self._make_cell(cell, cost, seed, spread)
                rows.append({**cell.identity, "status": "complete", "metrics": {"elbo": -cost}})
        board = {
            "run": name,
            "data": {"name": "mnist", "digest": data or dataset.digest},
            "cells": rows,
            "best": dict.fromkeys(costs, 10),
            "best_seeds": {family: own for family in costs if (own := seeds[-1]) is not None},
        }
        write_json(self.root / "leaderboard" / "leaderboard.json", board)
        (self.root / "report").write_text(f"<html><main>{PLACE}</main></html>")

    def publish(
        self, target: str | Path, *, force: bool = False, margin: float | None = 0.0
    ) -> dict[str, Decision]:
        """Run the step; returns its decisions by family."""
        decisions = publish(
            target=str(target),
            force=force,
            margin=margin,
            run=self.name,
            data=self.root / "data",
            judge=self.root / "judge",
            leaderboard=self.root / "leaderboard",
            report=self.root / "report",
            page=self.root / "page",
            tracker=self.tracker,
            **self.arguments,
        )
        return {decision.family: decision for decision in decisions}

    @property
    def page(self) -> str:
        return (self.root / "page").read_text(encoding="utf-8")

    def files_of(self, family: str) -> dict[str, bytes]:
        """What a version of a family's cell must hold, but for its metadata."""
        root = self.root / f"{family}-10"
        found = {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }
        beside = {"report.html": (self.root / "report").read_bytes()}
        beside["images.npz"] = Contents.of(open_dataset(self.root / "data")).to_bytes()
        return {**found, **beside}

    def _make_cell(self, cell: Cell, cost: float, seed: int, spread: float) -> None:
        model, evaluation, samples = (
            self.root / cell.name / kind for kind in ("model", "evaluation", "samples")
        )
        weights = f"{self.name} {cell.name} {seed}"
        write_json(model / "model.json", {**cell.identity, "weights_digest": weights})
        (model / "weights.keras").write_bytes(weights.encode())
        write_json(evaluation / "metrics.json", cell.identity)
        write_json(samples / "metrics.json", cell.identity)
        if cell.family.name == "dcgan":
            np.save(samples / "samples.npy", images(cost, seed))
        else:
            np.save(samples / "samples.npy", images(0, seed)[:32])
            np.save(evaluation / "validation_losses.npy", losses(cost, spread, seed))
        for kind, folder in (("models", model), ("evaluations", evaluation), ("samples", samples)):
            self.arguments[kind].append(folder)


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
