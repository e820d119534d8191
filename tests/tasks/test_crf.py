"""The CRF against sums over all tag sequences, row by row and in padded batches."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from tunesmith.tasks.crf import LinearChainCRF, bio_viterbi

TAGS = ("O", "B-X", "I-X", "I-Y")
LENGTHS = (1, 2, 3, 5)


def random_crf(size: int, *, constrained: bool) -> LinearChainCRF:
    """A CRF whose transitions are not zero."""
    torch.manual_seed(size)
    crf = LinearChainCRF(TAGS[:size], constrained=constrained)
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


def score(crf: LinearChainCRF, emissions: Tensor, path: tuple[int, ...]) -> Tensor:
    """The score of one path through emissions [W, K], written down step by step."""
    start, steps = crf.start + crf.get_buffer("start_penalty"), crf.transitions + crf.get_buffer("step_penalty")
    total = start[path[0]] + emissions[0, path[0]]
    for word in range(1, len(path)):
        total = total + steps[path[word - 1], path[word]] + emissions[word, path[word]]
    return total + crf.end[path[-1]]


def all_paths(crf: LinearChainCRF, emissions: Tensor) -> dict[tuple[int, ...], Tensor]:
    """Every tag sequence over emissions [W, K] with its score."""
    paths = itertools.product(range(emissions.shape[1]), repeat=len(emissions))
    return {path: score(crf, emissions, path) for path in paths}


def allowed(path: tuple[int, ...] | list[int]) -> bool:
    """Whether IOB2 allows the sequence: I-x only after B-x or I-x."""
    names = ["O", *(TAGS[tag] for tag in path)]
    return all(not b.startswith("I-") or a in (f"B-{b[2:]}", b) for a, b in itertools.pairwise(names))


def test_a_row_that_begins_inside_an_entity_has_the_likelihood_of_a_sequence_without_a_start() -> None:
    crf = random_crf(3, constrained=True)
    emissions = torch.randn(2, 3)
    mask = torch.ones(1, 2, dtype=torch.bool)
    gold = (TAGS.index("I-X"), TAGS.index("O"))
    found = crf.log_likelihood(emissions[None], torch.tensor([gold]), mask)
    with torch.no_grad():
        crf.get_buffer("start_penalty").zero_()
    paths = all_paths(crf, emissions)
    expected = paths[gold] - torch.stack(list(paths.values())).logsumexp(0)
    torch.testing.assert_close(found[0], expected)
    assert float(found.detach()) > -50


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("length", LENGTHS)
def test_likelihood_viterbi_and_marginals_equal_brute_force(length: int, size: int, constrained: bool) -> None:
    crf = random_crf(size, constrained=constrained)
    emissions = torch.randn(length, size)
    mask = torch.ones(1, length, dtype=torch.bool)
    paths = all_paths(crf, emissions)
    total = torch.stack(list(paths.values())).logsumexp(0)
    best = max(paths, key=lambda path: float(paths[path].detach()))
    assert crf.viterbi(emissions[None], mask) == [list(best)]
    chosen = crf.log_likelihood(emissions[None], torch.tensor([best]), mask)
    torch.testing.assert_close(chosen[0], paths[best] - total, atol=1e-4, rtol=1e-4)
    expected = torch.zeros(length, size)
    for path, value in paths.items():
        for word, tag in enumerate(path):
            expected[word, tag] += (value - total).exp()
    torch.testing.assert_close(crf.marginals(emissions[None], mask)[0], expected, atol=1e-4, rtol=1e-4)


def test_a_padded_batch_equals_its_rows_one_by_one() -> None:
    crf = random_crf(4, constrained=True)
    rows = [torch.randn(length, 4) for length in LENGTHS]
    emissions = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=7.0)
    mask = torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]
    decoded = crf.viterbi(emissions, mask)
    tags = torch.nn.utils.rnn.pad_sequence([torch.tensor(path) for path in decoded], batch_first=True)
    together, marginals = crf.log_likelihood(emissions, tags, mask), crf.marginals(emissions, mask)
    for number, row in enumerate(rows):
        alone = torch.ones(1, len(row), dtype=torch.bool)
        assert crf.viterbi(row[None], alone)[0] == decoded[number]
        single = crf.log_likelihood(row[None], torch.tensor([decoded[number]]), alone)[0]
        torch.testing.assert_close(together[number], single)
        torch.testing.assert_close(marginals[number, : len(row)], crf.marginals(row[None], alone)[0])
        assert not marginals[number, len(row) :].any()


def test_what_lies_behind_the_mask_changes_nothing() -> None:
    crf = random_crf(4, constrained=True)
    mask = torch.tensor([[True, True, False, False]])
    first = torch.randn(1, 4, 4)
    second = first.clone()
    second[:, 2:] = 100.0
    tags = torch.tensor([[1, 2, 0, 0]])
    assert torch.equal(crf.log_likelihood(first, tags, mask), crf.log_likelihood(second, tags, mask))
    assert crf.viterbi(first, mask) == crf.viterbi(second, mask)


def test_constrained_decoding_never_begins_an_entity_inside() -> None:
    torch.manual_seed(0)
    scores = torch.randn(200, 8, 4) + torch.tensor([0.0, 0.0, 3.0, 3.0])  # mostly I-x, where it is rarely allowed
    mask = torch.ones(200, 8, dtype=torch.bool)
    assert all(allowed(path) for path in bio_viterbi(scores.log_softmax(-1), TAGS, mask))
    assert all(allowed(path) for path in LinearChainCRF(TAGS).viterbi(scores, mask))
    assert not all(allowed(path) for path in LinearChainCRF(TAGS, constrained=False).viterbi(scores, mask))


def test_constrained_decoding_finds_the_best_allowed_sequence() -> None:
    torch.manual_seed(1)
    for _ in range(20):
        scores = torch.randn(4, 4).log_softmax(-1)
        candidates = [path for path in itertools.product(range(4), repeat=4) if allowed(path)]
        best = max(candidates, key=lambda path: float(scores[range(4), list(path)].sum()))
        assert bio_viterbi(scores[None], TAGS, torch.ones(1, 4, dtype=torch.bool)) == [list(best)]


def test_rows_without_words_have_no_tags_and_no_loss() -> None:
    crf = random_crf(4, constrained=True)
    mask = torch.tensor([[False, False], [True, True]])
    emissions, tags = torch.randn(2, 2, 4), torch.zeros(2, 2, dtype=torch.long)
    assert crf.viterbi(emissions, mask)[0] == []
    assert crf.log_likelihood(emissions, tags, mask)[0] == 0
    assert not crf.marginals(emissions, mask)[0].any()
    assert crf.viterbi(emissions[:, :0], mask[:, :0]) == [[], []]


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_gradients_are_finite_also_for_forbidden_gold_and_large_scores(kind: torch.dtype) -> None:
    crf = random_crf(4, constrained=True)
    emissions = (100 * torch.randn(3, 5, 4)).to(kind).requires_grad_()
    tags = torch.tensor([[0, 2, 2, 3, 0], [1, 2, 2, 0, 0], [3, 3, 3, 3, 3]])  # O I-X, and I-Y at the start
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [False] * 5])
    with torch.autocast("cpu", torch.bfloat16):
        value = crf.log_likelihood(emissions, tags, mask)
    assert value.dtype == torch.float32
    value.sum().backward()
    for tensor in (emissions, *crf.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_low_precision_emissions_are_summed_in_float32() -> None:
    crf = random_crf(4, constrained=True)
    emissions = torch.randn(2, 5, 4).bfloat16()
    tags, mask = torch.zeros(2, 5, dtype=torch.long), torch.ones(2, 5, dtype=torch.bool)
    exact = crf.log_likelihood(emissions.float(), tags, mask)
    assert torch.equal(crf.log_likelihood(emissions, tags, mask), exact)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(crf.log_likelihood(emissions, tags, mask), exact)
    assert crf.viterbi(emissions, mask) == crf.viterbi(emissions.float(), mask)
