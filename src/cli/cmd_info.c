/* cmd_info.c: blip2 info and blip2 verify: what a model file is, what it needs, whether it is still whole. */
#include "cli/commands.h"

#include "base/cpu.h"
#include "cli/common.h"
#include "cli/openblas.h"
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>

enum { OPT_VERBOSE = 1, OPT_HELP, OPT_QUIET };

static const b2_option info_options[] = {
    {OPT_VERBOSE, 'v', "verbose", NULL, "every tensor too"}, {OPT_HELP, 'h', "help", NULL, "this text"}, {0, 0, NULL, NULL, NULL}};
static const b2_option verify_options[] = {
    {OPT_QUIET, 0, "quiet", NULL, "no progress, nothing when all is well"}, {OPT_HELP, 'h', "help", NULL, "this text"}, {0, 0, NULL, NULL, NULL}};

typedef struct parsed {
    const char *path; /* NULL: looked for */
    bool is_verbose, is_quiet, wants_help;
} parsed;

static bool parse(b2_args *args, parsed *p) {
    const char *value = NULL;
    for (int id; (id = b2_args_next(args, &value)) != B2_ARG_END;) {
        if (id == B2_ARG_ERROR) return false;
        if (id == OPT_VERBOSE) p->is_verbose = true;
        else if (id == OPT_QUIET) p->is_quiet = true;
        else if (id == OPT_HELP) p->wants_help = true;
        else if (p->path == NULL) p->path = value;
        else snprintf(args->error, sizeof args->error, "one file at a time, got '%s' too", value);
        if (args->error[0] != '\0') return false;
    }
    return true;
}

/* ---- info ------------------------------------------------------------------------------------------------------------------ */

static void print_sizes(const blip2_model_info *i) {
    printf("  parameters  %.3f billion, matrices %s, %" PRIu32 " tensors, %.3f GB\n", (double)i->n_parameters * 1e-9, i->dtype, i->n_tensors,
           (double)i->file_bytes * 1e-9);
    printf("  vision      %" PRIu32 " blocks, width %" PRIu32 ", %" PRIu32 " heads, ff %" PRIu32 ", %" PRIu32 " px in patches of %" PRIu32 ", eps %g\n",
           i->vision_blocks, i->vision_width, i->vision_heads, i->vision_ff, i->image_size, i->patch_size, (double)i->vision_eps);
    printf("  q-former    %" PRIu32 " blocks, width %" PRIu32 ", %" PRIu32 " heads, ff %" PRIu32 ", %" PRIu32 " queries, cross-attention every %" PRIu32 ", eps %g\n",
           i->qformer_blocks, i->qformer_width, i->qformer_heads, i->qformer_ff, i->n_queries, i->cross_frequency, (double)i->qformer_eps);
    printf("  text        %" PRIu32 " blocks, width %" PRIu32 ", %" PRIu32 " heads, ff %" PRIu32 ", %" PRIu32 " tokens, %" PRIu32 " positions, eps %g, stop id %" PRId32 "\n",
           i->text_blocks, i->text_width, i->text_heads, i->text_ff, i->n_vocab, i->max_positions, (double)i->text_eps, i->stop_id);
}

static void print_memory(const blip2_model *model, const blip2_model_info *info) {
    static const size_t batches[] = {1, 8};
    for (size_t i = 0; i < 2; i++) {
        blip2_session_options options;
        blip2_session_options_default(&options);
        options.n_threads = b2_choose_threads(0);
        options.max_images = options.max_requests = batches[i];
        options.max_prompt_tokens = info->max_positions - info->n_queries < 84 ? 8 : 64;
        blip2_memory memory = {.struct_bytes = sizeof memory};
        if (blip2_session_measure(model, &options, &memory, NULL) != BLIP2_OK) continue;
        printf("  batch of %zu  needs %.0f MB of its own beside the file, which all processes share\n", batches[i], (double)memory.total * 1e-6);
    }
}

static void print_kernels(void) {
    const char *names[16];
    const size_t n = blip2_isa_list(names, 16);
    printf("  kernels     ");
    for (size_t i = 0; i < n && i < 16; i++) printf("%s%s", i > 0 ? ", " : "", names[i]);
    const char *core = b2_openblas_core();
    printf(" (the first is used)%s%s\n", core != NULL ? "; OpenBLAS core " : "", core != NULL ? core : "");
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
    b2_args args = {.options = info_options, .argc = argc, .argv = argv, .at = 1};
    parsed p = {0};
    if (!parse(&args, &p)) return b2_fail_usage("info", "%s", args.error);
    if (p.wants_help) {
        puts("blip2 info [FILE]\n\nSays what a converted model is and what it needs. Options:\n");
        b2_args_print_options(info_options);
        return B2_EXIT_OK;
    }
    blip2_model *model;
    const int code = b2_open_model(p.path, &model);
    if (code != B2_EXIT_OK) return code;
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_model_describe(model, &info);
    printf("%s\n", info.name[0] != '\0' ? info.name : "a BLIP-2 model without a name");
    if (info.source[0] != '\0') printf("  source      %s%s%s\n", info.source, info.revision[0] != '\0' ? " at " : "", info.revision);
    if (info.license[0] != '\0') printf("  licence     %s\n", info.license);
    print_sizes(&info);
    print_memory(model, &info);
    print_kernels();
    if (p.is_verbose) print_tensors(model);
    blip2_model_close(&model);
    return fflush(stdout) == 0 ? B2_EXIT_OK : B2_EXIT_FILES;
}

/* ---- verify ----------------------------------------------------------------------------------------------------------------- */

static void on_progress(void *context, uint64_t done, uint64_t total) {
    b2_progress *progress = context;
    progress->total = total;
    b2_progress_update(progress, done, 0);
}

int b2_cmd_verify(int argc, char **argv) {
    b2_args args = {.options = verify_options, .argc = argc, .argv = argv, .at = 1};
    parsed p = {0};
    if (!parse(&args, &p)) return b2_fail_usage("verify", "%s", args.error);
    if (p.wants_help) {
        puts("blip2 verify [FILE]\n\nReads a converted model from end to end and compares every checksum. Options:\n");
        b2_args_print_options(verify_options);
        return B2_EXIT_OK;
    }
    blip2_model *model;
    const int code = b2_open_model(p.path, &model);
    if (code != B2_EXIT_OK) return code;
    b2_progress progress;
    blip2_error err;
    b2_progress_start(&progress, NULL, 1, p.is_quiet);
    const blip2_status status = blip2_model_verify(model, on_progress, &progress, &err);
    if (status != BLIP2_OK && p.path != NULL) b2_error_prefix(&err, "%s", p.path);
    b2_progress_clear(&progress);
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_model_describe(model, &info);
    if (status == BLIP2_OK && !p.is_quiet)
        printf("%" PRIu32 " tensors, %.3f GB: every checksum holds\n", info.n_tensors, (double)info.file_bytes * 1e-9);
    blip2_model_close(&model);
    return status == BLIP2_OK ? B2_EXIT_OK : b2_fail_with(&err, B2_EXIT_MODEL);
}
