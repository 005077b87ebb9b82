/* place.c: which home computes a block, and the weights brought there. */
#include "model/weights.h"

#include "quant/tensors.h"

#include <string.h>

size_t b2_home(const b2_weights *w, b2_stage stage, uint32_t block) {
    uint32_t place = block;
    switch (stage) {
    case B2_STAGE_VISION: break;
    case B2_STAGE_QFORMER: place = w->h.vision.blocks; break;
    case B2_STAGE_HEAD: place = w->h.vision.blocks + 1; break;
    case B2_STAGE_TEXT: place = w->h.vision.blocks + 1 + w->h.opt.blocks - block; break;
    }
    return place < w->n_away ? B2_HOME_DEVICE : B2_HOME_CPU;
}

uint32_t b2_home_line_len(const b2_weights *w) { return w->h.vision.blocks + 2 + w->h.opt.blocks; }

/* The home of a tensor: that of the block that reads it. */
static size_t home_of_tensor(const b2_weights *w, b2_part part, b2_tensor_row row, uint32_t block) {
    switch (row) {
    case B2_ROW_vision_post_ln: return b2_home(w, B2_STAGE_VISION, w->h.vision.blocks - 1);
    case B2_ROW_opt_token_embd:
    case B2_ROW_opt_position_embd: return B2_HOME_CPU;
    case B2_ROW_opt_output_norm:
    case B2_ROW_opt_output: return b2_home(w, B2_STAGE_HEAD, 0);
    default:
        return part == B2_PART_vision    ? b2_home(w, B2_STAGE_VISION, block)
               : part == B2_PART_qformer ? b2_home(w, B2_STAGE_QFORMER, 0)
                                         : b2_home(w, B2_STAGE_TEXT, block);
    }
}

static void upload_norm(b2_ops *ops, b2_norm *norm, b2_arena *arena) {
    b2_ops_upload_floats(ops, &norm->gamma, norm->n, arena);
    b2_ops_upload_floats(ops, &norm->beta, norm->n, arena);
}

/* One pass over parts.def, in the order of the file: what lives at the device is uploaded. */
#define UPLOAD_TABLE(spec, target) b2_ops_upload_floats(ops, target, spec.n_out *spec.n_in, arena)
#define UPLOAD_NORM(spec, target) upload_norm(ops, target, arena)
#define UPLOAD_LINEAR(spec, target) b2_ops_upload_matrix(ops, target, arena)
#define UPLOAD_EMBED(spec, target) b2_ops_upload_matrix(ops, target, arena)
#define UPLOAD(part, member, kind, block, target)                                                                      \
    if (home_of_tensor(w, B2_PART_##part, B2_ROW_##part##_##member, block) == B2_HOME_DEVICE) {                        \
        const b2_tensor_spec spec = b2_tensors_spec(h, B2_ROW_##part##_##member, block);                               \
        (void)spec;                                                                                                    \
        UPLOAD_##kind(spec, target);                                                                                   \
    }
#define UPLOAD_ONCE(part, member, kind) UPLOAD(part, member, kind, 0, &w->part.member)
#define UPLOAD_HEAD(part, member, kind) UPLOAD(part, member, kind, 0, &w->part.member)
#define UPLOAD_BLOCK(part, member, kind)                                                                               \
    for (uint32_t i = 0; i < h->part.blocks; i++) UPLOAD(part, member, kind, i, &w->part.blocks[i].member)
#define UPLOAD_CROSS(part, member, kind)                                                                               \
    for (uint32_t i = 0; i < h->part.blocks; i++)                                                                      \
        if (b2_block_has_cross(h, i)) UPLOAD(part, member, kind, i, &w->part.blocks[i].member)

static void upload_all(b2_weights *w, b2_ops *ops, b2_arena *arena) {
    const b2_hparams *h = &w->h;
#define B2_TENSOR(part, scope, member, name, kind, n_out, n_in, panel, planes)                                         \
    if (b2_arch_has(h->arch, B2_PART_##part)) { UPLOAD_##scope(part, member, kind) }
#include "quant/parts.def"
}

/* The views of `file`, in tables of their own. */
static void copy_views(const b2_weights *file, b2_weights *w) {
    const b2_weights tables = *w;
    *w = *file;
    w->n_away = tables.n_away;
#define B2_NETWORK(part)                                                                                               \
    w->part.blocks = tables.part.blocks;                                                                               \
    if (tables.part.blocks != NULL)                                                                                    \
        memcpy(w->part.blocks, file->part.blocks, w->h.part.blocks * sizeof *w->part.blocks);
#include "quant/parts.def"
}

/* Views of the file in *w, and in the arena what the upload of them will take. */
static blip2_status measure(const b2_weights *file, uint32_t n_away, b2_ops *device, b2_arena *arena, b2_weights *w,
                            blip2_error *err) {
    *w = (b2_weights){.h = file->h, .n_away = n_away};
    *arena = (b2_arena){0};
    B2_TRY(b2_weights_create_blocks(w, err));
    copy_views(file, w);
    upload_all(w, device, arena);
    return BLIP2_OK;
}

blip2_status b2_weights_measure(const b2_weights *file, uint32_t n_away, b2_ops *device, size_t *n_bytes,
                                blip2_error *err) {
    b2_weights w;
    b2_arena arena;
    const blip2_status status = measure(file, n_away, device, &arena, &w, err);
    *n_bytes = arena.overflow ? SIZE_MAX : arena.used_bytes;
    b2_weights_free(&w);
    return status;
}

blip2_status b2_weights_place(const b2_weights *file, uint32_t n_away, b2_ops *device, b2_arena *arena, b2_weights *w,
                              blip2_error *err) {
    blip2_status status = measure(file, n_away, device, arena, w, err);
    if (status == BLIP2_OK) status = b2_ops_reserve(device, arena, err);
    if (status == BLIP2_OK) {
        copy_views(file, w);
        upload_all(w, device, arena);
    } else {
        b2_weights_free(w);
    }
    return status;
}
