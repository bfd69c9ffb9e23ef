"""With 100,000 images a page and a show cost what they cost with a few hundred."""

import datetime
import sys
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa
from counting import Meter

sys.path.insert(0, str(Path(__file__).parents[1] / "api" / "glance"))
from glance_cloud import build

from gureum.glance.model import HERE
from gureum.glance.store import tables

pytestmark = pytest.mark.slow

FEW, MANY, PAGE = 4_000, 100_000, 25
PROJECTS = 40
BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def image(number):
    """One in ten is public, one in a hundred community; all have a property, a tag and a place."""
    id = str(uuid.UUID(int=number))
    kind = "public" if number % 10 == 0 else "community" if number % 100 == 7 else "shared"
    at = BEGIN + datetime.timedelta(seconds=number)
    return {
        "id": id,
        "name": f"image-{number}",
        "project_id": f"p{number % PROJECTS}",
        "status": "active",
        "visibility": kind,
        "protected": False,
        "os_hidden": False,
        "min_disk": 0,
        "min_ram": 0,
        "disk_format": "raw",
        "container_format": "bare",
        "size": number,
        "virtual_size": number,
        "checksum": "0" * 32,
        "os_hash_algo": "sha512",
        "os_hash_value": "0" * 128,
        "created_at": at,
        "updated_at": at,
        "generation": 1,
    }


def fill(cloud, count):
    rows = [image(number) for number in range(count)]
    ids = [row["id"] for row in rows]
    with cloud.deps.db.write() as tx:
        tx.insert_many(tables.images, rows)
        named = [{"image_id": id, "name": "os_distro", "value": "debian"} for id in ids]
        tx.insert_many(tables.properties, named)
        tx.insert_many(tables.tags, [{"image_id": id, "tag": "old"} for id in ids])
        places = [
            {
                "id": id,
                "image_id": id,
                "store": "file",
                "about": {},
                "status": HERE,
                "position": 0,
            }
            for id in ids
        ]
        tx.insert_many(tables.locations, places)
        member = {"member_id": "p1", "status": "accepted", "created_at": BEGIN, "updated_at": BEGIN}
        shared = [row["id"] for row in rows if row["visibility"] == "shared"][-60:]
        tx.insert_many(tables.members, [{**member, "image_id": id} for id in shared])
    with cloud.deps.db.write() as tx:
        tx.execute(sa.text("ANALYZE"))
    return ids


def work(cloud, path, token):
    """Return the steps that the database took to answer, and the answer."""
    with cloud.meter.counting() as work:
        answer = cloud.call("GET", path, token=token)
    assert answer.status == 200, answer.body
    return work.steps, answer.json()


def test_lists_and_shows_do_not_grow_with_100_000_images(tmp_path):
    small, large = build(tmp_path / "small"), build(tmp_path / "large")
    if small.deps.db.engine.dialect.name != "sqlite":
        pytest.skip("the steps of a query are counted by SQLite only")
    few, many = fill(small, FEW), fill(large, MANY)
    for cloud in (small, large):
        cloud.meter = Meter([cloud.deps.db])
    asked = (
        ("", "p1:member"),
        ("", "ops:admin"),
        ("?visibility=public", "p1:member"),
        ("?visibility=community", "p1:member"),
        ("?visibility=shared&member_status=accepted", "p1:member"),
        ("?visibility=all", "ops:admin"),
        ("?owner=p1", "p1:member"),
        ("?name=image-41", "p1:member"),
        ("?sort=created_at:desc", "p2:member"),
    )
    for query, token in asked:
        mark = "&" if query else "?"
        costs = []
        for cloud, ids in ((small, few), (large, many)):
            path = f"/v2/images{query}{mark}limit={PAGE}"
            first, body = work(cloud, path, token)
            assert body["images"], query
            after = body["images"][-1]["id"]
            later, _ = work(cloud, f"{path}&marker={after}", token)
            shown, _ = work(cloud, f"/v2/images/{ids[len(ids) // 2 // 10 * 10]}", token)
            costs.append((first, later, shown))
        for least, most in zip(*costs, strict=True):
            assert most <= 2 * least + 500, (query, token, costs)
