"""Checked tokens are remembered without a query, and never longer than is stated."""

from typing import Any

from gureum.keystone.logic.deps import EpochWatch


def test_validation_of_a_known_token_asks_no_database(cloud: Any, monkeypatch: Any) -> None:
    token = cloud.admin
    show = ("GET", "/v3/auth/tokens", None, token)
    assert cloud.call(*show, x_subject_token=token)[0] == 200

    def refuse() -> Any:
        raise AssertionError("a transaction was opened")

    cloud.deps.epoch.number(lambda: 0)
    cloud.deps.epoch._max_age_s = 60.0
    cloud.deps.epoch.forget()
    assert cloud.call(*show, x_subject_token=token)[0] == 200
    monkeypatch.setattr(cloud.db, "read", refuse)
    status, body, headers = cloud.call(*show, x_subject_token=token)
    assert status == 200 and body["token"]["catalog"] and headers["X-Subject-Token"] == token


def test_change_in_this_process_counts_at_once() -> None:
    watch = EpochWatch(max_age_s=60)
    assert watch.number(lambda: 1) == 1
    assert watch.number(lambda: 2) == 1
    watch.forget()
    assert watch.number(lambda: 2) == 2


def test_a_number_read_before_a_change_is_not_kept_after_it() -> None:
    watch = EpochWatch(max_age_s=60)

    def read_while_another_commits() -> int:
        watch.forget()
        return 1

    assert watch.number(read_while_another_commits) == 1
    assert watch.number(lambda: 2) == 2


def test_change_in_another_process_counts_when_the_number_is_old() -> None:
    watch = EpochWatch(max_age_s=0)
    assert watch.number(lambda: 1) == 1
    assert watch.number(lambda: 2) == 2
