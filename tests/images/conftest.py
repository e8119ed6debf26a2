import os

collect_ignore = [] if os.environ.get("GENPIPE_TEST_IMAGE") else ["test_small_pipeline.py"]
