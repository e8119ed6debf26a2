"""What a run was made with: how its settings differ from the defaults, and how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from genpipe.families.spec import SHARED
from genpipe.metrics.judging import JUDGE_EPOCHS, SAMPLES
from genpipe.reporting.facts import families_of
from genpipe.reporting.results import Result, read_step

# What a data set's source is called that has no address: the name alone finds it again.
NAMED_SOURCES = ("wheel", "tfds")
# What makes the cells of a run differ, and so is no setting of it.
OF_A_CELL = ("latent_size", "seed")


def changed_settings(
    judge: Mapping[str, Any], results: Sequence[Result]
) -> dict[str, tuple[Any, Any]]:
    """The settings of a run that differ from their defaults.

    Args:
        judge: content of the judge's ``model.json``.
        results: each training of the run.

    Returns:
        By the name of the pipeline's parameter, as ``vae.beta``, the value and the default.
    """
    known: dict[str, tuple[Any, Any]] = {}
    for result in results:
        family = result.cell.family
        used = result.facts.get("settings") or {}
        for setting in fields(family.settings):
            name = setting.name
            if name in used and name not in OF_A_CELL:
                parameter = name if name in SHARED else f"{family.name}.{name}"
                known[parameter] = used[name], setting.default
    known["judge_epochs"] = judge.get("settings", {}).get("epochs"), JUDGE_EPOCHS
    drawn = (read_step(result.samples).get("samples") for result in results)
    known["samples"] = next(filter(None, drawn), None), SAMPLES
    return {name: both for name, both in known.items() if both[0] not in (None, both[1])}


def told_changes(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """Changed settings in words: ``vae.beta 4.0 instead of 1.0, image_size 32``."""
    return ", ".join(
        f"{name} {value}" + ("" if default == "" else f" instead of {default}")
        for name, (value, default) in changed.items()
    )


def repeat_command(
    dataset: Mapping[str, Any], judge: Mapping[str, Any], results: Sequence[Result]
) -> str:
    """The command that trains the same models on the same images; empty without a model.

    Args:
        dataset: content of ``dataset.json``.
        judge: content of the judge's ``model.json``.
        results: each training of the run.
    """
    families = families_of(results)
    seeds = sorted({r.facts["seed"] for r in results if isinstance(r.facts.get("seed"), int)})
    if not families or not seeds:
        return ""
    words = ["genpipe", "run", "--dataset", str(dataset.get("name", ""))]
    source = str(dataset.get("source", ""))
    if source and source not in NAMED_SOURCES:
        words += ["--source", source]
    rule, shape = str(dataset.get("image_rule", "")), dataset.get("image_shape", ())
    if "scaled" in rule and len(shape) == 3:
        words += ["--image-size", f"{shape[0]}x{shape[1]}"]
    if "channels" in rule or "grey" in rule:
        words += ["--channels", "3" if "channels" in rule else "1"]
    words += ["--families", ",".join(family.name for family in families)]
    sizes = dict.fromkeys(result.cell.latent_size for result in results)
    words += ["--latent-sizes", ",".join(map(str, sizes))]
    several = any(result.cell.seed is not None for result in results)
    words += ["--seeds" if several else "--seed", ",".join(map(str, seeds))]
    for name, (value, _) in changed_settings(judge, results).items():
        words += ["--param", f"{name}={value}"]
    return shlex.join(words)
