from __future__ import annotations

from app.digits.classifier import Classifier
from tests.training.drawn import make_strokes
from training.data.strokes import StrokeSamples
from training.judge import held_out_writers
from training.judge.service_reader import read_uploads


def test_a_set_is_drawn_for_each_source_and_for_letters_and_signs(classifier: Classifier) -> None:
    sets = held_out_writers.draw_sets(make_strokes(writers=3))
    (unipen,) = sets.digits  # nobody of the other source wrote
    assert (unipen.name, len(unipen)) == ("unipen", 3 * 10 * 2)
    assert set(unipen.writers) == {0, 1, 2}
    assert read_uploads(classifier, unipen.uploads).right(unipen.digits).mean() > 0.85
    letters, signs = sets.negatives
    assert set(letters.labels) == set("acxyR")
    assert set(signs.labels) == set("~=")


def test_nobody_who_wrote_much_outvotes_the_others() -> None:
    one, two = (held_out_writers.draw_sets(make_strokes(writers=2, seed=0)) for _ in range(2))
    assert one.digits[0].uploads == two.digits[0].uploads
    assert (
        max(one.digits[0].labels.count(str(digit)) for digit in range(10)) <= 2 * held_out_writers.MAX_DIGITS
    )


def test_without_strokes_there_are_no_sets() -> None:
    sets = held_out_writers.draw_sets(StrokeSamples())
    assert sets.digits == sets.negatives == ()
