/* assemble.h: from journals to the output: record after record in the order of the list, whichever journal has it. A
 * job does it with its own journal, merge with those of all shards. */
#ifndef B2_ASSEMBLE_H
#define B2_ASSEMBLE_H

#include "job/journal.h"

/* The records of a whole list. */
typedef struct b2_record_set {
    b2_journal *journals;
    size_t n_journals;
    b2_record_location *places; /* [n]: where record i is */
    size_t n;
    bool may_take; /* rows of an earlier output, or scores: a job's own journal has them, a shard none */
} b2_record_set;

/* Reads the records that exist, in the order of the list, and hands each to fn, which returns OK to go on.
 * Errors: of fn; BLIP2_IO, BLIP2_FORMAT; BLIP2_CANCELLED after a signal: a million records take a while. */
typedef blip2_status b2_record_fn(void *context, const b2_record *record, blip2_error *err);
blip2_status b2_record_set_each(const b2_record_set *set, b2_record_fn *fn, void *context, blip2_error *err);

/* Writes the output (path NULL: stdout): whole or not at all. Records that nobody has are left out. */
blip2_status b2_assemble_output(const b2_record_set *set, const b2_style *style, const char *path, blip2_error *err);

#endif
