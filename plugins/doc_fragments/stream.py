# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of the modules that make artifacts and of those that read them."""

from __future__ import annotations


class ModuleDocFragment:
    """One attribute for producers, one for consumers."""

    PRODUCER = r"""
options:
  dest:
    description:
      - Folder on the host into which the artifacts are written. It is made when it does not exist.
      - Exactly one of O(dest), O(backup_set) and O(spool) is used.
    type: path
  backup_set:
    description:
      - The unfinished backup set on the controller into which the artifacts are streamed.
      - Open it with M(authentik_ops.recovery.authentik_backup_set).
    type: dict
    suboptions:
      store:
        description: Folder on the controller that holds all backup sets, or V(s3://BUCKET/PREFIX).
        type: str
        required: true
      instance:
        description: Name of the instance. Letters, digits, V(.), V(_) and V(-); no slash, no leading V(.).
        type: str
        required: true
      id:
        description: Id of the set, such as V(20261122T031500Z-7f3a).
        type: str
        required: true
      s3:
        description:
          - How the endpoint of a store in a bucket is reached, as the option of that name of
            M(authentik_ops.recovery.authentik_store_info).
        type: dict
  chunk_size:
    description:
      - Size of one chunk of the spool, as a number of bytes or with V(K), V(M) or V(G).
      - Used with O(backup_set).
    type: str
    default: 64M
  window:
    description:
      - How many chunks may lie in the spool at a time. The spool never grows beyond O(chunk_size) times this number.
      - Used with O(backup_set).
    type: int
    default: 4
  spool_dir:
    description:
      - Folder on the host in which the spool is made, by the user that Ansible connects as. It has to exist.
      - Used with O(backup_set).
    type: path
    default: /var/tmp
  spool:
    description:
      - Set by the action plugin of the same name. Do not use it in a playbook.
    type: dict
    suboptions:
      path:
        description: The spool's folder.
        type: path
        required: true
      chunk_size:
        description: Size of a chunk in bytes.
        type: int
        required: true
      window:
        description: Number of chunks the spool may hold.
        type: int
        required: true
"""

    CONSUMER = r"""
options:
  src:
    description:
      - Folder on the host that holds a whole backup set, with its C(manifest.json).
      - Exactly one of O(src), O(backup_set) and O(spool) is used.
    type: path
  backup_set:
    description:
      - The backup set on the controller whose artifacts are streamed to the host. An encrypted one is decrypted on the
        way, on the controller.
    type: dict
    suboptions:
      store:
        description: Folder on the controller that holds all backup sets, or V(s3://BUCKET/PREFIX).
        type: str
        required: true
      instance:
        description: Name of the instance. Letters, digits, V(.), V(_) and V(-); no slash, no leading V(.).
        type: str
        required: true
      id:
        description: Id of the set, such as V(20261122T031500Z-7f3a), or V(latest).
        type: str
        required: true
      s3:
        description:
          - How the endpoint of a store in a bucket is reached, as the option of that name of
            M(authentik_ops.recovery.authentik_store_info).
        type: dict
      identity_file:
        description:
          - Of an encrypted set, a file on the controller with the identity of one of its recipients, or with several.
            That is an age identity (C(AGE-SECRET-KEY-1...)), or an C(ssh-ed25519) or C(ssh-rsa) key without passphrase.
          - All identities that the file, the command and the environment variable E(AUTHENTIK_RECOVERY_IDENTITY) of the
            controller hold are tried. They never leave the controller.
        type: path
      identity_command:
        description:
          - A program on the controller, with its arguments, that prints what such a file holds.
          - It runs once in each task that reads the set.
        type: list
        elements: str
  chunk_size:
    description:
      - Size of one chunk of the spool, as a number of bytes or with V(K), V(M) or V(G).
      - Used with O(backup_set).
    type: str
    default: 64M
  window:
    description:
      - How many chunks may lie in the spool at a time. The spool never grows beyond O(chunk_size) times this number.
      - Used with O(backup_set).
    type: int
    default: 4
  spool_dir:
    description:
      - Folder on the host in which the spool is made, by the user that Ansible connects as. It has to exist.
      - Used with O(backup_set).
    type: path
    default: /var/tmp
  spool:
    description:
      - Set by the action plugin of the same name. Do not use it in a playbook.
    type: dict
    suboptions:
      path:
        description: The spool's folder.
        type: path
        required: true
      chunk_size:
        description: Size of a chunk in bytes.
        type: int
        required: true
      window:
        description: Number of chunks the spool may hold.
        type: int
        required: true
  manifest:
    description:
      - Set by the action plugin of the same name, from the store. Do not use it in a playbook.
    type: dict
"""
