# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the controller reaches the bucket of an instance's files."""

from __future__ import annotations


class ModuleDocFragment:
    """The option of the modules that read that bucket or write to it."""

    DOCUMENTATION = r"""
options:
  storage_s3:
    description:
      - How the controller reaches the bucket that holds the instance's files, where that is not what authentik's
        configuration says. What is left out is read from the configuration, and what that leaves out comes from where
        boto3 takes it, such as E(AWS_ACCESS_KEY_ID) or the role of the machine.
      - Needs the Python package C(boto3) on the controller. Nothing of this option is sent to the host.
    type: dict
    suboptions:
      bucket:
        description: Name of the bucket.
        type: str
      endpoint_url:
        description: Address of the endpoint, such as V(https://s3.example.com:9000). Not needed for AWS.
        type: str
      region:
        description: Region of the bucket.
        type: str
      profile:
        description:
          - Profile of C(~/.aws/config) and C(~/.aws/credentials) on the controller. Keys of the configuration are not
            used then.
        type: str
      access_key:
        description: Access key. O(storage_s3.secret_key) belongs to it.
        type: str
      secret_key:
        description: Secret key of O(storage_s3.access_key).
        type: str
      session_token:
        description: Token of temporary keys.
        type: str
      ca_bundle:
        description: File with the certificates of the CA that signed the endpoint's, where it is one of your own.
        type: path
      allow_http:
        description:
          - Accept an endpoint without TLS that is not on the controller itself.
        type: bool
        default: false
      addressing_style:
        description: Whether the bucket is in the address's path or in its host name.
        type: str
        choices: [auto, path, virtual]
      checksums:
        description:
          - Whether requests carry a checksum beside their signature. V(auto) has them do so at AWS.
        type: str
        choices: [auto, when_supported, when_required]
        default: auto
      storage_class:
        description: Storage class of the objects that a restore writes.
        type: str
      server_side_encryption:
        description: How the endpoint encrypts the objects that a restore writes. V(none) leaves it to the bucket.
        type: str
        choices: [none, AES256, 'aws:kms']
        default: none
      kms_key_id:
        description: The key, with O(storage_s3.server_side_encryption=aws:kms). Without it, the bucket's own.
        type: str
      parallel:
        description: How many objects are read, copied or written at the same time.
        type: int
        default: 8
      retry_seconds:
        description: For how long a request is repeated when the endpoint cannot be reached, is too busy or fails.
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
