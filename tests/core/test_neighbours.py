import time
import tracemalloc

import numpy as np
from numpy.testing import assert_allclose

from agf_core.inference.neighbours import Neighbours
from agf_core.inference.whitening import Whitening


def random_vectors(n=500, size=16, seed=0):
    return np.random.default_rng(seed).normal(size=(n, size))


def test_the_nearest_are_those_of_scikit_learn():
    from sklearn.metrics.pairwise import cosine_similarity

    vectors = random_vectors()
    search = Neighbours(vectors)
    expected = cosine_similarity(vectors)[7]
    assert_allclose(search.similarities([7]), expected, atol=1e-6)
    assert search.nearest([7]).tolist() == np.argsort(-expected, kind="stable").tolist()


def test_several_vectors_count_alike_whatever_their_length():
    vectors = np.array([[10.0, 0], [0, 1], [1, 1], [1, 0.1], [-1, -1]])
    assert Neighbours(vectors).nearest([0, 1]).tolist()[0] == 2


def test_equal_and_empty_vectors_are_found_by_number():
    assert Neighbours(np.zeros((3, 4))).nearest([1]).tolist() == [0, 1, 2]
    assert Neighbours(np.ones((3, 4))).nearest([1]).tolist() == [0, 1, 2]
    assert Neighbours(np.ones((3, 4))).path(0, 2, 3) == [0, 2]  # nothing lies between


def test_a_path_goes_through_what_lies_between():
    angles = np.linspace(0, np.pi / 2, 21)
    arc = np.stack([np.cos(angles), np.sin(angles), np.zeros(21)], axis=1)
    aside = np.stack([np.cos(angles), np.sin(angles), np.full(21, 5.0)], axis=1)
    rows = Neighbours(np.concatenate([arc, aside])).path(0, 20, 6)
    assert rows[0] == 0
    assert rows[-1] == 20
    assert rows == sorted(rows)
    assert len(set(rows)) == 6


def test_a_path_has_no_large_step_and_no_vector_twice():
    vectors = random_vectors(2_000)
    search = Neighbours(vectors)
    rng = np.random.default_rng(1)

    def largest_step(rows):
        return np.linalg.norm(np.diff(search.vectors[rows], axis=0), axis=1).max()

    def straight(start, end):
        """Take the vector nearest to each of evenly spaced points."""
        rows = [start, end]
        for share in np.linspace(0, 1, 12)[1:-1]:
            point = (1 - share) * search.vectors[start] + share * search.vectors[end]
            near = search.vectors @ point
            near[rows] = -np.inf
            rows.insert(-1, int(near.argmax()))
        return rows

    for start, end in rng.choice(2_000, size=(10, 2), replace=False).tolist():
        allowed = rng.random(2_000) < 0.5
        rows = search.path(start, end, 12, allowed)
        assert (rows[0], rows[-1], len(set(rows))) == (start, end, 12)
        assert allowed[rows[1:-1]].all()
        assert largest_step(search.path(start, end, 12)) < largest_step(straight(start, end))


def test_a_path_between_neighbours_is_short():
    assert Neighbours(np.array([[1.0, 0], [1, 0.1], [-1, 0]])).path(0, 1, 5) == [0, 1]


def test_100_000_vectors_are_searched_in_a_moment():
    search = Neighbours(random_vectors(100_000, 64))
    began = time.process_time()
    search.nearest([5])
    search.path(5, 6, 20)
    assert time.process_time() - began < 1


def test_whitening_copies_no_more_than_a_block_of_many_embeddings():
    embeddings = random_vectors(100_000, 64).astype(np.float16)
    artists = [str(i // 10) for i in range(len(embeddings))]
    tracemalloc.start()
    whitening = Whitening.fit(embeddings, artists)
    fitted = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    whitened = whitening.apply(embeddings)
    applied = tracemalloc.get_traced_memory()[1] - whitened.nbytes
    tracemalloc.stop()
    assert max(fitted, applied) < 1.5 * embeddings.nbytes


def test_whitening_is_the_same_however_many_artists_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(300, 8)).astype(np.float16)
    artists = [str(number) for number in rng.integers(80, size=300)]
    artists[:10] = [""] * 10
    whole = Whitening.fit(embeddings, artists)
    monkeypatch.setattr("agf_core.inference.whitening.ROWS_AT_ONCE", 7)
    assert_allclose(Whitening.fit(embeddings, artists).matrix, whole.matrix, atol=1e-5)
    by_artist = Whitening.fit(embeddings, [""] * 300).matrix
    assert_allclose(by_artist, np.diag(np.diag(by_artist)), atol=1e-6)  # standardised alone
