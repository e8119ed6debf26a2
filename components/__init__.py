"""The steps of the pipeline: one folder a step, ordinary Python behind a thin KFP adapter."""

import os

# Libraries that report to their makers unless they are told not to, before they are imported and in
# the processes that they start: ONNX Runtime who runs it and where (four connections a minute, and
# a lasting id of the device), wandb its own errors.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

# The file of certificates that is trusted: requests reads the one name (Cloud Storage, S3, TFDS),
# OpenSSL and W&B's service the other. Whoever sets one means every connection.
_BUNDLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
for _one, _other in (_BUNDLES, _BUNDLES[::-1]):
    if os.environ.get(_one):
        os.environ.setdefault(_other, os.environ[_one])
