/* cmd_bench.c: blip2 bench: how long the stages of a caption take, beside what the machine can do in the same minute. A
 * share of a probe says more than seconds do: machines differ, and so does one machine from hour to hour. */
#include "cli/commands.h"

#include "base/cpu.h"
#include "cli/common.h"
#include "cli/openblas.h"
#include "kernels/probe.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_MODEL = 1, OPT_THREADS, OPT_ISA, OPT_BATCH, OPT_NEW_TOKENS, OPT_REPEATS, OPT_FORMAT, OPT_HELP };
enum { MAX_REPEATS = 101, READ_PROBE_BYTES = 256 << 20 };

static const b2_option options[] = {
    {OPT_MODEL, 'm', "model", "FILE", "the converted model (else $BLIP2_MODEL, else the only *.gguf here)"},
    {OPT_THREADS, 't', "threads", "N", "(default: OMP_NUM_THREADS, SLURM_CPUS_PER_TASK, else one per core)"},
    {OPT_ISA, 0, "isa", "NAME", "int8 kernels: see blip2 info (default: the fastest)"},
    {OPT_BATCH, 0, "batch", "N", "pictures at once (default 1)"},
    {OPT_NEW_TOKENS, 'n', "max-new-tokens", "N", "tokens a caption (default 20)"},
    {OPT_REPEATS, 0, "repeats", "N", "medians are of so many runs (default 5)"},
    {OPT_FORMAT, 0, "format", "FORMAT", "text or jsonl"},
    {OPT_HELP, 'h', "help", NULL, "this text"},
    {0, 0, NULL, NULL, NULL},
};

/* What one stage has to do, counted from the file's tensors. */
typedef struct work {
    double ops, bytes; /* of int8 products (each plane counts), of weights read */
} work;

enum { VISION, QFORMER, PREFILL, DECODE, N_STAGES };
static const char *const stage_names[N_STAGES] = {"vision", "q-former", "prefill", "decode step"};

typedef struct probes {
    double dot_gops, fma_gflops, read_gbs;
} probes;

typedef struct bench {
    blip2_model *model;
    blip2_session *session;
    blip2_image *image;
    blip2_model_info info;
    b2_team *team;    /* of the probes: as many threads as the session's */
    uint8_t *memory;  /* of the read probe */
    uint64_t checksum;
    size_t batch, n_repeats, n_new_tokens;
    const char *model_path, *isa;
    int n_threads;
    bool is_jsonl, wants_help;
    double ms[N_STAGES][MAX_REPEATS], whole_ms[MAX_REPEATS];
    double dot[MAX_REPEATS], fma[MAX_REPEATS], read[MAX_REPEATS];
} bench;

/* ---- counting ---------------------------------------------------------------------------------------------------------------- */

/* Rows that the matrix of this name multiplies in a stage, for one picture; a caption's prompt is the one </s>. */
static double rows_of(const blip2_model_info *i, const char *name) {
    const double n_patches = (double)(i->image_size / i->patch_size) * (double)(i->image_size / i->patch_size);
    if (strncmp(name, "v.patch_embd", 12) == 0) return n_patches;
    if (strncmp(name, "v.", 2) == 0) return n_patches + 1;
    if (strstr(name, "cross_kv") != NULL) return n_patches + 1;
    if (strncmp(name, "qf.", 3) == 0 || strncmp(name, "proj", 4) == 0) return (double)i->n_queries;
    return (double)i->n_queries + 1;
}

static void count_work(const bench *b, work stages[N_STAGES]) {
    blip2_tensor_info t = {.struct_bytes = sizeof t};
    memset(stages, 0, N_STAGES * sizeof stages[0]);
    for (uint32_t i = 0; blip2_model_tensor(b->model, i, &t); i++) {
        double n_values = 1;
        for (uint32_t d = 0; d < t.n_dims; d++) n_values *= (double)t.shape[d];
        const bool is_vision = strncmp(t.name, "v.", 2) == 0, is_qformer = strncmp(t.name, "qf.", 3) == 0 || strncmp(t.name, "proj", 4) == 0;
        const bool is_head = strncmp(t.name, "token_embd", 10) == 0, is_text = !is_vision && !is_qformer;
        const double ops = 2 * n_values * t.activation_planes, batch = (double)b->batch;
        work *first = &stages[is_vision ? VISION : is_qformer ? QFORMER : PREFILL];
        first->ops += ops * batch * (is_head ? 1 : rows_of(&b->info, t.name));
        first->bytes += (double)t.size_bytes;
        if (!is_text || strncmp(t.name, "position_embd", 13) == 0) continue;
        stages[DECODE].ops += ops * batch;
        stages[DECODE].bytes += (double)t.size_bytes;
    }
}

/* ---- measuring --------------------------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, compare);
    return n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

/* A picture that nobody has to bring along: what it shows does not change the time. */
static blip2_status make_picture(const bench *b, blip2_image **image, blip2_error *err) {
    const size_t side = b->info.image_size, n = 3 * side * side;
    char *ppm = malloc(n + 32);
    if (ppm == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a picture");
    const int head = snprintf(ppm, 32, "P6 %zu %zu 255\n", side, side);
    for (size_t i = 0; i < n; i++) ppm[(size_t)head + i] = (char)(i * 2654435761u >> 13);
    const blip2_status status = blip2_image_load_memory(b->model, (const uint8_t *)ppm, n + (size_t)head, "picture", NULL, image, err);
    free(ppm);
    return status;
}

static blip2_status run_once(bench *b, blip2_image **images, blip2_request *requests, blip2_result *results, blip2_timings *t,
                             blip2_error *err) {
    B2_TRY(blip2_session_see(b->session, images, b->batch, err));
    B2_TRY(blip2_session_say(b->session, requests, b->batch, results, err));
    blip2_session_timings(b->session, t);
    return BLIP2_OK;
}

static blip2_status measure(bench *b, blip2_error *err) {
    blip2_image **images = calloc(b->batch, sizeof *images);
    blip2_request *requests = calloc(b->batch, sizeof *requests);
    blip2_result *results = calloc(b->batch, sizeof *results);
    blip2_status status = images && requests && results ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for a batch");
    for (size_t i = 0; status == BLIP2_OK && i < b->batch; i++) {
        images[i] = b->image;
        requests[i].image = i;
    }
    blip2_timings t = {.struct_bytes = sizeof t};
    if (status == BLIP2_OK) status = run_once(b, images, requests, results, &t, err); /* pages come in, threads wake */
    for (size_t r = 0; status == BLIP2_OK && r < b->n_repeats; r++) {
        b->dot[r] = b2_probe_dot_gops(b->team, blip2_session_isa(b->session));
        b->fma[r] = b2_probe_fma_gflops(b->team, blip2_session_isa(b->session));
        b->read[r] = b2_probe_read_gbs(b->team, b->memory, READ_PROBE_BYTES, &b->checksum);
        status = run_once(b, images, requests, results, &t, err);
        b->ms[VISION][r] = (double)t.vision_ns * 1e-6;
        b->ms[QFORMER][r] = (double)t.qformer_ns * 1e-6;
        b->ms[PREFILL][r] = (double)t.prefill_ns * 1e-6;
        b->ms[DECODE][r] = t.n_decode_steps > 0 ? (double)t.decode_ns * 1e-6 / (double)t.n_decode_steps : 0;
        b->whole_ms[r] = (double)(t.vision_ns + t.qformer_ns + t.prefill_ns + t.decode_ns) * 1e-6;
    }
    free(images);
    free(requests);
    free(results);
    return status;
}

/* ---- saying ------------------------------------------------------------------------------------------------------------------- */

static void print_stage(const bench *b, const char *name, double ms, const work *w, const probes *p) {
    const double gops = ms > 0 ? w->ops / ms * 1e-6 : 0, gbs = ms > 0 ? w->bytes / ms * 1e-6 : 0;
    const double of_dot = p->dot_gops > 0 ? 100 * gops / p->dot_gops : 0, of_read = p->read_gbs > 0 ? 100 * gbs / p->read_gbs : 0;
    if (b->is_jsonl)
        printf("{\"stage\":\"%s\",\"ms\":%.3f,\"gops\":%.1f,\"percent_of_probe\":%.1f,\"gbs\":%.2f,\"percent_of_read\":%.1f}\n", name, ms, gops,
               of_dot, gbs, of_read);
    else printf("  %-12s %9.2f ms  %8.0f GOP/s %4.0f %%  %7.1f GB/s %4.0f %%\n", name, ms, gops, of_dot, gbs, of_read);
}

static void print_head(const bench *b, const probes *p) {
    const char *core = b2_openblas_core();
    const char *isa = blip2_session_isa(b->session);
    const int n_threads = blip2_session_threads(b->session);
    if (b->is_jsonl)
        printf("{\"model\":\"%s\",\"dtype\":\"%s\",\"isa\":\"%s\",\"isa_f32\":\"%s\",\"openblas\":\"%s\",\"threads\":%d,\"batch\":%zu,\"repeats\":%zu,"
               "\"dot_gops\":%.1f,\"fma_gflops\":%.1f,\"read_gbs\":%.2f}\n", b->info.name, b->info.dtype, isa, blip2_session_isa_f32(b->session),
               core != NULL ? core : "", n_threads, b->batch, b->n_repeats, p->dot_gops, p->fma_gflops, p->read_gbs);
    else
        printf("%s, %s, %.2f GB; kernels %s, %d threads, batch %zu, medians of %zu\n"
               "this machine, measured in between: %.0f GOP/s of int8, %.0f GFLOP/s of f32, %.1f GB/s read\n\n"
               "  stage             time          int8 products        weights read\n",
               b->info.name[0] != '\0' ? b->info.name : "model", b->info.dtype, (double)b->info.file_bytes * 1e-9, isa, n_threads, b->batch,
               b->n_repeats, p->dot_gops, p->fma_gflops, p->read_gbs);
}

/* A probe that moved says that somebody else was at work, or the machine was throttled: then shares mean little. */
static void warn_when_lamed(bench *b) {
    if (b->n_repeats < 3 || b->dot[0] <= 0) return;
    const double low = b->dot[0], high = b->dot[b->n_repeats - 1], read_low = b->read[0], read_high = b->read[b->n_repeats - 1];
    if (low < 0.8 * high || read_low < 0.7 * read_high)
        b2_say("warning: the machine's own speed moved while this ran (int8 %.0f to %.0f GOP/s, reading %.1f to %.1f GB/s): run it again when it is quiet",
               low, high, read_low, read_high);
}

static void report(bench *b) {
    work stages[N_STAGES];
    count_work(b, stages);
    const probes p = {median(b->dot, b->n_repeats), median(b->fma, b->n_repeats), median(b->read, b->n_repeats)};
    double step = 0;
    print_head(b, &p);
    for (int s = 0; s < N_STAGES; s++) {
        const double ms = median(b->ms[s], b->n_repeats);
        print_stage(b, stage_names[s], ms, &stages[s], &p);
        if (s == DECODE) step = ms;
    }
    const double whole = median(b->whole_ms, b->n_repeats), tokens = step > 0 ? 1e3 * (double)b->batch / step : 0;
    const b2_memory_peak memory = b2_memory_of_process();
    const double own_mb = (double)memory.anonymous_bytes * 1e-6 - READ_PROBE_BYTES * 1e-6;
    if (b->is_jsonl)
        printf("{\"caption_ms\":%.3f,\"per_picture_ms\":%.3f,\"tokens_per_second\":%.2f,\"own_memory_mb\":%.1f}\n", whole, whole / (double)b->batch, tokens,
               own_mb);
    else
        printf("  %-12s %9.2f ms, %.2f a picture; %.1f tokens/s; own memory %.0f MB\n", "caption", whole, whole / (double)b->batch, tokens, own_mb);
    warn_when_lamed(b);
}

/* ---- the command ---------------------------------------------------------------------------------------------------------------- */

static bool take_option(b2_args *args, int id, const char *value, bench *b) {
    long n = 0;
    switch (id) {
    case OPT_MODEL: b->model_path = value; return true;
    case OPT_ISA: b->isa = value; return true;
    case OPT_HELP: return b->wants_help = true;
    case OPT_FORMAT:
        b->is_jsonl = strcmp(value, "jsonl") == 0;
        if (b->is_jsonl || strcmp(value, "text") == 0) return true;
        snprintf(args->error, sizeof args->error, "--format: expected text or jsonl, got '%s'", value);
        return false;
    case OPT_THREADS:
        if (!b2_args_number(args, "threads", value, 1, 256, &n)) return false;
        b->n_threads = (int)n;
        return true;
    case OPT_BATCH:
        if (!b2_args_number(args, "batch", value, 1, 256, &n)) return false;
        b->batch = (size_t)n;
        return true;
    case OPT_NEW_TOKENS:
        if (!b2_args_number(args, "max-new-tokens", value, 1, 4096, &n)) return false;
        b->n_new_tokens = (size_t)n;
        return true;
    case OPT_REPEATS:
        if (!b2_args_number(args, "repeats", value, 1, MAX_REPEATS, &n)) return false;
        b->n_repeats = (size_t)n;
        return true;
    default: snprintf(args->error, sizeof args->error, "no argument expected, got '%s'", value); return false;
    }
}

static int prepare(bench *b) {
    const int code = b2_open_model(b->model_path, &b->model);
    if (code != B2_EXIT_OK) return code;
    b->info = (blip2_model_info){.struct_bytes = sizeof b->info};
    blip2_model_describe(b->model, &b->info);
    blip2_session_options o;
    blip2_session_options_default(&o);
    o.n_threads = b2_choose_threads(b->n_threads);
    o.isa = b->isa;
    o.max_images = o.max_requests = b->batch;
    o.max_prompt_tokens = 1;
    o.max_new_tokens = b->n_new_tokens;
    blip2_error err;
    if (blip2_session_create(b->model, &o, &b->session, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_USAGE);
    if (make_picture(b, &b->image, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_MEMORY);
    b->team = b2_team_create(blip2_session_threads(b->session));
    b->memory = malloc(READ_PROBE_BYTES);
    if (b->team == NULL || b->memory == NULL) {
        b2_say("no memory for the probes");
        return B2_EXIT_MEMORY;
    }
    memset(b->memory, 1, READ_PROBE_BYTES);
    return measure(b, &err) == BLIP2_OK ? B2_EXIT_OK : b2_fail_with(&err, B2_EXIT_MEMORY);
}

int b2_cmd_bench(int argc, char **argv) {
    b2_args args = {.options = options, .argc = argc, .argv = argv, .at = 1};
    bench *b = calloc(1, sizeof *b);
    if (b == NULL) return B2_EXIT_MEMORY;
    b->batch = 1;
    b->n_repeats = 5;
    b->n_new_tokens = 20;
    const char *value = NULL;
    bool is_good = true;
    for (int id; is_good && !b->wants_help && (id = b2_args_next(&args, &value)) != B2_ARG_END;)
        is_good = id != B2_ARG_ERROR && take_option(&args, id, value, b);
    int code = B2_EXIT_OK;
    if (!is_good) {
        code = b2_fail_usage("bench", "%s", args.error);
    } else if (b->wants_help) {
        puts("blip2 bench\n\nTimes the stages of a caption beside what the machine can do. Options:\n");
        b2_args_print_options(options);
    } else {
        code = prepare(b);
        if (code == B2_EXIT_OK) report(b);
    }
    blip2_image_free(&b->image);
    blip2_session_free(&b->session);
    blip2_model_close(&b->model);
    b2_team_free(b->team);
    free(b->memory);
    free(b);
    return code;
}
