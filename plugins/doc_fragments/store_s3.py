# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an S3 endpoint is reached, and how objects are kept there."""

from __future__ import annotations


class ModuleDocFragment:
    """The option of whatever may work in a bucket."""

    DOCUMENTATION = r"""
options:
  s3:
    description:
      - How a bucket is reached, and how objects are kept in it.
      - Needs the Python package C(boto3) on the controller. What is left out comes from where boto3 takes it, such as
        C(AWS_ACCESS_KEY_ID), C(AWS_ENDPOINT_URL), C(~/.aws/config), or the role of the machine.
    type: dict
    suboptions:
      endpoint_url:
        description: Address of the endpoint, such as V(https://s3.example.com:9000). Not needed for AWS.
        type: str
      region:
        description: Region of the bucket. Endpoints other than AWS often have one name for all, such as V(garage).
        type: str
      profile:
        description: Profile of C(~/.aws/config) and C(~/.aws/credentials).
        type: str
      access_key:
        description: Access key. O(s3.secret_key) belongs to it.
        type: str
      secret_key:
        description: Secret key of O(s3.access_key).
        type: str
      session_token:
        description: Token of temporary keys. It has to last for the whole run.
        type: str
      ca_bundle:
        description: File with the certificates of the CA that signed the endpoint's, where it is one of your own.
        type: path
      allow_http:
        description:
          - Accept an endpoint without TLS that is not on this machine. Who is on the way there can read and alter
            what is not encrypted.
        type: bool
        default: false
      addressing_style:
        description:
          - Whether the bucket is in the address's path or in its host name.
          - V(auto) takes the path for O(s3.endpoint_url), and the name at AWS.
        type: str
        choices: [auto, path, virtual]
        default: auto
      checksums:
        description:
          - V(when_supported) sends a CRC32 with each object, which AWS keeps and which is compared afterwards. Over TLS
            it follows the content, which many endpoints refuse, with status 411 or 501 or as an invalid header.
          - V(when_required) leaves it out. The content of each request is then part of its signature, which the
            endpoint has to check, so that nothing can be altered on the way either.
          - V(auto) is V(when_supported) at AWS and V(when_required) elsewhere, unless
            E(AWS_REQUEST_CHECKSUM_CALCULATION) or the profile says something.
        type: str
        choices: [auto, when_supported, when_required]
        default: auto
      storage_class:
        description:
          - Storage class of new objects, such as V(STANDARD_IA). Sets are read back, so V(GLACIER) and V(DEEP_ARCHIVE)
            are refused.
        type: str
      server_side_encryption:
        description:
          - How the endpoint encrypts new objects. V(none) leaves it to the bucket.
          - It has the keys, or the key service has. Only recipients keep sets from whoever may read the bucket.
        type: str
        choices: [none, AES256, 'aws:kms']
        default: none
      kms_key_id:
        description: The key, with O(s3.server_side_encryption=aws:kms). Without it, the bucket's own.
        type: str
      object_lock_mode:
        description:
          - Have finished sets retained by Object Lock for O(s3.object_lock_days), so that nobody can delete or replace
            them, with V(GOVERNANCE) but for those who may lift it. The bucket has to be made with Object Lock.
          - Each object is looked at afterwards, because some endpoints ignore this and report success.
        type: str
        choices: [GOVERNANCE, COMPLIANCE]
      object_lock_days:
        description: For how many days.
        type: int
      part_size:
        description:
          - Size of the parts in which large objects are sent, from V(5M) to V(5G), as a number of bytes or with V(K),
            V(M) or V(G). An object has 10,000 parts at most.
          - Without it, parts have 16 MiB up to 31 GiB, and grow from there so that 5 TiB can be sent. Set it where the
            endpoint wants parts of equal size, as Cloudflare R2 does.
        type: str
      parallel:
        description:
          - How many parts are sent at the same time. Up to one more than that is in memory, and less of them when
            they are large.
        type: int
        default: 4
      retry_seconds:
        description:
          - For how long a request is repeated when the endpoint cannot be reached, is too busy or fails, from its first
            failure on. A line every few seconds says so.
        type: int
        default: 120
      connect_timeout:
        description: Seconds for a connection to be made.
        type: int
        default: 10
      read_timeout:
        description: Seconds of silence after which a connection counts as broken.
        type: int
        default: 60
"""
