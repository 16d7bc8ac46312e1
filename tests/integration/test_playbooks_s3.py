# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks with a store in a bucket of a real S3 server: what is saved there comes back from there."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.support.s3_server import S3Server, s3_bucket, s3_server
from tests.support.site import NAME, Site, differences, leave, shown, site

__all__ = ["s3_bucket", "s3_server", "site"]


def in_bucket(server: S3Server, bucket: str) -> dict[str, Any]:
    return {"store": "s3://%s/backups" % bucket, "s3": server.tls_options()}


def test_an_instance_comes_back_from_a_bucket(site: Site, s3_server: S3Server, s3_bucket: str) -> None:
    where = in_bucket(s3_server, s3_bucket)
    before = site.instance.picture()
    made = site.run("backup", **where)
    assert made.ok, made.output
    assert not site.store.exists(), "a copy was left on the controller"
    verified = site.run("verify", verify_level="decode", verify_bin_dir=str(site.instance.postgres.bin), **where)
    assert verified.ok, verified.output
    leave(site)
    again = site.run("restore", **where)
    assert again.ok, again.output
    assert differences(before, site.instance.picture()) == []
    listed = site.run("list", **where)
    assert listed.ok, listed.output
    assert "decode" in shown(listed)
    for run in (made, verified, again, listed):
        assert s3_server.options()["secret_key"] not in run.output + str(run.results), "the secret key was logged"


def test_sets_are_copied_to_a_folder_and_pruned_in_the_bucket(site: Site, s3_server: S3Server, s3_bucket: str) -> None:
    where = in_bucket(s3_server, s3_bucket)
    for _one in range(2):
        run = site.run("backup", components=["postgresql"], **where)
        assert run.ok, run.output
    copied = site.run("copy", copy_to=str(site.store), copy_sets=["all"], **where)
    assert copied.ok, copied.output
    newest = site.sets()[-1].name
    assert len(site.sets()) == 2
    pruned = site.run("prune", keep_last=1, minimum_verified=1, **where)
    assert pruned.ok, pruned.output
    keys = [one["Key"] for one in s3_server.judge.list_objects_v2(Bucket=s3_bucket)["Contents"]]
    assert {key.split("/")[2][: len(newest)] for key in keys if "/." not in key} == {newest}
    assert {key.split("/")[1] for key in keys} == {NAME}
    back = site.run("copy", store=str(site.store), copy_to=where["store"], copy_to_s3=where["s3"], copy_sets=["all"])
    assert back.ok, back.output
    assert "1 set copied to %s" % where["store"] in shown(back)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"secret_key": "wrong"}, "secret"),
        ({"ca_bundle": ""}, "certificate"),
        ({"endpoint_url": "http://192.0.2.1:9000"}, "TLS"),
        ({"parallel": "many"}, "parallel"),
        ({"acces_key": "x"}, "acces_key"),
    ],
)
def test_what_is_wrong_with_the_bucket_is_said_before_the_host_is_asked(
    site: Site, s3_server: S3Server, s3_bucket: str, change: dict[str, str], says: str
) -> None:
    where = in_bucket(s3_server, s3_bucket)
    where["s3"] = {**where["s3"], **change}
    run = site.run("backup", **where, env={"AWS_CA_BUNDLE": os.devnull} if "ca_bundle" in change else None)
    assert not run.ok
    assert says in run.message, run.message
    assert run.of("authentik_ops.recovery.authentik_pg_dump") == []
