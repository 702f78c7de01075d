"""A real `mlflow models serve`: it answers what it should and refuses everything else.

Slow: `pytest -m slow`; with `--hypothesis-profile long` it sends thousands of requests.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ncf.models.gmf.setting import Hyperparameters
from ncf.serving.catalogue import Catalogue
from ncf.serving.factors import Factors, Recent
from ncf.tracking.packaging import package
from tests.conftest import PROJECT
from tests.serving.test_recommender import ITEM_IDS, catalogue_of, model_of

pytestmark = pytest.mark.slow


def post(port: int, body: bytes, kind: str = "application/json") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/invocations", body, {"Content-Type": kind})
    response = connection.getresponse()
    answer = response.status, response.read().decode()
    connection.close()
    return answer


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    port: int
    process: psutil.Process

    def memory(self) -> int:
        """Returns the bytes of memory that it and its workers hold."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(process.memory_info().rss for process in family)


@contextmanager
def served(folder: Path, scorer: Factors, catalogue: Catalogue) -> Iterator[Server]:
    """Serves a model by MLflow's own command until the body ends, which the server must outlive."""
    save_file(scorer.arrays(), folder / "weights.safetensors")
    package(folder / "model", folder / "weights.safetensors", Hyperparameters(), catalogue)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder / "model")]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    try:
        for _ in range(3000):  # a busy machine takes minutes
            try:
                http.client.HTTPConnection("127.0.0.1", port).request("GET", "/ping")
                break
            except OSError:
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        else:
            raise TimeoutError((folder / "log").read_text())
        yield Server(port, psutil.Process(server.pid))
        assert server.poll() is None, "the server died"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server of a model that knows users 3 to 5000."""
    with served(tmp_path_factory.mktemp("served"), model_of(), catalogue_of()) as server:
        yield server.port


N_TEXT_USERS = 20_000


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a model with text ids, u00000 to u19999 and i00 to i29, that reads last items."""
    rng = np.random.default_rng(0)
    users, items, recent = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((N_TEXT_USERS, 2), (30, 5), (30, 3))
    )
    last = np.zeros((N_TEXT_USERS, 1), np.int32)
    block = Recent(recent, np.ones(1, np.float32), last)
    scorer = Factors(users, items, np.zeros(30, np.float32), block)
    catalogue = Catalogue(
        np.array([f"u{n:05}" for n in range(N_TEXT_USERS)]),
        np.array([f"i{n:02}" for n in range(30)]),
        None,
        np.arange(N_TEXT_USERS + 1),
        last[:, 0],
    )
    with served(tmp_path_factory.mktemp("texts"), scorer, catalogue) as server:
        yield server


def request(user_ids: list[Any], **params: Any) -> bytes:
    records = [{"user_id": user_id} for user_id in user_ids]
    return json.dumps({"dataframe_records": records, "params": params}).encode()


@pytest.mark.filterwarnings("ignore:An input example")
def test_it_answers_known_and_unknown_users(port: int) -> None:
    status, body = post(port, request([3, "404", "nobody"], k=2))
    assert status == 200
    answers = json.loads(body)["predictions"]
    assert [answer["known"] for answer in answers] == [True, True, False]
    assert all(len(answer["item_ids"]) == 2 for answer in answers)
    assert {item for answer in answers for item in answer["item_ids"]} <= set(ITEM_IDS.tolist())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (request([3], k=-1), "`k >= 1` must hold, but got k=-1"),
        (request([3], k=None), "k must be an integer"),
        (request([3], k="many"), "Can not safely convert"),
        (request([None]), "a user id must be text or an integer, but got None"),
        (request([[3]]), "a user id must be text or an integer, but got [3]"),
        (b'{"dataframe_records": [{"user": 3}]}', "rows need a user_id, item_ids or both"),
        (b'{"dataframe_records"', "valid JSON"),
    ],
)
def test_a_malformed_request_is_told_what_is_wrong(port: int, body: bytes, message: str) -> None:
    status, answer = post(port, body)
    assert status == 400
    assert message in json.loads(answer)["message"]
    assert "Traceback" not in answer


def test_no_request_is_too_large_to_be_refused(of_texts: Server) -> None:
    """Each is answered, by what it breaks where it breaks a limit, and none leaves much behind."""
    port = of_texts.port
    assert post(port, request(["u00003"]))[0] == 200
    before = of_texts.memory()
    few = {"dataframe_records": [{"user_id": "u00003", "item_ids": ["i01", "i02"]}]}
    for body, status, part in (
        (json.dumps(few).encode(), 200, '"known": true'),
        (request(["x" * 900]), 200, '"known": false'),
        (request(["x" * 10**6]), 400, "a user id may have 1,000 signs, but one has 1,000,000"),
        (request(["u00003"], k=10**18), 200, '"known": true'),
        (request(["u00003"] * 10_001), 400, "a request may have 10,000 rows, but has 10,001"),
        (request(["u00003"] * 10**6), 400, "a request may have 10,000 rows, but has 1,000,000"),
        (request(["u00003"] * 10_000, k=10), 200, '"known": true'),
        (of_items(["y" * 10**6]), 400, "an item id may have 1,000 signs"),
        (of_items(["i01"] * 10**6), 400, "a request may give 100,000 item ids, but gives 1,0"),
        (of_items(",".join(["i01"] * 10**6)), 400, "a request may give 100,000 item ids"),
    ):
        found, answer = post(port, body)
        assert (found, part in answer) == (status, True), answer[-500:]
        assert "Traceback" not in answer
    assert of_texts.memory() - before < 400 << 20  # measured: 90 MB; 10^6 users took 1.9 GB


def test_nested_json_leaves_it_alive(of_texts: Server) -> None:
    """MLflow itself cannot read it, and answers 500 before the model is asked."""
    for depth in (500, 100_000):
        body = b'{"dataframe_records": ' + b"[" * depth + b"]" * depth + b"}"
        assert post(of_texts.port, body)[0] in (400, 500)
    assert post(of_texts.port, request(["u00003"]))[0] == 200


def of_items(items: list[str] | str) -> bytes:
    return json.dumps({"dataframe_records": [{"item_ids": items}]}).encode()


SCALARS = st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | st.text()
USER_IDS = st.sampled_from([3, "3", "nobody", 17.0, "", -1, [], {}]) | SCALARS
ANYTHING = st.recursive(
    SCALARS, lambda some: st.lists(some) | st.dictionaries(st.text() | st.just("user_id"), some)
)
COLUMN = st.lists(USER_IDS, max_size=4)
DATA = {
    "dataframe_records": st.lists(
        st.fixed_dictionaries(
            {}, optional={"user_id": USER_IDS, "x": SCALARS, "item_ids": COLUMN | USER_IDS}
        )
    ),
    "dataframe_split": st.fixed_dictionaries(
        {"data": st.lists(st.lists(USER_IDS, max_size=2), max_size=3)},
        # other columns than texts are answered 500 by MLflow itself
        optional={"columns": st.just(["user_id"]) | st.lists(st.text(), max_size=2)},
    ),
    "inputs": COLUMN | st.fixed_dictionaries({"user_id": COLUMN | USER_IDS}),
    "instances": COLUMN | st.lists(st.fixed_dictionaries({"user_id": USER_IDS})),
}  # fmt: skip
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "k": st.integers(-2, 20) | SCALARS,
        "include_seen": st.booleans() | SCALARS,
        "x": ANYTHING,
    },
)
REQUESTS = st.fixed_dictionaries(
    {}, optional={name: data | ANYTHING for name, data in DATA.items()}
) | st.sampled_from(sorted(DATA)).flatmap(
    lambda name: st.fixed_dictionaries({name: DATA[name]}, optional={"params": PARAMS | ANYTHING})
)


@given(REQUESTS | ANYTHING, st.none() | st.tuples(st.integers(0, 99), st.binary(max_size=3)))
@example({"dataframe_records": [{"user_id": "3"}], "params": {"include_seen": True}}, None)
def test_any_json_is_answered_or_refused(
    port: int, value: Any, change: tuple[int, bytes] | None
) -> None:
    body = json.dumps(value).encode()
    if change is not None:
        place, piece = change
        body = body[:place] + piece + body[place + len(piece) :]
    status, answer = post(port, body)
    assert status in (200, 400), answer
    assert "Traceback" not in answer
    if status == 200:
        assert isinstance(json.loads(answer)["predictions"], list)


@given(
    st.binary(max_size=40) | st.just(b"user_id\n3\nx\n"),
    st.sampled_from(["text/csv", "application/vnd.apache.parquet", "text/plain", "x; y=z", ""]),
)
def test_any_bytes_of_any_kind_leave_it_alive(port: int, body: bytes, kind: str) -> None:
    """MLflow reads these kinds itself, and adds its own traceback where it cannot."""
    assert post(port, body, kind)[0] in (200, 400, 415)
