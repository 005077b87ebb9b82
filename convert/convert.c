#include "convert/convert.h"

#include "convert/adapter.h"
#include "convert/config.h"
#include "convert/encode.h"
#include "convert/gguf_writer.h"
#include "convert/lookalike.h"
#include "convert/names.h"
#include "convert/outliers.h"
#include "base/leftovers.h"
#include "base/path.h"
#include "base/retry.h"
#include "convert/source.h"
#include "convert/stream.h"
#include "convert/tensor_source.h"
#include "convert/tokenizer_files.h"
#include "quant/gguf.h"
#include "quant/panel.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything that a conversion has in hand. */
typedef struct job {
    const b2_convert_options *options;
    b2_source source, adapter; /* adapter.folder is NULL: none */
    b2_adapter_config adapter_config;
    b2_config config;
    b2_tensor_source *tensors;
    b2_stems stems;
    b2_tokenizer_files tokenizer;
    b2_outliers outliers;
    uint8_t *planes; /* per stem */
    b2_encoder *encoder;
    b2_stream *stream;
    b2_gguf_writer *writer;
} job;

b2_convert_options b2_convert_options_default(void) {
    return (b2_convert_options){.type = B2_DTYPE_I8, .n_threads = 1};
}

B2_PRINTF(2, 3) static void notice(const job *j, const char *format, ...) {
    if (j->options->notice == NULL) return;
    char sentence[BLIP2_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    j->options->notice(j->options->context, sentence);
}

static blip2_status check_options(const b2_convert_options *o, blip2_error *err) {
    if (o->source == NULL || o->output == NULL || o->source[0] == '\0' || o->output[0] == '\0')
        return b2_fail(err, BLIP2_ARGUMENT, "convert needs a checkpoint to read and a file to write");
    if (o->type != B2_DTYPE_I8 && o->type != B2_DTYPE_F16 && o->type != B2_DTYPE_F32)
        return b2_fail(err, BLIP2_ARGUMENT, "the type of a model file is i8, f16 or f32, not %s",
                       b2_dtype_name(o->type));
    if (o->vision_planes < 0 || o->vision_planes > 2)
        return b2_fail(err, BLIP2_ARGUMENT, "vision planes are 1 or 2, not %d", o->vision_planes);
    return BLIP2_OK;
}

/* ---- reading what there is ------------------------------------------------------------------------------------- */

static blip2_status check_ids(const job *j, blip2_error *err) {
    const b2_hparams *h = &j->config.h;
    const struct {
        const char *what;
        int64_t id;
    } ids[] = {{"eos_token_id", h->tokenizer.stop_id},
               {"pad_token_id", h->tokenizer.pad_id},
               {"image_token_index", j->config.image_token_id}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i].id >= (int64_t)h->opt.n_vocab)
            return b2_fail(err, BLIP2_SHAPE, "%s: %s is %lld, the token embedding has only %u rows", j->source.folder,
                           ids[i].what, (long long)ids[i].id, (unsigned)h->opt.n_vocab);
    return BLIP2_OK;
}

/* rename() would put the new file where a part of the checkpoint was. (Older model files may lie beside it.) */
static blip2_status check_output(const job *j, const char *folder, blip2_error *err) {
    struct stat st;
    if (folder == NULL || stat(j->options->output, &st) != 0 || !S_ISREG(st.st_mode))
        return BLIP2_OK; /* the writer says no to folders */
    if (!b2_path_holds(folder, &st, ".gguf")) return BLIP2_OK;
    return b2_fail(err, BLIP2_ARGUMENT, "%s: is a part of the checkpoint, expected another name to write to",
                   j->options->output);
}

/* What stands under the output's name must be a model file, or empty: a slip of the pen costs nobody a photograph. */
static blip2_status check_replaced(const job *j, blip2_error *err) {
    char start[4];
    struct stat st;
    const bool is_file = stat(j->options->output, &st) == 0 && S_ISREG(st.st_mode);
    const size_t n = is_file ? b2_file_start(j->options->output, start, sizeof start) : 0; /* the writer says why not */
    if (n == 0 || (n == sizeof start && memcmp(start, "GGUF", sizeof start) == 0)) return BLIP2_OK;
    return b2_fail(err, BLIP2_ARGUMENT,
                   "%s: is there already and is not a model file: expected another name to write to",
                   j->options->output);
}

/* The source may be an adapter that only names its base, which then must be in the cache. */
static blip2_status find_base(job *j, blip2_error *err) {
    const b2_convert_options *o = j->options;
    const b2_adapter_config *c = &j->adapter_config;
    j->adapter = j->source;
    j->source = (b2_source){0};
    B2_TRY(b2_adapter_config_load(j->adapter.folder, &j->adapter_config, err));
    if (c->base == NULL)
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: is an adapter that names no base: blip2 convert BASE --adapter %s",
                       j->adapter.folder, j->adapter.folder);
    char base[512];
    const int len = snprintf(base, sizeof base, "%s%s%s", c->base, c->revision == NULL ? "" : "@",
                             c->revision == NULL ? "" : c->revision);
    if (len < 0 || (size_t)len >= sizeof base)
        return b2_fail(err, BLIP2_LIMIT, "%s: the name of its base is too long", c->path);
    const blip2_status status = b2_source_resolve(base, o->cache_root, &j->source, err);
    if (status != BLIP2_OK)
        b2_error_prefix(err, "%s: is an adapter (blip2 convert BASE --adapter FOLDER); its base", j->adapter.folder);
    return status;
}

/* Whatever the user named -> j->source, a checkpoint, and j->adapter, if there is one. transformers, too, applies an
 * adapter that lies beside a complete model. */
static blip2_status find_sources(job *j, blip2_error *err) {
    const b2_convert_options *o = j->options;
    B2_TRY(b2_source_resolve(o->source, o->cache_root, &j->source, err));
    const bool has_adapter = b2_adapter_is_in(j->source.folder),
               has_model = b2_path_has(j->source.folder, "config.json");
    if (o->adapter != NULL) {
        B2_TRY(b2_source_resolve(o->adapter, o->cache_root, &j->adapter, err));
        return b2_adapter_config_load(j->adapter.folder, &j->adapter_config, err);
    }
    if (!has_adapter || (has_model && o->without_adapter)) return BLIP2_OK;
    if (!has_model) return find_base(j, err);
    j->adapter.folder = strdup(j->source.folder);
    if (j->adapter.folder == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory", j->source.folder);
    return b2_adapter_config_load(j->adapter.folder, &j->adapter_config, err);
}

static blip2_status bind(job *j, blip2_error *err) {
    b2_adapter_count count;
    B2_TRY(b2_names_bind(j->tensors, &j->config.h, j->config.head_is_tied, &j->stems, err));
    if (j->adapter.folder == NULL) return BLIP2_OK;
    B2_TRY(b2_adapter_bind(&j->adapter_config, j->tensors, &j->stems, &count, err));
    notice(j, "%s: adapter merged: %zu matri%s changed, %zu tensor%s replaced", j->adapter.folder, count.n_loras,
           count.n_loras == 1 ? "x" : "ces", count.n_tensors, count.n_tensors == 1 ? "" : "s");
    return BLIP2_OK;
}

/* Before anything else says that config.json cannot be opened. */
static blip2_status check_folder(const job *j, blip2_error *err) {
    if (b2_path_has(j->source.folder, "config.json")) return BLIP2_OK;
    return b2_lookalike_folder(j->source.folder, "config.json", err);
}

/* Small files first: whatever they say no to costs no time. */
static blip2_status read_checkpoint(job *j, blip2_error *err) {
    size_t n_ignored_stops = 0;
    b2_hparams *h = &j->config.h;
    B2_TRY(find_sources(j, err));
    B2_TRY(check_output(j, j->source.folder, err));
    B2_TRY(check_output(j, j->adapter.folder, err));
    B2_TRY(check_replaced(j, err));
    B2_TRY(check_folder(j, err));
    B2_TRY(b2_config_load(j->source.folder, &j->config, &n_ignored_stops, err));
    if (n_ignored_stops > 0)
        notice(j, "%s/generation_config.json names %zu ids that end a caption; only %u is used", j->source.folder,
               n_ignored_stops + 1, (unsigned)h->tokenizer.stop_id);
    B2_TRY(b2_tensor_source_open(j->source.folder, &j->tensors, err));
    if (j->adapter.folder != NULL) B2_TRY(b2_adapter_add(j->adapter.folder, j->tensors, err));
    B2_TRY(b2_names_count_vocab(j->tensors, &h->opt.n_vocab, err));
    B2_TRY(check_ids(j, err));
    B2_TRY(b2_tokenizer_files_load(j->source.folder, h->opt.n_vocab, h->tokenizer.bos_id, &j->tokenizer, err));
    h->tokenizer.bos_id = (uint32_t)j->tokenizer.vocabulary.bos_id;
    h->tokenizer.add_bos = j->tokenizer.vocabulary.add_bos;
    return bind(j, err);
}

/* ---- activation planes ----------------------------------------------------------------------------------------- */

enum { SMALL_MATRIX = 1 << 20 };

/* One for the ViT's matrices, but two for those whose inputs hold outliers: there these few set the scale for all
 * others, and one plane of 8 bits is too coarse. Two for small matrices as well: they take no time to speak of (the
 * smallest of ViT-g has 2 million weights), and the demo's mean KL is thirteen times smaller so
 * (tests/parity/ACCURACY.md). */
static uint8_t planes_of_vision(const job *j, size_t stem) {
    const b2_tensor_spec *spec = &j->stems.items[stem].spec;
    if (j->options->vision_planes != 0) return (uint8_t)j->options->vision_planes;
    const bool is_small = (uint64_t)spec->n_out * spec->n_in < SMALL_MATRIX;
    return j->outliers.of_stem[stem] != NULL || is_small ? 2 : 1;
}

static blip2_status choose_planes(job *j, blip2_error *err) {
    B2_TRY(b2_outliers_find(j->tensors, &j->stems, &j->outliers, err));
    j->planes = calloc(j->stems.n, sizeof *j->planes);
    if (j->planes == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the list of tensors");
    for (size_t i = 0; i < j->stems.n; i++) {
        const b2_tensor_spec *spec = &j->stems.items[i].spec;
        if (b2_encode_dtype(spec, j->options->type) != B2_DTYPE_I8) continue;
        j->planes[i] = spec->planes == B2_PLANES_BY_CONVERTER ? planes_of_vision(j, i) : (uint8_t)spec->planes;
    }
    return BLIP2_OK;
}

/* ---- the file's head ------------------------------------------------------------------------------------------- */

/* Only what the cache vouches for: one checkpoint gives one file, whatever the folder is called. A merged file is the
 * adapter's, not the base's. */
static void put_origin(const job *j) {
    char url[512];
    const bool is_apart = j->adapter.folder != NULL && strcmp(j->adapter.folder, j->source.folder) != 0;
    const b2_source *origin = is_apart ? &j->adapter : &j->source;
    if (origin->repository != NULL) {
        snprintf(url, sizeof url, "https://huggingface.co/%s", origin->repository);
        b2_gguf_writer_put_string(j->writer, B2_KEY_NAME, b2_path_base(origin->repository));
        b2_gguf_writer_put_string(j->writer, B2_KEY_SOURCE, url);
    }
    if (origin->revision != NULL) b2_gguf_writer_put_string(j->writer, B2_KEY_REVISION, origin->revision);
}

static void put_keys(const job *j) {
    b2_gguf_writer *w = j->writer;
    const b2_vocabulary *v = &j->tokenizer.vocabulary;
    put_origin(j);
    b2_hparams_put(w, &j->config.h);
    b2_gguf_writer_put_array_strings(w, B2_KEY_TOKENS, v->tokens, v->n_tokens);
    b2_gguf_writer_put_array_i32(w, B2_KEY_TOKEN_TYPES, v->token_types, v->n_tokens);
    b2_gguf_writer_put_array_strings(w, B2_KEY_MERGES, v->merges, v->n_merges);
}

static void declare(b2_gguf_writer *w, const b2_tensor_spec *spec, const char *suffix, b2_dtype dtype, uint32_t n_dims,
                    const uint64_t *ne, uint8_t planes) {
    char name[B2_TENSOR_NAME_BYTES + 8];
    snprintf(name, sizeof name, "%s.%s", spec->name, suffix);
    b2_gguf_writer_declare_tensor(w, name, dtype, n_dims, ne, planes);
}

/* weight, scale, bias: the order in which b2_piece_next brings them. */
static void declare_stem(b2_gguf_writer *w, const b2_stem *stem, b2_dtype type, uint8_t planes) {
    const b2_tensor_spec *spec = &stem->spec;
    const b2_dtype dtype = b2_encode_dtype(spec, type);
    const uint64_t vector[1] = {spec->n_out}, matrix[2] = {spec->n_in, spec->n_out};
    if (dtype == B2_DTYPE_I8) {
        const b2_panel_shape s = b2_panel_shape_make(spec->n_out, spec->n_in, spec->panel);
        const uint64_t values[4] = {4, s.panel, s.n_in_padded / 4, b2_panel_count(&s)};
        const uint64_t scales[3] = {s.panel, s.n_in_padded / s.group, b2_panel_count(&s)};
        declare(w, spec, "weight", B2_DTYPE_I8, 4, values, planes);
        declare(w, spec, "scale", B2_DTYPE_BF16, 3, scales, 0);
    } else if (spec->kind == B2_KIND_NORM) {
        declare(w, spec, "weight", B2_DTYPE_F32, 1, vector, 0);
    } else {
        declare(w, spec, "weight", dtype, 2, matrix, 0);
    }
    if (stem->bias[0] != NULL) declare(w, spec, "bias", B2_DTYPE_F32, 1, vector, 0);
}

/* Passes on the status of writing, so that the caller knows whose fault it is. */
static blip2_status written(const job *j, blip2_status status) {
    const bool is_output = status == BLIP2_IO || status == BLIP2_NO_SPACE;
    if (is_output && j->options->output_failed != NULL) *j->options->output_failed = true;
    return status;
}

static void say_growing(const job *j, const char *temp_path) {
    if (j->options->growing != NULL) j->options->growing(j->options->context, temp_path);
}

static void say_leftover(void *context, const char *name, uint64_t n_bytes, bool is_removed) {
    const char *what =
        is_removed ? "removed: a conversion that was killed left it"
                   : "is a part of a conversion that was killed, or runs without a lock: remove it if none runs";
    notice(context, "%s (%.1f MB): %s", name, (double)n_bytes * 1e-6, what);
}

static blip2_status begin_file(job *j, blip2_error *err) {
    b2_leftovers_sweep(j->options->output, say_leftover, j);
    B2_TRY(written(j, b2_gguf_writer_create(j->options->output, j->config.h.arch, &j->writer, err)));
    say_growing(j, b2_gguf_writer_temp_path(j->writer));
    put_keys(j);
    for (size_t i = 0; i < j->stems.n; i++) declare_stem(j->writer, &j->stems.items[i], j->options->type, j->planes[i]);
    return written(j, b2_gguf_writer_begin(j->writer, err));
}

/* ---- the tensors ----------------------------------------------------------------------------------------------- */

static uint64_t count_bytes(const b2_stems *stems) {
    b2_piece_cursor cursor = {0};
    b2_piece piece;
    uint64_t n_bytes = 0;
    while (b2_piece_next(stems, &cursor, &piece)) n_bytes += piece.n_bytes;
    return n_bytes;
}

static void report_fidelity(const job *j, const b2_piece *piece) {
    const b2_convert_options *o = j->options;
    const bool is_lossy = !piece->is_bias && b2_encode_dtype(&piece->stem->spec, o->type) != B2_DTYPE_F32;
    if (o->fidelity == NULL || !is_lossy || !b2_piece_is_last(piece)) return;
    const b2_fidelity *f = b2_encoder_fidelity(j->encoder);
    o->fidelity(o->context, piece->stem->spec.name, b2_fidelity_relative_rmse(f), b2_fidelity_relative_max(f));
}

static blip2_status write_piece(job *j, const b2_piece *piece, blip2_error *err) {
    b2_encoded encoded;
    const blip2_status status = b2_encoder_run(j->encoder, piece, &encoded, err);
    if (status != BLIP2_OK) b2_error_prefix(err, "%s", b2_tensor_source_file(j->tensors, encoded.culprit));
    B2_TRY(status);
    B2_TRY(written(j, b2_gguf_writer_write(j->writer, encoded.bytes, encoded.n_bytes, err)));
    if (encoded.scales != NULL)
        B2_TRY(written(j, b2_gguf_writer_write(j->writer, encoded.scales, encoded.scales_bytes, err)));
    report_fidelity(j, piece);
    return BLIP2_OK;
}

static void say_zeros(const job *j) {
    const b2_stored_tensor *first;
    const size_t n = b2_stream_zeros(j->stream, &first);
    if (n == 0) return;
    notice(j, "%s: %zu tensor%s hold%s only zeros, the first is %s: a broken download? Captions will make no sense",
           b2_tensor_source_file(j->tensors, first), n, n == 1 ? "" : "s", n == 1 ? "s" : "", first->name);
}

static blip2_status write_tensors(job *j, blip2_error *err) {
    const b2_convert_options *o = j->options;
    const uint64_t total_bytes = count_bytes(&j->stems);
    uint64_t done_bytes = 0;
    B2_TRY(b2_encoder_create(&j->stems, &j->outliers, o->type, o->n_threads, o->fidelity != NULL, &j->encoder, err));
    B2_TRY(b2_stream_open(j->tensors, &j->stems, &j->stream, err));
    for (;;) {
        const b2_piece *piece;
        if (o->is_cancelled != NULL && o->is_cancelled(o->context))
            return b2_fail(err, BLIP2_CANCELLED, "%s: conversion cancelled", o->output);
        B2_TRY(b2_stream_next(j->stream, &piece, err));
        if (piece == NULL) return say_zeros(j), BLIP2_OK;
        B2_TRY(write_piece(j, piece, err));
        done_bytes += piece->n_bytes;
        if (o->progress != NULL) o->progress(o->context, done_bytes, total_bytes, piece->stem->spec.name);
    }
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static blip2_status run(job *j, blip2_error *err) {
    B2_TRY(check_options(j->options, err));
    B2_TRY(read_checkpoint(j, err));
    B2_TRY(choose_planes(j, err));
    B2_TRY(begin_file(j, err));
    B2_TRY(write_tensors(j, err));
    b2_gguf_writer *writer = j->writer;
    j->writer = NULL; /* finish frees it, whatever happens */
    return written(j, b2_gguf_writer_finish(writer, err));
}

blip2_status b2_convert(const b2_convert_options *options, blip2_error *err) {
    job j = {.options = options};
    const blip2_status status = run(&j, err);
    b2_stream_close(j.stream);
    b2_encoder_free(j.encoder);
    b2_gguf_writer_abandon(j.writer);
    say_growing(&j, NULL);
    free(j.planes);
    b2_outliers_free(&j.outliers);
    b2_stems_free(&j.stems);
    b2_tokenizer_files_free(&j.tokenizer);
    b2_tensor_source_close(j.tensors);
    b2_adapter_config_free(&j.adapter_config);
    b2_source_free(&j.adapter);
    b2_source_free(&j.source);
    return status;
}
