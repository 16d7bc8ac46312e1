# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The built-in YAML reader gives what PyYAML gives, or refuses with the line."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
import yaml

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _yaml
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

SAME = {
    "empty": "",
    "only comments": "# nothing\n\n   # here\n",
    "marker": "---\na: 1\n...\n",
    "nested": "postgresql:\n  host: localhost\n  pool:\n    size: 5\nredis:\n    db: 0\n",
    "no value": "a:\nb: 1\nc:\n  d:\n",
    "null": "a: null\nb: ~\nc: Null\nd: ''\n",
    "booleans": "a: true\nb: No\nc: ON\nd: off\ne: y\nf: tRue\n",
    "integers": "a: 0\nb: -12\nc: 010\nd: 0x1F\ne: 0b101\nf: 1_000\ng: 190:20:30\nh: 08\ni: +7\n",
    "floats": "a: 1.5\nb: -.5\nc: 1.e+3\nd: 1e5\ne: 1.5e5\nf: 685.230_15e+03\ng: 1.2.3\n",
    "keys are resolved": "read_replicas:\n  0:\n    host: a\n  1:\n    host: b\nyes: 1\n",
    "single quotes": "a: 'it''s # no comment: at all'  # but this\nb: ''\n'quoted key': 1\n",
    "double quotes": 'a: "tab\\t quote\\" slash\\/ \\x41 \\u00e9 \\U0001F600 \\\\"\n"k: ey": "# x"\nc: ""\n',
    "plain text": "a: http://x/#frag\nb: file # or s3\nc: a:b\nd: x -y\ne: /certs\nf: -x\ng: env://A?b\nh: 20/hour\n",
    "ipv6": "cidrs:\n  - ::1/128\n  - fe80::/10\nlisten: '[::]:9000'\n",
    "trailing spaces": "a: b   \nc:   \n  d: e  \n",
    "windows line ends": "a: 1\r\nb:\r\n  c: x\r\n",
    "byte order mark": "\ufeffa: 1\n",
    "list at the key's indentation": "a:\n- 1\n- x\nb: 2\n",
    "deeper list": "a:\n    - 1\n    - - 2\n      - 3\n    -\n      - 4\n    - k: v\n      l:\n        - m\n    - n: o",
    "list at the top": "- a\n- b: c\n  d: e\n-\n",
    "empty flow": "a: []\nb: {}\nc: [ ]\n",
    "flow": "a: [1, 'x, y', \"z\", [true, null]]\nb: {c: d, 'e': [f, g], h: }\nd: [a, b, ]  # end\n",
    "literal": "a: |\n  one\n   two\n\n  three # kept\nb: 1\n",
    "literal strip": "a: |-\n  one\n\n\nb: 1\n",
    "literal keep": "a: |+\n  one\n\n\nb: 1\n",
    "literal at the end": "a: |\n  one\n  two",
    "literal keep at the end": "a: |+\n  one\n\n",
    "literal hint": "a: |2\n    one\n  two\n",
    "literal hint nested": "x:\n  a: |1-\n     one\n    two\n",
    "literal starts blank": "a: |\n\n  one\n",
    "literal empty": "a: |\nb: >-\nc: 1\n",
    "literal of blank lines": "a: |\n    \nb: 1\n",
    "folded": "a: >\n  one\n  two\n\n  three\n    more\n    lines\n  four\n\n\n  five\n",
    "folded strip": "a: >-  # comment\n  one\n  two\n",
    "literal in a list": "a:\n  - |\n    one\n  - >-\n    two\n    three\n",
    "key with spaces": "a b: c\nd : e\n",
    "duplicate key": "a: 1\na: 2\n",
    "json": '{"postgresql": {"host": "", "port": 5432}, "x": [1, "\\u00e9"]}',
    "json over lines": '{\n  "a": {\n    "b": 1\n  }\n}\n',
    "unicode": "a: Zoë – 日本 😀\n",
    "tab behind a comment sign": "a: 1 #\tcomment\n",
    "time-like text": "a: 12:30\nb: 2001-1\n",
}

REFUSED = {
    "anchor": ("a: &x 1\n", 1),
    "alias": ("b: 1\na: *x\n", 2),
    "tag": ("a: !!str 1\n", 1),
    "merge key": ("b: 1\n<<: c\n", 2),
    "complex key": ("? a\n: b\n", 1),
    "tab indentation": ("a:\n\tb: 1\n", 2),
    "tab in a value": ("a: b\tc\n", 1),
    "plain over lines": ("b: 1\na: one\n  two\n", 3),
    "quoted over lines": ('a: "one\n  two"\n', 1),
    "flow over lines": ("a: [1,\n  2]\n", 1),
    "colon in a value": ("a: b: c\n", 1),
    "text behind a quote": ("a: 'b' c\n", 1),
    "comment without space": ("a: 'b'#c\n", 1),
    "bad escape": ('a: "\\q"\n', 1),
    "no mapping": ("a: 1\njust text\n", 2),
    "too deep": ("a: 1\n  b: 2\n", 2),
    "too shallow": ("  a: 1\n b: 2\n", 2),
    "mixed list and mapping": ("a: 1\n- b\n", 2),
    "date": ("a: 2001-12-14\n", 1),
    "time stamp": ("a: 2001-12-14t21:59:43.10-05:00\n", 1),
    "infinity": ("a: .inf\n", 1),
    "sexagesimal float": ("a: 1:30.5\n", 1),
    "reserved": ("a: @b\n", 1),
    "backtick": ("a: `b`\n", 1),
    "percent": ("a: %b\n", 1),
    "directive": ("%YAML 1.1\n---\na: 1\n", 1),
    "second document": ("a: 1\n---\nb: 2\n", 2),
    "block header": ("a: |x\n  b\n", 1),
    "flow pair": ("a: [b: c]\n", 1),
    "unclosed": ("x: 1\na: [b\n", 2),
    "dash": ("a: - b\n", 1),
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_same_as_pyyaml(text: str) -> None:
    expected = yaml.safe_load(text)
    found = _yaml.load_subset(text, "config.yml")
    assert (found, repr(found)) == (expected, repr(expected))


@pytest.mark.parametrize(("text", "line"), REFUSED.values(), ids=REFUSED)
def test_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(InputError) as caught:
        _yaml.load_subset(text, "/etc/authentik/config.yml")
    assert "/etc/authentik/config.yml, line %d," % line in caught.value.cause


DEFAULT_YML = """\
# authentik configuration
postgresql:
  host: localhost
  name: authentik
  user: authentik
  port: 5432
  password: "env://POSTGRES_PASSWORD"
  # read_replicas:
  #   0:
  #     host: replica1.example.com
  disable_server_side_cursors: false

listen:
  listen_http: 0.0.0.0:9000
  trusted_proxy_cidrs:
    - 127.0.0.0/8
    - ::1/128
cache:
  # url: ""
  timeout: 300
outposts:
  # %(type)s: outpost type
  container_image_base: ghcr.io/goauthentik/%(type)s:%(version)s
  discover: true
ldap:
  tls:
    ciphers: null
reputation:
  expiry: 86400
cookie_domain: null
email:
  from: authentik@localhost
  template_dir: /templates
throttle:
  providers:
    oauth2:
      device: 20/hour
cert_discovery_dir: /certs
web:
  # No default here as it's set dynamically
  # workers: 2
  path: /
storage:
  media:
    backend: file # or s3
    file:
      path: ./media
    s3:
      # region: "us-east-1"
      # use_ssl: True
      # endpoint: "https://s3.us-east-1.amazonaws.com"
"""


def test_the_shape_of_authentiks_own_file() -> None:
    assert _yaml.load_subset(DEFAULT_YML, "default.yml") == yaml.safe_load(DEFAULT_YML)


@pytest.mark.parametrize("reader", [_yaml.load, _yaml.load_subset])
@pytest.mark.parametrize(
    "value", ["*s3cret-sentinel", "'s3cret-sentinel", "&s3cret-sentinel *s3cret-sentinel x", "x: s3cret-sentinel"]
)
def test_a_message_shows_no_value(reader: Any, value: str) -> None:
    text = textwrap.dedent("""\
        postgresql:
          password: %s
    """)
    with pytest.raises(InputError) as caught:
        reader(text % value, "config.yml")
    assert "s3cret" not in str(caught.value)
    assert "line" in str(caught.value)
