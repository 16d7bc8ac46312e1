# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directories of a compose project: what is mounted, what is behind a link, and what is in no mount at all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.compose_fake import (
    DIRECTORY,
    IMAGE,
    LAYERS,
    VOLUMES,
    Host,
    bind,
    directories,
    files,
    here,
    host,
    missing,
    official,
    project,
    volume,
)

__all__ = ["host"]


def both_mounts(services: dict[str, dict[str, Any]]) -> None:
    for name in ("server", "worker"):
        services[name]["volumes"] = [
            *services[name]["volumes"],
            bind("./data/media", "/media"),
        ]


def test_media_inside_of_data_is_saved_once(host: Host) -> None:
    services = official("2026.5.3")
    both_mounts(services)
    host.up(project(services))
    assert directories(host.find("2026.5.3")) == here("certs", "custom-templates", "data")


def test_an_old_mount_of_media_goes_on_with_a_new_version(host: Host) -> None:
    services = official("2025.10.4")
    for name in ("server", "worker"):
        services[name]["image"] = IMAGE + ":2025.12.4"
    host.up(project(services))
    assert directories(host.find("2025.12.4")) == here("certs", "custom-templates", "media")


def volume_with_link(host: Host, *more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A volume on /data that was filled from the image, which has a link there."""
    services = official("2025.12.4")
    for name in ("server", "worker"):
        services[name]["volumes"] = [volume("data", "/data"), *more]
    host.folder(VOLUMES + "/authentik_data/_data")
    host.link(VOLUMES + "/authentik_data/_data/media", "/media")
    return services


def test_files_behind_a_link_in_a_volume_are_taken_from_the_other_mount(host: Host) -> None:
    host.up(project(volume_with_link(host, volume("media", "/media"))))
    found = host.find("2025.12.4")
    assert directories(found) == {
        "data": VOLUMES + "/authentik_data/_data",
        "media": VOLUMES + "/authentik_media/_data",
    }


def test_files_in_the_containers_layer_are_saved_and_warned_of(host: Host) -> None:
    host.up(project(volume_with_link(host)))
    layer = next(item for item in host.fake.documents if item["Name"] == "/authentik-server-1")["Id"]
    upper = "%s/%s/diff/media" % (LAYERS, layer)
    assert "media" not in directories(host.find("2025.12.4"))
    host.write(upper + "/public/icon.png", "x")
    found = host.find("2025.12.4")
    assert directories(found)["media"] == upper
    (warning,) = [text for text in found.warnings if "media" in text]
    assert "lost as soon as the container is made anew" in warning
    assert "docker cp authentik-server-1:/media/." in warning


def test_files_in_a_layer_that_the_engine_does_not_show_are_missing_not_forgotten(host: Host) -> None:
    host.up(project(volume_with_link(host)))
    for document in host.fake.documents:
        document["GraphDriver"] = {"Name": "overlayfs", "Data": None}
    assert missing(host.find("2025.12.4")) == []
    host.fake.files["/media/public/icon.png"] = b"x"
    found = host.find("2025.12.4")
    assert missing(found) == ["directories.media"]
    assert any("lost with the container" in text for text in found.warnings)


def test_a_mount_inside_of_the_data_directory_is_saved_too(host: Host) -> None:
    services = official("2025.12.4")
    for name in ("server", "worker"):
        services[name]["volumes"] = [*services[name]["volumes"], volume("uploads", "/data/media")]
    host.up(project(services))
    found = directories(host.find("2025.12.4"))
    assert found["media"] == VOLUMES + "/authentik_uploads/_data"
    assert found["data"] == DIRECTORY + "/data"


def test_reports_that_are_mounted_in_the_data_directory_are_reports(host: Host) -> None:
    services = official("2026.2.0")
    for name in ("server", "worker"):
        services[name]["volumes"] = [bind("./data", "/data"), bind("/srv/reports", "/data/reports")]
    host.folder("/srv/reports")
    host.up(project(services))
    assert directories(host.find("2026.2.0")) == {"data": DIRECTORY + "/data", "extra-reports": "/srv/reports"}


def test_where_reports_of_a_path_of_their_own_will_be_is_known_before_the_first(host: Host) -> None:
    services = official("2026.2.0")
    for name in ("server", "worker"):
        services[name]["environment"]["AUTHENTIK_STORAGE__REPORTS__FILE__PATH"] = "/own"
        services[name]["volumes"] = [bind("./data", "/data"), bind("./own", "/own")]
    host.folder(DIRECTORY + "/own")
    host.up(project(services))
    found = host.find("2026.2.0")
    assert (directories(found), found.reports) == ({"data": DIRECTORY + "/data"}, DIRECTORY + "/own/reports")


def test_a_file_that_is_mounted_among_the_blueprints_belongs_to_the_configuration(host: Host) -> None:
    services = official("2025.12.4")
    services["worker"]["volumes"] = [*services["worker"]["volumes"], bind("./my.yaml", "/blueprints/custom/my.yaml")]
    host.write(DIRECTORY + "/my.yaml", "x")
    host.up(project(services))
    found = host.find("2025.12.4")
    assert files(found, "config") == [DIRECTORY + "/my.yaml"]
    assert not [name for name in directories(found) if name.startswith("extra")]


def test_directories_by_option_and_by_setting(host: Host) -> None:
    services = official("2025.12.4")
    for name in ("server", "worker"):
        services[name]["environment"]["AUTHENTIK_BLUEPRINTS_DIR"] = "/own/blueprints"
        services[name]["volumes"] = [*services[name]["volumes"], bind("./bp", "/own/blueprints")]
    host.up(project(services))
    found = host.find("2025.12.4", directories={"certs": "", "data": "/mnt/uploads"})
    assert directories(found) == {
        "blueprints": DIRECTORY + "/bp",
        "custom-templates": DIRECTORY + "/custom-templates",
        "data": "/mnt/uploads",
    }


def test_a_volume_that_cannot_be_read_from_the_host_is_missing_by_name(host: Host) -> None:
    services = official("2025.12.4")
    for name in ("server", "worker"):
        services[name]["volumes"] = [volume("data", "/data")]
    host.fake.volumes["authentik_data"] = {
        "Name": "authentik_data",
        "Driver": "local",
        "Mountpoint": VOLUMES + "/authentik_data/_data",
        "Options": {"type": "nfs", "o": "addr=nas", "device": ":/ak"},
    }
    host.up(project(services))
    found = host.find("2025.12.4")
    assert missing(found) == ["directories.data"]
    assert any("authentik_data" in text and "nfs" in text for text in found.warnings)


def test_s3_keeps_uploads_out_of_the_directories(host: Host) -> None:
    services = official("2025.12.4")
    for name in ("server", "worker"):
        services[name]["environment"]["AUTHENTIK_STORAGE__BACKEND"] = "s3"
    host.up(project(services))
    found = host.find("2025.12.4")
    assert found.storage_backend == "s3"
    assert directories(found) == here("certs", "custom-templates")


S3_MEDIA = {"AUTHENTIK_STORAGE__MEDIA__BACKEND": "s3"}
S3_BUT_REPORTS = {"AUTHENTIK_STORAGE__BACKEND": "s3", "AUTHENTIK_STORAGE__REPORTS__BACKEND": "file"}
UPLOADS = VOLUMES + "/authentik_uploads/_data"


@pytest.mark.parametrize("settings", [S3_MEDIA, S3_BUT_REPORTS], ids=["media alone", "reports excepted"])
@pytest.mark.parametrize("mount", [bind("./data", "/data"), volume("uploads", "/data")], ids=["bind", "volume"])
def test_reports_on_a_disk_are_saved_though_media_are_in_s3(
    host: Host, settings: dict[str, str], mount: dict[str, Any]
) -> None:
    services = official("2026.2.0")
    for name in ("server", "worker"):
        services[name]["environment"].update(settings)
        services[name]["volumes"] = [mount]
    host.up(project(services))
    base = UPLOADS if "volume" in mount else DIRECTORY + "/data"
    host.folder(base)
    found = host.find("2026.2.0")
    assert (directories(found), missing(found)) == ({}, [])
    assert any("extra-reports: %s/reports" % base in note for note in found.notes)
    host.folder(base + "/reports")
    found = host.find("2026.2.0")
    assert directories(found) == {"extra-reports": base + "/reports"}
    assert found.object_storage is not None
    assert found.object_storage.folders == ("media",)
    assert directories(host.find("2026.2.0", directories={"data": ""})) == {}


def test_a_volume_with_reports_that_cannot_be_read_is_missing_by_name(host: Host) -> None:
    services = official("2026.2.0")
    for name in ("server", "worker"):
        services[name]["environment"].update(S3_MEDIA)
        services[name]["volumes"] = [volume("uploads", "/data")]
    host.fake.volumes["authentik_uploads"] = {
        "Name": "authentik_uploads",
        "Driver": "local",
        "Mountpoint": UPLOADS,
        "Options": {"type": "nfs", "o": "addr=nas", "device": ":/ak"},
    }
    host.up(project(services))
    found = host.find("2026.2.0")
    assert missing(found) == ["extra_paths"]
    assert any("extra-reports" in text and "nfs" in text for text in found.warnings)


def test_reports_in_s3_leave_media_a_directory(host: Host) -> None:
    services = official("2026.2.0")
    for name in ("server", "worker"):
        services[name]["environment"]["AUTHENTIK_STORAGE__REPORTS__BACKEND"] = "s3"
    host.up(project(services))
    found = host.find("2026.2.0")
    assert directories(found) == here("certs", "custom-templates", "data")
    assert found.object_storage is not None
    assert found.object_storage.folders == ("reports",)


def test_directories_that_compose_has_yet_to_make_are_known(host: Host) -> None:
    host.lay_down(project(official("2025.12.4")))
    for name in ("data", "certs", "custom-templates"):
        (host.path / DIRECTORY.lstrip("/") / name).rmdir()
    found = host.find(compose_project_directory=DIRECTORY)
    assert directories(found) == here("certs", "custom-templates", "data")
    assert found.missing == ()
