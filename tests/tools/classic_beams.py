"""classic_beams.py: beam search as transformers had it before 4.50, written from its description alone
(shared/spec/blip2.md 7.5), for goldens. lavis: the lengths of versions before 4.36, where ids began with a start token.

    search(next_scores, stop, limit, beams, length_penalty, early_stopping, lavis) -> [(score, ids)], margin

next_scores(rows of ids) -> array [rows][vocabulary] of processed log-probabilities. margin: how close any decision was."""
import numpy as np


class Finished:
    """The best texts of one picture, in the order in which they came."""
    def __init__(self, beams, length_penalty):
        self.beams, self.length_penalty, self.texts, self.margin = beams, length_penalty, [], 1e9

    def worst(self):
        return min(score for score, _ in self.texts)

    def add(self, ids, total, length):
        score = np.float32(total) / np.float32(float(length) ** self.length_penalty)
        if len(self.texts) == self.beams:
            self.margin = min(self.margin, abs(float(score - self.worst())))
            if score <= self.worst():
                return
        self.texts.append((score, ids))
        if len(self.texts) > self.beams:
            lowest = min(range(len(self.texts)), key=lambda i: (self.texts[i][0], i))
            del self.texts[lowest]


def search(next_scores, stop, limit, beams, length_penalty=1.0, early_stopping=False, lavis=False):
    rows = [[] for _ in range(beams)]
    totals = np.full(beams, -1e9, np.float32)
    totals[0] = 0
    finished, margin, done = Finished(beams, length_penalty), 1e9, False
    for generated in range(1, limit + 1):
        scores = next_scores(rows).astype(np.float32) + totals[:, None]
        vocabulary = scores.shape[1]
        order = np.argsort(-scores.reshape(-1), kind="stable")[:2 * beams + 1]
        best = scores.reshape(-1)[order]
        gaps = (best[:-1] - best[1:])[best[1:] > -1e8]
        margin = min(margin, float(gaps.min())) if len(gaps) else margin
        following = []
        for rank in range(2 * beams):
            parent, token = divmod(int(order[rank]), vocabulary)
            if token == stop:
                if rank < beams:
                    finished.add(rows[parent] + [stop], best[rank], generated)
            else:
                following.append((rows[parent] + [token], best[rank]))
                if len(following) == beams:
                    break
        rows, totals = [ids for ids, _ in following], np.array([total for _, total in following], np.float32)
        if len(finished.texts) == beams:
            if early_stopping is True:
                done = True
            else:
                length = limit if early_stopping == "never" and length_penalty > 0 else generated
                hope = best[0] / np.float32(float(length + lavis) ** length_penalty)
                margin = min(margin, abs(float(finished.worst() - hope)))
                done = finished.worst() >= hope
        if done:
            break
    if not done:
        for ids, total in zip(rows, totals):
            finished.add(ids, total, len(ids) + lavis)
    texts = sorted(finished.texts, key=lambda t: t[0])[::-1]
    for a, b in zip(texts, texts[1:]):
        margin = min(margin, float(a[0] - b[0]))
    return texts, min(margin, finished.margin)
