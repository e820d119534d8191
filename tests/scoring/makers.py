"""Random answers, right about two times in three, with gold labels beside them."""

import random
import string

from tunesmith.data.records import Example, Prediction, Span

LABELS = ("a", "b", "c", "d")


def class_answers(size, labels=LABELS, seed=0):
    """Examples, predictions with scores, and labels; the scores of a prediction sum to one."""
    draw = random.Random(seed)
    examples, predictions = [], []
    for number in range(size):
        gold = draw.choice(labels)
        raw = [draw.randint(1, 4) + 3 * (label == gold) * (draw.random() < 0.7) for label in labels]
        scores = {label: value / sum(raw) for label, value in zip(labels, raw, strict=True)}
        answer = max(scores, key=scores.__getitem__)
        examples.append(Example(str(number), "text", gold))
        predictions.append(Prediction(str(number), answer, scores[answer], scores))
    return examples, predictions, labels


def set_answers(size, empty=True, seed=0):
    """Examples and predictions with any number of labels; without `empty` each gold set has at least one."""
    draw = random.Random(seed)
    examples, predictions = [], []
    for number in range(size):
        gold = {label for label in LABELS if draw.random() < 0.4} or (set() if empty else {draw.choice(LABELS)})
        answer = gold ^ {label for label in LABELS if draw.random() < 0.2}
        examples.append(Example(str(number), "text", tuple(sorted(gold))))
        predictions.append(Prediction(str(number), tuple(sorted(answer)), 0.5))
    return examples, predictions, LABELS


def number_answers(size, seed=0):
    """Examples and predictions with numbers, many of them equal; the third is unused."""
    draw = random.Random(seed)
    gold = [float(draw.randint(0, 9)) for _ in range(size)]
    examples = [Example(str(number), "text", value) for number, value in enumerate(gold)]
    predictions = [
        Prediction(str(n), round(value + draw.gauss(0, 2)) + 0.5, float("nan")) for n, value in enumerate(gold)
    ]
    return examples, predictions, ()


def span_answers(size, seed=0):
    """Examples of ten one-letter words with spans of up to three words."""
    draw = random.Random(seed)
    text = " ".join(string.ascii_lowercase[:10])
    words = tuple((2 * word, 2 * word + 1) for word in range(10))
    examples, predictions = [], []
    for number in range(size):
        gold = _spans(draw)
        answer = [span for span in gold if draw.random() < 0.7] or _spans(draw)
        examples.append(Example(str(number), text, tuple(gold), words))
        predictions.append(Prediction(str(number), tuple(answer), 0.5))
    return examples, predictions, LABELS


def _spans(draw):
    spans, word = [], 0
    while word < 10:
        length = draw.randint(1, 3)
        if draw.random() < 0.3 and word + length <= 10:
            spans.append(Span(2 * word, 2 * (word + length) - 1, draw.choice(LABELS)))
        word += length
    return spans


def random_tags(size, prefixes, seed=0):
    """Tag sequences of up to ten words, most of them invalid, with a near copy of each."""
    draw = random.Random(seed)
    tags = ["O", "O", *(f"{prefix}-{kind}" for prefix in prefixes for kind in ("LOC", "PER"))]
    gold = [[draw.choice(tags) for _ in range(draw.randint(1, 10))] for _ in range(size)]
    return gold, [[tag if draw.random() < 0.8 else draw.choice(tags) for tag in row] for row in gold]
