# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenStack Swift with its S3 interface in one process. Run by the Python of Swift's own environment.

usage: serve.py FOLDER

``tests/support/s3_server.py`` wrote there: ``swift.conf``, ``servers.json``, and one configuration for each server.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import eventlet
from swift.common import utils, wsgi
from swift.common.ring import RingBuilder

PARTITION_POWER = 4


def make_ring(folder: Path, kind: str, port: int) -> None:
    """Say that everything of one kind lies on the one device, once."""
    ring = folder / ("%s.ring.gz" % kind)
    if ring.exists():
        return
    builder = RingBuilder(PARTITION_POWER, 1, 0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1.0})
    builder.rebalance()
    builder.get_ring().save(str(ring))


def main(folder: Path) -> None:
    servers = json.loads((folder / "servers.json").read_text())
    for kind in ("object", "container", "account"):
        make_ring(folder, kind, servers[kind]["port"])
    utils.monkey_patch()
    waiting = []
    for server in servers.values():
        conf, logger, _name = wsgi._initrp(server["conf"], server["section"])
        if server["section"] == "object-server":
            reserve = utils.config_fallocate_value(conf.get("fallocate_reserve", "0"))
            utils.FALLOCATE_RESERVE, utils.FALLOCATE_IS_PERCENT = reserve
        app = wsgi.loadapp(server["conf"], global_conf={"log_name": server["section"]})
        waiting.append(
            eventlet.spawn(
                eventlet.wsgi.server,
                wsgi.get_socket(conf),
                app,
                utils.NullLogger(),
                protocol=wsgi.SwiftHttpProtocol,
                socket_timeout=60,
                # boto3 looks for ETag, which would become Etag.
                capitalize_response_headers=False,
            )
        )
        logger.info("serves %s", server["conf"])
    for one in waiting:
        one.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
