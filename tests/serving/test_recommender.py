"""Answers of a saved model against the formula and plain-Python sorting."""

from __future__ import annotations

import hashlib
import math
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from safetensors.numpy import save

from ncf.data.interactions import Interactions, from_columns
from ncf.protocol.splitting import History, history_of
from ncf.serving.answers import Recommendations
from ncf.serving.catalogue import Catalogue
from ncf.serving.factors import Factors, Recent
from ncf.serving.packaged import load_recommender, write_model
from ncf.serving.recommender import Recommender
from ncf.serving.scorers import Popularity

N_USERS, N_ITEMS = 5, 12
USER_IDS = np.array([3, 17, 20, 404, 5000])
ITEM_IDS = np.arange(100, 100 + N_ITEMS) * 7
TITLES = np.array([f"Title {n}" if n != 2 else "" for n in range(N_ITEMS)])
SEEN = [(0, 0), (0, 5), (1, 5), (2, 5), (2, 1), (2, 11), (4, 5), (4, 0)]  # user 3 has nothing


def text(ids: NDArray[np.int64]) -> NDArray[np.str_]:
    return np.array([f"id-{n:05d}" for n in ids])


def history(pairs: Sequence[tuple[int, int]] = SEEN) -> History:
    users, items = np.array(pairs, np.int32).T
    return history_of(users, items, N_USERS, N_ITEMS)


def catalogue_of(
    user_ids: NDArray[Any] = USER_IDS,
    item_ids: NDArray[Any] = ITEM_IDS,
    titles: NDArray[np.str_] | None = TITLES,
) -> Catalogue:
    return Catalogue(user_ids, item_ids, titles, history().indptr, history().items)


def model_of(item_biases: Sequence[float] | None = None) -> Factors:
    """Returns a model in which every parameter matters."""
    rng = np.random.default_rng(0)
    users, items, bias = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((N_USERS, 3), (N_ITEMS, 3), N_ITEMS)
    )
    return Factors(users, items, bias if item_biases is None else np.array(item_biases, np.float32))


def saved(folder: Path, model: Factors, catalogue: Catalogue) -> Recommender:
    write_model(folder, model.arrays(), {"embedding_dim": 3}, catalogue)
    return load_recommender(folder)


@pytest.fixture
def recommender(tmp_path: Path) -> Recommender:
    return saved(tmp_path, model_of(), catalogue_of())


def seen_by(user: int) -> set[int]:
    return {item for who, item in SEEN if who == user}


def best_by_hand(user: int, k: int, left_out: set[int]) -> list[tuple[int, float]]:
    """Returns the k best items of a user with their probabilities."""
    model = model_of()
    logits = model.item_factors.astype(float) @ model.user_factors[user] + model.item_bias
    probabilities = 1 / (1 + np.exp(-logits))
    items = [item for item in range(N_ITEMS) if item not in left_out]
    items.sort(key=lambda item: -probabilities[item])
    return [(item, float(probabilities[item])) for item in items[:k]]


# Known users


@pytest.mark.parametrize("k", [1, 4, N_ITEMS])
@pytest.mark.parametrize("include_seen", [False, True])
def test_agrees_with_the_formula(recommender: Recommender, k: int, include_seen: bool) -> None:
    answers = recommender.recommend(USER_IDS.tolist(), k, include_seen)
    assert [answer.user_id for answer in answers] == ["3", "17", "20", "404", "5000"]
    for user, answer in enumerate(answers):
        expected = best_by_hand(user, k, set() if include_seen else seen_by(user))
        assert answer.known
        assert answer.item_ids == [ITEM_IDS[item] for item, _ in expected]
        assert answer.scores == pytest.approx([score for _, score in expected], abs=1e-6)
        assert answer.titles == [TITLES[item] for item, _ in expected]


def test_a_longer_list_than_there_are_items_is_cut(recommender: Recommender) -> None:
    (answer,) = recommender.recommend([3], k=1000)
    assert len(answer.item_ids) == len(answer.scores) == len(answer.titles) == N_ITEMS - 2
    assert set(answer.item_ids) == {ITEM_IDS[n] for n in range(N_ITEMS)} - {700, 735}
    (answer,) = recommender.recommend([3], k=1000, include_seen=True)
    assert len(answer.item_ids) == N_ITEMS


@pytest.mark.parametrize("k", [0, -1])
def test_lists_have_at_least_one_place(recommender: Recommender, k: int) -> None:
    with pytest.raises(ValueError, match=f"`k >= 1` must hold, but got k={k}"):
        recommender.recommend([3], k)


def test_nobody_is_answered_with_nothing(recommender: Recommender) -> None:
    assert recommender.recommend([]) == []


def test_many_users_are_answered_in_order(recommender: Recommender) -> None:
    asked = [USER_IDS[n % N_USERS].item() for n in range(700)]  # beyond a block
    answers = recommender.recommend(asked, k=3)
    assert answers == [recommender.recommend([user_id], k=3)[0] for user_id in asked[:5]] * 140


def test_scores_near_one_keep_their_order(tmp_path: Path) -> None:
    """Where the probabilities are all 1 in float32, the logits still tell the better."""
    biases = [30.0 + 10 * ((5 * item) % N_ITEMS) for item in range(N_ITEMS)]  # a permutation
    recommender = saved(tmp_path, model_of(biases), catalogue_of())
    (answer,) = recommender.recommend([404], k=N_ITEMS)
    assert answer.scores == [1.0] * N_ITEMS
    best = sorted(range(N_ITEMS), key=lambda item: -biases[item])
    assert answer.item_ids == ITEM_IDS[best].tolist()


def test_extreme_logits_warn_of_nothing(tmp_path: Path) -> None:
    biases = [1000.0 * (item - 6) for item in range(N_ITEMS)]
    recommender = saved(tmp_path, model_of(biases), catalogue_of())
    with np.errstate(over="raise", invalid="raise"):
        (answer,) = recommender.recommend([404], k=N_ITEMS)
    assert answer.item_ids == ITEM_IDS[::-1].tolist()
    assert answer.scores[:5] == [1.0] * 5
    assert answer.scores[-6:] == [0.0] * 6


# Similar items


def test_similar_items_are_those_of_the_highest_cosines(recommender: Recommender) -> None:
    factors = model_of().item_factors
    unit = factors / np.linalg.norm(factors, axis=1, keepdims=True)
    cosines = unit @ unit[4]
    best = [item for item in np.argsort(-cosines) if item != 4][:5]
    answer = recommender.similar(str(ITEM_IDS[4]), k=5)
    assert answer.item_id == str(ITEM_IDS[4])
    assert answer.item_ids == ITEM_IDS[best].tolist()
    assert answer.scores == pytest.approx(cosines[best].tolist(), abs=1e-6)
    assert answer.titles == TITLES[best].tolist()
    assert len(recommender.similar(ITEM_IDS[4], k=1000).item_ids) == N_ITEMS - 1


def test_similar_items_of_what_is_not_known_are_refused(recommender: Recommender) -> None:
    with pytest.raises(ValueError, match="item 5: unknown to the model"):
        recommender.similar(5)
    with pytest.raises(ValueError, match="`k >= 1` must hold"):
        recommender.similar(ITEM_IDS[0], k=0)


def test_a_model_without_factors_has_no_similar_items() -> None:
    recommender = Recommender(Popularity(np.arange(12.0)), catalogue_of())
    with pytest.raises(ValueError, match="compares no items"):
        recommender.similar(ITEM_IDS[0])


def test_scores_that_are_no_logits_are_shown_as_they_are() -> None:
    recommender = Recommender(Popularity(np.arange(12.0)), catalogue_of())
    (answer,) = recommender.recommend([USER_IDS[2]], k=2)  # who has seen item 11
    assert answer.item_ids == ITEM_IDS[[10, 9]].tolist()
    assert answer.scores == [10.0, 9.0]


# Unknown users


@pytest.mark.parametrize("user_id", [4, -1, 10**30, "nobody", "", "3.5"])
def test_an_unknown_user_is_answered_by_popularity(
    recommender: Recommender, user_id: object
) -> None:
    (answer,) = recommender.recommend([user_id], k=2)
    assert not answer.known
    assert answer.user_id == str(user_id)
    assert answer.item_ids == [ITEM_IDS[5], ITEM_IDS[0]]  # of 4 and 2 of the 5 users
    assert answer.scores == pytest.approx([0.8, 0.4])


def test_an_unknown_user_changes_no_other_answer(recommender: Recommender) -> None:
    first, unknown, last = recommender.recommend([3, 999, 5000], k=4)
    assert [first, last] == recommender.recommend([3, 5000], k=4)
    assert [first.known, unknown.known, last.known] == [True, False, True]


@pytest.mark.parametrize("user_id", [404, 999])
def test_a_shorter_list_is_the_beginning_of_a_longer_one(
    recommender: Recommender, user_id: int
) -> None:
    """Also where popularity ties, as most items of a small catalogue do."""
    (whole,) = recommender.recommend([user_id], k=N_ITEMS)
    for k in range(1, N_ITEMS):
        (answer,) = recommender.recommend([user_id], k=k)
        assert answer.item_ids == whole.item_ids[:k]


# Users who came later

LATER = np.array([True, True, False, True, True])  # all but user 2 were fitted to


def test_who_came_after_the_training_is_answered_as_anyone_new(tmp_path: Path) -> None:
    catalogue = replace(catalogue_of(), fitted=LATER)
    recommender = saved(tmp_path, model_of(), catalogue)
    late, new, known = recommender.recommend([20, "nobody", 3], k=N_ITEMS)
    assert [late.known, new.known, known.known] == [False, False, True]
    left = [item for item in new.item_ids if item not in ITEM_IDS[[5, 1, 11]]]  # seen later
    assert late.item_ids == left
    (late,) = recommender.recommend([20], k=N_ITEMS, include_seen=True)
    assert (late.item_ids, late.scores) == (new.item_ids, new.scores)
    assert [known] == saved(tmp_path, model_of(), catalogue_of()).recommend([3], k=N_ITEMS)
    table = recommender.table(k=2)
    assert table["user_id"].unique().tolist() == ["3", "17", "404", "5000"]


def test_the_items_of_who_came_later_are_read_as_those_of_anyone_new(tmp_path: Path) -> None:
    model = model_of_last_items()
    recommender = saved(tmp_path, model, replace(catalogue_of(), fitted=LATER))
    (answer,) = recommender.recommend([20], k=5, items=[ITEM_IDS[4]])
    assert answer.known
    expect(answer, scores_by_hand(model, np.zeros(2), [4]), {4, 5, 1, 11})


def test_a_catalogue_notes_whom_a_model_was_not_fitted_to(tmp_path: Path) -> None:
    interactions = interactions_of(None)
    users = np.repeat(np.arange(4, dtype=np.int32), np.diff(interactions.indptr))
    seen = history_of(users, interactions.items, 4, interactions.n_items)
    early = users < 3
    fitted_on = history_of(users[early], interactions.items[early], 4, interactions.n_items)
    catalogue = Catalogue.of(interactions, seen, fitted_on)
    whole = Catalogue.of(interactions, seen, seen)
    assert whole.fitted is None
    assert catalogue.digest != whole.digest
    catalogue.save(tmp_path / "catalogue.npz")
    loaded = Catalogue.load(tmp_path / "catalogue.npz")
    assert loaded.digest == catalogue.digest
    assert loaded.fitted_users.tolist() == [0, 1, 2]


# Some items alone


def test_only_some_items_are_listed_and_others_never(recommender: Recommender) -> None:
    some = ITEM_IDS[[0, 3, 5, 8]].tolist()
    for user, user_id in ((0, 3), (None, "nobody")):
        (whole,) = recommender.recommend([user_id], k=N_ITEMS)
        (answer,) = recommender.recommend([user_id], k=N_ITEMS, only=[*some, "no item"])
        assert answer.item_ids == [item for item in whole.item_ids if item in some]
        (answer,) = recommender.recommend([user_id], k=N_ITEMS, exclude=[*map(str, some), 1])
        assert answer.item_ids == [item for item in whole.item_ids if item not in some]
        (answer,) = recommender.recommend([user_id], only=some, exclude=some[:3])
        assert answer.item_ids == some[3:]
        assert user is None or answer.known
    (answer,) = recommender.recommend([3], only=some, exclude=some)
    assert answer.item_ids == []
    for nothing in ([], ["no item", 1]):
        with pytest.raises(ValueError, match="the model knows none of them"):
            recommender.recommend([3], only=nothing)


def test_given_items_and_some_items_alone(tmp_path: Path) -> None:
    recommender = saved(tmp_path, model_of_last_items(), catalogue_of())
    given, some = [ITEM_IDS[4]], ITEM_IDS[[2, 4, 7]].tolist()
    (whole,) = recommender.recommend(k=N_ITEMS, items=given)
    (answer,) = recommender.recommend(k=N_ITEMS, items=given, only=some)
    assert answer.item_ids == [item for item in whole.item_ids if item in some]


def test_many_answers_are_a_table(recommender: Recommender) -> None:
    answers = recommender.recommend([3, "nobody"], k=3, exclude=[ITEM_IDS[4]])
    table = recommender.table(pd.Series([3, "nobody"]), k=3, exclude=[ITEM_IDS[4]])
    assert table.columns.tolist() == ["user_id", "known", "rank", "item_id", "score", "title"]
    assert [*table.itertuples(index=False, name=None)] == [
        (answer.user_id, answer.known, rank, *row)
        for answer in answers
        for rank, row in enumerate(
            zip(answer.item_ids, answer.scores, answer.titles, strict=True), start=1
        )
    ]
    assert recommender.table()["user_id"].nunique() == N_USERS
    assert recommender.table([]).empty


@pytest.mark.parametrize("user_ids", ["196", 196, np.int64(196)])
def test_one_id_that_is_no_list_is_told(recommender: Recommender, user_ids: Any) -> None:
    with pytest.raises(ValueError, match="user ids must be a list, as "):
        recommender.recommend(user_ids)


# Given items

LATEST = [(1, 8), (4,), (), (2, 3), (0, 9)]  # each user's last items, latest first


def model_of_last_items(dim: int = 2) -> Factors:
    rng = np.random.default_rng(6)
    users, items, factors = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((N_USERS, dim), (N_ITEMS, dim + 3), (N_ITEMS, 3))
    )
    last = np.array([[*row, -1, -1][:2] for row in LATEST], np.int32)
    block = Recent(factors, np.array([0.9, 0.4], np.float32), last)
    return Factors(users, items, np.linspace(-1, 1, N_ITEMS, dtype=np.float32), block)


def scores_by_hand(
    model: Factors, own: NDArray[Any], latest_first: Sequence[int]
) -> NDArray[np.float64]:
    assert model.recent is not None
    shares = zip((0.9, 0.4), latest_first, strict=False)
    x = sum((share * model.recent.factors[item] for share, item in shares), np.zeros(3))
    vector = np.concatenate([own, x])
    return np.asarray(1 / (1 + np.exp(-(model.item_factors @ vector + model.item_bias))))


def expect(answer: Recommendations, scores: NDArray[np.float64], left_out: set[int]) -> None:
    left = [item for item in np.argsort(-scores) if item not in left_out]
    assert answer.item_ids == ITEM_IDS[left[: len(answer.item_ids)]].tolist()
    np.testing.assert_allclose(answer.scores, scores[left[: len(answer.item_ids)]], atol=1e-5)


@pytest.mark.parametrize("dim", [0, 2])
def test_a_new_user_is_answered_from_the_given_items(tmp_path: Path, dim: int) -> None:
    model = model_of_last_items(dim)
    recommender = saved(tmp_path, model, catalogue_of())
    given = [ITEM_IDS[item] for item in (7, 3, 6)]  # latest last; the model reads two
    own = np.zeros(dim)
    for user_ids in ([], ["nobody"]):
        (answer,) = recommender.recommend(user_ids, k=5, items=given)
        assert answer.known
        assert answer.user_id == "".join(user_ids)
        assert len(answer.item_ids) == 5
        expect(answer, scores_by_hand(model, own, [6, 3]), {7, 3, 6})
    (answer,) = recommender.recommend(k=12, items=given, include_seen=True)
    expect(answer, scores_by_hand(model, own, [6, 3]), set())


def test_a_known_users_newer_items_take_the_place_of_the_last(tmp_path: Path) -> None:
    model = model_of_last_items()
    recommender = saved(tmp_path, model, catalogue_of())
    (answer,) = recommender.recommend([USER_IDS[0]], k=5, items=[str(ITEM_IDS[4])])
    expect(answer, scores_by_hand(model, model.user_factors[0], [4]), {4, 0, 5})
    (before,) = recommender.recommend([USER_IDS[0]], k=5)
    expect(before, scores_by_hand(model, model.user_factors[0], LATEST[0]), {0, 5})


def test_given_items_that_are_not_known_are_passed_over(tmp_path: Path) -> None:
    recommender = saved(tmp_path, model_of_last_items(), catalogue_of())
    a, b = (ITEM_IDS[item].item() for item in (2, 9))
    expected = recommender.recommend(k=4, items=[a, b])
    assert recommender.recommend(k=4, items=[a, "nothing", b, 10**30]) == expected
    assert recommender.recommend(k=4, items=[a, b, a, b]) == expected  # the latest time counts
    (answer,) = recommender.recommend(k=2, items=["nothing"])
    assert not answer.known
    assert answer.item_ids == [ITEM_IDS[5], ITEM_IDS[0]]  # the most popular
    assert recommender.recommend([3], k=2, items=[]) == recommender.recommend([3], k=2)


def test_items_that_cannot_be_taken_are_refused(recommender: Recommender, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="n_recent > 0"):
        recommender.recommend(items=[ITEM_IDS[0]])
    (tmp_path / "other").mkdir()
    reading = saved(tmp_path / "other", model_of_last_items(), catalogue_of())
    with pytest.raises(ValueError, match="items are one user's, but got 2 user ids"):
        reading.recommend([3, 17], items=[ITEM_IDS[0]])
    with pytest.raises(ValueError, match="an item id must be text or an integer"):
        reading.recommend(items=[1.5])


def test_predict_takes_items_as_a_list_or_as_text(tmp_path: Path) -> None:
    recommender = saved(tmp_path, model_of_last_items(), catalogue_of())
    a, b = (str(ITEM_IDS[item]) for item in (2, 9))
    rows = [(None, [a, b]), ("3", f"{a}, {b}"), ("3", None), ("zz", ""), (None, f"{a}")]
    asked = pd.DataFrame(rows, columns=["user_id", "item_ids"])
    found = recommender.predict(asked, {"k": 3})
    expected = [
        *recommender.recommend(k=3, items=[a, b]),
        *recommender.recommend(["3"], k=3, items=[a, b]),
        *recommender.recommend(["3", "zz"], k=3),
        *recommender.recommend(k=3, items=[a]),
    ]
    assert found["item_ids"].tolist() == [answer.item_ids for answer in expected]
    assert found["known"].tolist() == [True, True, True, False, True]
    alone = recommender.predict(asked.iloc[:1][["item_ids"]], {"k": 3})
    assert alone["item_ids"].tolist() == [expected[0].item_ids]
    for bad in (3.5, True):
        with pytest.raises(MlflowException, match="item_ids must be a list or text"):
            recommender.predict(pd.DataFrame({"item_ids": pd.Series([bad], dtype=object)}))


def test_similar_items_of_a_model_of_last_items(tmp_path: Path) -> None:
    recommender = saved(tmp_path, model_of_last_items(), catalogue_of())
    assert len(recommender.similar(ITEM_IDS[4], k=5).item_ids) == 5


# Own ids


@pytest.mark.parametrize("asked", [17, "17", "17.0", np.int64(17), np.int32(17)])
def test_integer_ids_are_found_as_numbers_and_as_text(
    recommender: Recommender, asked: object
) -> None:
    (answer,) = recommender.recommend([asked], k=1)
    assert answer.known
    assert answer.item_ids == [ITEM_IDS[best_by_hand(1, 1, seen_by(1))[0][0]]]
    assert type(answer.item_ids[0]) is int  # as JSON wants it


def test_text_ids_are_found_exactly(tmp_path: Path) -> None:
    recommender = saved(tmp_path, model_of(), catalogue_of(text(USER_IDS), text(ITEM_IDS)))
    answers = recommender.recommend(["id-00017", "id-0001", "id-000170", "17", "zzz", ""], k=1)
    assert [answer.known for answer in answers] == [True, False, False, False, False, False]
    ((item, score),) = best_by_hand(1, 1, seen_by(1))
    assert answers[0].item_ids == [f"id-{ITEM_IDS[item]:05d}"]
    assert answers[0].scores == [pytest.approx(score, abs=1e-6)]


def test_text_ids_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    ids = np.array(["007", "10", "17", "7", "8"])
    recommender = saved(tmp_path, model_of(), catalogue_of(user_ids=ids))
    assert [recommender.catalogue.user_of(user_id) for user_id in ("007", "7", 7, "07")] == [
        0,
        3,
        3,
        None,
    ]


def test_without_titles_they_are_empty(tmp_path: Path) -> None:
    recommender = saved(tmp_path, model_of(), catalogue_of(titles=None))
    (answer,) = recommender.recommend([3], k=2)
    assert answer.titles == ["", ""]


# As MLflow calls it


@pytest.mark.parametrize(
    ("user_id", "params", "message"),
    [
        ("3", {"k": 0}, "`k >= 1` must hold, but got k=0"),
        ("3", {"k": None}, "k must be an integer, but got None"),
        *((bad, {}, "a user id must be text or an integer") for bad in (None, 3.0, [3], True)),
    ],
)
def test_a_malformed_request_is_refused_without_a_traceback(
    recommender: Recommender, user_id: object, params: dict[str, object], message: str
) -> None:
    """A server answers an MlflowException by its code and message, any other by the traceback."""
    asked = pd.DataFrame({"user_id": pd.Series([user_id], dtype=object)})
    with pytest.raises(MlflowException, match=message) as refused:
        recommender.predict(asked, params)
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"  # 400
    assert "stack_trace" not in refused.value.json_kwargs


def test_predict_answers_a_frame_with_a_frame(recommender: Recommender) -> None:
    asked = pd.DataFrame({"user_id": ["17", "nobody"]})
    frame = recommender.predict(asked, {"k": 3, "include_seen": True})
    assert list(frame.columns) == ["user_id", "item_ids", "scores", "titles", "known"]
    answers = recommender.recommend(["17", "nobody"], 3, include_seen=True)
    for name in frame.columns:
        assert frame[name].tolist() == [getattr(answer, name) for answer in answers]
    assert [len(items) for items in recommender.predict(asked)["item_ids"]] == [10, 10]


def test_a_server_refuses_what_python_may_ask(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow tests ask a real server; here is which error makes it answer with status 400."""
    monkeypatch.setattr("ncf.serving.requests.MOST_ROWS", 100)
    monkeypatch.setattr("ncf.serving.requests.MOST_LISTED", 1000)
    many = pd.DataFrame({"user_id": ["17"] * 101})
    assert len(recommender.predict(many)) == 101
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    for asked, k, message in (
        (many, 1, "a request may have 100 rows, but has 101: send less"),
        (many[:100], 11, "with 1,000 items, but 100 rows of k=11 are 1,100: send fewer rows"),
        (pd.DataFrame({"user_id": ["x" * 1001]}), 1, "a user id may have 1,000 signs"),
        (pd.DataFrame({"item_ids": [["735"] * 60_000] * 2}), 1, "may give 100,000 item ids"),
        (pd.DataFrame({"item_ids": [["735", "x" * 1001]]}), 1, "an item id may have 1,000 signs"),
    ):
        with pytest.raises(MlflowException, match=message) as refused:
            recommender.predict(asked, {"k": k})
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE"  # 400
    assert len(recommender.predict(many[:80], {"k": 10**12})) == 80  # of 12 items each, at most


# Files


def test_a_model_of_the_code_before_answers_as_it_did(tmp_path: Path) -> None:
    """Its arrays had the names of PyTorch's state, and the output's weights of their own."""
    rng = np.random.default_rng(3)
    shapes = {
        "user_embedding.weight": (N_USERS, 3),
        "item_embedding.weight": (N_ITEMS, 3),
        "item_bias.weight": (N_ITEMS, 1),
        "output.weight": (1, 3),
        "output.bias": (1,),
    }
    state = {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()}
    write_model(tmp_path, state, {"optimizer": "sgd", "embedding_dim": 3}, catalogue_of())
    scores = load_recommender(tmp_path).scorer.score_all(np.arange(N_USERS))
    p, q, c, w, b = (state[name].astype(float) for name in shapes)
    np.testing.assert_allclose(scores, (p * w) @ q.T + c[:, 0] + b, rtol=1e-5, atol=1e-6)
    import ncf.recommender  # whose name the MLmodel file of such a model has

    (answer,) = ncf.recommender._load_pyfunc(str(tmp_path)).recommend([USER_IDS[0]], k=1)
    assert answer.known


def interactions_of(titles: dict[int, str] | None) -> Interactions:
    users, items = np.array(SEEN).T
    return from_columns("toy", users + 50, items + 900, titles=titles)


@pytest.mark.parametrize("titles", [None, {900: "Zero", 911: "Ünïcode"}])
def test_a_catalogue_comes_back_as_it_was_saved(
    titles: dict[int, str] | None, tmp_path: Path
) -> None:
    interactions = interactions_of(titles)
    users = np.repeat(np.arange(4, dtype=np.int32), np.diff(interactions.indptr))
    seen = history_of(users, interactions.items, 4, interactions.n_items)
    catalogue = Catalogue.of(interactions, seen, seen)
    path = tmp_path / "catalogue.npz"
    catalogue.save(path)
    loaded = Catalogue.load(path)
    np.testing.assert_array_equal(loaded.user_ids, [50, 51, 52, 54])
    np.testing.assert_array_equal(loaded.item_ids, [900, 901, 905, 911])
    np.testing.assert_array_equal(loaded.seen_indptr, seen.indptr)
    np.testing.assert_array_equal(loaded.seen_items, seen.items)
    assert loaded.n_items == seen.n_items == 4
    if titles is None:
        assert loaded.titles is None
    else:
        assert loaded.titles is not None
        assert loaded.titles.tolist() == ["Zero", "", "", "Ünïcode"]


def test_weights_of_other_data_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, model_of(), catalogue_of())
    seen = history()
    last = seen.indptr[4]
    other = Catalogue(USER_IDS[:4], ITEM_IDS, TITLES, seen.indptr[:5], seen.items[:last])
    other.save(tmp_path / "catalogue.npz")
    with pytest.raises(ValueError, match="the catalogue is not that of its checksum"):
        load_recommender(tmp_path)
    weights = save(model_of().arrays())  # as in a model of an earlier version
    (tmp_path / "weights.safetensors").write_bytes(weights)
    (tmp_path / "weights.sha256").write_text(hashlib.sha256(weights).hexdigest())
    with pytest.raises(ValueError, match=r"5 users and 12 items do not fit .* 4 and 12") as raised:
        load_recommender(tmp_path)
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.sha256", "catalogue.npz"])
def test_a_torn_model_is_never_loaded(tmp_path: Path, name: str) -> None:
    """Whatever byte is lost or changed."""
    whole = saved(tmp_path, model_of(), catalogue_of()).recommend([3])
    content = (tmp_path / name).read_bytes()
    for place in range(0, len(content), 7):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        for torn in (content[:place], changed):
            (tmp_path / name).write_bytes(torn)
            with suppress(ValueError):
                assert load_recommender(tmp_path).recommend([3]) == whole  # a date in a zip file
                assert (name, torn) == ("catalogue.npz", changed)


class Code:
    """What runs when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def test_loading_runs_no_code_of_the_model(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    pickled = pickle.dumps(Code(trace))
    with suppress(AttributeError):
        pickle.loads(pickled)
    assert trace.exists(), "it would run"
    trace.unlink()
    saved(tmp_path, model_of(), catalogue_of())
    arrays = dict(np.load(tmp_path / "catalogue.npz"))
    arrays["titles"] = np.array([Code(trace)] * N_ITEMS, dtype=object)
    np.savez(tmp_path / "catalogue.npz", **arrays)
    with pytest.raises(ValueError, match="the model is damaged"):
        load_recommender(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(pickled)
    checksum = hashlib.sha256(pickled).hexdigest()
    (tmp_path / "weights.sha256").write_text(checksum)
    with pytest.raises(ValueError, match="the model is damaged"):
        load_recommender(tmp_path)
    assert not trace.exists()


def test_a_folder_without_weights_is_an_error(tmp_path: Path) -> None:
    catalogue_of().save(tmp_path / "catalogue.npz")
    with pytest.raises(FileNotFoundError, match=r"weights.safetensors"):
        load_recommender(tmp_path)


def test_a_trials_model_shares_its_studys_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, folder = tmp_path / "study.npz", tmp_path / "model"
    folder.mkdir()
    catalogue_of().save(elsewhere)
    write_model(folder, model_of().arrays(), {}, catalogue_of(), "runs:/abc/catalogue.npz")
    files = {"runs:/abc/catalogue.npz": str(elsewhere)}
    artifacts = SimpleNamespace(download_artifacts=files.__getitem__)
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(artifacts=artifacts))
    (answer,) = load_recommender(folder).recommend([3], k=1)
    assert answer.known
    assert math.isclose(answer.scores[0], best_by_hand(0, 1, seen_by(0))[0][1], abs_tol=1e-6)
