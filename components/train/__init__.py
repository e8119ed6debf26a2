"""Training: the models, the loop they share, and what a trained model is saved as."""

import os

# With operations side by side, the DCGAN got other bits in each run of the same seed (TensorFlow
# 2.21 on CPUs); with one at a time, runs agree, whether it has one thread or two.
# TensorFlow reads the variable when it first runs an operation.
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
