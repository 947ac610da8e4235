#!/usr/bin/env python3
"""Creates the virtual environment of the project and installs the project into it.

    python3 scripts/make_venv.py .venv [--extras test] [--system-site-packages]

Does nothing where the environment already holds what `pyproject.toml` asks for. Uses only the
standard library and the syntax of Python 3.6, so that an interpreter that is too old can say so.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time

OLDEST = (3, 11)
VERSION = sys.version.split()[0]
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("venv", help="folder of the environment")
    parser.add_argument("--extras", default="", help="extras of pyproject.toml, comma-separated")
    parser.add_argument("--system-site-packages", action="store_true")
    arguments = parser.parse_args()
    if sys.version_info < OLDEST:
        sys.exit(
            f"SilverJAX needs Python {OLDEST[0]}.{OLDEST[1]} or newer; {sys.executable} is "
            f"{VERSION}.\nName a newer one, for example:  make PYTHON=python3.12 ..."
        )
    venv = os.path.abspath(arguments.venv)
    # Two runs of make at once: the second waits, then finds the work done. The system lets
    # the lock go when its holder dies, however it dies.
    with open(venv + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ensure(venv, arguments.extras, arguments.system_site_packages)


def ensure(venv, extras, system_site_packages):
    """Brings `venv` to the state that `pyproject.toml` and `extras` describe."""
    python = os.path.join(venv, "bin", "python")
    wanted = state(venv)
    stamp = os.path.join(venv, "installed-" + (extras.replace(",", "-") or "base"))
    if read(stamp) == wanted and works(python):
        return
    if os.path.isdir(venv) and not works(python):
        shutil.rmtree(venv)  # half made, or its interpreter is gone
    if not os.path.isdir(venv):
        say(f"creating {os.path.relpath(venv)} with Python {VERSION}")
        options = ["--system-site-packages"] if system_site_packages else []
        code = subprocess.call([sys.executable, "-m", "venv", *options, venv])
        if code:
            shutil.rmtree(venv, ignore_errors=True)
            sys.exit(
                f"{sys.executable} -m venv failed. On Debian and Ubuntu the module is a package "
                "of its own:\n  apt-get install python3-venv"
            )
    target = ROOT + (f"[{extras}]" if extras else "")
    install(venv, [python, "-m", "pip", "install", "--quiet", "--editable", target])
    with open(stamp, "w") as file:
        file.write(wanted)


def install(venv, command):
    """Runs pip, showing the time that passes; shows pip's own output only when it fails."""
    log_path = os.path.join(venv, "install.log")
    start = time.time()
    label = "installing SilverJAX and what it needs (about a minute)"
    if not sys.stdout.isatty():
        say(label)
    with open(log_path, "w") as log:
        pip = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
        while pip.poll() is None:
            if sys.stdout.isatty():
                sys.stdout.write(f"\r{label} ... {time.time() - start:.0f} s ")
                sys.stdout.flush()
            time.sleep(0.2)
    if sys.stdout.isatty():
        sys.stdout.write("\n")
    if pip.returncode:
        sys.stderr.write(read(log_path))
        sys.exit(
            f"pip could not install SilverJAX: its own message stands above, and in {log_path}.\n"
            "It needs a package index, or a folder of wheels (PIP_FIND_LINKS). Interrupted? Run "
            "make again."
        )
    say(f"installed in {time.time() - start:.0f} s")


def state(venv):
    """What an up-to-date environment was made from."""
    text = "".join(read(path) for path in ["pyproject.toml", "CMakeLists.txt", *cpp_files()])
    return hashlib.sha256((ROOT + "\n" + venv + "\n" + text).encode()).hexdigest()


def cpp_files():
    """What the CPU kernels are built from, relative to the root."""
    found = []
    for folder, _, names in sorted(os.walk(os.path.join(ROOT, "pallas_kernels"))):
        found += [
            os.path.join(folder, name) for name in sorted(names) if name.endswith((".cc", ".h"))
        ]
    return [os.path.relpath(path, ROOT) for path in found]


def works(python):
    try:
        return subprocess.call([python, "-c", "import pip"], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def read(path):
    path = os.path.join(ROOT, path)
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read()


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
