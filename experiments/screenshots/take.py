"""Takes the README's pictures: `python experiments/screenshots/take.py` in the folder of a search.

Starts the MLflow UI on `mlruns/`, opens it in headless Chromium, and writes PNG files beside this
one. Needs `pip install playwright` and a Chromium (`--chromium`, default `chromium` of the PATH).
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from mlflow import MlflowClient
from playwright.sync_api import sync_playwright

from ncf.tracking import default_uri

HERE = Path(__file__).parent


def main() -> None:
    """Takes every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="ml-100k", help="name of the study")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="path of a Chromium")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the pictures")
    options = parser.parse_args()
    client = MlflowClient(default_uri())
    experiment = client.get_experiment_by_name(options.study)
    if experiment is None:
        sys.exit(f"no MLflow experiment {options.study!r} in mlruns/: run the search first")
    (parent,) = client.search_runs(
        [experiment.experiment_id], f"attributes.run_name = 'study {options.study}'", max_results=1
    )
    runs = f"#/experiments/{experiment.experiment_id}/runs"
    order = "orderByKey=metrics.%60validation_best%2Fndcg_10%60&orderByAsc=false"
    pages = {
        "study": f"{runs}?{order}&compareRunsMode=CHART&",
        "parent": f"{runs}/{parent.info.run_id}?",
        "registered": f"#/models/gmf-{options.study}?",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--backend-store-uri", default_uri()],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=options.chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 1500, "height": 950})
            for name, path in pages.items():
                page.goto(f"http://127.0.0.1:{port}/{path}workflowType=machine_learning")
                page.wait_for_timeout(6000)
                for close in page.get_by_role("button", name="Close").all():
                    close.click()  # the assistant beside the page
                page.wait_for_timeout(500)
                page.screenshot(path=options.out / f"{name}.png")
            browser.close()
    finally:
        server.terminate()
        server.wait()


def _wait_for(address: str) -> None:
    for _ in range(120):
        try:
            with urlopen(address, timeout=1):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"{address}: the MLflow server did not start")


if __name__ == "__main__":
    main()
