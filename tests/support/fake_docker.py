# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for the engine's client, for what a real engine cannot be made to do at a given moment.

A program of its own, to be put on PATH. What it finds lies in a folder: the containers as ``inspect`` prints them, and
what shall go wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PROGRAM = """\
#!{python} -IS
import json, os, sys, time
here = {here!r}
words = sys.argv[1:]
while words and words[0] in ("--host", "--config"):
    words = words[2:]

def get(*name):
    path = os.path.join(here, "-".join(name).replace("/", "_"))
    return open(path).read() if os.path.exists(path) else None

def load():
    return json.loads(get("containers"))

def save(found):
    with open(os.path.join(here, "containers"), "w") as out:
        json.dump(found, out)

def log(*said):
    with open(os.path.join(here, "log"), "a") as out:
        out.write(" ".join(said) + "\\n")

def become(item, state):
    restarts = state.pop("RestartCount", None)
    item["State"] = state
    if restarts is not None:
        item["RestartCount"] = restarts

STATES = {{
    "stop": {{"Status": "exited", "ExitCode": 143}},
    "start": {{"Status": "running", "Running": True, "RestartCount": 0}},
    "unpause": {{"Status": "running", "Running": True}},
}}
verb = words[0]
down = get("down")
if down is not None:
    sys.exit(down)
if verb == "version":
    print("28.0.0")
elif verb == "ps":
    wanted = [word.split("=", 1)[1] for word in words if word.startswith("label=")]
    for item in load():
        labels = ["%s=%s" % pair for pair in item["Config"]["Labels"].items()]
        if all(label in labels for label in wanted):
            print(item["Id"])
elif verb == "inspect":
    kind, names = words[2], words[4:]
    found = []
    for item in load() if kind == "container" else json.loads(get(kind) or "[]"):
        mine = [item.get("Id"), item.get("Name", "").lstrip("/")] + (item.get("RepoTags") or [])
        if set(mine) & set(names) and get("gone", item.get("Id") or "") is None:
            found.append(item)
    print(json.dumps(found))
    if len(found) < len(names):
        sys.exit("Error: No such object: some")
elif verb == "logs":
    sys.stdout.write("2026-01-01T00:00:02.000000000Z and then there was no cheese\\n")
    sys.stderr.write("2026-01-01T00:00:01.000000000Z there was cheese\\n")
elif verb in STATES:
    found = load()
    for item in [item for item in found if item["Id"] in words]:
        name = item["Name"].lstrip("/")
        log(verb, *(words[1:3] if words[1] == "-t" else []), name)
        time.sleep(float(get("takes", verb, name) or 0))
        failure = get("fail", verb, name)
        if failure is not None:
            sys.exit(failure)
        become(item, json.loads(get("becomes", verb, name) or "null") or dict(STATES[verb]))
    save(found)
elif verb == "exec":
    name = [item["Name"].lstrip("/") for item in load() if item["Id"] == words[2]][0]
    log("exec", name, *words[3:])
    answers = (get("exec", name) or "0 accepting").splitlines()
    with open(os.path.join(here, "exec-" + name), "w") as out:
        out.write("\\n".join(answers[1:] or answers))
    status, _space, said = answers[0].partition(" ")
    print(said)
    sys.exit(int(status))
elif verb == "compose" and words[1] == "version":
    print("2.26.1")
elif verb == "compose" and "config" in words:
    print(get("model"))
elif verb == "compose":
    at = [place for place, word in enumerate(words) if word in ("up", "create")][0]
    log("compose", *words[at:])
    failure = get("fail", "compose")
    if failure is not None:
        sys.exit(failure)
    save(load() + json.loads(get("made") or "[]"))
else:
    sys.exit("the stand-in has no %s" % words)
"""


def document(name: str, labels: dict[str, str], **state: Any) -> dict[str, Any]:
    """A container as ``inspect`` prints it; its id is its name spelt twice."""
    restarts = state.pop("RestartCount", 0)
    return {
        "Id": name * 2,
        "Name": "/" + name,
        "RestartCount": restarts,
        "Config": {"Labels": labels},
        "HostConfig": {"NetworkMode": "sso_default"},
        "NetworkSettings": {"Networks": {"sso_default": {"IPAddress": "127.0.0.1"}}},
        "State": state or {"Status": "running", "Running": True},
    }


class FakeDocker:
    """The program, and what it finds.

    :ivar bin: the folder to put on PATH.
    """

    def __init__(self, path: Path) -> None:
        self.here = path / "engine"
        self.bin = path / "bin"
        for folder in (self.here, self.bin):
            folder.mkdir(parents=True, exist_ok=True)
        (self.bin / "docker").write_text(PROGRAM.format(python=sys.executable, here=str(self.here)))
        (self.bin / "docker").chmod(0o755)
        self.put("containers", "[]")

    def put(self, *words: str) -> None:
        """Set what it finds: ("fail", verb, container, message), ("becomes", verb, container, state as JSON)..."""
        (self.here / "-".join(words[:-1]).replace("/", "_")).write_text(words[-1])

    def remove(self, *words: str) -> None:
        """Take back what was put."""
        (self.here / "-".join(words).replace("/", "_")).unlink()

    def add(self, name: str, service: str, project: str = "sso", oneoff: bool = False, **state: Any) -> None:
        """Add a container of a service of a project."""
        self.add_labelled(
            name,
            {
                "com.docker.compose.project": project,
                "com.docker.compose.service": service,
                "com.docker.compose.oneoff": str(oneoff),
            },
            **state,
        )

    def add_labelled(self, name: str, labels: dict[str, str], **state: Any) -> None:
        """Add a container."""
        self.save([*self.containers, document(name, labels, **state)])

    def save(self, containers: list[dict[str, Any]]) -> None:
        """Set the containers."""
        self.put("containers", json.dumps(containers))

    @property
    def containers(self) -> list[dict[str, Any]]:
        """The containers as they are now."""
        return list(json.loads((self.here / "containers").read_text()))

    def status(self, name: str) -> str:
        """A container's status now."""
        return str(next(item for item in self.containers if item["Name"] == "/" + name)["State"]["Status"])

    def change(self, name: str, **state: Any) -> None:
        """Set a container's state."""
        restarts = state.pop("RestartCount", None)
        found = self.containers
        for item in found:
            if item["Name"] == "/" + name:
                item["State"] = state
                item["RestartCount"] = item["RestartCount"] if restarts is None else restarts
        self.save(found)

    @property
    def log(self) -> list[str]:
        """What was done, in order."""
        path = self.here / "log"
        return path.read_text().splitlines() if path.exists() else []
