"""Where published data comes from: TFDS, archives, the wheel on PyPI."""
