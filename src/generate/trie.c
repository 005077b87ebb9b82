/* trie.c: see trie.h. A step down is a binary search for an id's neighbours; the ids that may follow are found in
 * leaps that double, since a long list has few of them at the deeper places and long runs at the top. */
#include "generate/trie.h"

#include "base/size.h"

#include <math.h>
#include <stdlib.h>

static int compare(const void *one, const void *other) {
    const b2_trie_text *a = one, *b = other;
    for (size_t i = 0; i < b2_min(a->n, b->n); i++)
        if (a->ids[i] != b->ids[i]) return a->ids[i] < b->ids[i] ? -1 : 1;
    return a->n < b->n ? -1 : a->n > b->n;
}

void b2_trie_sort(b2_trie *t) {
    size_t n = 0;
    qsort(t->texts, t->n, sizeof *t->texts, compare);
    for (size_t i = 0; i < t->n; i++)
        if (n == 0 || compare(&t->texts[n - 1], &t->texts[i]) != 0) t->texts[n++] = t->texts[i];
    t->n = n;
}

/* The id at a depth; before all ids where the text has ended. */
static int32_t id_at(const b2_trie *t, size_t text, size_t depth) {
    return depth < t->texts[text].n ? t->texts[text].ids[depth] : -1;
}

/* The first of the texts [low, high), alike up to depth, that has an id not below this one there. */
static size_t find_id(const b2_trie *t, size_t low, size_t high, size_t depth, int64_t id) {
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (id_at(t, middle, depth) < id) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* The first of the texts [low, high) that has another id than text low. */
static size_t find_other(const b2_trie *t, size_t low, size_t high, size_t depth) {
    const int32_t id = id_at(t, low, depth);
    size_t leap = 1, last = low; /* last: it has this id */
    for (; low + leap < high && id_at(t, low + leap, depth) == id; leap *= 2) last = low + leap;
    return find_id(t, last, b2_min(low + leap, high), depth, (int64_t)id + 1);
}

static void forbid(float *scores, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) scores[i] = -INFINITY;
}

void b2_trie_process(const b2_trie *t, const int32_t *ids, size_t n, float *scores, size_t n_vocab) {
    size_t low = 0, high = t->n, next = 0; /* next: ids below it are decided */
    for (size_t depth = 0; depth < n; depth++) {
        low = find_id(t, low, high, depth, ids[depth]);
        high = find_id(t, low, high, depth, (int64_t)ids[depth] + 1);
    }
    for (; low < high; low = find_other(t, low, high, n)) {
        const int32_t id = id_at(t, low, n);
        if (id < 0) continue;
        forbid(scores, next, (size_t)id);
        next = (size_t)id + 1;
    }
    forbid(scores, next, n_vocab);
}
