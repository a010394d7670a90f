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
    best = np.sort(np.argsort(frames, axis=1)[:, -MAX_CANDIDATES:], axis=1)
    candidates = [
        [(label, row[label]) for label in labels if row[label] > MIN_PROBABILITY]
        for labels, row in zip(best.tolist(), frames.tolist(), strict=True)
    ]
    # of each text: the probability of all spellings that end in a blank, and of those that do not
    texts: dict[Text, tuple[float, float]] = {(): (1.0, 0.0)}
    for frame, is_blank in zip(candidates, is_sure_blank, strict=True):
        if is_blank:
            texts = {text: (ended + open_, 0.0) for text, (ended, open_) in texts.items()}
            continue
        extended: dict[Text, tuple[float, float]] = {}
        for text, (ended, open_) in texts.items():
            last = text[-1] if text else -1
            for label, probability in frame:
                if label == blank:
                    _add(extended, text, (ended + open_) * probability, 0.0)
                elif label == last:
                    _add(extended, text, 0.0, open_ * probability)
                    if ended:
                        _add(extended, (*text, label), 0.0, ended * probability)
                else:
                    _add(extended, (*text, label), 0.0, (ended + open_) * probability)
        ranked = sorted(extended.items(), key=lambda item: -sum(item[1]))[:beams]
        lowest = sum(ranked[0][1]) * MIN_RATIO
        texts = {text: shares for text, shares in ranked if sum(shares) >= lowest}
    return {text: min(1.0, sum(shares)) for text, shares in texts.items()}


def _add(texts: dict[Text, tuple[float, float]], text: Text, ended: float, open_: float) -> None:
    before = texts.get(text, (0.0, 0.0))
    texts[text] = before[0] + ended, before[1] + open_


def locate(frames: NDArray[np.float32], text: Text) -> list[float]:
    """Return the frame at which each character of a text stands: the middle of its likeliest run of frames.

    Args:
        frames: as for `find_texts`.
        text: one of the texts that `find_texts` returned.
    """
    blank = frames.shape[1] - 1
    states = np.full(2 * len(text) + 1, blank)  # blank, first character, blank, second character, …, blank
    states[1::2] = text
    may_skip = np.zeros(len(states), np.bool_)  # two states: from a character to another one, with no blank
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    log_odds = np.log(frames[:, states] + 1e-9)
    # of each state, behind two impossible ones: the log-odds of the likeliest path that ends there
    score = np.full(len(states) + 2, -np.inf)
    score[2:4] = log_odds[0, :2]
    barrier = np.where(may_skip, 0.0, -np.inf)
    steps = np.zeros((len(frames), len(states)), np.intp)
    choices = np.empty((3, len(states)))
    for frame in range(1, len(frames)):
        choices[0], choices[1] = score[2:], score[1:-1]
        np.add(score[:-2], barrier, out=choices[2])
        choices.argmax(axis=0, out=steps[frame])
        np.add(choices.max(axis=0), log_odds[frame], out=score[2:])
    state = len(states) - 1 - int(len(states) > 1 and score[-2] > score[-1])
    path = np.zeros(len(frames), np.intp)
    for frame in range(len(frames) - 1, -1, -1):
        path[frame] = state
        state -= int(steps[frame, state])
    runs = [np.flatnonzero(path == 2 * place + 1) for place in range(len(text))]
    return [float(run.mean()) if len(run) else 0.0 for run in runs]
