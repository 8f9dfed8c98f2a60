"""Reads a file of weights as plain values, and finds one set of named tensors in it.

Files are read as tensors and plain values only; nothing in them is executed.
"""

from __future__ import annotations

import argparse
import re
import warnings
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from scaling_lab.errors import UserError, printable

ALLOWED = "a state dict from torch.save (.pth, .pt, .ckpt), or .safetensors"

# --- reading ---------------------------------------------------------------------------------------------------------


class _Unread:
    """Stands for a value that weights do not need, such as a path or a date."""

    def __new__(cls, *_: object) -> _Unread:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _empty(*_: object) -> dict[object, object]:
    return {}


# Types that training scripts store with weights: command lines, numpy scalars, settings, paths, dates.
_SCALAR: Any = np._core.multiarray.scalar  # type: ignore[attr-defined]
_NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32")
_UNREAD = (
    *("pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath", "pathlib.PureWindowsPath"),
    *("pathlib._local.PosixPath", "pathlib._local.WindowsPath"),
    *("datetime.datetime", "datetime.date", "datetime.time", "datetime.timedelta", "datetime.timezone"),
    *("numpy.ndarray", "numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct"),
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig", "omegaconf.nodes.AnyNode"),
    *("omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata", "typing.Any"),
    "mmengine.logging.history_buffer.HistoryBuffer",
)
_SETTINGS = (
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
)
_PLAIN: list[Any] = [
    argparse.Namespace,
    np.dtype,
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),  # as numpy 1 names it
    *(type(np.dtype(kind)) for kind in (*_NUMBERS, "float64")),
    *((_Unread, name) for name in _UNREAD),
    *((dict, name) for name in _SETTINGS),
    (_empty, "collections.defaultdict"),
    *((kind, f"builtins.{kind.__name__}") for kind in (list, dict, int, float, str)),
]
# torch.save does not compress; a file that unpacks to far more may be a decompression bomb.
_MOST_UNPACKED = 10
_LONGEST = 100


def read_file(path: Path) -> Mapping[str, Any]:
    """Read .safetensors, or a file of torch.save. Raises UserError for other and damaged files."""
    if path.is_dir():
        raise UserError(f"the weights {path} are a folder; allowed is {ALLOWED}")
    if not path.is_file():
        raise UserError(f"the weights {path} do not exist; allowed is {ALLOWED}")
    try:
        with path.open("rb") as opened:
            start = opened.read(9)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        if path.suffix.lower() == ".safetensors" or _is_safetensors(path, start):
            return load_file(path)
        _check_packing(path)
        with torch.serialization.safe_globals(_PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that are not torch's; these raise an error below
            read = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # any error that a damaged file causes
        raise UserError(f"{path} is not a file of tensors: {_why(error)}; allowed is {ALLOWED}") from None
    if not isinstance(read, Mapping):
        raise UserError(f"{path} holds {type(read).__name__}; allowed is a state dict from names to tensors")
    return read


def _is_safetensors(path: Path, start: bytes) -> bool:
    """Return whether a file starts like .safetensors: a header's length, then a header in JSON."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def _check_packing(path: Path) -> None:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > _MOST_UNPACKED * path.stat().st_size:
            raise UserError(
                f"{path} has {path.stat().st_size:,} bytes but unpacks to {unpacked:,}, unlike files of torch.save; "
                f"allowed is {ALLOWED}"
            )


def _why(error: Exception) -> str:
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    if found is None:
        return "it is damaged or of another kind"
    return f"it holds an object, {found[1]}, and objects are not read (save model.state_dict(), not the model)"


def class_names_of(read: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the class names under a file's key "class_names", or None."""
    names = read.get("class_names")
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def in_short(text: str) -> str:
    """Return a text from a file as one printable line, shortened if long."""
    return printable(text, most=_LONGEST)


# --- finding a set of tensors ----------------------------------------------------------------------------------------

_DEEPEST, _MOST_MAPPINGS, _MOST_PARTS = 8, 10_000, 12
# Of several sets under these keys, the first is used; our own files have "state" and "model".
_PREFERRED = ("state", "state_dict", "model_state_dict", "model_state", "model")
_AVERAGED = re.compile(r"(?<![a-z])(?<!exp_)(ema|swa|avg|averaged?)(?![a-z])")
_IDLE = ("num_batches_tracked", "anchors.boxes")  # in batch norms, and in effdet's bench


@dataclass(frozen=True, kw_only=True)
class TensorSet:
    """One set of tensors of a file, by names without their common prefix.

    `place` is its location: keys and prefix, empty at the file's top. `unused` are names next to the set without its
    prefix. `notes` are sentences on whether averaged weights were used, and which were not.
    """

    tensors: Mapping[str, Tensor]
    place: str
    averaged: bool
    unused: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    keys: tuple[str, ...]
    prefix: str
    known: frozenset[str]
    mapping: Mapping[str, Tensor]

    @property
    def averaged(self) -> bool:
        counter = f"{self.prefix.removesuffix('module.')}n_averaged"  # torch's AveragedModel
        return counter in self.mapping or any(map(_is_averaged, (*self.keys, self.prefix)))

    @property
    def place(self) -> str:
        return in_short(" / ".join([*self.keys, *([f"{self.prefix}*"] if self.prefix else [])]))

    @property
    def rank(self) -> tuple[int, int, int]:
        last = self.keys[-1] if self.keys else ""
        preferred = _PREFERRED.index(last) if last in _PREFERRED else len(_PREFERRED)
        return preferred, len(self.keys), len(self.prefix)


def find_tensors(read: Mapping[str, Any], path: Path, is_known: Callable[[str], bool], *, least: int = 1) -> TensorSet:
    """Return the set in a file with the most names for which `is_known` holds, whatever its keys and prefix.

    Keys may enclose it, and all its names may share a prefix ("module.", "model.", any other). Among sets with equally many
    known names, averaged weights are preferred, then those under the usual keys. Raises UserError where the file holds no
    tensor, and where two sets with at least `least` known names are ambiguous.
    """
    mappings = list(_mappings(read))
    if not mappings:
        raise UserError(f"{path} holds no tensors; its keys are {some([str(key) for key in read]) or 'none'}")
    candidates = [each for keys, mapping in mappings for each in _candidates(keys, mapping, is_known)]
    most = max(len(each.known) for each in candidates)
    whole = sorted((each for each in candidates if len(each.known) == most), key=lambda each: each.rank)
    pool = [each for each in whole if each.averaged] or whole
    chosen = pool[0]
    rivals = [each for each in pool[1:] if most >= least and each.rank[0] == chosen.rank[0] and _differ(chosen, each)]
    if rivals:
        places = ", ".join(each.place or "its top" for each in (chosen, *rivals))
        raise UserError(
            f"{path} holds several sets of weights: {places}; allowed is one, with or without averaged weights"
        )
    length = len(chosen.prefix)
    tensors = {name[length:]: tensor for name, tensor in chosen.mapping.items() if name.startswith(chosen.prefix)}
    unused = tuple(name for name in chosen.mapping if not name.startswith(chosen.prefix) and not _is_idle(name))
    return TensorSet(
        tensors={name: tensor for name, tensor in tensors.items() if name != "anchors.boxes"},
        place=chosen.place,
        averaged=chosen.averaged,
        unused=unused,
        notes=tuple(_notes(path, chosen, candidates)) if most else (),
    )


def _mappings(read: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Tensor]]]:
    """Yield the mappings in a file that hold tensors, each once, with their keys; optimizers are skipped."""
    waiting: deque[tuple[tuple[str, ...], Mapping[Any, Any]]] = deque([((), read)])
    seen = {id(read)}
    while waiting:
        keys, mapping = waiting.popleft()
        tensors = {str(name): value for name, value in mapping.items() if isinstance(value, Tensor)}
        if tensors:
            yield keys, tensors
        for key, value in mapping.items():
            is_new = isinstance(value, Mapping) and id(value) not in seen and "optim" not in str(key).lower()
            if is_new and len(keys) < _DEEPEST and len(seen) < _MOST_MAPPINGS:
                seen.add(id(value))
                waiting.append(((*keys, str(key)), value))


def _candidates(
    keys: tuple[str, ...], mapping: Mapping[str, Tensor], is_known: Callable[[str], bool]
) -> Iterator[_Candidate]:
    """Yield the mapping's names by each prefix of a known name, or without a prefix."""
    known: dict[str, set[str]] = {"": set()}
    for name in mapping:
        start = 0
        for _ in range(_MOST_PARTS):
            if is_known(name[start:]) and not _is_idle(name):
                known.setdefault(name[:start], set()).add(name[start:])
            start = name.find(".", start) + 1
            if not start:
                break
    for prefix, names in known.items():
        yield _Candidate(keys=keys, prefix=prefix, known=frozenset(names), mapping=mapping)


def _is_averaged(key: str) -> bool:
    return _AVERAGED.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()) is not None


def _is_idle(name: str) -> bool:
    return name.endswith(_IDLE) or name.endswith("n_averaged")


def _differ(one: _Candidate, other: _Candidate) -> bool:
    """Return whether two sets have different tensors."""
    pairs = ((one.mapping[one.prefix + name], other.mapping.get(other.prefix + name)) for name in one.known)
    return any(a is not b for a, b in pairs)


def _notes(path: Path, chosen: _Candidate, candidates: list[_Candidate]) -> Iterator[str]:
    most = len(chosen.known)
    others = [each for each in candidates if each is not chosen and each.known]
    rivals = [each for each in others if len(each.known) == most and _differ(chosen, each)]
    if chosen.averaged or rivals:
        kind = "averaged weights" if chosen.averaged else "weights"
        left = f", not those under {rivals[0].place or 'its top'!r}" if rivals else ""
        yield f"{path}: the {kind} under {chosen.place or 'its top'!r} are used{left}"
    for each in others:
        if each.averaged and not chosen.averaged:
            place, there = chosen.place or "its top", f"{len(each.known)} of {most}"
            yield f"{path}: the averaged weights under {each.place!r} have {there} tensors; those at {place!r} are used"


# --- fitting ---------------------------------------------------------------------------------------------------------

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How tensors fit a module: the number that fit, the number wanted, and the faults of others."""

    fitting: int
    wanted: int
    faults: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.fitting} of {self.wanted} tensors fit; {'; '.join(self.faults)}"


def fit(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, allow_more: bool = False) -> Fit:
    """Compare a file's tensors with a module's state dict, which may be on device "meta".

    Every tensor must exist, with its shape, in half, single or double precision, and be finite. Files of torch before 0.4.1
    lack batch norms' counters, which are not used.
    """
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    both = [name for name in wanted if name in tensors]
    other = [name for name in both if tensors[name].shape != wanted[name].shape]
    floating = [name for name in both if name not in other and wanted[name].is_floating_point()]
    kind = [n for n in both if n not in other and not _is_readable(tensors[n], wanted[n].is_floating_point())]
    value = [name for name in floating if name not in kind and not bool(tensors[name].float().isfinite().all())]
    groups = (
        ([name for name in needed if name not in tensors], "missing"),
        ([] if allow_more else [name for name in tensors if name not in wanted], "that the model lacks"),
        (
            [f"{n} is {_shape(tensors[n])} in the file, {_shape(wanted[n])} in the model" for n in other],
            "of another shape",
        ),
        ([f"{n} is {_kind(tensors[n])}" for n in kind], "not plain numbers"),
        (value, "not finite"),
    )
    bad = {*other, *kind, *value}
    return Fit(
        fitting=sum(name in tensors and name not in bad for name in needed),
        wanted=len(needed),
        faults=tuple(f"{len(names)} {words} ({some(names)})" for names, words in groups if names),
    )


def _is_readable(tensor: Tensor, floating: bool) -> bool:
    """Return whether a tensor holds ordinary numbers: not sparse, quantised, on "meta" or expanded."""
    is_plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
    if not is_plain or tensor.is_meta or tensor.is_quantized or tensor.is_complex():
        return False
    if floating and tensor.dtype not in _FLOATS:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _kind(tensor: Tensor) -> str:
    if tensor.is_meta:
        return "without values"
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    return str(tensor.dtype).removeprefix("torch.")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def some(names: list[str] | tuple[str, ...]) -> str:
    """Return the first names, with dots if there are more."""
    return ", ".join(map(in_short, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")


def counted_tensors(number: int) -> str:
    """Return "1 tensor", "3 tensors" and so on."""
    return f"{number} tensor{'s' * (number != 1)}"


def first_parts(names: list[str]) -> list[str]:
    """Return the first dotted components of names, most common first."""
    return [part for part, _ in Counter(name.partition(".")[0] for name in names).most_common()]
