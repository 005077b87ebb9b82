/* tensors.h: the tensors of parts.def as a list to loop over. The converter walks it to know what to write, the binder
 * to know what to expect, the tests to know what to break. The road of a weight is drawn in README.md. */
#ifndef B2_TENSORS_H
#define B2_TENSORS_H

#include "quant/hparams.h"

typedef enum b2_tensor_kind { B2_KIND_TABLE, B2_KIND_NORM, B2_KIND_LINEAR, B2_KIND_EMBED } b2_tensor_kind;
typedef enum b2_tensor_scope { B2_SCOPE_ONCE, B2_SCOPE_BLOCK, B2_SCOPE_CROSS, B2_SCOPE_HEAD } b2_tensor_scope;

/* A row of a part's .def: B2_ROW_vision_class_embd, B2_ROW_vision_ln1, ... */
typedef enum b2_tensor_row {
#define B2_TENSOR(part, scope, member, name, kind, n_out, n_in, panel, planes) B2_ROW_##part##_##member,
#include "quant/parts.def"
    B2_N_TENSOR_ROWS
} b2_tensor_row;

enum { B2_TENSOR_NAME_BYTES = 64, /* NUL included: GGUF readers stop at 63 */ B2_PLANES_BY_CONVERTER = 0xFF };

typedef struct b2_tensor_spec {
    b2_tensor_row row;
    b2_part part;
    b2_tensor_scope scope;
    b2_tensor_kind kind;
    uint32_t block;                  /* 0 for ONCE and HEAD */
    char name[B2_TENSOR_NAME_BYTES]; /* the stem; ".weight", ".scale", ".bias" follow */
    size_t n_out, n_in;
    uint32_t panel, planes; /* planes may be B2_PLANES_BY_CONVERTER */
} b2_tensor_spec;

/* How many stems a model with these numbers has; with_head: the LM head is stored. */
size_t b2_tensors_count(const b2_hparams *h, bool with_head);

/* The i-th stem in file order, i < count. */
b2_tensor_spec b2_tensors_get(const b2_hparams *h, bool with_head, size_t i);

/* One stem of a given row and block. */
b2_tensor_spec b2_tensors_spec(const b2_hparams *h, b2_tensor_row row, uint32_t block);

#endif
