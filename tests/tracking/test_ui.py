"""What a person sees in the MLflow UI after a search, in headless Chromium: `pytest -m slow`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

if TYPE_CHECKING:
    from playwright.sync_api import Page

take = pytest.importorskip(
    "experiments.screenshots.take", reason="no playwright", exc_type=ImportError
)
CHROMIUM = take.find_chromium()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium in the PATH (Debian: apt-get install chromium)"
    ),
]


Show = Callable[[str], str]


@pytest.fixture(scope="module")
def page(searched: tuple[Path, str]) -> Iterator[Page]:
    with take.opened(CHROMIUM, width=3000) as page:  # columns beyond the right edge are not there
        yield page


@pytest.fixture(scope="module")
def show(searched: tuple[Path, str], page: Page) -> Iterator[Show]:
    """Opens a page by name and returns its text."""
    uri = f"sqlite:///{searched[0]}/mlruns/mlflow.db"
    pages = take.pages_of(MlflowClient(uri), "shop")
    with take.serving(uri) as address:
        yield lambda name: take.show(page, f"{address}/{pages[name][0]}", pages[name][1])


def test_the_trials_are_listed_best_first_with_metrics_and_parameters(
    page: Page, show: Show
) -> None:
    table = show("trials")
    assert "Trials of study shop" in table  # the saved view, named above the table
    assert "21 matching runs" in table  # the trials and the baselines
    for column in ("winner", "best/ndcg_10", "confirmed/mean", "test/ndcg_10", "embedding_dim"):
        page.get_by_text(column, exact=True).first.wait_for()  # columns are drawn one by one
    assert "trial 0 · dim 64 · lr 0.025 · neg 6" in table
    places = [f".ag-row[row-index='{place}'] " for place in range(21)]
    ranks = [page.locator(place + "[col-id='metrics.`rank`']").inner_text() for place in places]
    assert ranks == [str(number) for number in range(1, 22)]
    winner = "[col-id='tags.`winner`']"
    won = page.locator(f".ag-row {winner}").all_inner_texts()
    assert [cell for cell in won if cell not in ("", "-")] == ["gmf-shop/1"]
    first = page.locator(places[0] + winner)  # the rows need not lie in order
    assert first.all_inner_texts() == ["gmf-shop/1"]


def test_charts_show_the_hyperparameters_and_the_learning_curves(show: Show) -> None:
    charts = show("charts")
    curves = ("Learning curves of the ten best", "validation/ndcg_10", "train/loss")
    for part in ("Hyperparameters and the best epoch", "Parallel Coordinates", *curves):
        assert part in charts
    first = charts.index("Hyperparameters and the best epoch")
    assert first < charts.index("Learning curves of the ten best") < charts.index("confirmed")


def test_the_study_says_what_it_found_at_the_top(show: Show) -> None:
    text = show("study")
    top = text[text.index("Description") : text.index("Metrics (")]
    assert "Winner: GMF (trial" in top
    assert "Holm's correction" in top
    assert "test/ndcg_10" in text
    assert "gmf-shop" in text[text.index("Registered models") :]


def test_models_and_versions_say_what_they_are(show: Show) -> None:
    models = show("models")
    assert "trial-0012" in models
    assert "winner" in models
    registered = show("registered")
    for part in (
        "Answers user ids of the data",
        "champion",
        "validation_ndcg_10",
        "fitted_on",
        "shop",
    ):
        assert part in registered
