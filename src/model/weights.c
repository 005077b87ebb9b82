#include "model/weights.h"

#include "quant/panel.h"
#include "quant/tensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct binder {
    const b2_checkpoint *checkpoint;
    size_t n_bound;
    const b2_tensor *first; /* the first matrix: the others must be of its type */
} binder;

/* "ne 4 x 16 x 32" is how GGUF tools print a shape: fastest dimension first. */
static void print_shape(const uint64_t *ne, uint32_t n_dims, char *text, size_t capacity) {
    size_t len = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < n_dims && len < capacity; i++)
        len += (size_t)snprintf(text + len, capacity - len, "%s%" PRIu64, i > 0 ? " x " : "", ne[i]);
}

/* The tensor stem.suffix of the given type and shape (ne, fastest dimension first). */
static blip2_status bind_tensor(binder *b, const char *stem, const char *suffix, b2_dtype dtype, uint32_t n_dims,
                                const uint64_t *ne, const b2_tensor **out, blip2_error *err) {
    char name[B2_TENSOR_NAME_BYTES + 8], want[96], got[96];
    snprintf(name, sizeof name, "%s.%s", stem, suffix);
    const b2_tensor *tensor = b2_checkpoint_find(b->checkpoint, name);
    if (tensor == NULL) return b2_fail(err, BLIP2_SHAPE, "tensor %s is missing", name);
    if (tensor->dtype != dtype)
        return b2_fail(err, BLIP2_SHAPE, "tensor %s: expected type %s, got %s", name, b2_dtype_name(dtype),
                       b2_dtype_name(tensor->dtype));
    bool same = tensor->n_dims == n_dims;
    for (uint32_t i = 0; same && i < n_dims; i++) same = tensor->ne[i] == ne[i];
    if (!same) {
        print_shape(ne, n_dims, want, sizeof want);
        print_shape(tensor->ne, tensor->n_dims, got, sizeof got);
        return b2_fail(err, BLIP2_SHAPE, "tensor %s: expected shape %s, got %s", name, want, got);
    }
    b->n_bound++;
    *out = tensor;
    return BLIP2_OK;
}

static blip2_status bind_floats(binder *b, const char *stem, const char *suffix, size_t n_out, size_t n_in,
                                const float **out, blip2_error *err) {
    const b2_tensor *tensor;
    const uint64_t vector[1] = {n_out}, table[2] = {n_in, n_out};
    B2_TRY(bind_tensor(b, stem, suffix, B2_DTYPE_F32, n_in == 0 ? 1 : 2, n_in == 0 ? vector : table, &tensor, err));
    *out = tensor->data;
    return BLIP2_OK;
}

static blip2_status bind_table(binder *b, const b2_tensor_spec *spec, const float **out, blip2_error *err) {
    return bind_floats(b, spec->name, "weight", spec->n_out, spec->n_in, out, err);
}

static blip2_status bind_norm(binder *b, const b2_tensor_spec *spec, float eps, b2_norm *norm, blip2_error *err) {
    norm->n = spec->n_out;
    norm->eps = eps;
    B2_TRY(bind_floats(b, spec->name, "weight", spec->n_out, 0, &norm->gamma, err));
    return bind_floats(b, spec->name, "bias", spec->n_out, 0, &norm->beta, err);
}

/* int8: panels of P outputs and their scales (quant/FORMAT.md). The planes are the file's word, not the default's. */
static blip2_status bind_panels(binder *b, const b2_tensor_spec *spec, b2_matrix *m, blip2_error *err) {
    const b2_tensor *values, *scales;
    const b2_panel_shape shape = b2_panel_shape_make(spec->n_out, spec->n_in, spec->panel);
    const uint64_t p = shape.panel, n_panels = shape.n_out_padded / p;
    const uint64_t value_ne[4] = {4, p, shape.n_in_padded / 4, n_panels};
    const uint64_t scale_ne[3] = {p, shape.n_in_padded / shape.group, n_panels};
    B2_TRY(bind_tensor(b, spec->name, "weight", B2_DTYPE_I8, 4, value_ne, &values, err));
    B2_TRY(bind_tensor(b, spec->name, "scale", B2_DTYPE_BF16, 3, scale_ne, &scales, err));
    if (values->planes != 1 && values->planes != 2)
        return b2_fail(err, BLIP2_FORMAT, "tensor %s.weight: expected 1 or 2 activation planes, got %d", spec->name,
                       values->planes);
    m->n_in_padded = shape.n_in_padded;
    m->panel = shape.panel;
    m->group = shape.group;
    m->planes = values->planes;
    m->values = values->data;
    m->scales = scales->data;
    return BLIP2_OK;
}

static blip2_status bind_embed(binder *b, const b2_tensor_spec *spec, b2_matrix *m, blip2_error *err) {
    char name[B2_TENSOR_NAME_BYTES + 8];
    snprintf(name, sizeof name, "%s.weight", spec->name);
    const b2_tensor *tensor = b2_checkpoint_find(b->checkpoint, name);
    if (tensor == NULL) return b2_fail(err, BLIP2_SHAPE, "tensor %s is missing", name);
    *m = (b2_matrix){.dtype = tensor->dtype, .n_out = spec->n_out, .n_in = spec->n_in, .n_in_padded = spec->n_in};
    if (tensor->dtype != B2_DTYPE_I8 && tensor->dtype != B2_DTYPE_F16 && tensor->dtype != B2_DTYPE_F32)
        return b2_fail(err, BLIP2_SHAPE, "tensor %s: expected type i8, f16 or f32, got %s", name,
                       b2_dtype_name(tensor->dtype));
    if (b->first == NULL) b->first = tensor;
    if (tensor->dtype != b->first->dtype)
        return b2_fail(err, BLIP2_SHAPE, "tensor %s: expected type %s, got %s", name, b2_dtype_name(b->first->dtype),
                       b2_dtype_name(tensor->dtype));
    if (tensor->dtype == B2_DTYPE_I8) return bind_panels(b, spec, m, err);
    const uint64_t ne[2] = {spec->n_in, spec->n_out};
    B2_TRY(bind_tensor(b, spec->name, "weight", tensor->dtype, 2, ne, &tensor, err));
    m->values = tensor->data;
    return BLIP2_OK;
}

static blip2_status bind_linear(binder *b, const b2_tensor_spec *spec, b2_matrix *m, blip2_error *err) {
    B2_TRY(bind_embed(b, spec, m, err));
    return bind_floats(b, spec->name, "bias", spec->n_out, 0, &m->bias, err);
}

/* One pass over parts.def: each row binds into the field of its name, once or for each block of its part. By example:
 * B2_TENSOR(opt, BLOCK, ffn_up, ...) binds row B2_ROW_opt_ffn_up of block i into w->opt.blocks[i].ffn_up. */
#define BIND_KIND_TABLE(part, spec, target) bind_table(b, spec, target, err)
#define BIND_KIND_NORM(part, spec, target) bind_norm(b, spec, h->part.eps, target, err)
#define BIND_KIND_LINEAR(part, spec, target) bind_linear(b, spec, target, err)
#define BIND_KIND_EMBED(part, spec, target) bind_embed(b, spec, target, err)
#define BIND(part, member, kind, block, target)                                                                        \
    do {                                                                                                               \
        const b2_tensor_spec spec = b2_tensors_spec(h, B2_ROW_##part##_##member, block);                               \
        B2_TRY(BIND_KIND_##kind(part, &spec, target));                                                                 \
    } while (0)
#define BIND_ONCE(part, member, name, kind) BIND(part, member, kind, 0, &w->part.member);
#define BIND_BLOCK(part, member, name, kind)                                                                           \
    for (uint32_t i = 0; i < h->part.blocks; i++) BIND(part, member, kind, i, &w->part.blocks[i].member);
#define BIND_CROSS(part, member, name, kind)                                                                           \
    for (uint32_t i = 0; i < h->part.blocks; i++)                                                                      \
        if (b2_block_has_cross(h, i)) BIND(part, member, kind, i, &w->part.blocks[i].member);
#define BIND_HEAD(part, member, name, kind)                                                                            \
    if (b2_checkpoint_find(b->checkpoint, name ".weight") != NULL) BIND(part, member, kind, 0, &w->part.member);       \
    else w->part.member = w->part.token_embd;

static blip2_status bind_all(binder *b, b2_weights *w, blip2_error *err) {
    const b2_hparams *h = &w->h;
#define B2_TENSOR(part, scope, member, name, kind, n_out, n_in, panel, planes)                                         \
    if (b2_arch_has(h->arch, B2_PART_##part)) { BIND_##scope(part, member, name, kind) }
#include "quant/parts.def"
    if (b->n_bound != b2_checkpoint_n_tensors(b->checkpoint))
        return b2_fail(err, BLIP2_SHAPE, "the file holds %zu tensors, expected %zu",
                       b2_checkpoint_n_tensors(b->checkpoint), b->n_bound);
    return BLIP2_OK;
}

blip2_status b2_weights_create_blocks(b2_weights *w, blip2_error *err) {
#define B2_NETWORK(part)                                                                                               \
    if (b2_arch_has(w->h.arch, B2_PART_##part) &&                                                                      \
        (w->part.blocks = calloc(w->h.part.blocks, sizeof *w->part.blocks)) == NULL)                                   \
        return b2_fail(err, BLIP2_MEMORY, "no memory for the table of weights");
#include "quant/parts.def"
    return BLIP2_OK;
}

blip2_status b2_weights_bind(const b2_checkpoint *checkpoint, b2_weights *w, blip2_error *err) {
    *w = (b2_weights){.h = *b2_checkpoint_hparams(checkpoint)};
    binder b = {.checkpoint = checkpoint};
    blip2_status status = b2_weights_create_blocks(w, err);
    if (status == BLIP2_OK) status = bind_all(&b, w, err);
    w->dtype = w->opt.token_embd.dtype;
    if (status != BLIP2_OK) b2_weights_free(w);
    return status;
}

void b2_weights_free(b2_weights *w) {
#define B2_NETWORK(part) free(w->part.blocks);
#include "quant/parts.def"
    *w = (b2_weights){0};
}
