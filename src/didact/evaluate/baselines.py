"""What a score is worth: the best constant answer, and the answer of the most similar training prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_GRAM = 3


def constant_answer(answers: Sequence[str]) -> str:
    """The most frequent answer, of equally frequent ones the least; '' when there is none.

    >>> constant_answer(["no", "yes", "yes", "no"])
    'no'
    """
    counts = Counter(answers)
    return min(counts, key=lambda answer: (-counts[answer], answer), default="")


def features(text: str) -> set[str]:
    """Words and character 3-grams of a text, without case; the ends count as spaces.

    >>> sorted(features("Ab c"))
    [' ab', ' c ', 'ab', 'ab ', 'b c', 'c']
    """
    folded = " ".join(text.casefold().split())
    framed = f" {folded} "
    return {framed[at : at + _GRAM] for at in range(len(framed) - _GRAM + 1)} | set(folded.split())


class NearestPrompt:
    """Finds the training prompt whose features overlap most with a prompt's, by Jaccard similarity."""

    def __init__(self, prompts: Sequence[str]) -> None:
        """Index the prompts: for each feature the prompts that have it."""
        postings: dict[str, list[int]] = {}
        sizes = np.zeros(len(prompts), dtype=np.int64)
        for number, prompt in enumerate(prompts):
            found = features(prompt)
            sizes[number] = len(found)
            for feature in found:
                postings.setdefault(feature, []).append(number)
        self._sizes = sizes
        self._postings: dict[str, NDArray[np.int64]] = {key: np.array(rows) for key, rows in postings.items()}

    def nearest(self, prompt: str) -> int | None:
        """Number of the most similar prompt, the first of equals; None when nothing is shared."""
        wanted = features(prompt)
        rows = [self._postings[feature] for feature in wanted if feature in self._postings]
        if not rows:
            return None
        shared = np.bincount(np.concatenate(rows), minlength=self._sizes.size)
        return int(np.argmax(shared / (self._sizes + len(wanted) - shared)))
