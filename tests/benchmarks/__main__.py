"""`make bench`: measure, and write ``results.json`` and the tables of the README beside it."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import tempfile
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from genpipe.families.registry import find_family
from tests.benchmarks.loops import CASES, OURS, PEERS, PLAIN, measure, missing_peers

HERE = Path(__file__).parent
OVERHEAD_ROUNDS = 3
PACKAGES = {"jax": "JAX", "torch": "PyTorch"}


def main() -> None:
    """Measure every case and write the results down."""
    # Not above: the process of every variant imports this file, and PyTorch's compiler ends one
    # that holds TensorFlow.
    from tests.benchmarks import checkpoints, overhead

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
    return {
        "processor": processor(Path("/proc/cpuinfo").read_text()),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("tensorflow", "keras")},
        **{name: found for name in PACKAGES if (found := version_of(name))},
        "missing_peers": missing_peers(),
    }


def version_of(package: str) -> str:
    """Its version; empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def processor(description: str) -> str:
    """Name, generation and vector instructions of a processor, from ``/proc/cpuinfo``.

    A machine in a cloud often has a name that leaves out the generation.
    """
    facts = dict(re.findall(r"^(.*?)[ \t]*:[ \t]*(.*)$", description, re.MULTILINE))
    if "model name" not in facts:
        return platform.processor()
    flags = facts.get("flags", "").split()
    known = {
        "avx2": "AVX2",
        "avx512f": "AVX-512",
        "avx512_bf16": "AVX-512 BF16",
        "amx_bf16": "AMX BF16",
    }
    instructions = [name for flag, name in known.items() if flag in flags]
    generation = f"family {facts.get('cpu family')}, model {facts.get('model')}"
    return f"{facts['model name']} ({', '.join([generation, *instructions])})"


def row(result: dict[str, Any]) -> str:
    """One line of the table of loops."""
    rates, memory = result["images_per_second"], result["peak_memory_mib"]
    return (
        f"| {find_family(result['family']).label} | {result['latent_size']} "
        f"| {result['batch_size']} "
        f"| {result['ratio']:.1f} | {rates[OURS]:,} | {rates[PLAIN]:,} "
        f"| {result['share_of_peak']:.0%} | {memory[OURS]:,} | {memory[PLAIN]:,} |"
    )


def peer_table(results: dict[str, Any]) -> list[str]:
    """Ours against the peers that ran, and a line on those that did not."""
    facts = results["machine"]
    missing = facts["missing_peers"]
    peers = [name for name in PEERS if name not in missing]
    left_out = ", ".join(f"{name} ({what})" for name, what in missing.items())
    lines = [f"Not in the race: {left_out}.", ""] if missing else []
    if not peers:
        return lines
    versions = [f"{label} {facts[name]}" for name, label in PACKAGES.items() if name in facts]
    lines += [
        f"{', '.join(versions)}.",
        "",
        f"| family | latent size | batch | {' | '.join(f'times {name}' for name in peers)} "
        f"| images/s | {' | '.join(peers)} |",
        "|---" * (4 + 2 * len(peers)) + "|",
    ]
    for result in results["loops"]:
        rates = result["images_per_second"]
        cells = [
            find_family(result["family"]).label,
            f"{result['latent_size']}",
            f"{result['batch_size']}",
            *(f"{result['peer_ratios'][name]:.2f}" for name in peers),
            *(f"{rates[name]:,}" for name in (OURS, *peers)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


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
        *peer_table(results),
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
    main()
