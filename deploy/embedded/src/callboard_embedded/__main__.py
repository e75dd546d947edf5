"""`python -m callboard_embedded run|demo|stop|sign-in|models|backup|restore`."""

from __future__ import annotations

import argparse
import sys


def main() -> int:
    parser = argparse.ArgumentParser(prog="callboard_embedded", description="The stack on one machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the stack until Ctrl-C")
    run.add_argument("--no-greeting", action="store_true", help="do not print how to sign in")
    commands.add_parser("demo", help="start a stack, run real jobs, show the results, end it")
    commands.add_parser("stop", help="end the stack that runs on CALLBOARD_HOME")
    commands.add_parser("sign-in", help="print a link that signs in to the console of the running stack")
    models = commands.add_parser("models", help="list the models that jobs can name, and load each once")
    models.add_argument("--list", action="store_true", help="only list them")
    backup = commands.add_parser("backup", help="write the stack's data to one file, also while it runs")
    backup.add_argument("file", nargs="?", help="callboard-TIME.tar.gz here if not given")
    restore = commands.add_parser("restore", help="put a backup in place as CALLBOARD_HOME")
    restore.add_argument("file")
    restore.add_argument("--replace", action="store_true", help="put a stack that is there aside")
    chosen = parser.parse_args()
    if chosen.command == "run":
        from callboard_embedded.run import main_run

        return main_run(greet=not chosen.no_greeting)
    if chosen.command == "demo":
        from callboard_embedded.demo import demo

        return demo()
    if chosen.command == "stop":
        from callboard_embedded.stop import stop

        return stop()
    if chosen.command == "sign-in":
        from callboard_embedded.link import print_link

        return print_link()
    if chosen.command == "backup":
        from callboard_embedded.backup import backup as make_backup

        return make_backup(chosen.file)
    if chosen.command == "restore":
        from callboard_embedded.restore import restore as put_back

        return put_back(chosen.file, replace=chosen.replace)
    from callboard_embedded.models import models as show_models

    return show_models(warm=not chosen.list)


if __name__ == "__main__":
    sys.exit(main())
