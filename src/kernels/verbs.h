/* verbs.h: what a home is made of. Whoever fills this table for another device runs every model: kernels/cpu does it
 * for the CPU. Only homes and ops.c include this. */
#ifndef B2_VERBS_H
#define B2_VERBS_H

#include "base/arena.h"
#include "kernels/isa.h"
#include "kernels/tensor.h"

/* One function a verb; arguments and results are those of the verb of the same name in ops.h. Called only while the
 * home has not failed. A verb that cannot do its work calls b2_ops_fail and returns. */
typedef struct b2_verbs {
    const char *name; /* of the kind of home */
    bool is_host;     /* its memory is ordinary memory: other homes may read and write it in their send and fetch */
    void (*free)(b2_ops *ops);

    void (*plan)(b2_ops *ops, const b2_ops_limits *limits, b2_arena *arena);
    blip2_status (*reserve)(b2_ops *ops, b2_arena *arena, blip2_error *err);
    void (*release)(b2_ops *ops, b2_arena *arena);
    /* bytes of the mapped file -> where this home reads them: a copy in room from the arena (NULL while measuring), or
     * the bytes themselves */
    const void *(*upload)(b2_ops *ops, const void *host, size_t n_bytes, b2_arena *arena);
    void (*send)(b2_ops *ops, const float *host, size_t n, float *x); /* host -> home */
    void (*fetch)(b2_ops *ops, const float *x, size_t n, float *host);

    void (*copy_rows)(b2_ops *ops, const float *x, size_t x_stride, size_t n_rows, size_t width, float *y);
    void (*add_rows)(b2_ops *ops, const float *x, const float *table, const size_t *rows, size_t n_rows, size_t width,
                     float *y);
    void (*cut_patches)(b2_ops *ops, const float *pixels, size_t size, size_t patch, float *patches);
    void (*gather_rows)(b2_ops *ops, const b2_matrix *w, const int32_t *ids, size_t n, float *out);
    void (*layernorm)(b2_ops *ops, const b2_norm *norm, const float *x, size_t n_rows, float *y);
    void (*linear)(b2_ops *ops, const b2_matrix *w, const float *x, size_t n_items, size_t rows_per_item,
                   b2_epilogue epilogue, float *out);
    void (*attend)(b2_ops *ops, size_t n_batch, size_t n_heads, size_t head_len, b2_head_rows queries, size_t n_queries,
                   b2_head_rows keys, b2_head_rows values, size_t n_keys, float *out);
    void (*attend_cached)(b2_ops *ops, const b2_block_cache *cache, const float *qkv, const b2_cache_places *at,
                          size_t rows, float *out);
    void (*move_slots)(b2_ops *ops, const b2_block_cache *cache, const b2_slot_move *moves, size_t n,
                       size_t n_positions);
    bool (*argmax)(b2_ops *ops, const float *x, size_t n, size_t *index);
    float (*max)(b2_ops *ops, const float *x, size_t n);
    float (*log_probability)(b2_ops *ops, const float *x, size_t n, size_t index);
    void (*log_softmax)(b2_ops *ops, const float *x, size_t n, float *y);
} b2_verbs;

/* The head of every home: each kind has a struct that begins with it. */
struct b2_ops {
    const b2_verbs *verbs;
    blip2_error error; /* the first failure; its status is OK until then */
    bool (*is_cancelled)(void *context);
    void *cancel_context;
    bool was_cancelled; /* since b2_ops_begin */
};

/* The home has failed: what was computed since the last look at b2_ops_status is worth nothing. The first failure
 * stays. sentence: what, where, expected, got. */
void b2_ops_fail(b2_ops *ops, blip2_status status, const char *sentence);

#endif
