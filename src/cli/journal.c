#include "cli/journal.h"

#include "cli/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JOURNAL_VERSION = 1, MAX_LINE_BYTES = 64 << 20 };

/* ---- lines ------------------------------------------------------------------------------------------------------------- */

/* All of a line or nothing: what a full disk left of it is taken back. */
static blip2_status write_line(b2_journal *j, const char *line, size_t n, blip2_error *err) {
    size_t done = 0;
    while (done < n) {
        const ssize_t step = pwrite(j->fd, line + done, n - done, (off_t)(j->n_bytes + done));
        if (step < 0 && errno == EINTR) continue;
        if (step <= 0) {
            const int why = step < 0 ? errno : ENOSPC;
            const int ignored = ftruncate(j->fd, (off_t)j->n_bytes);
            (void)ignored;
            return b2_fail(err, BLIP2_IO, "%s: cannot be written: %s", j->path, strerror(why));
        }
        done += (size_t)step;
    }
    j->n_bytes += n;
    return BLIP2_OK;
}

/* The line at offset without its newline, from malloc; *len 0 and NULL behind the last whole line. */
static blip2_status read_line(const b2_journal *j, uint64_t offset, char **line, size_t *len, blip2_error *err) {
    size_t capacity = 4096, n = 0;
    char *buffer = malloc(capacity);
    *line = NULL;
    *len = 0;
    while (buffer != NULL) {
        const ssize_t got = pread(j->fd, buffer + n, capacity - n, (off_t)(offset + n));
        if (got < 0) {
            free(buffer);
            return b2_fail(err, BLIP2_IO, "%s: cannot be read: %s", j->path, strerror(errno));
        }
        const char *newline = got > 0 ? memchr(buffer + n, '\n', (size_t)got) : NULL;
        if (newline != NULL) {
            *len = (size_t)(newline - buffer);
            *line = buffer;
            return BLIP2_OK;
        }
        n += (size_t)got;
        if (got == 0 || n >= MAX_LINE_BYTES) {
            free(buffer);
            return BLIP2_OK;
        }
        if (n < capacity) continue;
        char *larger = realloc(buffer, capacity *= 2);
        if (larger == NULL) free(buffer);
        buffer = larger;
    }
    return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", j->path);
}

/* ---- one record as a line --------------------------------------------------------------------------------------------------- */

static void write_answer(const b2_answer *a, FILE *out) {
    fputs("{\"text\":", out);
    b2_json_write_string(a->text, out);
    fprintf(out, ",\"outcome\":\"%s\",\"logprob\":%.9g", b2_outcome_name(a->outcome), a->outcome == BLIP2_OUTCOME_ERROR ? 0.0 : a->logprob);
    if (a->tokens != NULL) {
        fputs(",\"tokens\":[", out);
        for (size_t i = 0; i < a->n_tokens; i++) fprintf(out, "%s%" PRId32, i > 0 ? "," : "", a->tokens[i]);
        fputs("],\"logprobs\":[", out);
        for (size_t i = 0; i < a->n_tokens; i++) fprintf(out, "%s%.9g", i > 0 ? "," : "", (double)a->logprobs[i]);
        putc(']', out);
    }
    putc('}', out);
}

static void write_record(const b2_record *r, FILE *out) {
    fprintf(out, "{\"index\":%zu,\"path\":", r->index);
    b2_json_write_string(r->path, out);
    if (!b2_is_utf8(r->path)) {
        fputs(",\"path_base64\":\"", out);
        b2_base64_write((const uint8_t *)r->path, strlen(r->path), out);
        putc('"', out);
    }
    if (r->error != NULL) {
        fputs(",\"error\":", out);
        b2_json_write_string(r->error, out);
    }
    if (r->rotated) fputs(",\"rotated\":true", out);
    if (r->is_skipped) fputs(",\"skipped\":true", out);
    if (r->error == NULL && !r->is_skipped) {
        fputs(",\"answers\":[", out);
        for (size_t i = 0; i < r->n_answers; i++) {
            if (i > 0) putc(',', out);
            write_answer(&r->answers[i], out);
        }
        putc(']', out);
    }
    if (r->has_timings)
        fprintf(out, ",\"timings\":[%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%zu]", r->timings.vision_ns, r->timings.qformer_ns,
                r->timings.prefill_ns, r->timings.decode_ns, r->timings.n_decode_steps);
    if (r->thumbnail != NULL)
        fprintf(out, ",\"thumbnail\":{\"width\":%zu,\"height\":%zu,\"jpeg\":\"%s\"}", r->thumbnail_width, r->thumbnail_height, r->thumbnail);
    fputs("}\n", out);
}

blip2_status b2_journal_append(b2_journal *j, const b2_record *record, blip2_error *err) {
    char *line = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&line, &n);
    if (out == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a record");
    write_record(record, out);
    const bool complete = !ferror(out);
    const bool closed = fclose(out) == 0;
    const blip2_status status = complete && closed ? write_line(j, line, n, err) : b2_fail(err, BLIP2_MEMORY, "no memory for a record");
    free(line);
    return status;
}

/* ---- and back -------------------------------------------------------------------------------------------------------------- */

static char *copy_string(const json_t *value) {
    const char *text = json_string_value(value);
    return text != NULL ? strdup(text) : NULL;
}

static bool read_outcome(const char *name, blip2_outcome *outcome) {
    for (int i = BLIP2_OUTCOME_OK; name != NULL && i <= BLIP2_OUTCOME_ERROR; i++) {
        *outcome = (blip2_outcome)i;
        if (strcmp(name, b2_outcome_name(*outcome)) == 0) return true;
    }
    return false;
}

static bool read_tokens(const json_t *value, b2_answer *a) {
    const json_t *tokens = json_object_get(value, "tokens"), *logprobs = json_object_get(value, "logprobs");
    if (tokens == NULL) return true;
    a->n_tokens = json_array_size(tokens);
    if (json_array_size(logprobs) != a->n_tokens) return false;
    a->tokens = malloc((a->n_tokens + 1) * sizeof *a->tokens);
    a->logprobs = malloc((a->n_tokens + 1) * sizeof *a->logprobs);
    if (a->tokens == NULL || a->logprobs == NULL) return false;
    for (size_t i = 0; i < a->n_tokens; i++) {
        a->tokens[i] = (int32_t)json_integer_value(json_array_get(tokens, i));
        a->logprobs[i] = (float)json_number_value(json_array_get(logprobs, i));
    }
    return true;
}

static bool read_answers(const json_t *list, b2_record *r) {
    if (r->error != NULL || r->is_skipped) return true;
    r->n_answers = json_array_size(list);
    r->answers = calloc(r->n_answers + 1, sizeof *r->answers);
    for (size_t i = 0; r->answers != NULL && i < r->n_answers; i++) {
        const json_t *value = json_array_get(list, i);
        b2_answer *a = &r->answers[i];
        a->text = copy_string(json_object_get(value, "text"));
        a->logprob = json_number_value(json_object_get(value, "logprob"));
        if (a->text == NULL || !read_outcome(json_string_value(json_object_get(value, "outcome")), &a->outcome) || !read_tokens(value, a)) return false;
    }
    return r->answers != NULL && r->n_answers > 0;
}

static void read_timings(const json_t *list, b2_record *r) {
    if (!json_is_array(list)) return;
    int64_t n[5];
    for (size_t i = 0; i < 5; i++) n[i] = json_integer_value(json_array_get(list, i));
    r->has_timings = true;
    r->timings = (blip2_timings){.struct_bytes = sizeof r->timings, .vision_ns = n[0], .qformer_ns = n[1], .prefill_ns = n[2], .decode_ns = n[3],
                                 .n_decode_steps = (size_t)n[4]};
}

static bool read_record(const json_t *value, b2_record *r) {
    const json_t *thumbnail = json_object_get(value, "thumbnail"), *index = json_object_get(value, "index");
    const char *base64 = json_string_value(json_object_get(value, "path_base64"));
    size_t n = 0;
    if (!json_is_integer(index) || json_integer_value(index) < 0) return false;
    r->index = (size_t)json_integer_value(index);
    r->path = base64 != NULL ? (char *)b2_base64_read(base64, &n) : copy_string(json_object_get(value, "path"));
    r->error = copy_string(json_object_get(value, "error"));
    r->rotated = json_is_true(json_object_get(value, "rotated"));
    r->is_skipped = json_is_true(json_object_get(value, "skipped"));
    r->thumbnail = copy_string(json_object_get(thumbnail, "jpeg"));
    r->thumbnail_width = (size_t)json_integer_value(json_object_get(thumbnail, "width"));
    r->thumbnail_height = (size_t)json_integer_value(json_object_get(thumbnail, "height"));
    read_timings(json_object_get(value, "timings"), r);
    return r->path != NULL && read_answers(json_object_get(value, "answers"), r);
}

blip2_status b2_journal_read(const b2_journal *j, uint64_t offset, b2_record *out, blip2_error *err) {
    char *line;
    size_t len;
    *out = (b2_record){0};
    B2_TRY(read_line(j, offset, &line, &len, err));
    json_t *value = line != NULL ? json_loadb(line, len, 0, NULL) : NULL;
    const bool done = value != NULL && read_record(value, out);
    json_decref(value);
    free(line);
    if (done) return BLIP2_OK;
    b2_record_free(out);
    return b2_fail(err, BLIP2_FORMAT, "%s: no record at byte %" PRIu64, j->path, offset);
}

/* ---- the file --------------------------------------------------------------------------------------------------------------- */

static blip2_status open_file(const char *path, int flags, b2_journal *j, blip2_error *err) {
    *j = (b2_journal){.fd = open(path, flags | O_CLOEXEC, 0666), .path = strdup(path)};
    if (j->path == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    if (j->fd < 0) return b2_fail(err, BLIP2_IO, "%s: cannot be %s: %s", path, flags & O_CREAT ? "written" : "opened", strerror(errno));
    if ((flags & O_ACCMODE) != O_RDONLY && flock(j->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return b2_fail(err, BLIP2_IO, "%s: another blip2 is writing it", path);
    return BLIP2_OK;
}

static blip2_status write_header(b2_journal *j, blip2_error *err) {
    char *text = json_dumps(j->header, JSON_COMPACT | JSON_PRESERVE_ORDER), *line = NULL;
    const size_t len = text != NULL ? strlen(text) : 0;
    if (text != NULL) line = malloc(len + 2);
    blip2_status status = line != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for a journal");
    if (status == BLIP2_OK) {
        memcpy(line, text, len);
        line[len] = '\n';
        status = write_line(j, line, len + 1, err);
        j->n_header = j->n_bytes;
    }
    free(text);
    free(line);
    return status;
}

blip2_status b2_journal_create(const char *path, const json_t *header, b2_journal *out, blip2_error *err) {
    blip2_status status = open_file(path, O_RDWR | O_CREAT | O_EXCL, out, err);
    if (status == BLIP2_OK) {
        out->header = json_deep_copy(header);
        status = out->header != NULL ? write_header(out, err) : b2_fail(err, BLIP2_MEMORY, "no memory for a journal");
        if (status != BLIP2_OK) unlink(path);
    }
    if (status != BLIP2_OK) b2_journal_close(out);
    return status;
}

static blip2_status read_header(b2_journal *j, blip2_error *err) {
    char *line;
    size_t len;
    B2_TRY(read_line(j, 0, &line, &len, err));
    j->header = line != NULL ? json_loadb(line, len, 0, NULL) : NULL;
    free(line);
    const json_t *version = json_object_get(j->header, "blip2_journal");
    if (!json_is_integer(version)) return b2_fail(err, BLIP2_FORMAT, "%s: is no journal of blip2", j->path);
    if (json_integer_value(version) != JOURNAL_VERSION)
        return b2_fail(err, BLIP2_VERSION_SKEW, "%s: a journal of version %d, expected %d", j->path, (int)json_integer_value(version), JOURNAL_VERSION);
    j->n_header = j->n_bytes = len + 1;
    return BLIP2_OK;
}

blip2_status b2_journal_open(const char *path, bool for_writing, b2_journal *out, blip2_error *err) {
    blip2_status status = open_file(path, for_writing ? O_RDWR : O_RDONLY, out, err);
    if (status == BLIP2_OK) status = read_header(out, err);
    if (status != BLIP2_OK) b2_journal_close(out);
    return status;
}

static bool holds_error(const json_t *value) {
    const json_t *answers = json_object_get(value, "answers");
    for (size_t i = 0; i < json_array_size(answers); i++) {
        const char *outcome = json_string_value(json_object_get(json_array_get(answers, i), "outcome"));
        if (outcome != NULL && strcmp(outcome, "error") == 0) return true;
    }
    return json_object_get(value, "error") != NULL;
}

static blip2_status note_place(b2_journal *j, const json_t *value, uint64_t offset, uint32_t number, b2_place *places, size_t n, size_t *n_twice,
                               blip2_error *err) {
    const json_int_t index = json_integer_value(json_object_get(value, "index"));
    if (index < 0 || (uint64_t)index >= n)
        return b2_fail(err, BLIP2_FORMAT, "%s: record %" PRId64 " of a list of %zu pictures", j->path, (int64_t)index, n);
    *n_twice += places[index].offset != 0 && places[index].journal != number; /* a retry in the same file is none */
    places[index] = (b2_place){.offset = offset, .journal = number, .is_failed = holds_error(value),
                                 .is_skipped = json_is_true(json_object_get(value, "skipped"))};
    return BLIP2_OK;
}

blip2_status b2_journal_scan(b2_journal *j, uint32_t number, b2_place *places, size_t n, size_t *n_twice, blip2_error *err) {
    blip2_status status = BLIP2_OK;
    while (status == BLIP2_OK) {
        char *line;
        size_t len;
        B2_TRY(read_line(j, j->n_bytes, &line, &len, err));
        json_t *value = line != NULL ? json_loadb(line, len, 0, NULL) : NULL;
        free(line);
        if (value == NULL) break; /* the end, or a line that a kill or a power cut tore */
        status = note_place(j, value, j->n_bytes, number, places, n, n_twice, err);
        json_decref(value);
        if (status == BLIP2_OK) j->n_bytes += len + 1;
    }
    struct stat st;
    if (status == BLIP2_OK && fstat(j->fd, &st) == 0 && (uint64_t)st.st_size > j->n_bytes) j->n_torn = (size_t)((uint64_t)st.st_size - j->n_bytes);
    if (j->n_torn > 0 && (fcntl(j->fd, F_GETFL) & O_ACCMODE) == O_RDWR && ftruncate(j->fd, (off_t)j->n_bytes) != 0)
        return b2_fail(err, BLIP2_IO, "%s: cannot be written: %s", j->path, strerror(errno));
    return status;
}

blip2_status b2_journal_sync(b2_journal *j, blip2_error *err) {
    if (fsync(j->fd) == 0 || errno == EINVAL || errno == ENOTSUP) return BLIP2_OK;
    return b2_fail(err, BLIP2_IO, "%s: cannot be written: %s", j->path, strerror(errno));
}

void b2_journal_close(b2_journal *j) {
    if (j->fd >= 0) close(j->fd);
    free(j->path);
    json_decref(j->header);
    *j = (b2_journal){.fd = -1};
}
