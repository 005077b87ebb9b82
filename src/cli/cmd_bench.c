/* cmd_bench.c: blip2 bench: how long the stages of a caption take, beside what the machine can do in the same minute. A
 * share of a probe says more than seconds do: machines differ, and so does one machine from hour to hour. */
#include "cli/commands.h"

#include "cli/args.h"
#include "cli/bench_count.h"
#include "cli/bench_results.h"

#include "base/cpu.h"
#include "base/size.h"
#include "console/environment.h"
#include "console/gpu_wish.h"
#include "console/open_model.h"
#include "console/openblas.h"
#include "console/say.h"
#include "console/signals.h"
#include "console/terminal.h"
#include "kernels/probe.h"
#include "record/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT, JSONL, CSV };
enum { MAX_REPEATS = 101, READ_PROBE_BYTES = 256 << 20 };

static const char *const stage_names[B2_N_STAGES] = {"vision", "q-former", "prefill", "decode step"};

typedef struct probes {
    double dot_gops, fma_gflops, read_gbs;
} probes;

typedef struct bench {
    blip2_model *model;
    blip2_session *session;
    blip2_image *image;
    blip2_model_info info;
    b2_team *team;   /* of the probes: as many threads as the session's */
    uint8_t *memory; /* of the read probe */
    uint64_t checksum;
    size_t batch, n_repeats, n_new_tokens;
    const char *model_path, *isa;
    b2_gpu_wish gpu;
    int n_threads;
    int format;
    const char *compare_path;
    b2_bench_results *earlier;
    double ms[B2_N_STAGES][MAX_REPEATS], whole_ms[MAX_REPEATS], device_ms[MAX_REPEATS];
    double dot[MAX_REPEATS], fma[MAX_REPEATS], read[MAX_REPEATS];
} bench;

/* ---- measuring ------------------------------------------------------------------------------------------------- */

/* A picture that nobody has to bring along: what it shows does not change the time. */
static blip2_status make_picture(const bench *b, blip2_image **image, blip2_error *err) {
    const size_t side = b->info.image_size, n = 3 * side * side;
    char *ppm = malloc(n + 32);
    if (ppm == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a picture");
    const int head = snprintf(ppm, 32, "P6 %zu %zu 255\n", side, side);
    for (size_t i = 0; i < n; i++) ppm[(size_t)head + i] = (char)(i * 2654435761u >> 13);
    const blip2_status status =
        blip2_image_load_memory(b->model, (const uint8_t *)ppm, n + (size_t)head, "picture", NULL, image, err);
    free(ppm);
    return status;
}

static blip2_status run_once(bench *b, blip2_image **images, blip2_request *requests, blip2_timings *t,
                             blip2_error *err) {
    B2_TRY(blip2_session_encode(b->session, images, b->batch, err));
    B2_TRY(blip2_session_generate(b->session, requests, b->batch, NULL, err));
    blip2_session_timings(b->session, t);
    return BLIP2_OK;
}

static blip2_status measure(bench *b, blip2_error *err) {
    blip2_image **images = calloc(b->batch, sizeof *images);
    blip2_request *requests = calloc(b->batch, sizeof *requests);
    blip2_status status = images && requests ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for a batch");
    for (size_t i = 0; status == BLIP2_OK && i < b->batch; i++) {
        images[i] = b->image;
        requests[i].image = i;
    }
    blip2_timings t = {.struct_bytes = sizeof t};
    if (status == BLIP2_OK) status = run_once(b, images, requests, &t, err); /* pages come in, threads wake */
    for (size_t r = 0; status == BLIP2_OK && r < b->n_repeats; r++) {
        if (b2_signals_pending(NULL)) status = b2_fail(err, BLIP2_CANCELLED, "interrupted");
        if (status != BLIP2_OK) break;
        b->dot[r] = b2_probe_dot_gops(b->team, blip2_session_isa(b->session));
        b->fma[r] = b2_probe_fma_gflops(b->team, blip2_session_isa(b->session));
        b->read[r] = b2_probe_read_gbs(b->team, b->memory, READ_PROBE_BYTES, &b->checksum);
        status = run_once(b, images, requests, &t, err);
        b->ms[B2_STAGE_VISION][r] = (double)t.vision_ns * 1e-6;
        b->ms[B2_STAGE_QFORMER][r] = (double)t.qformer_ns * 1e-6;
        b->ms[B2_STAGE_PREFILL][r] = (double)t.prefill_ns * 1e-6;
        b->ms[B2_STAGE_DECODE][r] = t.n_decode_steps > 0 ? (double)t.decode_ns * 1e-6 / (double)t.n_decode_steps : 0;
        b->device_ms[r] = (double)t.device_ns * 1e-6;
        b->whole_ms[r] = (double)(t.vision_ns + t.qformer_ns + t.prefill_ns + t.decode_ns) * 1e-6;
    }
    free(images);
    free(requests);
    return status;
}

/* ---- saying ---------------------------------------------------------------------------------------------------- */

static void print_stage(const bench *b, const char *name, double ms, const b2_bench_work *w, const probes *p) {
    const double gops = ms > 0 ? w->ops / ms * 1e-6 : 0, gbs = ms > 0 ? w->bytes / ms * 1e-6 : 0;
    const double of_dot = p->dot_gops > 0 ? 100 * gops / p->dot_gops : 0,
                 of_read = p->read_gbs > 0 ? 100 * gbs / p->read_gbs : 0;
    if (b->format == JSONL)
        printf(
            "{\"stage\":\"%s\",\"ms\":%.3f,\"gops\":%.1f,\"percent_of_probe\":%.1f,\"gbs\":%.2f,\"percent_of_read\":%.1f}\n",
            name, ms, gops, of_dot, gbs, of_read);
    else printf("  %-12s %9.2f ms  %8.0f GOP/s %4.0f %%  %7.1f GB/s %4.0f %%\n", name, ms, gops, of_dot, gbs, of_read);
}

static void print_head(const bench *b, const probes *p) {
    const char *core = b2_openblas_core();
    const char *isa = blip2_session_isa(b->session);
    const int n_threads = (int)blip2_session_threads(b->session);
    if (b->format == JSONL) {
        fputs("{\"model\":", stdout);
        b2_json_write_string(b->info.name, stdout);
        printf(
            ",\"dtype\":\"%s\",\"isa\":\"%s\",\"isa_f32\":\"%s\",\"openblas\":\"%s\",\"threads\":%d,\"batch\":%zu,\"repeats\":%zu,"
            "\"dot_gops\":%.1f,\"fma_gflops\":%.1f,\"read_gbs\":%.2f}\n",
            b->info.dtype, isa, blip2_session_isa_f32(b->session), core != NULL ? core : "", n_threads, b->batch,
            b->n_repeats, p->dot_gops, p->fma_gflops, p->read_gbs);
    } else {
        b2_print_text(b->info.name[0] != '\0' ? b->info.name : "model", stdout);
        printf(", %s, %.2f GB; kernels %s, %d thread%s, batch %zu, medians of %zu\n"
               "this machine, measured in between: %.0f GOP/s of int8, %.0f GFLOP/s of f32, %.1f GB/s read\n\n"
               "  stage             time          int8 products        weights read\n",
               b->info.dtype, (double)b->info.file_bytes * 1e-9, isa, n_threads, n_threads == 1 ? "" : "s", b->batch,
               b->n_repeats, p->dot_gops, p->fma_gflops, p->read_gbs);
    }
}

/* What the device has of it: nothing is said where none was wanted. */
static void print_device(bench *b) {
    blip2_device d = {.struct_bytes = sizeof d};
    char line[B2_GPU_LINE_BYTES];
    blip2_session_device(b->session, &d);
    if (d.n_layers == 0 && d.reason[0] == '\0') return;
    b2_gpu_write_line(&d, &b->info, line);
    const double ms = b2_median(b->device_ms, b->n_repeats);
    if (b->format == JSONL) printf("{\"gpu\":\"%s\",\"gpu_layers\":%zu,\"gpu_ms\":%.3f}\n", d.name, d.n_layers, ms);
    else printf("  %-12s %9.2f ms waited for: %s\n", "GPU", ms, line);
}

/* A probe that moved says that somebody else was at work, or the machine was throttled: then shares mean little. */
static void warn_if_throttled(bench *b) {
    if (b->n_repeats < 3 || b->dot[0] <= 0) return;
    const double low = b->dot[0], high = b->dot[b->n_repeats - 1], read_low = b->read[0],
                 read_high = b->read[b->n_repeats - 1];
    if (low < 0.8 * high || read_low < 0.7 * read_high)
        b2_say(
            "warning: the machine's own speed moved while this ran (int8 %.0f to %.0f GOP/s, reading %.1f to %.1f GB/s): run it again when it is quiet",
            low, high, read_low, read_high);
}

/* What each set of this CPU could do at best. AMX's loop runs only where the session has the permission for it. */
static void print_peaks(const bench *b) {
    const char *names[16];
    const size_t n = b2_min(blip2_isa_list(names, 16), 16);
    const char *before = "  int8 at best:";
    for (size_t i = 0; i < n; i++) {
        const bool is_amx = strcmp(names[i], "amx") == 0, may = strcmp(blip2_session_isa(b->session), "amx") == 0;
        if (strcmp(names[i], "blas") == 0 || (is_amx && !may)) continue;
        const double gops = b2_probe_dot_gops(b->team, names[i]);
        if (gops <= 0) continue;
        if (b->format == JSONL) printf("{\"probe\":\"%s\",\"dot_gops\":%.1f}\n", names[i], gops);
        else printf("%s %s %.0f", before, names[i], gops);
        before = ",";
    }
    if (b->format == TEXT && before[0] == ',') puts(" GOP/s");
}

static void print_stages(bench *b, const b2_bench_work *stages, const probes *p, const b2_bench_figures *f) {
    const double ms[B2_N_STAGES] = {f->vision_s * 1e3, f->qformer_s * 1e3, f->prefill_s * 1e3, f->ms_token};
    const double whole = f->caption_s * 1e3, tokens = f->ms_token > 0 ? 1e3 * (double)b->batch / f->ms_token : 0;
    const b2_memory_peak memory = b2_memory_of_process();
    const double own_mb = (double)memory.anonymous_bytes * 1e-6 - READ_PROBE_BYTES * 1e-6;
    print_head(b, p);
    for (int s = 0; s < B2_N_STAGES; s++) print_stage(b, stage_names[s], ms[s], &stages[s], p);
    if (b->format == JSONL)
        printf("{\"caption_ms\":%.3f,\"per_picture_ms\":%.3f,\"tokens_per_second\":%.2f,\"own_memory_mb\":%.1f}\n",
               whole, whole / (double)b->batch, tokens, own_mb);
    else
        printf("  %-12s %9.2f ms, %.2f a picture; %.1f tokens/s; own memory %.0f MB\n", "caption", whole,
               whole / (double)b->batch, tokens, own_mb);
    print_peaks(b);
    print_device(b);
}

static void report(bench *b) {
    b2_bench_work stages[B2_N_STAGES];
    b2_bench_count(b->model, b->batch, stages);
    const size_t n = b->n_repeats;
    const probes p = {b2_median(b->dot, n), b2_median(b->fma, n), b2_median(b->read, n)};
    const b2_bench_figures f = {.vision_s = b2_median(b->ms[B2_STAGE_VISION], n) * 1e-3,
                                .qformer_s = b2_median(b->ms[B2_STAGE_QFORMER], n) * 1e-3,
                                .prefill_s = b2_median(b->ms[B2_STAGE_PREFILL], n) * 1e-3,
                                .ms_token = b2_median(b->ms[B2_STAGE_DECODE], n),
                                .caption_s = b2_median(b->whole_ms, n) * 1e-3,
                                .dot_gops = p.dot_gops,
                                .read_gbs = p.read_gbs};
    char engine[64];
    snprintf(engine, sizeof engine, "blip2 " BLIP2_VERSION ", %s", blip2_session_isa(b->session));
    if (b->format == CSV) b2_bench_print_csv(engine, blip2_session_threads(b->session), &f);
    else print_stages(b, stages, &p, &f);
    if (b->earlier != NULL) b2_bench_results_print(b->earlier, &f, stages, b->format == JSONL);
    warn_if_throttled(b);
}

/* ---- the command ----------------------------------------------------------------------------------------------- */

static const char *const formats[] = {"text", "jsonl", "csv", NULL};

#define AT(member) .offset = offsetof(bench, member)
static const b2_option options[] = {
    {'m', "model", "FILE", "the converted model (else $BLIP2_MODEL, else the only *.gguf here)", B2_ARG_TEXT,
     AT(model_path)},
    B2_OPTION_THREADS(AT(n_threads)),
    {0, "isa", "NAME", "int8 kernels: see blip2 info (default: the fastest)", B2_ARG_TEXT, AT(isa)},
    B2_OPTIONS_GPU(gpu),
    {0, "batch", "N", "pictures at once (default 1)", B2_ARG_SIZE, AT(batch), .low = 1, .high = BLIP2_MAX_BATCH},
    {'n', "max-new-tokens", "N", "tokens a caption (default 20)", B2_ARG_SIZE, AT(n_new_tokens), .low = 1,
     .high = 4096},
    {0, "repeats", "N", "medians are of so many runs (default 5)", B2_ARG_SIZE, AT(n_repeats), .low = 1,
     .high = MAX_REPEATS},
    {0, "format", "FORMAT", "text, jsonl, or csv: a line for a file of --compare", B2_ARG_CHOICE, AT(format),
     .choices = formats},
    {0, "compare", "FILE.csv", "beside earlier results: other machines, other days", B2_ARG_TEXT, AT(compare_path)},
    B2_OPTION_HELP,
    {.name = NULL},
};

static const b2_syntax syntax = {.help = "blip2 bench\n\nTimes the stages of a caption beside what the machine can do.",
                                 .options = options,
                                 .if_more = "bench takes options only"};

/* Earlier results are read before anything is measured. */
static int read_earlier(bench *b) {
    blip2_error err;
    if ((b->format == CSV || b->compare_path != NULL) && (b->batch != 1 || b->n_new_tokens != 20)) {
        b2_say("--compare and --format csv are about one caption of 20 tokens: leave out --batch and -n");
        return B2_EXIT_USAGE;
    }
    if (b->format == CSV && b->compare_path != NULL) {
        b2_say("--compare prints text or jsonl, not csv");
        return B2_EXIT_USAGE;
    }
    if (b->compare_path == NULL || b2_bench_results_load(b->compare_path, &b->earlier, &err) == BLIP2_OK)
        return B2_EXIT_OK;
    return b2_fail_with(&err, err.status == BLIP2_MEMORY ? B2_EXIT_MEMORY : B2_EXIT_FILES);
}

static int prepare(bench *b) {
    const int code = b2_open_model(b->model_path, &b->model);
    if (code != B2_EXIT_OK) return code;
    b->info = (blip2_model_info){.struct_bytes = sizeof b->info};
    blip2_model_describe(b->model, &b->info);
    blip2_session_options o;
    blip2_session_options_default(&o);
    o.n_threads = (size_t)b2_environment_threads(b->n_threads);
    o.isa = b->isa;
    o.max_images = o.max_requests = b->batch;
    o.max_prompt_tokens = 1;
    o.max_new_tokens = b->n_new_tokens;
    o.is_cancelled = b2_signals_pending;
    blip2_error err;
    if (!b2_gpu_wish_apply(&b->gpu, &o, &err)) return b2_fail_with(&err, B2_EXIT_USAGE);
    if (blip2_session_create(b->model, &o, &b->session, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_USAGE);
    if (make_picture(b, &b->image, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_MEMORY);
    b->team = b2_team_create((int)blip2_session_threads(b->session));
    b->memory = malloc(READ_PROBE_BYTES);
    if (b->team == NULL || b->memory == NULL) {
        b2_say("no memory for the probes");
        return B2_EXIT_MEMORY;
    }
    memset(b->memory, 1, READ_PROBE_BYTES);
    const blip2_status status = measure(b, &err);
    if (status == BLIP2_OK) return B2_EXIT_OK;
    return b2_fail_with(&err, status == BLIP2_CANCELLED ? b2_signals_exit_code() : B2_EXIT_MEMORY);
}

int b2_cmd_bench(int argc, char **argv) {
    bench *b = calloc(1, sizeof *b);
    b2_args args;
    int code;
    if (b == NULL) {
        b2_say("no memory for the measurements");
        return B2_EXIT_MEMORY;
    }
    b->batch = 1;
    b->n_repeats = 5;
    b->n_new_tokens = 20;
    if (b2_args_begin(&syntax, argc, argv, b, &args, &code)) {
        code = read_earlier(b);
        if (code == B2_EXIT_OK) code = prepare(b);
        if (code == B2_EXIT_OK) {
            report(b);
            code = b2_flush_stdout();
        }
    }
    blip2_image_free(&b->image);
    blip2_session_free(&b->session);
    b2_close_model(&b->model);
    b2_team_free(b->team);
    b2_bench_results_free(b->earlier);
    free(b->memory);
    free(b);
    return code;
}
