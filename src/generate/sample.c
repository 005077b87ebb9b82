/* sample.c: see sample.h. One function a cut. What a cut needs in order comes off a heap, and only as far as needed. */
#include "generate/sample.h"

#include "base/size.h"

#include <math.h>

/* ---- a heap ------------------------------------------------------------------------------------------------------ */

static bool is_before(const double *keys, uint32_t a, uint32_t b) {
    return keys[a] > keys[b] || (keys[a] == keys[b] && a < b);
}

static void sift_down(uint32_t *heap, size_t n, const double *keys, size_t i) {
    const uint32_t item = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_before(keys, heap[child + 1], heap[child])) child++;
        if (!is_before(keys, heap[child], item)) break;
        heap[i] = heap[child];
    }
    heap[i] = item;
}

void b2_heap_build(uint32_t *heap, size_t n, const double *keys) {
    for (size_t i = n / 2; i-- > 0;) sift_down(heap, n, keys, i);
}

uint32_t b2_heap_pop(uint32_t *heap, size_t *n, const double *keys) {
    const uint32_t top = heap[0];
    heap[0] = heap[--*n];
    if (*n > 0) sift_down(heap, *n, keys, 0);
    return top;
}

/* ---- a row ------------------------------------------------------------------------------------------------------- */

/* The ids that are left, with their probabilities. */
typedef struct row {
    float *scores;
    size_t n, n_left;
    double max, sum, entropy;
    const b2_sample_scratch *scratch;
} row;

static double probability(const row *r, size_t id) { return b2_exp_f64((double)r->scores[id] - r->max) / r->sum; }

static bool is_left(const row *r, size_t id) { return r->scores[id] > -INFINITY; }

/* Lists what is left in the heap. */
static void list(row *r) {
    r->n_left = 0;
    for (size_t i = 0; i < r->n; i++)
        if (is_left(r, i)) r->scratch->heap[r->n_left++] = (uint32_t)i;
}

/* Lists what is left, and sums over it. */
static void look_at(row *r) {
    const uint32_t *left = r->scratch->heap;
    double weighted = 0;
    list(r);
    r->max = -INFINITY;
    r->sum = 0;
    for (size_t i = 0; i < r->n_left; i++) r->max = r->scores[left[i]] > r->max ? r->scores[left[i]] : r->max;
    for (size_t i = 0; i < r->n_left; i++) {
        const double x = (double)r->scores[left[i]] - r->max, e = b2_exp_f64(x);
        r->sum += e;
        weighted += e * x;
    }
    r->entropy = b2_log_f64(r->sum) - weighted / r->sum;
}

/* Makes what is listed a heap by score. */
static void order_by_score(const row *r) {
    for (size_t i = 0; i < r->n_left; i++) r->scratch->keys[r->scratch->heap[i]] = r->scores[r->scratch->heap[i]];
    b2_heap_build(r->scratch->heap, r->n_left, r->scratch->keys);
}

/* The k-th largest score, 1 <= k <= n_left: the smallest one of a heap of k, which few others enter. (-keys: the
 * smallest on top.) */
static float find_kth(const row *r, size_t k) {
    uint32_t *heap = r->scratch->heap;
    double *keys = r->scratch->keys;
    size_t n = 0, i = 0;
    for (; n < k; i++)
        if (is_left(r, i)) {
            keys[i] = -(double)r->scores[i];
            heap[n++] = (uint32_t)i;
        }
    b2_heap_build(heap, n, keys);
    for (; i < r->n; i++) {
        if (!(r->scores[i] > r->scores[heap[0]])) continue;
        keys[i] = -(double)r->scores[i];
        heap[0] = (uint32_t)i;
        sift_down(heap, n, keys, 0);
    }
    return r->scores[heap[0]];
}

static void cut_below(row *r, float score) {
    for (size_t i = 0; i < r->n; i++)
        if (r->scores[i] < score) r->scores[i] = -INFINITY;
}

/* ---- the cuts ---------------------------------------------------------------------------------------------------- */

static void heat(double temperature, float *scores, size_t n) {
    for (size_t i = 0; i < n; i++) scores[i] /= (float)temperature;
}

static void keep_top_k(row *r, size_t k) {
    list(r);
    if (k < r->n_left) cut_below(r, find_kth(r, k));
}

/* The most probable ones, as long as those before have less than p together. */
static void keep_top_p(row *r, double p, size_t n_kept) {
    look_at(r);
    size_t n = r->n_left, n_taken = 0;
    order_by_score(r);
    for (double before = 0; n > 0 && (before < p || n_taken < n_kept); n_taken++)
        before += probability(r, b2_heap_pop(r->scratch->heap, &n, r->scratch->keys));
    for (size_t i = 0; i < n; i++) r->scores[r->scratch->heap[i]] = -INFINITY;
}

/* All with at least this probability, and the best n_kept. */
static void keep_probable(row *r, double least, size_t n_kept) {
    const float kept = find_kth(r, b2_min(n_kept, r->n_left));
    for (size_t i = 0; i < r->n; i++)
        if (is_left(r, i) && r->scores[i] < kept && probability(r, i) < least) r->scores[i] = -INFINITY;
}

static void keep_min_p(row *r, double min_p, size_t n_kept) {
    look_at(r);
    keep_probable(r, min_p / r->sum, n_kept); /* the best one has the probability 1 / sum */
}

/* Those whose surprise is closest to the entropy, until they have `mass` together. */
static void keep_typical(row *r, double mass, size_t n_kept) {
    look_at(r);
    double *keys = r->scratch->keys, together = 0, last = 0;
    const double log_sum = b2_log_f64(r->sum);
    for (size_t i = 0; i < r->n_left; i++) {
        const uint32_t id = r->scratch->heap[i];
        keys[id] = -fabs(log_sum + r->max - (double)r->scores[id] - r->entropy);
    }
    b2_heap_build(r->scratch->heap, r->n_left, keys);
    size_t n = r->n_left;
    for (size_t n_taken = 0; n > 0 && (together < mass || n_taken < n_kept || keys[r->scratch->heap[0]] == last);
         n_taken++) {
        const uint32_t id = b2_heap_pop(r->scratch->heap, &n, keys);
        if (together < mass) last = keys[id];
        together += probability(r, id);
    }
    for (size_t i = 0; i < n; i++) r->scores[r->scratch->heap[i]] = -INFINITY;
}

static void cut_epsilon(row *r, double epsilon, size_t n_kept) {
    look_at(r);
    keep_probable(r, epsilon, n_kept);
}

static void cut_eta(row *r, double epsilon, size_t n_kept) {
    look_at(r);
    const double lowered = sqrt(epsilon) * b2_exp_f64(-r->entropy);
    keep_probable(r, lowered < epsilon ? lowered : epsilon, n_kept);
}

void b2_sample_warp(const b2_sampling *s, float *scores, size_t n, const b2_sample_scratch *scratch) {
    row r = {.scores = scores, .n = n, .scratch = scratch};
    const size_t n_kept = b2_max(s->n_kept, 1);
    if (s->temperature > 0 && s->temperature != 1) heat(s->temperature, scores, n);
    if (s->top_k > 0) keep_top_k(&r, b2_max(s->top_k, n_kept));
    if (s->top_p > 0 && s->top_p < 1) keep_top_p(&r, s->top_p, n_kept);
    if (s->min_p > 0) keep_min_p(&r, s->min_p, n_kept);
    if (s->typical_p > 0 && s->typical_p < 1) keep_typical(&r, s->typical_p, n_kept);
    if (s->epsilon_cutoff > 0) cut_epsilon(&r, s->epsilon_cutoff, n_kept);
    if (s->eta_cutoff > 0) cut_eta(&r, s->eta_cutoff, n_kept);
}

/* ---- the draw ---------------------------------------------------------------------------------------------------- */

size_t b2_sample_draw(const float *scores, size_t n, double draw) {
    double max = -INFINITY, sum = 0, before = 0;
    size_t last = 0;
    for (size_t i = 0; i < n; i++) max = scores[i] > max ? scores[i] : max;
    for (size_t i = 0; i < n; i++)
        if (scores[i] > -INFINITY) sum += b2_exp_f64((double)scores[i] - max);
    for (size_t i = 0; i < n; i++) {
        if (!(scores[i] > -INFINITY)) continue;
        last = i;
        before += b2_exp_f64((double)scores[i] - max);
        if (before > draw * sum) break;
    }
    return last;
}
