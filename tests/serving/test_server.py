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
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ncf.models.gmf.setting import Hyperparameters
from ncf.tracking.logged_models import package
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


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server of a model that knows users 3 to 5000."""
    folder = tmp_path_factory.mktemp("served")
    save_file(model_of().arrays(), folder / "weights.safetensors")
    package(folder / "model", folder / "weights.safetensors", Hyperparameters(), catalogue_of())
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
        yield port
        assert server.poll() is None, "the server died"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


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
