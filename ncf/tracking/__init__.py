"""All that is kept in MLflow: a study's runs, models, the registry, saved views.

Importing the package sets the environment variables that MLflow reads when it loads.
"""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = (
    "true"  # it prints a line per run, with the password
)
# By default the client repeats a request for minutes, and does twice what it got no answer to.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
