"""MLflow runs, model bundles, promotion and the served model."""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the first import of mlflow, which reads it once
