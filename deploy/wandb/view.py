"""Save the team's view of a project on W&B: a report of the cells, the trainings and the codes.

    python deploy/wandb/view.py TEAM/genpipe              # saves it, and prints its address
    python deploy/wandb/view.py TEAM/genpipe --group RUN  # of one pipeline run
    python deploy/wandb/view.py TEAM/genpipe --print      # what would be saved, as JSON

It needs the extra ``genpipe[wandb-view]``, and a key of W&B unless it only prints. Each call saves
a new report; the chart that it uses is kept under one name.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import wandb
import wandb_workspaces.reports.v2 as wr
from wandb_workspaces import expr

from genpipe.families.registry import all_families
from genpipe.families.spec import FamilySpec

# Curves of the trainings, as components/train logs them.
DENSE = ("validation_loss", "loss", "kl_divergence")
ADVERSARIAL = ("discriminator_loss", "generator_loss", "discriminator_accuracy")
CHART = "genpipe-codes"
# A Vega-Lite chart as W&B stores them: it fills in fields and strings, and binds the data.
CODES = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "data": {"name": "wandb"},
    "title": "${string:title}",
    "mark": {"type": "circle", "size": 16, "opacity": 0.7},
    "encoding": {
        "x": {"field": "${field:x}", "type": "quantitative", "title": "code, first axis"},
        "y": {"field": "${field:y}", "type": "quantitative", "title": "code, second axis"},
        "color": {
            "field": "${field:class}",
            "type": "nominal",
            "scale": {"scheme": "tableau10"},
            "title": "class",
        },
        "facet": {"field": "name", "type": "nominal", "columns": 2, "title": None},
        "tooltip": [{"field": "${field:class}", "type": "nominal"}],
    },
    "resolve": {"scale": {"x": "independent", "y": "independent"}},
}


def build(entity: str, project: str, group: str = "") -> wr.Report:
    """The report, not saved.

    Args:
        entity: the user or team that the project and the chart belong to.
        project: where the runs are.
        group: the pipeline run to show; all of them if empty.
    """

    def runs(name: str, job_type: str, families: Sequence[FamilySpec] = ()) -> wr.Runset:
        filters = [expr.Metric("JobType").isin([job_type])]
        if families:
            filters.append(expr.Config("family").isin([family.name for family in families]))
        if group:
            filters.append(expr.Metric("Group") == group)
        return wr.Runset(name=name, filters=filters)  # of the report's own project

    def trainings(axis: str) -> wr.Runset:
        """The trainings whose history counts by an axis."""
        families = [family for family in all_families().values() if family.axis == axis]
        return runs(" and ".join(family.label for family in families), "train", families)

    latent_size = wr.Config("latent_size")
    metrics = [
        (latent_size, "latent size"),
        (wr.SummaryMetric("mean_squared_error"), "reconstruction error"),
        (wr.SummaryMetric("frechet_distance"), "Fréchet distance"),
        (wr.SummaryMetric("train_seconds"), "seconds of training"),
    ]

    def wide(top: int = 0, height: int = 10) -> wr.Layout:
        return wr.Layout(x=0, y=top, w=24, h=height)

    def half(place: int, top: int = 0) -> wr.Layout:
        """The place of a panel among such as stand two in a row."""
        return wr.Layout(x=12 * (place % 2), y=top + 8 * (place // 2), w=12, h=8)

    return wr.Report(
        entity=entity,
        project=project,
        title=f"genpipe: {group}" if group else "genpipe",
        description="Generative models by family and latent size",
        width="fluid",
        blocks=[
            wr.H1("Cells"),
            wr.PanelGrid(
                runsets=[runs("cells", "cell")],
                panels=[
                    wr.ParallelCoordinatesPlot(
                        title="What a latent size brings",
                        columns=[
                            wr.ParallelCoordinatesPlotColumn(
                                metric=metric, display_name=name, log=True
                            )
                            for metric, name in metrics
                        ],
                        layout=wide(),
                    ),
                    *(
                        wr.ScatterPlot(
                            title=name, x=latent_size, y=metric, log_x=True, layout=half(place, 10)
                        )
                        for place, (metric, name) in enumerate(metrics[1:])
                    ),
                ],
            ),
            wr.H1("Training"),
            wr.PanelGrid(
                runsets=[trainings("epoch")],
                panels=[
                    *(
                        wr.LinePlot(title=name, x="epoch", y=[name], layout=half(place))
                        for place, name in enumerate(DENSE)
                    ),
                    wr.MediaBrowser(media_keys=["reconstructions"], layout=half(len(DENSE))),
                ],
            ),
            wr.PanelGrid(
                runsets=[trainings("step")],
                panels=[
                    *(
                        wr.LinePlot(title=name, x="step", y=[name], layout=half(place))
                        for place, name in enumerate(ADVERSARIAL)
                    ),
                    wr.MediaBrowser(media_keys=["samples"], layout=half(len(ADVERSARIAL))),
                ],
            ),
            wr.H1("Codes and pictures"),
            wr.PanelGrid(
                runsets=[runs("evaluations", "evaluate")],
                panels=[
                    wr.CustomChart(
                        query={"summaryTable": {"tableKey": "latent/codes_table"}},
                        chart_name=f"{entity}/{CHART}",
                        chart_fields={"x": "x", "y": "y", "class": "class"},
                        chart_strings={"title": "Codes of test images"},
                        layout=wide(height=16),
                    ),
                    wr.WeavePanelSummaryTable(
                        table_name="pictures/reconstructions", layout=wide(16)
                    ),
                ],
            ),
            wr.PanelGrid(
                runsets=[runs("samples", "sample")],
                panels=[wr.WeavePanelSummaryTable(table_name="pictures/samples", layout=wide())],
            ),
        ],
    )


def main() -> None:
    """Build the report, and save or print it."""
    parser = argparse.ArgumentParser(description="Save the team's view of a project on W&B.")
    parser.add_argument("place", metavar="TEAM/PROJECT")
    parser.add_argument("--group", default="", help="pipeline run to show; default: all")
    parser.add_argument("--print", action="store_true", help="print it as JSON, and send nothing")
    told = parser.parse_args()
    entity, _, project = told.place.partition("/")
    if not entity or not project:
        parser.error(f"{told.place!r}: write TEAM/PROJECT")
    report = build(entity, project, told.group)
    if told.print:
        model = report._to_model().model_dump(mode="json", by_alias=True)
        print(json.dumps({"chart": CODES, "report": model}, indent=2))
        return
    try:
        wandb.Api().create_custom_chart(
            entity=entity,
            name=CHART,
            display_name="Codes by class",
            spec_type="vega2",
            access="private",
            spec=CODES,
        )
    except wandb.Error as error:  # such as that it is there
        print(f"the chart {entity}/{CHART} was not made: {error}", file=sys.stderr)
    report.save()
    print(report.url)


if __name__ == "__main__":
    main()
