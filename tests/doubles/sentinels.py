"""A primary, a replica and three Sentinels that watch them: Valkeys of the test's own, on free ports of loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from own_valkey import Server, until

GROUP, PASSWORD = "callboard", "of-the-servers"
AWAY_MS = 1000
"""A server that is silent for so long is taken for dead."""


class Watched:
    def __init__(self, folder: Path) -> None:
        data = (
            f"requirepass {PASSWORD}\nprimaryauth {PASSWORD}\nappendonly yes\nsave ''\nmaxmemory-policy noeviction\n"
            "repl-diskless-sync-delay 0\n"
        )
        first = Server(folder / "first", data, password=PASSWORD)
        self.servers = [first]
        follows = f"{data}replicaof 127.0.0.1 {first.port}\n"
        self.servers.append(Server(folder / "second", follows, password=PASSWORD))
        watch = (
            f"sentinel monitor {GROUP} 127.0.0.1 {first.port} 2\nsentinel auth-pass {GROUP} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {GROUP} {AWAY_MS}\nsentinel failover-timeout {GROUP} 3000\n"
        )
        self.sentinels = [Server(folder / f"sentinel-{i}", watch, "--sentinel") for i in range(3)]
        until(self._watched, "each Sentinel knows the replica and the two others")
        until(self.copied, "the replica follows")

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://:{PASSWORD}@{hosts}/{GROUP}/0"

    @property
    def primary(self) -> Server:
        """As the Sentinels have it."""
        port = int(self.sentinels[0].client.execute_command("SENTINEL", "GET-PRIMARY-ADDR-BY-NAME", GROUP)[1])
        return next(server for server in self.servers if server.port == port)

    def copied(self) -> bool:
        """Whether the primary's replica has all that it has."""
        client = self.primary.client
        client.set("copied", 1)
        return int(client.execute_command("WAIT", 1, 100)) == 1

    def fail_over(self) -> None:
        """A change of roles that an operator asks for: both servers live. The old primary would go on taking writes for
        seconds, which would be lost, did it not ask for a replica that has them."""
        for server in self.servers:
            server.client.config_set("min-replicas-to-write", 1)
        self._replaced(lambda: self.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", GROUP))
        until(self.copied, "the old primary follows the new one")

    def kill_primary(self) -> Server:
        """Gives the one that was killed."""
        primary = self.primary
        self._replaced(primary.kill)
        return primary

    def _replaced(self, how: Callable[[], object]) -> None:
        before = self.primary
        how()
        addresses = [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]

        def all_name_another() -> bool:
            named = [redis.Sentinel([one]).discover_master(GROUP)[1] for one in addresses]
            return before.port not in named and self.primary.client.role()[0] == b"master"

        until(all_name_another, "the Sentinels have chosen another primary")

    def _watched(self) -> bool:
        def knows(sentinel: Server) -> bool:
            state = sentinel.client.sentinel_masters()[GROUP]
            return bool(state["num-slaves"] == 1 and state["num-other-sentinels"] == 2)

        return all(map(knows, self.sentinels))

    def end(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.end()


@contextmanager
def watched_at(folder: Path) -> Iterator[Watched]:
    group = Watched(folder)
    try:
        yield group
    finally:
        group.end()
