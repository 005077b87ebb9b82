/* ops.h: the verbs that the model is written in. Each works on whole tensors in the memory of its home, never
 * allocates, and returns nothing: a home that fails (a device may; the CPU never does) remembers it and does no more,
 * and whoever began the work looks at b2_ops_status when it is done. A verb may return before its work is done, but
 * verbs of one home take effect in order, and host arrays are read before it returns. Results never depend on the home,
 * the number of threads, nor on what else is in the batch.
 *
 * A batch is n_items items (images, sequences) of rows_per_item rows. */
#ifndef B2_OPS_H
#define B2_OPS_H

#include "base/arena.h"
#include "kernels/isa.h"
#include "kernels/tensor.h"

/* ---- the home itself ----------------------------------------------------------------------------------------- */

/* Lets go of everything the home holds, but not of memory that was reserved through it: release that first. ops may be
 * NULL. */
void b2_ops_free(b2_ops *ops);

/* is_cancelled is asked between blocks and tokens, on the caller's thread; NULL: never cancelled. */
void b2_ops_watch(b2_ops *ops, bool (*is_cancelled)(void *context), void *context);

/* A call (an encode, a generate) begins: that the last one was cancelled is forgotten. */
void b2_ops_begin(b2_ops *ops);

/* True when the work should end early: it was cancelled, or the home has failed. One "yes" of is_cancelled counts until
 * the next begin: blocks were left out since. */
bool b2_ops_is_stopped(b2_ops *ops);

/* How it went: OK, BLIP2_CANCELLED, or the first failure of the home, with its sentence. */
blip2_status b2_ops_status(b2_ops *ops, blip2_error *err);

/* ---- memory -------------------------------------------------------------------------------------------------- */

/* Takes the home's scratch for these limits from the arena (measuring or placing). */
void b2_ops_plan(b2_ops *ops, const b2_ops_limits *limits, b2_arena *arena);

/* Gives the measured arena its memory, zeroed, in this home; use starts at 0 again. Errors: MEMORY, LIMIT. */
blip2_status b2_ops_reserve(b2_ops *ops, b2_arena *arena, blip2_error *err);
void b2_ops_release(b2_ops *ops, b2_arena *arena);

/* Weights of the mapped file, brought home: the views are replaced by views of copies, which take their room from the
 * arena (measuring: NULL). The CPU reads the map itself, so there nothing changes. */
void b2_ops_upload_matrix(b2_ops *ops, b2_matrix *w, b2_arena *arena);
void b2_ops_upload_floats(b2_ops *ops, const float **x, size_t n, b2_arena *arena);

/* y[n], in home `to`, = x[n], in home `from`. One of the two is the CPU. Nothing to do where x == y. */
void b2_ops_move(b2_ops *from, const float *x, size_t n, b2_ops *to, float *y);

/* host[n] = x[n]; waits until it is there. */
void b2_ops_fetch(b2_ops *ops, const float *x, size_t n, float *host);

/* ---- rows ---------------------------------------------------------------------------------------------------- */

/* y[n_rows][width] = rows of x that begin x_stride floats apart; 0: the same row each time. No overlap. */
void b2_ops_copy_rows(b2_ops *ops, const float *x, size_t x_stride, size_t n_rows, size_t width, float *y);

/* y[r] = x[r] + table[rows[r]] for n_rows rows of width; rows [n_rows] on the host, NULL: row r. In place allowed. */
void b2_ops_add_rows(b2_ops *ops, const float *x, const float *table, const size_t *rows, size_t n_rows, size_t width,
                     float *y);

/* host pixels [3][size][size] -> patches[side * side][3 * patch * patch], side = size / patch. Patch (r, c) becomes a
 * row of channel, y, x: the order of the convolution's weights. Pixels that fill no whole patch at the right and
 * bottom are left out, as a convolution without padding does. */
void b2_ops_cut_patches(b2_ops *ops, const float *pixels, size_t size, size_t patch, float *patches);

/* out[i][n_in] = row ids[i] of the matrix as f32; ids [n] on the host. */
void b2_ops_gather_rows(b2_ops *ops, const b2_matrix *w, const int32_t *ids, size_t n, float *out);

/* y[n_rows][n] = layernorm of each row of x; in place allowed. */
void b2_ops_layernorm(b2_ops *ops, const b2_norm *norm, const float *x, size_t n_rows, float *y);

/* ---- products ------------------------------------------------------------------------------------------------ */

/* out[rows][n_out] = epilogue(x[rows][n_in] W^T + bias), rows = n_items * rows_per_item. For int8 matrices x is
 * quantised first (src/NUMBERS.md). For f32 and f16 matrices items of one row take dot products, longer ones tiles
 * of 32 rows counted from each item's first row. */
void b2_ops_linear(b2_ops *ops, const b2_matrix *w, const float *x, size_t n_items, size_t rows_per_item,
                   b2_epilogue epilogue, float *out);

/* ---- attention ----------------------------------------------------------------------------------------------- */

/* out[batch][n_queries][n_heads * head_len]: every query attends to every key; scores * 1/sqrt(head_len). */
void b2_ops_attend(b2_ops *ops, size_t n_batch, size_t n_heads, size_t head_len, b2_head_rows queries, size_t n_queries,
                   b2_head_rows keys, b2_head_rows values, size_t n_keys, float *out);

/* Causal attention of new positions over the cache. qkv[n][rows][3 * width] holds the projections of at->n sequences,
 * rows new positions each. The new keys and values are appended; q is scaled before the product, as OPT does. No
 * sequence reads what another one appends. out[n][rows][width], width = n_heads * head_len. */
void b2_ops_attend_cached(b2_ops *ops, const b2_block_cache *cache, const float *qkv, const b2_cache_places *at,
                          size_t rows, float *out);

/* The first n_positions of slots change places, one move after the other; moves [n] on the host. */
void b2_ops_move_slots(b2_ops *ops, const b2_block_cache *cache, const b2_slot_move *moves, size_t n,
                       size_t n_positions);

/* ---- logits -------------------------------------------------------------------------------------------------- */

/* Index of the largest of x[n], the lowest one on a tie; false when a value is NaN or the home has failed. */
bool b2_ops_argmax(b2_ops *ops, const float *x, size_t n, size_t *index);

/* The largest of x[n]; NaN when one is NaN or the home has failed. */
float b2_ops_max(b2_ops *ops, const float *x, size_t n);

/* log softmax(x)[index]; NaN when the home has failed. */
float b2_ops_log_probability(b2_ops *ops, const float *x, size_t n, size_t index);

/* y[n] = log softmax(x[n]), each value as b2_ops_log_probability gives it; in place allowed. */
void b2_ops_log_softmax(b2_ops *ops, const float *x, size_t n, float *y);

#endif
