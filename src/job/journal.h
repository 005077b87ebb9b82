/* journal.h: what a job has done so far, in a file beside its output. Line 1 says which job it is (header.h), each
 * further line is one record, in JSON; a line is written in one piece, so that a kill at any moment loses at most the
 * line being written.
 *
 *   {"index":0,"path":"...","answers":[{"text":"...","outcome":"ok",...}]}
 *   {"index":0,"path":"...","taken":"...","status":"ok"}    a row of the output that was there before (record/rows.h)
 *   {"noted":true}    behind the records of all pictures that had their sidecar when the job began
 *
 * OUT.part is such a file; a finished shard is one too: blip2 merge makes the output of them. */
#ifndef B2_JOURNAL_H
#define B2_JOURNAL_H

#include "job/header.h"

typedef struct b2_journal {
    int fd;     /* -1: closed */
    char *path; /* from malloc */
    b2_header header;
    json_t *json;               /* the header as it was read: owns the header's strings; NULL in a new journal */
    uint64_t n_header, n_bytes; /* of the first line; to the end of the last whole record */
    size_t n_torn;              /* bytes after that, cut off when it was opened for writing */
    size_t n_damaged; /* lines before it that are not records: left where they are, their pictures done again */
    size_t n_pending; /* while scanning: such lines since the last record */
    bool is_noted;    /* b2_journal_note() was reached */
} b2_journal;

/* Where record i of the list is; offset 0: nowhere. */
typedef struct b2_record_location {
    uint64_t offset;
    uint32_t journal;
    bool is_failed, is_skipped;
} b2_record_location;

/* Opens or makes the file, locked against a second program before anything in it is looked at. A file that was there
 * with a header is left as it is: *was_there, and out->header is its own. Else it begins with the header, whose strings
 * outlive the journal. mode: of a new file. Errors: BLIP2_IO (another blip2 has it; a link), BLIP2_ARGUMENT (somebody's
 * file that is not a journal), BLIP2_FORMAT, BLIP2_OTHER_VERSION, BLIP2_MEMORY. */
blip2_status b2_journal_begin(const char *path, unsigned mode, const b2_header *header, bool *was_there,
                              b2_journal *out, blip2_error *err);
/* Begins again in the same file, still locked. Errors: BLIP2_IO, BLIP2_NO_SPACE, BLIP2_MEMORY. */
blip2_status b2_journal_restart(b2_journal *journal, const b2_header *header, blip2_error *err);
/* One that exists, for reading. Errors: BLIP2_IO, BLIP2_FORMAT, BLIP2_OTHER_VERSION, BLIP2_MEMORY. */
blip2_status b2_journal_open(const char *path, b2_journal *out, blip2_error *err);
/* Reads all records from the start and notes in places[n] where each is; the last record of an index wins. Lines that
 * are not records are passed over and counted. *n_twice:
 * indexes that another journal had before. Errors: BLIP2_IO, BLIP2_FORMAT (an index beyond the list), BLIP2_MEMORY. */
blip2_status b2_journal_scan(b2_journal *journal, uint32_t number, b2_record_location *places, size_t n,
                             size_t *n_twice, blip2_error *err);
/* Errors: BLIP2_IO, BLIP2_MEMORY: then the journal ends with the record before. */
blip2_status b2_journal_append(b2_journal *journal, const b2_record *record, blip2_error *err);
/* From now on a sidecar is this job's own. Errors: BLIP2_IO. */
blip2_status b2_journal_note(b2_journal *journal, blip2_error *err);
/* The caller frees *out with b2_record_free(). Errors: BLIP2_IO, BLIP2_FORMAT, BLIP2_MEMORY. */
blip2_status b2_journal_read(const b2_journal *journal, uint64_t offset, b2_record *out, blip2_error *err);
blip2_status b2_journal_sync(b2_journal *journal, blip2_error *err);
void b2_journal_close(b2_journal *journal);

#endif
