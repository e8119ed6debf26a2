"""Runs on a cluster with Kubeflow Pipelines: submit, follow, schedule."""
