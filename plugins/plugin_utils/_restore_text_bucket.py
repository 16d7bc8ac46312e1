# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""C(RESTORE.md): how the files that lay in S3 are restored by hand, with tar, jq and aws. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._object_index import COMPONENT, INDEX
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._restore_text_shell import Section, code, quoted

_UNPACK = r"""
# Unpacks what the index has of a pack: an older pack holds more than that.
unpack_objects() {
  jq -r --arg pack "$1" '.objects[] | select(.pack == $pack) | .key' s3/index.json |
    tar --extract --no-unquote --verbatim-files-from --directory "$WORK/objects" --file "$1" --files-from -
}
mkdir -p "$WORK/objects"
"""
_CHECK = r"""
jq -r '.objects[] | .sha256 + "  " + .key' s3/index.json > "$WORK/objects.sha256"
(cd "$WORK/objects" && sha256sum --check --strict --quiet ../objects.sha256)
"""
_PUT = r"""
jq -c --arg bucket "$BUCKET" '.objects[] | {Bucket: $bucket, Key: .key} + .about' s3/index.json > "$WORK/objects.json"
while IFS= read -r object; do
  key=$(jq -r .Key <<< "$object")
  "${AWS[@]}" s3api put-object --cli-input-json "$object" --body "$WORK/objects/$key" < /dev/null > /dev/null
done < "$WORK/objects.json"
"""


def tools(manifest: dict[str, t.Any]) -> list[str]:
    """Return what is needed besides the usual."""
    return ["jq", "the AWS CLI"] if COMPONENT in manifest["components"] else []


def settings(plain: dict[str, t.Any]) -> list[str]:
    """Return the lines that the reader has to look at."""
    record = plain["components"].get(COMPONENT)
    if record is None:
        return []
    endpoint = " --endpoint-url %s" % quoted(record["endpoint"]) if record.get("endpoint") else ""
    return [
        "# The bucket for authentik's files, and how it is reached. Keys: `aws configure`, or export AWS_ACCESS_KEY_ID",
        "# and AWS_SECRET_ACCESS_KEY.",
        "BUCKET=%s" % quoted(record["bucket"]),
        "AWS=(aws%s)" % endpoint,
    ]


def unpack(plain: dict[str, t.Any]) -> list[Section]:
    """Return how the objects become files in the work folder; nothing live is changed."""
    record = plain["components"].get(COMPONENT)
    if record is None or not record["fingerprint"]["files"]:
        return []
    packs = [one["path"] for one in _manifest.artifacts_of(plain, COMPONENT) if one["path"] != INDEX]
    words = ["All %d are unpacked into the work folder, and compared with the index." % record["fingerprint"]["files"]]
    commands = [*_lines(_UNPACK), *("unpack_objects %s" % quoted(path) for path in packs), *_lines(_CHECK)]
    return [Section("Files in S3", words, commands)]


def put(plain: dict[str, t.Any]) -> list[Section]:
    """Return how they come into the bucket."""
    record = plain["components"].get(COMPONENT)
    if record is None or not record["fingerprint"]["files"]:
        return []
    words = [
        "They come into the bucket with their content type and other metadata, and replace what has their keys. Where "
        "the bucket keeps no versions, make a copy of it before, with `aws s3 sync`. What came after this set stays.",
        "Endpoints take up to 5 GB at once: what is larger needs `aws s3 cp`. An authentik that shall have its files "
        "on a disk instead finds them in %s, by the same paths." % code("$WORK/objects"),
    ]
    return [Section("Files into S3", words, _lines(_PUT))]


def _lines(text: str) -> list[str]:
    return text.strip("\n").split("\n")
