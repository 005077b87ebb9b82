/* header.h: which job a journal belongs to: its first line. This is the only file that knows the line's keys.
 *
 *   {"blip2_journal":1,"count":64,"list":"<hash>","shard":[0,4],"model":"<hash>","options":{...},
 *    "csv":"/data/list.csv","column":"file","base_dir":"/data"}
 *
 * "csv" or "jsonl", "column" and "base_dir" are there where the job has them: merge reads the list again. Of several
 * lists, and of lists of paths, "lists" has each with its first picture, [["/data/a.csv",0],["/data/b.csv",12]];
 * "no_header":true is a table without one; "stream":true, with "count":0, pictures whose number only their end tells;
 * "growing":true a job that takes the rows of the output that is there. */
#ifndef B2_HEADER_H
#define B2_HEADER_H

#include "job/shard.h"
#include "job/spec.h"

typedef struct b2_header {
    size_t count;                   /* pictures of the whole list; at least 1, 0 of a stream */
    uint64_t list_hash, model_hash; /* b2_inputs_hash(), and content_hash of blip2_model_describe() */
    b2_shard shard;                 /* 0 of 1: the whole list */
    b2_spec spec;
    const char *csv, *jsonl; /* where the rows or lines are; "": nowhere that a path could name; NULL: other inputs */
    const char *column, *base_folder; /* as in b2_inputs; NULL without */
    const json_t *lists;              /* [[path or "", first picture], ...]; NULL: csv and jsonl say all */
    bool no_header;                   /* of the tables */
    bool is_growing;                  /* rows of the output that is there are taken over first */
    bool is_stream;                   /* its length is not known beforehand: count is 0 */
} b2_header;

/* NULL without memory. */
json_t *b2_header_to_json(const b2_header *header);
/* Its strings live as long as the JSON. name: of the file, for messages. Errors: BLIP2_FORMAT, BLIP2_OTHER_VERSION. */
blip2_status b2_header_from_json(const json_t *json, const char *name, b2_header *out, blip2_error *err);

/* Do the first bytes of a file begin a header, as far as they go? Those of an empty file do. */
bool b2_header_may_begin(const char *bytes, size_t n);

/* As below, but their lists may differ. */
bool b2_header_is_same_work(const b2_header *a, const b2_header *b, char *difference, size_t size);

/* Do two headers belong to one job? compares_shard: and to one part of it. If not, difference[size] says what is
 * different about a: "its list has 8 pictures, not 9", "its max_new_tokens is 20, not 5". */
bool b2_header_is_same_job(const b2_header *a, const b2_header *b, bool compares_shard, char *difference, size_t size);

#endif
