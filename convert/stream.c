#include "convert/stream.h"

#include "base/size.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { N_BUFFERS = 3, PIECE_BYTES = 32 << 20, SEGMENT_ALIGN_BYTES = 64 };

/* ---- pieces ---------------------------------------------------------------------------------------------------- */

/* Whole panels, as many as PIECE_BYTES hold, at least one. */
static size_t rows_per_piece(const b2_tensor_spec *spec, size_t n_in) {
    const size_t step = spec->panel > 0 ? spec->panel : 1, n_steps = PIECE_BYTES / sizeof(float) / n_in / step;
    return n_steps > 0 ? n_steps * step : step;
}

/* A piece may lie across the seam of two stored tensors. */
static void cut_segments(b2_piece *p) {
    const size_t stored_rows = p->n_rows_all / p->stem->n_stored, end = p->first_row + p->n_rows;
    for (size_t row = p->first_row; row < end;) {
        const size_t i = row / stored_rows, stored_end = (i + 1) * stored_rows;
        b2_segment *s = &p->segments[p->n_segments++];
        *s = (b2_segment){.tensor = p->is_bias ? p->stem->bias[i] : p->stem->weight[i],
                          .merge = p->is_bias ? &p->stem->bias_merge[i] : &p->stem->weight_merge[i],
                          .first_row = row - i * stored_rows,
                          .n_rows = (stored_end < end ? stored_end : end) - row,
                          .at_bytes = p->n_bytes};
        p->n_bytes += b2_round_up(s->n_rows * p->n_in * b2_dtype_bytes(s->tensor->dtype), SEGMENT_ALIGN_BYTES);
        s->merge_at_bytes = p->n_bytes;
        p->n_bytes += b2_round_up(b2_merge_count(s->merge, s->n_rows, p->n_in) * sizeof(float), SEGMENT_ALIGN_BYTES);
        row += s->n_rows;
    }
}

bool b2_piece_next(const b2_stems *stems, b2_piece_cursor *c, b2_piece *piece) {
    if (c->stem == stems->n) return false;
    const b2_stem *stem = &stems->items[c->stem];
    const size_t n_in = c->is_bias || stem->spec.kind == B2_KIND_NORM ? 1 : stem->spec.n_in;
    const size_t n_left = stem->spec.n_out - c->row, n_most = rows_per_piece(&stem->spec, n_in);
    *piece = (b2_piece){.stem = stem,
                        .is_bias = c->is_bias,
                        .n_rows_all = stem->spec.n_out,
                        .n_in = n_in,
                        .first_row = c->row,
                        .n_rows = n_left < n_most ? n_left : n_most};
    cut_segments(piece);
    c->row += piece->n_rows;
    if (c->row == stem->spec.n_out) {
        c->row = 0;
        const bool goes_on = !c->is_bias && stem->bias[0] != NULL;
        c->is_bias = goes_on;
        c->stem += goes_on ? 0 : 1;
    }
    return true;
}

/* The segment that holds a row of the piece, and which of its rows that is. */
static const b2_segment *find_segment(const b2_piece *p, size_t row, size_t *inside) {
    const b2_segment *s = p->segments;
    for (; row >= s->n_rows; s++) row -= s->n_rows;
    *inside = row;
    return s;
}

const b2_stored_tensor *b2_piece_locate(const b2_piece *p, size_t row, uint64_t *element) {
    size_t inside;
    const b2_segment *s = find_segment(p, row, &inside);
    *element = (uint64_t)(s->first_row + inside) * p->n_in;
    return s->tensor;
}

const float *b2_piece_rows(const b2_piece *p, size_t row, size_t n, float *scratch) {
    float *to = scratch;
    for (size_t done = 0; done < n;) {
        size_t inside;
        const b2_segment *s = find_segment(p, row + done, &inside);
        const size_t n_here = s->n_rows - inside < n - done ? s->n_rows - inside : n - done;
        const uint8_t *from = p->data + s->at_bytes + inside * p->n_in * b2_dtype_bytes(s->tensor->dtype);
        const bool is_changed = !b2_merge_is_empty(s->merge);
        if (s->tensor->dtype == B2_DTYPE_F32 && n_here == n && !is_changed) return (const float *)(const void *)from;
        b2_stored_widen(s->tensor->dtype, from, n_here * p->n_in, to);
        const float *numbers = (const float *)(const void *)(p->data + s->merge_at_bytes);
        if (is_changed) b2_merge_rows(s->merge, numbers, s->n_rows, inside, n_here, p->n_in, to);
        to += n_here * p->n_in;
        done += n_here;
    }
    return scratch;
}

/* ---- the reader ------------------------------------------------------------------------------------------------ */

typedef struct slot {
    b2_piece piece;
    uint8_t *buffer;
} slot;

/* Slots are filled and emptied in a circle: piece i lies in slot i % N_BUFFERS. */
struct b2_stream {
    b2_tensor_source *source;
    const b2_stems *stems;
    slot slots[N_BUFFERS];
    size_t n_taken;      /* pieces handed out; the last of them is still being used */
    bool is_zero_so_far; /* the reader's: of the tensor that it is reading */

    pthread_t thread;
    bool has_thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* under the mutex: */
    size_t n_filled, n_returned;
    size_t n_zero_tensors;
    const b2_stored_tensor *first_zero_tensor;
    bool ended, stop;
    blip2_error error; /* of the reader; status BLIP2_OK while there is none */
};

/* Waits for a free slot; false when the stream is being closed. */
static bool wait_for_slot(b2_stream *s) {
    pthread_mutex_lock(&s->mutex);
    while (s->n_filled - s->n_returned == N_BUFFERS && !s->stop) pthread_cond_wait(&s->changed, &s->mutex);
    const bool go_on = !s->stop;
    pthread_mutex_unlock(&s->mutex);
    return go_on;
}

/* Real weights say no at their first byte or soon after. */
static bool is_zero(const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != 0) return false;
    return true;
}

/* A tensor is read from its first row to its last, whatever the pieces. */
static void watch_zeros(b2_stream *s, const b2_piece *p, const b2_segment *g, const uint8_t *bytes) {
    const size_t n_bytes = g->n_rows * p->n_in * b2_dtype_bytes(g->tensor->dtype);
    if (p->is_bias) return;
    if (g->first_row == 0) s->is_zero_so_far = true;
    s->is_zero_so_far = s->is_zero_so_far && is_zero(bytes, n_bytes);
    if (!s->is_zero_so_far || g->first_row + g->n_rows < p->n_rows_all / p->stem->n_stored) return;
    pthread_mutex_lock(&s->mutex);
    if (s->n_zero_tensors++ == 0) s->first_zero_tensor = g->tensor;
    pthread_mutex_unlock(&s->mutex);
}

static blip2_status fill(b2_stream *s, slot *to, blip2_error *err) {
    const b2_piece *p = &to->piece;
    for (size_t i = 0; i < p->n_segments; i++) {
        const b2_segment *g = &p->segments[i];
        B2_TRY(b2_tensor_source_read(s->source, g->tensor, (uint64_t)g->first_row * p->n_in, g->n_rows * p->n_in,
                                     to->buffer + g->at_bytes, err));
        watch_zeros(s, p, g, to->buffer + g->at_bytes);
        B2_TRY(b2_merge_read(g->merge, s->source, g->first_row, g->n_rows, p->n_in,
                             (float *)(void *)(to->buffer + g->merge_at_bytes), err));
    }
    return BLIP2_OK;
}

static void *read_all(void *argument) {
    b2_stream *s = argument;
    b2_piece_cursor cursor = {0};
    blip2_error error = {.status = BLIP2_OK};
    for (size_t i = 0; error.status == BLIP2_OK && wait_for_slot(s); i++) {
        slot *to = &s->slots[i % N_BUFFERS];
        if (!b2_piece_next(s->stems, &cursor, &to->piece)) break;
        to->piece.data = to->buffer;
        if (fill(s, to, &error) != BLIP2_OK) break;
        pthread_mutex_lock(&s->mutex);
        s->n_filled++;
        pthread_cond_signal(&s->changed);
        pthread_mutex_unlock(&s->mutex);
    }
    pthread_mutex_lock(&s->mutex);
    s->ended = true;
    s->error = error;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

/* ---- the consumer ---------------------------------------------------------------------------------------------- */

static size_t largest_piece(const b2_stems *stems) {
    b2_piece_cursor cursor = {0};
    b2_piece piece;
    size_t max = 0;
    while (b2_piece_next(stems, &cursor, &piece)) max = piece.n_bytes > max ? piece.n_bytes : max;
    return max;
}

blip2_status b2_stream_open(b2_tensor_source *source, const b2_stems *stems, b2_stream **out, blip2_error *err) {
    *out = NULL;
    b2_stream *s = calloc(1, sizeof *s);
    if (s == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory to read the checkpoint");
    s->source = source;
    s->stems = stems;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    const size_t capacity = largest_piece(stems);
    bool good = true;
    for (size_t i = 0; good && i < N_BUFFERS; i++) {
        void *buffer = NULL;
        good = posix_memalign(&buffer, SEGMENT_ALIGN_BYTES, capacity + 1) == 0;
        s->slots[i].buffer = good ? buffer : NULL;
    }
    if (good) good = s->has_thread = pthread_create(&s->thread, NULL, read_all, s) == 0;
    if (!good) {
        b2_stream_close(s);
        return b2_fail(err, BLIP2_MEMORY, "no memory, or no thread, to read the checkpoint");
    }
    *out = s;
    return BLIP2_OK;
}

blip2_status b2_stream_next(b2_stream *s, const b2_piece **piece, blip2_error *err) {
    *piece = NULL;
    pthread_mutex_lock(&s->mutex);
    s->n_returned = s->n_taken;
    pthread_cond_signal(&s->changed);
    while (s->n_filled == s->n_taken && !s->ended) pthread_cond_wait(&s->changed, &s->mutex);
    const bool at_end = s->n_filled == s->n_taken;
    const blip2_status status = at_end ? s->error.status : BLIP2_OK;
    pthread_mutex_unlock(&s->mutex);
    if (status != BLIP2_OK) return b2_fail(err, status, "%s", s->error.message);
    if (at_end) return BLIP2_OK;
    *piece = &s->slots[s->n_taken % N_BUFFERS].piece;
    s->n_taken++;
    return BLIP2_OK;
}

size_t b2_stream_zeros(const b2_stream *s, const b2_stored_tensor **first) {
    *first = s->first_zero_tensor;
    return s->n_zero_tensors;
}

void b2_stream_close(b2_stream *s) {
    if (s == NULL) return;
    pthread_mutex_lock(&s->mutex);
    s->stop = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    if (s->has_thread) pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->mutex);
    for (size_t i = 0; i < N_BUFFERS; i++) free(s->slots[i].buffer);
    free(s);
}
