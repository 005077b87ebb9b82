#include "convert/convert.h"

#include "convert/config.h"
#include "convert/encode.h"
#include "convert/gguf_writer.h"
#include "convert/loud.h"
#include "convert/names.h"
#include "convert/paths.h"
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
    b2_source source;
    b2_config config;
    b2_tensor_source *tensors;
    b2_stems stems;
    b2_tokenizer_files tokenizer;
    b2_loud loud;
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
    } ids[] = {{"eos_token_id", h->stop_id}, {"pad_token_id", h->pad_id}, {"image_token_index",
               j->config.image_token_id}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i].id >= (int64_t)h->n_vocab)
            return b2_fail(err, BLIP2_SHAPE, "%s: %s is %lld, the token embedding has only %u rows",
                           j->source.folder, ids[i].what, (long long)ids[i].id, (unsigned)h->n_vocab);
    return BLIP2_OK;
}

/* rename() would put the new file where a part of the checkpoint was. (Older model files may lie beside it.) */
static blip2_status check_output(const job *j, blip2_error *err) {
    struct stat st;
    if (stat(j->options->output, &st) != 0 || !S_ISREG(st.st_mode)) return BLIP2_OK; /* the writer says no to folders */
    if (!b2_path_holds(j->source.folder, &st, ".gguf")) return BLIP2_OK;
    return b2_fail(err, BLIP2_ARGUMENT, "%s: is a part of the checkpoint, expected another name to write to",
                   j->options->output);
}

/* Small files first: whatever they say no to costs no time. */
static blip2_status read_checkpoint(job *j, blip2_error *err) {
    size_t n_ignored_stops = 0;
    b2_hparams *h = &j->config.h;
    B2_TRY(b2_source_resolve(j->options->source, j->options->cache_root, &j->source, err));
    B2_TRY(check_output(j, err));
    B2_TRY(b2_config_load(j->source.folder, &j->config, &n_ignored_stops, err));
    if (n_ignored_stops > 0)
        notice(j, "%s/generation_config.json names %zu ids that end a caption; only %u is used", j->source.folder,
               n_ignored_stops + 1, (unsigned)h->stop_id);
    B2_TRY(b2_tensor_source_open(j->source.folder, &j->tensors, err));
    B2_TRY(b2_names_count_vocab(j->tensors, &h->n_vocab, err));
    B2_TRY(check_ids(j, err));
    B2_TRY(b2_tokenizer_files_load(j->source.folder, h->n_vocab, h->bos_id, &j->tokenizer, err));
    h->bos_id = (uint32_t)j->tokenizer.vocabulary.bos_id;
    h->add_bos = j->tokenizer.vocabulary.add_bos;
    return b2_names_bind(j->tensors, h, j->config.head_is_tied, &j->stems, err);
}

/* ---- activation planes ----------------------------------------------------------------------------------------- */

enum { SMALL_MATRIX = 1 << 20 };

/* One for the ViT's matrices, but two for those whose inputs are loud: there the few loud ones set the scale for all others,
 * and one plane of 8 bits is too coarse. Two for small matrices as well: they take no time to speak of (ViT-g's smallest has
 * 2 million weights), and the demo's mean KL is thirteen times smaller so (tests/parity/ACCURACY.md). */
static uint8_t planes_of_vision(const job *j, size_t stem) {
    const b2_tensor_spec *spec = &j->stems.items[stem].spec;
    if (j->options->vision_planes != 0) return (uint8_t)j->options->vision_planes;
    const bool is_small = (uint64_t)spec->n_out * spec->n_in < SMALL_MATRIX;
    return j->loud.of_stem[stem] != NULL || is_small ? 2 : 1;
}

static blip2_status choose_planes(job *j, blip2_error *err) {
    B2_TRY(b2_loud_find(j->tensors, &j->stems, &j->loud, err));
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

/* Only what the cache vouches for: one checkpoint gives one file, whatever the folder is called. */
static void put_origin(const job *j) {
    char url[512];
    if (j->source.repository != NULL) {
        snprintf(url, sizeof url, "https://huggingface.co/%s", j->source.repository);
        b2_gguf_writer_put_string(j->writer, B2_KEY_NAME, b2_path_base(j->source.repository));
        b2_gguf_writer_put_string(j->writer, B2_KEY_SOURCE, url);
    }
    if (j->source.revision != NULL) b2_gguf_writer_put_string(j->writer, B2_KEY_REVISION, j->source.revision);
}

static void put_keys(const job *j) {
    b2_gguf_writer *w = j->writer;
    const b2_vocabulary *v = &j->tokenizer.vocabulary;
    put_origin(j);
    b2_hparams_put(w, &j->config.h);
    b2_gguf_writer_put_string(w, B2_KEY_RESAMPLE, B2_BICUBIC);
    b2_gguf_writer_put_string(w, B2_KEY_VISION_ACTIVATION, B2_GELU_ERF);
    b2_gguf_writer_put_string(w, B2_KEY_QFORMER_ACTIVATION, B2_GELU_ERF);
    b2_gguf_writer_put_string(w, B2_KEY_TEXT_ACTIVATION, B2_RELU);
    b2_gguf_writer_put_string(w, B2_KEY_TOKENIZER_MODEL, B2_TOKENIZER_MODEL);
    b2_gguf_writer_put_string(w, B2_KEY_TOKENIZER_PRE, B2_TOKENIZER_PRE);
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
    if (status == BLIP2_IO && j->options->output_failed != NULL) *j->options->output_failed = true;
    return status;
}

static void say_growing(const job *j, const char *temp_path) {
    if (j->options->growing != NULL) j->options->growing(j->options->context, temp_path);
}

static blip2_status begin_file(job *j, blip2_error *err) {
    B2_TRY(written(j, b2_gguf_writer_create(j->options->output, &j->writer, err)));
    say_growing(j, b2_gguf_writer_temp_path(j->writer));
    put_keys(j);
    for (size_t i = 0; i < j->stems.n; i++)
        declare_stem(j->writer, &j->stems.items[i], j->options->type, j->planes[i]);
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

static blip2_status write_tensors(job *j, blip2_error *err) {
    const b2_convert_options *o = j->options;
    const uint64_t total_bytes = count_bytes(&j->stems);
    uint64_t done_bytes = 0;
    B2_TRY(b2_encoder_create(&j->stems, &j->loud, o->type, o->n_threads, o->fidelity != NULL, &j->encoder, err));
    B2_TRY(b2_stream_open(j->tensors, &j->stems, &j->stream, err));
    for (;;) {
        const b2_piece *piece;
        if (o->is_cancelled != NULL && o->is_cancelled(o->context))
            return b2_fail(err, BLIP2_CANCELLED, "%s: conversion cancelled", o->output);
        B2_TRY(b2_stream_next(j->stream, &piece, err));
        if (piece == NULL) return BLIP2_OK;
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
    b2_loud_free(&j.loud);
    b2_stems_free(&j.stems);
    b2_tokenizer_files_free(&j.tokenizer);
    b2_tensor_source_close(j.tensors);
    b2_source_free(&j.source);
    return status;
}
