/* forced_logits.c: the distributions of a model file along given tokens, for tests/parity/accuracy.py.
 *
 *   forced_logits MODEL REQUESTS OUT
 *
 * REQUESTS, little endian: u32 n; then n times: u32 n_prompt, n_forced; i32 prompt[n_prompt], forced[n_forced];
 * f32 pixels[3][S][S]. OUT: for each request f32 logits[n_forced][n_vocab]: row 0 after the prompt, row i after
 * forced[i - 1]. */
#include "base/cpu.h"
#include "blip2_model.h"
#include "kernels/cpu/cpu_home.h"
#include "model/lm.h"
#include "model/qformer.h"
#include "model/vision.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct request {
    uint32_t n_prompt, n_forced;
    int32_t prompt[256], forced[256];
    float *pixels;
} request;

static bool read_request(FILE *in, size_t n_pixels, request *r) {
    return fread(&r->n_prompt, 4, 1, in) == 1 && fread(&r->n_forced, 4, 1, in) == 1 && r->n_prompt <= 256 &&
           r->n_forced <= 256 && fread(r->prompt, 4, r->n_prompt, in) == r->n_prompt &&
           fread(r->forced, 4, r->n_forced, in) == r->n_forced && fread(r->pixels, 4, n_pixels, in) == n_pixels;
}

static bool run_request(const b2_weights *w, b2_workspace *ws, const request *r, FILE *out) {
    const float *pixels = r->pixels;
    b2_vision_run(w, ws, &pixels, 1);
    b2_qformer_run(w, ws, 0, 1);
    b2_sequence s = {.soft_tokens = ws->soft_tokens, .prompt = r->prompt, .n_prompt = r->n_prompt};
    b2_lm_prefill(w, ws, &s, 1);
    for (uint32_t i = 0;; i++) {
        if (fwrite(ws->logits, 4, w->h.opt.n_vocab, out) != w->h.opt.n_vocab) return false;
        if (i + 1 >= r->n_forced) return true;
        b2_lm_step(w, ws, &s, &r->forced[i], 1);
    }
}

int main(int argc, char **argv) {
    blip2_model *model;
    blip2_error err;
    if (argc != 4) return fprintf(stderr, "usage: forced_logits MODEL REQUESTS OUT\n"), 2;
    if (blip2_model_open(argv[1], &model, &err) != BLIP2_OK) return fprintf(stderr, "%s\n", err.message), 3;
    const b2_weights *w = &model->weights;
    const size_t n_pixels = 3 * (size_t)w->h.image.size * w->h.image.size;
    const b2_capacity capacity = {
        .n_images = 1, .n_requests = 1, .n_sequences = 1, .n_prompt_tokens = 256, .n_new_tokens = 256};
    b2_capacity fitting = capacity;
    const size_t room = w->h.opt.max_positions - w->h.qformer.n_queries;
    if (fitting.n_prompt_tokens + fitting.n_new_tokens > room)
        fitting.n_prompt_tokens = fitting.n_new_tokens = room / 2;
    b2_ops *ops;
    b2_workspace ws;
    request r = {.pixels = malloc(n_pixels * sizeof *r.pixels)};
    if (b2_cpu_home_create(NULL, b2_cpu_physical_cores(), &ops, &err) != BLIP2_OK ||
        b2_workspace_create(w, &fitting, B2_HOME_CPU, ops, &ws, &err) != BLIP2_OK)
        return fprintf(stderr, "%s\n", err.message), 5;
    FILE *in = fopen(argv[2], "rb"), *out = fopen(argv[3], "wb");
    uint32_t n = 0;
    bool ok = in != NULL && out != NULL && r.pixels != NULL && fread(&n, 4, 1, in) == 1;
    for (uint32_t i = 0; ok && i < n; i++)
        ok = read_request(in, n_pixels, &r) && r.n_prompt <= fitting.n_prompt_tokens &&
             r.n_forced <= fitting.n_new_tokens && run_request(w, &ws, &r, out);
    ok = ok && fclose(out) == 0;
    if (!ok) fprintf(stderr, "forced_logits: a file cannot be read or written, or a request is too long\n");
    return ok ? 0 : 4;
}
