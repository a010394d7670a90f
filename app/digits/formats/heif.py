"""HEIF (ISO/IEC 23008-12) with HEVC, as phones write it (HEIC), or with AV1 (AVIF).

The primary picture is found here, which may be a grid of tiles, and each tile is composed into a new file of
one picture. So a decoder sees no other item, no metadata and no offset that the sender wrote, and it can be
stopped between two tiles. Of an animation or a sequence, the still picture that stands for it is read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, TypeAlias

from ..errors import UnreadableImage, UnsupportedFormat
from . import av1, hevc
from .coded_picture import CodedPicture
from .header import DAMAGED_FILE, Header, Mosaic
from .isobmff import Items, Property, read_items

Kind: TypeAlias = Literal["HEIC", "AVIF"]
Size: TypeAlias = tuple[int, int]

_BOX: Final = slice(4, 8)
_BRAND: Final = slice(8, 12)
BRANDS: Final = frozenset(
    {
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs",
        b"avif", b"avis", b"mif1", b"mif2", b"mif3", b"msf1", b"miaf", b"MiHB", b"MiPr", b"1pic",
        b"avci", b"avcs", b"vvic", b"vvis", b"j2ki", b"j2is", b"jpeg", b"jpgs", b"unif",
    }
)  # fmt: skip

_CODED: Final[Mapping[bytes, Kind]] = {b"hvc1": "HEIC", b"av01": "AVIF"}
_OTHER_KINDS: Final[Mapping[bytes, str]] = {
    b"vvc1": "VVC (H.266)", b"avc1": "AVC (H.264)", b"j2k1": "JPEG 2000", b"jpeg": "JPEG",
    b"unci": "uncompressed pixels", b"lhv1": "layered HEVC", b"evc1": "EVC", b"hvt1": "tiles of HEVC",
    b"iovl": "an overlay of pictures", b"iden": "a derived picture", b"tmap": "a tone-mapped picture",
    b"tili": "a tiled picture", b"mski": "a mask", b"grid": "a grid of grids",
}  # fmt: skip
_KNOWN_PROPERTIES: Final = frozenset(
    {b"hvcC", b"av1C", b"ispe", b"pixi", b"colr", b"pasp", b"irot", b"imir", b"clap", b"auxC", b"lsel"}
)  # others may be ignored, unless they are essential
_ALPHA: Final = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_MAX_TILES: Final = 1_024  # a photo of 108 megapixels has 437
_MAX_BORDER: Final = 64  # pixels that a codec adds to fill its blocks

# The corners of a picture, row by row → how EXIF counts that it is stored so.
_ORIENTATIONS: Final[Mapping[str, int]] = {
    "0123": 1, "1032": 2, "3210": 3, "2301": 4, "0213": 5, "2031": 6, "3120": 7, "1302": 8,
}  # fmt: skip

# Costs in nanoseconds of a processor core of 2026, libde265 1.1 and dav1d 1.5, of pictures with noise in
# blocks of 4x4, conversion to RGB included.
_PIXEL_COSTS: Final[Mapping[Kind, float]] = {"HEIC": 30.0, "AVIF": 25.0}  # twice that without subsampling
_BYTE_COSTS: Final[Mapping[Kind, float]] = {"HEIC": 90.0, "AVIF": 60.0}
_TILE_COST: Final = 250_000.0
_FILE_COST: Final = 500_000.0  # above MAX_INLINE_COST: no such picture is decoded on the event loop


@dataclass(frozen=True, slots=True)
class _Plane:
    """The colours or the transparency of a picture."""

    kind: Kind
    size: Size
    mosaic: Mosaic
    orientation: int
    cost: float  # nanoseconds


def has_signature(data: bytes) -> bool:
    """Tell whether the bytes are the beginning of a HEIF file, however few they are."""
    brand = data[_BRAND]
    return data[_BOX] == b"ftyp" and (
        brand in BRANDS or (len(brand) < 4 and any(known.startswith(brand) for known in BRANDS))  # noqa: PLR2004
    )


def read_header(data: bytes) -> Header:
    """Read what a HEIF file says about its primary picture, and drop everything else.

    Raises:
        UnsupportedFormat: it is of another codec, or derived from other pictures.
        UnreadableImage: it breaks off, or contradicts itself.
    """
    items = read_items(data)
    if items is None or items.primary not in items.kinds:
        msg = "This HEIF file holds no still picture. Send one picture of the sequence, as PNG or JPEG."
        raise UnsupportedFormat(msg)
    plane = _read_plane(items, items.primary)
    alpha = _read_alpha(items, plane)
    tiles = len(plane.mosaic.tiles)
    return Header(
        format=plane.kind,
        description=plane.kind if tiles == 1 else f"{plane.kind} of {tiles} tiles",
        size=plane.size,
        stripped_file=b"",
        cost=(plane.cost + (alpha.cost if alpha else 0)) / 1e6,
        orientation=plane.orientation,
        mosaic=plane.mosaic,
        alpha=alpha.mosaic if alpha else None,
    )


def _read_plane(items: Items, item: int) -> _Plane:
    """Read a picture, and check that its parts fit together before any is decoded."""
    properties = items.list_properties(item)
    _check_properties(properties)
    columns, sources, size = _read_layout(items, item, properties)
    kinds = {items.kinds.get(source, b"") for source in sources}
    kind = _check_kind(kinds)
    pictures = {source: _read_picture(items, source) for source in set(sources)}
    if sum(len(picture.data) for picture in pictures.values()) > len(items.file):
        raise UnreadableImage(DAMAGED_FILE)
    tile_size = _check_tiles(size, columns, [pictures[source] for source in sources])
    box = _read_crop(properties, size)
    _check_border((box[2] - box[0], box[3] - box[1]), size)
    colours = _find_colours(properties) or _find_colours(items.list_properties(sources[0]))
    files = {source: _compose(picture, kind, tile_size, colours) for source, picture in pictures.items()}
    mosaic = Mosaic(columns, tile_size, tuple(files[source] for source in sources), size, box)
    cost = _FILE_COST + sum(_estimate_cost(kind, pictures[source]) for source in sources)
    return _Plane(kind, (box[2] - box[0], box[3] - box[1]), mosaic, _read_orientation(properties), cost)


def _check_properties(properties: Sequence[Property]) -> None:
    for name, _, is_essential in properties:
        if is_essential and name not in _KNOWN_PROPERTIES:
            msg = (
                f"This HEIF picture needs the property {name.decode('latin-1')!r}, which is not supported. "
                "Save it as PNG or JPEG."
            )
            raise UnsupportedFormat(msg)


def _check_kind(kinds: set[bytes]) -> Kind:
    if b"" in kinds:  # tiles that do not exist
        raise UnreadableImage(DAMAGED_FILE)
    if len(kinds) == 1 and (name := next(iter(kinds))) in _CODED:
        return _CODED[name]
    names = [_OTHER_KINDS.get(name, f"the codec {name.decode('latin-1')!r}") for name in kinds - {*_CODED}]
    msg = (
        f"This HEIF file holds {', '.join(sorted(names)) or 'tiles of different codecs'}, which is not "
        "supported. Save it as HEIC, AVIF, PNG or JPEG."
    )
    raise UnsupportedFormat(msg)


def _read_layout(items: Items, item: int, properties: Sequence[Property]) -> tuple[int, list[int], Size]:
    """Return the number of columns, the items of the tiles row by row, and the size of all together."""
    declared = _find(properties, b"ispe")[4:12]
    if len(declared) < 8:  # noqa: PLR2004
        raise UnreadableImage(DAMAGED_FILE)
    size: Size = struct.unpack(">LL", declared)
    if items.kinds[item] != b"grid":
        return 1, [item], size
    data = items.read_data(item)
    layout = ">LL" if data[1:2] > b"\0" else ">HH"
    if len(data) < 4 + struct.calcsize(layout) or struct.unpack_from(layout, data, 4) != size:
        raise UnreadableImage(DAMAGED_FILE)
    rows, columns = data[2] + 1, data[3] + 1
    tiles = items.references.get((b"dimg", item), ())
    if len(tiles) != rows * columns:
        raise UnreadableImage(DAMAGED_FILE)
    if len(tiles) > _MAX_TILES:
        msg = f"The picture has {len(tiles)} tiles; at most {_MAX_TILES} are allowed. Send it as JPEG."
        raise UnreadableImage(msg, limit=_MAX_TILES)
    return columns, list(tiles), size


def _read_picture(items: Items, item: int) -> CodedPicture:
    properties = items.list_properties(item)
    data = items.read_data(item)
    if items.kinds[item] == b"hvc1":
        picture = hevc.read_picture(_find(properties, b"hvcC"), data)
    else:
        picture = av1.read_picture(data)
    if _find(properties, b"ispe")[4:12] != struct.pack(">LL", *picture.size):
        raise UnreadableImage(DAMAGED_FILE)
    _check_border(picture.size, picture.coded_size)
    return picture


def _check_tiles(size: Size, columns: int, pictures: Sequence[CodedPicture]) -> Size:
    """Return the size of a tile; all have the same, and none lies outside the picture."""
    sizes = {picture.size for picture in pictures}
    if len(sizes) != 1:
        raise UnreadableImage(DAMAGED_FILE)
    tile_size = sizes.pop()
    counts = columns, len(pictures) // columns
    for side, tile_side, number in zip(size, tile_size, counts, strict=True):
        if not (number - 1) * tile_side < side <= number * tile_side:
            raise UnreadableImage(DAMAGED_FILE)
    return tile_size


def _check_border(shown: Size, decoded: Size) -> None:
    """Refuse a picture of which the decoder computes much more than is shown."""
    for side, decoded_side in zip(shown, decoded, strict=True):
        if decoded_side > max(2 * side, side + _MAX_BORDER):
            raise UnreadableImage(DAMAGED_FILE)


def _read_crop(properties: Sequence[Property], size: Size) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of what is shown: the property clap, if there is one."""
    clap = _find(properties, b"clap")
    if not clap:
        return (0, 0, *size)
    try:
        numbers = struct.unpack_from(">8l", clap)
        width, height, x, y = (Fraction(*numbers[place : place + 2]) for place in (0, 2, 4, 6))
    except (struct.error, ZeroDivisionError):
        raise UnreadableImage(DAMAGED_FILE) from None
    left, top = x + (size[0] - width) / 2, y + (size[1] - height) / 2
    box = round(left), round(top), round(left + width), round(top + height)
    if not (0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1]):
        raise UnreadableImage(DAMAGED_FILE)
    return box


def _read_orientation(properties: Sequence[Property]) -> int:
    """Return the orientation, as EXIF counts, of turns and reflections in their order."""
    corners = "0123"
    for name, content, _ in properties:
        value = content[0] if content else 0
        if name == b"irot":
            for _ in range(value & 3):
                corners = "".join(corners[place] for place in (1, 3, 0, 2))  # a quarter, against the clock
        elif name == b"imir":
            corners = "".join(corners[place] for place in ((1, 0, 3, 2) if value & 1 else (2, 3, 0, 1)))
    return _ORIENTATIONS[corners]


def _read_alpha(items: Items, plane: _Plane) -> _Plane | None:
    """Read the transparency, if there is any."""
    for (kind, origin), targets in items.references.items():
        if kind != b"auxl" or items.primary not in targets or origin not in items.kinds:
            continue
        if not _find(items.list_properties(origin), b"auxC")[4:].startswith(_ALPHA):
            continue
        alpha = _read_plane(items, origin)
        if alpha.size != plane.size:
            raise UnreadableImage(DAMAGED_FILE)
        return alpha
    return None


def _find(properties: Sequence[Property], name: bytes) -> bytes:
    """Return the content of the first property of a name, or nothing."""
    return next((content for kind, content, _ in properties if kind == name), b"")


def _find_colours(properties: Sequence[Property]) -> bytes:
    """Return the property that says how colours are coded; profiles are dropped."""
    return next(
        (content[:11] for kind, content, _ in properties if kind == b"colr" and content[:4] == b"nclx"), b""
    )


def _estimate_cost(kind: Kind, picture: CodedPicture) -> float:
    """Return the nanoseconds that decoding takes at most."""
    pixels = picture.coded_pixels * (2 if picture.has_full_chroma else 1)
    return pixels * _PIXEL_COSTS[kind] + len(picture.data) * _BYTE_COSTS[kind] + _TILE_COST


def _compose(picture: CodedPicture, kind: Kind, size: Size, colours: bytes) -> bytes:
    """Return a file of one picture."""
    brand, item, configuration = (
        (b"heic", b"hvc1", b"hvcC") if kind == "HEIC" else (b"avif", b"av01", b"av1C")
    )
    properties = [
        _pack(configuration, picture.configuration),
        _pack(b"ispe", bytes(4) + struct.pack(">LL", *size)),
        _pack(b"pixi", bytes(4) + bytes([picture.channels, *[picture.depth] * picture.channels])),
        *([_pack(b"colr", colours)] if colours else []),
    ]
    links = bytes([0x81, *range(2, len(properties) + 1)])
    associations = _pack(b"ipma", bytes(4) + struct.pack(">LHB", 1, 1, len(links)) + links)
    entry = _pack(b"infe", struct.pack(">LHH4sx", 2 << 24, 1, 0, item))
    before = [
        _pack(b"hdlr", bytes(8) + b"pict" + bytes(13)),
        _pack(b"pitm", struct.pack(">LH", 0, 1)),
        _pack(b"iinf", struct.pack(">LH", 0, 1) + entry),
        _pack(b"iprp", _pack(b"ipco", b"".join(properties)) + associations),
    ]
    begin = _pack(b"ftyp", brand + bytes(4) + b"mif1" + brand)
    start = len(begin) + 12 + sum(map(len, before)) + _LOCATION.size + 8 + 8
    location = _LOCATION.pack(0, 0x4400, 1, 1, 0, 1, start, len(picture.data))
    metadata = _pack(b"meta", bytes(4) + b"".join([*before, _pack(b"iloc", location)]))
    return begin + metadata + _pack(b"mdat", picture.data)


_LOCATION: Final = struct.Struct(">LHHHHHLL")  # version, sizes, items; item, file, pieces, offset, size


def _pack(name: bytes, content: bytes) -> bytes:
    return struct.pack(">L", 8 + len(content)) + name + content
