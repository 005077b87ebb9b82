/* bench_count.c: see bench_count.h. */
#include "cli/bench_count.h"

#include <stdbool.h>
#include <string.h>

/* Rows that the matrix of this name multiplies in a stage, for one picture; a caption's prompt is the one </s>. */
static double rows_of(const blip2_model_info *i, const char *name) {
    const double n_patches = (double)(i->image_size / i->patch_size) * (double)(i->image_size / i->patch_size);
    if (strncmp(name, "v.patch_embd", 12) == 0) return n_patches;
    if (strncmp(name, "v.", 2) == 0) return n_patches + 1;
    if (strstr(name, "cross_kv") != NULL) return n_patches + 1;
    if (strncmp(name, "qf.", 3) == 0 || strncmp(name, "proj", 4) == 0) return (double)i->n_queries;
    return (double)i->n_queries + 1;
}

static bool is_named(const blip2_tensor_info *t, const char *name) {
    const size_t len = strlen(name);
    return strncmp(t->name, name, len) == 0 && t->name[len] == '.';
}

/* The matrix that gives the logits: a file that has "output" reads of token_embd only the rows of its ids. */
static const char *find_head(const blip2_model *model) {
    blip2_tensor_info t = {.struct_bytes = sizeof t};
    for (uint32_t i = 0; blip2_model_tensor(model, i, &t); i++)
        if (is_named(&t, "output")) return "output";
    return "token_embd";
}

void b2_bench_count(const blip2_model *model, size_t batch, b2_bench_work stages[B2_N_STAGES]) {
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_tensor_info t = {.struct_bytes = sizeof t};
    const char *head = find_head(model);
    blip2_model_describe(model, &info);
    memset(stages, 0, B2_N_STAGES * sizeof stages[0]);
    for (uint32_t i = 0; blip2_model_tensor(model, i, &t); i++) {
        double n_values = 1;
        for (uint32_t d = 0; d < t.n_dims; d++) n_values *= (double)t.shape[d];
        const bool is_vision = strncmp(t.name, "v.", 2) == 0,
                   is_qformer = strncmp(t.name, "qf.", 3) == 0 || strncmp(t.name, "proj", 4) == 0;
        const bool is_head = is_named(&t, head), is_text = !is_vision && !is_qformer;
        if (!is_head && (is_named(&t, "token_embd") || is_named(&t, "position_embd"))) continue;
        const double ops = 2 * n_values * t.activation_planes, n = (double)batch;
        b2_bench_work *first = &stages[is_vision ? B2_STAGE_VISION : is_qformer ? B2_STAGE_QFORMER : B2_STAGE_PREFILL];
        first->ops += ops * n * (is_head ? 1 : rows_of(&info, t.name));
        first->bytes += (double)t.size_bytes;
        if (!is_text) continue;
        stages[B2_STAGE_DECODE].ops += ops * n;
        stages[B2_STAGE_DECODE].bytes += (double)t.size_bytes;
    }
}
