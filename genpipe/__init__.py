"""The library behind the pipeline: data, models, training, metrics, champions, reports.

It knows neither Kubeflow Pipelines nor the command line; ``components`` and ``pipelines`` are built
on it.
"""

from genpipe.surroundings import prepare

prepare()
