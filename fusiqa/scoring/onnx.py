"""A trained network run by ONNX Runtime, without torch."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np

from fusiqa.errors import FusiqaError
from fusiqa.io import WEIGHTS_FILE, found_in
from fusiqa.machine import cores
from fusiqa.scoring.models import Batch, ModelInfo, Outputs, fingerprint_of
from fusiqa.scoring.views import views_at_once

METADATA = "fusiqa"  # key of the model's description, as JSON, in the metadata of an ONNX file
LOCATION = b"\n\x08location"  # begins an entry of onnx.proto that names the file with the numbers of a tensor
BESIDE = LOCATION + b"\x12" + bytes([len(WEIGHTS_FILE)]) + WEIGHTS_FILE.encode()


class OnnxNetwork:
    """A `Network` in ONNX Runtime. It is pickled as its path, and opened again in a forked process.

    Args:
        path: a file that `fusiqa export` wrote; FusiqaError for another, and where the weights that it shares are not
            beside it.
        device: "auto" (the GPU where the installed runtime has one), "cpu", "cuda", "cuda:1"; FusiqaError for others.
    """

    def __init__(self, path: Path, *, device: str = "auto", windows: bool = False) -> None:
        import onnxruntime

        self._open = partial(OnnxNetwork, Path(os.path.abspath(path)), device=device, windows=windows)
        self._process = os.getpid()
        providers = _providers(device, onnxruntime.get_available_providers())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the cores free
        options.log_severity_level = 3  # errors: the warnings are about steps of its optimiser
        files, weights = found_in(path, LOCATION, length=len(BESIDE)), path.with_name(WEIGHTS_FILE)
        beside = weights.is_file() and weights.resolve().parent == path.resolve().parent
        if files == {BESIDE} and not beside:
            apart = "is a link to another folder" if weights.is_file() else "is not beside it"
            alone = "`fusiqa export` without `share_weights` writes a file that stands alone"
            raise FusiqaError(f"{path} reads its weights from {WEIGHTS_FILE}, which {apart}; {alone}")
        try:
            if files - {BESIDE}:  # ONNX Runtime reads none outside of the folder, however it is named
                raise FusiqaError("it takes weights from another file")
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
            self.stated: dict[str, Any] = json.loads(self._session.get_modelmeta().custom_metadata_map[METADATA])
            self.info = ModelInfo.from_json(self.stated)
        except Exception as reason:  # onnxruntime raises its own
            message = (str(reason) or type(reason).__name__).splitlines()[0]
            raise FusiqaError(f"{path} is not a model that `fusiqa export` wrote: {message}") from reason
        if files and not str(self.stated.get("source")).startswith(fingerprint_of(weights)):
            raise FusiqaError(f"{path} was exported with other weights than {WEIGHTS_FILE} has: export it again")
        given = [each.name for each in self._session.get_outputs()]
        self._names = [name for name in given if name in Outputs._fields and (windows or name != "windows")]
        self._run_options = onnxruntime.RunOptions()
        self._run_options.only_execute_path_to_fetches = True
        OPEN.add(self)

    def __reduce__(self) -> tuple[Callable[[], OnnxNetwork], tuple]:
        return self._open, ()

    def __call__(self, views: Batch) -> Outputs:
        if self._process != os.getpid():  # a session's threads do not survive a fork
            self.__dict__.update(vars(self._open()))
        found = self._session.run(self._names, {self._session.get_inputs()[0].name: views}, self._run_options)
        return Outputs(**{name: each.astype(np.float64) for name, each in zip(self._names, found, strict=True)})

    at_once = staticmethod(views_at_once)


OPEN: WeakSet[OnnxNetwork] = WeakSet()  # of this process


def _keep_sessions() -> None:
    """Keep the sessions of the parent in a forked process: ending one would wait for ever for threads that it lacks."""
    for network in OPEN:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(network._session))


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_keep_sessions)


def _providers(device: str, available: list[str]) -> list[Any]:
    """The execution providers of a device. Raises FusiqaError for one that is not available."""
    kind, _, number = device.partition(":")
    cuda = "CUDAExecutionProvider" in available
    if kind not in ("auto", "cpu") and not (cuda and kind == "cuda" and (not number or number.isdecimal())):
        raise FusiqaError(f"device {device} cannot be used by ONNX Runtime here; try cpu or auto")
    gpu = [("CUDAExecutionProvider", {"device_id": int(number or 0)})] if cuda and kind != "cpu" else []
    return [*gpu, "CPUExecutionProvider"]
