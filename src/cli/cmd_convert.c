/* cmd_convert.c: blip2 convert: a Hugging Face checkpoint -> one file. */
#include "cli/commands.h"

#include "cli/args.h"

#include "base/cpu.h"
#include "base/parallel.h"
#include "console/environment.h"
#include "console/say.h"
#include "console/signals.h"
#include "console/progress.h"
#include "convert/convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { N_WORST = 8 };

typedef struct matrix_loss {
    char name[72];
    double rmse, max;
} matrix_loss;

typedef struct session {
    b2_convert_options convert;
    b2_progress progress;
    bool is_started, is_quiet, is_verbose, output_failed;
    int type;                   /* of type_names */
    matrix_loss worst[N_WORST]; /* by rmse, falling */
    size_t n_matrices;
    double sum_rmse;
} session;

/* ---- callbacks ------------------------------------------------------------------------------------------------- */

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
    fprintf(stderr, "matrices: %zu, relative rmse %.5f on average; the worst:\n", s->n_matrices,
            s->sum_rmse / (double)s->n_matrices);
    for (size_t i = 0; i < N_WORST && s->worst[i].rmse > 0; i++)
        fprintf(stderr, "  %-36s rmse %.5f  largest error %.5f of the largest value\n", s->worst[i].name,
                s->worst[i].rmse, s->worst[i].max);
}

/* ---- the cache of huggingface_hub ------------------------------------------------------------------------------ */

/* As huggingface_hub finds it, "~" and "$NAME" in the values included: $HF_HUB_CACHE, else $HF_HOME/hub, else
 * $XDG_CACHE_HOME or ~/.cache, /huggingface/hub. From malloc; NULL: no home. */
static char *find_cache_root(void) {
    static const struct {
        const char *variable, *below;
    } places[] = {{"HF_HUB_CACHE", ""},
                  {"HUGGINGFACE_HUB_CACHE", ""},
                  {"HF_HOME", "/hub"},
                  {"XDG_CACHE_HOME", "/huggingface/hub"},
                  {"HOME", "/.cache/huggingface/hub"}};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *value = b2_environment_text(places[i].variable);
        if (value == NULL) continue;
        const size_t len = strlen(value) + strlen(places[i].below) + 1;
        char *path = malloc(len), *root = NULL;
        if (path != NULL) snprintf(path, len, "%s%s", value, places[i].below);
        if (path != NULL) root = b2_environment_expand(path);
        free(path);
        return root;
    }
    return NULL;
}

/* ---- options --------------------------------------------------------------------------------------------------- */

static const char *const type_names[] = {"i8", "f16", "f32", NULL};
static const b2_dtype types[] = {B2_DTYPE_I8, B2_DTYPE_F16, B2_DTYPE_F32};

#define AT(member) .offset = offsetof(session, member)
static const b2_option options[] = {
    {'o', "output", "FILE", "the file to write, *.gguf", B2_ARG_TEXT, AT(convert.output)},
    {0, "adapter", "FOLDER", "merge this LoRA (PEFT); none: not even one that lies beside the checkpoint", B2_ARG_TEXT,
     AT(convert.adapter)},
    {0, "type", "TYPE", "of the matrices: i8 (default), f16 or f32", B2_ARG_CHOICE, AT(type), .choices = type_names},
    {0, "vision-planes", "1|2", "int8: 8 or 15 bits for the vision tower's activations (default: as its matrices need)",
     B2_ARG_INT, AT(convert.vision_planes), .low = 1, .high = 2},
    B2_OPTION_THREADS(AT(convert.n_threads)),
    {'v', "verbose", NULL, "say which matrices lost most", B2_ARG_SET, AT(is_verbose)},
    {0, "quiet", NULL, "no progress", B2_ARG_SET, AT(is_quiet)},
    B2_OPTION_HELP,
    {.name = NULL},
};

static const b2_syntax syntax = {
    "blip2 convert CHECKPOINT -o FILE\n\nWrites a downloaded checkpoint as one file for this program. CHECKPOINT: a folder, "
    "or org/name in the\nHugging Face cache (HF_HUB_CACHE, HF_HOME); an adapter that names its base will do. Never goes online.",
    options, 1, "one checkpoint at a time"};

static void say_done(const session *s) {
    struct stat st;
    if (s->is_quiet || stat(s->convert.output, &st) != 0) return;
    const bool is_large = st.st_size >= 100000000;
    b2_say("%s: %.*f %s in %.1f s, peak memory %.2f GB", s->convert.output, 2,
           (double)st.st_size * (is_large ? 1e-9 : 1e-6), is_large ? "GB" : "MB", b2_progress_seconds(&s->progress),
           (double)b2_memory_of_process().resident_bytes * 1e-9);
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
    session s = {.convert = b2_convert_options_default()};
    b2_args args;
    int code;
    s.convert.n_threads = 0;
    if (!b2_args_begin(&syntax, argc, argv, &s, &args, &code)) return code;
    if (args.n_positionals == 0) return b2_fail_usage(argv[0], "no checkpoint: name a folder or org/name");
    if (s.convert.output == NULL) return b2_fail_usage(argv[0], "no output: -o FILE");
    s.convert.source = args.positionals[0];
    s.convert.type = types[s.type];
    s.convert.without_adapter = s.convert.adapter != NULL && strcmp(s.convert.adapter, "none") == 0;
    if (s.convert.without_adapter) s.convert.adapter = NULL;
    char *cache_root = find_cache_root();
    s.convert.cache_root = cache_root;
    s.convert.n_threads = b2_environment_threads(s.convert.n_threads);
    if (s.convert.n_threads == 0) s.convert.n_threads = b2_default_threads();
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
