"""Takes the README's pictures: `python experiments/screenshots/take.py` in the folder of a search.

Starts the MLflow UI on `mlruns/`, opens it in headless Chromium, and writes PNG files beside this
one. Needs a Chromium (`--chromium`, default `chromium` of the PATH; Debian: apt-get install
chromium) and the `test` extra.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from urllib.request import urlopen

from mlflow import MlflowClient
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from ncf.tracking import views
from ncf.tracking.store import default_uri
from ncf.tracking.tag_names import EARLIER, PRESENT

HERE = Path(__file__).parent
PICTURES = ("charts", "study", "registered")
MODE = "workflowType=machine_learning"  # the UI's other half is for language models


def main() -> None:
    """Takes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="ml-100k", help="name of the study")
    parser.add_argument("--chromium", default=find_chromium(), help="path of a Chromium")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the pictures")
    options = parser.parse_args()
    if options.chromium is None:
        sys.exit("no chromium is in the PATH: install one, or give --chromium")
    pages = pages_of(MlflowClient(default_uri()), options.study)
    with serving(default_uri()) as address, opened(options.chromium) as page:
        for name in PICTURES:
            path, awaited = pages[name]
            show(page, f"{address}/{path}", awaited)
            page.wait_for_timeout(2500)  # charts are drawn one after the other
            picture = Image.open(BytesIO(page.screenshot()))
            picture.quantize(64).save(
                options.out / f"{name}.png", optimize=True
            )  # a third as large


def find_chromium() -> str | None:
    """Returns the path of a Chromium, if any."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def pages_of(client: MlflowClient, study: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Returns the pages of a study by name: the part of the address after the server's, and texts.

    The page is whole when it shows them; parts of one are fetched one after the other.
    """
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = client.search_runs(experiments, f"attributes.run_name = 'study {study}'", max_results=1)
    if not runs:
        sys.exit(f"no study {study!r} in {default_uri()}: run the search first")
    run = runs[0]
    (version,) = client.search_model_versions(f"run_id = '{run.info.run_id}'", max_results=1)
    experiment = f"#/experiments/{run.info.experiment_id}"
    study_id = next(
        run.data.tags[t] for t in (PRESENT.study_id, EARLIER.study_id) if t in run.data.tags
    )
    view = f"{experiment}/runs?viewStateShareKey={views.key_of(study_id)}&{MODE}"
    return {
        "trials": (view, (f"{version.name}/{version.version}", "matching runs")),  # the winner
        "charts": (f"{view}&compareRunsMode=CHART", ("Learning curves",)),
        "study": (
            f"{experiment}/runs/{run.info.run_id}?{MODE}",
            ("On test, read once", version.name, "baseline"),
        ),
        "models": (f"{experiment}/models?{MODE}", ("winner",)),
        "registered": (f"#/models/{version.name}?{MODE}", ("validation_ndcg",)),
    }


@contextmanager
def serving(tracking_uri: str) -> Iterator[str]:
    """Serves the MLflow UI of a store; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--backend-store-uri", tracking_uri],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@contextmanager
def opened(chromium: str, width: int = 1500) -> Iterator[Page]:
    """Yields a page of a headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser.new_page(viewport={"width": width, "height": 900})
        browser.close()


def show(page: Page, address: str, awaited: tuple[str, ...]) -> str:
    """Opens an address and waits for its texts; returns all the text of the page."""
    page.goto(address, wait_until="commit", timeout=120_000)  # a busy machine is slow
    for text in awaited:
        page.get_by_text(text).first.wait_for(timeout=120_000)
    for close in page.get_by_role("button", name="Close").all():
        close.click()  # the assistant beside the page
    return page.locator("body").inner_text()


def _wait_for(address: str) -> None:
    for _ in range(240):
        try:
            with urlopen(address, timeout=1):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"{address}: the MLflow server did not start")


if __name__ == "__main__":
    main()
