/* cmd_info.c: blip2 info and blip2 verify: what a model file is, what it needs, whether it is still whole. */
#include "cli/commands.h"

#include "cli/args.h"

#include "base/cpu.h"
#include "console/environment.h"
#include "console/gpu_wish.h"
#include "console/open_model.h"
#include "console/openblas.h"
#include "console/progress.h"
#include "console/say.h"
#include "console/signals.h"
#include "console/terminal.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct switches {
    bool is_verbose, is_quiet;
    b2_gpu_wish gpu;
} switches;

#define AT(member) .offset = offsetof(switches, member)

static const b2_option info_options[] = {{'v', "verbose", NULL, "every tensor too", B2_ARG_SET, AT(is_verbose)},
                                         B2_OPTIONS_GPU(gpu),
                                         B2_OPTION_HELP,
                                         {.name = NULL}};
static const b2_option verify_options[] = {
    {0, "quiet", NULL, "no progress, nothing when all is well", B2_ARG_SET, AT(is_quiet)},
    B2_OPTION_HELP,
    {.name = NULL}};

static const b2_syntax info_syntax = {"blip2 info [FILE]\n\nSays what a converted model is and what it needs.",
                                      info_options, 1, "one file at a time"};
static const b2_syntax verify_syntax = {
    "blip2 verify [FILE]\n\nReads a converted model from end to end and compares every checksum.", verify_options, 1,
    "one file at a time"};

/* The model that the command line names, opened, and its name (NULL: found). False: *code is the exit code. */
static bool begin(const b2_syntax *syntax, int argc, char **argv, switches *s, blip2_model **model, const char **path,
                  int *code) {
    b2_args args;
    *s = (switches){0};
    if (!b2_args_begin(syntax, argc, argv, s, &args, code)) return false;
    *path = args.n_positionals > 0 ? args.positionals[0] : NULL;
    *code = b2_open_model(*path, model);
    return *code == B2_EXIT_OK;
}

/* ---- info ------------------------------------------------------------------------------------------------------ */

/* The file's own words. */
static void print_names(const blip2_model_info *i) {
    b2_print_text(i->name[0] != '\0' ? i->name : "a BLIP-2 model without a name", stdout);
    if (i->source[0] != '\0') fputs("\n  source      ", stdout);
    b2_print_text(i->source, stdout);
    if (i->source[0] != '\0' && i->revision[0] != '\0') fputs(" at ", stdout);
    if (i->source[0] != '\0') b2_print_text(i->revision, stdout);
    putchar('\n');
}

static void print_sizes(const blip2_model_info *i) {
    printf("  parameters  %.3f billion, matrices %s, %" PRIu32 " tensors, %.3f GB\n", (double)i->n_parameters * 1e-9,
           i->dtype, i->n_tensors, (double)i->file_bytes * 1e-9);
    printf("  vision      %" PRIu32 " blocks, width %" PRIu32 ", %" PRIu32 " heads, ff %" PRIu32 ", %" PRIu32
           " px in patches of %" PRIu32 ", eps %g\n",
           i->vision_blocks, i->vision_width, i->vision_heads, i->vision_ff, i->image_size, i->patch_size,
           (double)i->vision_eps);
    printf("  q-former    %" PRIu32 " blocks, width %" PRIu32 ", %" PRIu32 " heads, ff %" PRIu32 ", %" PRIu32
           " queries, cross-attention every %" PRIu32 ", eps %g\n",
           i->qformer_blocks, i->qformer_width, i->qformer_heads, i->qformer_ff, i->n_queries, i->cross_frequency,
           (double)i->qformer_eps);
    printf("  text        %" PRIu32 " blocks, width %" PRIu32 ", %" PRIu32 " heads, ff %" PRIu32 ", %" PRIu32
           " tokens, %" PRIu32 " positions, eps %g, stop id %" PRId32 "\n",
           i->text_blocks, i->text_width, i->text_heads, i->text_ff, i->n_vocab, i->max_positions, (double)i->text_eps,
           i->stop_id);
}

/* A session of a usual kind. */
static blip2_session_options usual_session(const blip2_model_info *info, size_t batch) {
    blip2_session_options options;
    blip2_session_options_default(&options);
    options.n_threads = (size_t)b2_environment_threads(0);
    options.max_images = options.max_requests = batch;
    options.max_prompt_tokens = info->max_positions - info->n_queries < 84 ? 8 : 64;
    return options;
}

static blip2_status print_memory(const blip2_model *model, const blip2_model_info *info, blip2_error *err) {
    static const size_t batches[] = {1, 8};
    for (size_t i = 0; i < 2; i++) {
        const blip2_session_options options = usual_session(info, batches[i]);
        blip2_memory memory = {.struct_bytes = sizeof memory};
        const blip2_status status = blip2_session_measure(model, &options, &memory, err);
        if (status == BLIP2_MEMORY) return status;
        if (status != BLIP2_OK) continue;
        printf("  batch of %zu  needs %.0f MB of its own beside the file, which all processes share\n", batches[i],
               (double)memory.total * 1e-6);
    }
    return BLIP2_OK;
}

static void print_kernels(void) {
    const char *names[16];
    const size_t n = blip2_isa_list(names, 16);
    printf("  kernels     ");
    for (size_t i = 0; i < n && i < 16; i++) printf("%s%s", i > 0 ? ", " : "", names[i]);
    const char *core = b2_openblas_core();
    printf(" (the first is used)%s%s\n", core != NULL ? "; OpenBLAS core " : "", core != NULL ? core : "");
}

/* Where the layers would run, computed from sizes: nothing is put there. Not a word, and no look at a driver, unless
 * layers are wanted there. */
static bool print_device(const blip2_model *model, const blip2_model_info *info, const b2_gpu_wish *wish,
                         blip2_error *err) {
    blip2_session_options options = usual_session(info, 1);
    blip2_device device = {.struct_bytes = sizeof device};
    char line[B2_GPU_LINE_BYTES];
    if (!b2_gpu_wish_apply(wish, &options, err)) return false;
    if (options.gpu_layers == 0) return true;
    if (blip2_session_measure_device(model, &options, &device, err) != BLIP2_OK) return false;
    b2_gpu_write_line(&device, info, line);
    printf("  GPU         %s\n", line);
    return true;
}

static void print_tensors(const blip2_model *model) {
    blip2_tensor_info t = {.struct_bytes = sizeof t};
    printf("\n  %-34s %-5s %-24s %12s  planes\n", "tensor", "type", "shape", "bytes");
    for (uint32_t i = 0; blip2_model_tensor(model, i, &t); i++) {
        char shape[64] = "";
        int len = 0;
        for (uint32_t d = 0; d < t.n_dims && len >= 0 && len < 40; d++)
            len += snprintf(shape + len, sizeof shape - (size_t)len, "%s%" PRIu64, d > 0 ? " x " : "", t.shape[d]);
        printf("  %-34s %-5s %-24s %12" PRIu64, t.name, t.dtype, shape, t.size_bytes);
        if (t.activation_planes > 0) printf("  %" PRIu32, t.activation_planes);
        putchar('\n');
    }
}

int b2_cmd_info(int argc, char **argv) {
    switches given;
    blip2_model *model;
    const char *path;
    int code;
    if (!begin(&info_syntax, argc, argv, &given, &model, &path, &code)) return code;
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_model_describe(model, &info);
    print_names(&info);
    print_sizes(&info);
    blip2_error err;
    bool is_clear = print_memory(model, &info, &err) == BLIP2_OK;
    print_kernels();
    is_clear = is_clear && print_device(model, &info, &given.gpu, &err);
    if (given.is_verbose) print_tensors(model);
    b2_close_model(&model);
    if (!is_clear) return b2_fail_with(&err, B2_EXIT_USAGE);
    return b2_flush_stdout();
}

/* ---- verify ---------------------------------------------------------------------------------------------------- */

/* Reading is all that goes on: an end that was requested is one at once. */
static void on_progress(void *context, uint64_t done, uint64_t total) {
    b2_progress *progress = context;
    if (b2_signals_pending(NULL)) {
        b2_progress_clear(progress);
        b2_say("interrupted after %.1f of %.1f GB", (double)done * 1e-9, (double)total * 1e-9);
        b2_leave_at_once(b2_signals_exit_code());
    }
    progress->total = total;
    b2_progress_update(progress, done, 0);
}

int b2_cmd_verify(int argc, char **argv) {
    switches given;
    blip2_model *model;
    const char *path;
    int code;
    if (!begin(&verify_syntax, argc, argv, &given, &model, &path, &code)) return code;
    b2_progress progress;
    blip2_error err;
    b2_progress_start(&progress, NULL, 1, given.is_quiet);
    const blip2_status status = blip2_model_verify(model, on_progress, &progress, &err);
    if (status != BLIP2_OK && path != NULL) b2_error_prefix(&err, "%s", path);
    b2_progress_clear(&progress);
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_model_describe(model, &info);
    if (status == BLIP2_OK && !given.is_quiet)
        printf("%" PRIu32 " tensors, %.3f GB: every checksum holds\n", info.n_tensors, (double)info.file_bytes * 1e-9);
    b2_close_model(&model);
    return status == BLIP2_OK ? b2_flush_stdout() : b2_fail_with(&err, B2_EXIT_MODEL);
}
