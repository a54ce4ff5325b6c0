"""An entry's section and title -> the picture that stands beside a link to its page, a PNG of 1200 x 630 pixels.

Drawn with Pillow, which is imported where it is used: only a site that has an address needs it.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.entry import Language
from indexer.pages import Library

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

WIDTH, HEIGHT = 1200, 630
MARGIN = 80
GROUND, SHADE, INK, MUTED, EMBER = "#10221b", "#1a3229", "#eef4ee", "#b4c6bb", "#f2762e"
MIXED = 8  # Steps of colour between two of these; a card of all colours is three times as large and looks the same.
TITLE_SIZES = ((84, 2), (72, 3), (60, 4))  # Pixels, and the lines that the title may then take.
SMALL, NAME = 34, 44
# The mark of the site (assets/mark.svg): a curve from 32 units by 32, its width, and the dot's centre and radius.
CURVE, STROKE, DOT, RADIUS = ((4.0, 5.0), (5.6, 15.5), (9.2, 20.7), (17.0, 22.3)), 3.6, (25.0, 23.0), 4.0

# Bold, and with Chinese, where the systems that people build on keep them; fontconfig is asked after these.
CHINESE_FONTS = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Bold.ttc",
    "/usr/share/fonts/google-noto-sans-cjk-fonts/NotoSansCJK-Bold.ttc",
    "/System/Library/Fonts/PingFang.ttc",
    "/System/Library/Fonts/Hiragino Sans GB.ttc",
    "C:/Windows/Fonts/msyhbd.ttc",
)
LATIN_FONTS = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans-Bold.ttf",
    "/System/Library/Fonts/Helvetica.ttc",
    "C:/Windows/Fonts/segoeuib.ttf",
)


@dataclass(frozen=True)
class Face:
    """A font file, and which of its fonts."""

    path: str
    index: int = 0

    def font(self, size: int) -> FreeTypeFont:
        from PIL import ImageFont

        return ImageFont.truetype(self.path, size, self.index)


def why_no_cards(language: Language) -> str:
    """Why no cards can be drawn in a language, in one line with what mends it; empty where they can."""
    try:
        import PIL  # noqa: F401
    except ImportError:
        return "no cards: Pillow is missing. Run: pip install 'kbask[site]'"
    if face(language):
        return ""
    if language == "zh":
        return "no Chinese cards: no font with Chinese was found. Install one, for example the package fonts-noto-cjk"
    return "no cards: no font was found. Install one, for example the package fonts-dejavu-core"


def card_files(library: Library, folder: Path) -> dict[str, bytes]:
    """The card of every entry, `cards/SLUG.png`; none where `why_no_cards`. `folder` keeps those of this call alone."""
    chosen = face(library.language)
    if not chosen:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    files, used = {}, set()
    for entry in library.entries.values():
        section, title = library.sections[entry.section].title, library.title(entry.id)
        kept = folder / f"{_digest(section, title, chosen)}.png"
        if not kept.is_file():
            kept.write_bytes(draw_card(section, title, chosen))
        files[f"cards/{entry.id}.png"] = kept.read_bytes()
        used.add(kept.name)
    for path in folder.glob("*.png"):
        if path.name not in used and re.fullmatch(r"[0-9a-f]{32}\.png", path.name):
            path.unlink()
    return files


def _digest(section: str, title: str, chosen: Face) -> str:
    """What a card is drawn from: its words, its font, the release of Pillow and this file."""
    import PIL

    font = f"{chosen.path} {chosen.index} {Path(chosen.path).stat().st_size}"
    return hashlib.sha256("\0".join([section, title, font, PIL.__version__, _own_source()]).encode()).hexdigest()[:32]


@cache
def _own_source() -> str:
    return Path(__file__).read_text(encoding="utf-8")


@cache
def face(language: Language) -> Face | None:
    """The font of a language's cards: one with Chinese, or for English also another; None where there is none."""
    for path in (*CHINESE_FONTS, _fontconfig(":lang=zh-cn:bold")):
        chosen = _with_chinese(path) if path and Path(path).is_file() else None
        if chosen:
            return chosen
    if language == "zh":
        return None
    return next((Face(path) for path in (*LATIN_FONTS, _fontconfig("sans:bold")) if path and Path(path).is_file()), None)


def _fontconfig(pattern: str) -> str:
    """The font file that fontconfig has for a pattern; it has always one, fitting or not."""
    try:
        asked = subprocess.run(["fc-match", "-f", "%{file}", pattern], capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return ""
    return asked.stdout


def _with_chinese(path: str) -> Face | None:
    """The font of a file that has Chinese characters, where there are several the one made for simplified ones."""
    found: list[Face] = []
    for index in range(10):
        try:
            font = Face(path, index).font(20)
        except OSError:
            break
        if bytes(font.getmask("训")) != bytes(font.getmask("\U0010ffff")):
            found.append(Face(path, index))
            if re.search(r"\bSC\b|\bGB\b|YaHei", font.getname()[0] or ""):
                return found[-1]
    return found[0] if found else None


def draw_card(section: str, title: str, chosen: Face) -> bytes:
    """The card as a PNG."""
    from PIL import Image, ImageDraw

    image = _ground(chosen).copy()
    draw = ImageDraw.Draw(image)
    font, lines = _fitted(title, chosen)
    leading = round(font.size * 1.28)
    top = HEIGHT - MARGIN - leading * len(lines)
    for number, line in enumerate(lines):
        # The left half of a full-width bracket is empty: without this the line would look indented.
        left = MARGIN - (font.size // 2 if line.startswith(tuple(_OPENING[:-2])) else 0)
        draw.text((left, top + leading * number + leading // 2), line, font=font, fill=INK, anchor="lm")
    small = chosen.font(SMALL)
    draw.rectangle((MARGIN, top - 37, MARGIN + 36, top - 32), fill=EMBER)
    draw.text((MARGIN + 56, top - 34), _cut(section, small, WIDTH - 2 * MARGIN - 56), font=small, fill=MUTED, anchor="lm")
    written = io.BytesIO()
    image.quantize(palette=_palette(), dither=Image.Dither.NONE).save(written, "PNG")
    return written.getvalue()


@cache
def _palette() -> Image:
    """The colours of all cards: the edges of letters are mixed of what they stand on and their own."""
    from PIL import Image, ImageColor

    colours: list[int] = []
    for ground, ink in ((GROUND, INK), (SHADE, INK), (GROUND, MUTED), (SHADE, MUTED), (GROUND, EMBER), (GROUND, SHADE)):
        for step in range(MIXED + 1):
            pairs = zip(ImageColor.getrgb(ground), ImageColor.getrgb(ink), strict=True)
            colours += [round(low + (high - low) * step / MIXED) for low, high in pairs]
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours)
    return palette


@cache
def _ground(chosen: Face) -> Image:
    """What every card has: the mark, once large in the background, and the name."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    _paste_mark(image, (610, -80), 800, SHADE, SHADE)
    _paste_mark(image, (MARGIN - 8, 62), 72, INK, EMBER)
    ImageDraw.Draw(image).text((MARGIN + 84, 100), "kbask", font=chosen.font(NAME), fill=INK, anchor="lm")
    return image


def _paste_mark(image: Image, corner: tuple[int, int], size: int, curve: str, dot: str) -> None:
    """The mark, drawn four times as large and made smaller, which smooths its edges."""
    from PIL import Image, ImageDraw

    scale = size * 4 / 32
    for colour, points, radius in ((curve, _curve_points(), STROKE / 2), (dot, [DOT], RADIUS)):
        mask = Image.new("L", (size * 4, size * 4))
        draw = ImageDraw.Draw(mask)
        for x, y in points:
            draw.ellipse([(x - radius) * scale, (y - radius) * scale, (x + radius) * scale, (y + radius) * scale], fill=255)
        mask = mask.resize((size, size), Image.Resampling.BOX)
        image.paste(colour, (*corner, corner[0] + size, corner[1] + size), mask)


def _curve_points(steps: int = 200) -> list[tuple[float, float]]:
    """Points along the curve of the mark, a Bézier curve."""
    points = []
    for t in (number / steps for number in range(steps + 1)):
        weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
        x, y = (sum(weight * point[axis] for weight, point in zip(weights, CURVE, strict=True)) for axis in (0, 1))
        points.append((x, y))
    return points


def _fitted(title: str, chosen: Face) -> tuple[FreeTypeFont, list[str]]:
    """The largest font in which a title takes no more lines than it may, and its lines."""
    width = WIDTH - 2 * MARGIN
    for size, most in TITLE_SIZES:
        font = chosen.font(size)
        lines = wrapped(title, font.getlength, width)
        broken_word = any(font.getlength(unit.rstrip()) > width for unit in _UNIT.findall(title))
        if len(lines) <= most and not broken_word:
            return font, lines
    if len(lines) <= most:
        return font, lines
    return font, [*lines[: most - 1], _cut(lines[most - 1] + "…", font, width)]


def _cut(text: str, font: FreeTypeFont, width: float) -> str:
    """A text that is cut off, and says so, where it is wider than `width`."""
    if font.getlength(text) <= width:
        return text
    while font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


_CHINESE = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
_OPENING = "（《〈「『【〔“‘"
_CLOSING = "，。、；：？！）》〉」』】〕”’…—％·,.;:?!)]%"
# What stays on one line: a Chinese character or a word, with what opens before it and what closes behind it.
_UNIT = re.compile(rf"[{_OPENING}(\[]*(?:[{_CHINESE}]|[^\s{_CHINESE}{_OPENING}]+|$)[{re.escape(_CLOSING)}]*\s*")


def wrapped(text: str, measure: Callable[[str], float], width: float) -> list[str]:
    """Text in as few lines as `width` allows, about equally long, and broken behind a mark rather than within a phrase.

    It is broken at spaces and between Chinese characters, never before a closing mark; a word that is wider than a line is
    broken behind its marks, else anywhere.
    """
    units = [piece for unit in _UNIT.findall(" ".join(text.split())) for piece in _pieces(unit, measure, width)]
    ends = [0.0]  # Where each unit ends, in one long line; its trailing space is beyond what a line must hold.
    held = []
    for unit in units:
        held.append(ends[-1] + measure(unit.rstrip()))
        ends.append(ends[-1] + measure(unit))
    count, start = 1, 0
    for number, end in enumerate(held):
        if end - ends[start] > width:
            count, start = count + 1, number
    mean = ends[-1] / count
    # The cost and the first units of the best way to set the units up to each in so many lines.
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
    for _ in range(count):
        further: dict[int, tuple[float, list[int]]] = {}
        for first, (cost, starts) in best.items():
            for last in range(first, len(units)):
                line = held[last] - ends[first]
                if line > width:
                    break
                more = cost + ((line - mean) / width) ** 2 + _cost_of_break(units, last)
                if last + 1 not in further or more < further[last + 1][0]:
                    further[last + 1] = (more, [*starts, first])
        best = further
    starts = [*best[len(units)][1], len(units)] if units else [0]
    return ["".join(units[first:end]).rstrip() for first, end in pairwise(starts)]


def _cost_of_break(units: list[str], last: int) -> float:
    """How much a line's end behind a unit disturbs, as a share of a line's width, squared."""
    if last + 1 == len(units) or units[last].rstrip()[-1] in _CLOSING:
        return 0.0
    return 0.03 if units[last].endswith(" ") else 0.12


def _pieces(word: str, measure: Callable[[str], float], width: float) -> list[str]:
    """A word in pieces that each fit on a line: itself, where it does."""
    if measure(word.rstrip()) <= width:
        return [word]
    parts = re.findall(r"[^_./:-]*[_./:-]+\s*|[^_./:-]+", word)
    return [piece for part in parts for piece in ([part] if measure(part.rstrip()) <= width else part)]
