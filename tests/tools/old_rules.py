"""old_rules.py: rules for the next id over the ids that transformers looked at before 4.47, written from their description
alone (shared/spec/blip2.md 7.1, last row, and 7.3), for goldens.

    rules = OldRules(setting, stop, see)      see: "lavis" ({</s>} and what was generated, to 4.37), "answer" (4.38 to 4.46)
    rules(generated ids, scores) -> scores
    greedy(next_logits, rules, stop, limit) -> ids, margin"""
import json
import numpy as np

BOS = 2


class OldRules:
    def __init__(self, setting, stop, see):
        self.setting, self.stop, self.see = setting, stop, see

    def __call__(self, generated, scores):
        ids = ([BOS] if self.see == "lavis" else []) + generated
        scores, get = scores.copy(), self.setting.get
        for sequence, bias in json.loads(get("sequence_bias", "[]")):
            if len(sequence) - 1 <= len(ids) and ids[len(ids) - len(sequence) + 1:] == sequence[:-1]:
                scores[sequence[-1]] += np.float32(bias)
        for i in set(ids) if "repetition_penalty" in self.setting else ():
            penalty = np.float32(get("repetition_penalty"))
            scores[i] = scores[i] * penalty if scores[i] < 0 else scores[i] / penalty
        n = get("no_repeat_ngram_size", 0)
        for start in range(len(ids) - n + 1) if n else ():
            if ids[start:start + n - 1] == ids[len(ids) - n + 1:]:
                scores[ids[start + n - 1]] = -np.inf
        for word in json.loads(get("bad_words_ids", "[]")):
            if len(word) - 1 <= len(ids) and ids[len(ids) - len(word) + 1:] == word[:-1]:
                scores[word[-1]] = -np.inf
        if len(ids) < get("min_length", 0) or len(generated) < get("min_new_tokens", 0):
            scores[self.stop] = -np.inf
        return scores


def greedy(next_logits, rules, stop, limit):
    ids, margin = [], 1e9
    while len(ids) < limit and (not ids or ids[-1] != stop):
        scores = rules(ids, next_logits([ids])[0])
        second, best = np.sort(scores)[-2:]
        margin = min(margin, float(best - second))
        ids = ids + [int(scores.argmax())]
    return ids, margin
