"""Make .venv and put uv into it: with pip where there is one, else from the wheel that uv.lock names.

Debian's python3 has neither pip nor ensurepip, so the second way needs only the standard library.
"""

import hashlib
import io
import os
import platform
import subprocess
import sys
import sysconfig
import tomllib
import urllib.request
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"


def locked_uv() -> dict:
    """Return uv's entry in uv.lock."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    return next(package for package in packages if package["name"] == "uv")


def wheel_for_this_machine(wheels: list[dict]) -> dict:
    """Return the wheel whose platform tag fits this machine."""
    machine = platform.machine()
    if sys.platform == "darwin":
        fits = ("macosx", f"_{machine}.whl")
    else:
        libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
        fits = (libc, f"_{machine}.whl")
    for wheel in wheels:
        name = wheel["url"].rsplit("/", 1)[-1]
        if fits[0] in name and name.endswith(fits[1]):
            return wheel
    sys.exit(f"uv has no wheel for {sysconfig.get_platform()}; install pip (apt-get install python3-venv)")


def unpack_uv(wheel: dict, folder: Path) -> None:
    """Download the wheel, check its hash and put its programs into the folder."""
    with urllib.request.urlopen(wheel["url"], timeout=120) as answer:
        data = answer.read()
    if "sha256:" + hashlib.sha256(data).hexdigest() != wheel["hash"]:
        sys.exit(f"{wheel['url']} does not have the hash that uv.lock names; nothing was installed")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if "/scripts/" in name and not name.endswith("/"):
                target = folder / Path(name).name
                unready = target.with_suffix(".new")  # an interrupted run must not leave half a program behind
                unready.write_bytes(archive.read(name))
                unready.chmod(0o755)
                unready.replace(target)


def make() -> None:
    """Make the environment and install uv into it; an existing one is kept."""
    if (VENV / "bin" / "uv").exists():
        return
    try:
        import ensurepip  # noqa: F401

        with_pip = True
    except ImportError:
        with_pip = False
    venv.create(VENV, with_pip=with_pip, symlinks=os.name != "nt", clear=VENV.exists())
    entry = locked_uv()
    if with_pip:
        pip = [VENV / "bin" / "python", "-m", "pip", "install", "--quiet", f"uv=={entry['version']}"]
        subprocess.run([*map(str, pip), "--disable-pip-version-check"], check=True, timeout=600)
    else:
        unpack_uv(wheel_for_this_machine(entry["wheels"]), VENV / "bin")


if __name__ == "__main__":
    if sys.version_info < (3, 11):
        sys.exit(f"Python 3.11 or newer is needed; {sys.executable} is {platform.python_version()}")
    make()
