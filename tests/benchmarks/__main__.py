"""`make bench`: measure, and write ``results.json`` and the tables of the README beside it."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from genpipe.families.registry import find_family
from tests.benchmarks import checkpoints, overhead
from tests.benchmarks.loops import CASES, OURS, PLAIN, measure

HERE = Path(__file__).parent
OVERHEAD_ROUNDS = 3


def main() -> None:
    """Measure every case and write the results down."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # First what is done soon: of a long run that fails nothing is kept.
    steps = [asdict(step) for step in overhead.main(OVERHEAD_ROUNDS)]
    saved = checkpoints.main()
    loops = []
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npy"
        # What the pixels show changes nothing but the losses, which nobody reads here.
        np.save(images, np.random.default_rng(0).integers(0, 256, (27_500, 28, 28, 1), np.uint8))
        for case in CASES:
            loops.append(measure(case, images))
            print(row(loops[-1]), flush=True)
    results = {
        "machine": machine(),
        "loops": loops,
        "steps": steps,
        "checkpoints": saved,
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    write_tables(HERE / "README.md", tables(results))
    print(f"wrote {HERE / 'results.json'} and the tables of README.md")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("tensorflow", "keras")},
    }


def row(result: dict[str, Any]) -> str:
    """One line of the table of loops."""
    rates, memory = result["images_per_second"], result["peak_memory_mib"]
    return (
        f"| {find_family(result['family']).label} | {result['latent_size']} "
        f"| {result['batch_size']} "
        f"| {result['ratio']:.1f} | {rates[OURS]:,} | {rates[PLAIN]:,} "
        f"| {result['share_of_peak']:.0%} | {memory[OURS]:,} | {memory[PLAIN]:,} |"
    )


def tables(results: dict[str, Any]) -> str:
    """The README's tables, in Markdown."""
    facts = results["machine"]
    peak = statistics.median(result["matrix_product_gflops"] for result in results["loops"])
    lines = [
        f"{facts['processor']}, {facts['cores']} cores; TensorFlow {facts['tensorflow']}, Keras "
        f"{facts['keras']}, Python {facts['python']}. A large float32 matrix product: "
        f"{peak:.0f} GFLOP/s.",
        "",
        "| family | latent size | batch | times plain Keras | images/s | plain Keras "
        "| of the matrix product's rate | MiB at most | plain Keras |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(row, results["loops"]),
        "",
        "| option of the DCGAN | times ours without | images/s |",
        "|---|---|---|",
    ]
    for result in results["loops"]:
        for name, ratio in result["option_ratios"].items():
            lines.append(f"| {name} | {ratio:.2f} | {result['images_per_second'][name]:,} |")
    lines += [
        "",
        "| step | seconds before its work | after | together | goal |",
        "|---|---|---|---|---|",
    ]
    for step in results["steps"]:
        before, after = step["before"], step["after"]
        lines.append(
            f"| `{step['step']}` | {before:.2f} | {after:.2f} | {before + after:.2f} "
            f"| {step['goal']} |"
        )
    lines += [
        "",
        "| checkpoint, latent size 100 | to | MB | seconds | of the time between two |",
        "|---|---|---|---|---|",
    ]
    for one in results["checkpoints"]:
        lines.append(
            f"| {find_family(one['family']).label} | {one['place']} | {one['megabytes']} "
            f"| {one['seconds']} | {one['share_of_training']:.2%} |"
        )
    return "\n".join(lines)


def write_tables(readme: Path, text: str) -> None:
    """Put the tables between their marks."""
    marks = "<!-- results: written by make bench -->", "<!-- end of results -->"
    before, _, rest = readme.read_text().partition(marks[0])
    after = rest.partition(marks[1])[2]
    readme.write_text(f"{before}{marks[0]}\n{text}\n{marks[1]}{after}")


if __name__ == "__main__":
    sys.exit(main())
