/* hparams.c: parts.def as tables. */
#include "quant/hparams.h"

b2_hparam_spec b2_hparams_spec(const b2_hparams *h, b2_hparam number) {
    switch (number) {
#define B2_HPARAM(type, part, member, key, min, max)                                                                   \
    case B2_HPARAM_##part##_##member:                                                                                  \
        return (b2_hparam_spec){B2_PART_##part, B2_TYPE_##type, key, offsetof(b2_hparams, part.member),                \
                                (double)(min),  (double)(max)};
#include "quant/parts.def"
    case B2_N_HPARAMS: break;
    }
    return (b2_hparam_spec){.key = ""};
}

bool b2_hparams_joint(const b2_hparams *h, size_t i, b2_hparam_spec *spec) {
    const struct {
        b2_hparam number;
        uint32_t min, max;
    } joints[] = {
#define B2_JOINT(part, member, min, max) {B2_HPARAM_##part##_##member, min, max},
#include "quant/parts.def"
    };
    if (i >= sizeof joints / sizeof *joints) return false;
    *spec = b2_hparams_spec(h, joints[i].number);
    spec->min = joints[i].min;
    spec->max = joints[i].max;
    return true;
}

const b2_method *b2_methods_get(size_t i) {
    static const b2_method methods[] = {
#define B2_METHOD(part, key, value) {B2_PART_##part, key, value},
#include "quant/parts.def"
    };
    return i < sizeof methods / sizeof *methods ? &methods[i] : NULL;
}

#define B2_HAS(part) (1u << B2_PART_##part)
static const struct {
    const char *name;
    unsigned parts;
} archs[B2_N_ARCHS] = {
#define B2_ARCH(arch, name, parts) {name, parts},
#include "quant/parts.def"
};

const char *b2_arch_name(b2_arch arch) { return archs[arch].name; }
bool b2_arch_has(b2_arch arch, b2_part part) { return (archs[arch].parts >> part & 1u) != 0; }
