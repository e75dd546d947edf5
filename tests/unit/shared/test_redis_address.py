"""What a URL of a Redis says: one address, or Sentinels and the group that they watch."""

from __future__ import annotations

import pytest
import redis
from pydantic import SecretStr

from callboard_shared.bell import celery_app
from callboard_shared.redis_address import for_celery, pool, watched
from callboard_shared.settings import BrokerSettings


def test_an_address_is_what_redis_py_reads() -> None:
    url = "redis://user:pass@localhost:6380/3"
    assert watched(url) is None
    assert for_celery(url) == (url, {})
    given = pool(url).connection_kwargs
    assert (given["host"], given["port"], given["db"]) == ("localhost", 6380, 3)


def test_sentinels_their_group_and_the_database_are_read() -> None:
    group = watched("redis+sentinel://user:p%40ss@one:1,two,[::1]:3/jobs/2?sentinel_password=own")
    assert group is not None
    assert group.sentinels == (("one", 1), ("two", 26379), ("::1", 3))
    assert group.group == "jobs"
    assert group.server == {"username": "user", "password": "p@ss", "db": 2}
    assert group.own["password"] == "own"
    assert "username" not in group.own, "a server's name and password are not told to its Sentinels"


def test_who_speaks_tls_to_the_servers_does_so_to_their_sentinels() -> None:
    group = watched("rediss+sentinel://:pass@one:1/jobs?ssl_ca_certs=ca.pem")
    assert group is not None
    for options in (group.server, group.own):
        assert (options["ssl"], options["ssl_ca_certs"]) == (True, "ca.pem")
    connections = pool("rediss+sentinel://one:1/jobs")
    assert issubclass(connections.connection_class, redis.SSLConnection)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://one:26379",
        "redis+sentinel://one:26379/",
        "redis+sentinel://one:26379/jobs/db",
        "redis+sentinel://one:26379,/jobs",
        "redis+sentinel:///jobs",
    ],
)
def test_a_url_that_lacks_something_is_refused_with_its_form(url: str) -> None:
    with pytest.raises(ValueError, match=r"redis\+sentinel://user:password@host:26379"):
        watched(url)


def test_celery_is_told_of_each_sentinel_and_how_to_ask_it() -> None:
    url, options = for_celery("redis+sentinel://us:p%2Fw@one:1,[::1]:2/jobs/4?sentinel_password=own")
    assert url == "sentinel://us:p%2Fw@one:1/4;sentinel://us:p%2Fw@[::1]:2/4"
    assert options["master_name"] == "jobs"
    assert options["sentinel_kwargs"]["password"] == "own"


def test_celerys_connection_goes_to_the_sentinels_with_the_certificate_checked() -> None:
    broker = BrokerSettings(
        broker_url=SecretStr("rediss+sentinel://:pw@one:1,two:2/jobs?ssl_ca_certs=ca.pem")
    )
    app = celery_app("unit", broker, current=False)
    assert app.conf.broker_use_ssl == {"ssl_cert_reqs": "required", "ssl_ca_certs": "ca.pem"}
    with app.connection_for_write() as connection:
        assert connection.alt == ["sentinel://:pw@one:1/0", "sentinel://:pw@two:2/0"]
        assert connection.transport_cls == "sentinel"
        assert connection.transport_options["master_name"] == "jobs"
