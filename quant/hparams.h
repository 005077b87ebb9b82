/* hparams.h: the numbers that make a model the one it is, part by part. Written by convert/, read by src/: both walk
 * the one list of parts.def, so that neither can forget a number. Nothing in here is guessed at run time. */
#ifndef B2_HPARAMS_H
#define B2_HPARAMS_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Far above any model, far below where products of two overflow. */
enum { B2_SIZES_MAX = 1000000, B2_BLOCKS_MAX = 1024, B2_IMAGE_SIDE_MAX = 16384 };

/* OPT looks position p up in row p + 2 of its table (transformers modeling_opt.py, OPTLearnedPositionalEmbedding). */
enum { B2_OPT_POSITION_OFFSET = 2 };

/* Which parts a model is made of: B2_ARCH_BLIP2_OPT. */
typedef enum b2_arch {
#define B2_ARCH(arch, name, parts) B2_ARCH_##arch,
#include "quant/parts.def"
    B2_N_ARCHS
} b2_arch;

/* B2_PART_image, B2_PART_vision, B2_PART_qformer, B2_PART_opt, B2_PART_tokenizer */
typedef enum b2_part {
#define B2_PART(part) B2_PART_##part,
#include "quant/parts.def"
    B2_N_PARTS
} b2_part;

/* ---- the structs: b2_image_hparams, b2_vision_hparams, ... with a field for each row of the part's .def ---------- */

typedef float b2_f32x3[3];
#define B2_FIELD_U32 uint32_t
#define B2_FIELD_DIVISOR uint32_t
#define B2_FIELD_F32 float
#define B2_FIELD_F32X3 b2_f32x3
#define B2_FIELD_BOOL bool

#define B2_PART(part) typedef struct b2_##part##_hparams {
#define B2_HPARAM(type, part, member, key, min, max) B2_FIELD_##type member;
#define B2_PART_END(part)                                                                                              \
    }                                                                                                                  \
    b2_##part##_hparams;
#include "quant/parts.def"

/* Of a part that the architecture lacks all numbers are 0. */
typedef struct b2_hparams {
    b2_arch arch;
#define B2_PART(part) b2_##part##_hparams part;
#include "quant/parts.def"
} b2_hparams;

/* ---- where parts meet: a second language model or vision tower makes these look at h->arch ----------------------- */

static inline uint32_t b2_image_width(const b2_hparams *h) { return h->vision.width; }      /* of a row of the image */
static inline uint32_t b2_soft_tokens(const b2_hparams *h) { return h->qformer.n_queries; } /* per image */
static inline uint32_t b2_text_width(const b2_hparams *h) { return h->opt.width; }          /* of a soft token */
static inline uint32_t b2_vocab_rows(const b2_hparams *h) { return h->opt.n_vocab; }

static inline bool b2_block_has_cross(const b2_hparams *h, uint32_t block) {
    return block % h->qformer.cross_frequency == 0;
}

/* b2_patch_len, b2_image_patches, b2_vision_tokens, b2_position_rows */
#define B2_SIZE(function, expression)                                                                                  \
    static inline size_t function(const b2_hparams *h) { return expression; }
#include "quant/parts.def"

/* ---- lists to loop over ---------------------------------------------------------------------------------------- */

/* B2_HPARAM_image_size, B2_HPARAM_vision_width, ... */
typedef enum b2_hparam {
#define B2_HPARAM(type, part, member, key, min, max) B2_HPARAM_##part##_##member,
#include "quant/parts.def"
    B2_N_HPARAMS
} b2_hparam;

typedef enum b2_hparam_type { B2_TYPE_U32, B2_TYPE_DIVISOR, B2_TYPE_F32, B2_TYPE_F32X3, B2_TYPE_BOOL } b2_hparam_type;

typedef struct b2_hparam_spec {
    b2_part part;
    b2_hparam_type type;
    const char *key;
    size_t offset;   /* in b2_hparams */
    double min, max; /* U32: allowed; F32, F32X3: exclusive; DIVISOR: what it must divide is max; BOOL: 0, 1 */
} b2_hparam_spec;

/* A number's key, place and bounds; bounds may depend on numbers before it, which must be in *h. */
b2_hparam_spec b2_hparams_spec(const b2_hparams *h, b2_hparam number);

/* The i-th bound that holds where parts meet; false after the last. *spec is the number's, with narrower bounds. */
bool b2_hparams_joint(const b2_hparams *h, size_t i, b2_hparam_spec *spec);

/* How a part computes: the key and the one value that it may have. */
typedef struct b2_method {
    b2_part part;
    const char *key, *value;
} b2_method;

/* The i-th method; NULL after the last. */
const b2_method *b2_methods_get(size_t i);

/* general.architecture of the file, e.g. "blip2". */
const char *b2_arch_name(b2_arch arch);
bool b2_arch_has(b2_arch arch, b2_part part);

#endif
