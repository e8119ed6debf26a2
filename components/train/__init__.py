"""Training: the models, the loop they share, and what a trained model is saved as."""

import os

# With operations side by side, the DCGAN's convolutions gave other bits in each run of the same
# seed (TensorFlow 2.21 on CPUs). Threads inside an operation change nothing from run to run.
# TensorFlow reads the variable when it first runs an operation.
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
