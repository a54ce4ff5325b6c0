"""What lies beside the entries: known problems without an entry yet, other fields, and what tells two problems apart.

It stands in the built-in folder: catalogue.yaml with planned_asks.jsonl and planned_signatures.yaml, elsewhere_asks.jsonl,
elsewhere_names.txt, apart.yaml.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from indexer.entry import LANGUAGES, Signature, read_text
from indexer.errors import EntryError


@dataclass(frozen=True)
class Background:
    """What no entry answers: a known problem whose entry is not written yet, with what it is `about`, or a topic that none is
    planned for, of this field (`training-...`) or of another (`elsewhere-...`); how people put it, and what it prints."""

    id: str
    about: str
    asks: tuple[str, ...] = ()
    signatures: tuple[Signature, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it is of this field: planned, or about training without an entry planned."""
        return not self.id.startswith("elsewhere-")


def read_background(root: Path) -> list[Background]:
    """What a folder's catalogue reserves ids for, then the topics of other fields; nothing where there is no catalogue.

    Raises EntryError where catalogue.yaml, planned_asks.jsonl, planned_signatures.yaml or elsewhere_asks.jsonl has another
    form.
    """
    catalogue = root / "catalogue.yaml"
    if not catalogue.is_file():
        return []
    import yaml

    try:
        items = [item for items in yaml.load(read_text(catalogue), Loader=yaml.CSafeLoader).values() for item in items]
        planned = _read_asks(root / "planned_asks.jsonl")
        elsewhere = _read_asks(root / "elsewhere_asks.jsonl")
        path = root / "planned_signatures.yaml"
        written = yaml.load(read_text(path), Loader=yaml.CSafeLoader) if path.is_file() else {}
        signatures = {id_: tuple(Signature(**fields) for fields in rows) for id_, rows in written.items()}
        return [
            *(Background(i["slug"], i["about"], planned.get(i["slug"], ()), signatures.get(i["slug"], ())) for i in items),
            *(Background(topic, "", asks) for topic, asks in elsewhere.items()),
        ]
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EntryError(
            str(root), 0, f"has a catalogue, or asks beside it, not of the form it should have: {error}"
        ) from error


def read_apart(root: Path) -> dict[str, dict[str, str]]:
    """What tells two problems apart, a sentence a language, by `id id` in alphabetical order; raises EntryError."""
    path = root / "apart.yaml"
    if not path.is_file():
        return {}
    import yaml

    try:
        rows = yaml.load(read_text(path), Loader=yaml.CSafeLoader)
        return {" ".join(sorted(row["pair"])): {language: row[language] for language in LANGUAGES} for row in rows}
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise EntryError(str(path), 0, f"is no list of pair, en, zh: {error}") from error


def read_foreign_names(root: Path) -> tuple[str, ...]:
    """Names that are not used in this field, from elsewhere_names.txt; none where it is not there."""
    path = root / "elsewhere_names.txt"
    lines = read_text(path).splitlines() if path.is_file() else []
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("# "))


def _read_asks(path: Path) -> dict[str, tuple[str, ...]]:
    asks: dict[str, tuple[str, ...]] = {}
    for line in read_text(path).splitlines() if path.is_file() else ():
        ask = json.loads(line)
        asks[ask["slug"]] = (*asks.get(ask["slug"], ()), ask["ask"])
    return asks
