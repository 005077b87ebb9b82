/* isa.h: how the numbers are computed. One struct of pure, single-threaded functions per instruction set; the plain C
 * of kernels/ref defines every result to the bit, and each other set returns the same bits (tests/kernels).
 *
 * Rules for all of them: no allocation, no globals, no reads outside what the arguments describe, f32 rows in row-major
 * order, strides in elements. Aliasing: outputs overlap no input unless it says "in place". */
#ifndef B2_ISA_H
#define B2_ISA_H

#include "base/status.h"

/* What happens to product + bias on its way out. */
typedef enum b2_epilogue {
    B2_EPILOGUE_STORE, /* out = p */
    B2_EPILOGUE_ADD,   /* out = out + p: the residual stream takes the layer's contribution */
    B2_EPILOGUE_RELU,  /* out = p > 0 ? p : +0 */
    B2_EPILOGUE_GELU   /* out = gelu(p) */
} b2_epilogue;

/* Rows of activations as integers. One plane: x ~ s * hi. Two planes: x ~ s * (128 hi + lo), about 15 bits. */
typedef struct b2_quantised_rows {
    const int8_t *hi, *lo; /* [n_rows][stride]; lo is NULL with one plane; values in [-127, 127] */
    const float *scale;    /* [n_rows][stride / group] */
    const int32_t *sum;    /* [n_rows][stride / group]: of a group's integers, hi or 128 hi + lo; for kernels whose dot
                              product wants one side unsigned */
    size_t n_rows;
    size_t stride; /* K padded to whole groups; padding is zero */
} b2_quantised_rows;

/* Some neighbouring panels of an int8 matrix (quant/FORMAT.md), K = stride of the rows long. */
typedef struct b2_weight_panels {
    const int8_t *values;                /* [n_panels][K/4][panel][4] */
    const uint16_t *scales;              /* [n_panels][K/group][panel], BF16 */
    size_t panel, group, n_panels;       /* panel 16 or 64; group a multiple of 4, at most 128 */
    const struct b2_weight_panels *next; /* those that this thread will probably multiply next, to be prefetched;
                                            NULL: not known */
} b2_weight_panels;

/* One call's share of a product: at most this many rows and outputs, so that a tile of results stays in the cache. */
enum { B2_GEMM_ROWS = 272, B2_GEMM_STRIP = 64, B2_GEMM_SCRATCH_BYTES = 256 * 1024 };

/* out[n] = epilogue(y + bias); bias may be NULL (nothing is added then) */
typedef void b2_finish_row_fn(const float *y, const float *bias, size_t n, b2_epilogue epilogue, float *out);

/* Where a product goes: row m of it, finished, to out + m * stride. */
typedef struct b2_gemm_out {
    float *out;
    size_t stride;
    const float *bias; /* [n] or NULL */
    size_t n;          /* outputs wanted: panels may hold padding after them */
    b2_epilogue epilogue;
    b2_finish_row_fn *finish; /* the set's finish_row */
} b2_gemm_out;

static inline void b2_gemm_finish_row(const b2_gemm_out *out, size_t row, const float *y) {
    out->finish(y, out->bias, out->n, out->epilogue, out->out + row * out->stride);
}

/* out = rows times panels, n_rows <= B2_GEMM_ROWS, n_panels * panel <= B2_GEMM_STRIP. Scratch, 64-byte aligned and the
 * thread's own: y, room for the products, [n_rows][B2_GEMM_STRIP]; scratch, B2_GEMM_SCRATCH_BYTES. */
typedef void b2_gemm_i8_fn(const b2_quantised_rows *rows, const b2_weight_panels *weights, const b2_gemm_out *out,
                           float *y, void *scratch);

/* out[n_rows][n_out] = a[n_rows][n_in] w[n_out][n_in]^T. The parity path; w is row-major f32. */
typedef void b2_gemm_f32_fn(const float *a, size_t a_stride, size_t n_rows, const float *w, size_t n_in, size_t n_out,
                            float *out, size_t out_stride);

/* One head of attention: queries [n_queries][q_stride], keys transposed [head_len][key_stride] (key_stride a multiple
 * of 16, the padding readable), values [n_keys][value_stride], out [n_queries][out_stride].
 *   q' = q * query_scale; s_j = (chain of fma(q'_d, k_dj) over d) * score_scale
 *   e_j = exp(s_j - max s); out_d = (chain of fma(e_j, v_jd) over j) * (1 / sum e)
 * Query i sees keys 0 .. n_visible_first + i - 1, at most n_keys; without a mask n_visible_first = n_keys. */
typedef struct b2_attention {
    const float *queries, *keys, *values;
    float *out;
    size_t q_stride, key_stride, value_stride, out_stride;
    size_t n_queries, n_keys, n_visible_first, head_len;
    float query_scale, score_scale;
    float *scores; /* scratch: B2_ATTENTION_ROWS * key_stride floats, 64-byte aligned, the thread's own */
    float *query;  /* scratch: B2_ATTENTION_ROWS * head_len floats */
} b2_attention;

enum { B2_ATTENTION_ROWS = 16 /* queries that a kernel may work on at once */ };

typedef struct b2_isa {
    const char *name; /* of the int8 products: scalar, blas, avx2, avxvnni, avx512vnni, ... */
    const char *gemm_f32_name;

    b2_gemm_i8_fn *gemm_i8;
    b2_gemm_f32_fn *gemm_f32;
    void (*attend)(const b2_attention *attention);

    /* x[n] -> planes, zero-padded to n_padded (a multiple of group), and each group's scale and sum of integers; lo is
     * NULL for one plane */
    void (*quantise_row)(const float *x, size_t n, size_t n_padded, size_t group, int8_t *hi, int8_t *lo, float *scale,
                         int32_t *sum);
    /* y[n] = (x - mean) / sqrt(var + eps) * gamma + beta; in place allowed */
    void (*layernorm_row)(const float *x, size_t n, const float *gamma, const float *beta, float eps, float *y);
    b2_finish_row_fn *finish_row;
    float (*dot_f32)(const float *a, const float *b, size_t n);
    float (*dot_f16)(const uint16_t *a, const float *b, size_t n);
    void (*widen_f16)(const uint16_t *x, float *y, size_t n);
    float (*max)(const float *x, size_t n);                  /* NaN anywhere gives NaN */
    float (*sum_exp)(const float *x, size_t n, float shift); /* sum of exp(x - shift) */
    /* row `row` of an int8 matrix as numbers: out[k] = q * d, k < n; k_padded and group as in the matrix */
    void (*gather_row)(const b2_weight_panels *weights, size_t k_padded, size_t row, float *out, size_t n);
} b2_isa;

/* natural logarithm of x >= 1 as the printed log-probabilities use it: the same bits everywhere */
float b2_log_f32(float x);

/* Fills *isa. name NULL: the fastest that this build and CPU have. BLIP2_ARGUMENT when the name is unknown or this
 * machine lacks it; the sentence lists those it has. */
blip2_status b2_isa_select(const char *name, b2_isa *isa, blip2_error *err);

/* The names that this build and CPU have, fastest first, in names[capacity]; returns their number. */
size_t b2_isa_list(const char **names, size_t capacity);

#endif
