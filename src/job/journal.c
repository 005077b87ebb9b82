/* journal.c: lines written with pwrite() at a place that only complete lines move, and read back one by one: the file
 * of a million records is never in memory. */
#include "job/journal.h"

#include "base/memory_text.h"
#include "base/retry.h"
#include "lists/json_scan.h"
#include "record/json.h"
#include "record/scores.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_LINE_BYTES = 64 << 20 };

/* ---- lines ----------------------------------------------------------------------------------------------------- */

/* All of a line or nothing: what a full disk left of it is taken back. */
static blip2_status write_line(b2_journal *j, const char *line, size_t n, blip2_error *err) {
    size_t done = 0;
    while (done < n) {
        const ssize_t step = pwrite(j->fd, line + done, n - done, (off_t)(j->n_bytes + done));
        if (step < 0 && errno == EINTR) continue;
        if (step <= 0) {
            const int why = step < 0 ? errno : ENOSPC;
            b2_truncate(j->fd, (off_t)j->n_bytes);
            return b2_fail(err, BLIP2_IO, "%s: cannot be written: %s", j->path, strerror(why));
        }
        done += (size_t)step;
    }
    j->n_bytes += n;
    return BLIP2_OK;
}

/* The line at offset without its newline, from malloc; *len 0 and NULL after the last complete line. */
static blip2_status read_line(const b2_journal *j, uint64_t offset, char **line, size_t *len, blip2_error *err) {
    size_t capacity = 4096, n = 0;
    char *buffer = malloc(capacity);
    *line = NULL;
    *len = 0;
    while (buffer != NULL) {
        const ssize_t got = pread(j->fd, buffer + n, capacity - n, (off_t)(offset + n));
        if (got < 0 && errno == EINTR) continue;
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

/* ---- one record as a line -------------------------------------------------------------------------------------- */

static void write_answer(const b2_answer *a, FILE *out) {
    fputs("{\"text\":", out);
    b2_json_write_string(a->text, out);
    fprintf(out, ",\"outcome\":\"%s\",\"logprob\":%.9g", b2_record_status_name(a->outcome),
            a->outcome == B2_RECORD_ERROR ? 0.0 : a->logprob);
    if (a->score != a->logprob && isfinite(a->score)) fprintf(out, ",\"score\":%.9g", a->score);
    if (a->is_retried) fputs(",\"retried\":true", out);
    if (a->tokens != NULL) {
        b2_json_write_ints("tokens", a->tokens, a->n_tokens, out);
        b2_json_write_floats("logprobs", a->logprobs, a->n_tokens, out);
    }
    if (a->processed != NULL) b2_json_write_floats("processed", a->processed, a->n_processed, out);
    if (a->alternatives != NULL) b2_json_write_member("alternatives", a->alternatives, out);
    for (size_t i = 0; a->shares != NULL && i < a->n_shares; i++)
        fprintf(out, "%s%.9g%s", i == 0 ? ",\"shares\":[" : ",", a->shares[i], i + 1 == a->n_shares ? "]" : "");
    putc('}', out);
}

static void write_record(const b2_record *r, FILE *out) {
    fprintf(out, "{\"index\":%zu", r->index);
    b2_json_write_path(r->path, out);
    if (r->sample != NULL) b2_json_write_member("sample", r->sample, out);
    if (r->error != NULL) b2_json_write_member("error", r->error, out);
    if (r->taken != NULL) {
        b2_json_write_bytes("taken", r->taken, out);
        b2_json_write_member("status", b2_record_status_name(r->taken_status), out);
    }
    if (r->rotated) fputs(",\"rotated\":true", out);
    if (r->is_skipped) fputs(",\"skipped\":true", out);
    if (b2_record_has_answers(r)) {
        fputs(",\"answers\":[", out);
        for (size_t i = 0; i < r->n_answers; i++) {
            if (i > 0) putc(',', out);
            write_answer(&r->answers[i], out);
        }
        putc(']', out);
    }
    if (r->has_timings)
        fprintf(out, ",\"timings\":[%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%zu]", r->timings.vision_ns,
                r->timings.qformer_ns, r->timings.prefill_ns, r->timings.decode_ns, r->timings.n_decode_steps);
    if (r->thumbnail != NULL)
        fprintf(out, ",\"thumbnail\":{\"width\":%zu,\"height\":%zu,\"jpeg\":\"%s\"}", r->thumbnail_width,
                r->thumbnail_height, r->thumbnail);
    fputs("}\n", out);
}

blip2_status b2_journal_append(b2_journal *j, const b2_record *record, blip2_error *err) {
    b2_memory_text line;
    FILE *out = b2_memory_text_begin(&line);
    if (out != NULL) write_record(record, out);
    if (out == NULL || !b2_memory_text_end(&line)) return b2_fail(err, BLIP2_MEMORY, "no memory for a record");
    const blip2_status status = write_line(j, line.text, line.len, err);
    free(line.text);
    return status;
}

blip2_status b2_journal_note(b2_journal *j, blip2_error *err) {
    static const char note[] = "{\"noted\":true}\n";
    j->is_noted = true;
    return write_line(j, note, sizeof note - 1, err);
}

/* ---- and back -------------------------------------------------------------------------------------------------- */

static char *copy_string(const json_t *value) {
    const char *text = json_string_value(value);
    return text != NULL ? strdup(text) : NULL;
}

static char *copy_bytes(const json_t *value, const char *key, const char *key_base64) {
    const char *base64 = json_string_value(json_object_get(value, key_base64));
    size_t n = 0;
    return base64 != NULL ? (char *)b2_base64_read(base64, &n) : copy_string(json_object_get(value, key));
}

/* It goes into a page as it is: base64 or nothing. */
static char *copy_base64(const json_t *value) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    const char *text = json_string_value(value);
    return text != NULL && text[strspn(text, letters)] == '\0' ? strdup(text) : NULL;
}

/* It goes into a line of JSON as it is: one value without line ends or nothing. */
static char *copy_json(const json_t *value) {
    const char *text = json_string_value(value), *why;
    const bool is_line = text != NULL && strpbrk(text, "\r\n") == NULL &&
                         b2_json_is_value((b2_text){text, strlen(text)}, NULL, NULL, &why);
    return is_line ? strdup(text) : NULL;
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

static bool read_processed(const json_t *list, b2_answer *a) {
    if (list == NULL) return true;
    a->n_processed = json_array_size(list);
    a->processed = malloc((a->n_processed + 1) * sizeof *a->processed);
    for (size_t i = 0; a->processed != NULL && i < a->n_processed; i++) {
        const json_t *number = json_array_get(list, i);
        a->processed[i] = json_is_number(number) ? (float)json_number_value(number) : NAN;
    }
    return a->processed != NULL;
}

static bool read_shares(const json_t *list, b2_answer *a) {
    if (list == NULL) return true;
    a->n_shares = json_array_size(list);
    a->shares = calloc(a->n_shares + 1, sizeof *a->shares);
    for (size_t i = 0; a->shares != NULL && i < a->n_shares; i++)
        a->shares[i] = json_number_value(json_array_get(list, i));
    return a->shares != NULL;
}

static bool read_answers(const json_t *list, b2_record *r) {
    if (!b2_record_has_answers(r)) return true;
    r->n_answers = json_array_size(list);
    r->answers = calloc(r->n_answers + 1, sizeof *r->answers);
    for (size_t i = 0; r->answers != NULL && i < r->n_answers; i++) {
        const json_t *value = json_array_get(list, i);
        b2_answer *a = &r->answers[i];
        a->text = copy_string(json_object_get(value, "text"));
        const json_t *score = json_object_get(value, "score");
        a->logprob = json_number_value(json_object_get(value, "logprob"));
        a->is_retried = json_is_true(json_object_get(value, "retried"));
        a->alternatives = copy_json(json_object_get(value, "alternatives"));
        a->score = score != NULL ? json_number_value(score) : a->logprob;
        if (a->text == NULL ||
            !b2_record_status_find(json_string_value(json_object_get(value, "outcome")), &a->outcome) ||
            !read_tokens(value, a) || !read_processed(json_object_get(value, "processed"), a) ||
            !read_shares(json_object_get(value, "shares"), a))
            return false;
    }
    return r->answers != NULL && r->n_answers > 0;
}

static void read_timings(const json_t *list, b2_record *r) {
    if (!json_is_array(list)) return;
    int64_t n[5];
    for (size_t i = 0; i < 5; i++) n[i] = json_integer_value(json_array_get(list, i));
    r->has_timings = true;
    r->timings = (blip2_timings){.struct_bytes = sizeof r->timings,
                                 .vision_ns = n[0],
                                 .qformer_ns = n[1],
                                 .prefill_ns = n[2],
                                 .decode_ns = n[3],
                                 .n_decode_steps = (size_t)n[4]};
}

static bool read_record(const json_t *value, b2_record *r) {
    const json_t *thumbnail = json_object_get(value, "thumbnail"), *index = json_object_get(value, "index");
    if (!json_is_integer(index) || json_integer_value(index) < 0) return false;
    r->index = (size_t)json_integer_value(index);
    r->path = copy_bytes(value, "path", "path_base64");
    r->taken = copy_bytes(value, "taken", "taken_base64");
    const bool has_status =
        b2_record_status_find(json_string_value(json_object_get(value, "status")), &r->taken_status);
    if ((r->taken != NULL) != has_status) return false;
    r->sample = copy_json(json_object_get(value, "sample"));
    r->error = copy_string(json_object_get(value, "error"));
    r->rotated = json_is_true(json_object_get(value, "rotated"));
    r->is_skipped = json_is_true(json_object_get(value, "skipped"));
    r->thumbnail = copy_base64(json_object_get(thumbnail, "jpeg"));
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
    errno = 0; /* tells refused memory from a line that is no record, and keeps a thumbnail from being left out */
    const bool done = value != NULL && read_record(value, out) && errno != ENOMEM, has_no_memory = errno == ENOMEM;
    json_decref(value);
    free(line);
    if (done) return BLIP2_OK;
    b2_record_free(out);
    if (has_no_memory) return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", j->path);
    return b2_fail(err, BLIP2_FORMAT, "%s: not a record at byte %" PRIu64, j->path, offset);
}

/* ---- the file -------------------------------------------------------------------------------------------------- */

static blip2_status open_for_reading(const char *path, b2_journal *j, blip2_error *err) {
    *j = (b2_journal){.fd = b2_open(path, O_RDONLY, 0), .path = strdup(path)};
    if (j->path == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    if (j->fd < 0) return b2_fail(err, BLIP2_IO, "%s: cannot be opened: %s", path, strerror(errno));
    return BLIP2_OK;
}

/* Is the file that was locked still the one of this name? Another job may have ended and renamed it meanwhile. */
static bool is_still_there(const b2_journal *j) {
    struct stat own, named;
    return fstat(j->fd, &own) == 0 && lstat(j->path, &named) == 0 && own.st_dev == named.st_dev &&
           own.st_ino == named.st_ino;
}

/* Nothing is read, cut or removed before the lock is there. */
static blip2_status open_locked(const char *path, unsigned mode, b2_journal *j, blip2_error *err) {
    *j = (b2_journal){.fd = -1, .path = strdup(path)};
    if (j->path == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    do {
        if (j->fd >= 0) close(j->fd);
        j->fd = b2_open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode);
        if (j->fd < 0)
            return b2_fail(err, BLIP2_IO, "%s: cannot be written: %s", path,
                           errno == ELOOP ? "a link is in its place" : strerror(errno));
        struct stat st;
        if (fstat(j->fd, &st) != 0 || !S_ISREG(st.st_mode))
            return b2_fail(err, BLIP2_IO, "%s: expected a file or nothing there", path);
        if (flock(j->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
            return b2_fail(err, BLIP2_IO, "%s: another blip2 is writing it", path);
    } while (!is_still_there(j));
    return BLIP2_OK;
}

static blip2_status write_header(b2_journal *j, blip2_error *err) {
    json_t *json = b2_header_to_json(&j->header);
    char *line = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    const size_t len = line != NULL ? strlen(line) : 0;
    json_decref(json);
    if (line == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a journal");
    line[len] = '\n'; /* in place of the NUL */
    const blip2_status status = write_line(j, line, len + 1, err);
    j->n_header = j->n_bytes;
    free(line);
    return status;
}

static blip2_status read_header(b2_journal *j, blip2_error *err) {
    char *line;
    size_t len;
    B2_TRY(read_line(j, 0, &line, &len, err));
    j->json = line != NULL ? json_loadb(line, len, 0, NULL) : NULL;
    free(line);
    B2_TRY(b2_header_from_json(j->json, j->path, &j->header, err));
    j->n_header = j->n_bytes = len + 1;
    return BLIP2_OK;
}

blip2_status b2_journal_open(const char *path, b2_journal *out, blip2_error *err) {
    blip2_status status = open_for_reading(path, out, err);
    if (status == BLIP2_OK) status = read_header(out, err);
    if (status != BLIP2_OK) b2_journal_close(out);
    return status;
}

/* Killed before its first line was complete: as good as none. Anything else without a header is somebody's file. */
static blip2_status find_header(b2_journal *j, bool *has_header, blip2_error *err) {
    char start[64], *line;
    size_t len;
    B2_TRY(read_line(j, 0, &line, &len, err));
    *has_header = line != NULL;
    free(line);
    if (*has_header) return BLIP2_OK;
    ssize_t n;
    do n = pread(j->fd, start, sizeof start, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) return b2_fail(err, BLIP2_IO, "%s: cannot be read: %s", j->path, strerror(errno));
    if (b2_header_may_begin(start, (size_t)n)) return BLIP2_OK;
    return b2_fail(err, BLIP2_ARGUMENT, "%s: not a blip2 journal, it would be overwritten: move it away", j->path);
}

blip2_status b2_journal_restart(b2_journal *j, const b2_header *header, blip2_error *err) {
    if (!b2_truncate(j->fd, 0)) return b2_fail_write(err, j->path, "cannot be written");
    json_decref(j->json);
    j->json = NULL;
    j->header = *header;
    j->n_bytes = 0;
    return write_header(j, err);
}

blip2_status b2_journal_begin(const char *path, unsigned mode, const b2_header *header, bool *was_there,
                              b2_journal *out, blip2_error *err) {
    blip2_status status = open_locked(path, mode, out, err);
    if (status == BLIP2_OK) status = find_header(out, was_there, err);
    if (status == BLIP2_OK && *was_there) status = read_header(out, err);
    else if (status == BLIP2_OK) {
        status = b2_journal_restart(out, header, err);
        if (status != BLIP2_OK) unlink(path);
    }
    if (status != BLIP2_OK) b2_journal_close(out);
    return status;
}

/* Of a row that was taken over. */
static bool has_status(const json_t *value, b2_record_status status) {
    b2_record_status is;
    return b2_record_status_find(json_string_value(json_object_get(value, "status")), &is) && is == status;
}

static bool holds_error(const json_t *value) {
    const json_t *answers = json_object_get(value, "answers");
    for (size_t i = 0; i < json_array_size(answers); i++) {
        b2_record_status outcome;
        const char *name = json_string_value(json_object_get(json_array_get(answers, i), "outcome"));
        if (b2_record_status_find(name, &outcome) && outcome == B2_RECORD_ERROR) return true;
    }
    return json_object_get(value, "error") != NULL || has_status(value, B2_RECORD_ERROR);
}

static blip2_status note_place(b2_journal *j, const json_t *value, uint64_t offset, uint32_t number,
                               b2_record_location *places, size_t n, size_t *n_twice, blip2_error *err) {
    const json_int_t index = json_integer_value(json_object_get(value, "index"));
    if (index < 0 || (uint64_t)index >= n)
        return b2_fail(err, BLIP2_FORMAT, "%s: record %" PRId64 " of a list of %zu pictures", j->path, (int64_t)index,
                       n);
    *n_twice += places[index].offset != 0 && places[index].journal != number; /* a retry in the same file is none */
    places[index] = (b2_record_location){.offset = offset,
                                         .journal = number,
                                         .is_failed = holds_error(value),
                                         .is_skipped = json_is_true(json_object_get(value, "skipped")) ||
                                                       has_status(value, B2_RECORD_SKIPPED)};
    return BLIP2_OK;
}

/* Can the line be read as a record of this job? What is found whole here is found whole when the output is built.
 * BLIP2_MEMORY. */
static blip2_status check_record(const b2_journal *j, const json_t *value, bool *is_record, blip2_error *err) {
    const b2_spec *spec = &j->header.spec;
    b2_record record = {0};
    errno = 0; /* tells refused memory from a line that is no record */
    *is_record = read_record(value, &record) &&
                 (spec->scored == 0 || (record.taken != NULL && b2_scores_hold(spec->format, record.taken)));
    const bool has_no_memory = errno == ENOMEM;
    b2_record_free(&record);
    return has_no_memory ? b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", j->path) : BLIP2_OK;
}

/* Notes the record of one line; a line that is none (a byte changed, a power cut left a page of zeros) counts as
 * damaged, and its picture is done again. */
static blip2_status scan_line(b2_journal *j, const char *line, size_t len, uint64_t offset, uint32_t number,
                              b2_record_location *places, size_t n, size_t *n_twice, blip2_error *err) {
    json_error_t why;
    /* zeros are what a power cut leaves; jansson passes over one after a number */
    const bool has_zeros = memchr(line, '\0', len) != NULL;
    json_t *value = has_zeros ? NULL : json_loadb(line, len, 0, &why);
    blip2_status status = BLIP2_OK;
    bool is_record = false;
    const bool is_note = json_is_true(json_object_get(value, "noted"));
    if (!has_zeros && value == NULL && json_error_code(&why) == json_error_out_of_memory)
        status = b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", j->path);
    else if (value != NULL && !is_note) status = check_record(j, value, &is_record, err);
    if (status == BLIP2_OK && (is_note || is_record)) {
        j->is_noted |= is_note;
        if (!is_note) status = note_place(j, value, offset, number, places, n, n_twice, err);
        j->n_damaged += j->n_pending;
        j->n_pending = 0;
        if (status == BLIP2_OK) j->n_bytes = offset + len + 1;
    } else if (status == BLIP2_OK) {
        j->n_pending++;
    }
    json_decref(value);
    return status;
}

blip2_status b2_journal_scan(b2_journal *j, uint32_t number, b2_record_location *places, size_t n, size_t *n_twice,
                             blip2_error *err) {
    blip2_status status = BLIP2_OK;
    j->n_bytes = j->n_header;
    j->n_torn = j->n_damaged = j->n_pending = 0;
    j->is_noted = false;
    for (uint64_t offset = j->n_header; status == BLIP2_OK;) {
        char *line;
        size_t len;
        B2_TRY(read_line(j, offset, &line, &len, err));
        if (line == NULL) break;
        status = scan_line(j, line, len, offset, number, places, n, n_twice, err);
        free(line);
        offset += len + 1;
    }
    struct stat st;
    if (status == BLIP2_OK && fstat(j->fd, &st) == 0 && (uint64_t)st.st_size > j->n_bytes)
        j->n_torn = (size_t)((uint64_t)st.st_size - j->n_bytes);
    if (j->n_torn > 0 && (fcntl(j->fd, F_GETFL) & O_ACCMODE) == O_RDWR && !b2_truncate(j->fd, (off_t)j->n_bytes))
        return b2_fail(err, BLIP2_IO, "%s: cannot be written: %s", j->path, strerror(errno));
    return status;
}

blip2_status b2_journal_sync(b2_journal *j, blip2_error *err) {
    if (b2_sync(j->fd)) return BLIP2_OK;
    return b2_fail(err, BLIP2_IO, "%s: cannot be written: %s", j->path, strerror(errno));
}

void b2_journal_close(b2_journal *j) {
    if (j->fd >= 0) close(j->fd);
    free(j->path);
    json_decref(j->json);
    *j = (b2_journal){.fd = -1};
}
