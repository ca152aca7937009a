"""One URL, as redis-py and as Celery read it."""

from __future__ import annotations

import pytest

from orchestrator.connection import broker_url, client_url, connect_blocking, master_name
from orchestrator.environment import mask_url

CHECKED = "ssl_cert_reqs=required"
TWO = "sentinel://:pw@a:1/3;sentinel://:pw@b:2/3?master_name=orders"


@pytest.mark.parametrize(
    ("url", "client", "broker"),
    [
        ("redis://h:6379/1", "redis://h:6379/1", "redis://h:6379/1"),
        ("rediss://u:p@h/0", f"rediss://u:p@h/0?{CHECKED}", f"rediss://u:p@h/0?{CHECKED}"),
        ("rediss://h/0?ssl_ca_certs=/c", f"rediss://h/0?ssl_ca_certs=/c&{CHECKED}", f"rediss://h/0?ssl_ca_certs=/c&{CHECKED}"),
        ("rediss://h/0?ssl_cert_reqs=none", "rediss://h/0?ssl_cert_reqs=none", "rediss://h/0?ssl_cert_reqs=none"),
        ("valkey://h/1", "redis://h/1", "redis://h/1"),
        ("valkeys://h/1", f"rediss://h/1?{CHECKED}", f"rediss://h/1?{CHECKED}"),
        ("unix:///x.sock?db=2", "unix:///x.sock?db=2", "redis+socket:///x.sock?virtual_host=2"),
        ("redis+socket:///x.sock?virtual_host=2", "unix:///x.sock?db=2", "redis+socket:///x.sock?virtual_host=2"),
    ],
)
def test_forms_of_a_server(url: str, client: str, broker: str) -> None:
    assert (client_url(url), broker_url(url), master_name(url)) == (client, broker, None)


def test_sentinel_names_its_primary() -> None:
    assert broker_url(TWO) == "sentinel://:pw@a:1/3;sentinel://:pw@b:2/3"
    assert (master_name(TWO), master_name("sentinel://a")) == ("orders", "mymaster")
    options = connect_blocking(TWO).connection_pool.connection_kwargs
    assert (options["db"], options["password"]) == (3, "pw")
    assert mask_url(TWO) == "sentinel://:***@a:1/3;sentinel://:***@b:2/3?master_name=orders"
