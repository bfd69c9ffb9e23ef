"""At every commit of every verb the answer of the database is lost: nothing is done twice, nothing is left.

The user sees success or an error, and may ask again; what is there in the end is what was asked for once.
"""

import pytest
from lost_commits import LostCommits
from stranded import assert_nothing_stranded
from verbs import VERBS
from whole_cloud import WholeCloud

STRIDE = 1


@pytest.fixture
def lost(monkeypatch):
    return LostCommits(monkeypatch)


def once(directory, lost, verb, nth):
    """Do a verb with the nth commit's answer lost; returns how many commits there were."""
    before, ask, wanted = VERBS[verb]
    directory.mkdir()
    cloud = WholeCloud(directory, ("h1",))
    network = cloud.furnish()
    server_id = cloud.server(network) if before else None
    with lost.at(nth):
        answer = ask(cloud, server_id, network)
        cloud.run()
    where = f"{verb}, answer of commit {nth} lost: {answer}"
    assert answer.status in (200, 202, 204, 503), where
    if answer.status == 503 and verb != "create":  # the user asks again
        again = ask(cloud, server_id, network)
        assert again.status in (200, 202, 204, 404, 409), (where, again)
    assert_nothing_stranded(cloud)
    found = cloud.ask("GET", "/servers/detail")["servers"]
    if before:
        found = [server for server in found if server["id"] == server_id]
    assert len(found) <= 1, where
    status = found[0]["status"] if found else None
    cards = len(cloud.nics(found[0]["id"])) if found else 0
    assert (status, cards) in wanted, where
    if verb == "create" and answer.status == 202:
        assert status == "ACTIVE", where
    cloud.close()
    return lost.count


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("verb", VERBS)
def test_lost_answer_of_any_commit_does_nothing_twice(verb, lost, tmp_path):
    commits = once(tmp_path / "quiet", lost, verb, 0)
    assert commits >= 2
    for nth in range(1, commits + 1, STRIDE):
        assert once(tmp_path / f"lost-{nth}", lost, verb, nth) >= nth
