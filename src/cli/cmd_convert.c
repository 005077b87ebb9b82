/* cmd_convert.c: blip2 convert: a Hugging Face checkpoint -> one file. */
#include "cli/commands.h"

#include "base/cpu.h"
#include "cli/common.h"
#include "cli/progress.h"
#include "convert/convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { OPT_OUTPUT = 1, OPT_TYPE, OPT_PLANES, OPT_THREADS, OPT_VERBOSE, OPT_QUIET, OPT_HELP };

static const b2_option options[] = {
    {OPT_OUTPUT, 'o', "output", "FILE", "the file to write, *.gguf"},
    {OPT_TYPE, 0, "type", "TYPE", "of the matrices: i8 (default), f16 or f32"},
    {OPT_PLANES, 0, "vision-planes", "1|2", "int8: 8 or 15 bits for the vision tower's activations (default: as its matrices need)"},
    {OPT_THREADS, 't', "threads", "N", "(default: OMP_NUM_THREADS, SLURM_CPUS_PER_TASK, else one per core)"},
    {OPT_VERBOSE, 'v', "verbose", NULL, "say which matrices lost most"},
    {OPT_QUIET, 0, "quiet", NULL, "no progress"},
    {OPT_HELP, 'h', "help", NULL, "this text"},
    {0, 0, NULL, NULL, NULL},
};

enum { N_WORST = 8 };

typedef struct matrix_loss {
    char name[72];
    double rmse, max;
} matrix_loss;

typedef struct session {
    b2_convert_options convert;
    b2_progress progress;
    bool is_started, is_quiet, is_verbose, wants_help, output_failed;
    matrix_loss worst[N_WORST]; /* by rmse, falling */
    size_t n_matrices;
    double sum_rmse;
} session;

/* ---- callbacks ------------------------------------------------------------------------------------------------------------ */

static void on_progress(void *context, uint64_t done, uint64_t total, const char *tensor) {
    session *s = context;
    (void)tensor;
    if (!s->is_started) b2_progress_start(&s->progress, NULL, total, s->is_quiet);
    s->is_started = true;
    b2_progress_update(&s->progress, done, 0);
}

static void on_notice(void *context, const char *sentence) {
    session *s = context;
    if (s->is_quiet) return;
    b2_progress_clear(&s->progress);
    b2_say("%s", sentence);
}

static void on_fidelity(void *context, const char *tensor, double rmse, double max) {
    session *s = context;
    s->n_matrices++;
    s->sum_rmse += rmse;
    size_t at = N_WORST;
    while (at > 0 && rmse > s->worst[at - 1].rmse) at--;
    if (at == N_WORST) return;
    memmove(&s->worst[at + 1], &s->worst[at], (N_WORST - at - 1) * sizeof s->worst[0]);
    s->worst[at].rmse = rmse;
    s->worst[at].max = max;
    snprintf(s->worst[at].name, sizeof s->worst[at].name, "%s", tensor);
}

static bool on_cancel_check(void *context) {
    (void)context;
    return b2_signals_pending(NULL);
}

static void on_growing(void *context, const char *temp_path) {
    (void)context;
    b2_signals_set_cleanup(temp_path);
}

static void say_fidelity(const session *s) {
    if (s->n_matrices == 0) return;
    fprintf(stderr, "matrices: %zu, relative rmse %.5f on average; the worst:\n", s->n_matrices, s->sum_rmse / (double)s->n_matrices);
    for (size_t i = 0; i < N_WORST && s->worst[i].rmse > 0; i++)
        fprintf(stderr, "  %-36s rmse %.5f  largest error %.5f of the largest value\n", s->worst[i].name, s->worst[i].rmse, s->worst[i].max);
}

/* ---- the cache of huggingface_hub ------------------------------------------------------------------------------------------ */

/* $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME or ~/.cache, /huggingface/hub. From malloc; NULL: no home. */
static char *find_cache_root(void) {
    static const struct {
        const char *variable, *below;
    } places[] = {{"HF_HUB_CACHE", ""}, {"HUGGINGFACE_HUB_CACHE", ""}, {"HF_HOME", "/hub"},
                  {"XDG_CACHE_HOME", "/huggingface/hub"}, {"HOME", "/.cache/huggingface/hub"}};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *value = getenv(places[i].variable);
        if (value == NULL || value[0] == '\0') continue;
        const size_t len = strlen(value) + strlen(places[i].below) + 1;
        char *root = malloc(len);
        if (root != NULL) snprintf(root, len, "%s%s", value, places[i].below);
        return root;
    }
    return NULL;
}

/* ---- options ------------------------------------------------------------------------------------------------------------- */

static bool take_type(b2_args *args, const char *value, b2_dtype *type) {
    static const struct {
        const char *name;
        b2_dtype type;
    } types[] = {{"i8", B2_DTYPE_I8}, {"f16", B2_DTYPE_F16}, {"f32", B2_DTYPE_F32}};
    for (size_t i = 0; i < 3; i++) {
        *type = types[i].type;
        if (strcmp(value, types[i].name) == 0) return true;
    }
    snprintf(args->error, sizeof args->error, "--type: expected i8, f16 or f32, got '%s'", value);
    return false;
}

static bool take_option(b2_args *args, int id, const char *value, session *s) {
    long number;
    switch (id) {
    case OPT_OUTPUT: s->convert.output = value; return true;
    case OPT_TYPE: return take_type(args, value, &s->convert.type);
    case OPT_PLANES:
        if (!b2_args_number(args, "vision-planes", value, 1, 2, &number)) return false;
        s->convert.vision_planes = (int)number;
        return true;
    case OPT_THREADS:
        if (!b2_args_number(args, "threads", value, 1, 256, &number)) return false;
        s->convert.n_threads = (int)number;
        return true;
    case OPT_VERBOSE: return s->is_verbose = true;
    case OPT_QUIET: return s->is_quiet = true;
    case OPT_HELP: return s->wants_help = true;
    default:
        if (s->convert.source == NULL) s->convert.source = value;
        else snprintf(args->error, sizeof args->error, "one checkpoint at a time, got '%s' too", value);
        return args->error[0] == '\0';
    }
}

static bool parse(b2_args *args, session *s) {
    const char *value = NULL;
    for (int id; (id = b2_args_next(args, &value)) != B2_ARG_END && !s->wants_help;)
        if (id == B2_ARG_ERROR || !take_option(args, id, value, s)) return false;
    if (s->wants_help) return true;
    if (s->convert.source == NULL) snprintf(args->error, sizeof args->error, "no checkpoint: name a folder or org/name");
    else if (s->convert.output == NULL) snprintf(args->error, sizeof args->error, "no output: -o FILE");
    return args->error[0] == '\0';
}

static void say_done(const session *s) {
    struct stat st;
    if (s->is_quiet || stat(s->convert.output, &st) != 0) return;
    const bool is_large = st.st_size >= 100000000;
    b2_say("%s: %.*f %s in %.1f s, peak memory %.2f GB", s->convert.output, 2, (double)st.st_size * (is_large ? 1e-9 : 1e-6), is_large ? "GB" : "MB",
           b2_progress_seconds(&s->progress), (double)b2_memory_of_process().resident_bytes * 1e-9);
}

static void set_callbacks(session *s) {
    s->convert.context = s;
    s->convert.progress = on_progress;
    s->convert.notice = on_notice;
    s->convert.growing = on_growing;
    s->convert.is_cancelled = on_cancel_check;
    if (s->is_verbose) s->convert.fidelity = on_fidelity;
    s->convert.output_failed = &s->output_failed;
}

int b2_cmd_convert(int argc, char **argv) {
    b2_args args = {.options = options, .argc = argc, .argv = argv, .at = 1};
    session s = {.convert = b2_convert_options_default()};
    s.convert.n_threads = 0;
    if (!parse(&args, &s)) return b2_fail_usage("convert", "%s", args.error);
    if (s.wants_help) {
        puts("blip2 convert CHECKPOINT -o FILE\n\nWrites a downloaded checkpoint as one file for this program. CHECKPOINT: a folder, or org/name in the\n"
             "Hugging Face cache (HF_HUB_CACHE, HF_HOME). Never goes online. Options:\n");
        b2_args_print_options(options);
        return B2_EXIT_OK;
    }
    char *cache_root = find_cache_root();
    s.convert.cache_root = cache_root;
    s.convert.n_threads = b2_choose_threads(s.convert.n_threads);
    if (s.convert.n_threads == 0) s.convert.n_threads = b2_cpu_physical_cores();
    set_callbacks(&s);
    b2_progress_start(&s.progress, NULL, 0, true);
    blip2_error err;
    const blip2_status status = b2_convert(&s.convert, &err);
    b2_progress_clear(&s.progress);
    free(cache_root);
    if (status == BLIP2_CANCELLED) {
        b2_say("interrupted, nothing was written");
        return b2_signals_exit_code();
    }
    if (status != BLIP2_OK) return b2_fail_with(&err, s.output_failed ? B2_EXIT_FILES : B2_EXIT_MODEL);
    if (s.is_verbose) say_fidelity(&s);
    say_done(&s);
    return B2_EXIT_OK;
}
