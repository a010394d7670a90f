"""Fonts of handwriting and of other scripts, downloaded with npm.

All are free (SIL Open Font License or Apache 2.0), packaged by Fontsource. Their digits add handwriting that
MNIST lacks, such as that taught in the schools of many countries; their letters are negative examples.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from training.errors import DataError
from training.files import write_atomically

VERSION: Final = "5.3.0"  # of every package below

# Names of packages, without the scope.
HANDWRITING: Final = (
    "amatic-sc", "annie-use-your-telescope", "architects-daughter", "bad-script", "beth-ellen",
    "calligraffitti", "caveat", "caveat-brush", "cedarville-cursive", "comic-neue", "comic-relief",
    "coming-soon", "covered-by-your-grace", "crafty-girls", "dawning-of-a-new-day", "delius",
    "edu-nsw-act-foundation", "edu-qld-beginner", "edu-sa-beginner", "edu-tas-beginner",
    "edu-vic-wa-nt-beginner", "gaegu", "gamja-flower", "give-you-glory", "gloria-hallelujah", "gochi-hand",
    "grape-nuts", "hachi-maru-pop", "handlee", "hi-melody", "homemade-apple", "indie-flower", "itim",
    "just-another-hand", "just-me-again-down-here", "kalam", "klee-one", "kristi", "la-belle-aurore",
    "licorice", "liu-jian-mao-cao", "long-cang", "loved-by-the-king", "mali", "mansalva", "marck-script",
    "mynerve", "nanum-pen-script", "nerko-one", "neucha", "nothing-you-could-do", "over-the-rainbow",
    "pangolin", "patrick-hand", "permanent-marker", "playwrite-at", "playwrite-br", "playwrite-ca",
    "playwrite-cz", "playwrite-de-grund", "playwrite-dk-loopet", "playwrite-es", "playwrite-fr-moderne",
    "playwrite-fr-trad", "playwrite-hr", "playwrite-hu", "playwrite-in", "playwrite-it-moderna",
    "playwrite-it-trad", "playwrite-mx", "playwrite-nl", "playwrite-no", "playwrite-pl", "playwrite-pt",
    "playwrite-ro", "playwrite-sk", "playwrite-us-modern", "playwrite-us-trad", "poor-story", "rancho",
    "reenie-beanie", "rock-salt", "schoolbell", "sedgwick-ave", "send-flowers", "shadows-into-light",
    "shadows-into-light-two", "short-stack", "square-peg", "sriracha", "sue-ellen-francisco", "sunshiney",
    "swanky-and-moo-moo", "the-girl-next-door", "vibur", "waiting-for-the-sunrise", "walter-turncoat",
    "water-brush", "yomogi", "zeyada", "zhi-mang-xing",
)  # fmt: skip
PRINT: Final = ("courier-prime", "oswald", "pt-serif", "roboto")

# Other scripts, with the first and the last code point to draw; the font is noto-sans-NAME.
SCRIPTS: Final = {
    "arabic": (0x0621, 0x064A), "armenian": (0x0531, 0x0556), "bengali": (0x0985, 0x09B9),
    "canadian-aboriginal": (0x1401, 0x146A), "cham": (0xAA00, 0xAA28), "cherokee": (0x13A0, 0x13F4),
    "coptic": (0x2C80, 0x2CB0), "devanagari": (0x0905, 0x0939), "ethiopic": (0x1200, 0x1248),
    "georgian": (0x10D0, 0x10F0), "glagolitic": (0x2C00, 0x2C2E), "gothic": (0x10330, 0x1034A),
    "gujarati": (0x0A85, 0x0AB9), "gurmukhi": (0x0A05, 0x0A39), "hebrew": (0x05D0, 0x05EA),
    "javanese": (0xA984, 0xA9B2), "kannada": (0x0C85, 0x0CB9), "khmer": (0x1780, 0x17A2),
    "lao": (0x0E81, 0x0EAE), "linear-b": (0x10000, 0x1003A), "malayalam": (0x0D05, 0x0D39),
    "meetei-mayek": (0xABC0, 0xABDA), "mongolian": (0x1820, 0x1842), "myanmar": (0x1000, 0x1021),
    "old-turkic": (0x10C00, 0x10C48), "phoenician": (0x10900, 0x10915), "runic": (0x16A0, 0x16EA),
    "samaritan": (0x0800, 0x0815), "sinhala": (0x0D85, 0x0DC6), "symbols": (0x2600, 0x26B0),
    "syriac": (0x0712, 0x072C), "tamil": (0x0B85, 0x0BB9), "telugu": (0x0C05, 0x0C39),
    "thaana": (0x0780, 0x07A5), "thai": (0x0E01, 0x0E2E), "tifinagh": (0x2D30, 0x2D67),
    "vai": (0xA500, 0xA560),
}  # fmt: skip
GREEK: Final = ("comic-relief", "mynerve")  # handwriting with Greek letters
KANA: Final = ("klee-one", "yomogi")  # handwriting with Japanese ones

# Names and subsets of everything that is drawn with.
FILES: Final = (
    *((name, "latin") for name in (*HANDWRITING, *PRINT)),
    *((name, "greek") for name in GREEK),
    *((name, "japanese") for name in KANA),
    *((f"noto-sans-{script}", script) for script in SCRIPTS),
)


def find_folder() -> Path:
    """Return the folder of the fonts: `DIGITS_FONTS`, else a folder in the user's cache."""
    named = os.environ.get("DIGITS_FONTS")
    return Path(named) if named else Path.home() / ".cache" / "digits" / "fonts"


def find_file(name: str, *, subset: str = "latin") -> Path:
    """Return the file of a font, which may not have been fetched yet."""
    return find_folder() / f"{name}-{subset}-400-normal.woff2"


def are_present() -> bool:
    """Whether all fonts have been fetched."""
    return not _list_missing()


def fetch() -> Path:
    """Return the folder of the fonts, after fetching those that are missing.

    Raises:
        DataError: npm is missing, or could not fetch the fonts.
    """
    if are_present():
        return find_folder()
    find_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as packed:
        _pack(_list_missing(), Path(packed))
        for archive in Path(packed).glob("*.tgz"):
            _unpack(archive)
    if missing := _list_missing():
        msg = f"npm's packages lack the fonts {', '.join(missing)}."
        raise DataError(msg)
    return find_folder()


def _list_missing() -> list[str]:
    return list(dict.fromkeys(name for name, subset in FILES if not find_file(name, subset=subset).exists()))


def _pack(names: list[str], into: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        msg = "Fetching the fonts needs npm (https://nodejs.org); it is not on the PATH."
        raise DataError(msg)
    packages = [f"@fontsource/{name}@{VERSION}" for name in names]
    npm_pack = subprocess.run(  # noqa: S603  the arguments are constants
        [npm, "pack", "--silent", *packages], cwd=into, capture_output=True, text=True, check=False
    )
    if npm_pack.returncode:
        msg = f"npm could not fetch the fonts: {npm_pack.stderr.strip() or 'no reason given'}"
        raise DataError(msg)


def _unpack(archive: Path) -> None:
    wanted = {find_file(name, subset=subset).name for name, subset in FILES}
    with tarfile.open(archive) as package:
        for member in package:
            name = Path(member.name).name
            if name in wanted and (content := package.extractfile(member)):
                write_atomically(find_folder() / name, content.read())
