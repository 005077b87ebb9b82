#include "convert/gguf_writer.h"

#include "base/file.h"
#include "quant/gguf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

typedef struct buffer {
    uint8_t *data;
    size_t len, capacity;
} buffer;

struct b2_gguf_writer {
    char *path;
    b2_replacement out;      /* written through its descriptor, at offsets */
    blip2_error first_error; /* of put and declare; status BLIP2_OK while there is none */

    buffer keys, infos; /* the header's two parts; begin puts them together in `keys` */
    uint64_t n_keys, n_tensors;
    buffer sizes, planes; /* u64 and u8 per tensor */
    uint64_t data_bytes;  /* declared so far, padding included */

    bool begun;
    size_t tensor_hashes_at, header_hash_at; /* where their values lie in the header */
    size_t current;                          /* the tensor being written */
    uint64_t current_bytes;                  /* of it, so far */
    uint64_t at;                             /* where in the file the next byte goes */
    XXH3_state_t *hash;                      /* of the current tensor */
};

/* ---- the header grows in memory ----------------------------------------------------------------------------- */

static void keep_error(b2_gguf_writer *w, blip2_status status, const char *what, const char *name) {
    if (w->first_error.status == BLIP2_OK) b2_fail(&w->first_error, status, "%s: %s '%s'", w->path, what, name);
}

static void append(b2_gguf_writer *w, buffer *b, const void *bytes, size_t n) {
    if (w->first_error.status != BLIP2_OK || n == 0) return;
    if (n > b->capacity - b->len) {
        const size_t capacity = 2 * b->capacity + n + 4096;
        uint8_t *data = capacity > b->capacity && capacity > n ? realloc(b->data, capacity) : NULL;
        if (data == NULL) {
            b2_fail(&w->first_error, BLIP2_MEMORY, "%s: no memory for the header", w->path);
            return;
        }
        b->data = data;
        b->capacity = capacity;
    }
    memcpy(b->data + b->len, bytes, n);
    b->len += n;
}

static void store_u64(uint8_t *out, uint64_t value) {
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)(value >> (8 * i));
}

/* The low n_bytes of value, little endian. */
static void append_int(b2_gguf_writer *w, buffer *b, uint64_t value, size_t n_bytes) {
    uint8_t bytes[8];
    store_u64(bytes, value);
    append(w, b, bytes, n_bytes);
}

static void append_text(b2_gguf_writer *w, buffer *b, const char *data, size_t len) {
    append_int(w, b, len, 8);
    append(w, b, data, len);
}

static void append_f32(b2_gguf_writer *w, buffer *b, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    append_int(w, b, bits, 4);
}

static void append_key(b2_gguf_writer *w, const char *key, b2_gguf_type type) {
    append_text(w, &w->keys, key, strlen(key));
    append_int(w, &w->keys, type, 4);
    w->n_keys++;
}

static void append_array(b2_gguf_writer *w, const char *key, b2_gguf_type item_type, size_t n) {
    append_key(w, key, B2_GGUF_ARRAY);
    append_int(w, &w->keys, item_type, 4);
    append_int(w, &w->keys, n, 8);
}

void b2_gguf_writer_put_u32(b2_gguf_writer *w, const char *key, uint32_t value) {
    append_key(w, key, B2_GGUF_U32);
    append_int(w, &w->keys, value, 4);
}

void b2_gguf_writer_put_u64(b2_gguf_writer *w, const char *key, uint64_t value) {
    append_key(w, key, B2_GGUF_U64);
    append_int(w, &w->keys, value, 8);
}

void b2_gguf_writer_put_f32(b2_gguf_writer *w, const char *key, float value) {
    append_key(w, key, B2_GGUF_F32);
    append_f32(w, &w->keys, value);
}

void b2_gguf_writer_put_bool(b2_gguf_writer *w, const char *key, bool value) {
    append_key(w, key, B2_GGUF_BOOL);
    append_int(w, &w->keys, value ? 1 : 0, 1);
}

void b2_gguf_writer_put_string(b2_gguf_writer *w, const char *key, const char *value) {
    append_key(w, key, B2_GGUF_STRING);
    append_text(w, &w->keys, value, strlen(value));
}

void b2_gguf_writer_put_array_u8(b2_gguf_writer *w, const char *key, const uint8_t *values, size_t n) {
    append_array(w, key, B2_GGUF_U8, n);
    append(w, &w->keys, values, n);
}

void b2_gguf_writer_put_array_i32(b2_gguf_writer *w, const char *key, const int32_t *values, size_t n) {
    append_array(w, key, B2_GGUF_I32, n);
    for (size_t i = 0; i < n; i++) append_int(w, &w->keys, (uint32_t)values[i], 4);
}

void b2_gguf_writer_put_array_u64(b2_gguf_writer *w, const char *key, const uint64_t *values, size_t n) {
    append_array(w, key, B2_GGUF_U64, n);
    for (size_t i = 0; i < n; i++) append_int(w, &w->keys, values[i], 8);
}

void b2_gguf_writer_put_array_f32(b2_gguf_writer *w, const char *key, const float *values, size_t n) {
    append_array(w, key, B2_GGUF_F32, n);
    for (size_t i = 0; i < n; i++) append_f32(w, &w->keys, values[i]);
}

void b2_gguf_writer_put_array_strings(b2_gguf_writer *w, const char *key, const b2_text *values, size_t n) {
    append_array(w, key, B2_GGUF_STRING, n);
    for (size_t i = 0; i < n; i++) append_text(w, &w->keys, values[i].data, values[i].len);
}

static void put_number(b2_gguf_writer *w, const b2_hparam_spec *spec, const void *value) {
    switch (spec->type) {
    case B2_TYPE_U32:
    case B2_TYPE_DIVISOR: b2_gguf_writer_put_u32(w, spec->key, *(const uint32_t *)value); break;
    case B2_TYPE_F32: b2_gguf_writer_put_f32(w, spec->key, *(const float *)value); break;
    case B2_TYPE_F32X3: b2_gguf_writer_put_array_f32(w, spec->key, value, 3); break;
    case B2_TYPE_BOOL: b2_gguf_writer_put_bool(w, spec->key, *(const bool *)value); break;
    }
}

void b2_hparams_put(b2_gguf_writer *w, const b2_hparams *h) {
    for (b2_hparam i = 0; i < B2_N_HPARAMS; i++) {
        const b2_hparam_spec spec = b2_hparams_spec(h, i);
        if (b2_arch_has(h->arch, spec.part)) put_number(w, &spec, (const char *)h + spec.offset);
    }
    const b2_method *method;
    for (size_t i = 0; (method = b2_methods_get(i)) != NULL; i++)
        if (b2_arch_has(h->arch, method->part)) b2_gguf_writer_put_string(w, method->key, method->value);
}

/* ne[0] * ne[1] * ... * bytes per element; 0 when a dimension is 0 or the product does not fit. */
static uint64_t tensor_bytes(b2_dtype dtype, uint32_t n_dims, const uint64_t *ne) {
    uint64_t n_bytes = b2_dtype_bytes(dtype);
    for (uint32_t i = 0; i < n_dims; i++) {
        if (ne[i] == 0 || n_bytes > (uint64_t)INT64_MAX / ne[i]) return 0;
        n_bytes *= ne[i];
    }
    return n_bytes;
}

void b2_gguf_writer_declare_tensor(b2_gguf_writer *w, const char *name, b2_dtype dtype, uint32_t n_dims,
                                   const uint64_t *ne, uint8_t planes) {
    if (strlen(name) > B2_GGUF_NAME_MAX) keep_error(w, BLIP2_LIMIT, "more than 63 bytes in the tensor's name", name);
    const bool dims_fit = n_dims >= 1 && n_dims <= B2_GGUF_DIMS_MAX;
    const uint64_t n_bytes = dims_fit ? tensor_bytes(dtype, n_dims, ne) : 0;
    if (n_bytes == 0 || n_bytes > (uint64_t)INT64_MAX - w->data_bytes - B2_FILE_ALIGN_BYTES) {
        keep_error(w, BLIP2_SHAPE, "impossible shape of tensor", name);
        return;
    }
    append_text(w, &w->infos, name, strlen(name));
    append_int(w, &w->infos, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; i++) append_int(w, &w->infos, ne[i], 8);
    append_int(w, &w->infos, dtype, 4);
    append_int(w, &w->infos, w->data_bytes, 8);
    append(w, &w->sizes, &n_bytes, sizeof n_bytes);
    append(w, &w->planes, &planes, 1);
    w->data_bytes += b2_padded_bytes(n_bytes);
    w->n_tensors++;
}

/* ---- the file -------------------------------------------------------------------------------------------------- */

static void free_writer(b2_gguf_writer *w) {
    b2_replacement_abandon(&w->out);
    if (w->hash != NULL) XXH3_freeState(w->hash);
    free(w->keys.data);
    free(w->infos.data);
    free(w->sizes.data);
    free(w->planes.data);
    free(w->path);
    free(w);
}

blip2_status b2_gguf_writer_create(const char *path, b2_arch arch, b2_gguf_writer **out, blip2_error *err) {
    *out = NULL;
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) /* the final rename would replace a device, too */
        return b2_fail(err, BLIP2_IO, "%s: is %s, expected the name of a file to write", path,
                       S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
    if (!b2_host_is_little_endian())
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: cannot be written on a big-endian machine", path);
    b2_gguf_writer *w = calloc(1, sizeof *w);
    if (w == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory", path);
    w->path = strdup(path);
    w->hash = XXH3_createState();
    blip2_status status = BLIP2_OK;
    if (w->path == NULL || w->hash == NULL) status = b2_fail(err, BLIP2_MEMORY, "%s: no memory", path);
    if (status == BLIP2_OK) status = b2_replacement_open(path, true, &w->out, err);
    if (status != BLIP2_OK) {
        free_writer(w);
        return status;
    }
    b2_gguf_writer_put_string(w, B2_KEY_ARCHITECTURE, b2_arch_name(arch));
    b2_gguf_writer_put_u32(w, B2_KEY_ALIGNMENT, B2_FILE_ALIGN_BYTES);
    b2_gguf_writer_put_u32(w, B2_KEY_FORMAT_VERSION, B2_FORMAT_VERSION);
    *out = w;
    return BLIP2_OK;
}

/* Disks that do not say how large they are (some network file systems) are believed to be large enough. */
static blip2_status check_space(const b2_gguf_writer *w, blip2_error *err) {
    struct statvfs disk;
    if (fstatvfs(w->out.fd, &disk) != 0 || disk.f_blocks == 0) return BLIP2_OK;
    const uint64_t block = disk.f_frsize != 0 ? disk.f_frsize : disk.f_bsize, n_free = disk.f_bavail;
    if (n_free >= b2_gguf_writer_file_bytes(w) / block + 1) return BLIP2_OK;
    return b2_fail(err, BLIP2_IO, "%s: needs %" PRIu64 " bytes, its disk has %" PRIu64 " free", w->path,
                   b2_gguf_writer_file_bytes(w), n_free * block);
}

/* magic, version, counts | keys | tensors | zeros up to the data. The hashes' values are still zero. */
static void assemble_header(b2_gguf_writer *w) {
    append_array(w, B2_KEY_TENSOR_HASHES, B2_GGUF_U64, (size_t)w->n_tensors);
    const size_t keys_tensor_hashes = w->keys.len;
    for (uint64_t i = 0; i < w->n_tensors; i++) append_int(w, &w->keys, 0, 8);
    append_key(w, B2_KEY_HEADER_HASH, B2_GGUF_U64);
    const size_t keys_header_hash = w->keys.len;
    append_int(w, &w->keys, 0, 8);

    buffer header = {0};
    append_int(w, &header, B2_GGUF_MAGIC, 4);
    append_int(w, &header, B2_GGUF_VERSION, 4);
    append_int(w, &header, w->n_tensors, 8);
    append_int(w, &header, w->n_keys, 8);
    w->tensor_hashes_at = header.len + keys_tensor_hashes;
    w->header_hash_at = header.len + keys_header_hash;
    append(w, &header, w->keys.data, w->keys.len);
    append(w, &header, w->infos.data, w->infos.len);
    static const uint8_t zeros[B2_FILE_ALIGN_BYTES] = {0};
    append(w, &header, zeros, (size_t)b2_padded_bytes(header.len) - header.len);

    free(w->keys.data);
    w->keys = header;
}

blip2_status b2_gguf_writer_begin(b2_gguf_writer *w, blip2_error *err) {
    b2_gguf_writer_put_array_u8(w, B2_KEY_PLANES, w->planes.data, w->planes.len);
    assemble_header(w);
    if (w->first_error.status != BLIP2_OK) return b2_fail(err, w->first_error.status, "%s", w->first_error.message);
    w->at = w->keys.len;
    w->begun = true;
    XXH3_64bits_reset(w->hash);
    return check_space(w, err);
}

uint64_t b2_gguf_writer_file_bytes(const b2_gguf_writer *w) { return w->keys.len + w->data_bytes; }

static blip2_status write_at(b2_gguf_writer *w, uint64_t at, const void *bytes, size_t n, blip2_error *err) {
    const uint8_t *from = bytes;
    while (n > 0) {
        const ssize_t done = pwrite(w->out.fd, from, n, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return b2_fail_write(err, w->path, "cannot be written");
        from += done;
        at += (uint64_t)done;
        n -= (size_t)done;
    }
    return BLIP2_OK;
}

static uint64_t declared_bytes(const b2_gguf_writer *w, size_t tensor) {
    uint64_t n_bytes;
    memcpy(&n_bytes, w->sizes.data + tensor * sizeof n_bytes, sizeof n_bytes);
    return n_bytes;
}

/* Notes the hash of the tensor that is complete, pads the file, turns to the next. */
static blip2_status end_tensor(b2_gguf_writer *w, blip2_error *err) {
    static const uint8_t zeros[B2_FILE_ALIGN_BYTES] = {0};
    const size_t n_padding = (size_t)(b2_padded_bytes(w->current_bytes) - w->current_bytes);
    store_u64(w->keys.data + w->tensor_hashes_at + 8 * w->current, XXH3_64bits_digest(w->hash));
    B2_TRY(write_at(w, w->at, zeros, n_padding, err));
    w->at += n_padding;
    w->current++;
    w->current_bytes = 0;
    XXH3_64bits_reset(w->hash);
    return BLIP2_OK;
}

blip2_status b2_gguf_writer_write(b2_gguf_writer *w, const void *bytes, size_t n, blip2_error *err) {
    const uint64_t n_left =
        w->begun && w->current < w->n_tensors ? declared_bytes(w, w->current) - w->current_bytes : 0;
    if (n > n_left)
        return b2_fail(err, BLIP2_ARGUMENT, "%s: tensor %zu takes %" PRIu64 " more bytes, got %zu", w->path, w->current,
                       n_left, n);
    B2_TRY(write_at(w, w->at, bytes, n, err));
    XXH3_64bits_update(w->hash, bytes, n);
    w->at += n;
    w->current_bytes += n;
    return n == n_left ? end_tensor(w, err) : BLIP2_OK;
}

static blip2_status publish(b2_gguf_writer *w, blip2_error *err) {
    if (!w->begun || w->current != w->n_tensors)
        return b2_fail(err, BLIP2_ARGUMENT, "%s: %zu of %" PRIu64 " tensors were written", w->path, w->current,
                       w->n_tensors);
    store_u64(w->keys.data + w->header_hash_at, XXH3_64bits(w->keys.data, w->keys.len));
    B2_TRY(write_at(w, 0, w->keys.data, w->keys.len, err));
    B2_TRY(b2_replacement_commit(&w->out, err));
    b2_sync_folder(w->path);
    return BLIP2_OK;
}

blip2_status b2_gguf_writer_finish(b2_gguf_writer *w, blip2_error *err) {
    const blip2_status status = publish(w, err);
    free_writer(w);
    return status;
}

void b2_gguf_writer_abandon(b2_gguf_writer *w) {
    if (w != NULL) free_writer(w);
}

const char *b2_gguf_writer_temp_path(const b2_gguf_writer *w) { return w->out.new_path; }
