/* gpu_wish.c: see gpu_wish.h. */
#include "console/gpu_wish.h"

#include "console/environment.h"
#include "console/say.h"

#include "base/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LAYERS = 100000 };

static bool parse_layers(const char *text, int *layers) {
    char *end;
    if (strcmp(text, "auto") == 0) {
        *layers = BLIP2_GPU_AUTO;
        return true;
    }
    if (text[0] < '0' || text[0] > '9') return false;
    const long n = strtol(text, &end, 10);
    *layers = (int)(n < MOST_LAYERS ? n : MOST_LAYERS);
    return *end == '\0';
}

bool b2_gpu_wish_apply(const b2_gpu_wish *wish, blip2_session_options *options, blip2_error *err) {
    const char *from_environment = b2_environment_text("BLIP2_GPU_LAYERS");
    const char *text = wish->layers != NULL ? wish->layers : from_environment;
    options->gpu_device = wish->device;
    if (wish->timeout_s > 0) options->gpu_timeout_s = wish->timeout_s;
    if (text == NULL || parse_layers(text, &options->gpu_layers)) return true;
    b2_fail(err, BLIP2_ARGUMENT, "%s: expected a number of layers or auto, got '%s'",
            wish->layers != NULL ? "--gpu-layers" : "BLIP2_GPU_LAYERS", text);
    return false;
}

/* The line of layers that blip2.h describes, cut after the first n. */
static void describe_layers(size_t n, const blip2_model_info *i, char *text, size_t capacity) {
    const size_t vision = n < i->vision_blocks ? n : i->vision_blocks, rest = n - vision;
    snprintf(text, capacity,
             "%zu of %" PRIu32 " ViT blocks, Q-Former on the %s, LM head on the %s, %zu of %" PRIu32 " text blocks",
             vision, i->vision_blocks, rest > 0 ? "GPU" : "CPU", rest > 1 ? "GPU" : "CPU", rest > 2 ? rest - 2 : 0,
             i->text_blocks);
}

void b2_gpu_write_line(const blip2_device *d, const blip2_model_info *info, char line[B2_GPU_LINE_BYTES]) {
    char layers[192];
    if (d->n_layers == 0) {
        snprintf(line, B2_GPU_LINE_BYTES, "not used: %.400s", d->reason);
        return;
    }
    describe_layers(d->n_layers, info, layers, sizeof layers);
    snprintf(line, B2_GPU_LINE_BYTES,
             "%s, compute %d.%d, driver for CUDA %d.%d, %" PRIu64 " of %" PRIu64
             " MiB free; there %s: %.0f MB, and %.0f a "
             "session%s%.100s",
             d->name, d->capability / 10, d->capability % 10, d->driver / 1000, d->driver % 1000 / 10,
             d->free_bytes >> 20, d->total_bytes >> 20, layers, (double)d->weight_bytes * 1e-6,
             (double)d->session_bytes * 1e-6, d->reason[0] != '\0' ? "; " : "", d->reason);
}

void b2_gpu_say_reason(b2_gpu_notice *notice, const blip2_session *session) {
    blip2_device d = {.struct_bytes = sizeof d};
    blip2_session_device(session, &d);
    if (d.reason[0] == '\0' || atomic_exchange(d.n_layers > 0 ? &notice->fewer : &notice->none, true)) return;
    b2_say("GPU: %s; %s on the CPU", d.reason, d.n_layers == 0 ? "everything runs" : "the other layers run");
}
