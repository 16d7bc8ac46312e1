# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The option s3: what it is taken for, and that it is documented as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.authentik_ops.recovery.plugins.doc_fragments import store_s3
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import (
    S3_SPEC,
    Client,
    make_client,
    options_of,
)

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"access_key": "AK", "secret_key": "SENTINEL-secret"}
HERE = {"endpoint_url": "http://127.0.0.1:9000", "region": "us-east-1", **KEYS}
THERE = {**HERE, "endpoint_url": "https://s3.example.com"}
AWS = {"region": "eu-central-1", **KEYS}


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Neither the environment nor files of whoever runs the tests."""

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def test_the_options_are_documented_as_they_are() -> None:
    documented = yaml.safe_load(store_s3.ModuleDocFragment.DOCUMENTATION)["options"]["s3"]["suboptions"]
    spec = S3_SPEC["s3"]["options"]
    assert sorted(documented) == sorted(spec)
    for name, one in spec.items():
        said = {key: documented[name].get(key) for key in ("type", "default", "choices")}
        assert said == {key: one.get(key) for key in ("type", "default", "choices")}, name
    assert [name for name, one in spec.items() if one.get("no_log")] == ["secret_key", "session_token"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"colour": "red"}, "has no colour"),
        ({"secret_key": None}, "belong together"),
        ({"parallel": 0}, "parallel of the option s3 is 0"),
        ({"parallel": 65}, "parallel"),
        ({"retry_seconds": 3601}, "from 0 to 3600"),
        ({"read_timeout": 0}, "read_timeout"),
        ({"part_size": "4M"}, "from 5M to 5120M"),
        ({"part_size": "6G"}, "from 5M to 5120M"),
        ({"part_size": "much"}, "is not a size"),
        ({"object_lock_mode": "GOVERNANCE"}, "belong together"),
        ({"object_lock_mode": "GOVERNANCE", "object_lock_days": 0}, "object_lock_days"),
        ({"kms_key_id": "k"}, "is for server_side_encryption aws:kms"),
        ({"storage_class": "DEEP_ARCHIVE"}, "cannot be read at once"),
        ({"ca_bundle": "/nowhere/ca.pem"}, "is no file"),
        ({"endpoint_url": "s3.example.com"}, "https://HOST"),
        ({"endpoint_url": "ftp://s3.example.com"}, "https://HOST"),
        ({"endpoint_url": "https://AK:SENTINEL-secret@s3.example.com"}, "carries credentials"),
        ({"endpoint_url": "http://s3.example.com"}, "has no TLS"),
        ({"endpoint_url": "http://10.0.0.1:9000"}, "has no TLS"),
        ({"endpoint_url": "http://localhost.example.com"}, "has no TLS"),
        ({"profile": "nobody"}, r"Check profile and region"),
    ],
)
def test_what_cannot_be_used_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        make_client({**HERE, **change})
    assert "SENTINEL" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost:9000", "[::1]:9000", "minio.localhost"])
def test_this_machine_needs_no_tls(host: str) -> None:
    assert make_client({**HERE, "endpoint_url": "http://" + host}).endpoint == "http://" + host
    assert make_client({**HERE, "endpoint_url": "http://10.0.0.1", "allow_http": True}).endpoint == "http://10.0.0.1"


@pytest.mark.parametrize(
    ("options", "environment", "checksums"),
    [
        (AWS, {}, "when_supported"),
        (THERE, {}, "when_required"),
        (HERE, {}, "when_required"),
        ({**AWS, "endpoint_url": "https://s3.eu-west-1.amazonaws.com"}, {}, "when_supported"),
        ({**THERE, "endpoint_url": "https://amazonaws.com.example.org"}, {}, "when_required"),
        ({**THERE, "checksums": "when_supported"}, {}, "when_supported"),
        ({**AWS, "checksums": "when_required"}, {}, "when_required"),
        (THERE, {"AWS_REQUEST_CHECKSUM_CALCULATION": "WHEN_SUPPORTED"}, "when_supported"),
        (AWS, {"AWS_ENDPOINT_URL": "https://s3.example.com"}, "when_required"),
    ],
)
def test_checksums_that_are_left_to_us(
    options: dict[str, Any], environment: dict[str, str], checksums: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert make_client(options).checksums == checksums


def address(client: Client) -> str:
    url: str = client.raw.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "key"})
    return url.partition("?")[0]


def test_the_bucket_in_the_address() -> None:
    assert address(make_client(AWS)).startswith("https://bucket.s3.")
    assert address(make_client({**AWS, "addressing_style": "path"})).startswith("https://s3.")
    assert address(make_client(THERE)) == "https://s3.example.com/bucket/key"
    assert address(make_client({**THERE, "addressing_style": "virtual"})) == "https://bucket.s3.example.com/key"


def test_what_is_left_out_comes_from_where_boto3_takes_it(no_configuration: Path) -> None:
    (no_configuration / "config").write_text(
        "[profile dr]\nregion = eu-west-3\nendpoint_url = https://s3.dr.example.com\n"
        "request_checksum_calculation = when_supported\n"
    )
    (no_configuration / "credentials").write_text("[dr]\naws_access_key_id = FILED\naws_secret_access_key = s\n")
    client = make_client({"profile": "dr"})
    assert (client.endpoint, client.raw.meta.region_name) == ("https://s3.dr.example.com", "eu-west-3")
    assert client.raw._request_signer._credentials.access_key == "FILED"
    assert client.checksums == "when_supported"
    # What is not sent as a place is found in the environment, and still has to be safe.
    (no_configuration / "config").write_text("[profile dr]\nendpoint_url = http://s3.dr.example.com\n")
    with pytest.raises(InputError, match="has no TLS"):
        make_client({"profile": "dr"})


def test_how_objects_are_kept() -> None:
    assert make_client(HERE).kept_as() == {}
    kept = {"storage_class": "STANDARD_IA", "server_side_encryption": "aws:kms", "kms_key_id": "key"}
    assert make_client({**HERE, **kept}).kept_as() == {
        "StorageClass": "STANDARD_IA",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "key",
    }


def test_nothing_waits_for_ever() -> None:
    config = make_client(HERE).raw.meta.config
    assert (config.connect_timeout, config.read_timeout) == (10, 60)
    # Patience repeats requests, and nothing else does so in secret.
    assert config.retries["total_max_attempts"] == 1
    assert options_of({})["retry_seconds"] == 120
    assert "authentik_ops.recovery" in config.user_agent_extra


def test_without_the_library_the_way_out_is_told() -> None:
    code = (
        "import sys; sys.modules['boto3'] = None\n"
        "import tests.conftest\n"
        "from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _s3_client\n"
        "from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _s3_small, _s3_upload\n"
        "try:\n    _s3_client.make_client({})\nexcept Exception as exc:\n    print(type(exc).__name__, exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("InputError")
    for part in ("boto3", "1.36 or newer", "-m pip install 'boto3>=1.36'", sys.executable):
        assert part in done.stdout
