"""What a line reader's frames say: the likeliest texts, and where their characters stand.

A text is spelled by every sequence of frames that gives it once repetitions and blanks are removed, so its
probability is a sum over all of these (connectionist temporal classification, Graves et al., 2006).
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Text: TypeAlias = tuple[int, ...]  # classes of characters, see `CHARACTERS`

BEAMS: Final = 10  # texts that are followed
MIN_PROBABILITY: Final = 2e-3  # of a character in a frame, to be considered there
MAX_CANDIDATES: Final = 4  # characters considered in a frame, which bounds the work
MIN_RATIO: Final = 1e-4  # to the likeliest text: less likely ones are dropped
SURE_BLANK: Final = 0.998  # probability of the blank: such a frame changes no text


def find_texts(frames: NDArray[np.float32], *, beams: int = BEAMS) -> dict[Text, float]:
    """Return the likeliest texts with their probabilities, the likeliest one first (prefix beam search).

    Args:
        frames: float32 (frames, classes + 1), each row sums to 1; the last column is the blank.
        beams: how many texts are followed.
    """
    blank = frames.shape[1] - 1
    is_sure_blank = (frames[:, blank] > SURE_BLANK).tolist()
    # of each text: the probability of all spellings that end in a blank, and of those that do not
    texts: dict[Text, tuple[float, float]] = {(): (1.0, 0.0)}
    was_blank = True
    for frame, is_blank in zip(_list_candidates(frames), is_sure_blank, strict=True):
        if not is_blank:
            texts = _keep_likeliest(_extend(texts, frame, blank), beams)
        elif not was_blank:
            texts = {text: (ended + open_, 0.0) for text, (ended, open_) in texts.items()}
        was_blank = is_blank
    return {text: min(1.0, sum(shares)) for text, shares in texts.items()}


def _list_candidates(frames: NDArray[np.float32]) -> list[list[tuple[int, float]]]:
    """Return the characters that are considered in each frame, with their probabilities."""
    is_candidate = frames > MIN_PROBABILITY
    if np.count_nonzero(is_candidate, axis=1).max() > MAX_CANDIDATES:
        is_candidate &= frames >= np.partition(frames, -MAX_CANDIDATES, axis=1)[:, -MAX_CANDIDATES, None]
    rows, labels = np.nonzero(is_candidate)
    candidates: list[list[tuple[int, float]]] = [[] for _ in frames]
    for row, label, probability in zip(
        rows.tolist(), labels.tolist(), frames[rows, labels].tolist(), strict=True
    ):
        candidates[row].append((label, probability))
    return candidates


def _extend(
    texts: dict[Text, tuple[float, float]], frame: list[tuple[int, float]], blank: int
) -> dict[Text, tuple[float, float]]:
    extended: dict[Text, tuple[float, float]] = {}
    for text, (ended, open_) in texts.items():
        last = text[-1] if text else -1
        for label, probability in frame:
            if label == blank:
                _add(extended, text, (ended + open_) * probability, 0.0)
            elif label != last:
                _add(extended, (*text, label), 0.0, (ended + open_) * probability)
            else:
                _add(extended, text, 0.0, open_ * probability)
                if ended:
                    _add(extended, (*text, label), 0.0, ended * probability)
    return extended


def _add(texts: dict[Text, tuple[float, float]], text: Text, ended: float, open_: float) -> None:
    before = texts.get(text)
    texts[text] = (ended, open_) if before is None else (before[0] + ended, before[1] + open_)


def _keep_likeliest(texts: dict[Text, tuple[float, float]], beams: int) -> dict[Text, tuple[float, float]]:
    if len(texts) == 1:
        return texts
    ranked = sorted(texts.items(), key=lambda item: item[1][0] + item[1][1], reverse=True)[:beams]
    lowest = sum(ranked[0][1]) * MIN_RATIO
    return {text: shares for text, shares in ranked if shares[0] + shares[1] >= lowest}


def locate(frames: NDArray[np.float32], text: Text) -> list[float]:
    """Return the frame at which each character of a text stands: the middle of its likeliest run of frames.

    Args:
        frames: as for `find_texts`.
        text: one of the texts that `find_texts` returned.
    """
    blank = frames.shape[1] - 1
    states = np.full(2 * len(text) + 1, blank)  # blank, first character, blank, second character, …, blank
    states[1::2] = text
    barrier = np.full(len(states), -np.inf)  # against skipping the blank between equal characters
    barrier[3::2][states[3::2] != states[1:-2:2]] = 0.0
    log_odds = np.log(frames[:, states] + 1e-9)
    # of each state, behind two impossible ones: the log-odds of the likeliest path that ends there
    scores = np.full((len(frames), len(states) + 2), -np.inf)
    scores[0, 2:4] = log_odds[0, :2]
    skipping = np.empty(len(states))
    for before, after, gain in zip(scores, scores[1:, 2:], log_odds[1:], strict=False):
        np.add(before[:-2], barrier, out=skipping)
        np.maximum(before[2:], before[1:-1], out=after)
        np.maximum(after, skipping, out=after)
        np.add(after, gain, out=after)
    runs: list[list[int]] = [[] for _ in text]
    for frame, state in enumerate(_trace_back(scores.tolist(), barrier.tolist())):
        if state % 2:
            runs[state // 2].append(frame)
    return [(run[0] + run[-1]) / 2 if run else 0.0 for run in runs]


def _trace_back(scores: list[list[float]], barrier: list[float]) -> list[int]:
    """Return the state in each frame on the likeliest path."""
    state = len(barrier) - 1 - int(len(barrier) > 1 and scores[-1][-2] > scores[-1][-1])
    path = [state]
    for score in scores[-2::-1]:
        choices = score[state + 2], score[state + 1], score[state] + barrier[state]
        state -= choices.index(max(choices))
        path.append(state)
    return path[::-1]
