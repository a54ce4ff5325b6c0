"""Vectors by the SHA-256 of what they stand for, so that nothing is embedded twice; FAISS to search them.

Loaded only where a query is embedded: numpy and FAISS take a third of a second that a message found in a log does not need.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer import storage
from indexer.embedding import Embedder, Progress
from indexer.errors import IndexDamagedError
from indexer.storage import Files

SHIPPED = Path(__file__).parent / "data" / "vectors.npz"
Half = npt.NDArray[np.float16]
Cosines = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float32]


def key(text: str, embedder: Embedder) -> bytes:
    """32 bytes that change with the text, the model, its revision and its prefix."""
    facts = "\0".join((embedder.name, embedder.revision, embedder.prefixes["document"], text))
    return hashlib.sha256(facts.encode("utf-8", errors="replace")).digest()


def read_vectors(path: Path) -> dict[bytes, npt.NDArray[np.float16]]:
    """Key -> (dim,) float16, from a file that `write_vectors` made; empty when there is none."""
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        return dict(zip(map(bytes, arrays["keys"]), arrays["vectors"], strict=True))


def write_vectors(path: Path, vectors: dict[bytes, Half]) -> None:
    """Write vectors so that the same ones always give the same bytes."""
    keys = sorted(vectors)
    with path.open("wb") as file:
        np.savez(
            file,
            keys=np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, 32),
            vectors=np.stack([vectors[key] for key in keys]),
        )


def embed_missing(
    texts: Sequence[str],
    embedder: Embedder,
    known: Iterable[dict[bytes, Half]],
    progress: Progress | None = None,
) -> tuple[list[bytes], Half]:
    """Keys and (n, dim) float16 vectors of document texts; only those that are in no known collection are embedded."""
    keys = [key(text, embedder) for text in texts]
    have: dict[bytes, Half] = {}
    for collection in known:
        have.update({k: collection[k] for k in keys if k in collection})
    missing = {k: text for k, text in zip(keys, texts, strict=True) if k not in have}
    if missing:
        fresh = embedder.embed(list(missing.values()), "document", progress).astype(np.float16)
        have.update(zip(missing, fresh, strict=True))
    return keys, np.stack([have[k] for k in keys]) if keys else np.empty((0, embedder.dim), dtype=np.float16)


NEAREST = 3  # An entry's likeness is the mean of so many: first place 0.93 against 0.91 with the nearest alone.


def nearest_mean(cosines: Cosines, owners: npt.NDArray[Any], size: int) -> Cosines:
    """(size,) float32: for each owner, the mean of its NEAREST greatest cosines; -1 for one without vectors."""
    order = np.lexsort((-cosines, owners))
    sorted_owners = owners[order]
    places = np.arange(len(order)) - np.searchsorted(sorted_owners, sorted_owners)
    near = order[places < NEAREST]
    counts = np.bincount(owners[near], minlength=size)
    sums = np.bincount(owners[near], weights=cosines[near], minlength=size)
    return np.where(counts > 0, sums / np.maximum(counts, 1), -1.0).astype(np.float32)


def scale(matrix: npt.NDArray[Any], owners: npt.NDArray[Any]) -> Cosines:
    """(2,) float32: the usual cosine of two vectors of different entries, and of a vector with the nearest of its own entry.

    Models differ: unlike texts have a cosine of 0.8 in e5 and of 0.1 in MiniLM. Measured on the index's own vectors, so that
    one ranking fits every model.
    """
    if len(set(owners.tolist())) < 2:
        return np.array([0.0, 1.0], dtype=np.float32)
    vectors = matrix.astype(np.float32)
    other, same = [], []
    for start in range(0, len(vectors), 512):
        cosines = vectors[start : start + 512] @ vectors.T
        rows = np.arange(start, start + len(cosines))
        ours = owners[rows][:, None] == owners[None, :]
        other.append(cosines[~ours].mean())
        cosines[np.arange(len(cosines)), rows] = -1.0
        own = np.sort(np.where(ours, cosines, -1.0), axis=1)[:, -NEAREST:]
        same.append(np.where(own > -1.0, own, np.nan))
    near = np.concatenate(same)
    high = float(np.nanmean(near)) if not np.isnan(near).all() else 1.0  # Where every owner has but one vector.
    return np.array([np.mean(other), high], dtype=np.float32)


def build_files(texts: Sequence[Sequence[str]], embedder: Embedder, known: Sequence[Path], progress: Progress | None) -> Files:
    """The files of an index that hold its vectors; `texts` are those of each owner, `known` indexes to take vectors from."""
    owned = [(number, text) for number, own in enumerate(texts) for text in own]
    have = [read_vectors(SHIPPED), *map(_vectors_of, known)]
    keys, matrix = embed_missing([text for _, text in owned], embedder, have, progress)
    owners = np.array([number for number, _ in owned], dtype=np.int32)
    return {
        "vectors.npy": _to_npy(matrix),
        "vector-keys.npy": _to_npy(np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, 32)),
        "vector-owners.npy": _to_npy(owners),
        "vector-scale.npy": _to_npy(scale(matrix, owners)),
    }


def _vectors_of(folder: Path) -> dict[bytes, Half]:
    """The vectors of another index, by key; none when it is damaged or has none."""
    try:
        _, files = storage.read(folder)
        keys, matrix = (_from_npy(files[name]) for name in ("vector-keys.npy", "vectors.npy"))
    except (IndexDamagedError, KeyError):
        return {}
    return dict(zip(map(bytes, keys), matrix, strict=True))


def _to_npy(values: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _from_npy(data: bytes) -> npt.NDArray[Any]:
    """The array of a .npy file; never a pickle."""
    values: npt.NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return values


class VectorSearch:
    """Exact inner-product search in FAISS, on one thread; the vectors are unit length, so scores are cosines."""

    def __init__(self, files: Files, owners: int) -> None:
        """Of the files that `build_files` made, for so many owners."""
        import faiss

        self._size = owners
        self._owners = _from_npy(files["vector-owners.npy"])
        self._low, self._high = _from_npy(files["vector-scale.npy"])
        vectors = _from_npy(files["vectors.npy"])
        faiss.omp_set_num_threads(1)
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors.astype(np.float32))

    def cosines(self, query: Vectors) -> Cosines:
        """Cosine of each stored vector with one query, (n,) float32."""
        found, rows = self._index.search(query.reshape(1, -1), self._index.ntotal)
        cosines = np.empty(self._index.ntotal, dtype=np.float32)
        cosines[rows[0]] = found[0]
        return cosines

    def likeness(self, query: Vectors) -> list[float]:
        """How like each owner's nearest vectors a query is: 0 as another owner's text usually is, 1 as its own."""
        best = nearest_mean(self.cosines(query), self._owners, self._size)
        likeness: list[float] = ((best - self._low) / max(self._high - self._low, 1e-3)).tolist()
        return likeness
