"""Real processes for pods: what a container's command says is started on this machine."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quadra_matrix.testing.kubernetes.kinds import CONFIG_MAP, SECRET
from quadra_matrix.testing.kubernetes.objects import Json, dig, namespace_of
from quadra_matrix.testing.kubernetes.storage import Key, Storage

LAST_WORD = 10.0
"""Seconds that a process which was killed may take to be gone."""


@dataclass
class Processes:
    """Starts a process for each pod whose image is real, with the command and variables of its first container."""

    folder: Path
    """Where the output goes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that every process gets, such as PATH."""
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)

    def start(self, pod: Json, storage: Storage) -> None:
        """Start the process of a pod, unless it was started."""
        uid = pod["metadata"]["uid"]
        if uid in self._running:
            return
        container = pod["spec"]["containers"][0]
        command = [*container.get("command", []), *container.get("args", [])]
        variables = {**self.environment, **variables_of(container, namespace_of(pod), storage)}
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._log(uid).open("ab") as output:
            self._running[uid] = subprocess.Popen(  # noqa: S603  the command of a test's own object
                command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=variables
            )

    def ended(self, pod: Json) -> int | None:
        """Return the exit code of a pod's process; None while it runs. A signal counts as 128 and its number."""
        process = self._running.get(pod["metadata"]["uid"])
        code = None if process is None else process.poll()
        return 128 - code if code is not None and code < 0 else code

    def has_ended(self, pod: Json) -> bool:
        """Tell whether no process of a pod runs."""
        process = self._running.get(pod["metadata"]["uid"])
        return process is None or process.poll() is not None

    def stop(self, pod: Json, *, kill: bool) -> None:
        """Ask the process of a pod to end, or make it."""
        process = self._running.get(pod["metadata"]["uid"])
        if process is not None and process.poll() is None:
            process.kill() if kill else process.terminate()

    def changed(self) -> bool:
        """Tell whether a process ended since the last time that this was asked."""
        codes = {uid: code for uid, process in self._running.items() if (code := process.poll()) is not None}
        changed, self._seen = codes != self._seen, codes
        return changed

    def output(self, uid: str) -> bytes | None:
        """Return what a pod's process wrote; None for a pod without a process."""
        return self._log(uid).read_bytes() if uid in self._running else None

    def close(self) -> None:
        """Stop every process."""
        for process in self._running.values():
            if process.poll() is None:
                process.kill()
            process.wait(LAST_WORD)

    def _log(self, uid: str) -> Path:
        return self.folder / f"{uid}.log"


def variables_of(container: Json, namespace: str, storage: Storage) -> dict[str, str]:
    """Return the variables of a container: plain ones, and those from ConfigMaps and Secrets."""
    found: dict[str, str] = {}
    for source in dig(container, "envFrom", default=[]):
        for name, kind in (("configMapRef", CONFIG_MAP), ("secretRef", SECRET)):
            if name in source:
                prefix = source.get("prefix", "")
                data = _data(storage.get(Key(kind, namespace, source[name]["name"])))
                found |= {prefix + key: value for key, value in data.items()}
    for variable in dig(container, "env", default=[]):
        value = variable.get("value", "")
        for name, kind in (("configMapKeyRef", CONFIG_MAP), ("secretKeyRef", SECRET)):
            reference = dig(variable, "valueFrom", name)
            if reference is not None:
                value = _data(storage.get(Key(kind, namespace, reference["name"])))[reference["key"]]
        found[variable["name"]] = value
    return found


def _data(thing: Json) -> dict[str, str]:
    """Return the texts in a ConfigMap or a Secret."""
    if thing["kind"] != "Secret":
        return dict(thing.get("data") or {})
    decoded = {key: base64.b64decode(value).decode() for key, value in (thing.get("data") or {}).items()}
    return {**decoded, **(thing.get("stringData") or {})}
