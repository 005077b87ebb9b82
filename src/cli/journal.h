/* journal.h: what a job has done so far, in a file beside its output. Line 1 says which job it is, each further line is one
 * record, in JSON; a line is written in one piece, so that a kill at any moment loses at most the line being written.
 *
 *   {"blip2_journal":1,"count":64,"list":"...","shard":[0,4],"model":"...","options":{...}}
 *   {"index":0,"path":"...","answers":[{"text":"...","outcome":0,...}]}
 *
 * OUT.part is such a file; a finished shard is one too: blip2 merge makes the output of them. */
#ifndef B2_JOURNAL_H
#define B2_JOURNAL_H

#include "cli/record.h"

#include <jansson.h>

typedef struct b2_journal {
    int fd;            /* -1: closed */
    char *path;        /* from malloc */
    json_t *header;
    uint64_t n_header, n_bytes; /* of the first line; of all whole lines */
    size_t n_torn;     /* bytes behind the last whole line, cut off when it was opened for writing */
} b2_journal;

/* Where record i of the list is; offset 0: nowhere. */
typedef struct b2_place {
    uint64_t offset;
    uint32_t journal;
    bool is_failed, is_skipped;
} b2_place;

/* A new file with this header, locked against a second program. Errors: BLIP2_IO (it exists already: err->message says so). */
blip2_status b2_journal_create(const char *path, const json_t *header, b2_journal *out, blip2_error *err);
/* One that exists. for_writing: locked, and a torn last line is cut off. Errors: BLIP2_IO, BLIP2_FORMAT. */
blip2_status b2_journal_open(const char *path, bool for_writing, b2_journal *out, blip2_error *err);
/* Notes in places[n] where each record lies; the last of one index holds. *n_twice: indexes met more than once. */
blip2_status b2_journal_scan(b2_journal *journal, uint32_t number, b2_place *places, size_t n, size_t *n_twice, blip2_error *err);
/* Errors: BLIP2_IO: then the journal ends with the record before. */
blip2_status b2_journal_append(b2_journal *journal, const b2_record *record, blip2_error *err);
/* The caller frees *out with b2_record_free. */
blip2_status b2_journal_read(const b2_journal *journal, uint64_t offset, b2_record *out, blip2_error *err);
blip2_status b2_journal_sync(b2_journal *journal, blip2_error *err);
void b2_journal_close(b2_journal *journal);

#endif
