"""A picture within a HEIF file, as its codec stores it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedPicture:
    """One picture of HEVC or AV1, reduced to what its pixels depend on."""

    size: tuple[int, int]  # width and height as they are shown
    coded_size: tuple[int, int]  # width and height that the decoder computes, the invisible border included
    has_full_chroma: bool  # 4:2:2 or 4:4:4: up to twice the samples of 4:2:0
    depth: int  # bits per sample
    channels: int  # 1 or 3
    configuration: bytes  # the content of the box hvcC or av1C
    data: bytes

    @property
    def coded_pixels(self) -> int:
        """The pixels that the decoder computes."""
        return self.coded_size[0] * self.coded_size[1]
